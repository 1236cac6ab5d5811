"""Recording beside an exchange: playable parts, crashes, disconnects, refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minibot.cli.main import run
from minibot.cli.record import recorder_of
from minibot.data.recording import OPEN
from minibot.data.tapes import chained, changed, parts_of
from minibot.exchanges.tapes.check import Check
from minibot.exchanges.tapes.lines import RULES, SNAPSHOT, kind_of, tape_lines
from minibot.exchanges.tapes.tape import Tape
from minibot.kernel.files import ensure_folder
from minibot.kernel.lock import WriterLock
from minibot.market.recorder import Recorder
from minibot.market.venue_access import new_rest
from minibot.runtime.configuration.config import load_config
from minibot.runtime.paths import PROJECT
from tests.simulator.embedded_exchange import Exchange, take
from tests.waiting import wait_until

pytestmark = pytest.mark.process

HOUR_MS = 3_600_000
SOURCE = "generator:7:BTCUSDT,ETHUSDT"
PROFILE = PROJECT / "config" / "nore.v1.json"


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with Exchange(SOURCE, speed="10") as running:
        yield running


def sets(exchange: Exchange) -> list[str]:
    """Return the keys that point a profile at the exchange."""
    return [
        f"binance.rest_url={exchange.base}",
        f"binance.stream_url={exchange.base.replace('http', 'ws')}",
        "binance.backoff_min_market_ms=100",
        "binance.backoff_max_market_ms=300",
    ]


def flags(exchange: Exchange, var: Path, *arguments: str) -> list[str]:
    """Return the arguments of the verb; later ones win."""
    asked = ["record", "--var", str(var), "--json", "--symbols", "BTCUSDT,ETHUSDT", "--name", "t"]
    return [*asked, *(word for each in sets(exchange) for word in ("--set", each)), *arguments]


def record(exchange: Exchange, folder: Path, is_ended: Callable[[Recorder], bool]) -> Recorder:
    """Record in this process until a function returns true."""
    ensure_folder(folder)
    config = load_config(PROFILE, sets(exchange))
    limits = {"part_bytes_max": 10**9, "part_ms_max": HOUR_MS}
    recorder = recorder_of(config, ["BTCUSDT", "ETHUSDT"], folder, new_rest(config), **limits)
    recorder.run(lambda: is_ended(recorder))
    return recorder


def check_of(folder: Path) -> Check:
    """Return the check of everything recorded; the sums have to be right."""
    check, paths = Check(), parts_of([folder])
    check.read(chained(paths))
    assert changed(paths) == []
    assert not list(folder.glob(f"*{OPEN}"))
    return check


@pytest.mark.row("S-24")
def test_each_part_of_a_recording_plays_by_itself(exchange: Exchange, tmp_path: Path) -> None:
    """Each part plays by itself, with rules and depth of both symbols."""
    whole_from: dict[int, int] = {}  # Number of a part -> lines when it held both books.

    def is_ended(recorder: Recorder) -> bool:
        number = len(recorder.recording.parts)
        if recorder.snapshots >= 2 * (number + 1):
            whole_from.setdefault(number, recorder.lines)
        is_full = number in whole_from and recorder.lines > whole_from[number] + 100
        recorder.config = replace(recorder.config, part_ms_max=1_500 if is_full else HOUR_MS)
        return number >= 2 and number in whole_from

    recorder = record(exchange, tmp_path, is_ended)
    check = check_of(tmp_path)

    assert check.findings.counts == {}
    assert check.survey.symbols == ["BTCUSDT", "ETHUSDT"]
    assert all(each.top.checks > 10 for each in check.symbols.values())
    assert recorder.missed == []
    assert recorder.lines == check.survey.lines
    first, second, *_ = parts_of([tmp_path])
    for path in (first, second):
        kinds = [kind_of(line.message) for line in tape_lines(path)]
        assert kinds[0] == RULES
        assert kinds.count(SNAPSHOT) == 2
        facts = Tape(path).facts
        assert set(facts.opening_books) == set(facts.symbol_infos) == {"BTCUSDT", "ETHUSDT"}
    trades = [
        json.loads(line.message)
        for line in tape_lines(second)
        if line.message.startswith(b'{"stream":"ethusdt@trade"')
    ]
    assert trades
    with Exchange(f"tape:{second}", "--start", "reader", speed="10") as again:
        assert take(again.stream("ethusdt@trade"), len(trades)) == trades


def test_killed_recorder_goes_on_and_marks_what_it_missed(
    exchange: Exchange, tmp_path: Path
) -> None:
    """A killed recorder's open part is saved and listed, and the missed time is marked."""
    folder = tmp_path / "tapes" / "t"
    command = [sys.executable, "-m", "minibot", *flags(exchange, tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(
                lambda: sum(path.stat().st_size for path in folder.glob(f"*{OPEN}")) > 3_000,
                "something is recorded",
            )
        finally:
            process.kill()
    recorder = record(
        exchange, folder, lambda recorder: recorder.snapshots >= 2 and recorder.lines > 20
    )

    check = check_of(folder)
    assert check.findings.counts == {}
    (missed,) = check.survey.missed
    assert recorder.missed == [missed]
    assert missed.why == "the recorder did not run"
    assert missed.symbols == ("BTCUSDT", "ETHUSDT")
    lines = list(tape_lines(parts_of([folder])[0]))
    assert missed.from_ns == lines[-1].at_ns
    assert len(lines) > 20
    assert all(list(Tape(path).frames()) for path in parts_of([folder]))


@pytest.mark.row("F102")
@pytest.mark.row("S-21")
@pytest.mark.fault("F102", by="connections of a recorder are dropped", ends="SURVIVE")
def test_dropped_connection_is_marked_and_its_books_are_asked_for_again(
    exchange: Exchange, tmp_path: Path
) -> None:
    """After a disconnect the tape has a mark, new depth, and tops that agree."""
    at: list[int] = []

    def is_ended(recorder: Recorder) -> bool:
        if recorder.snapshots == 2 and recorder.lines > 60 and not at:
            at.append(recorder.lines)
            exchange.fault("drop")
        return bool(at) and recorder.snapshots == 4 and recorder.lines > at[0] + 60

    recorder = record(exchange, tmp_path, is_ended)
    check = check_of(tmp_path)

    assert check.findings.counts == {}
    assert recorder.missed == check.survey.missed
    (missed,) = check.survey.missed
    host, _, why = missed.why.partition(": ")
    assert host.startswith("127.0.0.1:")
    assert why.startswith(("connection lost", "closed by the server"))
    assert all(each.snapshots == 2 for each in check.symbols.values())
    assert all(each.top.mismatches == 0 for each in check.symbols.values())
    (part,) = parts_of([tmp_path])
    assert Tape(part).facts.has_depth


@pytest.mark.row("F109")
def test_frame_that_is_no_message_is_kept_as_a_mark(exchange: Exchange, tmp_path: Path) -> None:
    """An unusable frame is kept as a mark and counted, so a tape has one message per line."""
    sent: list[int] = []

    def is_ended(recorder: Recorder) -> bool:
        if recorder.lines > 10 and not sent:
            sent.append(1)
            exchange.fault("garbage", kind="text", n=2)
        return recorder.unreadable == 2 and recorder.snapshots == 2

    record(exchange, tmp_path, is_ended)
    marks = [
        line for line in tape_lines(parts_of([tmp_path])[0]) if b'"unreadable"' in line.message
    ]

    assert len(marks) == 2
    assert check_of(tmp_path).findings.counts == {}


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--symbols", "NOSUCHUSDT"), 2, "NOSUCHUSDT"),
        (("--symbols", "BTC USDT!"), 4, "--symbols"),
        (("--for", "soon"), 4, "--for"),
        (("--name", "../up"), 4, "--name"),
        (("--set", "binance.rest_url=http://127.0.0.1:1"), 2, "127.0.0.1:1"),
        (("--free-mb", "999999999"), 1, ""),
    ],
)
def test_what_can_not_be_recorded_is_refused_with_a_reason(
    exchange: Exchange,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    word: str,
) -> None:
    """A recording that cannot start is refused with exit code and reason."""
    found = run(flags(exchange, tmp_path, "--for", "20s", *arguments))

    assert found == code
    assert word in capsys.readouterr().err
    assert not list(tmp_path.glob(f"tapes/*/*{OPEN}"))


def test_profile_of_an_embedded_run_has_no_host_to_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A profile with an embedded exchange has no host to record and is refused."""
    demo = str(PROJECT / "config" / "nore-demo.v1.json")

    assert run(["record", "--var", str(tmp_path), "--config", demo]) == 4
    assert "embedded" in capsys.readouterr().err


def test_two_recorders_of_one_name_do_not_write_into_each_other(
    exchange: Exchange, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second recorder of the same name is refused while the first holds the folder."""
    lock = WriterLock(tmp_path / "tapes" / "t" / "record.lock")
    try:
        assert run(flags(exchange, tmp_path, "--for", "20s")) == 2
    finally:
        lock.close()
    said = capsys.readouterr().err
    assert said.startswith("refused: another `minibot record")
    assert "--name" in said


def test_recording_ends_by_itself_when_its_time_is_over(
    exchange: Exchange, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recording ends after `--for`, closed and listed."""
    assert run(flags(exchange, tmp_path, "--for", "1.5s")) == 0

    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    check = check_of(tmp_path / "tapes" / "t")
    assert document["lines"] == check.survey.lines
    assert check.survey.last_ns - check.survey.first_ns > 10**9
    assert [part["name"] for part in document["parts"]] == [
        path.name for path in parts_of([tmp_path / "tapes" / "t"])
    ]
