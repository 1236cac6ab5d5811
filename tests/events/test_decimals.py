"""Exact decimals, checked against `fractions`: only named functions round."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.events import decimals as numbers
from minibot.events import money
from minibot.events.decimals import (
    NumberError,
    Scale,
    decimal_text,
    decimal_texts,
    div_down,
    div_up,
    format_fixed,
    mul_div_down,
    mul_div_up,
    parse_fixed,
    round_down,
    round_up,
    unpadded,
)
from minibot.events.money import UNIT, cost_up, parse_amount, proceeds_down
from minibot.kernel import canonical

INCREMENTS = (
    "1",
    "0.01",
    "0.01000000",
    "0.00000001",
    "0.5",
    "5.00000000",
    "0.00250000",
    "10",
    "25",
)
DECIMALS = st.builds(
    lambda sign, whole, fraction: f"{sign}{whole}{'.' + fraction if fraction else ''}",
    st.sampled_from(["", "-"]),
    st.integers(0, 10**12),
    st.text("0123456789", max_size=10),
)
NO_NUMBERS = (
    *("", ".", "-", "1.", ".5", "-.5", "+1", "--1", "1.2.3", "1.-2", "1e3", "1E3", "1_0", "0x10"),
    *("NaN", "Infinity", "inf", " 1", "1 ", "1\n", "1,5", "\u0661", "1.\u0662", "\u00b2"),
    *("1" * 50, "0." + "1" * 19),
)


@given(DECIMALS, st.sampled_from(INCREMENTS))
def test_scale_parse_down_and_up_are_the_neighbours(text: str, increment: str) -> None:
    """The named roundings give floor and ceiling of the exact number of units."""
    scale = Scale.of(increment)
    units = Fraction(text) / Fraction(increment)

    assert scale.parse_down(text) == math.floor(units)
    assert scale.parse_up(text) == math.ceil(units)


@pytest.mark.parametrize(
    ("increment", "places"), [("0.01000000", 2), ("5.00000000", 0), ("0.00250000", 4)]
)
def test_scale_has_the_places_of_its_increment(increment: str, places: int) -> None:
    """Trailing zeros of an increment are not places."""
    assert Scale.of(increment).places == places


@pytest.mark.parametrize("increment", ["0", "0.000", "-0.01", "", "x"])
def test_scale_of_no_increment_is_refused(increment: str) -> None:
    """An increment of zero or less is refused."""
    with pytest.raises(NumberError):
        Scale.of(increment)


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_parse_of_what_is_no_plain_decimal_is_refused(text: str) -> None:
    """Exponents, plus signs, blanks, separators, foreign digits and huge numbers are refused."""
    scale = Scale.of("0.01")
    for parse in (scale.parse_down, scale.parse_up, parse_amount):
        with pytest.raises(NumberError):
            parse(text)


def test_parse_amount_refuses_a_ninth_place_and_takes_trailing_zeros() -> None:
    """A ninth decimal place is refused; trailing zeros are accepted."""
    assert parse_amount("1.234567890000") == 123456789
    with pytest.raises(NumberError):
        parse_amount("1.234567891")


@given(st.integers(-(10**20), 10**20), st.integers(0, 18))
def test_format_fixed_reads_back(value: int, places: int) -> None:
    """Formatting and parsing with the same places are inverse."""
    assert parse_fixed(format_fixed(value, places), places) == value


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_named_roundings_never_cross_the_value(value: int, step: int) -> None:
    """Rounding down is at or below the value, rounding up at or above, by less than one step."""
    assert round_down(value, step) <= value <= round_up(value, step)
    assert value - round_down(value, step) < step
    assert round_up(value, step) - value < step
    assert div_down(value, step) == math.floor(Fraction(value, step))
    assert div_up(value, step) == math.ceil(Fraction(value, step))


# Around the limit of a machine word, and of exact floats.
FACTORS = st.one_of(
    st.integers(-(10**12), 10**12),
    st.builds(lambda power, beside: 2**power + beside, st.integers(20, 70), st.integers(-2, 2)),
)


@given(FACTORS, FACTORS, st.one_of(st.integers(1, 10**12), st.integers(2**61, 2**65)))
def test_product_over_a_third_number_is_exact_whatever_its_size(
    value: int, times: int, by: int
) -> None:
    """Products within and beyond a machine word are divided alike.

    The paths of interpreted and of compiled code are both tested here.
    """
    down, up = math.floor(Fraction(value * times, by)), math.ceil(Fraction(value * times, by))
    assert (mul_div_down(value, times, by), mul_div_up(value, times, by)) == (down, up)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbers, "IS_INTERPRETED", False)
        assert (mul_div_down(value, times, by), mul_div_up(value, times, by)) == (down, up)


@given(st.integers(0, 10**12), st.integers(0, 10**16))
def test_cost_and_proceeds_are_rounded_alike_interpreted_and_compiled(qty: int, price: int) -> None:
    """Cost and proceeds agree between the interpreted short path and the compiled long one."""
    short = cost_up(qty, price), proceeds_down(qty, price)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(money, "IS_INTERPRETED", False)
        patch.setattr(numbers, "IS_INTERPRETED", False)
        assert (cost_up(qty, price), proceeds_down(qty, price)) == short
    assert short == (
        math.ceil(Fraction(qty * price, UNIT)),
        math.floor(Fraction(qty * price, UNIT)),
    )


@given(st.floats(allow_nan=False, allow_infinity=False, width=64), st.integers(0, 12))
def test_decimal_text_is_the_nearest_decimal(value: float, places: int) -> None:
    """An indicator's text is within half a unit of its last place, and never minus zero."""
    text = decimal_text(value, places)

    assert abs(Fraction(text) - Fraction(value)) <= Fraction(1, 2 * 10**places)
    assert not (text.startswith("-") and Fraction(text) == 0)


NEAR_ZERO = st.floats(-1.0, 1.0) | st.floats(allow_nan=False, allow_infinity=False, width=64)


@given(st.lists(NEAR_ZERO, min_size=1, max_size=6), st.integers(0, 12))
def test_decimal_texts_are_those_of_one_value_each(values: list[float], places: int) -> None:
    """Written together, values read as alone, also those that are rounded to zero."""
    assert decimal_texts(tuple(values), places) == [decimal_text(value, places) for value in values]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_decimal_text_of_no_number_is_refused(value: float) -> None:
    """NaN and infinity are refused, so they never enter an event."""
    with pytest.raises(NumberError):
        decimal_text(value, 2)
    with pytest.raises(NumberError):
        decimal_texts((1.0, value), 2)


@pytest.mark.parametrize("value", [-(2**63), -(2**63) - 1, 0, 2**64 - 1, 2**64, 10**28])
def test_amount_fits_canonical_json_and_comes_back(value: int) -> None:
    """An amount is an integer as far as canonical JSON has any, and text beyond."""
    written = money.amount_json(value)

    assert int(canonical.decode(canonical.encode({"amount": written}))["amount"]) == value
    assert (type(written) is int) == (-(2**63) <= value < 2**64)


@pytest.mark.parametrize(
    ("text", "short"), [("1.50", "1.5"), ("100.00", "100"), ("100", "100"), ("0.00000000", "0")]
)
def test_unpadded_leaves_out_zeros_behind_the_point_alone(text: str, short: str) -> None:
    """Zeros before the point stay."""
    assert unpadded(text) == short
