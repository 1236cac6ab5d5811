"""Figures for people: both sides of each bound at which the form changes."""

from __future__ import annotations

import pytest

from minibot.report.figures import duration, long_duration, money, price

SECOND, HOUR = 1_000, 3_600_000


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-1, "0.0 s"),
        (60 * SECOND - 1, "59.9 s"),
        (60 * SECOND, "1 min 0 s"),
        (HOUR - 1, "59 min 59 s"),
        (HOUR, "1 h 0 min"),
        (48 * HOUR - 1, "47 h 59 min"),
        (48 * HOUR, "2 d 0 h"),
        (49 * HOUR, "2 d 1 h"),
    ],
)
def test_duration_is_told_in_the_units_that_fit_it(ms: int, text: str) -> None:
    """Seconds below a minute, minutes below an hour, days from two days on."""
    assert long_duration(ms) == text
    assert duration(ms) == (text if ms < 48 * HOUR else f"{ms // HOUR} h 0 min")


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "-"),
        ("0", "0.00"),
        ("-0.000", "0.00"),
        ("0.00001", "0.00001"),
        ("-0.00001", "-0.00001"),
        ("0.005", "0.005"),
        ("0.0051", "0.01"),
        ("-1234.5", "-1,234.50"),
    ],
)
def test_amount_never_reads_as_zero_unless_it_is(amount: str | None, text: str) -> None:
    """A tiny loss keeps its digits; nothing has two decimals and no sign."""
    assert money(amount) == text


@pytest.mark.parametrize(
    ("exact", "text"),
    [
        ("61837.64000000", "61,837.64"),
        ("0.19969000", "0.19969"),
        ("0.123456789", "0.12345679"),
        ("123456.7891", "123,456.789"),
        ("2500", "2,500.00"),
    ],
)
def test_price_has_nine_digits_and_no_zeros_beyond_two_decimals(exact: str, text: str) -> None:
    """An average of fills is shortened; a price as the venue wrote it stays."""
    assert price(exact) == text
