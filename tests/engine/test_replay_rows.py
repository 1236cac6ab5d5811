"""Ticks in rows leave a core in the same state, with the same messages, as single ticks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import pytest
from msgspec.structs import replace

from minibot.cores.messages import QUEUES, Message, drafts_of
from minibot.cores.protocol import Core, Input
from minibot.cores.scaled_tick import QuietRange
from minibot.engine.lockstep import Lockstep, fresh_cores
from minibot.engine.replay_rows import Row, _Touches
from minibot.engine.role_replay import core_of
from minibot.engine.tick_rows import TickRows
from minibot.events.decimals import NumberError
from minibot.events.model import Draft, Event, JsonObject, MarketTick
from minibot.events.money import UNIT, parse_amount
from minibot.events.names import CONTROL, TICKS
from minibot.events.parse_cache import ParseCache
from minibot.events.roles import Roles
from minibot.execution.paper_executor_nore_v1 import PaperExecutorNoreV1
from minibot.runtime.configuration.config import load_config
from minibot.runtime.paths import PROJECT
from tests.engine.test_tick_rows import SETS, market
from tools.bench.backtest_market import beside
from tools.bench.backtest_pass import CASES, NO_CMDLINE, PROFILE, RUN_ID, Pass

pytestmark = pytest.mark.campaign

CORE_ROLES = ("strategy_role", "risk_role", "execution_role")

# No fees and large orders, so that equity reaches new highs while a position is held.
FREE = (*CASES["ema"], "execution.taker_fee_bps=0", "risk.order_notional=90000")
STOPS = ("risk.stop_atr_mult=0.1", "risk.take_profit_atr_mult=0.2")
# Levels that move by a bid, by time and by nothing; each is reached in the market of the tests.
PLAN = (
    *("risk.hard_stop_bps=40", "risk.trail_bps=2", "risk.trail_from_bps=1"),
    *("risk.break_even_bps=0.5", 'risk.targets_by_age=[[0,"8"],[1,"3"],[2,"1"]]'),
)
PLAN_ATR = (
    *("risk.hard_stop_bps=40", "risk.trail_atr_mult=0.05", "risk.trail_from_atr_mult=0.02"),
    *("risk.break_even_atr_mult=0.15", "risk.stale_exit_ms=1000"),
    "risk.silent_exit_ms=2000",
    *("risk.horizon_ms=20000", "risk.horizon_ms_min=5000", "risk.horizon_ms_max=60000"),
    *("risk.horizon_bars_short=2", "risk.horizon_bars_long=8", "risk.horizon_thesis_bps=0.1"),
)
KELLY = (
    *("risk.sizing=kelly", "risk.kelly_window_market_ms=600000", "risk.kelly_trades_min=2"),
    *("risk.position_share_bps_min=50", "risk.position_share_bps_max=5000"),
)
RETURNS = (
    *("risk.correlation_bars=10", "risk.cluster_correlation_min=0.5"),
    *("risk.cluster_share_bps_max=200", "risk.benchmark_symbol=BTCUSDT"),
    *("risk.volatility_bars_short=3", "risk.volatility_bars_long=12"),
    "risk.volatility_ratio_max=1.1",
)
CASE_SETS = {
    **SETS,
    "free": FREE,
    "stops": (*FREE, *STOPS),
    "plan": (*FREE, *PLAN),
    "plan_atr": (*FREE, *STOPS, *PLAN_ATR),
    "kelly": (*FREE, *STOPS, *KELLY),
    "returns": (*FREE, *STOPS, *RETURNS),
}
ROW = 90
START = 1_700_000_000_000
Logged = tuple[str, int, Event, int]
Completed = list[tuple[int, list[Draft], JsonObject]]


class _Logged(Core):
    """Core that records its inputs."""

    def __init__(self, core: Core, log: list[Logged]) -> None:
        self._core = core
        self._log = log
        self.TAKES = core.TAKES  # type: ignore[misc]

    def process(self, item: Input, seq: int, now: int) -> list[Message] | None:
        """Record an input in its queue's form, and process it."""
        if isinstance(item, Message):
            event, queue = item.event(NO_CMDLINE), QUEUES[item.place]
        else:
            assert isinstance(item, Event)
            event, queue = item, CONTROL if item.source == "watchdog_role" else TICKS
        self._log.append((queue, seq, event, now))
        return self._core.process(item, seq, now)

    def state(self) -> JsonObject:
        """Return the inner core's state."""
        return self._core.state()

    def facts(self) -> JsonObject:
        """Return the inner core's facts."""
        return self._core.facts()


def inputs_of(case: str, seed: int) -> tuple[JsonObject, dict[str, list[Logged]]]:
    """Return a profile, and each core's inputs over a market of some thousand ticks."""
    config = load_config(PROFILE, list(CASE_SETS[case]), {})
    logs: dict[str, list[Logged]] = {name: [] for name in CORE_ROLES}
    one = Pass(config)
    one.lockstep = Lockstep(
        {name: _Logged(core, logs[name]) for name, core in fresh_cores(config.raw).items()},
        Roles.load(PROJECT / "config" / "roles.v1.json"),
        cmdline_hashes=dict.fromkeys(CORE_ROLES, NO_CMDLINE),
    )

    def walk(rows: TickRows, first: int, last: int, seq: int) -> None:
        for row in range(first, last):
            rows.at, rows.row = row, row + 1
            place = seq + row - first
            rows.lockstep.process(rows.event(place), place)

    one.walk = walk  # type: ignore[method-assign]
    table = market(seed)
    one.run(table, beside(table))
    return config.raw, logs


def in_rows(inputs: list[Logged]) -> Iterator[list[Logged]]:
    """Yield inputs of `market_ticks` in rows, as input logs hold them, and all others singly."""
    for queue, group in groupby(inputs, lambda one: one[0]):
        row = list(group)
        size = ROW if queue == TICKS else 1
        yield from (row[first : first + size] for first in range(0, len(row), size))


def told(core: Core, inputs: list[Logged], row: Row) -> Completed:
    """Return a core's messages for inputs in rows, and its state after each row."""
    said: Completed = []
    now = 0
    for part in in_rows(inputs):
        queue, first_seq, event, _ = part[0]
        if queue != TICKS:
            now = max(now, event.ts)
            drafts = drafts_of(core.process(event, first_seq, now) or [])
            said.append((first_seq, drafts, core.state()))
            continue
        row.begin([one[2] for one in part], first_seq, now)
        while row.at < len(part):
            at = first_seq + row.at
            said.append((at, drafts_of(row.go() or []), core.state()))
        now = row.now
        assert now == part[-1][3]
    return said


@pytest.mark.row("N-02", "N-121")
@pytest.mark.parametrize(
    "case",
    [
        "ema",
        "nore",
        "tight",
        "losing",
        "free",
        "stops",
        "plan",
        "plan_atr",
        "ladder",
        "kelly",
        "returns",
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_ticks_in_rows_leave_each_core_as_one_by_one(case: str, seed: int) -> None:
    """Rows agree over stops, targets, highs, open orders and a loss that ends the run."""
    config, logs = inputs_of(case, seed)
    for name, inputs in logs.items():
        rows, each = core_of(name, config), core_of(name, config)
        by_rows = told(rows, inputs, Row(rows, ParseCache(parse_amount)))
        one_by_one = told(each, inputs, Row(each))

        # A row ends at a tick with consequences, so both are compared after it.
        assert [one for one in by_rows if one[1]] == [one for one in one_by_one if one[1]], name
        assert by_rows == one_by_one, name
        assert any(drafts for _, drafts, _ in by_rows), name


def ticks(count: int) -> list[Event]:
    """Return ticks, each with another size."""
    return [
        Event(
            ts=START + number,
            id=f"{number:08x}-0000-4000-8000-000000000000",
            source="market_role",
            run_id=RUN_ID,
            cmdline_hash=NO_CMDLINE,
            payload=MarketTick(
                symbol="BTCUSDT",
                price="100",
                kind="quote",
                bid=f"{100 + number // 5}",
                bid_qty=f"{1 + number}",
                ask=f"{101 + number // 3}",
                ask_qty=f"{2 + number}.50",
                recv_mono_ns=number,
            ),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("field", ["bid", "bid_qty", "ask", "ask_qty"])
@pytest.mark.parametrize("at", [0, 7, 19])
def test_tick_that_no_core_can_read_is_met_at_its_place(field: str, at: int) -> None:
    """A tick with ten decimal places is refused at its place, quiet or not."""
    events = ticks(20)
    payload = replace(events[at].payload, **{field: "105.0000000001"})
    events[at] = replace(events[at], payload=payload)
    config = load_config(PROFILE, [], {}).raw
    left = []
    for is_passed in (True, False):
        core = core_of("execution_role", config)
        row = Row(core, ParseCache(parse_amount)) if is_passed else Row(core)
        row.begin(events, 1, 0)
        with pytest.raises(NumberError):
            row.go()
        left.append((row.at, row.now, core.state()))

    assert left[0] == left[1]
    assert left[0][0] == at


@pytest.mark.parametrize(
    ("bound", "value", "first", "quiet_ones"),
    [
        ("until", START + 20, 0, 20),
        ("until", START + 7, 0, 7),
        ("until", START, 0, 0),
        ("below", 102 * UNIT, 0, 10),
        ("below", 102 * UNIT, 4, 6),
        ("above", 100 * UNIT, 0, 0),
        ("above", 100 * UNIT, 5, 15),
        ("most", 204 * UNIT, 0, 9),
        ("least", 202 * UNIT, 0, 0),
        ("least", 202 * UNIT, 3, 17),
    ],
)
def test_row_ends_before_the_tick_that_is_beyond_the_quiet_range(
    bound: str, value: int, first: int, quiet_ones: int
) -> None:
    """A row ends before the first tick outside the quiet range: bid, both with ends, or time."""
    events, quiet = ticks(20), QuietRange()
    setattr(quiet, bound, value)
    touches = _Touches(
        [event.payload for event in events if isinstance(event.payload, MarketTick)],
        [event.ts for event in events],
        ParseCache(parse_amount),
    )

    assert touches.within(quiet, first, 0) == quiet_ones


def test_zeros_behind_the_last_place_are_read_as_they_are() -> None:
    """Trailing zeros are read without changing the number."""
    events = ticks(20)
    payload = replace(events[3].payload, bid_qty="5.00000000000")
    events[3] = replace(events[3], payload=payload)
    core = core_of("execution_role", load_config(PROFILE, [], {}).raw)
    row = Row(core, ParseCache(parse_amount))
    row.begin(events, 1, 0)

    assert not row.go()
    assert row.at == len(events)


def test_size_that_our_own_orders_took_is_back_after_a_row_in_which_the_touch_changed() -> None:
    """A touch that changed within a row restores the size that our orders took."""
    core = core_of("execution_role", load_config(PROFILE, [], {}).raw)
    assert isinstance(core, PaperExecutorNoreV1)
    first, second = ticks(2)
    core.process(first, 1, first.ts)
    touch = core._touches["BTCUSDT"]
    touch.bid_taken = touch.ask_taken = parse_amount("0.5")
    row = Row(core, ParseCache(parse_amount))
    row.begin(
        [first, replace(second, payload=replace(first.payload, bid_qty="9")), *[first] * 8], 2, 0
    )

    assert not row.go()
    assert (touch.bid_taken, touch.ask_taken) == (0, parse_amount("0.5"))
