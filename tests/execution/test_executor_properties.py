"""Properties of the executor: whatever is ordered, replaced and cancelled, balances hold.

Orders come at random from an order book of their own: markets, limits, stops, targets, OCOs with
and without limits, replaces and cancels, also of orders that never were or have ended.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.events.ids import position_id
from minibot.events.model import Fill, OrderCancel, OrderIntent, OrderReplace, OrderResult
from minibot.events.money import UNIT, parse_amount
from minibot.execution.orders import TERMINAL_STATES
from tests.risk.desk import RUN_ID, SYMBOL, Desk, config, fills, of, opening

LOT = {"symbol": SYMBOL, "qty": "5", "price": "100", "ts": 1}
TRADES = st.sampled_from(["97.00", "98.50", "99.99", "100.50", "103.00"])
STOPS = st.sampled_from(["98.00", "99.00", "99.50", "0.01"])
TARGETS = st.sampled_from(["101.00", "102.00", "99.00"])
SIZES = st.sampled_from(["0", "0.4", "1.5", "1000"])
QTYS = st.sampled_from(["1", "2.5", "5", "5.001"])
PAIR = "OCO with a limit"
KINDS = st.sampled_from(
    ["MARKET", "LIMIT", "STOP_LOSS", "TAKE_PROFIT", "OCO", "STOP_LOSS_LIMIT", PAIR]
)
LIMIT = "98.00"
PLAIN = st.sampled_from(["MARKET", "LIMIT"])

BUY = st.tuples(st.just("order"), st.just("BUY"), PLAIN, QTYS, TRADES, TARGETS)
SALE = st.tuples(st.just("order"), st.just("SELL"), KINDS, QTYS, STOPS, TARGETS)
REPLACE = st.tuples(st.just("replace"), st.integers(1, 8), KINDS, QTYS, STOPS, TARGETS)
CANCEL = st.tuples(st.just("cancel"), st.integers(1, 8))
TICK = st.tuples(st.just("tick"), TRADES, st.booleans(), SIZES)
STEPS = st.lists(st.one_of(BUY, SALE, SALE, REPLACE, CANCEL, TICK, TICK), min_size=8, max_size=20)


def name_of(number: int) -> str:
    """Return risk's id of the order with a number."""
    return position_id(RUN_ID, "client_order", "order_intents", number)


def intent_of(number: int, side: str, kind: str, qty: str, one: str, two: str) -> dict[str, Any]:
    """Return the fields of an intent with the prices that its type has."""
    fields: dict[str, Any] = {
        "symbol": SYMBOL,
        "side": side,
        "qty": qty,
        "order_type": "OCO" if kind == PAIR else kind,
        "client_order_id": name_of(number),
        "purpose": "ENTRY" if side == "BUY" else "EXIT",
    }
    if kind == "LIMIT":
        fields["limit_price"] = one
    if kind in ("STOP_LOSS_LIMIT", PAIR):
        fields["limit_price"] = LIMIT
    if kind in ("STOP_LOSS", "OCO", "STOP_LOSS_LIMIT", PAIR):
        fields["stop_price"] = one
    if kind in ("TAKE_PROFIT", "OCO", PAIR):
        fields["target_price"] = two
    return fields


class Storm:
    """An executor that holds five coins and 1,000 USDT, with every order that it was given."""

    def __init__(self, fee_asset: str) -> None:
        profile = config(
            risk__exits_at="venue",
            execution__taker_fee_bps="7.53",
            execution__maker_fee_bps="1.01",
            execution__fee_asset=fee_asset,
        )
        self.desk = Desk(profile, first=opening("1000", (LOT,)), with_risk=False).ready()
        self.orders: dict[str, OrderIntent] = {}
        self.number = 0

    def take(self, step: tuple[Any, ...]) -> None:
        """Take one step, and judge what follows."""
        desk = self.desk
        before = {order.client.text: order for order in desk.execution.orders}
        if step[0] == "tick":
            _, price, is_trade, size = step
            ask = f"{float(price) + 0.01:.2f}"
            trade = price if is_trade else None
            events = desk.tick(price, ask, trade=trade, bid_qty=size, ask_qty=size)
        else:
            payload = self._payload(step)
            causes = tuple(position_id(RUN_ID, "risk_role", "risk_actions", n) for n in (1, 2))
            seq = desk.seqs["market_ticks"]
            events = desk.put("order_intents", payload, cause_ids=causes, tick_seq=seq)
            assert len(of(events, OrderResult)) >= 1
            assert fills(events) == []
        for result in of(events, OrderResult):
            if result.result == "TRIGGERED":
                order = before[result.client_order_id]
                trade_price = parse_amount(result.trigger_price)
                is_stop = order.stop is not None and trade_price <= order.stop
                is_quote = self.orders[result.client_order_id].limit_price is not None
                # The first fill of a quote is the trade at its target.
                assert step[2] is True or (is_quote and not is_stop and of(events, Fill))
                assert is_stop == (result.reason_code == "stop_triggered")
                assert is_stop or (order.target is not None and trade_price >= order.target)

    def free_and_reserved(self) -> dict[str, int]:
        """Return free plus reserved by asset, each zero or more, as the executor lists them."""
        listed = self.desk.execution.balances() or {}
        parts = {name: [parse_amount(text) for text in it.values()] for name, it in listed.items()}
        assert all(min(amounts) >= 0 for amounts in parts.values())
        return {"BTC": 0, "USDT": 0} | {name: sum(amounts) for name, amounts in parts.items()}

    def _payload(self, step: tuple[Any, ...]) -> OrderIntent | OrderReplace | OrderCancel:
        if step[0] == "cancel":
            return OrderCancel(SYMBOL, name_of(step[1]))
        self.number += 1
        if step[0] == "order":
            intent = OrderIntent(**intent_of(self.number, *step[1:]))
        else:
            fields = intent_of(self.number, "SELL", *step[2:])
            intent = OrderReplace(**fields, replaces=name_of(step[1]))
        self.orders[intent.client_order_id] = intent
        return intent

    def judge(self) -> None:
        """Judge balances and orders."""
        executor = self.desk.execution
        portfolio, orders = executor.portfolio, executor.orders
        cash, held = portfolio.cash("USDT"), portfolio.position_qty(SYMBOL)
        promised = sum(order.remaining for order in orders if order.side == "SELL")
        log = [event for _, event in self.desk.log]
        done = fills(log)

        assert cash >= 0
        assert 0 <= promised <= held
        bought = sum(parse_amount(f.qty) for f in done if f.side == "BUY")
        sold = sum(parse_amount(f.qty) for f in done if f.side == "SELL")
        in_base = sum(parse_amount(f.fee) for f in done if f.fee_asset == "BTC")
        assert all(f.fee_asset == "USDT" or f.side == "BUY" for f in done)
        spent = sum(
            (parse_amount(f.fee) if f.fee_asset == "USDT" else 0)
            + (1 if f.side == "BUY" else -1) * parse_amount(f.qty) * parse_amount(f.price) // UNIT
            for f in done
        )
        assert cash == 1000 * UNIT - spent
        assert held == 5 * UNIT + bought - sold - in_base
        assert self.free_and_reserved() == {"BTC": held, "USDT": cash}
        for name, intent in self.orders.items():
            results = [r for r in of(log, OrderResult) if r.client_order_id == name]
            results = [r for r in results if r.result != "CANCEL_REJECTED"]
            ended = [r for r in results if r.result in TERMINAL_STATES]
            filled = sum(parse_amount(f.qty) for f in done if f.client_order_id == name)
            is_open = any(order.client.text == name for order in orders)
            assert len(ended) == (0 if is_open else 1)
            assert filled <= parse_amount(intent.qty)
            if ended and ended[0].filled_qty is not None:
                assert parse_amount(ended[0].filled_qty) == filled


@pytest.mark.row("D-06", "D-40", "D-02")
@given(st.sampled_from(["quote", "base"]), STEPS)
@settings(max_examples=60, deadline=None)
def test_balances_and_orders_hold_whatever_is_ordered(
    fee_asset: str, steps: list[tuple[Any, ...]]
) -> None:
    """After every event each asset's opening and movements are its balance, free and reserved.

    Cash is never negative, no unit is sold twice, and each order ends once.
    """
    storm = Storm(fee_asset)

    for step in steps:
        storm.take(step)
        storm.judge()
