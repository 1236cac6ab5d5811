"""The recorder's loop with streams and a clock of the test's own: silence, budgets, the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

import pytest

from minibot.data.recording import Recording
from minibot.exchanges.base import StreamLost
from minibot.exchanges.binance.rest import BinanceRest
from minibot.exchanges.tapes.lines import MARK, kind_of, read_mark, tape_lines
from minibot.market.recorder import (
    ATTEMPTS_MAX,
    SILENCE_MS_MAX,
    Recorder,
    RecorderConfig,
    Shard,
)
from minibot.market.wall_clock import WallClock

FRAME = b'{"stream":"btcusdt@trade","data":{}}'


class Clock(WallClock):
    """The machine's clock, and what the test adds to it."""

    def __init__(self) -> None:
        self.added_ns = 0
        super().__init__()

    def now_ns(self) -> int:
        return super().now_ns() + self.added_ns


class Line:
    """A connection that brings what it was given, and then nothing until it is ended."""

    def __init__(self, frames: int, is_refused: bool = False) -> None:
        self.left = frames
        self.is_refused = is_refused
        self.ended = threading.Event()

    def open(self) -> None:
        if self.is_refused:
            raise StreamLost("not connected: refused")

    def recv(self) -> tuple[int, bytes]:
        if self.left:
            self.left -= 1
            return WallClock().machine_ns(), FRAME
        self.ended.wait()
        raise StreamLost("connection lost: ended")

    def abort(self) -> None:
        self.ended.set()

    def close(self) -> None:
        self.ended.set()


class Rest(BinanceRest):
    """A venue that answers every request for depth."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", connect_timeout_s=1, total_timeout_s=1)

    def get(self, path: str, params: Any) -> Any:
        return {"lastUpdateId": 1, "bids": [], "asks": []}


def new_recorder(folder: Path, lines: Iterator[Line]) -> tuple[Recorder, Clock]:
    """Return a recorder of one shard, and its clock."""
    clock = Clock()
    config = RecorderConfig(10**9, 3_600_000, 1, 1, 1, 50)
    shard = Shard(("BTCUSDT",), lambda: next(lines))
    rules = b'{"symbols":[]}'
    recording = Recording(folder)
    return Recorder(config, recording, Rest(), [shard], rules, clock, lambda _: None), clock


def marks(folder: Path) -> list[Any]:
    """Return the marks of the one part that was recorded."""
    (path,) = folder.glob("tape-*.gz")
    return [read_mark(line.message) for line in tape_lines(path) if kind_of(line.message) == MARK]


def test_connection_that_brings_nothing_is_given_up_and_marked(tmp_path: Path) -> None:
    """From the last thing heard, and not from the moment at which somebody noticed."""
    made = [Line(3), Line(2)]
    recorder, clock = new_recorder(tmp_path, iter(made))

    def is_ended() -> bool:
        if recorder.snapshots == 1 and recorder.lines == 5:
            clock.added_ns = (SILENCE_MS_MAX + 1_000) * 10**6
        return recorder.snapshots == 2 and recorder.lines == 9

    recorder.run(is_ended)
    (missed,) = marks(tmp_path)
    assert made[0].ended.is_set()
    assert missed.why == "nothing came any more"
    assert missed.symbols == ("BTCUSDT",)
    assert (missed.to_ns - missed.from_ns) // 10**9 >= 60
    assert recorder.missed == [missed]


def test_connection_that_is_lost_at_the_end_is_marked_too(tmp_path: Path) -> None:
    """Nobody came back: what was missed reaches to the end of the recording."""
    first, turns = Line(3), []
    lines = chain([first], (Line(0, is_refused=True) for _ in count()))
    recorder, _ = new_recorder(tmp_path, lines)

    def is_ended() -> bool:
        if recorder.lines == 5:
            first.abort()
            turns.append(1)
        return len(turns) > 3

    recorder.run(is_ended)
    (missed,) = marks(tmp_path)
    assert missed.why == "connection lost: ended"
    assert missed.from_ns < missed.to_ns


def test_attempts_stay_under_the_budget_of_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exchange that refuses everybody is not knocked at more often than it allows."""
    monkeypatch.setattr("minibot.market.recorder.WAIT_S_MAX", 0.005)
    made: list[Line] = []

    def lines() -> Iterator[Line]:
        while True:
            made.append(Line(0, is_refused=True))
            yield made[-1]

    turns: list[int] = []
    recorder, _ = new_recorder(tmp_path, lines())

    def is_ended() -> bool:
        turns.append(1)
        return len(turns) > 3 * ATTEMPTS_MAX

    recorder.run(is_ended)
    assert 20 < len(made) <= ATTEMPTS_MAX
