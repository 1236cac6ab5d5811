"""Marks newer than a symbol's own ticks: their effect in both cores, and its bounds."""

from __future__ import annotations

import pytest

from minibot.accounting.performance import Performance
from minibot.events.model import PriceMark, RiskAction
from tests.risk.desk import (
    OTHER,
    SYMBOL,
    Desk,
    actions,
    config,
    fills,
    intents,
    of,
    opening,
    results,
)

pytestmark = pytest.mark.row("B-62")

LOT = {"symbol": SYMBOL, "qty": "5", "price": "100", "ts": 1}


def holding(**changes: object) -> Desk:
    """Return a desk that holds five coins, valued at the mid of 100."""
    return Desk(config(**changes), first=opening("1000", (LOT,))).ready()


def mark(desk: Desk, price: str, symbol: str = SYMBOL) -> list[RiskAction]:
    """Send a price_mark a moment later; return risk's decisions."""
    desk.ts += 100
    events = desk.put("market_ticks", PriceMark(symbol, price, "miniTicker", desk.ts))
    assert intents(events) == []
    return of(events, RiskAction)


def equities(desk: Desk) -> set[str]:
    """Return equity by risk, execution and the report's rule, from the same events."""
    opened = desk.events("control")[0].payload
    performance = Performance(opened, "USDT")  # type: ignore[arg-type]
    performance.on_market([event.payload for event in desk.events("market_ticks")])
    report = performance.to_json()["equity"]
    return {desk.risk.facts()["equity"], desk.execution.facts()["equity"], report}


def test_mark_values_what_is_held_and_the_next_tick_takes_over() -> None:
    """Five coins and a thousand are 1,500 at 100 and 1,450 at a mark of 90, until the next tick."""
    desk = holding()
    assert equities(desk) == {"1500.00000000"}

    mark(desk, "90")
    assert equities(desk) == {"1450.00000000"}

    desk.tick()
    assert equities(desk) == {"1500.00000000"}


def test_same_mark_told_again_moves_no_equity_and_leaves_the_touch_dropped() -> None:
    """The price is as before; nothing is traded on the touch that it has overtaken."""
    desk = holding()
    said = mark(desk, "90") + mark(desk, "90")
    market = desk.risk._state.positions.of(SYMBOL)

    assert said == []
    assert equities(desk) == {"1450.00000000"}
    assert (market.bid, market.ask, market.has_mid, market.is_fresh) == (0, 0, False, False)


def test_mark_of_what_is_not_held_moves_no_equity() -> None:
    """A mark of a symbol that is not held changes no equity."""
    desk = holding()
    desk.instrument(OTHER)

    mark(desk, "3000", OTHER)

    assert equities(desk) == {"1500.00000000"}


def test_mark_survives_a_restart_of_both_cores() -> None:
    """A restart keeps the mark's value and the distrust of the touch."""
    desk = holding()
    mark(desk, "90")

    desk.restarted()

    assert equities(desk) == {"1450.00000000"}
    assert actions(desk.signal("BUY")) == [("BLOCK", "stale_tick")]


def test_nothing_is_traded_on_a_touch_that_a_mark_has_overtaken() -> None:
    """No entry or fill uses a touch older than a mark, until the next tick."""
    desk = holding()
    mark(desk, "90")
    assert actions(desk.signal("BUY")) == [("BLOCK", "stale_tick")]

    desk.tick()
    assert actions(desk.signal("BUY")) == [("ALLOW", "allowed")]

    alone = Desk(config(), first=opening("1000", (LOT,)), with_risk=False).ready()
    mark(alone, "90")
    assert results(alone.intent("SELL", "1")) == [("REJECTED", "no_mark")]


def test_stop_loss_waits_for_a_touch_to_sell_at() -> None:
    """A mark below the stop sells nothing, as it has no bid; the first tick below it sells."""
    desk = Desk(config(risk__stop_atr_mult="1"), first=opening("10000"))
    desk.instrument()
    for _ in range(3):
        desk.bar("100", "101", "99", "100")
    desk.tick()
    assert fills(desk.buy())

    assert mark(desk, "90") == []
    sold = desk.tick("89.99", "90.01")

    assert ("EXIT", "stop_loss") in actions(sold)


def test_drawdown_at_a_mark_stops_the_run() -> None:
    """A drawdown at a mark stops the run."""
    desk = holding(risk__drawdown_bps_soft=100, risk__drawdown_bps_hard=200)

    (stopped,) = mark(desk, "90")

    assert (stopped.action, stopped.reason_code, stopped.symbol) == ("STOP", "RISK_LIMIT", SYMBOL)
    last = desk.events("risk_actions")[-1]
    assert last.tick_seq == desk.seqs["market_ticks"]


def test_first_price_of_a_carried_lot_is_no_loss_of_this_night() -> None:
    """A carried lot without a tick gets its first value from a mark, without a loss."""
    desk = Desk(config(), first=opening("1000", (LOT,)))
    desk.instrument()

    mark(desk, "80")

    assert equities(desk) == {"1400.00000000"}
    assert desk.risk.facts()["drawdown"] == "0.00000000"
