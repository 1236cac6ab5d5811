"""Warm-up check: the same backtest after shorter and longer warm-ups.

Averages and indicators remember the past for longer than their period. After each shorter warm-up,
every value and decision of a strategy is compared with its value at the same moment after the
longest one; the report names the values that differ, and how often. The lengths are half, once,
twice and four times the profile's own (`FACTORS`), none above `WARMUP_BARS_MAX`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

from minibot.backtest.driver import run_cores
from minibot.backtest.search.backtest_job import Job, sound_market
from minibot.backtest.sources.feeds import with_feeds
from minibot.backtest.sources.source_words import RULE
from minibot.engine.lockstep import fresh_cores
from minibot.engine.market_source import NOBODY, MarketSource, Root, Watch
from minibot.engine.worker_pool import in_parallel
from minibot.events.intervals import WarmupBars, warmup_of
from minibot.events.model import BUY, Bar, Beat, JsonObject, MarketTick, PriceMark
from minibot.events.names import STRATEGY_ROLE
from minibot.kernel.errors import Refusal
from minibot.strategies.core import StrategyCore
from minibot.strategies.decision import Decision

KEY: Final = "market.warmup_bars"
# Multiples of the profile's own warm-up; the largest is compared with all others.
FACTORS: Final = ("0.5", "1", "2", "4")
# Longest warm-up to try.
WARMUP_BARS_MAX: Final = 1000
DECISION: Final = "decision"
# Largest power of ten of a value that counts as a number, and smallest: about that of a float.
EXPONENT_MAX: Final = 308

OnDone = Callable[[int, int], None]


class Reading(NamedTuple):
    """Decision of a strategy on a symbol at a moment, with its named values."""

    ts: int
    symbol: str
    decision: str
    values: Mapping[str, str]


class Readings(NamedTuple):
    """One backtest: its warm-up, bars of history over all symbols and intervals, and readings.

    `warmup_bars` is one number: from a profile with a table of numbers by interval, the number of
    the interval on which the strategy decides.
    """

    warmup_bars: int
    history_bars: int
    readings: list[Reading]


@dataclass(frozen=True, slots=True)
class Moved:
    """One named value, or the decision, compared with the longest warm-up.

    Attributes:
        name: Name of the value; `decision` for side, reason, wish and validity, and for a purchase
            the confidence if risk requires one.
        readings: Number of readings, one for each decision on a symbol, that have the value after
            this warm-up or after the longest. Decisions of a millisecond are compared in their
            order.
        differing: Number of these in which it differs, or exists after only one of the two.
        first_ts, last_ts: First and last moment with a difference; None without a difference.
        difference_max: Largest difference of two finite numbers, as text; None without one.
        ratio_max: Largest ratio of a difference to the value after the longest warm-up, in basis
            points. Its moment may differ from that of `difference_max`. None if no difference has
            a ratio, as the value after the longest is zero or no number.
    """

    name: str
    readings: int
    differing: int
    first_ts: int | None
    last_ts: int | None
    difference_max: str | None
    ratio_max: int | None

    def to_json(self) -> JsonObject:
        """Return the comparison as one JSON object."""
        return {
            "name": self.name,
            "readings": self.readings,
            "differing": self.differing,
            "first_ts": self.first_ts,
            "last_ts": self.last_ts,
            "difference_max": self.difference_max,
            "ratio_max_bps": self.ratio_max,
        }


@dataclass(frozen=True, slots=True)
class WarmUp:
    """One length of warm-up compared with the longest."""

    bars: int
    history_bars: int
    is_own: bool
    decision: Moved
    values: tuple[Moved, ...]

    def to_json(self) -> JsonObject:
        """Return the comparison as one JSON object."""
        return {
            "warmup_bars": self.bars,
            "history_bars": self.history_bars,
            "is_own": self.is_own,
            "decision": self.decision.to_json(),
            "values": [value.to_json() for value in self.values],
        }


@dataclass(frozen=True, slots=True)
class WarmupCheck:
    """Results of all warm-up lengths: the longest, and each other one compared with it."""

    longest: Readings
    warmups: tuple[WarmUp, ...]

    @property
    def is_enough(self) -> bool:
        """True when the profile's own warm-up is the longest, or decides as the longest does."""
        return all(each.decision.differing == 0 for each in self.warmups if each.is_own)


def check_warmup(job: Job, jobs: int, on_done: OnDone = lambda done, whole: None) -> WarmupCheck:
    """Return the values and decisions that change with the length of the warm-up.

    Args:
        job: The backtest.
        jobs: Number of processes to use.
        on_done: Called with the backtests done and their total.

    Raises:
        ConfigError: A source's bars do not make those that the strategy needs.
        Refusal: The source has the same history for every warm-up, or none longer than the
            profile's own; or nothing was decided after any.
    """
    warmup, interval = job.config.market.warmup_bars, job.config.strategy.bar_interval
    job = job._replace(order=RULE)
    sound_market(job)  # Refuses a source that lacks bars, as a backtest does.
    # By the whole table: if one number is at its limit, the others still change.
    lengths = list(dict.fromkeys(_text(_scaled(warmup, factor)) for factor in FACTORS))
    own = lengths.index(_text(warmup))
    tasks = [job.changed(f"{KEY}={tried}") for tried in lengths]
    _refuse_what_cannot_vary(tasks, own)
    found: list[Readings] = []
    for readings in in_parallel(read_off, tasks, jobs):
        found.append(readings)
        on_done(len(found), len(tasks))
    longest = found[-1]
    if not any(each.readings for each in found):
        raise Refusal(
            f"{', '.join(job.words)}: nothing was decided; no warm-up could be compared.",
            f"Use a longer time range: the strategy decides on bars of {interval}.",
        )
    return WarmupCheck(
        longest,
        tuple(_warmup(each, longest, is_own=n == own) for n, each in enumerate(found[:-1])),
    )


def _refuse_what_cannot_vary(tasks: Sequence[Job], own: int) -> None:
    """Refuse a source without history to vary, before minutes of backtests.

    Args:
        tasks: The backtests, from the shortest warm-up to the longest.
        own: Index of the one with the profile's own warm-up.
    """
    name, longest = ", ".join(tasks[own].words), history_bars(tasks[-1])
    remedy = "Give a later part of it with --timerange, or embedded.history=klines:FILE."
    if history_bars(tasks[0]) == longest:
        raise Refusal(
            f"{name}: has {longest} bars of history, whatever the warm-up; nothing can be varied.",
            remedy,
        )
    if own < len(tasks) - 1 and history_bars(tasks[own]) == longest:
        market, interval = tasks[own].config.market, tasks[own].config.strategy.bar_interval
        raise Refusal(
            f"{name}: has {longest} bars of history, no more than the warm-up of "
            f"{warmup_of(market.warmup_bars, interval)} bars takes; nothing longer could be tried.",
            remedy,
        )


def history_bars(job: Job) -> int:
    """Return the number of bars of history, over all symbols and intervals, before the market."""
    count = 0
    for root in job.open().roots():
        payload = root.payload
        if isinstance(payload, Bar) and payload.is_history:
            count += 1
        elif isinstance(payload, Bar | Beat | MarketTick | PriceMark):
            break
    return count


def _text(warmup: WarmupBars) -> str:
    return json.dumps(warmup, sort_keys=True)


def _scaled(warmup: WarmupBars, factor: str) -> WarmupBars:
    if isinstance(warmup, int):
        return _length(warmup, factor)
    return {interval: _length(bars, factor) for interval, bars in warmup.items()}


def _length(own: int, factor: str) -> int:
    return min(WARMUP_BARS_MAX, max(1, int(own * Decimal(factor))))


def read_off(job: Job) -> Readings:
    """Return a job's readings: its strategy's values and decisions, moment by moment."""
    config = job.config
    cores = fresh_cores(config.raw)
    strategy = cores[STRATEGY_ROLE]
    assert isinstance(strategy, StrategyCore)
    is_gated = config.raw["risk"].get("confidence_min") is not None
    market = _ReadOff(with_feeds(job.open(), config), strategy, is_gated=is_gated)
    run_cores(market, config, cores)
    bars = warmup_of(config.market.warmup_bars, config.strategy.bar_interval)
    return Readings(bars, market.history_bars, market.readings)


class _ReadOff:
    """A source that reads the strategy's values after each of its events.

    Args:
        source: The market.
        strategy: The core that is read.
        is_gated: Whether risk requires a confidence, which then is part of the decision.
    """

    def __init__(self, source: MarketSource, strategy: StrategyCore, *, is_gated: bool) -> None:
        self.name, self.symbols = source.name, source.symbols
        self.origin_ms, self.end_ms = source.origin_ms, source.end_ms
        self.interval_ms, self.assumptions = source.interval_ms, source.assumptions
        self.readings: list[Reading] = []
        self.history_bars = 0
        self._source = source
        self._strategy = strategy
        self._is_gated = is_gated
        self._read: dict[str, tuple[int, Decision]] = {}

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        """Yield the source's events; when the next is requested, the last has been processed."""
        for root in self._source.roots(watch):
            yield root
            if isinstance(root.payload, Bar) and root.payload.is_history:
                self.history_bars += 1
            else:
                self._look()

    def _look(self) -> None:
        for symbol, watched in sorted(self._strategy.watched.items()):
            answer, ts = watched.decision, watched.decided_ts
            if answer is None or self._is_read(symbol, ts, answer):
                continue
            self._read[symbol] = ts, answer
            facts = self._strategy.facts()["decisions"][symbol]
            wish = () if answer.wish is None else answer.wish.values()
            decision = f"{facts['side']} {facts['reason_code']} {wish} {answer.valid_ms}"
            if self._is_gated and answer.side == BUY:
                decision += f" {answer.confidence}"
            self.readings.append(Reading(ts, symbol, decision, facts["checks"]))

    def _is_read(self, symbol: str, ts: int, decision: Decision) -> bool:
        """Return whether a decision belongs to the last look: a millisecond may have several."""
        read_ts, read = self._read.get(symbol, (None, None))
        return read_ts == ts and read is decision


# --- comparison -------------------------------------------------------------------------------


def _warmup(readings: Readings, longest: Readings, *, is_own: bool) -> WarmUp:
    pairs = _paired(readings.readings, longest.readings)
    names: dict[str, None] = {}
    for _, found, wanted in pairs:
        names |= dict.fromkeys(
            [*(found.values if found else ()), *(wanted.values if wanted else ())]
        )
    decision = _moved(DECISION, [(ts, _decision(f), _decision(w)) for ts, f, w in pairs])
    values = tuple(
        _moved(name, [(ts, _value(f, name), _value(w, name)) for ts, f, w in pairs])
        for name in names
    )
    return WarmUp(readings.warmup_bars, readings.history_bars, is_own, decision, values)


def _decision(reading: Reading | None) -> str | None:
    return None if reading is None else reading.decision


def _value(reading: Reading | None, name: str) -> str | None:
    return None if reading is None else reading.values.get(name)


def _paired(
    one: Sequence[Reading], other: Sequence[Reading]
) -> list[tuple[int, Reading | None, Reading | None]]:
    """Return the readings of the same moments in pairs, by time."""
    first, second = _placed(one), _placed(other)
    return [
        (place[0], first.get(place), second.get(place))
        for place in sorted(first.keys() | second.keys())
    ]


def _placed(readings: Sequence[Reading]) -> dict[tuple[int, str, int], Reading]:
    """Return readings by time, symbol, and number among those of the symbol at that time."""
    counts: Counter[tuple[int, str]] = Counter()
    placed: dict[tuple[int, str, int], Reading] = {}
    for reading in readings:
        moment = reading.ts, reading.symbol
        placed[*moment, counts[moment]] = reading
        counts[moment] += 1
    return placed


def _moved(name: str, pairs: Sequence[tuple[int, str | None, str | None]]) -> Moved:
    there = [pair for pair in pairs if pair[1] is not None or pair[2] is not None]
    differing = [(ts, found, wanted) for ts, found, wanted in there if found != wanted]
    largest, ratio = None, None
    for _, found, wanted in differing:
        gap, share = _gap(found, wanted)
        if gap is not None and (largest is None or gap > largest):
            largest = gap
        if share is not None and (ratio is None or share > ratio):
            ratio = share
    return Moved(
        name,
        len(there),
        len(differing),
        differing[0][0] if differing else None,
        differing[-1][0] if differing else None,
        None if largest is None else f"{largest:f}",
        ratio,
    )


def _gap(found: str | None, wanted: str | None) -> tuple[Decimal | None, int | None]:
    """Return the difference of two numbers, plain and in basis points of the second."""
    one, other = _number(found), _number(wanted)
    if one is None or other is None:
        return None, None
    gap = abs(one - other)
    return gap, int(gap * 10_000 / abs(other)) if other else None


def _number(text: str | None) -> Decimal | None:
    """Return the number in a strategy's text; None for NaN, Infinity and text without one."""
    try:
        number = Decimal(text or "")
    except InvalidOperation:
        return None
    is_number = number.is_finite() and abs(number.adjusted()) <= EXPONENT_MAX
    return number if is_number else None
