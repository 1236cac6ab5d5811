"""Symbols that leave trading or the universe: orders and positions under each policy."""

from __future__ import annotations

import pytest

from minibot.events.model import Event, ExitPosition, Gap, Universe
from tests.risk.desk import (
    HASH,
    OTHER,
    RUN_ID,
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
    """A symbol with any status but TRADING gets no entry."""
    desk = Desk(config()).ready()

    desk.instrument(status=status)

    assert actions(desk.signal("BUY")) == [("BLOCK", "not_trading")]


def test_position_by_policy_close_is_left_when_the_symbol_trades_again() -> None:
    """Policy close reports once that nothing can be sold, and exits after the halt."""
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


def test_symbol_dropped_while_its_entry_is_on_its_way_is_sold() -> None:
    """An entry filled behind the news is left like one filled before it."""
    desk = Desk(config(risk__left_universe="close")).ready()
    desk.signal("BUY")
    desk.put("market_ticks", universe(OTHER))

    assert [fill.side for fill in fills(desk.tick())] == ["BUY"]
    assert actions(desk.tick()) == [("EXIT", "universe_exit")]


def test_symbol_halted_while_its_fill_is_on_its_way_is_sold_once_it_trades() -> None:
    """Risk may read of the halt before it reads of the fill."""
    desk = Desk(config(risk__left_trading="close")).ready()
    desk.signal("BUY")
    halted = Event(desk.ts, "halt", "market_role", RUN_ID, HASH, instrument(status="HALT"))
    desk.risk.process(halted, 1, desk.ts)

    assert [fill.side for fill in fills(desk.tick())] == ["BUY"]
    desk.instrument()
    assert actions(desk.tick()) == [("EXIT", "left_trading")]


def test_nothing_is_bought_of_what_waits_to_be_sold() -> None:
    """A BUY between the end of a halt and the sale by policy, or by an operator, is refused."""
    desk = holding(risk__left_trading="close")
    desk.tick()
    desk.instrument(status="HALT")
    desk.instrument(status="TRADING")
    policy = desk.signal("BUY")

    asked = holding()
    asked.put("market_ticks", Gap(SYMBOL, "trade", asked.ts - 1, asked.ts, "lost"))
    asked.put("control", ExitPosition("operator", "enough", SYMBOL))
    behind = asked.signal("BUY")

    assert actions(policy) == [("BLOCK", "left_trading")]
    assert actions(desk.tick()) == [("EXIT", "left_trading")]
    assert actions(behind) == [("BLOCK", "operator_exit")]


def test_return_to_the_universe_takes_back_no_mark_of_a_halt() -> None:
    """A position that left trading is sold, also when it was out of the universe meanwhile."""
    desk = holding(risk__left_trading="close", risk__left_universe="close")

    desk.instrument(status="HALT")
    desk.put("market_ticks", universe(OTHER))
    desk.put("market_ticks", universe(SYMBOL, generation=2))
    desk.instrument()

    assert ("EXIT", "left_trading") in actions(desk.tick())


def test_operator_who_asks_again_in_a_halt_is_answered_again() -> None:
    """Each request to leave gets its refusal; ticks in between repeat none."""
    desk = holding()
    desk.instrument(status="HALT")

    answers = []
    for _ in range(2):
        events = desk.put("control", ExitPosition("operator", "out", SYMBOL))
        answers.append(actions([*events, *desk.tick(), *desk.tick()]))

    assert answers == [[("BLOCK", "not_trading")]] * 2


def test_position_by_policy_hold_stays_with_its_own_exits() -> None:
    """Policy hold keeps a position through a halt; an operator's exit still works."""
    desk = holding(risk__left_trading="hold")

    desk.instrument(status="HALT")
    desk.instrument(status="TRADING")

    assert actions(desk.tick()) == []
    assert actions(desk.signal("SELL")) == [("EXIT", "signal_exit")]


def test_policy_outlives_a_restart_of_the_roles() -> None:
    """The pending exit of a policy survives a restart, as part of the state."""
    desk = holding(risk__left_trading="close")
    desk.instrument(status="BREAK")
    desk.restarted()
    desk.instrument(status="TRADING")

    assert actions(desk.tick()) == [("EXIT", "left_trading")]


def test_open_order_by_policy_cancel_ends_with_its_reason() -> None:
    """Policy cancel ends an open order with its reason."""
    desk = Desk(config(execution__left_trading="cancel")).ready()
    desk.signal("BUY")

    ended = desk.instrument(status="HALT")

    assert results(ended) == [("CANCELLED", "left_trading")]
    desk.instrument(status="TRADING")
    assert fills(desk.tick()) == []
    assert actions(desk.signal("BUY")) == [("ALLOW", "allowed")]


def test_open_order_by_policy_hold_is_not_filled_until_it_trades_again() -> None:
    """Policy hold keeps an order unfilled in a halt and fills it afterwards."""
    desk = Desk(config(execution__left_trading="hold")).ready()
    desk.signal("BUY")

    assert results(desk.instrument(status="HALT")) == []
    assert fills(desk.tick()) == []
    desk.instrument(status="TRADING")

    assert len(fills(desk.tick())) == 1


def test_open_order_by_policy_hold_expires_in_a_long_halt() -> None:
    """An order held in a halt expires at its time."""
    desk = Desk(config(execution__left_trading="hold")).ready()
    desk.signal("BUY")
    desk.instrument(status="HALT")

    assert results(desk.beat(after_ms=5000)) == [("EXPIRED", "expired")]


def test_halt_of_one_symbol_leaves_the_orders_of_another_alone() -> None:
    """A halt of one symbol leaves another's orders alone."""
    desk = Desk(config(execution__left_trading="cancel")).ready()
    desk.instrument(OTHER)
    desk.tick(symbol=OTHER)
    desk.tick()
    desk.signal("BUY")

    assert results(desk.instrument(OTHER, status="BREAK")) == []
    assert len(fills(desk.tick())) == 1


@pytest.mark.row("B-18")
def test_entry_outside_the_universe_is_blocked() -> None:
    """A symbol outside the universe gets no entry."""
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
    """Policy close sells a position outside the universe at the next touch."""
    desk = holding(risk__left_universe="close")

    desk.put("market_ticks", universe(OTHER))

    assert actions(desk.tick()) == [("EXIT", "universe_exit")]
    assert fills(desk.tick())[0].side == "SELL"


def test_position_that_left_the_universe_is_held_by_policy_hold() -> None:
    """Policy hold keeps a position outside the universe, with its own exits."""
    desk = holding(risk__left_universe="hold")

    desk.put("market_ticks", universe(OTHER))

    assert actions(desk.tick()) == []
    assert actions(desk.signal("SELL")) == [("EXIT", "signal_exit")]


def test_symbol_that_comes_back_before_a_touch_is_not_left() -> None:
    """A symbol that returns before a touch is not sold."""
    desk = holding(risk__left_universe="close")

    desk.put("market_ticks", universe(OTHER))
    desk.put("market_ticks", universe(OTHER, SYMBOL, generation=2))

    assert actions(desk.tick()) == []


def test_largest_position_bounds_an_entry_and_refuses_the_next() -> None:
    """MAX_POSITION counts held and ordered quantities: sized down first, then refused."""
    desk = Desk(config())
    desk.put("market_ticks", instrument(position_max="4"))
    desk.tick()

    bought = desk.buy()
    again = desk.signal("BUY")

    assert [intent.qty for intent in intents(bought)] == ["4.000"]
    assert actions(bought) == [("REDUCE", "reduced")]
    assert actions(again) == [("BLOCK", "position_max")]


def test_largest_position_counts_what_is_being_bought_in_execution_too() -> None:
    """Execution itself counts open orders against MAX_POSITION and refuses the third."""
    desk = Desk(config(), with_risk=False)
    desk.put("market_ticks", instrument(position_max="4"))
    desk.tick()

    said = [results(desk.intent("BUY", "2")) for _ in range(3)]
    late = desk.intent("BUY", "0.2")

    assert said[:2] == [[("ACCEPTED", "accepted")]] * 2
    assert said[2] == [("REJECTED", "position_max")]
    assert results(late) == [("REJECTED", "position_max")]


def test_filters_that_change_while_an_order_waits_hold_for_the_next_one() -> None:
    """Changed filters apply to later orders; a waiting order keeps its rules."""
    desk = Desk(config(), with_risk=False).ready()
    taken = desk.intent("BUY", "1.005")
    desk.instrument(qty_increment="0.1", market_qty_increment="0.1")
    filled = desk.tick()
    refused = desk.intent("BUY", "1.005")

    assert results(taken) == [("ACCEPTED", "accepted")]
    assert [fill.qty for fill in fills(filled)] == ["1.005"]
    assert results(refused) == [("REJECTED", "step_size")]
    assert of(refused, type(fills(filled)[0])) == []


def test_levels_name_the_exit_that_waits() -> None:
    """A profile without a plan tells it as well, as the list of an ended run shows it."""
    desk = holding(risk__left_trading="close")
    assert "leaving" not in desk.risk.facts()["exits"][SYMBOL]
    desk.instrument(status="HALT")

    assert desk.risk.facts()["exits"][SYMBOL]["leaving"] == "left_trading"
    desk.put("control", ExitPosition(who="anna", why="leave it", symbol=SYMBOL))
    assert desk.risk.facts()["exits"][SYMBOL]["leaving"] == "operator_exit"
