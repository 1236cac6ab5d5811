"""Ticks from columns and ticks as events take one path: the cores' messages are equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minibot.cores.scaled_tick import ScaledTick
from minibot.engine import tick_rows
from minibot.engine.tick_rows import TickRows
from minibot.events.model import BUY, Event, JsonObject, RunEnding
from minibot.events.names import CONTROL
from minibot.events.reasons import WARMUP
from minibot.execution.paper_executor_nore_v1 import PaperExecutorNoreV1
from minibot.runtime.configuration.config import load_config
from minibot.strategies import selection
from minibot.strategies.protocol import Decision, Settings, Strategy, View, buy, hold, sell
from tools.bench.backtest_market import SYMBOL, beside, columns, ticks
from tools.bench.backtest_pass import CASES, NO_CMDLINE, PROFILE, RUN_ID, Pass

pytestmark = pytest.mark.campaign

Completed = list[tuple[str, int, Event]]
# Stops and targets within a few cents, and in the end a loss that stops the run.
TIGHT = (
    *CASES["ema"],
    "risk.stop_atr_mult=0.04",
    "risk.take_profit_atr_mult=0.05",
    "risk.night_loss_soft=2",
    "risk.night_loss_hard=2",
)
# No fee, so that a loss comes with a tick and not with a fill.
LOSING = (
    *CASES["ema"],
    "execution.taker_fee_bps=0",
    "risk.night_loss_soft=0.06",
    "risk.night_loss_hard=0.06",
)
# Orders wait for some ticks, so that signals also come outside quiet ranges.
LATE = (*CASES["ema"], "execution.latency_market_ms=900")
# The same levels as orders that rest with the executor.
VENUE = (*TIGHT, "risk.exits_at=venue")
# Locks change with the trades, the account's mark is watched, and the standing is told.
PROTECTED = (
    *TIGHT,
    "risk.night_loss_soft=900",
    "risk.night_loss_hard=1000",
    'risk.protections=[{"method": "LossesInRow", "trade_limit": 4, "stop_duration": 1}]',
    'risk.drawdown_tiers=[{"state": "REDUCING", "drawdown_bps": 1, "back_bps": 0,'
    ' "entry_percent": 50}]',
    "risk.account_drawdown_bps_hard=9000",
)
# Levels that move by a bid and by time, watched by risk or resting with the executor.
PLAN = (
    *(*CASES["ema"], "execution.taker_fee_bps=0", "risk.hard_stop_bps=40"),
    *("risk.trail_bps=1", "risk.trail_from_bps=1", "risk.break_even_bps=0.5"),
    'risk.targets_by_age=[[0,"8"],[1,"3"],[2,"1"]]',
)
# The same with stops that a gap jumps past, and quoted targets.
PLAN_LIMIT = (*PLAN, "risk.exits_at=venue", "risk.stop_limit_bps=0.1")
LADDER = (
    *(*PLAN, "risk.exit_policy=ladder", "risk.ladder_1_bps=0.5", "risk.ladder_2_bps=1"),
    *("risk.targets_by_age=null", "risk.break_even_bps=null", "risk.trail_from_bps=1.5"),
)
# Rungs of both kinds, the second one below the first.
MIXED = (
    *(*LADDER, "risk.ladder_1_bps=8", "risk.ladder_2_bps=null"),
    "risk.ladder_2_atr_mult=0.03",
)
# No stop but the hard one stands before the rows of the recovery.
CAMPAIGN = (
    *("risk.hard_stop_bps=50", "risk.exit_policy=campaign", "risk.campaign_entries_max=3"),
    *("risk.campaign_loss_max=90", "risk.recovery_part_percent=40"),
    *("risk.stop_atr_mult=null", "risk.take_profit_atr_mult=null"),
    'risk.recovery=[["1", "hold"], ["2", "de-risk"], ["3", "exit"]]',
)
# Entries rest at the bid, follow it, and are given up or taken.
MAKER = (
    *(*VENUE, "risk.entry=maker", "risk.maker_patience_market_ms=400"),
    *("risk.maker_requotes=2", "risk.maker_end=take"),
)
SETS = {
    **CASES,
    **{"tight": TIGHT, "losing": LOSING, "late": LATE, "venue": VENUE},
    **{"plan": PLAN, "plan_venue": (*PLAN, "risk.exits_at=venue")},
    **{"mixed": MIXED, "ladder": LADDER, "ladder_venue": (*LADDER, "risk.exits_at=venue")},
    **{"protected": PROTECTED, "maker": MAKER},
    **{"limit": (*VENUE, "risk.stop_limit_bps=0.1"), "plan_limit": PLAN_LIMIT},
    **{"campaign": CAMPAIGN, "campaign_venue": (*CAMPAIGN, "risk.exits_at=venue")},
}
ROWS = 6_000


def market(seed: int) -> dict[str, Any]:
    """Return ticks of a market with quotes among the trades and changing sizes and spreads."""
    table = columns(ticks(ROWS))
    chance = np.random.default_rng(seed)
    table["ask"] = table["price"] + chance.integers(0, 3, ROWS) * 10**6
    table["bid_qty"] = chance.integers(100, 400, ROWS) * 10**7
    table["ask_qty"] = chance.integers(100, 400, ROWS) * 10**7
    # Sometimes nothing happens for a while.
    table["ts"] = table["ts"] + np.cumsum(
        chance.integers(250, 900, ROWS) * (chance.random(ROWS) < 0.01)
    )
    table["exchange_ts"] = table["ts"] - chance.integers(0, 5, ROWS)
    table["flags"] = np.where(chance.random(ROWS) < 0.4, 4, table["flags"])
    return table


def said_of(
    case: str, table: dict[str, Any], *, as_events: bool
) -> tuple[Completed, str, JsonObject]:
    """Return everything that the cores derive, the digest, and the cores' states."""
    one = Pass(load_config(PROFILE, list(SETS[case]), {}))
    derived: Completed = []
    digest = one.digest.add

    def take(queue: str, seq: int, event: Event) -> None:
        derived.append((queue, seq, event))
        digest(queue, seq, event)

    one.lockstep._take = take
    if as_events:
        one.walk = _by_events  # type: ignore[method-assign]
    one.run(table, beside(table))
    states = {name: core.state() for name, core in one.lockstep.cores.items()}
    last_ts = int(table["ts"][-1])
    one.say(CONTROL, RunEnding(who="test", why="SOURCE_ENDED", until_ts=last_ts + 10), last_ts)
    return derived, one.digest.hex, states


def _by_events(rows: TickRows, first: int, last: int, seq: int) -> None:
    """Feed rows as events, each with the id that its place gives."""
    for row in range(first, last):
        rows.at = row
        rows.row = row + 1
        rows.lockstep.process(rows.event(seq + row - first), seq + row - first)


@pytest.mark.parametrize(
    "case",
    [
        *("ema", "nore", "tight", "losing", "late", "venue", "protected", "maker"),
        *("limit", "plan_limit", "mixed"),
        *("plan", "plan_venue", "ladder", "ladder_venue", "campaign", "campaign_venue"),
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 5, 6])
def test_ticks_by_column_give_what_the_same_ticks_give_as_events(
    case: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every derived event agrees in id, causes and time, and so do the states."""
    monkeypatch.setattr("minibot.engine.tick_rows.BLOCK_ROWS", 1000)
    table = market(seed)

    by_column, digest, states = said_of(case, table, as_events=False)
    by_event, expected, expected_states = said_of(case, table, as_events=True)

    assert digest == expected
    assert by_column == by_event
    assert states == expected_states
    assert any(queue == "fills" for queue, _, _ in by_column)
    if case == "tight":
        reasons = {event.payload.to_json().get("reason_code") for _, _, event in by_column}
        assert {"stop_loss", "take_profit", "RISK_LIMIT"} <= reasons
    if case == "venue":
        reasons = {event.payload.to_json().get("reason_code") for _, _, event in by_column}
        assert {"stop_triggered", "target_triggered"} <= reasons
    if case == "plan":
        reasons = {event.payload.to_json().get("reason_code") for _, _, event in by_column}
        assert len({"break_even", "age_target", "trailing_stop"} & reasons) >= 2
    if case in ("mixed", "ladder", "ladder_venue"):
        reasons = {event.payload.to_json().get("reason_code") for _, _, event in by_column}
        assert "ladder_target" in reasons
    if case == "plan_venue":
        kinds = {event.type for _, _, event in by_column}
        assert {"order_replace", "fill"} <= kinds
    if case == "losing":
        actions = [event.payload.to_json().get("action") for _, _, event in by_column]
        assert actions.count("STOP") == 1
    if case == "protected":
        rows = [event.payload.to_json() for _, _, event in by_column]
        assert [each for each in rows if each.get("state") == "ACTIVE"]
        assert "losses_in_row" in {each.get("reason_code") for each in rows}
    if case == "late":
        reasons = {event.payload.to_json().get("reason_code") for _, _, event in by_column}
        assert "pending_order" in reasons


class Watcher(Strategy):
    """Answers trades by price, by all that its view shows meanwhile."""

    def __init__(self, settings: Settings) -> None:
        """Start before the first trade."""
        self.count: int = 0
        self.times: int = 0
        self.sizes: float = 0.0

    def on_price(self, price: float, view: View) -> Decision | None:
        """Hold now and then, and buy and sell by turns."""
        self.count += 1
        if self.count % 7 == 0:  # Reads of the middle of a row leave the rest of it as it is.
            self.times += view.now
            self.sizes += view.bid_qty + view.tick.qty + view.tick_ts + view.tick.exchange_ts
        if self.count % 11 == 0:
            return hold(f"{view.now} {price} {view.price} {view.bid} {view.ask}", code=WARMUP)
        if self.count % 13 == 0:
            return hold(f"{view.tick.is_taker_buy} {view.ask_qty} {view.position}")
        if self.count % 97 == 0:
            return sell("turn") if view.is_long else buy("turn")
        return None


@pytest.mark.parametrize(
    "sets",
    [
        (),
        ("execution.latency_market_ms=900",),
        ("risk.stop_atr_mult=0.02", "risk.take_profit_atr_mult=0.03"),
    ],
    ids=["at once", "late", "tight"],
)
@pytest.mark.parametrize("falls", [False, True], ids=["in order", "times fall"])
def test_prices_shown_in_rows_give_what_the_same_trades_give_as_events(
    sets: tuple[str, ...], falls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time, touch and position that a strategy reads between two prices are those of its trade."""
    monkeypatch.setattr(tick_rows, "BLOCK_ROWS", 1000)
    monkeypatch.setitem(selection.SHIPPED, "ema_cross", Watcher)
    monkeypatch.setitem(SETS, "watcher", (*CASES["ema"], *sets))
    table = market(3)
    if falls:
        table["ts"] = table["ts"] - (np.arange(ROWS) % 500 == 250) * 40

    by_column, digest, states = said_of("watcher", table, as_events=False)
    by_event, expected, expected_states = said_of("watcher", table, as_events=True)

    assert digest == expected
    assert by_column == by_event
    assert states == expected_states
    assert {"fills", "signals"} <= {queue for queue, _, _ in by_column}


def test_size_that_our_own_orders_took_is_back_once_the_touch_was_another_one() -> None:
    """A touch that changed for a moment restores the size that our orders took, in a row too."""
    one = Pass(load_config(PROFILE, list(CASES["ema"]), {}))
    executor = one.lockstep.cores["execution_role"]
    assert isinstance(executor, PaperExecutorNoreV1)
    tick = ScaledTick(SYMBOL)
    tick.bid, tick.bid_qty, tick.ask, tick.ask_qty = 99, 5, 100, 5
    executor.process(tick, 1, 1)
    touch = executor._touches[SYMBOL]
    touch.bid_taken = touch.ask_taken = 3

    executor.skip_to(tick, 2, 2, True, False)

    assert (touch.bid_taken, touch.ask_taken, touch.seq) == (0, 3, 2)


def test_event_of_a_row_says_what_the_columns_say() -> None:
    """A row's event has the venue's own texts; a quote has no trade in it."""
    table = market(3)
    one = Pass(load_config(PROFILE, [], {}))
    rows = TickRows(SYMBOL, table, one.lockstep, RUN_ID, NO_CMDLINE)
    trade = int(np.argmax(table["flags"] & 1))
    quote = int(np.argmin(table["flags"] & 1))

    rows.at = trade
    event = rows.event(7)
    payload = event.payload.to_json()
    assert (event.id, event.ts, event.type) == ("market_ticks:7", table["ts"][trade], "market_tick")
    assert payload["price"] == f"{int(table['price'][trade]) / 10**8:.8f}"
    assert payload["taker_side"] == (BUY if table["flags"][trade] == 5 else "SELL")
    rows.at = quote
    assert not {"qty", "taker_side", "trade_id"} & set(rows.event(8).payload.to_json())


def test_amounts_beyond_what_a_float_holds_exactly_are_rounded_once() -> None:
    """A price of more than 53 bits becomes the float of its decimal text, rounded once."""
    table = market(4)
    table["price"] = table["price"] + (2**53 // 10**6 + 1) * 10**6 + 12_345_678
    one = Pass(load_config(PROFILE, list(CASES["ema"]), {}))
    one.say(CONTROL, one.opening, int(table["ts"][0]))
    rows = TickRows(SYMBOL, table, one.lockstep, RUN_ID, NO_CMDLINE)

    rows.walk(1, 1)

    assert rows.tick.price == float(
        f"{int(table['price'][0]) // 10**8}.{int(table['price'][0]) % 10**8:08d}"
    )
