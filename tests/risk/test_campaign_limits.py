"""Limits of a campaign: its entries, its wait, its worst loss and its hold, on both sides."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.events.money import RATE_UNIT, UNIT, cost_up, fee_up, parse_amount, proceeds_down
from minibot.risk import entry_decision
from minibot.risk.campaign import Campaign, Reserve, part_of
from tests.risk.desk import OTHER, Desk, actions, check_of, fills, instrument, intents
from tests.risk.test_campaign import desk, to, traded


def at(one: Desk, price: str, after_ms: int = 100) -> list[tuple[str, str]]:
    """Show a touch at one price, signal a purchase, and return what risk said to that."""
    one.tick(price, price, after_ms=after_ms)
    events = one.signal("BUY")
    one.tick(price, price)
    return actions(events)


@pytest.mark.row("D-04", "X-23")
def test_reentry_is_cut_to_what_the_campaign_may_still_lose_and_the_stop_stays() -> None:
    """A worst loss of 60 for two entries: 2.999 coins at 100, 3.751 at 98, all sold at 90.

    The first may lose 30, ten a coin; four smallest units are kept for rounding. It cost 299.90 and
    would bring 269.91, so 30.01 is left, of which each coin at 98 loses eight. The average entry
    falls to 98.89, the hard stop does not.
    """
    one = desk(risk__order_notional="500", risk__campaign_loss_max="60")

    assert at(one, "100") == [("REDUCE", "reduced")]
    first = one.events("risk_actions")[0]
    assert check_of(first, "campaign_loss_at_stop")["value"] == "29.99000004"
    assert at(one, "98") == [("REDUCE", "reduced")]
    cut = one.events("risk_actions")[-2]
    assert check_of(cut, "campaign_at_risk")["value"] == "29.99000000"
    assert check_of(cut, "campaign_loss_at_stop") == {
        "name": "campaign_loss_at_stop",
        "value": "59.99800004",
        "threshold": "60.00000000",
        "passed": True,
    }
    assert to(one, "90.01", "90") == [("EXIT", "hard_stop")]
    assert [trade[1:] for trade in traded(one)] == [
        *(("2.999", "100.00"), ("3.751", "98.00"), ("6.750", "90.00"))
    ]


def test_order_that_the_worst_loss_leaves_too_small_is_refused() -> None:
    """With 0.01 left to lose, an order of ten quote at least is refused, and nothing is sold."""
    one = desk(risk__campaign_entries_max=1, risk__campaign_loss_max="0.01")

    assert at(one, "100") == [("BLOCK", "campaign_reserve")]


def test_entry_that_would_lose_more_than_its_campaign_may_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken on purpose: without the cut to its reserve the whole order is refused."""
    monkeypatch.setattr(entry_decision, "reserve_rows", lambda reserve, notional: ())
    one = desk(risk__order_notional="500", risk__campaign_loss_max="60")

    assert at(one, "100") == [("BLOCK", "campaign_reserve")]
    (event,) = [each for each in one.events("risk_actions") if each.type == "risk_action"]
    assert not check_of(event, "campaign_loss_at_stop")["passed"]
    assert traded(one) == []


def test_entry_of_another_symbol_on_its_way_is_no_loss_of_the_campaign() -> None:
    """Each campaign reserves its own loss: 3.751 coins enter again, whatever else is bought."""
    alone, beside = [desk(risk__order_notional="500", risk__campaign_loss_max="60") for _ in "ab"]
    beside.instrument(OTHER)
    beside.bar("100", "100", "100", "100", symbol=OTHER)
    bought = []
    for one in (alone, beside):
        at(one, "100")
        if one is beside:
            one.tick("100", "100", symbol=OTHER)
            assert actions(one.signal("BUY", symbol=OTHER)) == [("REDUCE", "reduced")]
        one.tick("98", "98")
        bought.append([intent.qty for intent in intents(one.signal("BUY"))])

    assert bought == [["3.751"], ["3.751"]]


def test_resting_entry_counts_with_its_loss_and_both_fees() -> None:
    """Five coins at 100 lose 50 and 0.95 of fees at 90, held or to be bought at the ask.

    Five that rest at 98 lose 49 and 0.931 at 88.20, the hard stop of their own price. Four smallest
    units are kept for rounding.
    """
    fees = {"execution__taker_fee_bps": "10", "execution__order_ttl_market_ms": 60_000}
    counts = {"risk__campaign_entries_max": 3, "risk__limit_entries_max": 3}
    loss = {"risk__order_notional": "500", "risk__campaign_loss_max": "600"}
    one = desk(**fees, **counts, **loss)
    at(one, "100")
    first = one.signal("BUY", limit_price="98", horizon_ms=30_000)
    second = one.signal("BUY", limit_price="97", horizon_ms=30_000)

    assert [intent.qty for intent in intents(first)] == ["5.000"]
    assert check_of(first[0], "campaign_loss_at_stop")["value"] == "101.90000004"
    assert check_of(second[0], "campaign_loss_at_stop")["value"] == "151.83100004"


def test_sizing_names_the_campaign_as_the_bound_that_decided() -> None:
    """Beside other bounds of sizing the action says which decided."""
    one = desk(risk__campaign_loss_max="60", risk__sizing="share")
    one.tick("100", "100")
    (allowed, *_) = [each for each in one.signal("BUY") if each.type == "risk_action"]

    assert check_of(allowed, "size_bound")["value"] == "campaign_notional"


def test_entries_of_a_campaign_end_at_their_number() -> None:
    """Two entries are allowed, a third is refused; after the end two more are."""
    one = desk()

    assert [at(one, "100")[0][1] for _ in range(3)] == ["allowed", "allowed", "campaign_full"]
    assert to(one, "90") == [("EXIT", "hard_stop")]
    assert at(one, "90") == [("ALLOW", "allowed")]


@pytest.mark.parametrize(
    ("after_ms", "said"),
    [(4_799, ("BLOCK", "campaign_cooldown")), (4_800, ("ALLOW", "allowed"))],
)
def test_reentry_waits_since_the_entry_before(after_ms: int, said: tuple[str, str]) -> None:
    """With five seconds to wait a signal is refused a millisecond before."""
    one = desk(risk__campaign_entry_wait_market_ms=4_900)
    assert at(one, "100") == [("ALLOW", "allowed")]

    assert at(one, "100", after_ms) == [said]


@pytest.mark.parametrize(
    ("bid", "said"), [("97.00", ("BLOCK", "recovery_hold")), ("97.01", ("ALLOW", "allowed"))]
)
def test_row_to_hold_refuses_entries_at_its_loss_and_allows_them_above(
    bid: str, said: tuple[str, str]
) -> None:
    """Three percent below the entry nothing is bought, a cent above it is."""
    one = desk(risk__recovery=[["300", "hold"]])
    one.buy()

    assert at(one, "96") == [("BLOCK", "recovery_hold")]
    assert at(one, bid) == [said]
    assert "SELL" not in [side for side, *_ in traded(one)]


def test_entry_beside_no_row_to_hold_is_not_judged_by_one() -> None:
    """A check of a price that the profile does not name would mislead who reads it."""
    one = desk()
    one.buy()

    (allowed,) = [each for each in one.signal("BUY") if each.type == "risk_action"]

    names = [check["name"] for check in allowed.to_json()["payload"]["checks"]]
    assert "campaign_at_risk" in names
    assert "recovery_price" not in names


@pytest.mark.parametrize("bid", ["89", "90"])
def test_bid_at_the_stop_leaves_no_room_for_an_entry(bid: str) -> None:
    """No purchase is allowed at the stop or below it, even if the sale there is refused."""
    one = desk(risk__left_trading="hold")
    one.buy()
    one.put("market_ticks", instrument(status="BREAK"))
    one.tick(bid, bid)
    one.put("market_ticks", instrument(notional_min="100000"))

    assert at(one, bid)[-1] == ("BLOCK", "campaign_reserve")


def test_entry_that_buys_nothing_is_counted_while_something_is_held() -> None:
    """A re-entry that expires is one of two: the next is refused."""
    one = desk()
    one.buy()
    one.tick("100", "100")
    one.signal("BUY")
    one.tick("100", "100", ask_qty="0")
    one.beat(after_ms=6_000)
    assert len(fills(one.events("fills"))) == 1

    assert at(one, "100") == [("BLOCK", "campaign_full")]


def test_first_entry_that_buys_nothing_is_no_campaign() -> None:
    """With nothing held and nothing on its way the next entry is a first one."""
    one = desk(risk__campaign_entries_max=1)
    one.signal("BUY")
    one.tick("100", "100", ask_qty="0")
    one.beat(after_ms=6_000)

    assert at(one, "100") == [("ALLOW", "allowed")]


def test_quotes_of_one_entry_are_one_entry() -> None:
    """An entry that is quoted anew and bought in the end counts once."""
    maker = {
        "risk__entry": "maker",
        "risk__maker_patience_market_ms": 300,
        "risk__maker_requotes": 2,
        "risk__maker_end": "take",
    }
    one = desk(**maker, risk__campaign_entries_max=2)
    one.tick("99.99", "100.01")
    one.signal("BUY")
    for bid in range(10_000, 10_200, 10):
        one.tick(f"{bid / 100:.2f}", f"{bid / 100 + 0.02:.2f}")

    assert len(fills(one.events("fills"))) == 1
    assert len(one.events("order_intents")) > 2
    events = one.signal("BUY")
    assert check_of(events[0], "campaign_entries")["value"] == "2"


def test_rest_of_a_quoted_entry_is_sized_by_the_stop_in_force() -> None:
    """Half of a quote is bought; the rest, bought higher, stays within the share of the first."""
    maker = {
        "risk__entry": "maker",
        "risk__maker_patience_market_ms": 300,
        "risk__maker_requotes": 5,
        "risk__maker_end": "take",
    }
    one = desk(**maker, risk__campaign_loss_max="150")
    one.tick("100.00", "100.02")
    one.signal("BUY")
    one.tick("100.00", "100.02", bid_qty="0")
    one.tick("99.99", "100.00", trade="99.99", ask_qty="2")
    for bid in range(10_100, 10_300, 10):
        one.tick(f"{bid / 100:.2f}", f"{bid / 100 + 0.02:.2f}")

    bought = fills(one.events("fills"))
    assert len(bought) >= 2
    spent = sum(cost_up(parse_amount(fill.qty), parse_amount(fill.price)) for fill in bought)
    coins = sum(parse_amount(fill.qty) for fill in bought)
    stop = one.risk._state.exits.of("BTCUSDT").plan
    assert stop is not None
    assert spent - proceeds_down(coins, stop.floor()) <= 75 * UNIT
    assert campaign_of(one).entries == 1
    assert campaign_of(one).stop == parse_amount("90.00")


def test_campaign_ends_in_whichever_order_result_and_fill_are_read() -> None:
    """With results read first the last fill leaves nothing; the next entry is a first one."""
    one = desk(risk__campaign_entries_max=1, risk__take_profit_bps="500")
    one.first = "order_results"
    one.buy()
    assert to(one, "110") == [("EXIT", "take_profit")]

    assert at(one, "110") == [("ALLOW", "allowed")]


def test_entry_that_fills_with_the_exit_keeps_the_stop_of_its_campaign() -> None:
    """Five are bought at 90 as ten are left there: they are sold at once, the rest not bought."""
    one = desk()
    one.buy()
    one.tick("95", "95")
    one.signal("BUY")
    assert actions(one.tick("90", "90", ask_qty="5")) == [("EXIT", "hard_stop")]
    assert actions(one.tick("90", "90", ask_qty="0")) == [("EXIT", "hard_stop")]
    one.tick("89", "89")
    one.tick("89", "89")

    assert one.risk.facts()["open_positions"] == []
    assert [(fill.side, fill.qty) for fill in fills(one.events("fills"))] == [
        *(("BUY", "10.000"), ("BUY", "5.000")),
        *(("SELL", "10.000"), ("SELL", "5.000")),
    ]


@pytest.mark.row("D-04")
def test_dust_of_a_former_position_is_no_asset_of_the_next_campaign() -> None:
    """A fee in coins leaves dust, which ends the campaign; the next counts its own coins alone."""
    one = desk(execution__fee_asset="base", execution__taker_fee_bps="7.5")
    one.buy()
    first = campaign_of(one)
    held = one.risk._state.positions.of("BTCUSDT").qty
    one.tick("100", "100")
    one.signal("SELL")
    one.tick("100", "100")
    one.tick("100", "100")
    dust = one.risk._state.positions.portfolio.position_qty("BTCUSDT")
    assert 0 < dust < held

    one.buy()
    second = campaign_of(one)
    assert second.entries == 1
    portfolio = one.risk._state.positions.portfolio
    assert second.qty == portfolio.position_qty("BTCUSDT") - dust
    assert first is second


def campaign_of(one: Desk) -> Campaign:
    """Return the campaign of the desk's symbol."""
    found = one.risk._state.exits.of("BTCUSDT").campaign
    assert found is not None
    return found


@settings(max_examples=300, deadline=None)
@given(
    most=st.integers(1, 10**12),
    at_risk=st.integers(-(10**12), 10**12),
    ask=st.integers(100, 10**12),
    down=st.integers(0, 9_999),
    fee=st.sampled_from([0, 100_000, 250_000]),
)
def test_what_the_room_buys_loses_no_more_than_is_left(
    most: int, at_risk: int, ask: int, down: int, fee: int
) -> None:
    """Bought at the ask and sold at the stop, with both fees, it is within the worst loss."""
    stop = ask - ask * down // 10_000
    reserve = Reserve(at_risk, most, ask, stop, fee)
    qty = reserve.room() * UNIT // ask

    if qty:
        cost, back = cost_up(qty, ask), proceeds_down(qty, stop)
        loss = at_risk + cost + fee_up(cost, fee) - back + fee_up(back, fee)
        assert loss <= reserve.loss(qty) <= most
    if at_risk >= most:
        assert qty == 0


def test_part_of_a_derisk_is_whole_steps_and_never_leaves_too_little() -> None:
    """Half of 1.001 is 0.5; of what would leave under ten quote, all is sold."""
    from minibot.accounting.order_rules import OrderRules

    bounds = OrderRules.of(instrument()).market_bounds
    price = 100 * UNIT
    assert part_of(1_001 * UNIT // 1_000, 50, bounds, price, price) == UNIT // 2
    assert part_of(UNIT // 5, 50, bounds, price, price) == UNIT // 10
    less = UNIT // 5 - UNIT // 1_000
    assert part_of(less, 50, bounds, price, price) == less
    assert part_of(UNIT, 95, bounds, price, price) == UNIT
    # What is kept has to be sold at the stop, where it is worth less than at the bid.
    assert part_of(UNIT // 5, 50, bounds, price, 99 * UNIT) == UNIT // 5


def test_derisk_keeps_nothing_that_its_stop_could_not_sell() -> None:
    """Half of 0.212 is worth ten at 95 and less at the stop of 90: all is sold."""
    one = desk(
        risk__recovery=[["500", "de-risk"]],
        risk__recovery_part_percent=50,
        risk__order_notional="21.2",
    )
    one.buy()

    assert to(one, "95", "80") == [("EXIT", "recovery_part")]
    assert [fill[:2] for fill in traded(one)] == [("BUY", "0.212"), ("SELL", "0.212")]


@pytest.mark.parametrize("least", [{"qty_min": "5"}, {"notional_min": "370"}])
@pytest.mark.parametrize(("exits_at", "hard"), [("role", 2), ("venue", 3)])
def test_part_is_all_where_new_filters_make_the_rest_too_small(
    exits_at: str, hard: int, least: dict[str, str]
) -> None:
    """A part of 6 of 10 waits for the order rate; by then the venue takes no less than 5.

    Or no less than 370 in quote: the rest of 4 is worth 380 at the bid, and 360 at its hard stop.
    """
    one = desk(
        risk__recovery=[["500", "de-risk"]],
        risk__recovery_part_percent=60,
        risk__orders_per_minute_soft=1,
        risk__orders_per_minute_hard=hard,
        risk__exits_at=exits_at,
    )
    one.buy()
    one.tick("95", "95", trade="95")
    one.put("market_ticks", instrument(**least))
    one.tick("95", "95", after_ms=70_000, trade="95")
    one.tick("95", "95", trade="95")

    assert [fill[:2] for fill in traded(one)] == [("BUY", "10.000"), ("SELL", "10.000")]
    assert one.risk.facts()["open_positions"] == []


def test_campaign_counts_fees_of_both_assets() -> None:
    """Paid in quote a fee adds to what was spent; paid in coins it lessens what is held."""
    from minibot.cores.messages import FillMessage
    from minibot.events.model import Fill

    def fill(side: str, fee: str, asset: str) -> FillMessage:
        said = Fill("o", "c", "BTCUSDT", side, "2", "100", fee, asset, "TAKER")
        return FillMessage.read(said)

    campaign = Campaign()
    campaign.on_fill(fill("BUY", "0.2", "USDT"))
    campaign.on_fill(fill("BUY", "0.002", "BTC"))
    assert (campaign.spent, campaign.qty) == (parse_amount("400.2"), parse_amount("3.998"))
    campaign.on_fill(fill("SELL", "0.2", "USDT"))
    assert (campaign.received, campaign.qty) == (parse_amount("199.8"), parse_amount("1.998"))
    # 1.998 at 90 bring 179.82 less a fee of 0.17982.
    assert campaign.at_risk(90 * UNIT, RATE_UNIT // 1_000) == parse_amount("20.75982")
