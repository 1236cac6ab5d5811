"""Paper executor: refusals, fills with time and price, and their evidence."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from minibot.cores.messages import IntentMessage
from minibot.events.ids import derive_id
from minibot.events.model import (
    AveragePrice,
    Event,
    Fill,
    Gap,
    OrderIntent,
    OrderResult,
    PriceMark,
    RunEnding,
)
from minibot.execution.core import core_from_config, core_from_state
from minibot.execution.intake import field_refusal
from minibot.execution.orders import ORDER_ROLE
from minibot.execution.paper_executor_nore_v1 import PaperExecutorNoreV1
from minibot.kernel.canonical import encode
from minibot.kernel.errors import ContractError, InvariantError
from tests.risk.desk import (
    OTHER,
    SYMBOL,
    Desk,
    config,
    fills,
    instrument,
    of,
    opening,
    results,
)

LOT = {"symbol": SYMBOL, "qty": "5", "price": "100", "ts": 1}


def executor(*, cash: str = "10000", lots: tuple[Any, ...] = (LOT,), **changes: Any) -> Desk:
    """Return an executor without risk that holds five coins, with rules and a first touch."""
    return Desk(config(**changes), first=opening(cash, lots), with_risk=False).ready()


def ending(desk: Desk, until_ts: int) -> None:
    desk.put("control", RunEnding(who="launcher", why="duration", until_ts=until_ts))


# --- intents ----------------------------------------------------------------------------------


@pytest.mark.row("N-54", "B-53", "N-33", "F123")
@pytest.mark.parametrize(
    ("qty", "changes", "reason"),
    [
        ("0", {}, "qty_invalid"),
        ("-1", {}, "qty_invalid"),
        ("0.0005", {}, "step_size"),
        ("1.0005", {}, "step_size"),
        ("0.000000001", {}, "qty_invalid"),
        ("9001", {}, "qty_max"),
        ("0.099", {}, "min_notional"),
        ("1", {"symbol": OTHER}, "symbol_unknown"),
        ("1", {"purpose": "EXIT"}, "order_type_unsupported"),
        ("1", {"order_type": "LIMIT"}, "price_invalid"),
        ("1", {"order_type": "LIMIT", "limit_price": "0"}, "price_invalid"),
        ("1", {"order_type": "LIMIT", "limit_price": "99.995"}, "step_size"),
        ("1", {"limit_price": "99"}, "order_type_unsupported"),
        ("100", {}, "insufficient_cash"),
    ],
)
def test_intent_amiss_is_rejected_with_its_reason_and_never_filled(
    qty: str, changes: dict[str, Any], reason: str
) -> None:
    """A bad intent is rejected with its reason, and the next order trades (F123)."""
    desk = executor()

    events = desk.intent("BUY", qty, **changes)

    assert results(events) == [("REJECTED", reason)]
    assert fills(desk.tick()) == []
    assert results(desk.intent("BUY", "1")) == [("ACCEPTED", "accepted")]
    assert len(fills(desk.tick())) == 1


@pytest.mark.row("N-54")
@pytest.mark.parametrize(("field", "value"), [("qty", "NaN"), ("limit_price", "1e3")])
def test_intent_number_that_is_none_is_rejected_not_raised(field: str, value: str) -> None:
    """A text that is no number is rejected, not raised, where a contract did not stop it."""
    values: dict[str, Any] = {
        "symbol": SYMBOL,
        "side": "BUY",
        "qty": "1",
        "order_type": "LIMIT",
    } | {field: value}
    intent = OrderIntent(client_order_id="c", purpose="ENTRY", **values)

    message = IntentMessage.of(intent, Event(0, "", "", "", "", intent))
    assert field_refusal(message) in ("qty_invalid", "price_invalid")


@pytest.mark.parametrize(("order_type", "limit"), [("MARKET", None), ("LIMIT", "100")])
def test_time_in_force_that_the_venue_has_not_is_refused(
    order_type: str, limit: str | None
) -> None:
    """An unknown time in force is refused, not read as GTC, where a contract did not stop it."""
    values: dict[str, Any] = {"order_type": order_type, "limit_price": limit}
    refusals = []
    for time_in_force in (None, "IOC", "GTD"):
        answer: Any = time_in_force
        intent = OrderIntent(
            SYMBOL, "BUY", "1", client_order_id="c", purpose="ENTRY", time_in_force=answer, **values
        )
        refusals.append(field_refusal(IntentMessage.of(intent, Event(0, "", "", "", "", intent))))

    assert refusals == [None, None, "order_type_unsupported"]


@pytest.mark.row("B-53")
@pytest.mark.parametrize(("qty", "passes"), [("0.100", True), ("0.099", False)])
def test_intent_at_minimum_notional_passes_and_just_below_is_rejected(
    qty: str, passes: bool
) -> None:
    """A tenth of a coin at 100, ten USDT, is accepted; just below is rejected."""
    desk = executor()
    desk.tick("99.99", "100")

    assert results(desk.intent("BUY", qty))[0][0] == ("ACCEPTED" if passes else "REJECTED")


@pytest.mark.row("D-34", "U-22")
@pytest.mark.parametrize(
    ("qty", "outcome"), [("5", ("ACCEPTED", "accepted")), ("5.001", ("REJECTED", "short_sale"))]
)
def test_sale_of_all_is_accepted_and_a_step_more_is_rejected(
    qty: str, outcome: tuple[str, str]
) -> None:
    """A sale of the whole position is accepted, a step more is rejected."""
    assert results(executor().intent("SELL", qty)) == [outcome]


@pytest.mark.row("D-34")
def test_sales_in_flight_count_against_the_position() -> None:
    """Open sales reduce what may be sold: the second of two for three of five is rejected."""
    desk = executor()

    first, second = desk.intent("SELL", "3"), desk.intent("SELL", "3")

    assert results(first) == [("ACCEPTED", "accepted")]
    assert results(second) == [("REJECTED", "short_sale")]


@pytest.mark.row("D-02")
def test_purchases_in_flight_count_against_the_cash() -> None:
    """Open purchases reduce the cash: the second of two for 6,000 of 10,000 is rejected."""
    desk = executor()

    first, second = desk.intent("BUY", "59"), desk.intent("BUY", "59")

    assert results(first) == [("ACCEPTED", "accepted")]
    assert results(second) == [("REJECTED", "insufficient_cash")]


@pytest.mark.row("F121")
def test_intent_at_its_expiry_is_expired_and_a_millisecond_before_is_accepted() -> None:
    """An intent expires at its `expires_ts`, and is accepted a millisecond before (F121)."""
    desk = executor()

    assert results(desk.intent("BUY", "1", expires_ts=desk.ts + 1))[0] == ("ACCEPTED", "accepted")
    assert results(desk.intent("BUY", "1", expires_ts=desk.ts))[0] == ("EXPIRED", "expired")


@pytest.mark.row("F74")
def test_intents_that_waited_while_risk_or_execution_was_down_are_expired() -> None:
    """Intents that waited through an outage are expired, not traded (F74)."""
    desk = executor(execution__tick_age_ms_max=60000)
    desk.lag_ms = 5000

    events = desk.intent("BUY", "1", expires_ts=desk.ts + 5000)

    assert results(events) == [("EXPIRED", "expired")]
    desk.lag_ms = 4999
    assert results(desk.intent("BUY", "1", expires_ts=desk.ts + 5000))[0][0] == "ACCEPTED"


@pytest.mark.row("N-04", "B-20", "B-79", "F122")
@pytest.mark.parametrize("causes", [None, (), ("only",), ("same", "same")])
def test_intent_without_risk_action_behind_it_stops_the_run(causes: tuple[str, ...] | None) -> None:
    """An intent without a risk action behind it stops the run (F122)."""
    from minibot.events.ids import position_id
    from minibot.execution.intake import require_lineage

    ids = None if causes is None else tuple(position_id("r", "x", c, 1) for c in causes)
    event = Event(1, "id", "risk_role", "r", "h", instrument(), cause_ids=ids)

    with pytest.raises(ContractError) as caught:
        require_lineage(event)

    assert caught.value.reason_code == "SOURCE_FORBIDDEN"


@pytest.mark.row("N-04")
def test_executor_judges_lineage_before_anything_is_said() -> None:
    """The executor itself demands the risk_action, and writes nothing about such an intent."""
    desk = executor()
    wish = OrderIntent(SYMBOL, "BUY", "1", "MARKET", "c", "ENTRY")
    event = Event(desk.ts, "id", "risk_role", "r", "h", wish, cause_ids=("only",))

    with pytest.raises(ContractError):
        desk.execution.process(event, 1, desk.ts)


def test_repeated_intent_is_a_duplicate_until_the_millisecond_of_its_end() -> None:
    """An id is not forgotten before its order would have expired."""
    desk = executor()
    ts, ttl_ms = desk.ts, desk.profile["execution"]["order_ttl_market_ms"]
    desk.intent("BUY", "1")
    (first,) = desk.events("order_intents")
    desk.tick(after_ms=ttl_ms - 1)

    again = desk.put(
        "order_intents", first.payload, cause_ids=first.cause_ids, tick_seq=first.tick_seq, ts=ts
    )

    assert results(again) == [("REJECTED", "duplicate")]


def test_repeated_intent_is_expired_from_the_millisecond_of_its_end() -> None:
    """Its id need not be remembered any longer: the intent itself is too late."""
    desk = executor()
    ts, ttl_ms = desk.ts, desk.profile["execution"]["order_ttl_market_ms"]
    desk.intent("BUY", "1")
    (first,) = desk.events("order_intents")
    desk.tick(after_ms=ttl_ms)

    again = desk.put(
        "order_intents", first.payload, cause_ids=first.cause_ids, tick_seq=first.tick_seq, ts=ts
    )

    assert results(again) == [("EXPIRED", "expired")]


def test_order_has_the_id_that_its_intent_gives_it() -> None:
    """Any role can compute an order's id, so that a restart gives the same one."""
    desk = executor()
    accepted = desk.intent("BUY", "1")
    (intent,) = desk.events("order_intents")

    (result,) = of(accepted, OrderResult)

    assert result.order_id == derive_id(intent.run_id, ORDER_ROLE, intent.id, 0)


def test_touch_in_the_state_names_the_tick_that_it_came_with() -> None:
    """A fill after a restart has the same evidence as one without."""
    desk = executor()
    desk.tick()

    touch = desk.execution.state()["touches"][SYMBOL]

    assert touch["id"] == desk.events("market_ticks")[-1].id


def test_refused_intent_has_the_order_id_that_it_would_have_had() -> None:
    """Whoever looks an intent's order up by its id finds the refusal."""
    desk = executor()
    refused = desk.intent("BUY", "0.0001")
    (intent,) = desk.events("order_intents")

    (result,) = of(refused, OrderResult)

    assert result.result == "REJECTED"
    assert result.order_id == derive_id(intent.run_id, ORDER_ROLE, intent.id, 0)


@pytest.mark.parametrize(("qty", "unfilled"), [("0.0005", "0.0005"), ("0", None)])
def test_refusal_reports_the_quantity_unless_it_is_none(qty: str, unfilled: str | None) -> None:
    """All of a refused quantity is unfilled; a field that is no quantity is not repeated."""
    (result,) = of(executor().intent("BUY", qty), OrderResult)

    assert (result.result, result.filled_qty) == ("REJECTED", "0")
    assert result.remaining_qty == unfilled


@pytest.mark.parametrize(("side", "shown"), [("BUY", "7.000"), ("SELL", "5.000")])
def test_fill_reports_the_size_displayed_on_the_side_that_it_takes(side: str, shown: str) -> None:
    """A purchase takes from the ask's seven coins, a sale from the bid's five."""
    desk = executor()
    desk.intent(side, "1")

    (fill,) = fills(desk.tick(bid_qty="5", ask_qty="7"))

    assert fill.displayed_qty == shown


def test_order_for_all_or_nothing_may_take_the_last_of_the_cash() -> None:
    """Cash for exactly one coin pays for it."""
    desk = executor(cash="100.01", lots=())
    desk.intent("BUY", "1", time_in_force="FOK")

    assert results(desk.tick()) == [("FILLED", "filled")]


@pytest.mark.row("D-42")
def test_same_client_order_id_twice_trades_once() -> None:
    """A repeated client order id gives one order; the repeat has its own order id (F75)."""
    desk = executor()
    name = "11111111-1111-4111-8111-111111111111"

    first = desk.intent("BUY", "1", client_order_id=name)
    second = desk.intent("BUY", "1", client_order_id=name)

    assert results(second) == [("REJECTED", "duplicate")]
    assert of(first, OrderResult)[0].order_id != of(second, OrderResult)[0].order_id
    assert len(fills(desk.tick())) == 1


def test_stale_touch_at_limit_is_accepted_and_a_millisecond_older_is_rejected() -> None:
    """A touch at the age limit is accepted, a millisecond older is rejected."""
    desk = executor()
    desk.ts += 5000
    assert results(desk.intent("BUY", "1"))[0] == ("ACCEPTED", "accepted")

    desk = executor()
    desk.ts += 5001
    assert results(desk.intent("BUY", "1"))[0] == ("REJECTED", "stale_tick")


@pytest.mark.parametrize("bid", ["99.99", "0.00000001"])
def test_gap_forbids_orders_until_the_next_tick(bid: str) -> None:
    """A gap forbids orders until the next tick, also over a restart and at the smallest price."""
    desk = executor()
    desk.tick(bid)
    desk.put("market_ticks", Gap(SYMBOL, "bookTicker", desk.ts, desk.ts, "reconnect"))
    desk.restarted()

    assert results(desk.intent("BUY", "1")) == [("REJECTED", "no_mark")]
    desk.tick()
    assert results(desk.intent("BUY", "1")) == [("ACCEPTED", "accepted")]


def test_mark_outlives_a_touch_that_says_nothing() -> None:
    """A position keeps its last mid as mark while the touch is crossed, and after a gap."""
    desk = executor()
    desk.tick("100", "102")
    for happens in (
        lambda: desk.tick("103", "102"),
        lambda: desk.put("market_ticks", Gap(SYMBOL, "bookTicker", desk.ts, desk.ts, "reconnect")),
        lambda: desk.tick("0", "102"),
        desk.restarted,
    ):
        happens()
        assert desk.execution.state()["marks"] == {SYMBOL: "101.00000000"}


def test_halted_instrument_is_not_traded() -> None:
    """An instrument with the venue's halted status is not traded."""
    desk = executor()
    desk.instrument(status="BREAK")

    assert results(desk.intent("BUY", "1")) == [("REJECTED", "not_trading")]


# --- fills ------------------------------------------------------------------------------------


@pytest.mark.row("N-33", "N-55", "D-48")
def test_market_order_fills_at_the_touch_once_the_latency_has_passed() -> None:
    """A market order fills at the ask 50 ms after its intent; the fill names intent and tick."""
    desk = executor()
    accepted = desk.intent("BUY", "2")
    intent = desk.events("order_intents")[-1]

    assert results(accepted) == [("ACCEPTED", "accepted")]
    assert desk.tick("100.10", "100.20", after_ms=49) == []
    fill_event, result_event = desk.tick("100.30", "100.40", after_ms=1)
    tick = desk.events("market_ticks")[-1]
    assert isinstance(fill_event.payload, Fill)
    assert fill_event.payload.to_json() | {"order_id": "", "client_order_id": ""} == {
        "order_id": "",
        "client_order_id": "",
        "symbol": SYMBOL,
        "side": "BUY",
        "qty": "2.000",
        "price": "100.40",
        "fee": "0.00000000",
        "fee_asset": "USDT",
        "liquidity": "TAKER",
        "bid": "100.30",
        "ask": "100.40",
        "displayed_qty": "1000.000",
        "latency_market_ms": 50,
    }
    assert result_event.payload.result == "FILLED"  # type: ignore[attr-defined]
    for event in (fill_event, result_event):
        assert event.cause_ids == (intent.id, tick.id)
        assert event.tick_seq == desk.seqs["market_ticks"]
        assert event.ts == max(intent.ts, tick.ts)


def test_sale_fills_at_the_bid() -> None:
    """A sale fills at the bid."""
    desk = executor()
    desk.intent("SELL", "2")

    (sold,) = fills(desk.tick("100.30", "100.40"))

    assert (sold.side, sold.price, sold.qty) == ("SELL", "100.30", "2.000")


@pytest.mark.row("D-49", "N-33")
def test_thin_book_fills_in_parts_that_add_up_and_touch_is_consumed_once() -> None:
    """A thin touch fills in parts; the part taken is gone until that side changes."""
    desk = executor()
    desk.intent("BUY", "1")

    first = desk.tick("99.99", "100.01", ask_qty="0.4")
    unchanged = desk.tick("99.98", "100.01", ask_qty="0.4")
    resized = desk.tick("99.98", "100.01", ask_qty="0.3")
    repriced = desk.tick("99.98", "100.02", ask_qty="0.9")

    assert [fill.qty for fill in fills(first)] == ["0.400"]
    assert results(first) == [("PARTIALLY_FILLED", "partial")]
    assert unchanged == []
    assert [fill.qty for fill in fills(resized)] == ["0.300"]
    assert [(fill.qty, fill.price) for fill in fills(repriced)] == [("0.300", "100.02")]
    assert results(repriced) == [("FILLED", "filled")]
    assert sum(Decimal(fill.qty) for fill in fills(desk.events("fills"))) == 1


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize(
    "lost",
    [
        Gap(SYMBOL, "trade", 1, 2, "trades missing"),
        Gap(SYMBOL, "depth", 1, 2, "lost"),
        PriceMark(SYMBOL, "101", "miniTicker", 1),
    ],
)
def test_size_that_is_taken_stays_taken_over_a_gap(
    lost: Gap | PriceMark, *, is_restarted: bool
) -> None:
    """The same touch behind a gap is not displayed anew; one of another size is."""
    desk = executor()
    desk.intent("BUY", "1")
    desk.intent("SELL", "1")

    first = desk.tick(bid_qty="0.4", ask_qty="0.4")
    desk.put("market_ticks", lost)
    if is_restarted:
        desk.restarted()
    assert results(desk.intent("BUY", "1")) == [("REJECTED", "no_mark")]
    unchanged = desk.tick(bid_qty="0.4", ask_qty="0.4")
    resized = desk.tick(bid_qty="0.5", ask_qty="0.3")

    assert [fill.qty for fill in fills(first)] == ["0.400", "0.400"]
    assert unchanged == []
    assert [fill.qty for fill in fills(resized)] == ["0.300", "0.500"]


def test_thin_book_is_consumed_by_sales_too() -> None:
    """Sales consume the bid in the same way, whatever the ask does."""
    desk = executor()
    desk.intent("SELL", "1")

    first = desk.tick("99.99", "100.01", bid_qty="0.4")
    unchanged = desk.tick("99.99", "100.05", bid_qty="0.4")
    resized = desk.tick("99.99", "100.05", bid_qty="0.9")

    assert [fill.qty for fill in fills(first)] == ["0.400"]
    assert unchanged == []
    assert [fill.qty for fill in fills(resized)] == ["0.600"]


def test_two_orders_share_one_displayed_size_in_order_of_arrival() -> None:
    """The second of two orders gets what the first leaves of a displayed size."""
    desk = executor()
    desk.intent("BUY", "1")
    desk.intent("BUY", "1")

    events = desk.tick(ask_qty="1.5")

    assert [fill.qty for fill in fills(events)] == ["1.000", "0.500"]


@pytest.mark.row("D-02")
def test_price_that_runs_away_is_paid_as_far_as_the_cash_goes() -> None:
    """A price that runs away is paid as far as the cash lasts; the rest expires."""
    desk = executor(cash="1000", execution__taker_fee_bps="10")
    desk.intent("BUY", "9.9")

    events = desk.tick("199", "200")

    # 1000 pays n * 200 * 1.001 for n up to 4.995...: 4.995 * 200.2 = 999.999
    assert [fill.qty for fill in fills(events)] == ["4.995"]
    assert results(events) == [("PARTIALLY_FILLED", "partial"), ("EXPIRED", "insufficient_cash")]
    assert Decimal(desk.execution.facts()["cash"]) == Decimal("0.001")


def test_stale_tick_fills_nothing_and_a_fresh_one_does() -> None:
    """A stale tick fills nothing; a fresh one does."""
    desk = executor(execution__order_ttl_market_ms=60000)
    desk.intent("BUY", "1")

    desk.lag_ms = 5001
    assert fills(desk.tick()) == []
    desk.lag_ms = 5000
    assert len(fills(desk.tick())) == 1


@pytest.mark.parametrize(("bid", "ask"), [("0", "100"), ("100.02", "100.01"), ("100", "0")])
def test_missing_or_crossed_touch_fills_nothing(bid: str, ask: str) -> None:
    """A missing or crossed touch fills nothing."""
    desk = executor()
    desk.intent("BUY", "1")

    assert desk.tick(bid, ask) == []


def test_rest_of_an_order_expires_at_its_time_to_live_on_a_tick_or_a_beat() -> None:
    """The rest of an order expires at its time on a tick or a beat, and quantities add up."""
    desk = executor()
    desk.intent("BUY", "1")
    desk.tick(ask_qty="0.4")
    assert desk.beat(after_ms=4899) == []

    events = desk.beat(after_ms=1)

    assert results(events) == [("EXPIRED", "expired")]
    (result,) = of(events, OrderResult)
    assert (result.filled_qty, result.remaining_qty) == ("0.400", "0.600")
    desk.intent("BUY", "1")
    assert results(desk.tick(after_ms=5000)) == [("EXPIRED", "expired")]


# --- a quiet market ---------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "price"), [("SELL", "99.99"), ("BUY", "100.01")])
def test_market_order_that_no_tick_meets_in_time_meets_the_touch_that_stands(
    side: str, price: str
) -> None:
    """A venue fills it at once, however quiet; here the last beat or two before its end do."""
    desk = executor()
    desk.intent(side, "2")

    assert desk.beat(after_ms=3_499) == []
    desk.restarted()
    events = desk.beat(after_ms=1)

    assert [(fill.qty, fill.price, fill.liquidity) for fill in fills(events)] == [
        ("2.000", price, "TAKER")
    ]
    assert results(events) == [("FILLED", "filled")]
    beat = desk.events("market_ticks")[-1]
    assert {(event.cause_ids or ())[-1] for event in events} == {beat.id}


def test_touch_still_stands_when_the_rules_of_its_market_come_again() -> None:
    """Rules are refreshed now and then; an order in a quiet market is filled all the same."""
    desk = executor()
    desk.intent("SELL", "2")
    desk.instrument()

    assert results(desk.beat(after_ms=3_500)) == [("FILLED", "filled")]


@pytest.mark.parametrize(("early_ms", "said"), [(1, []), (0, [("FILLED", "filled")])])
def test_touch_that_stands_fills_no_order_before_its_latency_is_over(
    early_ms: int, said: list[tuple[str, str]]
) -> None:
    """The beat at which the order reaches the venue is the first to fill it."""
    desk = executor(execution__latency_market_ms=3_600)
    desk.intent("SELL", "2")

    assert results(desk.beat(after_ms=3_600 - early_ms)) == said


def test_market_order_meets_no_more_of_a_touch_that_stands_than_it_shows() -> None:
    """The rest behind the displayed size ends with the order's time."""
    desk = executor()
    desk.tick(bid_qty="1.5")
    desk.intent("SELL", "2")

    events = desk.beat(after_ms=3_600) + desk.beat()

    assert [fill.qty for fill in fills(events)] == ["1.500"]
    assert results(events) == [("PARTIALLY_FILLED", "partial")]
    assert results(desk.beat()) == [("EXPIRED", "expired")]


@pytest.mark.parametrize(
    ("before", "changes"),
    [
        ("gap", {}),
        ("halt", {}),
        ("", {"execution__tick_age_ms_max": 3_599}),
        ("", {"execution__latency_market_ms": 3_700}),
        ("partial", {}),
    ],
)
def test_market_order_expires_where_no_touch_stands_for_it(
    before: str, changes: dict[str, Any]
) -> None:
    """One behind a gap, of a halt, too old, not yet reached, or met before is none."""
    desk, ends = executor(**changes), ("EXPIRED", "expired")
    desk.intent("SELL", "2")
    if before == "gap":
        desk.put("market_ticks", Gap(SYMBOL, "quote", desk.ts, desk.ts, "test"))
    if before == "halt":
        desk.instrument(status="HALT")
        ends = ("CANCELLED", "left_trading")
    if before == "partial":
        desk.tick(bid_qty="1.5")

    assert desk.beat(after_ms=3_600) == []
    desk.beat(after_ms=1_400)
    assert results(desk.events("order_results"))[-1] == ends


def test_limit_order_meets_no_touch_with_a_beat() -> None:
    """A limit waits for a tick, as before."""
    desk = executor()
    desk.intent("SELL", "2", order_type="LIMIT", limit_price="99.99")

    assert desk.beat(after_ms=3_600) == []
    assert results(desk.beat(after_ms=1_400)) == [("EXPIRED", "expired")]


def test_order_at_the_market_of_another_symbol_meets_the_touch_of_its_own() -> None:
    """A beat is of no symbol."""
    desk = executor(lots=(LOT, LOT | {"symbol": OTHER}))
    desk.put("market_ticks", instrument(OTHER))
    desk.tick("50", "51", symbol=OTHER)
    desk.intent("SELL", "2", symbol=OTHER)
    desk.tick("99", "101")

    assert [fill.price for fill in fills(desk.beat(after_ms=3_600))] == ["50.00"]


# --- limit orders -----------------------------------------------------------------------------


def limit(desk: Desk, side: str, price: str, tif: str = "GTC", qty: str = "1") -> list[Event]:
    return desk.intent(side, qty, order_type="LIMIT", limit_price=price, time_in_force=tif)


@pytest.mark.row("N-33")
@pytest.mark.parametrize(
    ("side", "price", "bid", "ask", "paid"),
    [
        ("BUY", "100.01", "99.99", "100.01", "100.01"),
        ("BUY", "100.50", "99.99", "100.01", "100.01"),
        ("SELL", "99.99", "99.99", "100.01", "99.99"),
        ("SELL", "99.50", "99.99", "100.01", "99.99"),
    ],
)
def test_limit_order_that_crosses_takes_the_touch_or_better(
    side: str, price: str, bid: str, ask: str, paid: str
) -> None:
    """A limit order that crosses fills at the touch as a taker."""
    desk = executor()
    limit(desk, side, price)

    (fill,) = fills(desk.tick(bid, ask))

    assert (fill.price, fill.liquidity) == (paid, "TAKER")


@pytest.mark.row("N-55")
def test_limit_order_that_rests_is_filled_at_its_own_price_as_a_maker() -> None:
    """A limit order that rests fills at its own price as a maker."""
    desk = executor(execution__maker_fee_bps="5", execution__taker_fee_bps="10")
    limit(desk, "BUY", "100.00")

    assert desk.tick("99.98", "100.01") == []
    (fill,) = fills(desk.tick("99.90", "99.95"))

    assert (fill.price, fill.liquidity, fill.fee) == ("100.00", "MAKER", "0.05000000")


@pytest.mark.parametrize(
    ("tif", "shown", "filled", "end"),
    [
        ("IOC", "0.4", ["0.400"], ("EXPIRED", "unfilled_ioc")),
        ("FOK", "0.4", [], ("EXPIRED", "unfilled_fok")),
        ("FOK", "1", ["1.000"], ("FILLED", "filled")),
        ("IOC", "1", ["1.000"], ("FILLED", "filled")),
        ("GTC", "0.4", ["0.400"], ("PARTIALLY_FILLED", "partial")),
    ],
)
def test_time_in_force_decides_about_the_rest(
    tif: str, shown: str, filled: list[str], end: tuple[str, str]
) -> None:
    """The time in force decides about the rest: IOC takes what is there, FOK all, GTC waits."""
    desk = executor()
    limit(desk, "BUY", "100.01", tif)

    events = desk.tick(ask_qty=shown)

    assert [fill.qty for fill in fills(events)] == filled
    assert results(events)[-1] == end


@pytest.mark.parametrize("tif", ["IOC", "FOK"])
def test_immediate_order_that_does_not_cross_expires_at_once(tif: str) -> None:
    """An immediate order that does not cross expires at once."""
    desk = executor()
    limit(desk, "BUY", "99", tif)

    assert results(desk.tick())[0][0] == "EXPIRED"


@pytest.mark.row("B-53")
@pytest.mark.parametrize(
    ("price", "outcome"),
    [("110", "ACCEPTED"), ("110.01", "REJECTED"), ("90", "ACCEPTED"), ("89.99", "REJECTED")],
)
def test_limit_price_at_the_band_passes_and_beyond_is_rejected(price: str, outcome: str) -> None:
    """A limit price at the percent band around the mid is accepted, beyond it rejected."""
    desk = executor()
    desk.instrument(bid_percent_up="1.1", bid_percent_down="0.9")

    assert results(limit(desk, "BUY", price))[0][0] == outcome


@pytest.mark.row("B-53")
@pytest.mark.parametrize(
    ("price", "outcome"),
    [("99", "ACCEPTED"), ("99.01", "REJECTED"), ("81", "ACCEPTED"), ("80.99", "REJECTED")],
)
def test_limit_price_band_is_counted_from_the_average_price_once_it_is_told(
    price: str, outcome: str
) -> None:
    """The band uses the venue's average price once it is known."""
    desk = executor()
    desk.instrument(bid_percent_up="1.1", bid_percent_down="0.9", percent_minutes=5)
    desk.put("market_ticks", AveragePrice(SYMBOL, "90", 5, desk.ts))
    desk.restarted()

    assert results(limit(desk, "BUY", price))[0][0] == outcome


@pytest.mark.parametrize(("late_ms", "outcome"), [(0, "REJECTED"), (1, "ACCEPTED")])
def test_average_price_older_than_its_minutes_is_none_any_more(late_ms: int, outcome: str) -> None:
    """An average price older than its minutes is replaced by the mid."""
    desk = executor()
    desk.instrument(bid_percent_up="1.1", bid_percent_down="0.9", percent_minutes=5)
    desk.put("market_ticks", AveragePrice(SYMBOL, "80", 5, desk.ts))
    desk.tick(after_ms=300_000 + late_ms)

    assert results(limit(desk, "BUY", "99"))[0][0] == outcome


# --- fees -------------------------------------------------------------------------------------


@pytest.mark.row("N-55")
def test_fees_of_zero_and_ten_bps_give_fills_that_differ_in_the_fee_alone() -> None:
    """Fees of zero and ten bps differ in the fee alone; ten bps of 200.02 are 0.20002."""
    answers = []
    for bps in ("0", "10"):
        desk = executor(execution__taker_fee_bps=bps)
        desk.intent("BUY", "2")
        answers.append([event.payload.to_json() for event in desk.tick()])

    free, paid = answers
    assert free[0].pop("fee") == "0.00000000"
    assert paid[0].pop("fee") == "0.20002000"
    assert free == paid


def test_money_is_rounded_against_the_bot_and_not_at_all_where_it_is_exact() -> None:
    """Money is rounded against the bot by less than a hundred-millionth, or exact."""
    from minibot.events.money import cost_up, notional_paid_by, proceeds_down, qty_for

    assert (cost_up(3, 50_000_000), proceeds_down(3, 50_000_000)) == (2, 1)
    assert cost_up(2, 50_000_000) == proceeds_down(2, 50_000_000) == 1
    # 100 units pay for 90 and a fee of 9 at 10 %, as 91 would need 91 and 10.
    assert notional_paid_by(100, 10**7) == 90
    assert notional_paid_by(-5, 10**7) == 0
    assert qty_for(100, 30_000_000) == 333


def test_fee_is_rounded_up_against_the_bot() -> None:
    """A fee is rounded up to a hundred-millionth."""
    from minibot.events.money import fee_up, parse_amount, parse_rate

    assert fee_up(parse_amount("0.00001"), parse_rate("10")) == 1
    assert fee_up(parse_amount("0.00001001"), parse_rate("10")) == 2
    assert fee_up(parse_amount("0.00001"), parse_rate("0")) == 0
    assert fee_up(parse_amount("1000"), parse_rate("7.5")) == parse_amount("0.75")


# --- the end ----------------------------------------------------------------------------------


@pytest.mark.row("U-23")
def test_run_ending_refuses_entries_lets_exits_through_and_expires_the_rest() -> None:
    """While a run ends, entries are refused and exits trade, until a beat at `until_ts`."""
    desk = executor()
    until = desk.ts + 3000
    ending(desk, until)

    assert results(desk.intent("BUY", "1")) == [("REJECTED", "run_ending")]
    assert results(desk.intent("SELL", "1")) == [("ACCEPTED", "accepted")]
    assert results(desk.tick(bid_qty="0.4")) == [("PARTIALLY_FILLED", "partial")]
    assert desk.beat(after_ms=until - desk.ts - 1) == []
    assert results(desk.beat(after_ms=1)) == [("EXPIRED", "run_ending")]
    desk.restarted()
    assert results(desk.intent("SELL", "1")) == [("EXPIRED", "run_ending")]
    assert desk.execution.facts()["open_orders"] == 0


def test_nothing_is_taken_before_run_opening() -> None:
    """Inputs before `run_opening` raise, because there is no portfolio."""
    core = core_from_config(config())

    with pytest.raises(InvariantError):
        _ = core.portfolio


def test_intent_before_run_opening_stops_the_run_and_becomes_no_order() -> None:
    """Rules and a touch are no portfolio: nothing may be bought with cash that nobody told."""
    desk = Desk(with_risk=False)
    desk.execution = core_from_config(desk.profile)
    desk.ready()

    with pytest.raises(InvariantError, match="no run_opening"):
        desk.intent("BUY", "1")

    assert desk.execution.orders == []


def test_executor_before_run_opening_has_no_money_to_show_and_keeps_its_state() -> None:
    """Health shows no cash before it is known; a restart between the two changes no byte."""
    desk = Desk(with_risk=False)
    desk.execution = core_from_config(desk.profile)
    desk.ready()
    before = encode(desk.execution.state())

    desk.execution = core_from_state(desk.profile, desk.execution.state())

    assert desk.execution.facts() == {"open_orders": 0, "open_positions": []}
    assert not desk.execution.is_opened
    assert encode(desk.execution.state()) == before
    desk.put("control", opening())
    assert desk.execution.facts()["cash"] == "10000.00000000"


def test_order_of_a_state_without_a_portfolio_fills_nothing() -> None:
    """A damaged state, with an order and no portfolio, stops the run at the order's first tick."""
    desk = executor()
    desk.intent("BUY", "1")
    desk.execution = core_from_state(desk.profile, desk.execution.state() | {"portfolio": None})

    with pytest.raises(InvariantError, match="no run_opening"):
        desk.tick()


@pytest.mark.row("N-112", "N-57")
def test_execution_role_runs_this_executor_and_no_other() -> None:
    """The execution role loads the file that the specification names."""
    core = core_from_config(config())

    assert type(core) is PaperExecutorNoreV1
    assert type(core).__module__ == "minibot.execution.paper_executor_nore_v1"


def test_instrument_that_changes_its_step_in_the_night_leaves_orders_and_money_exact() -> None:
    """A coarser step during the night leaves open orders in their own steps."""
    desk = executor()
    desk.intent("BUY", "0.123")
    desk.instrument(qty_increment="0.01", price_increment="0.1")

    (fill,) = fills(desk.tick("99.99", "100.01"))

    assert (fill.qty, fill.price) == ("0.123", "100.01000000")
    assert results(desk.intent("BUY", "0.123")) == [("REJECTED", "step_size")]


def test_second_run_opening_stops_the_run_and_brings_no_cash() -> None:
    """An opening is the first event of its run: another one would be money out of nowhere."""
    desk = executor()
    before = encode(desk.execution.state())

    with pytest.raises(InvariantError, match="found two"):
        desk.put("control", opening("1000000"))

    assert encode(desk.execution.state()) == before


# --- late entries, halts and gaps -----------------------------------------------------------------


@pytest.mark.row("C-17")
@pytest.mark.parametrize(("late_by", "first"), [(1, "ACCEPTED"), (0, "REJECTED"), (-1, "REJECTED")])
def test_intent_too_late_for_its_signal_is_rejected(late_by: int, first: str) -> None:
    """It is taken a millisecond before it is late, and rejected from then on."""
    desk = executor()

    events = desk.intent("BUY", "1", late_ts=desk.ts + late_by)

    assert results(events) == [(first, "accepted" if first == "ACCEPTED" else "late_fill")]


@pytest.mark.row("C-17")
@pytest.mark.parametrize(("late_ms", "reason"), [(999, "late_fill"), (1_000, "expired")])
def test_open_entry_ends_when_it_is_late_or_expired_whichever_is_first(
    late_ms: int, reason: str
) -> None:
    """A limit that waits ends at the earlier of the two times, and says which it was."""
    desk = executor()
    order = {"order_type": "LIMIT", "limit_price": "99"}
    desk.intent("BUY", "1", late_ts=desk.ts + late_ms, expires_ts=desk.ts + 1_000, **order)  # type: ignore[arg-type]

    assert results(desk.tick(after_ms=late_ms - 1)) == []
    desk.restarted()
    assert results(desk.tick(after_ms=1)) == [("EXPIRED", reason)]


def test_orders_of_a_symbol_that_left_trading_are_cancelled_and_no_others() -> None:
    """The profile says so; a status that changes to TRADING cancels nothing."""
    desk = executor(execution__left_trading="cancel", execution__order_ttl_market_ms=600_000)
    desk.instrument(OTHER)
    desk.tick(symbol=OTHER)
    desk.tick()
    for symbol in (OTHER, SYMBOL, OTHER, SYMBOL):
        desk.intent("BUY", "1", symbol=symbol, order_type="LIMIT", limit_price="99")
    kept = results(desk.instrument())

    events = desk.instrument(status="BREAK")

    assert kept == []
    assert results(events) == [("CANCELLED", "left_trading")] * 2
    assert [order.symbol for order in desk.execution.orders] == [OTHER, OTHER]
    assert desk.execution.facts()["reason"] == "left_trading"


def test_gap_of_a_symbol_without_a_touch_changes_nothing() -> None:
    """A symbol that nobody has seen has nothing that is out of date."""
    desk = executor()
    before = encode(desk.execution.state())

    desk.put("market_ticks", Gap(OTHER, "trade", desk.ts, desk.ts, "reconnect"))

    assert encode(desk.execution.state()) == before


# --- fields and cash at their bounds --------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({}, None),
        ({"qty": "0"}, "qty_invalid"),
        ({"qty": "0.00000001"}, None),
        ({"stop_price": "0"}, "price_invalid"),
        ({"stop_price": "0.00000001"}, None),
        ({"order_type": "TAKE_PROFIT", "stop_price": None, "target_price": "0"}, "price_invalid"),
        ({"order_type": "TAKE_PROFIT", "stop_price": None, "target_price": "0.00000001"}, None),
        ({"order_type": "OCO", "target_price": "98.99999999"}, "price_invalid"),
        ({"order_type": "OCO", "target_price": "99"}, "price_invalid"),
        ({"order_type": "OCO", "target_price": "99.00000001"}, None),
        ({"order_type": "STOP_LOSS_LIMIT", "limit_price": "99.00000001"}, "price_invalid"),
        ({"order_type": "STOP_LOSS_LIMIT", "limit_price": "99"}, None),
        ({"order_type": "STOP_LOSS_LIMIT", "limit_price": "0"}, "price_invalid"),
        ({"order_type": "STOP_LOSS_LIMIT", "limit_price": "0.00000001"}, None),
        ({"side": "BUY"}, "order_type_unsupported"),
        ({"trailing_delta": 1}, None),
    ],
)
def test_fields_of_a_resting_order_are_judged_at_their_bounds(
    changes: dict[str, Any], refusal: str | None
) -> None:
    """Field by field, before the venue's filters are asked."""
    values: dict[str, Any] = {"side": "SELL", "qty": "1", "order_type": "STOP_LOSS"}
    values |= {"stop_price": "99", "client_order_id": "c", "purpose": "EXIT"} | changes
    intent = OrderIntent(symbol=SYMBOL, **values)

    assert field_refusal(IntentMessage.of(intent, Event(0, "", "", "", "", intent))) == refusal


@pytest.mark.parametrize(
    ("asset", "cash", "filled"),
    [
        ("base", "100", ["1.000"]),
        ("base", "99.99999999", ["0.999"]),
        ("quote", "100.075", ["1.000"]),
        ("quote", "100.07499999", ["0.999"]),
    ],
)
def test_purchase_is_filled_whole_by_cash_that_just_pays_it(
    asset: str, cash: str, filled: list[str]
) -> None:
    """A coin at 100 takes 100, and 7.5 cents where the fee is paid in quote; less buys less."""
    changes = {"execution__fee_asset": asset, "execution__taker_fee_bps": "7.5"}
    desk = executor(cash=cash, lots=(), **changes)
    desk.tick("89.99", "90")
    desk.intent("BUY", "1")

    events = desk.tick("99.99", "100")

    assert [fill.qty for fill in fills(events)] == filled
    assert results(events)[-1] == (
        ("FILLED", "filled") if filled == ["1.000"] else ("EXPIRED", "insufficient_cash")
    )


def test_end_of_an_order_is_as_late_as_its_cause_and_never_before_its_intent() -> None:
    """A beat ends it at the beat's time; one older than the intent ends it at the intent's."""
    desk = executor(execution__order_ttl_market_ms=1_000)
    desk.intent("BUY", "1", order_type="LIMIT", limit_price="99")
    (late,) = [event for event in desk.beat(after_ms=1_500) if event.type == "order_result"]
    desk.tick()
    desk.intent("BUY", "1", order_type="LIMIT", limit_price="99")
    sent = desk.ts
    desk.ts, desk.lag_ms = sent - 10, 1_010
    (early,) = [event for event in desk.beat(after_ms=0) if event.type == "order_result"]

    assert (late.payload.result, late.ts) == ("EXPIRED", sent - 100)  # type: ignore[attr-defined]
    assert (early.payload.result, early.ts) == ("EXPIRED", sent)  # type: ignore[attr-defined]


def test_positions_are_listed_each_with_its_own_resting_order() -> None:
    """A stop at 99 rests for the one and a stop at 90 for the other; a limit is no such order."""
    lots = [{"symbol": each, "qty": "5", "price": "100", "ts": 1} for each in (OTHER, SYMBOL)]
    desk = Desk(
        config(execution__order_ttl_market_ms=600_000),
        first=opening("10000", lots),
        with_risk=False,
    )
    for symbol, stop in ((OTHER, "90"), (SYMBOL, "99")):
        desk.instrument(symbol)
        desk.tick(symbol=symbol)
        desk.intent("SELL", "2", symbol=symbol, order_type="STOP_LOSS", stop_price=stop)
    desk.intent("SELL", "1", order_type="LIMIT", limit_price="150", time_in_force="GTC")

    listed = {each["symbol"]: each for each in desk.execution.open_positions()}

    assert {name: each["resting_stop"] for name, each in listed.items()} == {
        OTHER: "90.00000000",
        SYMBOL: "99.00000000",
    }
    assert {each["resting_qty"] for each in listed.values()} == {"2.00000000"}
