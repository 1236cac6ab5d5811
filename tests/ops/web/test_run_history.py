"""History of a run for its page: bounded series, each line of the queues once, the end kept."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from minibot.engine import price_charts
from minibot.engine.recorded_run import Recorded
from minibot.events.model import Event, Incident, MarketTick
from minibot.events.names import TICKS
from minibot.kernel.journal import Line
from minibot.market.notices import BARS_MISSING
from minibot.ops.part_events import PartEvents
from minibot.ops.web import run_history
from minibot.ops.web.record_page import RecordPage
from minibot.ops.web.run_history import RunHistory, Series
from minibot.report import curve
from minibot.report.night import Night
from minibot.runtime.paths import Var
from tests.ops.web.served import Served, status_of
from tests.report.made_run import made_run, read_fixture
from tests.runs import ShortRun

pytestmark = pytest.mark.network_mock

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


def test_history_lists_the_incidents_that_the_report_lists(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A market that is played without history misses it, which neither of them calls news."""
    night = Night.open(short_run.run_dir)
    for detail in ("BTCUSDT 1m: 0 of 60 bars of history", "BTCUSDT 1m: 2 bars without klines"):
        night.count.incidents.append((START, Incident("market_role", BARS_MISSING, detail)))
    events = [SimpleNamespace(ts=ts, payload=item) for ts, item in night.count.incidents]
    monkeypatch.setattr(PartEvents, "look", lambda self: iter(events))
    history = RunHistory(short_run.run_dir)
    history.look()

    assert len(night.count.incidents) > len(night.incidents) > 0
    assert history.incidents() == [{"ts": ts, **item.to_json()} for ts, item in night.incidents]


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
    assert len(history.chart("BTCUSDT")["prices"]) == len(night.count.prices["BTCUSDT"]) + 1


def test_history_of_a_record_tells_no_price_or_loss_before_it_came(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long night has wide candles: their last price is not that of their first second."""
    monkeypatch.setattr(price_charts, "CANDLES_MAX", 20)
    monkeypatch.setattr(curve, "STRETCHES_MAX", 10)
    history = RunHistory(short_run.run_dir)
    history.take_record(Night.open(short_run.run_dir).count)
    *prices, last = history.chart("BTCUSDT")["prices"]

    events = [event for _, event in Recorded.open(short_run.run_dir).events(TICKS)]
    traded = [(each.ts, each.payload) for each in events]
    ticks = [(ts, float(tick.price)) for ts, tick in traded if isinstance(tick, MarketTick)]
    assert 1 < len(prices) <= 20
    for ts, value in prices:
        assert value == next(price for at, price in ticks if at >= ts)
    assert last == (events[-1].ts, ticks[-1][1])
    history.look()
    bought_ts = history.chart("BTCUSDT")["fills"][0]["ts"]
    assert {value for ts, value in history.equity() if ts <= bought_ts} == {10_000.0}


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the lines of market data that a history decodes: beats for gaps, 64 lines a look."""
    monkeypatch.setattr(run_history, "READ_LINES", 16)
    monkeypatch.setattr(run_history, "LOOK_LINES_MAX", 64)
    monkeypatch.setattr(run_history, "GAP_BYTES", b'"beat"')
    found: list[str] = []
    decode = Recorded.decode

    def noted(self: Recorded, queue: str, line: Line) -> Event:
        event = decode(self, queue, line)
        if queue == TICKS:
            found.append(event.id)
        return event

    monkeypatch.setattr(Recorded, "decode", noted)
    return found


def beats_of(run: ShortRun) -> list[str]:
    """Return the ids of a run's beats."""
    events = Recorded.open(run.run_dir).events(TICKS)
    return [event.id for _, event in events if event.type == "beat"]


@pytest.mark.parametrize("is_over", [False, True])
def test_market_data_is_looked_through_once_and_in_bounded_parts(
    short_run: ShortRun, taken: list[str], is_over: bool
) -> None:
    """Bounded looks find each gap once, behind a restart of `ops` and behind the night's end."""
    beats = beats_of(short_run)
    taken.clear()
    history = RunHistory(short_run.run_dir)
    if is_over:
        history.close()
    else:
        history.look()
    first = len(taken)
    for _ in range(60):
        history.look()
        if is_over:
            history.close()

    assert first < len(taken)
    assert taken == beats


def test_look_counts_lines_however_few_a_read_returns(
    short_run: ShortRun, taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads that are cut short by their bytes leave a look its whole number of lines."""
    monkeypatch.setattr("minibot.kernel.reader.CHUNK_BYTES", 1024)
    monkeypatch.setattr(run_history, "GAP_BYTES", b"")  # Stands in every line.
    RunHistory(short_run.run_dir).look()

    assert len(taken) == run_history.LOOK_LINES_MAX


def test_page_of_a_record_shows_every_gap_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gap at the end of market data that are longer than a look is on the page, once."""
    monkeypatch.setattr(run_history, "READ_LINES", 16)
    monkeypatch.setattr(run_history, "LOOK_LINES_MAX", 64)
    data = read_fixture()
    facts = {"symbol": "BTCUSDT", "stream": "trade", "from_ts": START, "to_ts": START + 1}
    for minute in (data["minutes"][0], data["minutes"][-1]):
        gap = {"queue": TICKS, "type": "gap", "payload": {**facts, "why": f"minute {minute}"}}
        data["events"].append({"minute": minute, **gap})
    var = Var(tmp_path / "var")
    page = RecordPage(Night.open(made_run(var.root, data)), var, 0)
    try:
        record = Served(page.port, var, str(data["run_id"]))
        gaps = record.get("/api/v1/chart?symbol=BTCUSDT").document["gaps"]
    finally:
        page.close()

    assert [(gap["ts"], gap["from_ts"]) for gap in gaps] == [(START + 1, START)] * 2
    assert [gap["words"] for gap in gaps] == [
        f"trade: minute {data['minutes'][at]}" for at in (0, -1)
    ]
