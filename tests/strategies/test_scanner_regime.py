"""Regime and weights: each class, and the times at which they may change."""

from typing import Any

import pytest

from minibot.cores.closed_bar import ClosedBar
from minibot.cores.core_profile import MIXED, ScannerSection
from minibot.events.intervals import REGIME_INTERVAL
from minibot.strategies.scanner.regime import (
    CHOPPY,
    HIGHVOL,
    REGIME_BARS_MIN,
    REGIME_MS,
    TRENDING,
    WEIGHTS,
    Bounds,
    Regime,
    boundary,
    regime_of,
)
from minibot.strategies.scanner.scanner import Scanner
from minibot.strategies.scanner.scans import settings_of
from minibot.strategies.scanner.settings import ScannerSettings
from tests.strategies.scanner_bars import MIDNIGHT, bars

UP = [100.0 * 1.001**at for at in range(REGIME_BARS_MIN)]
QUIET = [100.01 if at % 2 else 100.0 for at in range(REGIME_BARS_MIN)]
WILD = [102.0 if at % 2 else 100.0 for at in range(REGIME_BARS_MIN)]
# Above its mean by one jump, then falling bar by bar.
FALLING = [100.0] * (REGIME_BARS_MIN - 7) + [120.0 - at for at in range(7)]


@pytest.mark.row("C-104")
@pytest.mark.parametrize(
    ("closes", "name"), [(UP, TRENDING), (QUIET, CHOPPY), (WILD, HIGHVOL), (FALLING, MIXED)]
)
def test_regime_of_each_class_is_recognised(closes: list[float], name: str) -> None:
    """A rise trends; a flat market is choppy or highly volatile; contradiction is mixed."""
    found = regime_of([closes] * 3, 0, 0, Bounds())

    assert found.name == name
    assert found.weights == WEIGHTS[name]


def test_measures_of_a_known_market_are_those_computed_by_hand() -> None:
    """Changes of exactly +-1 % give sqrt(0.0001 * 2190) = 46.80 % a year.

    One of two symbols stands above its mean; it rose in 6 of 6 bars, the other fell in 6 of 6.
    """
    up, down = [100.0], [100.0]
    for _ in range(REGIME_BARS_MIN - 1):
        up.append(up[-1] * 1.01)
        down.append(down[-1] * 0.99)

    found = regime_of([up, down], 1, 0, Bounds())

    assert (found.volatility, found.above, found.thrust) == ("46.80", "50.00", "50.00")
    assert (found.symbols, found.missing) == (2, 1)


def test_measure_at_its_bound_does_not_speak() -> None:
    """A share of 60 of 60 is not above it, one of 61 of 60 would be."""
    closes = [UP] * 3 + [WILD] * 2

    at_bound = regime_of(closes, 0, 0, Bounds(above="60", thrust="0"))
    below = regime_of(closes, 0, 0, Bounds(above="59.99", thrust="0"))

    assert at_bound.above == "60.00"
    assert (at_bound.name, below.name) == (MIXED, TRENDING)


@pytest.mark.row("U-05")
@pytest.mark.parametrize(
    ("bounds", "name"),
    [
        ({}, TRENDING),
        ({"regime_thrust_percent": 100}, MIXED),
        ({"regime_above_percent": 100}, MIXED),
        ({"regime_thrust_percent": 100, "regime_above_percent": 100}, CHOPPY),
        (
            {
                "regime_thrust_percent": 100,
                "regime_above_percent": 100,
                "regime_volatility_percent": 4,
            },
            HIGHVOL,
        ),
    ],
)
def test_bounds_of_the_regime_are_keys_of_the_profile(bounds: dict[str, Any], name: str) -> None:
    """A steady rise of 4.68 % a year is what the profile's bounds call it."""
    scanner = Scanner(settings_of(ScannerSection(**bounds)), ["AUSDT"])
    for bar in bars(UP, MIDNIGHT, REGIME_INTERVAL):
        scanner.take_bar("AUSDT", bar)

    assert scanner.scan(MIDNIGHT).regime.name == name


def test_regime_with_more_missing_than_known_symbols_is_mixed_and_says_so() -> None:
    """Half may be missing, more may not: then no measure is told."""
    assert regime_of([UP], 1, 0, Bounds()).name == TRENDING
    found = regime_of([UP], 2, 0, Bounds())
    assert (found.name, found.volatility, found.missing) == (MIXED, None, 2)
    assert regime_of([], 0, 0, Bounds()).name == MIXED


def test_weights_of_each_regime_add_up_to_hundred() -> None:
    """A score of one regime compares with that of another."""
    assert {sum(weights) for weights in WEIGHTS.values()} == {100}


@pytest.mark.row("C-12")
def test_regime_over_a_day_changes_at_four_hour_boundaries_alone() -> None:
    """A market that turns from rise to fall within a day: each change falls on 00, 04 ... 20."""
    scanner = Scanner(ScannerSettings(), ["AUSDT"])
    for bar in bars(UP, MIDNIGHT, REGIME_INTERVAL):
        scanner.take_bar("AUSDT", bar)
    closes = [UP[-1] * (0.98**at) for at in range(1, 7)]

    told: list[tuple[int, Regime]] = []
    for minute in range(0, 24 * 60, 5):
        now = MIDNIGHT + minute * 60_000
        if minute and minute % 240 == 0:
            close = closes[minute // 240 - 1]
            scanner.take_bar("AUSDT", _bar(now - REGIME_MS, close))
        regime = scanner.scan(now).regime
        if not told or told[-1][1].weights != regime.weights:
            told.append((now, regime))

    assert len(told) > 1
    assert told[0][1].name == TRENDING
    assert all(now % REGIME_MS == 0 and regime.since_ts == now for now, regime in told)


@pytest.mark.row("C-12")
def test_symbols_that_join_between_boundaries_change_no_weight_before_the_next() -> None:
    """Three wild markets come at 01:00 with all their bars: the trend holds until 04:00."""
    scanner = Scanner(ScannerSettings(), ["AUSDT"])
    for bar in bars(UP, MIDNIGHT, REGIME_INTERVAL):
        scanner.take_bar("AUSDT", bar)
    before = scanner.scan(MIDNIGHT).regime
    for symbol in ("BUSDT", "CUSDT", "DUSDT"):
        for bar in bars(WILD, MIDNIGHT, REGIME_INTERVAL):
            scanner.take_bar(symbol, bar)

    assert scanner.scan(MIDNIGHT + REGIME_MS - 1).regime == before
    assert scanner.scan(MIDNIGHT + REGIME_MS).regime.weights != before.weights


def test_bar_that_closes_after_the_boundary_has_no_say_in_its_regime() -> None:
    """A scanner that first scans at 05:00 decides as of 04:00, though the bar of 08:00 came."""
    early, late = Scanner(ScannerSettings(), ["AUSDT"]), Scanner(ScannerSettings(), ["AUSDT"])
    for bar in bars(UP, MIDNIGHT + REGIME_MS, REGIME_INTERVAL):
        early.take_bar("AUSDT", bar)
        late.take_bar("AUSDT", bar)
    late.take_bar("AUSDT", _bar(MIDNIGHT + REGIME_MS, 1.0))

    now = MIDNIGHT + REGIME_MS + 3_600_000
    assert late.scan(now).regime == early.scan(now).regime
    assert early.regime is not None
    assert early.regime.since_ts == boundary(now) == MIDNIGHT + REGIME_MS


def _bar(open_ts: int, close: float) -> ClosedBar:
    return ClosedBar(REGIME_INTERVAL, open_ts, close, close, close, close, 1.0, True)
