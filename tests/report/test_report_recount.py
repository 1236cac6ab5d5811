"""Figures of a night: live, recounted, and counted a third time by the standard library."""

from __future__ import annotations

import json
import math
from collections import Counter
from contextlib import closing
from decimal import Decimal, getcontext
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from minibot.accounting.performance import Performance
from minibot.accounting.run_counters import HealthCounters
from minibot.engine.role_replay import Recorded
from minibot.events.model import (
    Book,
    Event,
    Fill,
    Gap,
    Health,
    RunOpening,
    StopJournal,
    Universe,
)
from minibot.kernel.queue import open_writer
from minibot.report.outages import GapLog, outages_of
from minibot.report.recount import Recount, recount
from tests.report.made_run import made_run, read_fixture
from tests.runs import ShortRun, raw_events

TOLERANCE = Decimal("1e-9")
getcontext().prec = 60


def universe(traded: tuple[str, ...], kept: tuple[str, ...] = ()) -> Universe:
    """Universe of these symbols."""
    return Universe("dynamic", "USDT", traded, (), kept, (), {}, {}, 1)


@pytest.fixture(scope="module")
def live(short_run: ShortRun) -> dict[str, Any]:
    """Metrics that the watchdog wrote during the run."""
    found: dict[str, Any] = json.loads((short_run.var / "metrics" / "metrics.json").read_bytes())
    return found


@pytest.fixture(scope="module")
def again(short_run: ShortRun) -> dict[str, Any]:
    """Metrics recounted from the queues."""
    return recount(Recorded.open(short_run.run_dir))


@pytest.mark.row("N-77", "N-80", "N-121")
def test_metrics_written_live_equal_a_recount_from_the_queues(
    live: dict[str, Any], again: dict[str, Any]
) -> None:
    """Every figure of both is equal to the last character."""
    assert {name: live[name] for name in again} == again


@pytest.mark.row("N-77")
def test_counts_equal_the_lines_of_the_inboxes(short_run: ShortRun, live: dict[str, Any]) -> None:
    """Counts equal the lines of the inboxes."""
    for queue, number in live["lines"].items():
        assert number == len(raw_events(short_run.run_dir, queue)), queue
    types = Counter(event["type"] for event in raw_events(short_run.run_dir, "market_ticks"))

    assert live["market_ticks"] == types
    assert live["lines"]["fills"] >= 4


@pytest.mark.row("N-76")
def test_link_latency_equals_an_independent_percentile(
    short_run: ShortRun, live: dict[str, Any]
) -> None:
    """Latency equals the nearest rank over the successful measurements in health events."""
    health = [event["payload"] for event in raw_events(short_run.run_dir, "health")]
    pings = sorted(p["latency_us"] for p in health if p.get("endpoint") and p["ok"])
    failed = sum(1 for p in health if p.get("endpoint") and not p["ok"])

    def rank(percent: int) -> int:
        return int(pings[math.ceil(len(pings) * percent / 100) - 1])

    assert live["latency_us"]["n"] == len(pings) >= 5
    assert live["latency_us"]["errors"] == failed
    assert live["latency_us"]["p50"] == rank(50)
    assert live["latency_us"]["p95"] == rank(95)


@pytest.mark.row("N-75")
def test_uptime_is_there_for_every_role(short_run: ShortRun, live: dict[str, Any]) -> None:
    """Uptime of each of six roles is its age in its last health event."""
    last = {}
    for event in raw_events(short_run.run_dir, "health"):
        last[event["payload"]["role"]] = event["payload"]["uptime_s"]

    assert live["uptime_s"] == last
    assert len(last) == 6


@pytest.mark.row("N-75")
def test_uptime_of_a_role_that_was_restarted_adds_up_over_its_lives() -> None:
    """Uptime of a restarted role adds up over its processes."""
    count = HealthCounters()
    for role, uptime_s in (
        ("risk_role", 5), ("market_role", 6), ("risk_role", 9), ("risk_role", 0),
        ("risk_role", 4), ("risk_role", 1), ("market_role", 16),
    ):  # fmt: skip
        count.on_health(Health(role, "READY", uptime_s, 1), 1)

    assert count.to_json()["uptime_s"] == {"market_role": 16, "risk_role": 9 + 4 + 1}


@pytest.mark.row("N-78")
@pytest.mark.parametrize(
    ("results", "win_rate", "reward_risk"),
    [
        (("30", "-10", "10", "-6", "-4"), "0.4000000000", "3.0000000000"),
        (("7", "-3"), "0.5000000000", "2.3333333333"),
        (("-1", "0"), "0.0000000000", None),
        (("4", "0"), "0.5000000000", None),
        ((), None, None),
    ],
)
def test_win_rate_and_reward_risk_of_trips_are_those_reckoned_by_hand(
    results: tuple[str, ...], win_rate: str | None, reward_risk: str | None
) -> None:
    """Win rate and reward to risk equal hand figures; an even trip counts as neither."""
    performance = Performance(RunOpening({"USDT": "1000"}, (), {}), "USDT")
    for result in results:
        for side, price in (("BUY", "100"), ("SELL", str(100 + int(result)))):
            performance.on_fill(Fill("o", "c", "BTCUSDT", side, "1", price, "0", "USDT", "T"), 1)

    found = performance.to_json()

    assert found["round_trips"] == len(results)
    assert (found["win_rate"], found["reward_risk"]) == (win_rate, reward_risk)
    assert Decimal(found["pnl"]) == sum(map(Decimal, results))


def third_count(short_run: ShortRun) -> dict[str, Decimal]:
    """Compute profit, drawdown, win rate and R:R from raw lines in plain decimals."""
    manifest = json.loads((short_run.run_dir / "manifest.json").read_bytes())
    cash = Decimal(manifest["opening"]["cash"]["USDT"])
    fills = [event["payload"] for event in raw_events(short_run.run_dir, "fills")]
    held, mid, fees = Decimal(0), Decimal(0), Decimal(0)
    start = equity = peak = cash
    deepest = deepest_ratio = trip = Decimal(0)
    trips: list[Decimal] = []

    def look() -> None:
        nonlocal equity, peak, deepest, deepest_ratio
        equity = cash + held * mid
        peak = max(peak, equity)
        deepest = max(deepest, peak - equity)
        deepest_ratio = max(deepest_ratio, (peak - equity) / peak)

    for seq, event in enumerate(raw_events(short_run.run_dir, "market_ticks"), 1):
        while fills and fills[0]["tick_seq"] < seq:
            fill = fills.pop(0)
            qty, price, fee = (Decimal(fill[name]) for name in ("qty", "price", "fee"))
            sign = 1 if fill["side"] == "BUY" else -1
            cash -= sign * qty * price + fee
            held += sign * qty
            trip -= sign * qty * price + fee
            fees += fee
            if not held:
                trips.append(trip)
                trip = Decimal(0)
            look()
        if event["type"] == "market_tick":
            mid = (Decimal(event["payload"]["bid"]) + Decimal(event["payload"]["ask"])) / 2
            look()
    assert not fills
    wins = [trip for trip in trips if trip > 0]
    losses = [-trip for trip in trips if trip < 0]
    ratios = {"win_rate": Decimal(len(wins)) / len(trips)}
    if wins and losses:
        mean_win = sum(wins, Decimal(0)) / len(wins)
        ratios["reward_risk"] = mean_win / (sum(losses, Decimal(0)) / len(losses))
    return {
        "pnl": equity - start,
        "equity": equity,
        "fees": fees,
        "drawdown_max": deepest,
        "drawdown_bps_max": deepest_ratio * 10_000,
        "round_trips": Decimal(len(trips)),
        **ratios,
    }


@pytest.mark.row("N-78", "N-106")
def test_profit_and_drawdown_equal_a_third_count_in_plain_decimals(
    short_run: ShortRun, live: dict[str, Any]
) -> None:
    """Profit and drawdown equal the third count within 1e-9."""
    figures = live["performance"]

    counted = third_count(short_run)

    assert counted["round_trips"] >= 2
    for name, value in counted.items():
        assert abs(Decimal(figures[name]) - value) <= TOLERANCE, name


@pytest.mark.row("N-80")
def test_metrics_have_timed_snapshots_and_carry_their_own_hash(short_run: ShortRun) -> None:
    """Metrics name run and time and carry their own hash; snapshots are timed."""
    folder = short_run.var / "metrics"
    snapshots = sorted(folder.glob(f"{short_run.run_id}-*.json"))

    assert snapshots
    for path in (folder / "metrics.json", *snapshots):
        document = json.loads(path.read_bytes())
        assert document["run_id"] == short_run.run_id
        assert len(document["sha256"]) == 64


@pytest.mark.row("N-79")
def test_share_of_stops_and_their_reasons_stand_in_the_metrics(live: dict[str, Any]) -> None:
    """The share of STOPs stands in the metrics: zero of one for a first planned end."""
    assert live["stop"] == {
        "runs": 1,
        "stopped": 0,
        "share": "0.0000000000",
        "reasons": {},
        "planned_ms": 60_000,
        "stopped_ms": 0,
    }


def test_round_trips_of_the_table_are_those_of_the_figures(short_run: ShortRun) -> None:
    """Round trips of the table add up to the result above it."""
    count = Recount(Recorded.open(short_run.run_dir))

    nets = [trip.net for trip in count.trades.trips]

    assert nets == count.performance.trips
    assert sum(trip.fees for trip in count.trades.trips) == count.performance.portfolio.fees
    assert all(trip.is_closed for trip in count.trades.trips)


def test_equity_curve_ends_at_the_equity_and_hides_no_fall(short_run: ShortRun) -> None:
    """The equity curve keeps the deepest drawdown and the last value."""
    count = Recount(Recorded.open(short_run.run_dir))

    points = count.curve.points

    assert points[-1].last == count.performance.equity
    assert max(point.drawdown for point in points) == count.performance.drawdown_max
    assert [point.ts for point in points] == sorted({point.ts for point in points})


def test_isolation_of_the_ai_is_every_level_that_it_told(tmp_path: Path) -> None:
    """A worker that came back in another sandbox is told, also where the last one was fine."""
    data = read_fixture()
    facts = {"role": "ai_role", "state": "READY", "uptime_s": 1, "turns": 1}
    details = ("starting", "isolation advisory; model x", "isolation jail; model y")
    for minute, detail in enumerate(details):
        payload = {**facts, "detail": detail}
        data["events"].append(
            {"queue": "health", "type": "health", "minute": minute, "payload": payload}
        )

    count = Recount(Recorded.open(made_run(tmp_path / "var", data)))

    assert count.ai_levels == {"advisory", "jail"}
    assert count.ai_detail == "isolation jail; model y"


def test_incident_that_a_killed_launcher_had_not_merged_is_counted(tmp_path: Path) -> None:
    """Parts are the truth: a line that stands only in one counts, one in both counts once."""
    run_dir = made_run(tmp_path / "var")
    queues = run_dir / "queues"
    recorded = Recorded.open(run_dir)
    merged = [event for _, event in recorded.events("incidents")]
    late = replace(merged[-1], id=f"f{merged[-1].id[1:]}", ts=merged[-1].ts + 1)
    with closing(open_writer(queues, "incidents", "market_role")) as part:
        part.append_json([recorded.codec.encode("incidents", each) for each in (*merged, late)])

    count = Recount(Recorded.open(run_dir))

    assert [ts for ts, _ in count.incidents] == [each.ts for each in (*merged, late)]
    assert count.lines["incidents"] == len(merged)


def test_every_gap_of_several_in_a_row_is_counted(tmp_path: Path) -> None:
    """A lost connection writes the gaps of all its symbols at once; each is part of an outage."""
    data = read_fixture()
    begin = data["from_ts"]
    for number, symbol in enumerate(("BTCUSDT", "ETHUSDT", "DOGEUSDT")):
        gap = {"symbol": symbol, "stream": "trade", "why": "lost"}
        gap |= {"from_ts": begin, "to_ts": begin + 1000 * number}
        data["events"].append({"queue": "market_ticks", "type": "gap", "minute": 1, "payload": gap})

    count = Recount(Recorded.open(made_run(tmp_path / "var", data)))

    assert [gap.to_ts - begin for gap in count.gaps] == [0, 1000, 2000]


@pytest.mark.parametrize("first", ["market_role", "risk_role"])
def test_stops_that_no_launcher_merged_are_in_the_order_of_their_time(
    tmp_path: Path, first: str
) -> None:
    """The first STOP of a night is its cause, whichever role raised it."""
    run_dir = made_run(tmp_path / "var")
    recorded = Recorded.open(run_dir)
    manifest = recorded.manifest
    for number, role in enumerate(("market_role", "risk_role"), 1):
        stop = StopJournal(role, "INVARIANT_BROKEN", "x", "STOP", ())
        event = Event(
            manifest.clock_origin_ms + (1 if role == first else 2),
            f"0000000{number}-0000-4000-8000-000000000000",
            role,
            manifest.run_id,
            manifest.processes[role].cmdline_hash,
            stop,
        )
        with closing(open_writer(run_dir / "queues", "stop_journal", role)) as part:
            part.append_json([recorded.codec.encode("stop_journal", event)])

    count = Recount(Recorded.open(run_dir))

    assert [stop.component == first for _, stop in count.stops] == [True, False]


def test_outage_that_a_run_did_not_survive_lasts_to_the_end_of_its_data(tmp_path: Path) -> None:
    """A lost line writes one gap of no length; where nothing comes back, beats tell how long."""
    data = read_fixture()
    from_ts = data["from_ts"]
    gap = {"symbol": "BTCUSDT", "stream": "depth", "from_ts": from_ts, "to_ts": from_ts + 1}
    event = {"queue": "market_ticks", "type": "gap", "minute": data["minutes"][0]}
    data["events"].insert(0, event | {"payload": gap | {"why": "connection lost"}})

    count = Recount(Recorded.open(made_run(tmp_path, data)))

    assert [(each.from_ts, each.to_ts) for each in outages_of(count.gaps)] == [
        (from_ts, count.market.last_ts)
    ]
    assert count.market.last_ts > from_ts + 1


@pytest.mark.parametrize(
    ("after", "to_ts"),
    [
        ((), 900),
        ((Book("BTCUSDT", (), (), 1, "resync"),), 20),
        ((Book("ETHUSDT", (), (), 1, "resync"),), 900),
        ((universe(("ETHUSDT",)),), 20),
        ((universe(("BTCUSDT",)),), 900),
        ((universe(("ETHUSDT",), ("BTCUSDT",)),), 900),
    ],
    ids=["nothing", "book", "another book", "left", "stayed", "kept"],
)
def test_gap_of_a_book_ends_with_its_next_book_or_when_its_symbol_is_left(
    after: tuple[Any, ...], to_ts: int
) -> None:
    """Only a symbol whose book never came back is missing to the end."""
    log = GapLog()
    log.take([Gap("BTCUSDT", "depth", 10, 20, "lost")])
    if after:
        log.take(after)

    log.end(900)

    assert [(each.from_ts, each.to_ts) for each in outages_of(log.gaps)] == [(10, to_ts)]
