"""Quotes: entries that rest at the best bid, from the first quote to their end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from minibot.cores.messages import Message, SignalMessage, stop_in
from minibot.events.ids import position_id
from minibot.events.model import (
    Event,
    ExitPosition,
    Fill,
    Halt,
    LockSymbol,
    OrderCancel,
    OrderIntent,
    OrderResult,
    Payload,
    Resume,
    RiskAction,
    RunEnding,
    Universe,
)
from minibot.events.money import UNIT
from tests.risk.desk import (
    OTHER,
    RUN_ID,
    SYMBOL,
    Desk,
    actions,
    check_of,
    check_text,
    config,
    fills,
    instrument,
    intents,
    of,
    opening,
    results,
)
from tests.risk.test_campaign import CAMPAIGN

QUOTED: dict[str, Any] = {
    "risk__entry": "maker",
    "risk__maker_patience_market_ms": 1_000,
    "risk__maker_requotes": 2,
    "risk__maker_end": "give_up",
}
LIFE_MS = 3_000


def desk(lots: tuple[Any, ...] = (), cash: str = "10000", **changes: Any) -> Desk:
    """Return a desk whose entries are quoted, at a touch of 99.99 to 100.01."""
    return Desk(config(**(QUOTED | changes)), first=opening(cash, lots)).ready()


def quoted(**changes: Any) -> Desk:
    """Return a desk with a quote of 9.999 coins at 99.99, which has met its market."""
    one = desk(**changes)
    one.signal("BUY")
    assert one.tick() == []
    return one


def moved(one: Desk, bid: str = "100.09", after_ms: int = 1_000) -> list[Event]:
    """Let the touch rise to a bid, and an ask two cents above it."""
    return one.tick(bid, f"{float(bid) + 0.02:.2f}", after_ms=after_ms)


def asked(one: Desk) -> list[OrderIntent]:
    """Return every purchase that risk sent."""
    return [intent for intent in of((e for _, e in one.log), OrderIntent) if intent.side == "BUY"]


# --- one quote ------------------------------------------------------------------------------------


def test_entry_rests_at_the_best_bid_and_is_filled_there_as_a_maker() -> None:
    """An entry is a LIMIT_MAKER at the bid; the ask that comes down to it fills it at its price."""
    one = desk()

    events = one.signal("BUY")

    (intent,) = intents(events)
    assert actions(events) == [("ALLOW", "allowed")]
    assert (intent.order_type, intent.limit_price, intent.qty) == ("LIMIT_MAKER", "99.99", "9.999")
    assert intent.expires_ts == one.ts + LIFE_MS
    assert one.tick() == []
    met = one.tick("99.97", "99.99")
    (fill,) = fills(met)
    assert (fill.price, fill.liquidity, fill.qty) == ("99.99", "MAKER", "9.999")
    assert actions(met) == []  # Nothing is left to quote, nor to refuse.
    assert one.risk.facts()["open_orders"] == 0
    assert actions(one.tick(after_ms=60_000)) == []


def test_entry_of_which_no_size_is_left_has_no_quote_to_judge() -> None:
    """Nine USDT of ten buy nothing; the refusal names no notional of a quote."""
    (refusal,) = desk(risk__order_notional="9").signal("BUY")

    checks = refusal.to_json()["payload"]["checks"]
    assert actions([refusal]) == [("BLOCK", "min_notional")]
    assert [check["name"] for check in checks if not check["passed"]] == ["order_notional"]
    assert not [check for check in checks if check["name"] == "quote_notional"]


@pytest.mark.parametrize(
    ("bid", "ask", "increment", "limit"),
    [
        ("100.00", "100.00", "0.01", "99.99"),
        ("100.00", "100.01", "0.01", "100.00"),
        ("99.99", "100.01", "0.5", "99.5"),
        ("100.00", "100.00", "0.5", "99.5"),
    ],
)
def test_quote_stands_a_step_below_the_ask_at_most(
    bid: str, ask: str, increment: str, limit: str
) -> None:
    """A quote stands at the bid, on a price step, and never at the ask."""
    one = desk()
    one.put("market_ticks", instrument(price_increment=increment))
    one.tick(bid, ask)

    (intent,) = intents(one.signal("BUY"))

    assert intent.limit_price is not None
    assert float(intent.limit_price) == float(limit)


def test_quote_too_small_at_its_price_is_refused_by_value_and_limit() -> None:
    """Worth enough at the ask and too little at the bid: no quote, with both figures."""
    one = desk(risk__order_notional="1000.2")
    one.put("market_ticks", instrument(notional_min="1000.1", qty_min="0.001"))

    (refusal,) = one.signal("BUY")

    assert actions([refusal]) == [("BLOCK", "min_notional")]
    assert check_of(refusal, "quote_notional") == {
        "name": "quote_notional",
        "value": "999.90000000",
        "threshold": "1000.10000000",
        "passed": False,
    }


def test_quote_can_still_be_sold_at_its_stop() -> None:
    """A bid of 104 for 12 to spend at an ask of 120 buys 10.30: too little to sell at its stop."""
    one = quoted(risk__order_notional="12", risk__stop_bps="1000")

    withdrawn, refused = one.tick("104", "120", after_ms=1_000)[::3]

    assert actions([withdrawn, refused]) == [("WITHDRAW", "quote_moved"), ("BLOCK", "min_notional")]
    assert check_text(refused, "order_notional") == "11.88000000 / 10.00000000"
    assert check_text(refused, "quote_notional") == "10.29600000 / 11.69590644"
    assert not one.execution.orders


def test_quote_keeps_its_cash_with_fee_and_bars_another_entry_in_its_symbol() -> None:
    """While a quote rests its cash with fee is reserved, and the symbol is pending."""
    one = quoted(execution__taker_fee_bps="10", risk__order_notional="6000", cash="10000")
    one.instrument(OTHER)
    one.tick(symbol=OTHER)

    (same,) = one.signal("BUY")
    one.tick(symbol=OTHER)
    other = one.signal("BUY", symbol=OTHER)

    assert actions([same]) == [("BLOCK", "pending_order")]
    (cut,) = [event for event in other if isinstance(event.payload, RiskAction)]
    reserved = float(asked(one)[0].qty) * 99.99 * 1.001
    assert actions([cut]) == [("REDUCE", "reduced")]
    left = float(check_of(cut, "cash_with_fee")["threshold"])
    assert left == pytest.approx((10_000 - reserved) / 1.001, abs=0.001)


def test_quote_and_protection_beyond_the_venues_count_are_refused_by_risk() -> None:
    """An order more than may rest is refused with count and bound; the bid is watched instead."""
    one = quoted(risk__exits_at="venue", risk__stop_bps="100", risk__take_profit_bps="200")
    one.put("market_ticks", instrument(orders_max=2))
    events = one.tick("99.97", "99.99", ask_qty="4", trade="99.98")
    (refusal,) = [e for e in events if isinstance(e.payload, RiskAction)]

    left = one.tick("98.5", "100.5", trade="98.5")

    assert actions([refusal]) == [("BLOCK", "orders_max")]
    assert check_of(refusal, "open_orders")["value"] == "3"
    assert check_of(refusal, "open_orders")["threshold"] == "2"
    assert ("EXIT", "stop_loss") in actions(left)
    assert "REJECTED" not in [result for result, _ in results(e for _, e in one.log)]


def test_profile_without_the_key_buys_at_the_market() -> None:
    """Without `risk.entry`, and with `market`, an entry is an order at the market."""
    for key in (None, "market"):
        keys = {} if key is None else {"risk__entry": key}
        (intent,) = intents(Desk(config(**keys)).ready().signal("BUY"))
        assert (intent.order_type, intent.limit_price) == ("MARKET", None)


# --- quoted anew ----------------------------------------------------------------------------------


def test_quote_follows_a_bid_that_moved_away_once_its_patience_is_over() -> None:
    """Before its patience is over a quote stays; then it is cancelled, and quoted at the bid."""
    one = quoted()

    early = moved(one, after_ms=800)
    events = moved(one, after_ms=200)

    assert early == []
    assert actions(events) == [("WITHDRAW", "quote_moved"), ("REDUCE", "requoted")]
    assert results(events) == [("CANCELLED", "withdrawn"), ("ACCEPTED", "accepted")]
    (cancel,), (intent,) = of(events, OrderCancel), intents(events)
    assert cancel.client_order_id == asked(one)[0].client_order_id
    assert (intent.order_type, intent.limit_price) == ("LIMIT_MAKER", "100.09")
    left, again = [event for event in events if isinstance(event.payload, RiskAction)]
    assert check_of(left, "best_bid")["value"] == "100.09000000"
    assert check_of(left, "best_bid")["threshold"] == "99.99000000"
    assert check_of(again, "requotes")["value"] == "1"
    assert check_of(again, "requotes")["threshold"] == "2"
    assert check_of(again, "entry_age_ms")["threshold"] == str(LIFE_MS)


def test_quote_waits_its_patience_also_where_the_first_bid_that_it_meets_has_moved() -> None:
    """The patience counts from the order, not from the first tick after it."""
    one = desk()
    one.signal("BUY")

    early = [*moved(one, after_ms=100), *moved(one, after_ms=800)]
    events = moved(one, after_ms=200)

    assert actions(early) == []
    assert actions(events)[0] == ("WITHDRAW", "quote_moved")


@pytest.mark.parametrize("bid", ["99.99", "99.95"])
def test_quote_stays_where_no_bid_stands_above_it(bid: str) -> None:
    """A quote at or above the best bid keeps its place, patience after patience."""
    one = quoted()

    assert one.tick(bid, "100.05", after_ms=1_000) == []
    assert one.tick(after_ms=900) == []
    assert len(asked(one)) == 1


def test_quote_that_would_take_is_quoted_anew_and_counted() -> None:
    """An ask at the quote when it arrives ends it, and the next one stands below that ask."""
    one = desk()
    one.signal("BUY")

    events = one.tick("99.97", "99.99")

    assert results(events) == [("EXPIRED", "would_take"), ("ACCEPTED", "accepted")]
    (intent,) = intents(events)
    assert intent.limit_price == "99.97"
    (again,) = [event for event in events if isinstance(event.payload, RiskAction)]
    assert check_of(again, "requotes")["value"] == "1"


def test_rejected_quote_waits_its_patience_and_is_counted() -> None:
    """A quote that the venue's band refuses is sent again later; no entry comes between."""
    one = desk()
    one.put("market_ticks", instrument(bid_percent_up="0.5", bid_percent_down="0.1"))
    refused = one.signal("BUY")
    barred = one.signal("BUY")
    early = one.tick(after_ms=900)
    one.restarted()
    one.put("market_ticks", instrument())

    events = one.tick(after_ms=100)

    assert results(refused) == [("REJECTED", "price_band")]
    assert actions(barred) == [("BLOCK", "pending_order")]
    assert early == []
    assert actions(events) == [("ALLOW", "requoted")]
    assert results(events) == [("ACCEPTED", "accepted")]


def test_refused_quote_waits_no_longer_than_its_entry_lasts() -> None:
    """A last quote refused late is bought at the market when time is up, not a patience later."""
    one = quoted(risk__maker_requotes=1, risk__maker_end="take")
    one.put("market_ticks", instrument(bid_percent_up="0.5", bid_percent_down="0.1"))
    refused = moved(one, after_ms=1_850)
    one.put("market_ticks", instrument())

    early = one.tick(after_ms=49)
    events = one.tick(after_ms=1)

    assert results(refused) == [("CANCELLED", "withdrawn"), ("REJECTED", "price_band")]
    assert early == []
    assert actions(events) == [("REDUCE", "quote_taken")]
    assert [intent.order_type for intent in intents(events)] == ["MARKET"]


def test_spent_order_rate_leaves_the_quote_where_it_is() -> None:
    """A quote that may not be sent anew for the rate of orders is not withdrawn."""
    one = quoted(risk__orders_per_minute_soft=1)

    assert moved(one) == []
    assert len(one.execution.orders) == 1


def test_entry_costs_no_more_than_it_was_allowed_however_often_it_is_quoted() -> None:
    """Partly filled and quoted higher, an entry buys less, and never for more than at first."""
    one = quoted()
    one.tick("99.97", "99.99", ask_qty="4")

    events = moved(one, "104.99")
    moved(one, "104.99", after_ms=100)
    filled = one.tick("104.97", "104.99")

    assert ("REDUCE", "requoted") in actions(events)
    bought = [fill for _, event in one.log for fill in fills([event])]
    assert [fill.price for fill in bought] == ["99.99", "104.99"]
    assert fills(filled)
    spent = sum(float(fill.qty) * float(fill.price) for fill in bought)
    assert spent <= 9.999 * 100.01
    assert float(bought[0].qty) + float(bought[1].qty) < 9.999


def test_entry_that_reducing_cut_is_not_cut_again_with_each_quote() -> None:
    """Half of the four coins that the limit allows is quoted, and quoted anew for the same cost."""
    tier = {"state": "REDUCING", "drawdown_bps": 1000, "back_bps": 800, "entry_percent": 50}
    limits: dict[str, Any] = {
        "risk__position_notional_max": "400",
        "risk__account_drawdown_bps_hard": 2500,
    }
    one = desk(**limits, risk__drawdown_tiers=[tier])
    one.risk._state.budgets.account.open(11_200 * UNIT, 1)
    one.signal("BUY")
    one.tick()

    moved(one)

    assert [quote.qty for quote in asked(one)] == ["1.999", "1.997"]


def test_fill_that_comes_before_its_cancel_is_kept_and_not_bought_again() -> None:
    """A part that was filled before the cancel is not part of the next quote."""
    one = quoted()
    one.tick("99.97", "99.99", ask_qty="4")
    events = moved(one)

    (intent,) = intents(events)
    assert float(intent.qty) <= 5.999
    (again,) = [each for each in events if actions([each]) == [("REDUCE", "requoted")]]
    # 9.999 coins at an ask of 100.01, less four bought at 99.99.
    assert check_text(again, "entry_rest_cost") == "600.55989000 / 600.03999000"
    assert [p["qty"] for p in one.risk.facts()["open_positions"]] == ["4.00000000"]


# --- the end --------------------------------------------------------------------------------------


def test_given_up_entry_keeps_what_was_bought_with_its_protection() -> None:
    """At its end the rest is not bought; the position keeps stop and target at the executor."""
    one = quoted(risk__exits_at="venue", risk__stop_bps="500")
    one.tick("99.97", "99.99", ask_qty="4", trade="99.99")

    events = moved(one, "99.99", after_ms=LIFE_MS)

    assert ("EXPIRED", "expired") in results(events)
    (end,) = [e for e in events if isinstance(e.payload, RiskAction)]
    assert actions([end]) == [("BLOCK", "quote_unfilled")]
    assert check_of(end, "entry_age_ms")["passed"] is False
    (position,) = one.risk.facts()["open_positions"]
    assert (position["qty"], position["resting_qty"]) == ("4.00000000", "4.00000000")
    assert actions(one.tick(after_ms=60_000)) == []
    assert actions(one.signal("BUY")) == [("ALLOW", "allowed")]


def test_taken_entry_buys_its_rest_at_the_market() -> None:
    """With `take` the rest is bought at the touch once time is up."""
    one = quoted(risk__maker_end="take")
    one.tick("99.97", "99.99", ask_qty="4")

    events = one.tick("99.98", "100.00", after_ms=LIFE_MS)

    (intent,) = intents(events)
    assert actions(events) == [("ALLOW", "quote_taken")]
    assert (intent.order_type, intent.qty) == ("MARKET", "5.999")
    assert [(fill.qty, fill.price) for fill in fills(one.tick())] == [("5.999", "100.00")]
    assert one.risk.facts()["open_orders"] == 0


def test_taken_entry_is_not_judged_as_a_quote() -> None:
    """The bounds of a quote's price are none of an order at the market."""
    one = quoted(risk__maker_end="take")
    one.put("market_ticks", instrument(price_max="100"))

    events = moved(one, after_ms=LIFE_MS)

    assert actions(events) == [("REDUCE", "quote_taken")]
    assert [intent.order_type for intent in intents(events)] == ["MARKET"]


def test_entry_is_not_taken_where_the_bid_has_reached_its_stop() -> None:
    """Bought at the ask it would be sold with the next tick; a cent higher it is bought."""
    stop = {"risk__stop_bps": "100"}

    events = quoted(risk__maker_end="take", **stop).tick("99.00", "100.01", after_ms=LIFE_MS)
    above = quoted(risk__maker_end="take", **stop).tick("99.01", "100.01", after_ms=LIFE_MS)

    assert actions(events) == [("BLOCK", "spread_limit")]
    (end,) = [event for event in events if isinstance(event.payload, RiskAction)]
    assert check_text(end, "stop_at_ask") == "99.00000000 / 99.00000000"
    assert intents(events) == []
    assert actions(above) == [("ALLOW", "quote_taken")]


def test_last_quote_stays_until_its_time_is_up() -> None:
    """After the last re-quote a bid that moves away moves nothing; the end comes with the time."""
    one = quoted(risk__maker_requotes=1)
    moved(one, "100.09")

    assert moved(one, "100.19", after_ms=500) == []
    events = moved(one, "100.29", after_ms=500)

    assert actions(events) == [("BLOCK", "quote_unfilled")]
    assert len(asked(one)) == 2


def test_rest_too_small_to_order_ends_the_entry() -> None:
    """A rest below the venue's least order is given up, whatever `maker_end` says."""
    one = quoted(risk__maker_end="take")
    one.tick("99.97", "99.99", ask_qty="9.95")

    events = moved(one, "99.99", after_ms=LIFE_MS)

    assert actions(events) == [("BLOCK", "min_notional")]
    assert one.risk.facts()["open_orders"] == 0


# --- what withdraws it ----------------------------------------------------------------------------


def halt(one: Desk) -> list[Event]:
    """Halt entries."""
    return one.put("control", Halt(who="operator", why="test"))


def lock(one: Desk) -> list[Event]:
    """Lock the symbol."""
    return one.put("control", LockSymbol(who="operator", why="test", symbol=SYMBOL))


def end(one: Desk) -> list[Event]:
    """Announce the end of the run."""
    ending = RunEnding(who="operator", why="test", until_ts=one.ts + 20_000)
    return one.put("control", ending)


def leave(one: Desk) -> list[Event]:
    """Ask to leave the symbol."""
    return one.put("control", ExitPosition(who="operator", why="test", symbol=SYMBOL))


def drop(one: Desk) -> list[Event]:
    """Take the symbol out of the universe."""
    return one.put("market_ticks", universe(OTHER))


def stop_trading(one: Desk) -> list[Event]:
    """Let the venue halt the symbol."""
    return one.put("market_ticks", instrument(status="BREAK"))


def sell(one: Desk) -> list[Event]:
    """Let the strategy say SELL."""
    return one.signal("SELL")


def universe(*symbols: str) -> Universe:
    """Return a universe of these symbols."""
    return Universe(
        mode="static",
        quote_asset="USDT",
        traded=symbols,
        watched=(),
        kept=(),
        missing_bases=(),
        excluded={},
        quote_volumes={},
        generation=1,
    )


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (halt, "halted"),
        (lock, "symbol_locked"),
        (end, "run_ending"),
        (leave, "operator_exit"),
        (drop, "not_in_universe"),
        (stop_trading, "not_trading"),
        (sell, "signal_exit"),
    ],
)
@pytest.mark.parametrize("end_key", ["give_up", "take"])
def test_quote_is_withdrawn_in_the_step_and_nothing_is_bought_after_it(
    happens: Any, reason: str, end_key: str
) -> None:
    """Whatever refuses an entry for longer cancels its quote at once, for good.

    What the market says goes back to its own line, what others say to the line of the touch.
    """
    one = quoted(risk__maker_end=end_key, execution__left_trading="hold")
    before = [queue for queue, _ in one.log].count("market_ticks")

    answer = happens(one)

    (withdrawn,) = [event for event in answer if actions([event]) == [("WITHDRAW", reason)]]
    assert withdrawn.tick_seq == before + (happens in (drop, stop_trading))
    assert ("CANCELLED", "withdrawn") in results(answer)
    one.put("control", Resume(who="operator", why="test"))
    after = [*moved(one), *one.tick("99.00", "99.02", after_ms=LIFE_MS), *one.beat()]
    assert intents(after) == []
    assert one.execution.orders == []
    assert one.risk.facts()["open_orders"] == 0


def waiting(**changes: Any) -> Desk:
    """Return a desk whose quote was rejected, and is to be sent again."""
    one = desk(**changes)
    one.put("market_ticks", instrument(bid_percent_up="0.5", bid_percent_down="0.1"))
    assert ("REJECTED", "price_band") in results(one.signal("BUY"))
    one.put("market_ticks", instrument())
    return one


def test_halt_ends_an_entry_whose_quote_is_to_be_sent_again() -> None:
    """Between two quotes there is no order to cancel; the entry is over all the same."""
    one = waiting()

    events = halt(one)

    assert actions(events) == [("WITHDRAW", "halted")]
    assert of(events, OrderCancel) == []
    one.put("control", Resume(who="operator", why="test"))
    assert intents(one.tick(after_ms=1_000)) == []
    assert actions(one.signal("BUY")) == [("ALLOW", "allowed")]


def test_sale_ends_an_entry_whose_quote_is_to_be_sent_again() -> None:
    """A sale of what was held before leaves nothing to be bought after it."""
    lot = {"symbol": SYMBOL, "qty": "1", "price": "100", "ts": 1}
    one = desk((lot,))
    one.put("market_ticks", instrument(bid_percent_up="0.5", bid_percent_down="0.1"))
    one.signal("BUY")
    one.put("market_ticks", instrument())

    events = sell(one)
    after = [*one.tick(), *one.tick(after_ms=1_000), *one.tick(after_ms=LIFE_MS)]

    assert actions(events) == [("EXIT", "signal_exit")]
    assert of(events, OrderCancel) == []
    assert intents(after) == []
    assert one.risk.facts()["open_positions"] == []


def test_hard_limit_passed_by_a_quote_that_is_sent_again_stops_the_run() -> None:
    """A purchase in another symbol meanwhile leaves no room for the rest: STOP, and no order."""
    limits = {f"risk__night_notional_{kind}": "1500" for kind in ("soft", "hard")}
    one = waiting(**limits)
    one.instrument(OTHER)
    one.tick(symbol=OTHER)
    one.signal("BUY", symbol=OTHER)
    one.tick("99.97", "99.99", symbol=OTHER)

    events = one.beat(after_ms=1_000)
    events += one.tick(after_ms=100) if not events else []

    assert actions(events) == [("STOP", "RISK_LIMIT")]
    assert intents(events) == []


@pytest.mark.parametrize(("changes", "age_ms"), [({"risk__signal_exit": False}, 0), ({}, 3_001)])
def test_sell_signal_that_is_off_or_stale_withdraws_nothing(
    changes: dict[str, Any], age_ms: int
) -> None:
    """Only a fresh SELL, where SELL closes, takes an entry back."""
    one = quoted(risk__maker_requotes=20, **changes)
    one.tick(after_ms=4_000)
    one.tick()

    events = one.signal("SELL", age_ms=age_ms)

    assert {action for action, _ in actions(events)} == {"BLOCK"}
    assert len(one.execution.orders) == 1


def test_sell_signal_at_its_largest_age_withdraws_the_entry() -> None:
    """A signal of three seconds is fresh yet."""
    one = quoted(risk__maker_requotes=20)
    one.tick(after_ms=4_000)
    one.tick()

    events = one.signal("SELL", age_ms=3_000)

    assert [result for result, _ in results(events)] == ["CANCELLED"]
    assert one.execution.orders == []


def test_quote_whose_cancel_is_on_its_way_is_not_withdrawn_again() -> None:
    """The bid rises further before the executor has answered: one order_cancel is enough."""
    one = quoted()
    one.with_risk = False
    told = []
    for number, bid in enumerate(("100.09", "100.19")):
        moved(one, bid)
        ((_, tick),) = [item for item in one.log if item[1].ts == one.ts]
        messages = one.risk.process(tick, 9 + number, one.ts) or []
        told.append([message.action for message in messages if hasattr(message, "action")])

    assert told == [["WITHDRAW"], []]


def test_sell_signal_while_a_cancel_is_on_its_way_ends_the_entry() -> None:
    """A quote that was cancelled to follow the bid is not sent again after a SELL."""
    one = quoted(risk__maker_end="take")
    risk = one.risk
    one.with_risk = False
    moved(one)
    ((_, tick),) = [item for item in one.log if item[1].ts == one.ts]
    assert [m.action for m in risk.process(tick, 9, one.ts) or [] if hasattr(m, "action")]
    one.with_risk = True

    sell(one)
    (order,) = one.execution.orders
    causes = (position_id(RUN_ID, "risk_role", "risk_actions", 9), tick.id)
    withdrawn = OrderCancel(SYMBOL, order.client.text)
    events = one.put("order_intents", withdrawn, cause_ids=causes, tick_seq=9)

    assert results(events) == [("CANCELLED", "withdrawn")]
    assert intents(events) == []
    assert one.risk.facts()["open_orders"] == 0


def test_halt_between_an_end_and_its_last_fill_ends_the_entry() -> None:
    """Risk knows the end of a quote, not yet its fill, when the halt comes: nothing follows."""
    one = quoted(risk__maker_end="take")
    one.with_risk = False
    partly = one.tick("99.97", "99.99", ask_qty="4")
    ended = one.tick("99.99", "100.01", after_ms=LIFE_MS)
    one.with_risk = True
    fill, result = partly
    for event in (result, *ended):
        assert not one.risk.process(event, 1, one.ts)

    events = halt(one)
    after = one.risk.process(fill, 2, one.ts)

    assert actions(events) == []
    assert not after
    assert one.risk.facts()["open_orders"] == 0
    assert [p["qty"] for p in one.risk.facts()["open_positions"]] == ["4.00000000"]


def test_beat_moves_a_quote_whose_patience_ends_without_a_tick() -> None:
    """The bid rose while the quote still waited; nothing traded since."""
    one = quoted()
    waiting = moved(one, "100.09", after_ms=100)

    events = one.beat(after_ms=1_000)

    assert actions(waiting) == []
    assert actions(events) == [("WITHDRAW", "quote_moved"), ("REDUCE", "requoted")]


def test_halt_withdraws_the_quotes_of_all_symbols_each_by_its_own_message() -> None:
    """Two actions and two cancels have four ids."""
    one = desk()
    one.instrument(OTHER)
    for symbol in (OTHER, SYMBOL):
        one.tick(symbol=symbol)
        one.signal("BUY", symbol=symbol)
        one.tick(symbol=symbol)

    events = halt(one)

    said = [event for event in events if event.source == "risk_role"]
    assert actions(events) == [("WITHDRAW", "halted")] * 2
    assert len(of(said, OrderCancel)) == 2
    assert len({event.id for event in said}) == len(said)


def test_quote_does_not_move_with_the_last_order_of_the_hard_rate() -> None:
    """The third of three orders a minute, soft and hard alike, is kept for a sale."""
    rate = {"risk__orders_per_minute_soft": 3, "risk__orders_per_minute_hard": 3}
    one = quoted(risk__maker_requotes=5, **rate)

    first, second = moved(one, "100.09"), moved(one, "100.19")

    assert actions(first) == [("WITHDRAW", "quote_moved"), ("REDUCE", "requoted")]
    assert actions(second) == []


def test_loss_beyond_its_soft_limit_withdraws_the_quote() -> None:
    """A loss that refuses entries leaves no quote standing, in any symbol."""
    lot = {"symbol": OTHER, "qty": "10", "price": "100", "ts": 1}
    one = desk((lot,), risk__night_loss_soft="50")
    one.instrument(OTHER)
    one.tick(symbol=OTHER)
    one.tick()
    one.signal("BUY")
    one.tick("90", "90.02", symbol=OTHER)

    events = one.tick("99.99", "100.01")

    assert actions(events) == [("WITHDRAW", "night_loss")]
    assert one.execution.orders == []


@pytest.mark.parametrize("exits_at", ["role", "venue"])
def test_stop_that_is_reached_sells_and_withdraws_the_rest_of_the_entry(exits_at: str) -> None:
    """A stop that is hit while the entry is still quoted sells what is held and buys no more."""
    one = quoted(risk__stop_bps="100", risk__exits_at=exits_at, risk__maker_end="take")
    one.tick("99.97", "99.99", ask_qty="4", trade="99.98")

    events = one.tick("98", "100.00", trade="98")

    assert ("EXIT", "stop_loss") in actions(events)
    assert ("CANCELLED", "withdrawn") in results(events)
    one.tick("98", "98.01", after_ms=LIFE_MS)
    assert one.risk.facts()["open_positions"] == []
    assert [intent.side for intent in intents(e for _, e in one.log)].count("BUY") == 1


def test_operators_exit_sells_what_a_withdrawn_quote_still_bought() -> None:
    """An operator's request meets an entry partly filled: its quote goes, what is held is sold."""
    one = quoted()
    one.tick("99.97", "99.99", ask_qty="4")

    events = leave(one)

    assert ("EXIT", "operator_exit") in actions(events)
    assert ("CANCELLED", "withdrawn") in results(events)
    one.tick()
    assert one.risk.facts()["open_positions"] == []
    assert actions(one.signal("BUY")) == [("ALLOW", "allowed")]


def test_request_to_leave_ends_with_a_quote_that_bought_nothing() -> None:
    """A request to leave an unfilled entry bars no later entry."""
    one = quoted()
    leave(one)

    one.tick()

    assert actions(one.signal("BUY")) == [("ALLOW", "allowed")]


@pytest.mark.parametrize("at_end", ["close", "carry"])
def test_planned_end_leaves_no_quote(at_end: str) -> None:
    """The announced end cancels the quote; under carry its fill stays, and no order does."""
    one = quoted(portfolio__at_end=at_end)
    one.tick("99.97", "99.99", ask_qty="4")

    events = end(one)
    one.tick()
    one.beat(after_ms=30_000)

    assert ("CANCELLED", "withdrawn") in results(events)
    assert one.execution.orders == []
    held = [position["qty"] for position in one.risk.facts()["open_positions"]]
    assert held == ([] if at_end == "close" else ["4.00000000"])


def test_quote_of_a_stopped_run_is_listed_as_it_stands() -> None:
    """A hard limit ends the run: nothing is said of the quote any more, and it stays listed."""
    lot = {"symbol": OTHER, "qty": "50", "price": "100", "ts": 1}
    one = desk((lot,), risk__night_loss_soft="50", risk__night_loss_hard="100")
    one.instrument(OTHER)
    one.tick(symbol=OTHER)
    one.tick()
    one.signal("BUY")

    events = one.tick("90", "90.02", symbol=OTHER)

    assert actions(events) == [("STOP", "RISK_LIMIT")]
    assert of(events, OrderCancel) == []
    listed = one.risk.facts()["quotes"][SYMBOL]
    assert (listed["limit"], listed["filled"]) == ("99.99000000", "0.00000000")


def test_cancel_that_comes_too_late_changes_nothing() -> None:
    """A fill that risk has not read when the halt comes is kept, and nothing more is bought."""
    one = quoted(risk__stop_bps="500", risk__maker_end="take")
    one.with_risk = False
    filled = one.tick("99.97", "99.99")
    one.with_risk = True

    events = halt(one)
    for event in filled:
        assert not one.risk.process(event, 1, one.ts)

    assert ("CANCEL_REJECTED", "order_ended") in results(events)
    assert [fill.qty for fill in fills(filled)] == ["9.999"]
    assert len(one.risk.facts()["open_positions"]) == 1
    assert one.risk.facts()["open_orders"] == 0
    assert intents(one.tick(after_ms=LIFE_MS)) == []


def test_refusal_by_the_venues_price_bounds_is_told_as_a_failed_check() -> None:
    """The last row of the quote, whose numbers pass, is the one that fails."""
    one = desk()
    one.put("market_ticks", instrument(price_max="99"))

    (event,) = one.signal("BUY")

    assert actions([event]) == [("BLOCK", "price_range")]
    failed = [
        check["name"] for check in event.to_json()["payload"]["checks"] if not check["passed"]
    ]
    assert failed == ["quote_notional"]


def test_quote_counts_as_one_order_without_a_trigger() -> None:
    """Beside the venue's bounds stand what rests with it: itself alone, and no list."""
    one = desk()
    one.put("market_ticks", instrument(orders_max=9, algo_orders_max=9, order_lists_max=9))

    action, *_ = one.signal("BUY")

    checks = {check["name"]: check["value"] for check in action.to_json()["payload"]["checks"]}
    counts = [checks[name] for name in ("open_orders", "algo_orders", "order_lists")]
    assert counts == ["1", "0", "0"]


def test_quote_that_follows_the_bid_out_of_the_venues_bounds_is_not_sent() -> None:
    """The venue lowers its highest price while a quote rests: the next one would be above it."""
    one = quoted(risk__maker_requotes=20)
    one.put("market_ticks", instrument(price_max="100"))

    events = moved(one, after_ms=4_000)
    events += one.tick()

    assert ("BLOCK", "price_range") in actions(events)
    assert [result for result, _ in results(events)] == ["CANCELLED"]
    assert [order.limit_price for order in asked(one)] == ["99.99"]


@pytest.mark.parametrize(
    ("changes", "bid"),
    [
        ({"risk__night_loss_soft": "50", "risk__night_loss_hard": "100"}, "90"),
        (
            {
                "risk__stop_bps": "100",
                "risk__orders_per_minute_soft": 1,
                "risk__orders_per_minute_hard": 1,
            },
            "98",
        ),
    ],
)
def test_stop_at_a_tick_with_a_quote_standing_stands_alone(
    changes: dict[str, Any], bid: str
) -> None:
    """A loss limit, or an exit that finds the order rate spent, withdraws nothing more."""
    lot = {"symbol": SYMBOL, "qty": "50", "price": "100", "ts": 1}
    one = desk((lot,), **changes)
    assert actions(one.signal("BUY")) == [("ALLOW", "allowed")]
    one.tick()

    events = one.tick(bid, f"{float(bid) + 0.02:.2f}")

    assert actions(events) == [("STOP", "RISK_LIMIT")]
    assert of(events, OrderCancel) == []


def test_stop_of_an_exit_that_was_asked_for_stands_alone_beside_a_quote() -> None:
    """An operator's exit finds the order rate spent by the quote, which nothing withdraws then."""
    lot = {"symbol": SYMBOL, "qty": "50", "price": "100", "ts": 1}
    one = desk((lot,), risk__orders_per_minute_soft=1, risk__orders_per_minute_hard=1)
    assert actions(one.signal("BUY")) == [("ALLOW", "allowed")]
    one.tick()

    events = leave(one)

    assert actions(events) == [("STOP", "RISK_LIMIT")]
    assert of(events, OrderCancel) == []


def test_stop_behind_the_end_of_a_quote_stands_alone() -> None:
    """The order rate is spent when the time exit comes due with the quote's end: nothing follows.

    Four of ten coins are bought, and the rest would end the entry by an action of its own.
    """
    rate = {"risk__orders_per_minute_soft": 1, "risk__orders_per_minute_hard": 1}
    one = quoted(risk__exits_at="venue", risk__stop_bps="100", risk__time_exit_ms=1_000, **rate)
    one.tick("99.97", "99.99", ask_qty="4", trade="99.98")
    one.with_risk = False
    (ended,) = one.tick("99.99", "100.01", after_ms=LIFE_MS)
    one.with_risk = True

    messages = one.risk.process(ended, 1, one.ts) or []

    assert [stop_in(message) for message in messages] == ["RISK_LIMIT"]


def test_withdrawal_by_a_sale_shows_the_signal_against_none() -> None:
    """Its failed check says that there was a signal to sell, where none may be."""
    (event,) = [each for each in sell(quoted()) if actions([each]) == [("WITHDRAW", "signal_exit")]]

    assert check_text(event, "opposite_signal") == "SELL / none"


def test_hard_limit_passed_behind_the_late_fill_of_a_quote_stops_the_run() -> None:
    """The room that a quote's end freed is spent elsewhere before its last fill is read.

    Four coins of it are bought, the other symbol's purchase takes 1,000 of 1,500, and the rest of
    the entry would cost 600 more.
    """
    limits = {f"risk__night_notional_{kind}": "1500" for kind in ("soft", "hard")}
    one = quoted(**limits)
    one.instrument(OTHER)
    one.tick(symbol=OTHER)
    one.with_risk = False
    (late,) = [e for e in one.tick("99.97", "99.99", ask_qty="4") if isinstance(e.payload, Fill)]
    one.with_risk = True
    assert actions(moved(one))[-1] == ("WITHDRAW", "quote_moved")
    assert actions(one.signal("BUY", symbol=OTHER)) == [("ALLOW", "allowed")]

    messages = one.risk.process(late, 1, one.ts) or []

    assert [stop_in(message) for message in messages] == ["RISK_LIMIT"]


def test_plan_is_told_behind_the_late_fill_of_a_quote_that_goes_on() -> None:
    """The rest is quoted again, and then the position that the fill opened has its plan."""
    one = quoted(risk__hard_stop_bps="500")
    one.with_risk = False
    (late,) = [e for e in one.tick("99.97", "99.99", ask_qty="4") if isinstance(e.payload, Fill)]
    one.with_risk = True
    moved(one)

    messages = one.risk.process(late, 1, one.ts) or []

    kinds = [message.payload().TYPE for message in messages]
    assert kinds == ["risk_action", "order_intent", "position_plan"]


# --- restarts -------------------------------------------------------------------------------------


def played(*, is_restarted: bool) -> bytes:
    """Return the events of an entry that is quoted, partly filled, requoted and taken."""
    one = desk(risk__maker_end="take")
    steps: tuple[Callable[[], object], ...] = (
        lambda: one.signal("BUY"),
        one.tick,
        lambda: one.tick("99.97", "99.99", ask_qty="4"),
        lambda: moved(one),
        lambda: one.tick("100.05", "100.09", ask_qty="1"),
        lambda: moved(one, "100.20"),
        one.beat,
        lambda: moved(one, "100.30", after_ms=LIFE_MS),
        one.tick,
    )
    for step in steps:
        step()
        if is_restarted:
            one.restarted()
    assert [action for action in actions(e for _, e in one.log) if action[0] != "REDUCE"] == [
        ("ALLOW", "allowed"),
        ("WITHDRAW", "quote_moved"),
    ]
    return one.log_bytes()


def test_restored_entry_has_every_field_of_its_signal() -> None:
    """A gate that reads a field of the signal finds it after a restart too."""
    one = quoted()
    before = one.risk._state.quotes.open[SYMBOL][0].signal
    one.restarted()

    after = one.risk._state.quotes.open[SYMBOL][0].signal

    assert after.ref().text == before.ref().text
    for name in (*SignalMessage.__annotations__, "ts", "tick_seq", "place"):
        if name not in ("QUEUE", "WRITER"):
            assert getattr(after, name) == getattr(before, name), name


def test_restart_at_any_moment_changes_nothing() -> None:
    """Both cores replaced by their states after each step say what they would have said."""
    assert played(is_restarted=True) == played(is_restarted=False)


# --- rules told again -----------------------------------------------------------------------------


def late_fill(one: Desk, bid: str, ask: str) -> list[Event]:
    """Let the quote be filled, and keep that from risk."""
    one.with_risk = False
    filled = one.tick(bid, ask)
    one.with_risk = True
    return filled


@pytest.mark.parametrize("is_told_again", [False, True])
def test_request_to_leave_outlives_rules_that_are_told_again(is_told_again: bool) -> None:
    """A quote that is filled before its cancel is sold, whatever the venue tells in between."""
    one = quoted()
    filled = late_fill(one, "99.97", "99.99")
    leave(one)
    if is_told_again:
        one.instrument()
    for event in filled:
        one.risk.process(event, 1, one.ts)

    events = one.tick(after_ms=100)
    one.tick(after_ms=1_000)

    assert actions(events) == [("EXIT", "operator_exit")]
    assert one.risk.facts()["open_positions"] == []


@pytest.mark.parametrize("is_told_again", [False, True])
def test_campaign_that_goes_on_by_a_quote_keeps_its_stop_when_rules_are_told_again(
    is_told_again: bool,
) -> None:
    """A second entry filled after the recovery's exit is left at once, and until then guarded."""
    one = Desk(
        config(
            **CAMPAIGN
            | QUOTED
            | {"risk__campaign_loss_max": "1000", "risk__recovery": [["700", "exit"]]}
        )
    ).ready()
    one.signal("BUY")
    one.tick()
    one.tick("99.97", "99.99")
    one.tick("96", "96.02")
    one.signal("BUY")
    one.tick()
    filled = late_fill(one, "95.98", "96")
    one.tick("92.9", "92.92")
    one.tick(after_ms=100)
    assert one.risk.facts()["open_positions"] == []

    if is_told_again:
        one.instrument()
    for event in filled:
        one.risk.process(event, 1, one.ts)
    stop = one.risk.facts()["exits"][SYMBOL]["stop"]
    events = one.tick(after_ms=100)
    one.tick(after_ms=1_000)

    assert stop == "89.99000000"
    assert actions(events) == [("EXIT", "recovery_exit")]
    assert one.risk.facts()["open_positions"] == []


def test_quote_that_ended_is_over_with_the_first_sell_signal_though_its_fills_are_to_come() -> None:
    """Its result says four of ten coins; a SELL is read, then the fill: nothing is quoted anew."""
    one = quoted()
    one.with_risk = False
    events = one.tick("99.97", "99.99", ask_qty="4") + one.beat(after_ms=LIFE_MS)
    one.with_risk = True

    def read(kind: type[Payload]) -> list[Message]:
        """Let risk read what the executor said of one kind."""
        found: list[Message] = []
        for event in events:
            if isinstance(event.payload, kind):
                found += one.risk.process(event, 1, one.ts) or []
        return found

    read(OrderResult)
    (quote,) = one.risk._state.quotes.open[SYMBOL]
    was_over = quote.is_over
    sold = [one.signal("SELL"), one.signal("SELL")]

    assert [result for result, _ in results(events)] == ["PARTIALLY_FILLED", "EXPIRED"]
    assert [[reason for _, reason in actions(each)] for each in sold] == [["no_position"]] * 2
    assert (was_over, quote.is_over, quote.is_cancelling) == (False, True, False)
    assert read(Fill) == []
    assert one.risk._state.quotes.open == {}
    assert len(asked(one)) == 1
