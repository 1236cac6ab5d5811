"""Contract of an order manager: the same suite for every one there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from minibot.events.ids import derive_id, position_id
from minibot.events.model import Event, Fill, JsonObject, OrderCancel, OrderIntent, OrderResult
from minibot.events.money import parse_amount
from minibot.execution.core import core_from_config
from minibot.execution.order_protocol import OrderManager
from minibot.execution.orders import ORDER_ROLE, TERMINAL_STATES
from minibot.kernel.errors import InvariantError
from tests.risk.desk import RUN_ID, SYMBOL, Desk, config, of, opening, results

LOT = {"symbol": SYMBOL, "qty": "5", "price": "100", "ts": 1}
KEYS = {"risk__exits_at": "venue", "execution__fee_asset": "base"}


def paper(profile: JsonObject) -> OrderManager:
    """Return the manager of paper orders."""
    return core_from_config(profile)


MANAGERS: list[Callable[[JsonObject], OrderManager]] = [paper]
pytestmark = [
    pytest.mark.row("B-52"),
    pytest.mark.parametrize("make", MANAGERS, ids=lambda make: make.__name__),
]


def desk_of(make: Callable[[JsonObject], OrderManager]) -> Desk:
    """Return a desk whose orders a manager takes; it holds five coins."""
    manager: object = make(config(**KEYS))
    desk = Desk(config(**KEYS), first=opening("10000", (LOT,)), with_risk=False)
    assert type(desk.execution) is type(manager)
    return desk.ready()


def cancel(desk: Desk, name: str) -> list[Event]:
    """Ask for the end of an order."""
    causes = tuple(position_id(RUN_ID, "risk_role", "risk_actions", n) for n in (1, 2))
    seq = desk.seqs["market_ticks"]
    return desk.put("order_intents", OrderCancel(SYMBOL, name), cause_ids=causes, tick_seq=seq)


def night(desk: Desk, restart: Callable[[], None] = lambda: None) -> Iterable[Event]:
    """Trade, refuse, rest, cancel and trigger; return everything that was said."""
    desk.intent("BUY", "2")
    restart()
    desk.tick(ask_qty="1")
    restart()
    desk.tick()
    desk.intent("SELL", "900")
    desk.intent("SELL", "1", order_type="STOP_LOSS", stop_price="99")
    restart()
    cancel(desk, desk.execution.orders[-1].client.text)
    cancel(desk, "7d444840-9dc0-41d1-8245-5ffdce74fad2")
    desk.intent("SELL", "3", order_type="OCO", stop_price="99", target_price="103")
    restart()
    desk.tick("98.5", "98.52", bid_qty="1", trade="98.5")
    restart()
    desk.tick("98.4", "98.42")
    return [event for _, event in desk.log]


def test_nothing_is_known_before_the_run_is_opened(
    make: Callable[[JsonObject], OrderManager],
) -> None:
    """A manager without an opening has no portfolio, and says so instead of an empty one."""
    manager = make(config(**KEYS))

    assert not manager.is_opened
    with pytest.raises(InvariantError):
        _ = manager.portfolio


def test_each_wish_is_answered_and_ends_once(make: Callable[[JsonObject], OrderManager]) -> None:
    """Every intent ends in one terminal result, and its fills add up to what that says."""
    said = night(desk_of(make))

    answers = [result for result in of(said, OrderResult) if result.result != "CANCEL_REJECTED"]
    filled = of(said, Fill)
    orders = {result.client_order_id for result in answers}
    assert len(orders) == 4
    for name in orders:
        ended = [r for r in answers if r.client_order_id == name and r.result in TERMINAL_STATES]
        assert len(ended) == 1
        qty = sum(parse_amount(fill.qty) for fill in filled if fill.client_order_id == name)
        assert parse_amount(ended[0].filled_qty or "0") == qty


def test_fill_stands_before_the_result_that_tells_of_it(
    make: Callable[[JsonObject], OrderManager],
) -> None:
    """Fills of a result have all been told before it."""
    filled: dict[str, int] = {}
    for event in night(desk_of(make)):
        payload = event.payload
        if isinstance(payload, Fill):
            name = payload.client_order_id
            filled[name] = filled.get(name, 0) + parse_amount(payload.qty)
        elif isinstance(payload, OrderResult) and payload.result != "CANCEL_REJECTED":
            told = parse_amount(payload.filled_qty or "0")
            assert told == filled.get(payload.client_order_id, 0)


def test_unknown_order_is_not_cancelled_and_a_known_id_trades_once(
    make: Callable[[JsonObject], OrderManager],
) -> None:
    """A cancel of nothing is refused; an id that stands is a duplicate."""
    desk = desk_of(make)
    name = position_id(RUN_ID, "client_order", "order_intents", 77)

    refused = cancel(desk, name)
    (event,) = desk.events("order_intents")
    (result,) = of(refused, OrderResult)

    assert results(refused) == [("CANCEL_REJECTED", "order_ended")]
    assert result.order_id == derive_id(event.run_id, ORDER_ROLE, event.id, 0)
    assert results(desk.intent("BUY", "1", client_order_id=name)) == [("ACCEPTED", "accepted")]
    assert results(desk.intent("BUY", "1", client_order_id=name)) == [("REJECTED", "duplicate")]


def test_manager_goes_on_from_its_state(make: Callable[[JsonObject], OrderManager]) -> None:
    """Restored between any two inputs it says the same, to the byte, with the same balances."""
    whole, again = desk_of(make), desk_of(make)
    night(whole)
    night(again, again.restarted)

    assert again.log_bytes() == whole.log_bytes()
    assert again.execution.open_positions() == whole.execution.open_positions()
    assert again.execution.balances() == whole.execution.balances()


def test_cancel_ends_the_order_that_it_names_and_no_other(
    make: Callable[[JsonObject], OrderManager],
) -> None:
    """The second of three that rest is withdrawn."""
    desk = desk_of(make)
    for price in ("95.00", "94.00", "93.00"):
        desk.intent("BUY", "1.000", order_type="LIMIT_MAKER", limit_price=price)
    names = [intent.client_order_id for intent in of(desk.events("order_intents"), OrderIntent)]
    desk.tick()

    events = cancel(desk, names[1])

    assert results(events) == [("CANCELLED", "withdrawn")]
    left = [order["client_order_id"] for order in desk.execution.state()["orders"]]
    assert left == [names[0], names[2]]
