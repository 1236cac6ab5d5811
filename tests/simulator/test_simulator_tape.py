"""Tapes as sources: refusals, and the shipped tape."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minibot.exchanges.base import APPLIED, Diff
from minibot.exchanges.binance.book import BookKeeper
from minibot.exchanges.binance.messages import parse_frame, parse_snapshot
from minibot.exchanges.tapes.frames import DEPTH, OTHER, SNAPSHOT
from minibot.exchanges.tapes.lines import Missed, missed_mark, unreadable_mark
from minibot.exchanges.tapes.tape import DEMO_TAPE, TAPES, Tape
from minibot.kernel.errors import Refusal
from minibot.simulator.faults.faults import Faults
from minibot.simulator.server.hub import Hub
from minibot.simulator.server.wire import in_micros
from minibot.simulator.sources.rebase import Rebased
from minibot.simulator.venue.tickers import touch
from minibot.simulator.venue.venue import Venue
from tests.simulator.embedded_exchange import (
    ORIGIN_MS,
    Exchange,
    diff,
    market,
    quote,
    snapshot,
    take,
    trade,
    write_tape,
)
from tests.simulator.test_simulator_book import venue_of
from tests.simulator.test_simulator_connection import connection

pytestmark = pytest.mark.campaign


def test_demo_tape_is_the_one_its_readme_describes() -> None:
    """Bytes, length and content of the shipped tape are as its readme says."""
    stated = (TAPES / "btcusdt_20240808.gz.sha256").read_text().split()[0]
    facts = Tape(DEMO_TAPE).facts

    assert hashlib.sha256(DEMO_TAPE.read_bytes()).hexdigest() == stated
    assert stated in (TAPES / "README.md").read_text()
    assert facts.end_ms is not None
    assert 34.0 < (facts.end_ms - facts.origin_ms) / 10_000 < 35.0
    assert facts.symbols == ("BTCUSDT",)
    assert facts.has_depth
    assert facts.skew_ms == pytest.approx(1272, abs=5)


def test_demo_tape_frames_are_all_lines_in_order() -> None:
    """Every line is a frame with its recorded time and bytes."""
    frames = list(Tape(DEMO_TAPE).frames())
    with gzip.open(DEMO_TAPE) as file:
        lines = file.read().splitlines()

    assert len(frames) == len(lines) == 41_249
    for frame, line in zip(frames, lines, strict=True):
        digits, _, message = line.partition(b" ")
        assert frame.at_ns == int(digits)
        assert (frame.text or frame.data) == message
        assert frame.data in message


def damaged(kind: str, folder: Path) -> Path:
    """Return the path of a file that is no playable tape."""
    path = folder / f"{kind}.gz"
    whole = write_tape(folder / "whole.gz", market(20)).read_bytes()
    contents = {
        "random": os.urandom(3000),
        "truncated": whole[: len(whole) // 2],
        "broken": whole[:200] + bytes(20) + whole[220:],
        "empty": b"",
        "packed_nothing": gzip.compress(b""),
        "packed_text": gzip.compress(b"hello\nworld\n"),
        "packed_random": gzip.compress(os.urandom(3000)),
        "no_frames": write_tape(folder / "lonely.gz", [snapshot(0, 5)]).read_bytes(),
        "half_line": gzip.compress(gzip.decompress(whole)[:-20]),
    }
    if kind != "missing":
        path.write_bytes(contents[kind])
    return path


BAD_TAPES = (
    *("missing", "random", "truncated", "broken", "empty", "packed_nothing"),
    *("packed_text", "packed_random", "no_frames", "half_line"),
)


@pytest.mark.parametrize("kind", BAD_TAPES)
def test_bad_tape_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    """A bad tape is refused with file and remedy."""
    path = damaged(kind, tmp_path)

    with pytest.raises(Refusal) as refusal:
        Tape(path)

    assert path.name in refusal.value.message
    assert refusal.value.remedy
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize(
    "message",
    [
        b'{"stream":"btcusdt@trade","data":{"E":}}',
        b'{"stream":"btcusdt@trade"}',
        b'{"stream":"btc\xff@trade","data":{"E":1}}',
        b'{"stream":"btcusdt@depth","data":{"E":1}}',
        b'{"stream":"abcusdt@trade","data":{"E":1,"q":"1"}}',
        b'{"stream":"abcusdt@trade","data":{"E":1,"p":"1","q":1}}',
        b'{"symbols":5}',
        b'{"half":}',
        b'{"lastUpdateId":9}',
        b'{"lastUpdateId":9,"bids":[["9.00"]],"asks":[]}',
        b'{"lastUpdateId":9,"bids":[],"asks":[],"symbol":["BTCUSDT"]}',
        b'{"lastUpdateId":9,"bids":[],"asks":[],"minibot_edges":["9.00","x"]}',
        b'{"lastUpdateId":9,"bids":[],"asks":[],"minibot_edges":[null]}',
    ],
)
def test_line_that_holds_no_message_is_named(message: bytes, tmp_path: Path) -> None:
    """A line with braces at both ends, but no message between, is refused by its number."""
    path = write_tape(tmp_path / "bad.gz", market(20))
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"%b%d %b\n" % (lines[0], ORIGIN_MS * 10**6, message)))

    with pytest.raises(Refusal, match="line 2 holds no message"):
        Tape(path)


def test_marks_of_a_recorder_are_no_messages(tmp_path: Path) -> None:
    """A tape with marks, at its ends too, has the facts and frames of the tape without them."""
    symbols = ("BTCUSDT", "ETHUSDT")
    missed = json.loads(missed_mark(Missed(1, 2, symbols, "the recorder did not run")))
    unreadable = json.loads(unreadable_mark(b'{"symbols":5}'))
    lines = market(20)
    marked = [(0, missed), *lines[:200], (7_000, missed), (7_000, unreadable), *lines[200:]]

    right = Tape(write_tape(tmp_path / "right.gz", lines), "tape")
    tape = Tape(write_tape(tmp_path / "marked.gz", [*marked, (30_000, missed)]), "tape")

    assert tape.facts == right.facts
    assert list(tape.frames()) == list(right.frames())


def test_message_that_breaks_off_behind_the_scan_is_sent_to_nobody(tmp_path: Path) -> None:
    """The scan reads few messages of a stream whole; a later one that is none ends no night."""
    path = write_tape(tmp_path / "late.gz", market(400))
    bad = b'%d {"stream":"btcusdt@trade", "data":{"E":}}\n' % (ORIGIN_MS * 10**6)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bad))

    *_, last = Tape(path).frames()

    assert (last.kind, last.symbol) == (OTHER, "")


def played(tape: Tape) -> Venue:
    """Return the venue after every frame of a tape."""
    venue = venue_of(tape)
    hub = Hub(venue, Faults(venue.now_ms))
    for frame in tape.frames():
        hub.take(frame)
    return venue


class RecordingHub(Hub):
    """Hub that keeps everything that it publishes."""

    def __init__(self, tape: Tape, *streams: str) -> None:
        venue = venue_of(tape)
        self.sent: list[tuple[str, Any]] = []
        super().__init__(venue, Faults(venue.now_ms))
        self.subscribe(*streams)

    def subscribe(self, *streams: str) -> None:
        """Connect a client of these streams."""
        client, _ = connection()
        client.held.streams.update(dict.fromkeys(streams))
        self.add(client)

    def publish(self, stream: str, data: bytes, text: bytes | None = None) -> None:
        self.sent.append((stream, json.loads(data)))


def test_first_list_of_a_client_holds_the_trades_of_the_last_second_alone(tmp_path: Path) -> None:
    """A symbol that traded only before the client came, seconds ago, is in no list."""
    lines = [trade(100, 1), trade(150, 1, s="ETHUSDT"), trade(3_200, 2)]
    tape = Tape(write_tape(tmp_path / "tape.gz", lines))
    hub = RecordingHub(tape)
    *former, last = tape.frames()
    for frame in former:
        hub.take(frame)
    hub.advance((ORIGIN_MS + 3_150) * 10**6)
    hub.subscribe("!miniTicker@arr")
    hub.take(last)
    hub.advance((ORIGIN_MS + 4_000) * 10**6)

    lists = [[row["s"] for row in rows] for name, rows in hub.sent if name == "!miniTicker@arr"]
    assert lists == [["BTCUSDT"]]


def test_update_that_comes_again_a_second_later_is_in_no_further_depth(tmp_path: Path) -> None:
    """A diff that was sent in the merged depth of a second is not sent in a later one."""
    lines = [diff(0, 101, 101), snapshot(1, 101), diff(100, 102, 103), diff(1_100, 102, 103)]
    tape = Tape(write_tape(tmp_path / "tape.gz", [*lines, diff(2_100, 104, 104)]))
    hub = RecordingHub(tape, "btcusdt@depth")
    for frame in tape.frames():
        hub.take(frame)
    hub.advance((ORIGIN_MS + 3_000) * 10**6)

    updates = [(row["U"], row["u"]) for name, row in hub.sent if name == "btcusdt@depth"]
    assert updates == [(101, 103), (104, 104)]


TRADE = b'"e":"trade","E":1,"s":"BTCUSDT","t":9999,"p":"1.00","q":"1.00","T":1700000400000,"m":true'
DIFF = b'"e":"depthUpdate","E":1,"s":"BTCUSDT","U":4102,"u":4102,"b":[["9.00","1.00"]],"a":[]'


@pytest.mark.parametrize(
    "message",
    [
        b'{"stream":"btcusdt@trade","data":{"E":}}',
        b'{"stream":"btcusdt@trade","data":{}}',
        b'{"stream":"btcusdt@trade","data":{%b}}' % TRADE.replace(b'"E":1,', b""),
        b'{"stream":"btcusdt@trade","data":{%b}}' % TRADE.replace(b'"1.00"', b'"-1.00"', 1),
        b'{"stream":"btcusdt@trade","data":{%b}}' % TRADE.replace(b'"1.00"', b'"%d"' % 10**19),
        b'{"stream":"btcusdt@trade","data":{%b}}' % TRADE.replace(b"9999", b"1" * 19),
        b'{"stream":"btcusdt@trade","data":{%b}}' % TRADE.replace(b"400000", b"400000000"),
        b'{"stream":"btcusdt@trade","data":{%b}}' % TRADE.replace(b"true", b'"true"'),
        b'{"stream":"btcusdt@depth@100ms","data":{}}',
        b'{"stream":"btcusdt@depth@100ms","data":{"u":1}}',
        b'{"stream":"btcusdt@depth@100ms","data":{%b}}' % DIFF.replace(b"[]", b'[["10.00"]]'),
        b'{"stream":"btcusdt@depth@100ms","data":{%b}}' % DIFF.replace(b"[]", b'[["10.00",1]]'),
        b'{"stream":"btcusdt@depth@100ms","data":{%b}}' % DIFF.replace(b"[]", b'["12"]'),
        b'{"stream":"btcusdt@depth@100ms","data":{%b}}' % DIFF.replace(b'"u":4102', b'"u":"4102"'),
        b'{"lastUpdateId":9999999999999}',
        b'{"lastUpdateId":9999999999999,"bids":[["9.00","1.00"]],"asks":[["10.00"]]}',
    ],
)
def test_broken_message_behind_the_scan_changes_nothing(message: bytes, tmp_path: Path) -> None:
    """A broken message in the venue's own form is counted, and the venue's state is as before."""
    path = write_tape(tmp_path / "late.gz", market(400))
    right, path_bad = played(Tape(path)), tmp_path / "bad.gz"
    bad = b"%d %b\n" % ((ORIGIN_MS + 400_000) * 10**6, message)
    path_bad.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bad))

    venue = played(Tape(path_bad))
    found, expected = (each.symbols["BTCUSDT"] for each in (venue, right))

    assert venue.counters["frames_invalid"] == 1
    assert venue.depth("BTCUSDT", 100) == right.depth("BTCUSDT", 100)
    assert found.trades.newest(9) == expected.trades.newest(9)
    assert found.last_ms == expected.last_ms


def test_symbol_that_comes_behind_the_scan_is_not_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A symbol that a large tape brings after its scanned lines reaches nobody, and is noted."""
    monkeypatch.setattr("minibot.exchanges.tapes.tape.SCAN_BYTES_MAX", 0)
    monkeypatch.setattr("minibot.exchanges.tapes.tape.SCAN_LINES_MIN", 20)
    late = [diff(6000, 9, 9, symbol="ETHUSDT"), trade(6001, 1, s="ETHUSDT")]
    tape = Tape(write_tape(tmp_path / "large.gz", market(5) + late))

    venue = played(tape)
    *_, last_diff, last_trade = tape.frames()

    assert tape.facts.symbols == ("BTCUSDT",)
    assert venue.symbols["BTCUSDT"].last_ms == ORIGIN_MS + 4902
    for frame in (last_diff, last_trade):
        assert (frame.kind, frame.symbol, frame.stream) == (OTHER, "", "")
    assert any("a symbol that comes later is not played" in note for note in tape.facts.notes)


@pytest.mark.parametrize("data", [b'{"u":}', b"{}", b'{"u":1,"b":1,"B":"1","a":"2","A":"1"}'])
def test_broken_quote_is_no_quote_until_the_next(data: bytes, tmp_path: Path) -> None:
    """A broken quote behind the scan leaves a venue without a book empty until the next one."""
    path = write_tape(tmp_path / "quotes.gz", [quote(turn, turn) for turn in range(300)])
    venue, (frame, *_) = played(Tape(path)), Tape(path).frames()
    before = venue.depth("BTCUSDT", 5)["lastUpdateId"]
    venue.take(replace(frame, data=data))
    broken = venue.depth("BTCUSDT", 5)
    venue.take(frame)

    assert before == 299
    assert broken == {"lastUpdateId": 0, "bids": [], "asks": []}
    assert touch(venue, "BTCUSDT")[:2] == ("99.99", "1.00000")


def test_trades_that_no_row_could_hold_together_are_two_aggregates(tmp_path: Path) -> None:
    """Trades of one order are not joined beyond the largest quantity of a row."""
    path = write_tape(tmp_path / "whale.gz", [trade(0, n, q="90000000000") for n in (1, 2)])

    aggregates = played(Tape(path)).symbols["BTCUSDT"].aggregates
    aggregates.close((ORIGIN_MS + 100) * 10**6)

    assert [row[5:] for row in aggregates.log.newest(9)] == [(1, 1), (2, 2)]


@pytest.mark.parametrize("data", [b'{"E":}', b'{"e":[],"E":1}', b'{"k":1}', b'{"E":%d}' % 2**63])
def test_broken_payload_goes_to_a_client_of_microseconds_as_recorded(data: bytes) -> None:
    """A payload whose times cannot be told is sent as it came."""
    assert in_micros(data) == data


def test_broken_message_of_a_rebased_tape_is_played_as_recorded(tmp_path: Path) -> None:
    """Times of a message that breaks off cannot be moved; the tape plays on."""
    path = write_tape(tmp_path / "late.gz", market(400))
    bad = b'%d {"stream":"btcusdt@trade","data":{"E":}}\n' % ((ORIGIN_MS + 400_000) * 10**6)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bad))

    *_, last = Rebased(Tape(path), ORIGIN_MS + 60_000).frames()

    assert last.data == b'{"E":}'
    assert last.at_ns == (ORIGIN_MS + 460_000) * 10**6


@pytest.mark.process
@pytest.mark.parametrize(
    ("source", "code", "word"),
    [
        ("tape:missing.gz", 2, "missing.gz"),
        ("generator:many", 4, "generator:many"),
        ("cassette:demo", 4, "cassette:demo"),
        ("klines:nowhere-1m.csv", 2, "nowhere"),
        ("run:nowhere", 2, "nowhere"),
        ("generator:1:NOSUCHCOIN", 2, "NOSUCHCOIN"),
    ],
)
def test_bad_source_ends_the_process_with_one_line(source: str, code: int, word: str) -> None:
    """A bad source ends the process with one line on standard error and to the launcher."""
    exchange = Exchange(source)
    _, stderr = exchange.process.communicate()

    assert exchange.process.returncode == code
    assert len(stderr.splitlines()) == 1
    assert word in stderr
    assert exchange.ready["ready"] is False
    assert exchange.ready["exit_code"] == code


@pytest.mark.process
def test_symbol_without_rules_is_refused_by_name(tmp_path: Path) -> None:
    """A symbol without rules or known quote asset is refused by name."""
    path = write_tape(tmp_path / "odd.gz", [trade(0, 1, s="ABCXYZ")])

    exchange = Exchange(f"tape:{path}")
    _, stderr = exchange.process.communicate()

    assert exchange.process.returncode == 2
    assert "ABCXYZ" in stderr
    assert "no known quote asset. Name a pair" in stderr


RULES = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT"}


@pytest.mark.parametrize("key", ["status", "baseAsset", "quoteAsset", "filters"])
@pytest.mark.parametrize("value", [None, 5])
def test_rules_that_lack_a_field_are_refused_by_name(
    key: str, value: int | None, tmp_path: Path
) -> None:
    """Rules of a played symbol without a field that the venue needs are refused with all names."""
    rules: dict[str, object] = {**RULES, "filters": []}
    del rules[key]
    rules |= {} if value is None else {key: value}
    path = write_tape(tmp_path / "odd.gz", [(0, {"symbols": [rules]}), *market(1)])

    with pytest.raises(Refusal) as refusal:
        Tape(path)

    for word in (path.name, "BTCUSDT", key):
        assert word in refusal.value.message


def test_rules_of_a_symbol_that_is_not_played_may_lack_anything(tmp_path: Path) -> None:
    """Rules of other symbols, of which an exchangeInfo has thousands, are not looked at."""
    lines = [(0, {"symbols": [{"symbol": "XYZUSDT"}]}), *market(1)]

    assert Tape(write_tape(tmp_path / "odd.gz", lines)).facts.symbols == ("BTCUSDT",)


@pytest.mark.process
def test_rules_come_from_tape_then_table_then_decimals(tmp_path: Path) -> None:
    """Each instrument names its origin: tape, table or decimals."""
    own = {"symbol": "FOOUSDT", "status": "TRADING", "baseAsset": "FOO", "quoteAsset": "USDT"}
    lines = [
        (0, {"timezone": "UTC", "symbols": [own | {"filters": []}]}),
        trade(1, 1),
        trade(2, 1, s="FOOUSDT"),
        trade(3, 1, "0.1000", s="BARUSDT", q="5.0"),
        trade(4, 2, "0.1230", s="BARUSDT", q="5.5"),
        trade(5, 3, "0.1300", s="BARUSDT", q="-1"),
        trade(6, 4, "0.1200", s="BARUSDT", q="6.0"),
    ]

    with Exchange(f"tape:{write_tape(tmp_path / 'three.gz', lines)}") as exchange:
        infos = {info["symbol"]: info for info in exchange.json("exchangeInfo")["symbols"]}

    assert exchange.ready["has_exchange_info"]
    assert {symbol: info["origin"] for symbol, info in infos.items()} == {
        "BTCUSDT": "table",
        "FOOUSDT": "exchange",
        "BARUSDT": "derived",
    }
    filters = {entry["filterType"]: entry for entry in infos["BARUSDT"]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.00100000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.10000000"
    assert infos["BARUSDT"]["baseAsset"] == "BAR"


@pytest.mark.process
def test_tape_without_snapshot_plays_without_depth(tmp_path: Path) -> None:
    """A tape without snapshot plays trades and quotes, and says so beforehand."""
    lines = [line for line in market(1) if "lastUpdateId" not in line[1]]
    path = write_tape(tmp_path / "bare.gz", lines)

    with Exchange(f"tape:{path}", speed="50") as exchange:
        socket = exchange.stream("btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms")
        kinds = {message["stream"] for message in take(socket, 20)}
        depth = exchange.json("depth", symbol="BTCUSDT")

    assert exchange.ready["has_depth"] is False
    assert any("bare.gz" in note for note in exchange.ready["notes"])
    assert not any("depth" in kind for kind in kinds)
    assert depth["bids"] == [["99.99", "1.00000"]]


def test_receive_times_that_go_back_keep_the_order_of_the_tape(tmp_path: Path) -> None:
    """Time stands still where receive times go back, and the order is kept."""
    times = [100, 50, 70, 300, 299, 301]
    lines = [quote(0, 0), *(trade(at_ms, n) for n, at_ms in enumerate(times, 1))]
    tape = Tape(write_tape(tmp_path / "back.gz", lines))

    at_ms = [frame.at_ns // 10**6 - ORIGIN_MS for frame in tape.frames()]

    assert at_ms == [0, 100, 100, 100, 300, 300, 301]
    assert tape.facts.end_ms == ORIGIN_MS + 301


def test_late_snapshot_is_no_opening_book(tmp_path: Path) -> None:
    """A snapshot a minute late is no opening book."""
    lines = [diff(0, 101, 101), trade(5, 1), snapshot(60_000, 101), trade(60_001, 2)]

    assert Tape(write_tape(tmp_path / "late.gz", lines)).facts.has_depth is False


def test_opening_book_of_a_market_that_moved_before_its_snapshot_is_never_crossed(
    tmp_path: Path,
) -> None:
    """Updates older than the snapshot, played on its book, cross none of its levels."""
    lines = [
        diff(0, 101, 102, [["99.2", "1"]], [["99.5", "2"]]),
        diff(100, 103, 104, [["101", "1"], ["99.2", "0"], ["99.99", "1"]], [["99.5", "0"]]),
        diff(200, 105, 105, [["101", "0"]], [["100.01", "2"], ["101", "4"]]),
        snapshot(250, 105),
        diff(300, 106, 106, [["99.98", "1"]], [["99.99", "0"]]),
    ]
    tape = Tape(write_tape(tmp_path / "moved.gz", lines))
    keeper = BookKeeper()
    keeper.on_snapshot(parse_snapshot(tape.facts.opening_books["BTCUSDT"], 1000))
    diffs = [parse_frame(frame.data) for frame in tape.frames() if frame.kind == DEPTH]
    outcomes = [keeper.on_diff(each) for each in diffs if isinstance(each, Diff)]

    assert outcomes == [APPLIED] * 4
    assert keeper.book is not None
    assert [price for price, _ in keeper.book.bids.top(9)] == ["99.99", "99.98", "99.00000000"]
    assert [price for price, _ in keeper.book.asks.top(9)] == ["100.01", "101"]


def test_snapshots_of_two_symbols_go_to_their_own(tmp_path: Path) -> None:
    """An unwrapped snapshot goes to the symbol with the nearest update ids."""
    lines = [
        diff(0, 101, 105),
        diff(1, 9_000_001, 9_000_004, symbol="ETHUSDT"),
        snapshot(2, 9_000_002),
        snapshot(3, 104),
    ]
    tape = Tape(write_tape(tmp_path / "two.gz", lines))

    frames = [frame for frame in tape.frames() if frame.kind == SNAPSHOT]

    assert tape.facts.opening_books["BTCUSDT"]["lastUpdateId"] == 100
    assert tape.facts.opening_books["ETHUSDT"]["lastUpdateId"] == 9_000_000
    assert [frame.symbol for frame in frames] == ["ETHUSDT", "BTCUSDT"]


@pytest.mark.parametrize(("name", "book_id"), [("XYZUSDT", 301), ("BTCUSDT", 9_999_999_999)])
def test_snapshot_of_another_symbol_is_no_book_of_the_only_one(
    name: str, book_id: int, tmp_path: Path
) -> None:
    """A snapshot that names a symbol is that symbol's, also on a tape that streams one alone."""
    at_ms, body = snapshot(20_000, 9_999_999_999)
    lines = [*market(20), (at_ms, body | {"symbol": name})]

    venue = played(Tape(write_tape(tmp_path / "other.gz", lines)))

    assert venue.depth("BTCUSDT", 5)["lastUpdateId"] == book_id


def test_plain_text_and_spaced_json_are_tapes_too(tmp_path: Path) -> None:
    """An unpacked tape, and other JSON spacing, play the same."""
    path = tmp_path / "plain.txt"
    path.write_text(
        f'{ORIGIN_MS * 10**6} {{"stream":"btcusdt@depth@100ms", "data": {{"e": "depthUpdate", '
        '"E": 1, "s": "BTCUSDT", "U": 1, "u": 2, "b": [], "a": []}}\n\n'
    )

    frames = list(Tape(path).frames())

    assert [(frame.kind, frame.stream) for frame in frames] == [(DEPTH, "btcusdt@depth@100ms")]
    assert frames[0].data.startswith(b'{"e":"depthUpdate"')
