"""Source interval: a strategy decides on the file's bars if its profile's are finer.

A night's profile decides on bars of one second (`1s`), which a file of minutes lacks. An interval
that a person chose is never replaced: if it does not fit, the source refuses and names one that
does. Every interval is one of `INTERVALS`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

from minibot.backtest.sources.source_words import COLUMNS
from minibot.data.columns import Columns
from minibot.data.klines import KLINES, first_interval
from minibot.data.market_source import column_files
from minibot.events.intervals import INTERVAL_MS
from minibot.exchanges.tapes.kline_bars import INTERVALS, divides
from minibot.kernel.errors import Refusal
from minibot.runtime.configuration.config import Config
from minibot.simulator.sources.sources import find

BAR: Final = "strategy.bar_interval"
TREND: Final = "strategy.trend_interval"
BUILT: Final = "market.bar_intervals"
RANKED: Final = "scanner.bar_interval"


def source_interval(words: Sequence[str]) -> str:
    """Return the longest interval of the sources' bars; empty if one has none or is refused."""
    found: list[str] = []
    for word in words:
        kind, _, rest = word.partition(":")
        try:
            if kind == KLINES and rest:
                found.append(first_interval(find(rest)))
            elif kind == COLUMNS and rest:
                found += [_stored_interval(columns) for columns in column_files(find(rest))]
            else:
                return ""
        except Refusal:
            return ""  # Refused in full when it is opened.
    if not found or "" in found:
        return ""
    order = list(INTERVALS)
    return max(found, key=order.index)


def _stored_interval(columns: Columns) -> str:
    with columns:
        return columns.interval if columns.kind == KLINES else ""


def fitted_sets(words: Sequence[str], config: Config) -> list[str]:
    """Return the changes that make a profile decide on its source's bars.

    Empty if the profile's bars are not finer, or if a person chose `strategy.bar_interval` or
    `market.bar_intervals`.

    Args:
        words: The source words as given.
        config: The profile; a trend that a person chose is not changed.
    """
    decides = config.strategy.bar_interval
    interval = source_interval(words)
    is_finer = (
        interval in INTERVALS and decides in INTERVALS and _length(decides) < _length(interval)
    )
    if not is_finer or BAR in config.given or BUILT in config.given:
        return []
    return interval_sets(interval, config)


def interval_sets(interval: str, config: Config) -> list[str]:
    """Return the changes that make a profile decide on bars of another length.

    The trend keeps its length in bars, at least two, rounded up to one of `INTERVAL_MS`. A scanner
    whose bars cannot be made from these ranks by these.

    Args:
        interval: The length of the bars that are decided on.
        config: The profile; a trend that a person chose is not changed.
    """
    decides, trend = config.strategy.bar_interval, config.strategy.trend_interval
    sets = [f"{BAR}={interval}"]
    if TREND not in config.given:
        trend = _longer(interval, _length(trend) // _length(decides)) or interval
        sets.append(f"{TREND}={trend}")
    scanner = config.scanner
    is_chosen = RANKED in config.given or "scanner" in config.given
    if scanner is not None and not (is_chosen or divides(interval, scanner.bar_interval)):
        sets.append(f"{RANKED}={interval}")
    kept = [name for name in config.market.bar_intervals if divides(interval, name)]
    built = dict.fromkeys([interval, *kept, trend])
    return [built_set(built), *sets]


def built_set(intervals: Iterable[str]) -> str:
    """Return the change that makes a profile build these bars, the shortest first."""
    return f"{BUILT}={json.dumps(sorted(intervals, key=list(INTERVALS).index))}"


def fitted_words(before: Config, after: Config) -> str:
    """Return a line with the intervals of a profile before and after it was fitted."""
    old, new = before.strategy, after.strategy
    return (
        f"the profile's bars of {old.bar_interval} (trend {old.trend_interval}) are finer than the "
        f"source: decided on its bars of {new.bar_interval} (trend {new.trend_interval}); "
        f"--set {BAR}=... chooses others"
    )


def _longer(interval: str, bars: int) -> str:
    """Return the shortest interval that has at least `bars` of the given one, else the longest.

    It is never the calendar month, as the market builds no bars of a month.
    """
    longer = [name for name in INTERVAL_MS if name != interval and divides(interval, name)]
    wanted = max(2, bars) * _length(interval)
    return next((name for name in longer if _length(name) >= wanted), longer[-1] if longer else "")


def _length(interval: str) -> int:
    return INTERVALS[interval] or 31 * INTERVALS["1d"]
