"""Recorder's loop with test streams and a test clock: silence, budgets, the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain, count, repeat
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from minibot.data.recording import Part, Recording
from minibot.events.reasons import IO_ENOSPC
from minibot.exchanges.base import REFUSED, RestError, StreamLost
from minibot.exchanges.binance.rest import BinanceRest
from minibot.exchanges.binance.venue import BINANCE
from minibot.exchanges.tapes.lines import MARK, STREAM, kind_of, read_mark, tape_lines
from minibot.kernel.errors import RunStop
from minibot.market import wall_clock
from minibot.market.recorder import (
    ATTEMPTS_MAX,
    SILENCE_MS_MAX,
    Recorder,
    RecorderConfig,
)
from minibot.market.shard import Shard
from minibot.market.wall_clock import WallClock
from minibot.runtime.clock import suspend_ns
from tests.waiting import DEADLINE_S, wait_until

FRAME = b'{"stream":"btcusdt@trade","data":{}}'


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loop look at its streams often."""
    monkeypatch.setattr("minibot.market.recorder.WAIT_S_MAX", 0.001)


class Clock(WallClock):
    """Monotonic clock plus the test's advance."""

    def __init__(self) -> None:
        self.added_ns = 0
        super().__init__()

    def now_ns(self) -> int:
        return super().now_ns() + self.added_ns


def numbered(*numbers: int) -> list[bytes]:
    """Return distinguishable frames."""
    return [b'{"stream":"btcusdt@trade","data":{"t":%d}}' % number for number in numbers]


class Line:
    """Connection that brings its frames, and then nothing until it is ended."""

    def __init__(self, frames: int | list[bytes], is_refused: bool = False) -> None:
        self.frames: SimpleQueue[bytes | None] = SimpleQueue()
        self.bring(frames if isinstance(frames, list) else [FRAME] * frames)
        self.is_refused = is_refused
        self.is_ended = False

    def bring(self, frames: list[bytes]) -> None:
        for frame in frames:
            self.frames.put(frame)

    def open(self) -> None:
        if self.is_refused:
            raise StreamLost("not connected: refused")

    def recv(self) -> tuple[int, bytes]:
        frame = self.frames.get()
        if frame is None:
            raise StreamLost("connection lost: ended")
        return WallClock().machine_ns(), frame

    def recv_all(self) -> tuple[int, list[bytes]]:
        read_ns, frame = self.recv()
        return read_ns, [frame]

    def unread(self) -> int:
        return self.frames.qsize()

    def abort(self) -> None:
        self.is_ended = True
        self.frames.put(None)

    def close(self) -> None:
        self.is_ended = True


class Rest(BinanceRest):
    """Venue that answers every request for depth."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", connect_timeout_s=1, total_timeout_s=1)

    def get(self, path: str, params: Any) -> Any:
        return {"lastUpdateId": 1, "bids": [], "asks": []}


def new_recorder(
    folder: Path,
    *lines: Iterator[Line],
    renew_ms: int = 80_000_000,
    rest: Rest | None = None,
    print_line: Callable[[str], None] = lambda _: None,
) -> tuple[Recorder, Clock]:
    """Return a recorder with a shard for each iterator of connections, and its clock."""
    clock = Clock()
    config = RecorderConfig(10**9, 3_600_000, 1, 1, 1, 50, renew_ms)
    names = ("BTCUSDT", "ETHUSDT")
    shards = [Shard((name,), partial(next, each)) for name, each in zip(names, lines, strict=False)]
    rules = b'{"symbols":[]}'
    recording = Recording(folder)
    rest = rest or Rest()
    return Recorder(config, BINANCE, recording, rest, shards, rules, clock, print_line), clock


def run_until(recorder: Recorder, is_ended: Callable[[], bool]) -> None:
    """Run a recorder until a condition holds, which is looked at after each of its turns."""
    end = time.monotonic() + DEADLINE_S

    def is_over() -> bool:
        assert time.monotonic() < end, "what the test waits for did not come"
        return is_ended()

    recorder.run(is_over)


def streamed(folder: Path) -> list[bytes]:
    """Return the frames of the one part that was recorded."""
    (path,) = folder.glob("tape-*.gz")
    return [line.message for line in tape_lines(path) if kind_of(line.message) == STREAM]


def marks(folder: Path) -> list[Any]:
    """Return the marks of the one part that was recorded."""
    (path,) = folder.glob("tape-*.gz")
    return [read_mark(line.message) for line in tape_lines(path) if kind_of(line.message) == MARK]


def test_connection_that_brings_nothing_is_given_up_and_marked(tmp_path: Path) -> None:
    """A silent connection is given up, and marked from the last message on."""
    made = [Line(3), Line(2)]
    recorder, clock = new_recorder(tmp_path, iter(made))

    def is_ended() -> bool:
        if recorder.snapshots == 1 and recorder.lines == 5:
            clock.added_ns = (SILENCE_MS_MAX + 1_000) * 10**6
        return recorder.snapshots == 2 and recorder.lines == 9

    run_until(recorder, is_ended)
    (missed,) = marks(tmp_path)
    assert made[0].is_ended
    assert missed.why == "no more data came"
    assert missed.symbols == ("BTCUSDT",)
    assert (missed.to_ns - missed.from_ns) // 10**9 >= 60
    assert recorder.missed == [missed]


def test_sleep_of_the_machine_is_marked_and_ends_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages after a sleep have the times of then, behind a mark of all that was missed."""
    slept_ns = 3 * 3600 * 10**9
    made = [Line(3), Line(2)]
    recorder, _ = new_recorder(tmp_path, iter(made))
    wall_ns = time.time_ns

    def is_ended() -> bool:
        if recorder.lines == 5 and recorder.snapshots == 1 and not recorder.missed:
            monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + slept_ns)
            monkeypatch.setattr(wall_clock, "suspend_ns", lambda: suspend_ns() + slept_ns)
            made[0].bring([FRAME])  # It waited in the socket.
        return len(recorder.missed) == 2 and recorder.snapshots >= 3

    run_until(recorder, is_ended)
    before, after = sorted(tmp_path.glob("tape-*.gz"))
    slept, lost = recorder.missed
    marks_after = [line.message for line in tape_lines(after) if kind_of(line.message) == MARK]
    assert list(map(read_mark, marks_after)) == [slept, lost]
    assert (slept.why, lost.why) == ("the machine slept", "no more data came")
    assert slept.to_ns - slept.from_ns >= slept_ns
    assert slept.to_ns <= lost.from_ns
    assert min(line.at_ns for line in tape_lines(after)) >= max(
        line.at_ns + slept_ns for line in tape_lines(before)
    )
    assert made[0].is_ended


@pytest.mark.parametrize("step_s", [-3_600, 86_400], ids=["back", "ahead"])
def test_wall_clock_that_is_set_costs_no_connection_and_no_false_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: int
) -> None:
    """A part begins by a clock that was set; what is missed later is as long as it lasted."""
    made = [Line(3), Line(2)]
    recorder, _ = new_recorder(tmp_path, iter(made))
    wall_ns, whole = time.time_ns, recorder.config
    parts: list[int] = []

    def is_ended() -> bool:
        if not parts and recorder.lines == 5 and recorder.snapshots == 1:
            parts.append(recorder.lines)
            monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + step_s * 10**9)
            recorder.config = replace(whole, part_bytes_max=1)
        elif len(parts) == 1 and recorder.snapshots >= 2:
            parts.append(recorder.lines)
            recorder.config = whole
            assert not made[0].is_ended
            made[0].abort()  # Lost, long after the new part began.
        return len(parts) == 2 and len(recorder.missed) == 1

    run_until(recorder, is_ended)
    (lost,) = recorder.missed
    assert lost.why == "connection lost: ended"
    assert 0 <= lost.to_ns - lost.from_ns < DEADLINE_S * 10**9


def test_recorder_after_a_crash_reads_the_part_of_the_crash_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saving a part tells its last time: while one is read, nothing is recorded."""
    part = Recording(tmp_path).open(10**18)
    part.add(10**18 + 7, FRAME)
    part.flush()
    monkeypatch.setattr(Recording, "last_ns", lambda recording: pytest.fail("read again"))
    recorder, _ = new_recorder(tmp_path, iter([Line(1)]))

    run_until(recorder, lambda: recorder.snapshots == 1)

    assert [missed.why for missed in recorder.missed] == ["the recorder did not run"]
    assert recorder.missed[0].from_ns == 10**18 + 7


def test_disk_that_takes_no_further_part_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages that still come are not written into the part that was closed before."""
    full = RunStop("kernel", IO_ENOSPC, "no space left")
    made = Line(3)
    recorder, _ = new_recorder(tmp_path, iter([made]))

    def refuse(recording: Recording, now_ns: int) -> Part:
        made.bring([FRAME])
        wait_until(made.frames.empty, "a frame that is read")
        raise full

    def is_ended() -> bool:
        if recorder.lines == 5:
            monkeypatch.setattr(Recording, "open", refuse)
            recorder.config = replace(recorder.config, part_bytes_max=1)
        return False

    with pytest.raises(RunStop) as stop:
        run_until(recorder, is_ended)

    assert stop.value is full
    assert len(list(tmp_path.glob("tape-*.gz"))) == 1


def test_symbol_that_the_venue_lists_no_longer_is_asked_for_once_a_part(tmp_path: Path) -> None:
    """A refusal does not pass: asking every five seconds would use up the night's weight."""
    asked: list[str] = []

    class Refusing(Rest):
        def get(self, path: str, params: Any) -> Any:
            asked.append(path)
            raise RestError(REFUSED, "Invalid symbol.", status=400, code=-1121)

    lines: list[str] = []
    recorder, clock = new_recorder(
        tmp_path, iter([Line(3)]), rest=Refusing(), print_line=lines.append
    )

    def is_ended() -> bool:
        if len(lines) > 1:
            clock.added_ns += 10**9
        return clock.added_ns > 30 * 10**9

    run_until(recorder, is_ended)

    assert len(asked) == 1
    assert "BTCUSDT: no depth" in lines[1]
    assert "next part" in lines[1]


def test_connection_that_is_lost_at_the_end_is_marked_too(tmp_path: Path) -> None:
    """A connection lost at the end is marked up to the end of the recording."""
    first, printed = Line(3), list[str]()
    lines = chain([first], (Line(0, is_refused=True) for _ in count()))
    recorder, _ = new_recorder(tmp_path, lines, print_line=printed.append)

    def is_ended() -> bool:
        if recorder.lines == 5 and not first.is_ended:
            first.abort()
        return "stream ended: connection lost: ended" in printed

    run_until(recorder, is_ended)
    (missed,) = marks(tmp_path)
    assert missed.why == "connection lost: ended"
    assert missed.from_ns < missed.to_ns


def test_attempts_stay_under_the_budget_of_the_address(tmp_path: Path) -> None:
    """Attempts stay under the address's budget when the exchange refuses all."""
    made: list[Line] = []

    def lines() -> Iterator[Line]:
        while True:
            made.append(Line(0, is_refused=True))
            yield made[-1]

    turns_after: list[int] = []
    recorder, _ = new_recorder(tmp_path, lines())

    def is_ended() -> bool:
        if len(made) >= ATTEMPTS_MAX:
            turns_after.append(1)
        return len(turns_after) > 100

    run_until(recorder, is_ended)
    assert len(made) == ATTEMPTS_MAX
    # The venue bans an address at three hundred; a run may record itself beside its night.
    assert ATTEMPTS_MAX + BINANCE.streams.limits.attempts_max < 300


def test_successor_of_a_silent_connection_marks_what_both_may_have_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hand-over from a connection that died unseen is no proof that nothing was missed."""
    monkeypatch.setattr("minibot.market.recorder.OVERLAP_MS", 50)
    made, printed = [Line(numbered(1)), Line(numbered(5))], list[str]()
    recorder, clock = new_recorder(
        tmp_path, chain(made, map(Line, repeat(0))), renew_ms=30_000, print_line=printed.append
    )

    def is_ended() -> bool:
        if recorder.lines == 3 and not clock.added_ns:
            clock.added_ns = 40_000 * 10**6
        return recorder.snapshots == 2 and recorder.lines == 6

    run_until(recorder, is_ended)
    (missed,) = marks(tmp_path)
    assert missed.why == "no more data came"
    assert missed.symbols == ("BTCUSDT",)
    assert (missed.to_ns - missed.from_ns) // 10**9 >= 30
    assert streamed(tmp_path) == numbered(1, 5)
    assert any("taken over; missed" in line for line in printed)


@pytest.mark.row("F112")
@pytest.mark.parametrize("is_cut", [False, True])
def test_old_connection_hands_over_without_a_message_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_cut: bool
) -> None:
    """A renewed connection hands over with each message exactly once."""
    monkeypatch.setattr("minibot.market.recorder.OVERLAP_MS", 60_000 if is_cut else 50)
    made = [Line(numbered(1, 2, 3)), Line(numbered(4, 5, 6, 7, 8, 9))]

    def lines() -> Iterator[Line]:
        yield made[0]
        made[0].bring(numbered(4, 5, 6))  # Its successor connects meanwhile and receives them too.
        yield made[1]
        yield from map(Line, repeat(0))

    recorder, _ = new_recorder(tmp_path, lines(), renew_ms=100)

    def is_ended() -> bool:
        if is_cut and made[0].frames.empty() and made[1].frames.empty():
            made[0].abort()
        return recorder.lines >= 1 + 1 + 9

    run_until(recorder, is_ended)
    assert streamed(tmp_path) == numbered(1, 2, 3, 4, 5, 6, 7, 8, 9)
    assert recorder.missed == []
    assert recorder.snapshots == 1


def test_announced_end_of_a_connection_is_followed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An announced end opens a successor at once."""
    monkeypatch.setattr("minibot.market.recorder.OVERLAP_MS", 50)
    shutdown = b'{"stream":"btcusdt@trade","data":{"e":"serverShutdown","E":1}}'
    made = [Line([*numbered(1), shutdown]), Line(numbered(2))]
    recorder, _ = new_recorder(tmp_path, chain(made, map(Line, repeat(0))))

    run_until(recorder, lambda: recorder.lines >= 5)
    assert streamed(tmp_path) == [*numbered(1), shutdown, *numbered(2)]
    assert recorder.missed == []


def test_announced_end_of_a_successor_is_followed_once_it_has_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A successor that says it will close gets a successor of its own."""
    monkeypatch.setattr("minibot.market.recorder.OVERLAP_MS", 50)
    ends = [b'{"stream":"btcusdt@trade","data":{"e":"serverShutdown","E":%d}}' % n for n in (1, 2)]
    made = [Line([*numbered(1), ends[0]]), Line([*numbered(2), ends[1]]), Line(numbered(3))]
    recorder, _ = new_recorder(tmp_path, chain(made, map(Line, repeat(0))))

    run_until(recorder, lambda: recorder.lines >= 7)
    assert streamed(tmp_path) == [*numbered(1), ends[0], *numbered(2), ends[1], *numbered(3)]
    assert recorder.missed == []


def test_loss_of_one_connection_is_not_taken_for_that_of_another(tmp_path: Path) -> None:
    """Each mark names the symbols of its own lost connection."""
    first, second = [Line(1) for _ in range(4)], Line(1)
    recorder, _ = new_recorder(tmp_path, iter(first), chain([second], map(Line, repeat(1))))

    def is_ended() -> bool:
        lost = len(recorder.missed)
        if recorder.snapshots == 2 + lost:
            (first[lost] if lost < 3 else second).abort()
        return lost == 4 and recorder.snapshots == 6

    run_until(recorder, is_ended)
    assert [missed.symbols for missed in marks(tmp_path)] == 3 * [("BTCUSDT",)] + [("ETHUSDT",)]
