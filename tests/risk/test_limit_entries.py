"""Purchases that rest at a limit of their strategy, one of them or several in a symbol."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from minibot.events.model import (
    Event,
    ExitPosition,
    Halt,
    LockSymbol,
    OrderCancel,
    OrderIntent,
    Payload,
    RunEnding,
)
from tests.risk.desk import (
    OTHER,
    SYMBOL,
    Desk,
    actions,
    check_of,
    check_text,
    config,
    fills,
    intents,
    of,
    opening,
    results,
)
from tests.risk.test_campaign import CAMPAIGN
from tests.risk.test_quotes import QUOTED, universe

TTL_MS = 60_000
GRID: dict[str, Any] = {"risk__limit_entries_max": 3}


def desk(cash: str = "10000", **changes: Any) -> Desk:
    """Return a desk at a touch of 99.99 to 100.01, whose orders live for a minute."""
    lasting = {"execution__order_ttl_market_ms": TTL_MS}
    return Desk(config(**lasting | changes), first=opening(cash)).ready()


def limit(one: Desk, price: str, horizon_ms: int = 30_000, **wish: Any) -> list[Event]:
    """Send a purchase at a limit."""
    return one.signal("BUY", horizon_ms=horizon_ms, limit_price=price, **wish)


def resting(one: Desk) -> list[str]:
    """Return the limits of the purchases that rest."""
    quotes = one.risk.facts().get("quotes", {})
    return [quote["limit"] for quote in quotes.values()]


def down(one: Desk, price: str) -> list[Event]:
    """Let a touch of one price come, by a trade there."""
    return one.tick(price, price, trade=price)


def ended(one: Desk) -> list[tuple[str, str | None]]:
    """Return the ends of purchases."""
    return [result for result in results(one.events("order_results")) if result[0] != "ACCEPTED"]


# --- one ------------------------------------------------------------------------------------------


def test_purchase_rests_at_the_limit_of_its_strategy_and_is_filled_there() -> None:
    """It is a LIMIT_MAKER at the strategy's price, and never moves."""
    one = desk()
    events = limit(one, "95")

    (intent,) = intents(events)
    assert (intent.order_type, intent.limit_price) == ("LIMIT_MAKER", "95.00")
    assert intent.expires_ts == one.ts + 30_000
    assert resting(one) == ["95.00000000"]
    for bid, ask in (("99.99", "100.01"), ("104", "104.02"), ("95.01", "95.02")):
        assert fills(one.tick(bid, ask, after_ms=3_000)) == []
    (fill,) = fills(down(one, "94.99"))
    assert (fill.price, fill.liquidity) == ("95.00", "MAKER")
    assert resting(one) == []


def test_limit_of_a_strategy_does_not_follow_the_bid_beside_quotes_that_do() -> None:
    """A profile that quotes its entries moves them with the bid, but not a strategy's own price."""
    one = desk(**QUOTED)
    limit(one, "95")
    one.tick()

    for bid, ask in (("97", "97.02"), ("99", "99.02"), ("103", "103.02")):
        assert actions(one.tick(bid, ask, after_ms=1_500)) == []
    assert resting(one) == ["95.00000000"]


def test_limit_off_the_price_step_is_rounded_down() -> None:
    """A purchase pays no more than its strategy wants."""
    (intent,) = intents(limit(desk(), "95.019"))

    assert intent.limit_price == "95.01"


@pytest.mark.parametrize(
    ("price", "reason"),
    [("100.01", "limit_crosses"), ("107", "limit_crosses"), ("0.001", "price_invalid")],
)
def test_limit_that_could_not_rest_is_refused(price: str, reason: str) -> None:
    """At the ask it would take; below the least price there is none."""
    assert actions(limit(desk(), price)) == [("BLOCK", reason)]


def test_limit_below_the_ask_within_the_spread_rests() -> None:
    """The best bid is no bound of a strategy's own price."""
    assert actions(limit(desk(), "100.00")) == [("ALLOW", "allowed")]


def test_limit_too_small_at_its_price_is_refused() -> None:
    """Worth enough at the ask, too little at the limit."""
    one = desk(risk__order_notional="15")

    assert actions(limit(one, "50")) == [("BLOCK", "min_notional")]


@pytest.mark.parametrize("stop", [{"risk__hard_stop_bps": "1000"}, {"risk__stop_bps": "1000"}])
@pytest.mark.parametrize("entry", [{}, GRID])
def test_limit_can_still_be_sold_at_its_stop(stop: dict[str, Any], entry: dict[str, Any]) -> None:
    """Bought at 90, a coin is worth 81 at the stop: 10 there need 11.70, with the reserve."""
    answers = {}
    for order in ("12", "13.1"):
        one = desk(**stop, **entry, risk__order_notional=order)
        (answers[order],) = limit(one, "90")[:1]
    one.tick()
    down(one, "90")

    assert actions([answers["12"]]) == [("BLOCK", "min_notional")]
    assert check_text(answers["12"], "quote_notional") == "10.71000000 / 11.69590644"
    assert actions([answers["13.1"]]) == [("ALLOW", "allowed")]
    assert check_text(answers["13.1"], "quote_notional") == "11.70000000 / 10.00000000"
    reason = "hard_stop" if "risk__hard_stop_bps" in stop else "stop_loss"
    assert actions(one.tick("77", "77.01")) == [("EXIT", reason)]


def test_entry_whose_cancel_was_sent_is_not_cancelled_again() -> None:
    """Two purchases rest, and one is being withdrawn when the symbol is left."""
    one = desk(**GRID)
    limit(one, "95")
    limit(one, "94")
    state = one.risk._state
    going, other = state.quotes.open[SYMBOL]
    going.is_cancelling = True

    left = state.quotes.end_all(SYMBOL, state.positions.entries(state.positions.of(SYMBOL)))

    assert [order.client for order in left] == [other.client]


def test_limit_ends_with_its_validity() -> None:
    """After its time nothing rests or is bought, and the strategy may ask again."""
    one = desk()
    limit(one, "95", horizon_ms=2_000)
    one.tick(after_ms=1_999)
    assert resting(one) == ["95.00000000"]
    one.tick(after_ms=1)

    assert (resting(one), ended(one)[-1][0]) == ([], "EXPIRED")
    assert one.risk.facts()["open_orders"] == 0
    assert fills(down(one, "94")) == []
    assert actions(limit(one, "93")) == [("ALLOW", "allowed")]


def test_validity_beyond_the_profile_is_cut_and_told() -> None:
    """An order lives as long as the profile lets it; the failed check names both."""
    one = desk()
    events = limit(one, "95", horizon_ms=3_600_000)

    assert actions(events) == [("REDUCE", "reduced")]
    assert check_of(events[0], "limit_valid_ms") == {
        "name": "limit_valid_ms",
        "value": "3600000",
        "threshold": "60000",
        "passed": False,
    }
    one.tick(after_ms=TTL_MS)
    assert resting(one) == []


def test_limit_reserves_its_cash_and_bars_other_purchases() -> None:
    """While it rests its symbol is pending, and its cost is gone for others."""
    one = desk(cash="1500")
    one.instrument(OTHER)
    limit(one, "95")
    events = one.signal("BUY")
    again = limit(one, "94")
    one.tick(symbol=OTHER)
    other = one.signal("BUY", symbol=OTHER)

    assert actions(events) == actions(again) == [("BLOCK", "pending_order")]
    (intent,) = intents(other)
    assert Decimal(intent.qty) * Decimal("100.01") < 1500 - 9 * 95


@pytest.mark.parametrize(
    ("queue", "payload", "reason"),
    [
        ("control", Halt("operator", "a test"), "halted"),
        ("control", LockSymbol("operator", "a test", SYMBOL), "symbol_locked"),
        ("control", RunEnding("a test", "planned", 1_800_000_000_000), "run_ending"),
        ("control", ExitPosition("operator", "a test", SYMBOL), "operator_exit"),
        ("market_ticks", universe(OTHER), "not_in_universe"),
    ],
)
def test_limit_is_withdrawn_where_entries_are_refused(
    queue: str, payload: Payload, reason: str
) -> None:
    """Its cancel comes in the same step, and nothing is bought after it."""
    one = desk()
    limit(one, "95")
    one.tick()
    events = one.put(queue, payload)

    assert actions(events)[0] == ("WITHDRAW", reason)
    assert len(of(events, OrderCancel)) == 1
    assert resting(one) == []
    assert fills(down(one, "94")) == []


def test_signal_to_sell_withdraws_a_limit() -> None:
    """A strategy takes its purchase back so, to place it elsewhere."""
    one = desk()
    limit(one, "95")
    one.tick()
    events = one.signal("SELL")

    assert ("WITHDRAW", "signal_exit") in actions(events)
    assert resting(one) == []
    assert actions(limit(one, "96")) == [("ALLOW", "allowed")]


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"stop_price": "95"}, "wish_reached"),
        ({"stop_price": "96"}, "wish_reached"),
        ({"target_price": "95"}, "wish_reached"),
        ({"stop_price": "93", "target_price": "96"}, ""),
    ],
)
def test_levels_of_a_limit_are_judged_at_its_price(wish: dict[str, Any], reason: str) -> None:
    """A stop below it and a target above it are in order, wherever the market is."""
    one = desk(risk__hard_stop_bps="1000")
    pairs = actions(limit(one, "95", **wish))
    assert pairs == ([("BLOCK", reason)] if reason else [("ALLOW", "allowed")])
    if not reason:
        one.tick()
        down(one, "94.99")
        assert one.risk.facts()["exits"][SYMBOL]["stop"] == "93.00000000"
        assert actions(down(one, "96")) == [("EXIT", "signal_target")]


@pytest.mark.parametrize(
    ("price", "wish"),
    [("95.019", {"stop_price": "95.015"}), ("95.015", {"target_price": "95.018"})],
)
def test_levels_of_a_limit_are_judged_in_price_steps(price: str, wish: dict[str, Any]) -> None:
    """The purchase rests at 95.01: a stop rounded up, a target rounded down sell at once."""
    one = desk(risk__hard_stop_bps="1000")

    assert actions(limit(one, price, **wish)) == [("BLOCK", "wish_reached")]


def test_target_of_a_limit_beside_a_position_is_judged_at_the_market() -> None:
    """It would be the target of what is held as well, and sell that at once."""
    one = desk(risk__hard_stop_bps="1000")
    one.buy()

    assert actions(limit(one, "95", target_price="96")) == [("BLOCK", "wish_reached")]


def test_trail_of_a_limit_begins_at_the_bid_of_its_fill() -> None:
    """A distance of 2 from 94.99 is a stop at 92.99, and of no other price before."""
    one = desk(risk__hard_stop_bps="1000")
    limit(one, "95", trail_distance="2")
    one.tick()
    down(one, "94.99")

    assert one.risk.facts()["exits"][SYMBOL]["stop"] == "92.99000000"


def test_nearer_trail_of_a_limit_begins_at_the_bid_of_its_fill() -> None:
    """A wider trail had followed a bid of 99.99; the distance of 2 counts from 94.99 as well."""
    one = desk(risk__hard_stop_bps="1000")
    one.signal("BUY", trail_distance="9")
    one.tick()
    limit(one, "95", trail_distance="2")
    one.tick()
    down(one, "94.99")

    assert one.risk.facts()["exits"][SYMBOL]["stop"] == "92.99000000"


def test_levels_of_a_limit_beside_a_position_wait_for_its_fill() -> None:
    """A held position keeps its levels, also over a restart, until the limit is bought."""
    one = desk(risk__hard_stop_bps="1000")
    one.buy()
    limit(one, "95", stop_price="94", trail_distance="3")
    one.restarted()
    one.tick("96", "96", trade="96")
    assert one.risk.facts()["exits"][SYMBOL]["stop"] == "90.00000000"
    down(one, "94.99")

    assert one.risk.facts()["exits"][SYMBOL]["stop"] == "94.00000000"


def test_sale_cancels_a_limit_beside_the_position() -> None:
    """A purchase beside a sale is refused."""
    one = desk(risk__hard_stop_bps="300")
    one.buy()
    limit(one, "96.5")
    one.tick()
    events = down(one, "97")

    assert actions(events)[0] == ("EXIT", "hard_stop")
    assert len(of(events, OrderCancel)) == 1
    down(one, "96.5")
    assert (resting(one), one.risk.facts()["open_positions"]) == ([], [])


# --- several --------------------------------------------------------------------------------------


def test_several_limits_rest_and_are_filled_one_by_one() -> None:
    """Each is a purchase of its own; together they are one position."""
    one = desk(**GRID)
    for price in ("98", "96", "94"):
        assert actions(limit(one, price)) == [("ALLOW", "allowed")]
        one.tick()
    assert resting(one) == ["98.00000000", "96.00000000", "94.00000000"]

    assert [fill.price for fill in fills(down(one, "97"))] == ["98.00"]
    assert [fill.price for fill in fills(down(one, "95"))] == ["96.00"]
    assert resting(one) == ["94.00000000"]
    (position,) = one.risk.facts()["open_positions"]
    assert Decimal(position["qty"]) == 2 * Decimal("9.999")


def test_limit_beyond_the_number_of_the_profile_is_refused() -> None:
    """The fourth of three is refused; one filled leaves room for another."""
    one = desk(**GRID)
    for price in ("98", "97", "96"):
        limit(one, price)
    events = limit(one, "95")

    assert actions(events) == [("BLOCK", "limit_entries_max")]
    assert check_of(events[0], "limit_entries")["value"] == "4"
    one.tick()
    down(one, "97.5")
    assert actions(limit(one, "95")) == [("ALLOW", "allowed")]


def test_purchase_at_the_market_beside_limits_is_refused() -> None:
    """Limits alone may rest beside each other."""
    one = desk(**GRID)
    limit(one, "98")

    assert actions(one.signal("BUY")) == [("BLOCK", "pending_order")]


def test_limit_beside_a_purchase_or_a_sale_at_the_market_is_refused() -> None:
    """An order on its way bars it, as it bars any purchase."""
    one = desk(**GRID)
    one.signal("BUY")
    assert actions(limit(one, "98")) == [("BLOCK", "pending_order")]
    one.tick()
    one.signal("SELL")
    assert actions(limit(one, "98")) == [("BLOCK", "pending_order")]


@pytest.mark.parametrize(
    ("changes", "cash"),
    [
        ({"risk__position_notional_max": "2500"}, "10000"),
        ({"risk__night_notional_soft": "2500"}, "10000"),
        ({"risk__exposure_ratio_max_bps": 2_500}, "10000"),
        ({}, "2500"),
    ],
)
def test_limits_together_stay_within_every_cap(changes: dict[str, Any], cash: str) -> None:
    """Each reserves its room: the third is cut to what the first two leave."""
    one = desk(cash, **GRID | changes)
    lines = [actions(limit(one, price))[0][0] for price in ("99", "98", "97")]

    assert lines == ["ALLOW", "ALLOW", "REDUCE"]
    asked = of((event for _, event in one.log), OrderIntent)
    assert sum(Decimal(each.qty) * Decimal(each.limit_price or "0") for each in asked) <= 2_500


def test_halt_withdraws_all_limits() -> None:
    """Each has its own action and cancel."""
    one = desk(**GRID)
    for price in ("98", "96", "94"):
        limit(one, price)
    one.tick()
    events = one.put("control", Halt("operator", "a test"))

    assert actions(events) == [("WITHDRAW", "halted")] * 3
    assert len({cancel.client_order_id for cancel in of(events, OrderCancel)}) == 3
    assert resting(one) == []


def test_sale_cancels_all_limits_once() -> None:
    """Those whose cancel is on its way get no second one."""
    one = desk(**GRID, risk__hard_stop_bps="300")
    one.buy()
    limit(one, "96.5")
    limit(one, "96")
    one.tick()
    down(one, "97")
    down(one, "96.5")

    cancels = [cancel.client_order_id for cancel in of(one.events("order_intents"), OrderCancel)]
    assert len(cancels) == len(set(cancels)) == 2
    assert one.risk.facts()["open_positions"] == []


def test_limits_of_a_campaign_share_its_worst_loss() -> None:
    """A resting limit counts as bought: three limits lose no more than the campaign may."""
    one = desk(**CAMPAIGN | GRID | {"risk__campaign_entries_max": 3})
    answers = []
    for price in ("99", "98", "97"):
        answers += actions(limit(one, price))
        one.tick()
    for price in ("98.5", "97.5", "96.5"):
        down(one, price)

    assert [kind for kind, _ in answers] == ["REDUCE", "ALLOW", "REDUCE"]
    bought = fills(one.events("fills"))
    assert len(bought) == 3
    cost = sum(Decimal(fill.qty) * Decimal(fill.price) for fill in bought)
    assert Decimal("200") < cost / 10 <= Decimal("210")  # Its hard stop is a tenth below.


def test_restart_goes_on_with_limits() -> None:
    """Cores made from their states hold, fill and end the same limits."""
    plain, cut = desk(**GRID), desk(**GRID)
    for one in (plain, cut):
        for price in ("98", "96", "94"):
            limit(one, price, notional="1000000000000")  # As scaled quote beyond 64 bits.
            if one is cut:
                one.restarted()
        one.tick()
        down(one, "95.5")
        if one is cut:
            one.restarted()
        one.put("control", Halt("operator", "a test"))
        one.tick(after_ms=TTL_MS)

    assert plain.log_bytes() == cut.log_bytes()
    assert resting(cut) == []
