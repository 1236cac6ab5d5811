"""Warm-up by interval: one number for all, or a table."""

from __future__ import annotations

import pytest

from minibot.events.intervals import WarmupBars, warmup_of, warmup_raised

TABLE = {"1m": 200, "4h": 180}


@pytest.mark.parametrize(
    ("warmup", "interval", "bars"),
    [(60, "1m", 60), (60, "4h", 60), (TABLE, "1m", 200), (TABLE, "4h", 180), (TABLE, "1h", 200)],
)
def test_warmup_is_one_number_or_that_of_the_interval(
    warmup: WarmupBars, interval: str, bars: int
) -> None:
    """An interval that a table leaves out is warmed up as long as the longest in it."""
    assert warmup_of(warmup, interval) == bars


@pytest.mark.parametrize(
    ("warmup", "intervals", "raised"),
    [
        (60, ("1m",), 190),
        (190, ("1m",), 190),
        (60, (), 60),
        (TABLE, ("4h", "1m", "1h"), {"1m": 200, "4h": 190}),
        ({"1m": 100}, ("1m", "1h"), {"1m": 190, "1h": 190}),
    ],
)
def test_warmup_is_raised_where_it_is_too_short_alone(
    warmup: WarmupBars, intervals: tuple[str, ...], raised: WarmupBars
) -> None:
    """A need of 190 bars leaves what is longer, and intervals that nobody named, as they are."""
    assert warmup_raised(warmup, intervals, 190) == raised
