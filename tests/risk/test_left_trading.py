"""What becomes of orders and positions whose symbol leaves trading or the universe: each policy."""

from __future__ import annotations

import pytest

from minibot.events.model import Universe
from tests.risk.desk import (
    OTHER,
    SYMBOL,
    Desk,
    actions,
    check_of,
    config,
    fills,
    instrument,
    intents,
    of,
    results,
)

pytestmark = pytest.mark.row("F118")


def holding(**changes: str) -> Desk:
    """Return a desk that has bought, under the given policies."""
    desk = Desk(config(**changes)).ready()
    assert fills(desk.buy())
    return desk


def universe(*traded: str, generation: int = 1) -> Universe:
    return Universe(
        mode="dynamic",
        quote_asset="USDT",
        traded=traded,
        watched=(),
        kept=(),
        missing_bases=(),
        excluded={},
        quote_volumes={},
        generation=generation,
    )


@pytest.mark.parametrize("status", ["HALT", "BREAK", "END_OF_DAY", "CANCEL_ONLY", "DELISTED"])
def test_symbol_that_left_trading_gets_no_entry(status: str) -> None:
    """Whatever the word: only TRADING trades."""
    desk = Desk(config()).ready()

    desk.instrument(status=status)

    assert actions(desk.signal("BUY")) == [("BLOCK", "not_trading")]


def test_position_by_policy_close_is_left_when_the_symbol_trades_again() -> None:
    """While it does not trade nothing can be sold; said once, then the exit comes by itself."""
    desk = holding(risk__left_trading="close")

    desk.instrument(status="HALT")
    halted = [*desk.tick(), *desk.tick()]
    desk.instrument(status="TRADING")
    back = desk.tick()

    assert actions(halted) == [("BLOCK", "not_trading")]
    assert intents(halted) == []
    assert actions(back) == [("EXIT", "left_trading")]
    assert [(intent.side, intent.purpose) for intent in intents(back)] == [("SELL", "EXIT")]
    assert fills(desk.tick())[0].side == "SELL"
    assert actions(desk.tick()) == []


def test_position_by_policy_hold_stays_with_its_own_exits() -> None:
    """A halt by itself is no reason to sell; an operator's wish still is."""
    desk = holding(risk__left_trading="hold")

    desk.instrument(status="HALT")
    desk.instrument(status="TRADING")

    assert actions(desk.tick()) == []
    assert actions(desk.signal("SELL")) == [("EXIT", "signal_exit")]


def test_policy_outlives_a_restart_of_the_roles() -> None:
    """The wish to leave is state, not memory of a process."""
    desk = holding(risk__left_trading="close")
    desk.instrument(status="BREAK")
    desk.restarted()
    desk.instrument(status="TRADING")

    assert actions(desk.tick()) == [("EXIT", "left_trading")]


def test_open_order_by_policy_cancel_ends_with_its_reason() -> None:
    """The venue takes no order of a halted symbol, and ours does not wait for it."""
    desk = Desk(config(execution__left_trading="cancel")).ready()
    desk.signal("BUY")

    ended = desk.instrument(status="HALT")

    assert results(ended) == [("CANCELLED", "left_trading")]
    desk.instrument(status="TRADING")
    assert fills(desk.tick()) == []
    assert actions(desk.signal("BUY")) == [("ALLOW", "allowed")]


def test_open_order_by_policy_hold_is_not_filled_until_it_trades_again() -> None:
    """A touch of a halted symbol fills nobody; after the halt the order meets the market."""
    desk = Desk(config(execution__left_trading="hold")).ready()
    desk.signal("BUY")

    assert results(desk.instrument(status="HALT")) == []
    assert fills(desk.tick()) == []
    desk.instrument(status="TRADING")

    assert len(fills(desk.tick())) == 1


def test_open_order_by_policy_hold_expires_in_a_long_halt() -> None:
    """An order does not outlive its time because of a halt."""
    desk = Desk(config(execution__left_trading="hold")).ready()
    desk.signal("BUY")
    desk.instrument(status="HALT")

    assert results(desk.beat(after_ms=5000)) == [("EXPIRED", "expired")]


def test_halt_of_one_symbol_leaves_the_orders_of_another_alone() -> None:
    """A status is of one symbol."""
    desk = Desk(config(execution__left_trading="cancel")).ready()
    desk.instrument(OTHER)
    desk.tick(symbol=OTHER)
    desk.tick()
    desk.signal("BUY")

    assert results(desk.instrument(OTHER, status="BREAK")) == []
    assert len(fills(desk.tick())) == 1


@pytest.mark.row("B-18")
def test_entry_outside_the_universe_is_blocked() -> None:
    """From the first `universe` event on, what it does not trade is not bought."""
    desk = Desk(config()).ready()

    desk.put("market_ticks", universe(OTHER))
    desk.tick()
    (event,) = [e for e in desk.signal("BUY") if e.type == "risk_action"]

    assert actions([event]) == [("BLOCK", "not_in_universe")]
    assert check_of(event, "in_universe")["passed"] is False
    desk.put("market_ticks", universe(SYMBOL, generation=2))
    assert actions(desk.tick()) == []
    assert actions(desk.signal("BUY")) == [("ALLOW", "allowed")]


def test_position_that_left_the_universe_is_closed_at_market_by_policy_close() -> None:
    """It trades still, so it is left with the next touch."""
    desk = holding(risk__left_universe="close")

    desk.put("market_ticks", universe(OTHER))

    assert actions(desk.tick()) == [("EXIT", "universe_exit")]
    assert fills(desk.tick())[0].side == "SELL"


def test_position_that_left_the_universe_is_held_by_policy_hold() -> None:
    """Its own exits go on."""
    desk = holding(risk__left_universe="hold")

    desk.put("market_ticks", universe(OTHER))

    assert actions(desk.tick()) == []
    assert actions(desk.signal("SELL")) == [("EXIT", "signal_exit")]


def test_symbol_that_comes_back_before_a_touch_is_not_left() -> None:
    """A wish that has lost its reason is taken back."""
    desk = holding(risk__left_universe="close")

    desk.put("market_ticks", universe(OTHER))
    desk.put("market_ticks", universe(OTHER, SYMBOL, generation=2))

    assert actions(desk.tick()) == []


def test_largest_position_bounds_an_entry_and_refuses_the_next() -> None:
    """MAX_POSITION counts what is held and what is being bought; sized down, then refused."""
    desk = Desk(config())
    desk.put("market_ticks", instrument(position_max="4"))
    desk.tick()

    bought = desk.buy()
    again = desk.signal("BUY")

    assert [intent.qty for intent in intents(bought)] == ["4.000"]
    assert actions(bought) == [("REDUCE", "reduced")]
    assert actions(again) == [("BLOCK", "position_max")]


def test_largest_position_counts_what_is_being_bought_in_execution_too() -> None:
    """Whatever risk said: the third order would pass the maximum, with two still open."""
    desk = Desk(config(), with_risk=False)
    desk.put("market_ticks", instrument(position_max="4"))
    desk.tick()

    said = [results(desk.intent("BUY", "2")) for _ in range(3)]
    late = desk.intent("BUY", "0.2")

    assert said[:2] == [[("ACCEPTED", "accepted")]] * 2
    assert said[2] == [("REJECTED", "position_max")]
    assert results(late) == [("REJECTED", "position_max")]


def test_filters_that_change_while_an_order_waits_hold_for_the_next_one() -> None:
    """An order was taken by the rules of its time; what comes after meets the new ones."""
    desk = Desk(config(), with_risk=False).ready()
    taken = desk.intent("BUY", "1.005")
    desk.instrument(qty_increment="0.1", market_qty_increment="0.1")
    filled = desk.tick()
    refused = desk.intent("BUY", "1.005")

    assert results(taken) == [("ACCEPTED", "accepted")]
    assert [fill.qty for fill in fills(filled)] == ["1.005"]
    assert results(refused) == [("REJECTED", "step_size")]
    assert of(refused, type(fills(filled)[0])) == []
