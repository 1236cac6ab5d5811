"""Rules of a symbol as scaled integers, and exact money."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from minibot.accounting.order_rules import OrderRules
from minibot.events.business_codes import QTY_MAX
from minibot.events.decimals import QUOTE_PLACES, NumberError
from minibot.events.instrument import InstrumentRules
from minibot.events.model import Instrument

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


def test_rules_are_scaled_by_the_increments() -> None:
    """Quantities count qty increments, money hundred-millionths of the quote."""
    rules = InstrumentRules.of(BTCUSDT)

    assert (rules.qty_min, rules.qty_max) == (1, 900_000_000)
    assert rules.market_qty_max == 10_005_381  # rounded down: never above what is allowed
    assert rules.notional_min == 10 * 10**QUOTE_PLACES
    assert rules.notional_max is None
    assert rules.price_units("61837.63000000") == 6_183_763
    assert rules.qty_text(rules.qty_units("0.02000000")) == "0.02000"


def test_rules_given_as_zero_are_off() -> None:
    """A rule of zero is off, as Binance writes a rule that does not apply."""
    rules = InstrumentRules.of(
        replace(BTCUSDT, price_increment="0.00000000", qty_max="0.00000000", notional_min="0")
    )

    assert rules.price_increment_is_off
    assert not rules.qty_increment_is_off
    assert rules.qty_max is None
    assert rules.notional_min == 0
    assert rules.price_units("0.12345678") == 12_345_678


def test_maximum_below_one_increment_allows_nothing() -> None:
    """A maximum that no quantity meets forbids every order; it is not taken for an off rule."""
    tight = replace(BTCUSDT, qty_max="0.00000900", market_qty_max="0.00000001")
    rules = InstrumentRules.of(tight)

    assert (rules.qty_max, rules.market_qty_max) == (0, 0)
    for bounds in (OrderRules.of(tight).limit_bounds, OrderRules.of(tight).market_bounds):
        assert bounds.qty_refusal(bounds.qty_step) == QTY_MAX
        assert bounds.qty_down(10**12) == 0


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_notional_equals_exact_arithmetic(qty: int, price: int) -> None:
    """Notional equals exact arithmetic to the last unit."""
    rules = InstrumentRules.of(BTCUSDT)
    exact = Fraction(rules.qty_text(qty)) * Fraction(rules.price_text(price)) * 10**QUOTE_PLACES

    assert rules.notional(qty, price) == exact


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_notional_with_too_many_places_is_refused(qty: int, price: int) -> None:
    """A notional that could have more than eight places is refused, not rounded."""
    rules = InstrumentRules.of(replace(BTCUSDT, price_increment="0.00000001"))
    exact = Fraction(rules.qty_text(qty)) * Fraction(rules.price_text(price)) * 10**QUOTE_PLACES

    if exact.denominator == 1:
        assert rules.notional(qty, price) == exact
    else:
        with pytest.raises(NumberError):
            rules.notional(qty, price)


@pytest.mark.parametrize("text", ["0.000001", "1e-5", "-0.000005"])
def test_qty_that_is_no_multiple_is_refused(text: str) -> None:
    """A quantity that is no multiple of its increment is refused, not rounded."""
    with pytest.raises(NumberError):
        InstrumentRules.of(BTCUSDT).qty_units(text)
