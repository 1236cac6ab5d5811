"""History of a run for its page: bounded series, each line of the queues once, the end kept."""

from __future__ import annotations

from itertools import pairwise

import pytest

from minibot.engine.recorded_run import Recorded
from minibot.events.model import Event
from minibot.events.names import TICKS
from minibot.kernel.journal import Line
from minibot.ops.web import run_history
from minibot.ops.web.run_history import RunHistory, Series
from minibot.report.night import Night
from tests.ops.web.served import status_of
from tests.runs import ShortRun

START = 1_736_186_400_000


def test_series_takes_each_time_once_and_in_order() -> None:
    """A status that is read twice makes no second point."""
    series = Series()
    for ts, value in ((5, 1.0), (5, 2.0), (4, 3.0), (6, 4.0)):
        series.add(ts, value)

    assert series.since(0) == [(5, 1.0), (6, 4.0)]
    assert series.since(5) == [(6, 4.0)]
    assert series.since(6) == []
    assert Series().since(0) == []


def test_series_shows_a_stretch_without_value_as_none() -> None:
    """A stop that is gone ends its line."""
    series = Series()
    series.add(1, 2.0)
    series.add(2, float("nan"))

    assert series.since(0) == [(1, 2.0), (2, None)]


@pytest.mark.parametrize("count", [7, 8, 9, 100, 1000])
def test_full_series_lets_every_second_value_go(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Its length is bounded, its beginning and its end stay, and points lie evenly."""
    monkeypatch.setattr(run_history, "POINTS_MAX", 8)
    series = Series()
    for ts in range(1, count + 1):
        series.add(ts, float(ts))
    found = series.since(0)
    steps = {after[0] - before[0] for before, after in pairwise(found)}

    assert len(found) < 8
    assert len(steps) == 1
    step = steps.pop()
    assert found[0][0] <= step
    assert count - found[-1][0] < step
    assert all(ts == value for ts, value in found)


def test_history_reads_each_line_once_and_keeps_all_at_its_end(short_run: ShortRun) -> None:
    """Looks in a row change nothing; after the end of the run it answers from memory."""
    history = RunHistory(short_run.run_dir)
    recorded = Recorded.open(short_run.run_dir)
    fills = [event for _, event in recorded.events("fills")]
    first = history.look()
    assert history.look() == first
    history.close()

    assert len(history.chart("BTCUSDT")["fills"]) == len(fills)
    assert [trip.to_json() for trip in history.look()] == [trip.to_json() for trip in first]
    assert [fill for trip in first for fill in trip.fills] == [event.id for event in fills]
    history.close()


def test_history_of_statuses_has_prices_equity_and_stops(short_run: ShortRun) -> None:
    """A stop in force is a line as long as it holds."""
    history = RunHistory(short_run.run_dir)
    for second, stop in enumerate((None, "99.5", "99.7", None)):
        status = status_of(short_run)
        status["market"]["market_ms"] = START + second * 1000
        facts = status["roles"]["risk_role"]["heartbeat"]["facts"]
        facts["equity"] = str(10_000 + second)
        facts["exits"] = {} if stop is None else {"BTCUSDT": {"stop": stop}}
        history.take(status)
    before = status_of(short_run)
    before["market"] = {}
    history.take(before)
    chart = history.chart("BTCUSDT", START)

    assert [value for _, value in chart["stops"]] == [99.5, 99.7, None]
    assert [ts for ts, _ in chart["prices"]] == [START + n * 1000 for n in (1, 2, 3)]
    assert [value for _, value in history.equity()] == [10_000, 10_001, 10_002, 10_003]


def test_history_of_a_record_ends_at_the_reports_equity(short_run: ShortRun) -> None:
    """Page and report of a finished night agree."""
    night = Night.open(short_run.run_dir)
    history = RunHistory(short_run.run_dir)
    history.take_record(night.count)

    assert history.equity()[-1][1] == night.count.performance.equity / 10**8
    assert len(history.chart("BTCUSDT")["prices"]) == len(night.count.prices["BTCUSDT"])


def test_market_data_is_looked_through_once_and_in_bounded_parts(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gaps of a long night are found after a restart of `ops` without one long look."""
    monkeypatch.setattr(run_history, "READ_LINES", 16)
    monkeypatch.setattr(run_history, "LOOK_LINES_MAX", 64)
    monkeypatch.setattr(run_history, "GAP_BYTES", b'"beat"')
    recorded = Recorded.open(short_run.run_dir)
    beats = [event.id for _, event in recorded.events(TICKS) if event.type == "beat"]
    taken: list[str] = []
    decode = Recorded.decode

    def noted(self: Recorded, queue: str, line: Line) -> Event:
        event = decode(self, queue, line)
        if queue == TICKS:
            taken.append(event.id)
        return event

    monkeypatch.setattr(Recorded, "decode", noted)
    history = RunHistory(short_run.run_dir)
    history.look()
    first = len(taken)
    for _ in range(60):
        history.look()

    assert first < len(taken)
    assert taken == beats
