"""VADR against hand-computed numbers and its definition, over whole series."""

from __future__ import annotations

import math
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.features.lossless import optional_text
from minibot.features.vadr import SPAN_MS, Vadr
from minibot.kernel.canonical import decode, encode

DAY_MS = 86_400_000
HALF = DAY_MS // 2
Row = tuple[float, float, float, float]
PRICE = st.floats(min_value=0.01, max_value=1e6)
ROWS = st.lists(st.tuples(PRICE, PRICE, PRICE, PRICE), min_size=1, max_size=40)
# Readings of 0.2 * 2, 0.1 * 10 and 0.4 * 5.
DAYS: list[Row] = [(110, 90, 100, 4), (105, 95, 100, 100), (120, 80, 100, 25)]


def fed(vadr: Vadr, rows: list[Row], first: int = 0) -> Vadr:
    """Update with bars that follow each other."""
    for place, row in enumerate(rows, start=first):
        vadr.update(place * vadr.length_ms, *row)
    return vadr


def values(vadr: Vadr, rows: list[Row], first: int = 0) -> list[str | None]:
    """Return every bit of the value after each of some bars."""
    return [optional_text(fed(vadr, [row], place).value) for place, row in enumerate(rows, first)]


@pytest.mark.row("C-16", "U-02")
def test_vadr_of_days_is_that_reckoned_by_hand() -> None:
    """Readings 0.4, 1 and 2: their median is 1, that of the last two 1.5."""
    assert fed(Vadr(DAY_MS, 3), DAYS).value == 2.0
    assert fed(Vadr(DAY_MS, 2), DAYS).value == 2.0 / 1.5
    assert SPAN_MS == DAY_MS


def test_vadr_takes_range_and_volume_of_all_bars_of_24_hours() -> None:
    """Two half days: highest 120, lowest 90, close 110, volume 9 + 16; (30 / 110) * 5."""
    one = fed(Vadr(HALF, 1), [(120, 100, 105, 9), (115, 90, 110, 16)])
    two = fed(Vadr(HALF, 2), [(120, 100, 105, 9), (115, 90, 110, 16), (111, 109, 110, 9)])

    assert (one.value, one.warmup) == (1.0, 2)
    first, second = 30 / 110 * 5, 25 / 110 * 5
    assert two.value == second / ((first + second) / 2)


def test_vadr_is_frozen_before_its_last_reading() -> None:
    """The count of readings begins with 24 hours of bars; the value stands from the last one on."""
    vadr = Vadr(HALF, 3)
    found = []
    for place in range(5):
        vadr.update(place * HALF, 110.0, 90.0, 100.0, 1.0)
        found.append((vadr.count, vadr.is_ready, vadr.value))

    assert found == [
        (0, False, None),
        (1, False, None),
        (2, False, None),
        (3, True, 1.0),
        (3, True, 1.0),
    ]
    assert vadr.warmup == 4


def test_hole_begins_anew_and_a_bar_seen_before_is_left_out() -> None:
    """A missing bar leaves no 24 hours behind it; the same bar twice is one."""
    vadr = fed(Vadr(DAY_MS, 2), DAYS)
    vadr.update(2 * DAY_MS, 999.0, 1.0, 100.0, 1.0)
    again = vadr.value
    vadr.update(4 * DAY_MS, 110.0, 90.0, 100.0, 4.0)

    assert again == fed(Vadr(DAY_MS, 2), DAYS).value
    assert (vadr.count, vadr.value) == (1, None)


def test_market_that_stands_still_has_no_value() -> None:
    """A median of zero divides nothing, and a close of zero neither."""
    still = fed(Vadr(DAY_MS, 2), [(100, 100, 100, 5)] * 2)
    silent = fed(Vadr(DAY_MS, 2), [(110, 90, 100, 0)] * 2)
    worthless = fed(Vadr(DAY_MS, 2), [(1, 0, 0, 5)] * 2)

    for vadr in (still, silent, worthless):
        assert (vadr.is_ready, vadr.value) == (True, None)


@pytest.mark.parametrize(("length_ms", "readings"), [(0, 3), (DAY_MS, 0), (7 * 60_000_000, 3)])
def test_bars_that_make_no_day_and_no_readings_are_refused(length_ms: int, readings: int) -> None:
    """Lengths and counts below one, and lengths that do not divide a day, are refused."""
    with pytest.raises(ValueError, match=r"length_ms|readings"):
        Vadr(length_ms, readings)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, bars=st.sampled_from([1, 2, 3, 4]), readings=st.integers(1, 6))
def test_vadr_equals_its_definition_over_the_whole_series(
    rows: list[Row], bars: int, readings: int
) -> None:
    """Each value is the reading over the median, recomputed from all bars."""
    length_ms = DAY_MS // bars
    vadr, all_readings = Vadr(length_ms, readings), []
    for place, row in enumerate(rows):
        vadr.update(place * length_ms, *row)
        day = rows[max(0, place + 1 - bars) : place + 1]
        if len(day) == bars:
            width = max(one[0] for one in day) - min(one[1] for one in day)
            all_readings.append(width / row[2] * math.sqrt(math.fsum(one[3] for one in day)))
        if place + 1 < vadr.warmup:
            assert vadr.value is None
            continue
        usual = median(all_readings[-readings:])
        if usual <= 0:
            assert vadr.value is None
        else:
            assert vadr.value == pytest.approx(all_readings[-1] / usual, rel=1e-9, abs=1e-9)


@pytest.mark.row("C-13")
@settings(max_examples=40, deadline=None)
@given(rows=ROWS, cut=st.integers(0, 20), readings=st.integers(1, 5))
def test_vadr_restored_goes_on_bit_by_bit_and_knows_no_future(
    rows: list[Row], cut: int, readings: int
) -> None:
    """A restored VADR gives the same bits; bars to come change none of those before."""
    whole, parts = Vadr(HALF, readings), Vadr(HALF, readings)
    cut = min(cut, len(rows))
    found = values(whole, rows)
    before = values(parts, rows[:cut])
    restored = Vadr.from_state(decode(encode(parts.state())))
    after = values(restored, rows[cut:], cut)

    assert found == before + after
    assert encode(restored.state()) == encode(whole.state())
    assert (restored.count, restored.warmup) == (whole.count, whole.warmup)


@pytest.mark.row("C-88", "U-02")
def test_vadr_of_two_venues_told_in_turn_is_that_of_each_alone() -> None:
    """Two venues in one process share nothing: each value equals that of its own run."""
    other: list[Row] = [(130, 70, 100, 9), (104, 96, 100, 4), (101, 99, 100, 1)]
    first, second = Vadr(DAY_MS, 3), Vadr(DAY_MS, 3)
    for place, (one, two) in enumerate(zip(DAYS, other, strict=True)):
        first.update(place * DAY_MS, *one)
        second.update(place * DAY_MS, *two)

    assert optional_text(first.value) == optional_text(fed(Vadr(DAY_MS, 3), DAYS).value)
    assert optional_text(second.value) == optional_text(fed(Vadr(DAY_MS, 3), other).value)
    assert first.value != second.value
