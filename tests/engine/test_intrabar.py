"""Intrabar model: worse extreme first, nothing early, stops and targets at their own price."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.backtest.sources.bars import BarSource
from minibot.backtest.sources.span import ALL, Span
from minibot.engine.intrabar import Candle
from minibot.engine.market_source import NOBODY, Root, Watch
from minibot.events.model import Bar, MarketTick
from minibot.events.unit_sizes import NEVER
from minibot.kernel.errors import ConfigError, Refusal
from tests.backtest.markets import (
    MINUTE_MS,
    START_MS,
    UNIT,
    WAITS,
    bar_profile,
    candle,
    series,
    walk,
)


class Holding:
    """Bot that holds a position with a stop and a target, and sells at either once."""

    def __init__(self, *levels: float) -> None:
        self._levels = [round(level * UNIT) for level in levels]

    def levels(self, symbol: str) -> Sequence[int]:
        """Return stop and target."""
        return self._levels

    def until(self, symbol: str) -> int:
        """Return that no level changes."""
        return NEVER

    def is_waiting(self, symbol: str) -> bool:
        """Return False, as the bot only looks."""
        return False

    def is_held(self, symbol: str) -> bool:
        """Return True."""
        return True

    def is_bidding(self, symbol: str) -> bool:
        """Return False."""
        return False

    def is_due(self, symbol: str, bid: int) -> bool:
        """Return False, as what is held was not opened here."""
        return False

    def on_entry_at_low(self) -> None:
        """Take nothing: no low opens what is held."""


def roots(bars: list[Candle], watch: Watch = NOBODY, span: Span = ALL) -> list[Root]:
    """Return everything that the bars become."""
    return list(BarSource(series(bars), bar_profile(), span).roots(watch))


def ticks(found: list[Root]) -> list[MarketTick]:
    """Return the ticks alone."""
    return [root.payload for root in found if isinstance(root.payload, MarketTick)]


def test_bar_becomes_open_low_high_close_and_only_then_the_bar() -> None:
    """A bar becomes open, low, high, close within its own time, and then the bar itself."""
    found = roots([candle(0, (100, 104, 97, 102))])
    shown = [root for root in found if isinstance(root.payload, (MarketTick, Bar))]

    assert [float(tick.ask) for tick in ticks(found)] == pytest.approx(
        [100, 97, 104, 102], abs=0.02
    )
    assert isinstance(shown[-1].payload, Bar)
    assert all(START_MS < root.ts < START_MS + MINUTE_MS for root in shown[:-1])
    assert shown[-1].ts == START_MS + MINUTE_MS
    assert [root.ts for root in shown] == sorted({root.ts for root in shown})


def test_open_comes_as_late_as_an_order_needs() -> None:
    """An order decided at a bar's close meets the next open, never that close."""
    latency_ms = bar_profile().raw["execution"]["latency_market_ms"]
    found = [root for root in roots(walk(2)) if isinstance(root.payload, MarketTick)]
    second = [root.ts for root in found if root.ts > START_MS + MINUTE_MS]

    assert second[0] - (START_MS + MINUTE_MS) >= latency_ms


def test_level_between_two_prices_is_met_at_its_own_price() -> None:
    """A stop or target between two prices becomes a tick at its own price."""
    found = roots([candle(0, (100, 104, 97, 102))], Holding(98.5, 103))

    bids = [float(tick.bid) for tick in ticks(found)]
    assert bids == [99.99, 98.5, 96.99, 98.5, 103.0, 103.99, 103.0, 101.99]


class Stairs(Holding):
    """Bot that sets its next level, one lower, once it has been asked for the former."""

    def levels(self, symbol: str) -> Sequence[int]:
        """Return the next level alone."""
        return [self._levels.pop(0)] if self._levels else []


def test_level_set_on_the_way_is_met_on_the_same_way() -> None:
    """A level that is set at another one, as the second row of a recovery, is no later level."""
    found = roots([candle(0, (100, 100, 97, 97))], Stairs(99, 98.5, 98))

    assert [float(tick.bid) for tick in ticks(found)] == [
        *(99.99, 99.0, 98.5, 98.0, 96.99),
        *(99.99, 96.99),
    ]


def test_level_beyond_the_bar_is_not_met() -> None:
    """A level beyond the bar's extremes is not reached."""
    found = roots([candle(0, (100, 104, 97, 102))], Holding(96, 105))

    assert len(ticks(found)) == 4


prices = st.tuples(*(st.integers(9_000, 11_000),) * 4)


@pytest.mark.slow
@given(first=prices, other=prices, volumes=st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_nothing_of_a_bar_is_known_before_its_time(
    first: tuple[int, ...], other: tuple[int, ...], volumes: tuple[int, int]
) -> None:
    """A bar's later content changes no earlier price, size or time."""
    past = walk(3, around=100.0)

    def with_last(raw: tuple[int, ...], volume: int) -> list[Root]:
        values = [value / 100 for value in raw]
        low, high = min(values), max(values)
        return roots([*past, candle(3, (100.0, max(high, 100), min(low, 100), values[3]), volume)])

    before = START_MS + 3 * MINUTE_MS
    one, two = with_last(first, volumes[0]), with_last(other, volumes[1])

    assert [r for r in one if r.ts <= before] == [r for r in two if r.ts <= before]
    # A bar's open is known when it opens; its size comes from the bar before.
    opens = [next(r for r in found if r.ts > before) for found in (one, two)]
    assert opens[0] == opens[1]


def test_longer_bars_are_gathered_and_come_with_the_bar_that_ends_them() -> None:
    """Fifteen minute bars make one bar of 15m, in the profile's order of intervals."""
    found = roots(walk(31))
    bars = [(root.ts, root.payload) for root in found if isinstance(root.payload, Bar)]
    longer = [(ts, bar) for ts, bar in bars if bar.interval == "15m"]
    minutes = [bar for _, bar in bars if bar.interval == "1m"][:15]

    assert [ts for ts, _ in longer] == [START_MS + n * MINUTE_MS for n in (15, 30)]
    assert longer[0][1].high == max((bar.high for bar in minutes), key=float)
    assert longer[0][1].close == minutes[-1].close


def test_bars_before_the_span_are_history_alone() -> None:
    """Warm-up gives bars without ticks, as many as the profile asks for."""
    start = START_MS + 90 * MINUTE_MS
    found = roots(walk(120), span=Span(start, None))
    history = [r for r in found if isinstance(r.payload, Bar) and r.payload.is_history]
    minutes = [r for r in history if isinstance(r.payload, Bar) and r.payload.interval == "1m"]

    assert len(minutes) == bar_profile().market.warmup_bars
    assert {root.ts for root in history} == {start}
    assert min(root.ts for root in found if isinstance(root.payload, MarketTick)) > start


@pytest.mark.parametrize("is_told", [False, True])
def test_history_has_as_many_bars_of_each_interval_as_the_profile_names(is_told: bool) -> None:
    """A table of the warm-up gives each interval its own number, told as events or as rows."""
    config = bar_profile('market.warmup_bars={"1m": 20, "15m": 3}')
    span = Span(START_MS + 90 * MINUTE_MS, None)
    source = BarSource(series(walk(120)), config, span)
    if is_told:
        found = [root.payload for root in source.roots()]
    else:
        market = source.market(("1m", "15m"))
        assert market is not None
        found = [root.payload for root in market.opening]
    history = [bar.interval for bar in found if isinstance(bar, Bar) and bar.is_history]

    assert Counter(history) == {"1m": 20, "15m": 3}


def test_bars_longer_than_the_strategys_are_refused_in_words() -> None:
    """A file of longer bars than the strategy's is refused in words."""
    bars = [bar._replace(end_ts=bar.end_ts) for bar in walk(3)]

    with pytest.raises(ConfigError) as refused:
        BarSource(series(bars, interval="15m"), bar_profile())
    assert "strategy.bar_interval" in refused.value.violations[0]


def test_span_without_bars_is_refused_with_what_there_is() -> None:
    """A span without bars is refused with the file's own time range."""
    with pytest.raises(Refusal, match="2025-01-01 00:00:00 to 2025-01-01 00:03:00"):
        BarSource(series(walk(3)), bar_profile(), Span(START_MS + 10 * MINUTE_MS, None))


class Ordering(Holding):
    """Bot whose order is on its way behind each tick."""

    def is_waiting(self, symbol: str) -> bool:
        """Return True."""
        return True


@pytest.mark.parametrize("latency_ms", [50, 3_750, 7_500])
def test_order_decided_on_a_close_meets_the_next_open(latency_ms: int) -> None:
    """However slow the profile's orders may be, the open stands until they arrive."""
    profile = bar_profile(*WAITS, f"execution.latency_market_ms={latency_ms}")
    bars = [candle(0, (100, 100, 100, 100)), candle(1, (100, 104, 97, 102))]
    found = list(BarSource(series(bars), profile).roots(Ordering()))
    due = START_MS + MINUTE_MS + latency_ms
    ticks_after = [r.payload for r in found if r.ts >= due and isinstance(r.payload, MarketTick)]

    assert float(ticks_after[0].ask) == pytest.approx(100, abs=0.02)


def test_order_slower_than_an_eighth_of_a_bar_is_refused() -> None:
    """Such an order would be filled at the low, or the high, in place of the open."""
    with pytest.raises(ConfigError, match="no order of 7501 ms") as caught:
        BarSource(series(walk(2)), bar_profile(*WAITS, "execution.latency_market_ms=7501"))

    assert "at most 7500 here" in caught.value.violations[0]
