"""Inputs without a codec: messages and ticks that other cores hand over decide as their events."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.cores.messages import CancelMessage, IntentMessage, ResultMessage
from minibot.cores.protocol import Input
from minibot.cores.scaled_tick import ScaledTick
from minibot.events.ids import position_id
from minibot.events.model import Event, MarketTick, OrderCancel, OrderIntent, OrderResult
from minibot.execution.core import core_from_config
from minibot.kernel.canonical import encode
from tests.risk.desk import (
    EXECUTION_INPUTS,
    HASH,
    OTHER,
    RUN_ID,
    SYMBOL,
    Desk,
    config,
    opening,
)

LOT = {"symbol": SYMBOL, "qty": "5", "price": "100", "ts": 1}


def executor(**changes: Any) -> Desk:
    """Return an executor without risk that holds five coins, with rules and a first touch."""
    keys = {"execution__order_ttl_market_ms": 600_000} | changes
    return Desk(config(**keys), first=opening("10000", (LOT,)), with_risk=False).ready()


def cancel(desk: Desk) -> None:
    """Ask for the end of the open order."""
    (order,) = desk.execution.orders
    causes = tuple(position_id(RUN_ID, "risk_role", "risk_actions", n) for n in (1, 2))
    payload = OrderCancel(SYMBOL, order.client.text)
    desk.put("order_intents", payload, cause_ids=causes, tick_seq=desk.seqs["market_ticks"])


def as_message(event: Event) -> Input:
    """Return an event as the other cores of one process hand it over."""
    payload = event.payload
    if isinstance(payload, MarketTick):
        tick = ScaledTick()
        tick.fill(payload, event)
        return tick
    if isinstance(payload, OrderIntent):
        return IntentMessage.of(payload, event)
    if isinstance(payload, OrderCancel):
        return CancelMessage.of(payload, event)
    return event


@pytest.mark.parametrize("exits_at", ["role", "venue"])
def test_messages_decide_the_same_bytes_as_their_events(exits_at: str) -> None:
    """Purchase, cancelled quote, resting stop and its trigger: equal outputs, equal state."""
    desk = executor(risk__exits_at=exits_at)
    desk.intent("BUY", "1")
    desk.tick()
    desk.intent("BUY", "1", order_type="LIMIT", limit_price="99.50")
    cancel(desk)
    desk.intent("SELL", "2", order_type="STOP_LOSS", stop_price="99")
    desk.tick("98.99", "99.01", trade="99")
    by_event, by_message = core_from_config(desk.profile), core_from_config(desk.profile)
    lines = dict.fromkeys(EXECUTION_INPUTS, 0)
    now, results = 0, []

    for queue, event in desk.log:
        if queue in EXECUTION_INPUTS:
            line = lines[queue] = lines[queue] + 1
            now = max(now, event.ts)
            outputs = [
                [message.event(HASH).to_json() for message in core.process(item, line, now) or []]
                for core, item in ((by_event, event), (by_message, as_message(event)))
            ]
            assert outputs[0] == outputs[1]
            results += [said["payload"].get("result", "fill") for said in outputs[0]]
            assert encode(by_event.state()) == encode(by_message.state())

    assert results[:4] == ["ACCEPTED", "fill", "FILLED", "ACCEPTED"]
    assert "CANCELLED" in results
    assert "TRIGGERED" in results


def test_input_of_an_unknown_kind_is_refused_by_its_name() -> None:
    """An input that no queue of the executor has is an error, and nothing follows from it."""
    desk = executor()
    before = encode(desk.execution.state())

    with pytest.raises(TypeError, match="str is not an input of the executor"):
        desk.execution.process("BUY", 1, desk.ts)  # type: ignore[arg-type]

    assert encode(desk.execution.state()) == before


# --- ticks that are skipped -----------------------------------------------------------------------

TOUCH = ("99.99", "100.01", "1", "1")
SERIES: dict[str, list[tuple[str, str, str, str]]] = {
    "nothing changes": [TOUCH, TOUCH],
    "bid changes": [("99.98", "100.01", "1", "1"), TOUCH],
    "ask changes": [("99.99", "100.02", "1", "1"), TOUCH],
    "sizes change": [("99.99", "100.01", "3", "4"), TOUCH],
    "last is unusable": [TOUCH, ("100.02", "100.01", "1", "1")],
}


def sizes(tick: tuple[str, str, str, str]) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return price and size of bid and of ask."""
    bid, ask, bid_qty, ask_qty = tick
    return (bid, bid_qty), (ask, ask_qty)


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("exits_at", ["role", "venue"])
@pytest.mark.parametrize("symbol", [SYMBOL, OTHER])
@pytest.mark.parametrize("is_first_taken", [False, True])
def test_ticks_in_a_row_are_skipped_as_if_each_had_been_taken(
    is_first_taken: bool, symbol: str, exits_at: str, name: str
) -> None:
    """Touch, sizes that our own orders took, last price and mark are those after all ticks."""
    desk = executor(risk__exits_at=exits_at)
    for each in (OTHER, SYMBOL):
        desk.instrument(each)
        desk.tick(*TOUCH[:2], bid_qty="1", ask_qty="1", symbol=each)
        desk.intent("BUY", "0.400", symbol=each)
    desk.intent("SELL", "0.300")
    desk.tick(*TOUCH[:2], bid_qty="1", ask_qty="1", symbol=OTHER)
    desk.tick(*TOUCH[:2], bid_qty="1", ask_qty="1", symbol=SYMBOL)
    assert desk.execution.orders == []
    touches = desk.execution.state()["touches"]
    assert (touches[SYMBOL]["ask_taken"], touches[SYMBOL]["bid_taken"]) == (
        "0.40000000",
        "0.30000000",
    )
    skipping = Desk(desk.profile, with_risk=False)
    skipping.execution = type(desk.execution).from_state(desk.profile, desk.execution.state())

    before, is_bid_new, is_ask_new = sizes(TOUCH), False, False
    for number, tick in enumerate(SERIES[name]):
        desk.tick(*tick[:2], bid_qty=tick[2], ask_qty=tick[3], symbol=symbol)
        if is_first_taken and not number:
            seq = desk.seqs["market_ticks"]
            assert skipping.execution.process(desk.log[-1][1], seq, desk.ts) is None
        else:
            is_bid_new = is_bid_new or sizes(tick)[0] != before[0]
            is_ask_new = is_ask_new or sizes(tick)[1] != before[1]
        before = sizes(tick)
    last = ScaledTick()
    event = desk.log[-1][1]
    assert isinstance(event.payload, MarketTick)
    last.fill(event.payload, event)
    seq = desk.seqs["market_ticks"]
    skipping.execution.skip_to(last, seq, desk.ts, is_bid_new, is_ask_new)

    assert encode(skipping.execution.state()) == encode(desk.execution.state())


def test_message_of_a_refused_intent_reports_nothing_filled() -> None:
    """Risk settles the order by it, and would wait for the fill of what is reported filled."""
    desk = executor()
    event = next(each for each in desk.intent("BUY", "0.0001") if each.type == "order_result")
    (intent,) = desk.events("order_intents")

    (message,) = executor().execution.process(as_message(intent), 1, desk.ts) or []

    assert isinstance(event.payload, OrderResult)
    assert isinstance(message, ResultMessage)
    assert message.filled == ResultMessage.of(event.payload, event).filled == 0


def test_touch_is_skipped_to_behind_new_rules_of_its_symbol() -> None:
    """The rules forget which symbol came last, and the next touch may be of the same."""
    desk = executor()
    desk.tick()
    desk.instrument()
    last = ScaledTick(SYMBOL)
    last.bid, last.ask, last.bid_qty, last.ask_qty, last.ts = 99, 101, 5, 7, desk.ts + 1

    desk.execution.skip_to(last, desk.seqs["market_ticks"] + 1, desk.ts + 1, True, True)

    assert desk.execution.state()["touches"][SYMBOL]["ts"] == desk.ts + 1


@pytest.mark.parametrize(
    ("model", "resting", "quiet"),
    [
        ("touch", (), (True, True)),
        ("touch", (SYMBOL,), (False, False)),
        ("touch", (OTHER,), (False, True)),
        ("queue", (), (True, True)),
        ("queue", (OTHER,), (False, False)),
    ],
)
def test_ticks_are_quiet_where_no_open_order_can_meet_them(
    model: str, resting: tuple[str, ...], quiet: tuple[bool, bool]
) -> None:
    """An open order ends a quiet stretch; one of another symbol leaves ticks alone, but for queues.

    A queue is shortened by the trades of its symbol, which a walk over columns cannot show it.
    """
    desk = executor(execution__fill_model=model)
    desk.instrument(OTHER)
    desk.tick(symbol=OTHER)
    desk.tick()
    for symbol in resting:
        desk.intent("BUY", "1", symbol=symbol, order_type="LIMIT", limit_price="99.00")
    core = desk.execution

    found = (core.quiet_range(SYMBOL, desk.ts), core.quiet_ticks(SYMBOL, desk.ts))

    assert tuple([each is not None for each in found]) == quiet
