"""Market moved to another time: everything by the same amount, bars on their grid."""

from __future__ import annotations

import time
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from minibot.exchanges.tapes.frames import SNAPSHOT
from minibot.exchanges.tapes.kline_bars import INTERVALS, Bar, open_of
from minibot.kernel.errors import ConfigError
from minibot.simulator.server.service import Settings, make_server
from minibot.simulator.sources.rebase import Rebased
from minibot.simulator.sources.sources import open_source
from tests.simulator.embedded_exchange import ORIGIN_MS, market, trade, write_tape

NEW_MS = 1_790_000_012_345
SKEW_MS = -1270


def recorded(folder: Path) -> Path:
    """Return a tape whose event times lag its receive times, like real ones."""
    lines: list[tuple[int, Any]] = []
    for at_ms, message in market(5):
        data = dict(message.get("data", message))
        if "E" in data:
            data["E"] += SKEW_MS
        if "T" in data:
            data["T"] += SKEW_MS
        lines.append((at_ms, {**message, "data": data} if "data" in message else data))
    return write_tape(folder / "tape.gz", lines)


def test_every_time_of_a_tape_moves_alike_and_nothing_else_changes(tmp_path: Path) -> None:
    """Receive times move by whole seconds, events with them, without the recorder's skew."""
    source = open_source(f"tape:{recorded(tmp_path)}", 20)
    moved = Rebased(source, NEW_MS)

    shift_ms = moved.facts.origin_ms - source.facts.origin_ms
    assert shift_ms % 1000 == 0
    assert 0 <= NEW_MS - moved.facts.origin_ms < 1000
    assert (source.facts.skew_ms, moved.facts.skew_ms) == (SKEW_MS, 0)
    assert (moved.facts.end_ms or 0) - (source.facts.end_ms or 0) == shift_ms
    pairs = list(zip(source.frames(), moved.frames(), strict=True))
    assert len(pairs) > 150
    for before, after in pairs:
        assert after.at_ns - before.at_ns == shift_ms * 1_000_000
        assert (after.symbol, after.kind, after.stream) == (
            before.symbol,
            before.kind,
            before.stream,
        )
        old, new = orjson.loads(before.data), orjson.loads(after.data)
        by_ms = 0 if before.kind == SNAPSHOT else shift_ms - SKEW_MS
        assert new == {
            key: value + by_ms if key in ("E", "T") else value for key, value in old.items()
        }


def test_trade_numbers_and_bars_inside_events_are_no_times_or_are(tmp_path: Path) -> None:
    """`t` is a number in a trade and a time in a bar."""
    kline = {"t": ORIGIN_MS, "T": ORIGIN_MS + 999, "i": "1s", "f": 1, "L": 2, "n": 3}
    line = (10, {"stream": "btcusdt@kline_1s", "data": {"e": "kline", "E": ORIGIN_MS, "k": kline}})
    tape = write_tape(tmp_path / "tape.gz", [trade(0, 77), line])
    moved = Rebased(open_source(f"tape:{tape}", 20), NEW_MS)

    first, second = (orjson.loads(frame.data) for frame in moved.frames())
    by_ms = second["E"] - ORIGIN_MS
    assert first["t"] == 77
    assert first["T"] == ORIGIN_MS + by_ms
    expected = kline | {"t": ORIGIN_MS + by_ms, "T": ORIGIN_MS + 999 + by_ms}
    assert second["k"] == expected


@pytest.fixture(scope="module")
def moved() -> Rebased:
    """Synthetic market on the new clock."""
    return Rebased(open_source("generator:3", 20), NEW_MS)


@pytest.mark.slow
@pytest.mark.parametrize("interval", ["1s", "1m", "5m", "1h"])
def test_past_of_a_made_market_stays_on_the_grid_and_ends_at_the_origin(
    interval: str, moved: Rebased
) -> None:
    """History of a synthetic market is gathered again on the new clock's grid."""
    bars = moved.past_bars("BTCUSDT", interval)

    assert bars
    assert all(bar.open_ms == open_of(interval, bar.open_ms) for bar in bars)
    assert all(bar.end_ms - bar.open_ms == INTERVALS[interval] for bar in bars)
    assert moved.facts.origin_ms - 2 * INTERVALS[interval] < bars[-1].open_ms
    assert bars[-1].open_ms < moved.facts.origin_ms
    assert all(bar.open_ms <= bar.last_ms < bar.end_ms for bar in bars)


def test_history_is_moved_by_whole_bars_and_never_into_what_is_played() -> None:
    """History moves by whole bars and ends before the origin's minute."""
    source = open_source("generator:3", 20)
    moved = Rebased(source, NEW_MS)
    end_ms = source.facts.origin_ms
    bars = [Bar(end_ms - n * 60_000, end_ms - (n - 1) * 60_000, 1, 1, 1, 1) for n in (3, 2, 1)]

    base, found = moved.history({"BTCUSDT": ("1m", bars)})["BTCUSDT"]

    assert base == "1m"
    assert [bar.open_ms % 60_000 for bar in found] == [0, 0, 0]
    assert [later.open_ms - former.open_ms for former, later in pairwise(found)] == [60_000] * 2
    assert found[-1].end_ms == open_of("1m", moved.facts.origin_ms)


def test_server_of_a_moved_market_runs_on_the_wall_clock() -> None:
    """A moved market's time is wall-clock time from the first moment."""
    server = make_server(Settings("generator:3", is_rebased=True))

    assert server.venue.clock.is_started
    assert abs(server.venue.now_ms() - time.time_ns() // 1_000_000) < 2_000
    first = next(islice(server.venue.source.frames(), 1))
    assert 0 <= first.at_ns // 1_000_000 - server.venue.facts.origin_ms < 1_000


def test_moved_market_has_the_speed_of_the_wall_clock_alone() -> None:
    """A moved market refuses any speed but one."""
    with pytest.raises(ConfigError) as error:
        make_server(Settings("generator:3", speed="10", is_rebased=True))

    assert "--rebase-to-now" in str(error.value)
