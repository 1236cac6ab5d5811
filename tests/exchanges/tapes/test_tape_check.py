"""Check of a tape by itself: right tapes pass, and each kind of damage is found in place."""

from __future__ import annotations

import errno
import gzip
import json
import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from minibot.exchanges.tapes import tape
from minibot.exchanges.tapes.check import Check
from minibot.exchanges.tapes.findings import SHOWN_MAX
from minibot.exchanges.tapes.lines import KRAKEN, Line, Missed, kind_of, missed_mark, tape_lines
from minibot.exchanges.tapes.tape import DEMO_TAPE
from tests.exchanges.kraken.kraken_recordings import V1_SYMBOLS
from tests.exchanges.tapes.tape_lines import checked, demo, kraken_v1, kraken_v2, put

Lines = list[Line]


def places(lines: Lines, word: bytes) -> list[int]:
    """Return the indexes of the lines with a word."""
    return [at for at, line in enumerate(lines) if word in line.message]


# --- right tapes --------------------------------------------------------------------------------


@pytest.mark.slow
def test_shipped_tape_agrees_with_itself() -> None:
    """The shipped tape's rebuilt book agrees with every best quote, and nothing is missing."""
    check = Check()
    check.read(tape_lines(DEMO_TAPE))
    found = check.symbols["BTCUSDT"]

    assert check.findings.counts == {}
    assert (found.top.checks, found.top.mismatches) == (3448, 0)
    assert (found.trades, found.quotes, found.diffs, found.unchecked) == (9757, 28040, 3451, 0)


@pytest.mark.parametrize(
    ("name", "checksums"),
    [("kraken_btcusd_sample.cbcap.gz", 2052), ("kraken_btcusd_l2.cbcap.gz", 301)],
)
def test_kraken_tape_is_proved_by_its_checksums(
    shared_data: Path, name: str, checksums: int
) -> None:
    """Kraken's tape is proven by every checksum, with the depth read from the tape."""
    check = checked(kraken_v2(shared_data, name))

    assert check.findings.counts == {}
    assert check.symbols["BTC/USD"].checksums == checksums
    assert check.survey.symbols == ["BTC/USD"]


def test_kraken_tape_of_version_1_is_proved_too(shared_data: Path) -> None:
    """Kraken's version 1 tape with ten pairs is proven too."""
    check = checked(kraken_v1(shared_data))

    assert check.findings.counts == {}
    assert sorted(check.symbols) == sorted(V1_SYMBOLS)
    assert sum(each.checksums for each in check.symbols.values()) == 4269


def test_updates_before_the_first_snapshot_of_a_kraken_tape_are_counted(shared_data: Path) -> None:
    """Updates that nothing proves are told, and the snapshot after them begins a book."""
    lines = list(kraken_v2(shared_data, "kraken_btcusd_l2.cbcap.gz"))
    whole = checked(lines).symbols["BTC/USD"]
    update = next(line for line in lines if b'"update","data":[{"symbol"' in line.message)
    found = checked([update, update, *lines]).symbols["BTC/USD"]

    assert found.diffs == whole.diffs + 2
    assert found.unchecked == whole.unchecked + 2
    assert found.checksums == whole.checksums


# --- damaged tapes -------------------------------------------------------------------------------


def without_diff(lines: Lines) -> Lines:
    at = places(lines, b"@depth")[150]
    return lines[:at] + lines[at + 1 :]


def without_trade(lines: Lines) -> Lines:
    at = places(lines, b"@trade")[100]
    return lines[:at] + lines[at + 1 :]


def with_diff_again(lines: Lines) -> Lines:
    at = places(lines, b"@depth")[100]
    return [*lines[:at], lines[at], *lines[at:]]


def with_trade_again(lines: Lines) -> Lines:
    at = places(lines, b"@trade")[100]
    return [*lines[:at], lines[at], *lines[at:]]


def with_time_back(lines: Lines) -> Lines:
    return [*lines[:99], lines[99]._replace(at_ns=lines[99].at_ns - 10**9), *lines[100:]]


def with_garbage(lines: Lines) -> Lines:
    return [*lines[:99], lines[99]._replace(message=b'{"stream":"btcusdt@trade","data":{}}')]


def with_half_json(lines: Lines) -> Lines:
    return [*lines[:99], lines[99]._replace(message=b'{"stream":"btcusdt@trade","da}')]


# Deeper than a text can be made of, and not too deep to be read as JSON.
DEEP = b"[" * 1_005 + b"]" * 1_005
BROKEN = (
    b'{"minibot":"missed","frpm_ns":1}',
    b'{"minibot":"missed",x}',
    b'{"minibot":"missed","from_ns":1,"to_ns":2,"symbols":[5],"why":""}',
    b'{"minibot":"missed","from_ns":1,"to_ns":2,"symbols":null,"why":""}',
    b'{"minibot":"missed","from_ns":1,"to_ns":%d,"symbols":[],"why":""}' % 10**19,
    b'{"stream":"}',
    b'["lastUpdateId"]',
    b'{"a":{"lastUpdateId":1}}',
    b'{"lastUpdateId":"1"}',
    b'[1,2,%b,"XBT/USD"]' % DEEP,
    b'{"channel":"book","data":[{"symbol":%b}]}' % DEEP,
)


def with_broken(message: bytes) -> Callable[[Lines], Lines]:
    return lambda lines: [*lines[:99], lines[99]._replace(message=message), *lines[100:140]]


def with_wrong_levels(lines: Lines) -> Lines:
    """Diffs with whole numbering and wrong quantities for six seconds."""
    qty = re.compile(rb'","(?!0\.0{8}")[0-9.]+"\]')
    for at in places(lines, b"@depth")[100:160]:
        message = qty.sub(b'","9.00000000"]', lines[at].message)
        lines[at] = lines[at]._replace(message=message)
    return lines


def with_crossing_diff(lines: Lines) -> Lines:
    at = places(lines, b"@depth")[100]
    message = re.sub(rb'"b":\[', rb'"b":[["99999.00000000","1.00000000"],', lines[at].message)
    lines[at] = lines[at]._replace(message=message)
    return lines


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (without_diff, "gap"),
        (without_trade, "trades_missing"),
        (with_diff_again, "repeated"),
        (with_trade_again, "repeated"),
        (with_time_back, "order"),
        (with_garbage, "frame"),
        (with_half_json, "frame"),
        (with_wrong_levels, "top"),
        (with_crossing_diff, "book"),
        *((with_broken(message), "frame") for message in BROKEN),
    ],
)
def test_each_kind_of_damage_is_found(change: Callable[[Lines], Lines], kind: str) -> None:
    """One change to a right tape gives findings of its kind alone, at its line."""
    lines = change(demo())
    check = checked(lines)

    assert set(check.findings.counts) == {kind}
    finding = check.findings.shown[0]
    assert 1 <= finding.line <= len(lines)
    assert finding.at_ns == lines[finding.line - 1].at_ns


@pytest.mark.parametrize("is_ahead", [False, True])
def test_book_that_is_always_wrong_on_a_quiet_symbol_is_told_once(is_ahead: bool) -> None:
    """Mismatches that settle by fours, and those after the last quote, are one finding."""

    def streamed(name: str, **data: object) -> str:
        message = {"stream": f"btcusdt@{name}", "data": {"s": "BTCUSDT", **data}}
        return json.dumps(message, separators=(",", ":"))

    def diff(number: int) -> str:
        level = ["8.00", str(number)]
        ids = {"U": number, "u": number}
        return streamed("depth@100ms", e="depthUpdate", E=1, **ids, b=[level], a=[])

    numbers = range(100, 112)
    quotes = {
        number: streamed("bookTicker", u=number, b="9.50", B="1.00", a="11.00", A="1.00")
        for number in (100, 104, 108, 112)
    }
    body = {"lastUpdateId": 99, "bids": [["9.00", "1.00"]], "asks": [["11.00", "1.00"]]}
    texts = [diff(99), json.dumps(body | {"symbol": "BTCUSDT"}, separators=(",", ":"))]
    if is_ahead:
        texts += [*quotes.values(), *map(diff, numbers)]
    else:
        for number in numbers:
            texts += [quotes[number]] if number in quotes else []
            texts.append(diff(number))

    check = checked(Line(at, at, text.encode()) for at, text in enumerate(texts, 1))

    assert check.symbols["BTCUSDT"].top.mismatches == (12 if is_ahead else 8)
    assert check.findings.counts == {"top": 1}


def test_what_a_recorder_marked_as_missed_is_no_fault() -> None:
    """A recorder's mark of a missed stretch excuses jumping ids until the next snapshot."""
    lines = demo()
    begin, end = places(lines, b"@depth")[100], places(lines, b"@depth")[120]
    why = "connection lost"
    missed = Missed(lines[begin].at_ns, lines[end].at_ns, ("BTCUSDT",), why)
    mark = Line(0, lines[end].at_ns, missed_mark(missed))
    check = checked([*lines[:begin], mark, *lines[end:]])

    assert check.findings.counts == {}
    assert check.survey.missed == [missed]
    assert check.symbols["BTCUSDT"].unchecked > 100
    assert set(checked([*lines[:begin], *lines[end:]]).findings.counts) == {"gap", "trades_missing"}


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_tape_that_is_cut_short_is_told_with_its_last_line(tmp_path: Path, keep: float) -> None:
    """A truncated tape is checked as far as it reads, and its last line is named."""
    data = put(tmp_path / "whole.gz", demo()).read_bytes()
    path = tmp_path / "short.gz"
    path.write_bytes(data[: int(len(data) * keep)])
    check = Check()
    check.read(tape_lines(path))

    (finding,) = check.findings.shown
    assert finding.kind == "damaged"
    assert f"cut short after line {finding.line}." in finding.detail
    assert abs(finding.line / 4000 - keep) < 0.2


def test_error_of_the_disk_in_the_middle_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails while a tape is read is a finding with its line, not an OSError."""

    def failing(path: Path) -> Iterator[bytes]:
        yield from gzip.decompress(path.read_bytes()).splitlines(keepends=True)[:3]
        raise OSError(errno.EIO, "Input/output error")

    path = put(tmp_path / "whole.gz", demo(10))
    monkeypatch.setattr(tape, "open_text", lambda of: nullcontext(failing(of)))
    check = Check()

    check.read(tape_lines(path))

    (finding,) = check.findings.shown
    assert (finding.kind, finding.line) == ("damaged", 3)
    assert "cannot be read after line 3 (Input/output error)" in finding.detail


def test_flipped_bit_of_a_gzip_file_is_found(tmp_path: Path) -> None:
    """A flipped bit of a gzip tape is found by gzip, or by a line or number that does not fit."""
    data = bytearray(put(tmp_path / "whole.gz", demo(2000)).read_bytes())
    path = tmp_path / "flipped.gz"
    for at in range(20, len(data), len(data) // 12):
        data[at] ^= 16
        path.write_bytes(data)
        data[at] ^= 16
        check = Check()
        check.read(tape_lines(path))
        assert check.findings.counts


def test_flipped_digit_of_a_kraken_tape_is_a_wrong_checksum(shared_data: Path) -> None:
    """A flipped digit of Kraken's tape is a wrong checksum at the update's line."""
    lines = list(kraken_v2(shared_data, "kraken_btcusd_l2.cbcap.gz"))
    at = next(i for i in places(lines, b'"update","data":[{"symbol"') if i > 200)
    message = re.sub(rb'("qty":\d\.)(\d)', _other, lines[at].message, count=1)
    lines[at] = lines[at]._replace(message=message)
    check = checked(lines)

    assert check.findings.counts == {"checksum": 1}
    assert check.findings.shown[0].line == at + 1
    assert check.symbols["BTC/USD"].unchecked > 0


def _other(found: re.Match[bytes]) -> bytes:
    return found[1] + (b"1" if found[2] == b"0" else b"0")


def test_many_findings_are_counted_and_the_first_are_told() -> None:
    """Many findings are counted, and only the first are printed."""
    lines = [Line(at, at + 1, b'{"stream":"btcusdt@trade","data":{}}') for at in range(500)]
    check = checked(lines)

    assert check.findings.counts == {"frame": 500}
    assert len(check.findings.shown) == SHOWN_MAX


def test_messages_of_both_venues_are_told_apart() -> None:
    """Messages of both venues are distinguished by their first characters."""
    assert kind_of(b'{"channel":"heartbeat"}') == KRAKEN
    assert kind_of(b'[1,{"a":[]},"book-10","X/Y"]') == KRAKEN
    assert kind_of(b'{"event":"heartbeat"}') == KRAKEN
    assert kind_of(b'{"stream":"x@trade","data":{}}') == "stream"
    assert kind_of(b'{"lastUpdateId":1,"bids":[],"asks":[]}') == "snapshot"
    assert kind_of(b'{"timezone":"UTC","symbols":[]}') == "rules"
    assert kind_of(b'{"what":1}') == "other"


def test_plain_text_is_a_tape_too(tmp_path: Path) -> None:
    """A tape may be plain text, as the embedded exchange accepts."""
    path = tmp_path / "tape.txt"
    path.write_bytes(gzip.decompress(put(tmp_path / "tape.gz", demo(300)).read_bytes()))
    check = Check()
    check.read(tape_lines(path))

    assert check.survey.lines == 300
    assert check.findings.counts == {}
