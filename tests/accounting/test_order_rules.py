"""The venue's order filters as exact integers, checked against fractions."""

from __future__ import annotations

from fractions import Fraction
from math import lcm
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from minibot.accounting.order_rules import LIMIT, MARKET, Bounds, OrderRules
from minibot.events.business_codes import QTY_MAX
from minibot.events.decimals import NumberError
from minibot.events.model import BUY, SELL, Instrument
from minibot.events.money import amount_text, parse_amount


def rules(**changes: Any) -> OrderRules:
    """Order rules with every filter off except the increments."""
    values: dict[str, Any] = {
        "symbol": "BTCUSDT",
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "status": "TRADING",
        "price_increment": "0.01",
        "qty_increment": "0.001",
        "qty_min": "0",
        "qty_max": "0",
        "notional_min": "0",
        "origin": "exchange",
    }
    return OrderRules.of(Instrument(**(values | changes)))


def bounds(of: OrderRules, order_type: str) -> Bounds:
    """Bounds of an order of this type, as fractions."""
    return of.market_bounds if order_type == MARKET else of.limit_bounds


def units(text: str) -> int:
    return parse_amount(text)


@pytest.mark.parametrize(
    ("qty", "order_type", "refusal"),
    [
        ("0.002", MARKET, None),
        ("0.001", MARKET, "step_size"),  # the step of all orders, not of market orders
        ("0.001", LIMIT, None),
        ("0.004", MARKET, None),
        ("0.006", MARKET, None),
        ("0.008", MARKET, "qty_max"),
        ("0.008", LIMIT, None),
    ],
)
def test_market_lot_size_holds_on_top_of_lot_size(
    qty: str, order_type: str, refusal: str | None
) -> None:
    """A market order must meet its own quantity filter and the general one."""
    given_rules = rules(
        market_qty_increment="0.002", market_qty_min="0.002", market_qty_max="0.006"
    )

    assert bounds(given_rules, order_type).qty_refusal(units(qty)) == refusal


def test_market_lot_size_given_as_zero_is_off() -> None:
    """A market filter of zero, as live data has it, divides by nothing and refuses nothing."""
    given_rules = rules(
        market_qty_increment="0.00000000", market_qty_min="0.00000000", market_qty_max="0"
    )

    assert given_rules.market_bounds.qty_refusal(units("0.001")) is None
    assert given_rules.market_bounds.qty_down(units("12345.6789")) == units("12345.678")


@pytest.mark.parametrize(
    ("limit", "refusal"),
    [("0.99", "price_range"), ("1", None), ("2", None), ("2.01", "price_range")],
)
def test_limit_price_at_its_bounds_passes(limit: str, refusal: str | None) -> None:
    """The lowest and the highest price are allowed."""
    given_rules = rules(price_min="1", price_max="2")

    assert given_rules.limit_refusal(BUY, units(limit), units("1.5")) == refusal


def test_notional_of_a_market_order_has_rules_of_its_own() -> None:
    """A notional bound is skipped where the venue exempts market orders from it."""
    given_rules = rules(
        notional_min="10", notional_max="20", market_notional_min="0", market_notional_max="0"
    )
    old = rules(notional_min="10", notional_max="20")

    assert given_rules.limit_bounds.value_refusal(units("9.99")) == "min_notional"
    assert given_rules.limit_bounds.value_refusal(units("20.01")) == "notional_max"
    assert given_rules.market_bounds.value_refusal(units("9.99")) is None
    assert given_rules.market_bounds.value_refusal(units("20.01")) is None
    assert old.market_bounds.value_refusal(units("9.99")) == "min_notional"
    assert old.market_bounds.value_refusal(units("20.01")) == "notional_max"


def test_position_at_its_maximum_passes() -> None:
    """A position may reach its maximum, and not one unit more."""
    given_rules = rules(position_max="2")

    assert given_rules.position_refusal(units("0.5"), units("1.5")) is None
    assert given_rules.position_refusal(units("0.501"), units("1.5")) == "position_max"
    assert rules().position_refusal(units("1000000"), units("1000000")) is None


STEPS = st.integers(1, 5000)


@given(STEPS, st.integers(0, 5000), st.integers(0, 10**12), st.sampled_from([LIMIT, MARKET]))
def test_quantity_rounded_down_is_the_largest_that_passes(
    step: int, market_step: int, qty: int, order_type: str
) -> None:
    """The rounded quantity is the largest multiple of both steps, and passes the rules."""
    given_rules = rules(
        qty_increment=amount_text(step), market_qty_increment=amount_text(market_step)
    )
    found = bounds(given_rules, order_type).qty_down(qty)
    expected = lcm(step, market_step) if market_step and order_type == MARKET else step

    assert found <= qty
    assert found == 0 or bounds(given_rules, order_type).qty_refusal(found) is None
    assert qty - found < expected
    assert Fraction(found, expected).denominator == 1


@given(
    st.integers(1, 10**12),
    st.integers(1, 10**12),
    st.integers(0, 10 * 10**8),
    st.integers(0, 10 * 10**8),
    st.sampled_from([BUY, SELL]),
)
def test_percent_band_equals_fractions(
    price: int, reference: int, down: int, up: int, side: str
) -> None:
    """The price band agrees with exact fractions; a band of zero is off."""
    prefix = "bid" if side == BUY else "ask"
    given_rules = rules(
        price_increment="0.00000001",
        **{f"{prefix}_percent_down": amount_text(down), f"{prefix}_percent_up": amount_text(up)},
    )
    ratio = Fraction(price, reference)
    is_low = down > 0 and ratio < Fraction(down, 10**8)
    is_high = up > 0 and ratio > Fraction(up, 10**8)

    refusal = given_rules.limit_refusal(side, price, reference)

    assert refusal == ("price_band" if is_low or is_high else None)


# As recorded from Binance, 2021-10-11.
BTCUSDT = Instrument(
    symbol="BTCUSDT",
    base_asset="BTC",
    quote_asset="USDT",
    status="TRADING",
    price_increment="0.01000000",
    qty_increment="0.00001000",
    qty_min="0.00001000",
    qty_max="9000.00000000",
    notional_min="10.00000000",
    origin="exchange",
    market_qty_max="100.05381873",
)


def test_rules_of_a_recorded_symbol_are_hundred_millionths() -> None:
    """Quantities are multiples of their increment; a maximum is never above what is allowed."""
    found = OrderRules.of(BTCUSDT)

    assert (found.qty_step, found.qty_min) == (1_000, 1_000)
    assert found.limit_bounds.qty_max == units("9000")
    assert found.market_bounds.qty_max == units("100.05381")
    assert found.limit_bounds.notional_min == units("10")
    assert found.limit_bounds.notional_max is None
    assert (found.price_text(units("61837.63")), found.qty_text(units("0.02"))) == (
        "61837.63",
        "0.02000",
    )


def test_rules_given_as_zero_are_off() -> None:
    """A rule of zero is off, as Binance writes a rule that does not apply."""
    found = OrderRules.of(
        replace(BTCUSDT, price_increment="0.00000000", qty_max="0.00000000", notional_min="0")
    )

    assert (found.price_step, found.price_places) == (1, 8)
    assert found.limit_bounds.qty_max is None
    assert found.limit_bounds.notional_min == 0
    assert found.trigger_refusal(12_345_678) is None


def test_maximum_below_one_increment_allows_nothing() -> None:
    """A maximum that no quantity meets forbids every order; it is not taken for an off rule."""
    tight = OrderRules.of(replace(BTCUSDT, qty_max="0.00000900", market_qty_max="0.00000001"))

    for each in (tight.limit_bounds, tight.market_bounds):
        assert each.qty_max == 0
        assert each.qty_refusal(each.qty_step) == QTY_MAX
        assert each.qty_down(10**12) == 0


@pytest.mark.parametrize("change", ["price_increment", "qty_increment"])
@pytest.mark.parametrize("text", ["-0.01", "1e-5", ""])
def test_increment_that_is_no_decimal_above_zero_is_refused(change: str, text: str) -> None:
    """An increment below zero, with an exponent, or of no digits is refused."""
    with pytest.raises(NumberError):
        OrderRules.of(replace(BTCUSDT, **{change: text}))
