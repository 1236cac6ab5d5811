"""Exact numbers: decimal strings outside, scaled integers inside.

A plain decimal has digits, perhaps a point between two of them and perhaps a minus sign; without
the sign it has at most `DIGITS_MAX` characters, behind the point at most `PLACES_MAX` digits. "007"
and "-0" are read here; contracts refuse the former, and the latter where a field takes no sign.
Parsing and formatting are integer arithmetic on digits; values that would need rounding are
refused. Only functions that are named for it round. Floats are accepted by `decimal_text` and
`decimal_texts` alone, which give indicators their fixed number of places.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import isfinite
from types import FunctionType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_extensions import i64

PLACES_MAX: Final = 18
DIGITS_MAX: Final = 40
"""Characters of a plain decimal without its sign; a point counts."""
POWERS: Final[tuple[int, ...]] = tuple(10**places for places in range(DIGITS_MAX + 1))
"""Powers of ten as integers, by exponent."""

# The largest integer that mypyc holds without an object; a divisor below it fits an `i64`.
WORD_MAX: Final = (1 << 62) - 1
# Bound of a product in an `i64`, tested as a float; rounding still leaves the product below 2**63.
PRODUCT_MAX: Final = 9e18


class NumberError(ValueError):
    """A text is not a plain decimal number, or a value does not fit its increment exactly."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Scale: gives decimal strings in whole units of one increment.

    `step` is the increment as an integer at 10**-places; `increment` its shortest text.
    """

    increment: str
    places: int
    step: int

    @classmethod
    def of(cls, increment: str) -> Scale:
        """Return the scale of an increment such as `"0.01000000"`.

        Raises:
            NumberError: The increment is not a plain decimal, or not above zero.
        """
        step, places = _digits(increment)
        if step <= 0:
            raise NumberError(f"increment {increment!r}: expected above zero")
        while places and step % 10 == 0:
            step, places = step // 10, places - 1
        return cls(format_fixed(step, places), places, step)

    def parse_down(self, text: str) -> int:
        """Return the largest number of units that is not above the value."""
        value, places = _digits(text)
        return _scaled_down(value, places, self.places) // self.step

    def parse_up(self, text: str) -> int:
        """Return the smallest number of units that is not below the value."""
        value, places = _digits(text)
        return -(_scaled_down(-value, places, self.places) // self.step)


def parse_fixed(text: str, places: int) -> int:
    """Return the value of a decimal string times 10**places, exactly.

    Raises:
        NumberError: It is not a plain decimal, or more than `places` significant places.
    """
    value, found = _digits(text)
    if found <= places:
        return value * POWERS[places - found]
    value, rest = divmod(value, POWERS[found - places])
    if rest:
        raise NumberError(f"{text!r} has more than {places} places")
    return value


def format_fixed(value: int, places: int) -> str:
    """Return the decimal string of `value` times 10**-places, with exactly that many places."""
    if value < 0:
        return "-" + format_fixed(-value, places)
    digits = str(value)
    if not places:
        return digits
    if len(digits) <= places:
        digits = digits.zfill(places + 1)
    return f"{digits[:-places]}.{digits[-places:]}"


def unpadded(text: str) -> str:
    """Return a decimal string without the zeros at its end."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def div_down(numerator: int, denominator: int) -> int:
    """Return the quotient rounded towards minus infinity; the denominator is above zero."""
    return numerator // denominator


def div_up(numerator: int, denominator: int) -> int:
    """Return the quotient rounded towards plus infinity; the denominator is above zero."""
    return -(-numerator // denominator)


# Only compiled code saves an object by a machine word; interpreted, testing whether a product fits
# one costs more than the product.
IS_INTERPRETED: Final = isinstance(div_down, FunctionType)


def product(value: int, times: int) -> int:
    """Return value * times; see `mul_div_down`."""
    if IS_INTERPRETED:
        return value * times
    if value > 0 and times > 0 and 1.0 * value * times < PRODUCT_MAX:
        left: i64 = value
        right: i64 = times
        return left * right
    return value * times


def mul_div_down(value: int, times: int, by: int) -> int:
    """Return value * times / by rounded towards minus infinity; `by` is above zero.

    A product that fits a machine word is computed in one, which compiled code does without making
    an object; others are just as exact.
    """
    if IS_INTERPRETED:
        return value * times // by
    if value > 0 and times > 0 and by < WORD_MAX and 1.0 * value * times < PRODUCT_MAX:
        left: i64 = value
        right: i64 = times
        parts: i64 = by
        return left * right // parts
    if value >= by:  # Whole multiples of `by` leave a smaller product for the rest.
        return value // by * times + mul_div_down(value % by, times, by)
    return value * times // by


def mul_div_up(value: int, times: int, by: int) -> int:
    """Return value * times / by rounded towards plus infinity; see `mul_div_down`."""
    if IS_INTERPRETED:
        return (value * times + by - 1) // by
    if value > 0 and times > 0 and by < WORD_MAX and 1.0 * value * times < PRODUCT_MAX:
        left: i64 = value
        right: i64 = times
        parts: i64 = by
        return -(-(left * right) // parts)
    if value >= by:
        return value // by * times + mul_div_up(value % by, times, by)
    return -(-value * times // by)


def round_down(value: int, step: int) -> int:
    """Return the largest multiple of `step` that is not above `value`."""
    return value // step * step


def round_up(value: int, step: int) -> int:
    """Return the smallest multiple of `step` that is not below `value`."""
    return -(-value // step) * step


def decimal_text(value: float, places: int) -> str:
    """Return a float of an indicator as a decimal string with a fixed number of places.

    The nearest decimal, ties to even on the exact binary value; never "-0.00".

    Raises:
        NumberError: Not a finite number.
    """
    if not isfinite(value):
        raise NumberError(f"{value!r} is not a finite number")
    text = _pattern(1, places) % value
    if text[0] == "-" and not text.strip("-0."):
        return text[1:]
    return text


def decimal_texts(values: tuple[float, ...], places: int) -> list[str]:
    """Return several floats, each as `decimal_text` writes it, in half of the time.

    Raises:
        NumberError: One of them is not a finite number.
    """
    joined = _pattern(len(values), places) % values
    if "n" in joined or _pattern(1, places) % -0.0 in joined:  # No number, or a zero with a sign.
        return [decimal_text(value, places) for value in values]
    return joined.split(" ")


@cache
def _pattern(count: int, places: int) -> str:
    """Return the format of floats, which takes two thirds of an f-string's time."""
    return " ".join([f"%.{places}f"] * count)


def _digits(text: str) -> tuple[int, int]:
    """Return all digits as one integer, and how many of them come after the point."""
    sign = 1
    body = text
    if text.startswith("-"):
        sign, body = -1, text[1:]
    whole, point, fraction = body.partition(".")
    if (
        not body.isascii()
        or not whole.isdigit()
        or (point and not fraction.isdigit())
        or len(body) > DIGITS_MAX
        or len(fraction) > PLACES_MAX
    ):
        raise NumberError(f"{text!r} is not a plain decimal number")
    return sign * int(whole + fraction), len(fraction)


def _scaled_down(value: int, places: int, wanted: int) -> int:
    if places <= wanted:
        return value * POWERS[wanted - places]
    return value // POWERS[places - wanted]
