"""Factors of one symbol, against figures computed by hand."""

import random

import pytest

from minibot.strategies.scanner.factors import (
    BARS_MIN,
    factors_of,
    momentum,
    quality,
    technical,
    volume,
)
from minibot.strategies.scanner.orthogonal import dot, orthogonal, standardised
from tests.strategies.scanner_bars import bars


def test_momentum_of_four_known_closes_is_their_weighted_change() -> None:
    """Changes of 10, 25, 100 and 0 % weigh 0.20, 0.35, 0.30 and 0.15: 2 + 8.75 + 30 + 0."""
    closes = [1.0] * BARS_MIN
    closes[-1] = 200.0
    closes[-1 - 4] = 200.0 / 1.1
    closes[-1 - 16] = 160.0
    closes[-1 - 48] = 100.0
    closes[-1 - 96] = 200.0

    assert momentum(closes) == pytest.approx(40.75, abs=1e-9)


def test_technical_of_known_closes_is_strength_and_place_in_the_band() -> None:
    """The last of 14 changes rises by 3, one falls by 1: RSI 75, so 0.5.

    Of 20 closes 18 are 100, one 99, one 102: mean 100.05, variance (18 * 0.0025 + 1.1025 + 3.8025)
    / 20 = 0.2475, deviation 0.497494; 1.95 / 0.9949874 = 1.959824.
    """
    closes = [100.0] * BARS_MIN
    closes[-2] = 99.0
    closes[-1] = 102.0

    assert technical(closes) == pytest.approx(0.5 + 1.959824, abs=1e-6)


def test_technical_without_movement_is_zero() -> None:
    """No side is stronger, and there is no band."""
    assert technical([0.1] * BARS_MIN) == 0.0


def test_volume_of_a_doubled_hour_is_its_share_of_the_day_less_one() -> None:
    """92 bars of 10 and 4 of 34: 34 over a mean of (920 + 136) / 96 = 11 is 3.0909."""
    quotes = [10.0] * 92 + [34.0] * 4

    assert volume(quotes, 1056.0) == pytest.approx(34.0 / 11.0 - 1.0, abs=1e-12)


def test_quality_of_a_path_with_one_step_back_is_its_efficiency() -> None:
    """47 steps up and one down make 46 of 48; a straight path makes 1, none makes 0."""
    straight = [100.0 + at for at in range(BARS_MIN)]
    bent = [*straight[:-1], straight[-2] - 1.0]

    assert quality(bent) == pytest.approx(46.0 / 48.0, abs=1e-12)
    assert quality(straight) == pytest.approx(1.0, abs=1e-12)
    assert quality([5.0] * BARS_MIN) == 0.0


def test_factors_without_a_trade_are_none() -> None:
    """A day without volume gives no figure; it is not the figure 0."""
    assert factors_of(bars([100.0] * BARS_MIN, volume=0.0)) is None


def test_figures_for_filters_are_those_of_the_bars() -> None:
    """96 bars of 100 at 50 are 480,000; each bar is 0.1 % wide; the close has not moved."""
    found = factors_of(bars([50.0] * BARS_MIN))

    assert found is not None
    assert found.quote_volume == pytest.approx(480_000.0)
    assert found.range_bps == pytest.approx(10.0, abs=1e-9)
    assert found.change_percent == 0.0


def test_standardised_cuts_what_lies_beyond_three_deviations() -> None:
    """One of 100 symbols stands ten deviations away; equal values stand at 0, without noise."""
    values = [0.0] * 99 + [1.0]

    assert standardised(values)[-1] == 3.0
    assert standardised([0.1] * 7) == [0.0] * 7
    assert standardised([1.0, 3.0]) == [-1.0, 1.0]


@pytest.mark.row("C-09")
def test_momentum_core_after_orthogonalisation_is_bit_equal() -> None:
    """The protected factor is the very list that went in."""
    columns = _columns(200)
    before = [one.hex() for one in columns[0]]

    found = orthogonal(columns)

    assert found[0] is columns[0]
    assert [one.hex() for one in found[0]] == before


@pytest.mark.row("C-10")
def test_residual_factors_of_random_data_share_nothing() -> None:
    """Pairwise dot products stay below 1e-9, also with two factors that nearly say the same."""
    columns = _columns(400)
    columns[2] = [one + 1e-6 * other for one, other in zip(columns[1], columns[2], strict=True)]

    found = orthogonal(columns)

    for at, one in enumerate(found):
        assert all(abs(dot(one, other)) < 1e-9 for other in found[:at])


@pytest.mark.row("C-10")
def test_gram_schmidt_takes_each_factor_from_those_after_it() -> None:
    """(1, 1) loses its part along (1, 0); a third in two dimensions has nothing left."""
    assert orthogonal([[1.0, 0.0], [1.0, 1.0], [3.0, 4.0]]) == [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]


def _columns(symbols: int) -> list[list[float]]:
    chance = random.Random(7)
    common = [chance.gauss(0.0, 1.0) for _ in range(symbols)]
    return [standardised([one + chance.gauss(0.0, 1.0) for one in common]) for _ in range(4)]
