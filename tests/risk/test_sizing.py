"""Sizing: what each mode buys, what caps leave of it, and which bound is named."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.accounting.lots import Holding, Lot, lot_of
from minibot.accounting.portfolio import Portfolio
from minibot.cores.event_id import NOBODY
from minibot.cores.messages import FillMessage
from minibot.events.model import Event, Fill, RunOpening
from minibot.events.money import (
    RATE_UNIT,
    UNIT,
    amount_text,
    cost_up,
    fee_up,
    parse_amount,
    proceeds_down,
)
from minibot.features.atr import WilderAtr
from minibot.kernel.errors import InvariantError
from minibot.risk import sizing
from minibot.risk.checks import Checklist
from minibot.risk.entry_decision import size_entry
from minibot.risk.sizing import ClosedTrades, Sizes, Sizing, sizes_of, stop_distance
from tests.risk.desk import OTHER, SYMBOL, Desk, actions, check_of, config, fills, intents, opening
from tests.risk.row_world import World

FLAT: dict[str, Any] = {"bid": "100", "ask": "100"}
SHARE: dict[str, Any] = {"risk__sizing": "share"}
RISK: dict[str, Any] = {
    "risk__sizing": "risk",
    "risk__risk_per_trade_bps": 50,
    "risk__stop_bps": "200",
    "execution__taker_fee_bps": "10",
}
HOUR_MS = 3_600_000
KELLY: dict[str, Any] = {
    "risk__sizing": "kelly",
    "risk__kelly_window_market_ms": HOUR_MS,
    "risk__kelly_trades_min": 5,
    "risk__position_share_bps_min": 100,
    "risk__position_share_bps_max": 2000,
}
ALLOWED, REDUCED = ("ALLOW", "allowed"), ("REDUCE", "reduced")


def desk(first: RunOpening | None = None, **changes: Any) -> Desk:
    """Return a desk with two symbols at a touch of 100 to 100."""
    made = Desk(config(**changes), first=first)
    for symbol in (OTHER, SYMBOL):
        made.instrument(symbol)
        made.tick(**FLAT, symbol=symbol)
    return made


def bought(said: list[Event]) -> list[str]:
    """Return the quantities of the intents."""
    return [intent.qty for intent in intents(said)]


def bound(said: list[Event]) -> tuple[str, str]:
    """Return the bound that decided, and what it left."""
    check = check_of(said[0], "size_bound")
    return check["value"], check["threshold"]


def round_trip(made: Desk, price: str) -> None:
    """Buy a size at 100 and sell it at a price."""
    made.tick(**FLAT)
    made.buy()
    made.tick(price, price)
    made.signal("SELL")
    made.tick(price, price)


# --- the strategy's wish --------------------------------------------------------------------------


def test_wish_below_the_profiles_size_is_what_is_bought() -> None:
    """A strategy that wants 300 of 500 gets 300, and the bound is its own."""
    events = desk(risk__order_notional="500").signal("BUY", notional="300")

    assert (actions(events)[0], bought(events)) == (ALLOWED, ["3.000"])
    assert bound(events) == ("size_wish", "300.00000000")


def test_wish_beyond_the_profiles_size_is_cut_and_the_cut_is_told() -> None:
    """One that wants 800 of 500 gets 500: risk only narrows, and says by how much."""
    events = desk(risk__order_notional="500").signal("BUY", notional="800")

    assert (actions(events)[0], bought(events)) == (REDUCED, ["5.000"])
    check = check_of(events[0], "size_wish")
    assert (check["value"], check["threshold"]) == ("800.00000000", "500.00000000")


def test_share_of_the_budget_is_one_of_what_positions_may_take() -> None:
    """A tenth of 10,000 that may be exposed is 1,000; with an amount the lesser counts."""
    keys: dict[str, Any] = {**SHARE, "risk__positions_max": 1}

    assert bought(desk(**keys).signal("BUY", share_bps=1_000)) == ["10.000"]
    assert bought(desk(**keys).signal("BUY", share_bps=1_000, notional="400")) == ["4.000"]
    assert bought(desk(**keys).signal("BUY", share_bps=1_000, notional="4000")) == ["10.000"]


@pytest.mark.row("B-39")
def test_shares_are_shares_of_the_active_bucket() -> None:
    """Half of 10,000 is active: four positions share it, and a tenth of it is 500."""
    keys: dict[str, Any] = {"risk__bucket_active_bps": 5_000, "risk__positions_max": 4}

    events = desk(**keys, **SHARE).signal("BUY")

    assert (bought(events), bound(events)) == (["12.500"], ("size_share", "1250.00000000"))
    assert bought(desk(**keys, **SHARE).signal("BUY", share_bps=1_000)) == ["5.000"]


def test_wish_of_less_than_the_venue_takes_is_refused_by_its_name() -> None:
    """A wish below the least order is no order, and not a larger one."""
    events = desk(risk__order_notional="500").signal("BUY", notional="0.01")

    assert actions(events)[0] == ("BLOCK", "size_wish")


@pytest.mark.parametrize("mode", [{}, SHARE, RISK])
@given(wish=st.integers(1, 20_000_00), share=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_wish_never_buys_more_than_the_profile(mode: dict[str, Any], wish: int, share: int) -> None:
    """Whatever a strategy wants, it gets no more than without a wish, and no more than it wants."""
    text = f"{wish // 100}.{wish % 100:02}"
    plain = desk(**mode).signal("BUY")
    asked = desk(**mode).signal("BUY", notional=text, share_bps=share or None)

    most = sum(parse_amount(qty) for qty in bought(plain))
    got = sum(parse_amount(qty) for qty in bought(asked))
    assert got <= most
    assert cost_up(got, 100 * UNIT) <= parse_amount(text)


# --- share ----------------------------------------------------------------------------------------


@pytest.mark.row("D-02")
def test_share_is_the_free_budget_over_the_free_positions() -> None:
    """Five positions share 10,000: each gets 2,000, whichever is bought first."""
    made = desk(**SHARE)

    first, second = made.signal("BUY"), made.signal("BUY", symbol=OTHER)

    assert actions(first)[0] == actions(second)[0] == ALLOWED
    assert bought(first) == bought(second) == ["20.000"]
    assert bound(first) == ("size_share", "2000.00000000")


@pytest.mark.row("B-39")
def test_share_leaves_the_other_buckets_and_limits_alone() -> None:
    """The budget is the least of active bucket, exposure and what the cash pays with its fee."""
    buckets: dict[str, Any] = {
        "risk__bucket_active_bps": 6000,
        "risk__bucket_reserve_bps": 3000,
        "risk__bucket_buffer_bps": 1000,
    }
    one: dict[str, Any] = {**SHARE, "risk__positions_max": 1}

    assert bought(desk(**one, **buckets).signal("BUY")) == ["60.000"]
    less = desk(**one, **buckets, risk__exposure_ratio_max_bps=500).signal("BUY")
    assert (bought(less), bound(less)[0]) == (["5.000"], "size_share")
    assert bought(desk(**one, execution__taker_fee_bps="10").signal("BUY")) == ["99.900"]


def test_share_of_a_symbol_that_is_held_takes_no_further_position() -> None:
    """A second entry in a held symbol shares what is left with the four positions beside it."""
    lot = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}
    made = desk(opening("9000", (lot,)), **SHARE)

    assert bought(made.signal("BUY")) == ["18.000"]


def test_bound_that_cuts_more_than_the_venues_largest_position_is_named() -> None:
    """Fifteen coins may be held, but the limit of a position leaves five of the twenty wanted."""
    made = desk(**SHARE, risk__position_notional_max="500")
    made.instrument(position_max="15")
    made.tick(**FLAT)
    events = made.signal("BUY")

    assert (bought(events), bound(events)) == (["5.000"], ("position_notional", "500.00000000"))


def test_share_of_nothing_is_refused_by_its_name() -> None:
    """A budget in use leaves nothing, and says so."""
    lot = {"symbol": OTHER, "qty": "50", "price": "100", "ts": 1}
    made = desk(opening("5000", (lot,)), **SHARE, risk__exposure_ratio_max_bps=5000)

    events = made.signal("BUY")

    assert actions(events) == [("BLOCK", "size_share")]
    assert bound(events) == ("size_share", "0.00000000")


# --- risk -----------------------------------------------------------------------------------------


@pytest.mark.row("D-46")
def test_risk_buys_what_loses_its_share_of_equity_at_the_stop_with_both_fees() -> None:
    """A stop 2 below 100 loses 2.198 a coin with fees, so 50 of 10,000 pay for 22.747 coins."""
    made = desk(**RISK)

    events = made.buy()
    made.tick("98", "98")
    made.tick("98", "98")

    assert bought(events) == ["22.747"]
    assert bound(events) == ("size_risk", "2274.79526600")
    check = check_of(events[0], "loss_at_stop")
    assert (check["value"], check["threshold"]) == ("49.99790604", "50.00000000")
    assert [fill.price for fill in fills(made.events("fills"))] == ["100.00", "98.00"]
    assert made.risk.facts()["equity"] == "9950.00209400"


def test_risk_counts_the_position_that_is_held() -> None:
    """A second entry adds what the loss of the position at its stop leaves: a rest of a step."""
    made = desk(**RISK)
    made.buy()

    assert actions(made.signal("BUY")) == [("BLOCK", "size_risk")]


def test_risk_leaves_exactly_nothing_beside_a_position_that_risks_more() -> None:
    """Thirty coins lose more at their stop than half a percent of 10,000: the bound left is 0."""
    lot = {"symbol": SYMBOL, "qty": "30", "price": "100", "ts": 1}
    events = desk(opening("7000", (lot,)), **RISK).signal("BUY")

    assert actions(events) == [("BLOCK", "size_risk")]
    assert bound(events) == ("size_risk", "0.00000000")


def test_risk_without_a_known_stop_is_refused() -> None:
    """No stop, no size: the loss at it is not known."""
    made = desk(**{**RISK, "risk__stop_bps": None})

    events = made.signal("BUY")

    assert actions(events) == [("BLOCK", "no_stop")]
    assert bound(events) == ("size_risk", "0.00000000")
    assert check_of(events[0], "size_risk")["threshold"] == "0.00000000"


def test_entry_without_a_stop_names_that_also_where_the_position_is_full() -> None:
    """The reason that sizing gives comes before a limit on a notional of nothing."""
    lot = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}
    changes = {"risk__stop_bps": None, "risk__position_notional_max": "500"}
    events = desk(opening("9000", (lot,)), **{**RISK, **changes}).signal("BUY")

    assert actions(events) == [("BLOCK", "no_stop")]
    assert not check_of(events[0], "position_notional")["passed"]


def test_size_that_would_lose_more_at_the_stop_than_its_share_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken on purpose: what wants twice as much buys nothing, however it came to that."""
    reckon = sizing._size_by_risk

    def twice(sizes: Sizes, *rest: Any) -> None:
        reckon(sizes, *rest)
        sizes.risk = sizes.wanted = 2 * sizes.wanted

    made = desk(**RISK)
    allowed = made.signal("BUY")
    monkeypatch.setattr(sizing, "_size_by_risk", twice)
    made = desk(**RISK)
    refused = made.signal("BUY")

    assert actions(allowed)[0][0] == "ALLOW"
    assert actions(refused) == [("BLOCK", "size_risk")]
    assert intents(refused) == []
    assert not check_of(refused[0], "loss_at_stop")["passed"]


def test_risk_with_a_stop_in_atrs_waits_for_the_atr_and_then_goes_by_it() -> None:
    """Two ATRs of 2 stand 4 below: 50 over 4.196 are 11.916 coins."""
    made = desk(**{**RISK, "risk__stop_bps": None, "risk__stop_atr_mult": "2.0"})

    early = made.signal("BUY")
    for _ in range(2):
        made.bar("100", "101", "99", "100")
    made.tick(**FLAT)

    assert actions(early) == [("BLOCK", "warmup")]
    assert bought(made.signal("BUY")) == ["11.916"]


@pytest.mark.parametrize("entry", ["market", "limit", "maker"])
@pytest.mark.parametrize("high", [108, 100])
@pytest.mark.parametrize(
    "exits",
    [{}, {"risk__exits_at": "venue"}, {"risk__hard_stop_bps": "5000", "risk__trail_atr_mult": "3"}],
)
@pytest.mark.parametrize("is_restarted", [False, True])
def test_stop_stands_where_the_entry_was_sized_by_it_whatever_bars_come_before_its_fill(
    entry: str, high: int, exits: dict[str, Any], *, is_restarted: bool
) -> None:
    """Bars of another ATR between decision and fill move no stop, and raise no loss."""
    keys = {"risk__stop_bps": None, "risk__stop_atr_mult": "2.0", "risk__risk_per_trade_bps": 100}
    if entry == "maker":
        keys |= {"risk__entry": "maker", "risk__maker_requotes": 1}
        keys |= {"risk__maker_patience_market_ms": 60_000, "risk__maker_end": "give_up"}
    made = Desk(config(**RISK | keys | exits, execution__order_ttl_market_ms=60_000))
    made.instrument()
    for _ in range(2):
        made.bar("100", "101", "99", "100")
    made.tick("99.99", "100.01", trade="100")
    loss_max = float(made.risk.facts()["equity"]) / 100
    wish: dict[str, Any] = {"limit_price": "99"} if entry == "limit" else {}
    events = made.signal("BUY", **wish)
    assert actions(events)[0][0] in ("ALLOW", "REDUCE")
    if entry != "market":
        made.tick()  # It rests from here on.
    for _ in range(3):
        made.bar("100", str(high), str(200 - high), "100")
    if is_restarted:
        made.restarted()

    made.tick("98.50", "98.51", trade="98.50")

    (fill,) = fills(made.events("fills"))
    qty, price = float(fill.qty), float(fill.price)
    stop = float(made.risk.facts()["exits"][SYMBOL]["stop"])
    assert stop == pytest.approx(price - 4, abs=0.01)
    assert qty * (price - stop) + (price + stop) * qty * 0.001 <= loss_max


def test_stop_of_an_entry_that_no_stop_sized_goes_by_the_bars_before_its_fill() -> None:
    """A fixed amount risks no given share, so the newest ATR counts: 2, 3, 3.5, then 3.75."""
    keys = {"risk__stop_bps": None, "risk__stop_atr_mult": "1.0", "strategy__atr_period": 2}
    made = Desk(config(**keys))
    made.instrument()
    for _ in range(2):
        made.bar("100", "101", "99", "100")
    made.tick("99.99", "100.01", trade="100")
    made.signal("BUY")
    for _ in range(3):
        made.bar("100", "102", "98", "100")

    made.tick("99.99", "100.00", trade="100")

    assert made.risk.facts()["exits"][SYMBOL]["stop"] == "96.25000000"


def test_limit_beside_one_of_a_wider_atr_is_sized_by_the_wider() -> None:
    """Whichever is filled first, both together lose no more than their share at its stop."""
    keys = {"risk__stop_bps": None, "risk__stop_atr_mult": "2.0", "risk__limit_entries_max": 3}
    made = Desk(config(**RISK | keys, execution__order_ttl_market_ms=60_000))
    made.instrument()
    for _ in range(2):
        made.bar("100", "102", "98", "100")
    made.tick("99.99", "100.01", trade="100")
    first = made.signal("BUY", limit_price="99")
    for _ in range(9):
        made.bar("100", "100.1", "99.9", "100")
    made.tick("99.99", "100.01", trade="100")

    second = made.signal("BUY", limit_price="98.50")

    assert actions(first)[0][0] == "ALLOW"
    assert actions(second) == [("BLOCK", "size_risk")]


def test_stop_of_a_second_entry_is_as_far_as_that_of_the_position() -> None:
    """A position keeps its distance in ATRs; a wider ATR widens that of an entry, never less."""
    world = World(config(risk__stop_atr_mult="2.0", strategy__atr_period=2))
    exits, rules = world.exits, world.state.exits.rules
    exits.atr = WilderAtr(2)
    unknown = stop_distance(exits, rules, 100 * UNIT, 1)
    for _ in range(2):
        exits.atr.update(101.0, 99.0, 100.0)
    exits.stop_distance = 7 * UNIT

    flat = stop_distance(exits, rules, 100 * UNIT, 1)
    exits.is_guarded = True
    held = stop_distance(exits, rules, 100 * UNIT, 1)
    exits.stop_distance = 3 * UNIT
    nearer = stop_distance(exits, rules, 100 * UNIT, 1)

    assert (unknown, flat, held, nearer) == (None, 4 * UNIT, 7 * UNIT, 4 * UNIT)


@pytest.mark.row("D-46", "D-02")
@settings(max_examples=150, deadline=None)
@given(
    st.integers(1_000, 10**12),
    st.integers(1, 9_999),
    st.integers(0, 3_000_000),
    st.integers(1, 10_000),
    st.integers(0, 10**10),
    st.integers(1, 10**12),
)
def test_loss_at_the_stop_never_exceeds_its_share_and_a_step_more_would(
    price: int, stop_bps: int, rate: int, risk_bps: int, held: int, entry: int
) -> None:
    """Whatever price, stop, fee and position: sold at the stop, the loss stays within its share."""
    settings_of = {"risk__sizing": "risk", "risk__risk_per_trade_bps": risk_bps}
    world = World(config(**settings_of, risk__stop_bps=str(stop_bps)))
    market, limits, state = world.market, world.limits, world.state
    market.bid = market.ask = market.price = price
    limits.taker_rate = rate
    if held:
        holding = market.holding = Holding()
        cost = cost_up(held, entry)
        holding.lots = [lot_of(SYMBOL, held, entry, cost, 1, 0, NOBODY)]
        holding.qty, holding.cost, market.qty = held, cost, held
    assert market.rules is not None
    left = state.headroom(SYMBOL)

    sizes = sizes_of(
        state.sizing,
        market,
        market.rules.market_bounds,
        1,
        limits,
        world.positions,
        world.exits,
        state.exits.rules,
        left,
        state.now,
    )

    qty = sizes.wanted * UNIT // price
    loss_max = Fraction(left.equity * risk_bps, 10_000)
    paid = (cost_up(held, entry) if held else 0) + cost_up(qty, price)
    average = -(-paid * UNIT // (held + qty)) if held + qty else price
    stop = average - -(-average * stop_bps // 10_000)
    got = proceeds_down(held + qty, max(stop, 0))
    loss = paid - got + fee_up(paid, rate) + fee_up(got, rate)
    if qty:
        assert loss <= loss_max
    if not held:
        distance = min(price, -(-price * stop_bps // 10_000))
        per_coin = distance + Fraction((2 * price - distance) * rate, RATE_UNIT)
        more = sizes.risk * UNIT // price + UNIT // price + 2
        assert more * per_coin / UNIT + 5 >= loss_max


def test_size_that_shrinks_with_the_atr_is_nothing_while_it_is_unknown() -> None:
    """A market may be as wild as it likes then: its bound decides, and leaves nothing."""
    world = World(config(risk__size_atr_bps_full=100))
    state, market, world.exits.atr = world.state, world.market, WilderAtr(14)
    assert market.rules is not None

    sizes = sizes_of(
        *(state.sizing, market, market.rules.market_bounds, 1, world.limits, world.positions),
        *(world.exits, state.exits.rules, state.headroom(SYMBOL), state.now),
    )

    assert (sizes.wanted, sizes.volatility) == (0, 0)
    assert sizes.decided.name == "size_volatility"


def test_size_that_shrinks_from_the_least_atr_waits_for_the_atr() -> None:
    """One basis point is a bound like any other: without an ATR nothing is bought."""
    assert actions(desk(risk__size_atr_bps_full=1).signal("BUY")) == [("BLOCK", "warmup")]


@pytest.mark.parametrize(("largest", "qty"), [("0", "20.000"), ("5", "5.000")])
def test_venue_without_a_largest_quantity_bounds_no_size(largest: str, qty: str) -> None:
    """Zero means no limit: the share of the budget, 2,000 of 10,000, is bought whole."""
    made = desk(**SHARE)
    made.instrument(qty_max=largest)
    made.tick(**FLAT)

    assert bought(made.signal("BUY")) == [qty]


# --- kelly ----------------------------------------------------------------------------------------


@pytest.mark.row("B-41")
def test_kelly_takes_a_quarter_of_what_its_trades_say() -> None:
    """Three of five won 10 %, two lost 5 %: Kelly says 40 %, a quarter of it is 10 %."""
    made = desk(**KELLY)
    sizes = []
    for price in ("110", "95", "110", "95", "110"):
        made.tick(**FLAT)
        sizes.append(bound(made.signal("BUY")))
        made.tick(**FLAT)
        made.tick(price, price)
        made.signal("SELL")
        made.tick(price, price)
    made.tick(**FLAT)
    equity = parse_amount(made.risk.facts()["equity"])

    events = made.signal("BUY")

    assert sizes[0] == ("size_kelly", "100.00000000")
    assert {name for name, _ in sizes} == {"size_kelly"}
    assert bound(events) == ("size_kelly", f"{equity // 10 // UNIT}.{equity // 10 % UNIT:08d}")


@pytest.mark.row("B-41")
@pytest.mark.parametrize(
    ("prices", "share"), [(["110"] * 5, 2000), (["101", "99.01", "101", "99.01", "101"], 300)]
)
def test_kelly_stays_between_its_least_and_its_largest_size(prices: list[str], share: int) -> None:
    """A quarter of all is cut to a fifth; one of a small edge is raised to the least."""
    least = {**KELLY, "risk__position_share_bps_min": 300}
    changes = least if share == 300 else KELLY
    made = desk(**{**changes, "risk__kelly_fraction_percent": 25 if share == 2000 else 1})
    for price in prices:
        round_trip(made, price)
    made.tick(**FLAT)
    equity = parse_amount(made.risk.facts()["equity"])

    events = made.signal("BUY")

    assert bound(events) == ("size_kelly", amount_text(equity * share // 10_000))


def test_kelly_keeps_its_least_size_in_a_wild_market() -> None:
    """An ATR of four times the full share quarters a size, but not below the least."""
    made = desk(**KELLY, risk__size_atr_bps_full=50)
    for _ in range(2):
        made.bar("100", "101", "99", "100")
    made.tick(**FLAT)

    events = made.signal("BUY")

    assert bound(events) == ("size_kelly", "100.00000000")
    assert check_of(events[0], "size_volatility")["threshold"] == "100.00000000"


@pytest.mark.row("B-41")
def test_kelly_without_an_edge_buys_nothing_until_its_losses_are_old() -> None:
    """Five losses leave no edge; once the first is an hour old, the least size is bought again."""
    made = desk(**KELLY)
    for _ in range(5):
        round_trip(made, "99")
    made.tick(**FLAT)
    at_once = made.signal("BUY")
    made.ts = made.events("fills")[1].ts + HOUR_MS - 101
    made.tick(**FLAT, after_ms=100)
    still = made.signal("BUY")
    made.tick(**FLAT, after_ms=1)
    again = made.signal("BUY")

    assert actions(at_once) == actions(still) == [("BLOCK", "no_edge")]
    assert actions(again)[0] == ALLOWED
    assert bought(again) == ["0.999"]  # A hundredth of 9,995.


@pytest.mark.row("B-41")
def test_kelly_that_gained_what_it_lost_has_no_edge() -> None:
    """Gains and losses of the same sum say nothing for a further entry."""
    made = desk(**KELLY)
    for price in ("105", "95", "105", "95", "100"):
        round_trip(made, price)
    made.tick(**FLAT)

    assert actions(made.signal("BUY")) == [("BLOCK", "no_edge")]


def test_kelly_without_an_edge_has_no_least_size_in_a_wild_market() -> None:
    """The least share bounds a cut by volatility, and gives no size where there is no edge."""
    made = desk(**KELLY, risk__size_atr_bps_full=100)
    for _ in range(2):
        made.bar("100", "101", "99", "100")
    for _ in range(5):
        round_trip(made, "99")
    made.tick(**FLAT)

    events = made.signal("BUY")

    assert actions(events) == [("BLOCK", "no_edge")]
    assert check_of(events[0], "size_volatility")["threshold"] == "0.00000000"


def test_kelly_trade_counts_until_the_window_is_over() -> None:
    """A trade counts while it is younger than the window, to the millisecond."""
    trades = ClosedTrades(1_000)
    trades._add(5_000, -1)

    trades.expire(5_999)
    counted = trades.count, trades.lost
    trades.expire(6_000)

    assert counted == (1, 1)
    assert (trades.count, trades.lost) == (0, 0)
    assert trades.state() == {"closed": [], "open": []}


@pytest.mark.parametrize(
    ("fee_asset", "gain"),
    # Bought for 1,000 and sold for 1,100, each with a fee of 1; or paid with a coin's share.
    [("USDT", (1_099 * UNIT - 1_001 * UNIT) * UNIT // (1_001 * UNIT)), ("BTC", 9_900_000)],
)
def test_return_of_a_trade_is_net_of_the_fees_that_were_paid(fee_asset: str, gain: int) -> None:
    """Fees in quote are paid on top; one in base has been paid with the purchase."""
    trades = ClosedTrades(1_000)
    for side, price, asset in (("BUY", "100", fee_asset), ("SELL", "110", "USDT")):
        fill = FillMessage.read(
            Fill(
                symbol=SYMBOL,
                side=side,
                qty="10",
                price=price,
                fee="1" if asset == "USDT" else "0.01",
                fee_asset=asset,
                client_order_id="a",
                order_id="b",
                liquidity="taker",
            )
        )
        trades.on_fill(fill, side == "SELL")

    assert trades.gained == gain


@pytest.mark.row("B-41")
@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-UNIT, 3 * UNIT), min_size=1, max_size=40), st.integers(1, 100))
def test_kelly_share_is_that_of_the_textbook_and_nothing_without_an_edge(
    gains: list[int], percent: int
) -> None:
    """The share is p - (1 - p) / R by mean gain over mean loss, rounded down to a basis point."""
    trades = ClosedTrades(1_000)
    for gain in gains:
        trades._add(1, gain)

    won = [gain for gain in gains if gain > 0]
    lost = [-gain for gain in gains if gain <= 0]
    share = Fraction(len(won), len(gains))
    if not won:
        share = Fraction(0)
    elif sum(lost):
        ratio = Fraction(sum(won), len(won)) / Fraction(sum(lost), len(lost))
        share -= (1 - share) / ratio
    assert trades.kelly_bps(percent) == max(0, int(share * percent * 100 // 1))
    if sum(gains) <= 0:
        assert trades.kelly_bps(percent) == 0


@pytest.mark.parametrize(
    ("gains", "share"),
    [((3, -1), 833), ((3, -1, 0), 555), ((1, -1), 0), ((1, -2), 0), ((-1,), 0), ((2,), 2_500)],
)
def test_kelly_share_without_an_edge_is_nothing(gains: tuple[int, ...], share: int) -> None:
    """A gain of three beside a loss of one has a third of an edge; the same of both has none.

    A trade that gained nothing is no gain: with it the edge is two ninths.
    """
    trades = ClosedTrades(1_000)
    for gain in gains:
        trades._add(1, gain * UNIT // 100)

    assert trades.kelly_bps(25) == share


def test_kelly_survives_a_restart_in_the_middle() -> None:
    """Restored cores decide as those that went on, with an open trade and closed ones."""
    straight, restarted = desk(**KELLY), desk(**KELLY)
    for made in (straight, restarted):
        for price in ("110", "95", "108", "99", "103"):
            round_trip(made, price)
        made.tick(**FLAT)
        made.buy()
        if made is restarted:
            made.restarted()
        made.tick("104", "104")
        made.signal("SELL")
        made.tick("104", "104")
        made.buy()

    assert restarted.log_bytes() == straight.log_bytes()
    assert restarted.risk.state() == straight.risk.state()
    assert straight.risk.state()["closed_trades"]["closed"]


def test_kelly_counts_a_carried_position_from_its_cost() -> None:
    """A lot of 1,000 with a fee of 1 that brings 999 less a fee returns -0.2999 % of it."""
    lot = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}
    made = desk(opening("9000", (lot,)), **KELLY, execution__taker_fee_bps="10")
    made.tick("99.9", "99.9")
    made.signal("SELL")
    made.tick("99.9", "99.9")

    ((_, gain),) = made.risk.state()["closed_trades"]["closed"]

    assert gain == "-0.00299601"  # (999 - 0.999 - 1001) / 1001, rounded down.


# --- volatility and caps --------------------------------------------------------------------------


MODES: list[dict[str, Any]] = [{}, SHARE, RISK, KELLY, {**RISK, "risk__stop_bps": None}]


def test_size_of_the_atr_that_still_has_it_whole_has_no_check_of_volatility() -> None:
    """An ATR of 100 bps of the price bounds nothing; the least above it does."""
    shown = []
    for high in ("100.50", "100.51"):
        made = desk(**SHARE, risk__size_atr_bps_full=100)
        for _ in range(2):
            made.bar("100", high, "99.50", "100")
        made.tick(**FLAT)
        (entry, *_) = made.signal("BUY")
        shown.append(
            "size_volatility" in {row["name"] for row in entry.to_json()["payload"]["checks"]}
        )

    assert shown == [False, True]


@pytest.mark.row("D-46", "B-41")
@pytest.mark.parametrize("mode", MODES, ids=["fixed", "share", "risk", "kelly", "risk in ATRs"])
def test_doubling_volatility_never_raises_size(mode: dict[str, Any]) -> None:
    """From calm to wild, with each mode: the order never grows, and shrinks in the end."""
    found = []
    for wide in (0.25, 0.5, 1, 2, 4, 8):
        changes = {**mode, "risk__size_atr_bps_full": 100}
        if mode.get("risk__sizing") == "risk" and mode["risk__stop_bps"] is None:
            changes["risk__stop_atr_mult"] = "2.0"
        made = desk(**changes)
        for _ in range(2):
            made.bar("100", f"{100 + wide / 2}", f"{100 - wide / 2}", "100")
        made.tick(**FLAT)
        (qty,) = bought(made.signal("BUY")) or ["0"]
        found.append(parse_amount(qty))

    assert found == sorted(found, reverse=True)
    is_kelly = mode is KELLY  # Its least size stays the least.
    assert is_kelly or found[-1] < found[0]


def test_an_atr_of_twice_the_full_share_halves_the_order() -> None:
    """An ATR of 2 at 100 is 200 basis points: half of what 100 would buy."""
    made = desk(risk__size_atr_bps_full=100)

    early = made.signal("BUY")
    for _ in range(2):
        made.bar("100", "101", "99", "100")
    made.tick(**FLAT)
    events = made.signal("BUY")

    assert actions(early) == [("BLOCK", "warmup")]
    assert actions(events)[0] == ALLOWED
    assert (bought(events), bound(events)) == (["5.000"], ("size_volatility", "500.00000000"))


BUCKETS: dict[str, Any] = {"risk__bucket_reserve_bps": 3000, "risk__bucket_buffer_bps": 1000}


@pytest.mark.row("B-39", "B-41")
@pytest.mark.parametrize(
    ("changes", "outcome", "qty", "decided"),
    [
        ({"risk__bucket_active_bps": 1000}, ALLOWED, "10.000", "size_fixed"),
        ({"risk__bucket_active_bps": 999}, REDUCED, "9.990", "bucket_active"),
        ({"risk__bucket_active_bps": 9}, ("BLOCK", "bucket_limit"), None, "bucket_active"),
        ({"risk__position_share_bps_max": 1000}, ALLOWED, "10.000", "size_fixed"),
        ({"risk__position_share_bps_max": 999}, REDUCED, "9.990", "position_share"),
        ({"risk__position_share_bps_max": 9}, ("BLOCK", "position_share"), None, "position_share"),
        ({"risk__symbol_notional_max": {SYMBOL: "1000"}}, ALLOWED, "10.000", "size_fixed"),
        ({"risk__symbol_notional_max": {SYMBOL: "999.9"}}, REDUCED, "9.999", "symbol_notional"),
        ({"risk__symbol_notional_max": {OTHER: "1"}}, ALLOWED, "10.000", "size_fixed"),
        (
            {"risk__symbol_notional_max": {SYMBOL: "9"}},
            ("BLOCK", "symbol_limit"),
            None,
            "symbol_notional",
        ),
        (
            {"risk__bucket_active_bps": 6000, "risk__position_notional_max": "500"},
            REDUCED,
            "5.000",
            "position_notional",
        ),
        (
            {"risk__bucket_active_bps": 6000, "risk__exposure_ratio_max_bps": 500},
            REDUCED,
            "5.000",
            "exposure",
        ),
    ],
)
def test_caps_cut_an_order_and_the_one_that_decides_is_named(
    changes: dict[str, Any], outcome: tuple[str, str], qty: str | None, decided: str
) -> None:
    """A cap at the order passes it whole, beyond it cuts, below the venue's least refuses."""
    events = desk(**changes).signal("BUY")

    assert actions(events)[0] == outcome
    assert bought(events) == ([] if qty is None else [qty])
    assert bound(events)[0] == decided


@pytest.mark.parametrize(
    ("rules", "qty", "decided"),
    [
        ({"qty_max": "7"}, "7.000", "size_qty_max"),
        ({"notional_max": "650"}, "6.500", "size_notional_max"),
        ({"position_max": "6"}, "6.000", "position_qty"),
    ],
)
def test_largest_order_of_the_venue_bounds_what_is_wanted(
    rules: dict[str, str], qty: str, decided: str
) -> None:
    """A filter of the venue makes the order smaller, and is named."""
    made = desk(**SHARE)
    made.instrument(**rules)

    events = made.signal("BUY")

    assert (bought(events), bound(events)[0]) == ([qty], decided)


def test_pace_counts_an_order_of_the_size_that_is_wanted() -> None:
    """A tenth of 10,000 may be used at once: a share of 2,000 waits, one of 1,000 does not."""
    pace: dict[str, Any] = {"risk__night_notional_soft": "10000", "risk__night_notional_pace": 10}

    assert actions(desk(**SHARE, **pace).signal("BUY")) == [("BLOCK", "night_notional_pace")]
    ten = desk(**SHARE, **pace, risk__positions_max=10)
    assert actions(ten.signal("BUY"))[0] == ALLOWED


def test_without_its_keys_sizing_says_nothing_and_keeps_nothing() -> None:
    """A profile without the keys has the checks and the state of before."""
    made = desk()

    events = made.signal("BUY")

    names = {check["name"] for check in events[0].to_json()["payload"]["checks"]}
    assert not [name for name in names if name.startswith("size_") or "bucket" in name]
    assert "closed_trades" not in made.risk.state()
    assert Sizing(config()).is_plain
    assert Sizing(config(risk__sizing="fixed")).is_plain


@pytest.mark.row("D-02", "D-34", "D-27")
@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([SHARE, RISK, KELLY, {"risk__size_atr_bps_full": 50}]),
    st.integers(0, 70_000 * UNIT),
    st.integers(-5_000 * UNIT, 90_000 * UNIT),
    st.integers(1, 10_000),
    st.integers(1, 10**13),
    st.sampled_from(["0", "7.5", "250"]),
)
def test_no_size_exceeds_cash_exposure_and_caps(
    mode: dict[str, Any], cash: int, equity: int, active_bps: int, ask: int, fee: str
) -> None:
    """Whatever cash, equity and price: what is bought is paid with its fee, within every cap."""
    caps = {
        "risk__bucket_active_bps": active_bps,
        "risk__symbol_notional_max": {SYMBOL: "4321"},
        "risk__position_share_bps_max": 2_000,
        "strategy__atr_period": 2,
        "execution__taker_fee_bps": "10",
    }
    world = World(config(**{**mode, **caps, "execution__taker_fee_bps": fee}))
    world.exits.atr.update(1.0, 0.9, 0.95)
    world.exits.atr.update(1.0, 0.9, 0.95)
    world.equity(equity)
    world.positions.cash = cash
    world.market.ask = ask
    world.market.bid = world.market.price = max(1, ask - 1)
    assert world.market.rules is not None
    left, checks = world.state.headroom(SYMBOL), Checklist()

    qty, notional = size_entry(
        world.state, world.market, world.market.rules, left, checks, is_quoted=False
    )

    if not qty:
        assert checks.reason
        assert notional == 0
        return
    assert notional == cost_up(qty, ask)
    assert notional + fee_up(notional, world.limits.taker_rate) <= left.cash_free
    assert left.exposure + notional <= equity
    assert (left.exposure + notional) * 10_000 <= equity * active_bps
    assert left.position + notional <= 4_321 * UNIT
    assert (left.position + notional) * 10_000 <= equity * 2_000


@pytest.mark.parametrize(
    "carried",
    [
        {"closed": [], "open": {}},
        {"closed": [[1, "1"]]},
        {"closed": [[1]], "open": []},
        {"closed": [[1, "one"]], "open": []},
        {"closed": None, "open": []},
        {"closed": [], "open": [{"symbol": SYMBOL}]},
        {"closed": [], "open": ["trade"]},
    ],
)
def test_kelly_trades_of_a_damaged_opening_stop_the_run(carried: Any) -> None:
    """A share that follows from half of the trades would be another share."""
    if carried["closed"] == [] and carried["open"] == {}:
        ClosedTrades(1_000).open(Portfolio({}, ()), 0, carried)  # No trade at all is none amiss.
        return

    with pytest.raises(InvariantError, match="run_opening: trades: "):
        ClosedTrades(1_000).open(Portfolio({}, ()), 0, carried)


def test_kelly_trade_that_is_open_and_of_which_nothing_is_held_stops_the_run() -> None:
    """The trades are of another account than the lots."""
    held = Portfolio({}, [Lot.from_json({"symbol": OTHER, "qty": "1", "price": "100", "ts": 1})])
    first = ClosedTrades(1_000)
    first.open(held, 0, None)
    fields = first.state()

    ClosedTrades(1_000).open(held, 0, fields)
    with pytest.raises(InvariantError, match=f"an open trade of {OTHER}"):
        ClosedTrades(1_000).open(Portfolio({}, ()), 0, fields)


def test_kelly_counts_no_sale_of_dust_that_no_trade_bought() -> None:
    """Its return is not defined, and the next run would not be told of it."""
    trades = ClosedTrades(1_000)
    sale = Fill("x" * 16, "sale", SYMBOL, "SELL", "1", "110", "0", "USDT", "TAKER")

    trades.on_fill(FillMessage.read(sale, 9), True)

    assert trades.count == 0
    assert trades.state() == {"closed": [], "open": []}


@pytest.mark.parametrize("is_told", [False, True])
def test_kelly_counts_a_carried_trade_from_what_was_told_of_it_else_with_a_fee(
    is_told: bool,
) -> None:
    """A hundred and its fee of 10 bps, or the 90 that the last run told, bring 110."""
    held = Portfolio({}, [Lot.from_json({"symbol": SYMBOL, "qty": "1", "price": "100", "ts": 1})])
    rate, trades = RATE_UNIT // 1_000, ClosedTrades(1_000)
    fields = {"symbol": SYMBOL, "opened_ts": 1, "closed_ts": 0, "reason": "", "received": "0"}
    carried = {"closed": [[5, "0.25"]], "open": [fields | {"spent": "90"}]}
    trades.open(held, rate, carried if is_told else None)
    sale = Fill("x" * 16, "sale", SYMBOL, "SELL", "1", "110", "0", "USDT", "TAKER")

    trades.on_fill(FillMessage.read(sale, 9), True)

    spent = 90 * UNIT if is_told else 100 * UNIT + UNIT // 10
    gain = (110 * UNIT - spent) * UNIT // spent
    assert trades.state() == {
        "closed": [*([[5, "0.25000000"]] if is_told else []), [9, amount_text(gain)]],
        "open": [],
    }
