"""Walk-forward search: optimise on one stretch of time, judge on the next, unseen one.

A search fits the past on which it ran; the time after it shows how much of the fit was luck. So the
figure that counts is the one out of sample, window by window, next to that of the unchanged profile
over the same time.

The same seed gives the same result with any number of processes: trials are drawn in rounds of a
fixed size, and reported to the sampler in order.
"""

from __future__ import annotations

import importlib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import sha256
from math import lcm
from typing import Any, Final

from minibot.backtest.report.documents import ID_HEX, files_behind
from minibot.backtest.report.statistics import KEY_FIGURES
from minibot.backtest.search.backtest_job import Job, sound_market
from minibot.backtest.search.ranges import Range
from minibot.backtest.search.sweep import Row, broken_lines, refusal_of, refuse_twice, run_row
from minibot.backtest.sources.bars import BarSource
from minibot.backtest.sources.portfolio import Merged
from minibot.backtest.sources.source_words import RULE
from minibot.backtest.sources.span import Span
from minibot.engine.market_source import MarketSource
from minibot.engine.worker_pool import Workers
from minibot.events.model import JsonObject
from minibot.exchanges.tapes.kline_bars import INTERVALS, next_open, open_of
from minibot.kernel import canonical
from minibot.kernel.errors import ConfigError, Refusal
from minibot.report.figures import date_clock
from minibot.runtime.pasting import with_env

SCHEMA: Final = "minibot.optimise"
# Trials drawn before their results are reported to the sampler: the most that run in parallel.
ROUND: Final = 4
# Number of seeds that optuna's sampler takes, from 0 on.
SEEDS: Final = 1 << 32
WINDOW_MS_MIN: Final = 60_000
# Figures that grow in proportion to time: they are compared over equal lengths of time.
SUMMED: Final = frozenset(("fees", "pnl", "pnl_before_fees", "return"))
PLACES: Final = Decimal("0.00000001")
# Figures that hold money or a trade even after a loss: judged by the gain above their base.
JUDGED_BY: Final = {"equity": "pnl"}
BREAK_EVEN: Final = {"profit_factor": Decimal(1)}

OnDone = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Window:
    """Window: a stretch of time to search on, and the one after it to judge on."""

    train: Span
    test: Span


@dataclass(frozen=True, slots=True)
class Found:
    """Result of one window.

    Attributes:
        best: The best trial in sample.
        test: The same values out of sample.
        plain: The unchanged profile, out of sample.
        trials: Every trial, in order.
    """

    window: Window
    best: Row
    test: Row
    plain: Row
    trials: tuple[Row, ...]

    def to_json(self) -> JsonObject:
        """Return the result as one JSON object, the figures out of sample first."""
        return {
            "test": [self.window.test.from_ms, self.window.test.to_ms],
            "train": [self.window.train.from_ms, self.window.train.to_ms],
            "sets": list(self.best.sets),
            "out_of_sample": self.test.to_json(),
            "in_sample": self.best.to_json(),
            "profile_out_of_sample": self.plain.to_json(),
            "trials": [row.to_json() for row in self.trials],
        }


def sampler_module() -> Any:
    """Return optuna.

    Raises:
        Refusal: optuna is not installed.
    """
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise Refusal(
            "optimise needs optuna, which is not installed.",
            f'Add it: {with_env("--dev")} (with pip: pip install ".[optimise]").',
        ) from error


def windows_of(job: Job, count: int, train_ratio: int) -> list[Window]:
    """Return windows of equal length, each later than the one before by one judged stretch.

    So judged stretches are adjacent, and searched stretches overlap if `train_ratio` is above 1.
    Stretches are whole bars of every file, as one that lies across a bound would be traded in
    neither; months alone may lie across one. The last stretch ends with the market, or, beside
    ticks or bars of another length, at the last common bound of the bars; what is left over lies
    before the first.

    Args:
        job: The backtest, whose market has to have a known end.
        count: Number of windows.
        train_ratio: Ratio of the searched stretch's length to the judged one's.

    Raises:
        ConfigError: The profile and the market do not fit.
        Refusal: The market has no known end, its judged stretches would be shorter than a minute or
            than one bar, or one of its sources has nothing in a stretch.
    """
    market = sound_market(job)
    if market.end_ms is None:
        raise Refusal(
            f"{market.name}: does not know its end.", "Say from when to when: --timerange FROM-TO"
        )
    sources = market.sources if isinstance(market, Merged) else (market,)
    made = [one for one in sources if isinstance(one, BarSource)]
    bar_ms = lcm(*(one.interval_ms for one in made))
    lengths = [one.series.interval for one in made]
    end_ms = market.end_ms
    if len(made) < len(sources) or len(set(lengths)) > 1:  # Bars of one length end with the market.
        end_ms = _common_end(end_ms, market.origin_ms, lengths)
    length = end_ms - market.origin_ms
    step = length // (train_ratio + count) // bar_ms * bar_ms
    first = end_ms - (train_ratio + count) * step
    if step < max(WINDOW_MS_MIN, market.interval_ms):
        raise Refusal(
            f"{market.name}: {length // 1000:,} s are too short for {count} windows.",
            "Take more history, or fewer --windows.",
        )
    windows = [
        Window(
            Span(first + at * step, first + (at + train_ratio) * step),
            Span(first + (at + train_ratio) * step, first + (at + train_ratio + 1) * step),
        )
        for at in range(count)
    ]
    for source in sources:
        _refuse_empty(source, windows)
    return windows


def _common_end(end_ms: int, origin_ms: int, intervals: Sequence[str]) -> int:
    """Return the last moment by the end at which no bar of any length is unfinished.

    It is the end itself without bars, and the origin if there is no such moment after it.
    """
    if not intervals:
        return end_ms
    longest = max(intervals, key=list(INTERVALS).index)
    end = open_of(longest, end_ms)
    while end > origin_ms and any(open_of(each, end) != end for each in intervals):
        end = open_of(longest, end - 1)
    return max(end, origin_ms)


def _refuse_empty(source: MarketSource, windows: Sequence[Window]) -> None:
    """Refuse a source without data in one of the stretches, whose backtests would be refused.

    Only its backtest finds a hole in ticks or messages.
    """
    series = source.series if isinstance(source, BarSource) else None
    opens = [] if series is None else [bar.open_ts for bar in series.candles()]

    def is_empty(span: Span) -> bool:
        first, last = max(source.origin_ms, span.from_ms or 0), span.to_ms or 0
        if source.end_ms is not None:
            last = min(source.end_ms, last)
        if series is None:
            return last <= first
        at = bisect_left(opens, first)
        return at == len(opens) or next_open(series.interval, opens[at]) > last

    for number, window in enumerate(windows, start=1):
        for use, span in (("searched", window.train), ("judged", window.test)):
            if is_empty(span):
                when = f"{date_clock(span.from_ms or 0)} to {date_clock(span.to_ms or 0)} UTC"
                raise Refusal(
                    f"{source.name}: nothing in window {number} of {len(windows)}, {use} {when}.",
                    "Leave it out, or take a --timerange or --windows in which each source trades.",
                )


def judge(job: Job, ranges: Sequence[Range]) -> None:
    """Check that the profile and its strategy accept the first and the last value of each range.

    Each is tried with the profile's other keys, then with the first and the last values of the
    other ranges, as the slow one of two averages has to be above the fast one.

    Raises:
        ConfigError: One of these values is refused with all of them, or a key occurs twice.
    """
    refuse_twice("--vary", [each.key for each in ranges])
    for each in ranges:
        for place in (0, -1):
            ends = [[other.set(end) for other in ranges if other is not each] for end in (0, -1)]
            tried = [refusal_of(job.changed(each.set(place), *sets)) for sets in ([], *ends)]
            if tried[0] is not None and None not in tried:
                raise ConfigError(
                    f"--vary: {each.set(place)} is refused.",
                    tried[0].violations,
                    "Narrow the range, or change what it contradicts by --set or another --vary.",
                )


def walk_forward(
    job: Job,
    ranges: Sequence[Range],
    windows: Sequence[Window],
    *,
    figure: str,
    trials: int,
    jobs: int,
    on_done: OnDone = lambda done, whole: None,
) -> list[Found]:
    """Return the result of each window.

    Args:
        job: The backtest; its profile's seed determines the trials.
        ranges: The ranges to search.
        windows: The windows, from `windows_of`.
        figure: The figure to optimise, of `SORTABLE`; any other has no better value.
        trials: Number of backtests in the search of a window.
        jobs: Number of processes to use.
        on_done: Called with the number of backtests done and the total: all trials, also repeated
            ones that are not run again, and two for each judged stretch.

    Raises:
        Refusal: optuna is not installed, or no trial of a window has the figure.
    """
    optuna = sampler_module()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    job = job._replace(order=RULE)
    whole, done = len(windows) * (trials + 2), 0
    found = []

    def count(number: int) -> None:
        nonlocal done
        done += number
        on_done(done, whole)

    with Workers(jobs) as workers:
        for number, window in enumerate(windows):
            seed = (job.config.seed * 1000 + number) % SEEDS
            study = _Study(optuna, ranges, figure, seed)
            rows = study.search(job._replace(span=window.train), trials, workers, count)
            best = study.best(rows)
            judged = job._replace(span=window.test)
            test, plain = workers.results(run_row, [judged.changed(*best.sets), judged])
            count(2)
            found.append(Found(window, best, _bare(test, job), _bare(plain, job), tuple(rows)))
    return found


def _bare(row: Row, job: Job) -> Row:
    return replace(row, sets=row.sets[len(job.sets) :])


class _Study:
    """One search: trials drawn from ranges, with their results reported to the sampler."""

    def __init__(self, optuna: Any, ranges: Sequence[Range], figure: str, seed: int) -> None:
        self._optuna = optuna
        self._ranges = ranges
        self._figure = figure
        self._sign = next(shown.better for shown in KEY_FIGURES if shown.key == figure)
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=False)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._known: dict[tuple[str, ...], Row] = {}

    def search(
        self, job: Job, trials: int, workers: Workers, count: Callable[[int], None]
    ) -> list[Row]:
        """Return the rows of all trials; a repeated point is not run again."""
        rows: list[Row] = []
        while len(rows) < trials:
            asked = [self._study.ask() for _ in range(min(ROUND, trials - len(rows)))]
            points = [self._sets(trial) for trial in asked]
            fresh = [sets for sets in dict.fromkeys(points) if sets not in self._known]
            results = workers.results(run_row, [job.changed(*sets) for sets in fresh])
            for sets, row in zip(fresh, results, strict=True):
                self._known[sets] = _bare(row, job)
            for trial, sets in zip(asked, points, strict=True):
                self._report(trial, self._known[sets])
                rows.append(self._known[sets])
            count(len(asked))
        return rows

    def _sets(self, trial: Any) -> tuple[str, ...]:
        return tuple(
            each.set(
                trial.suggest_int(each.key, 0, len(each.values) - 1)
                if each.is_ordered
                else trial.suggest_categorical(each.key, range(len(each.values)))
            )
            for each in self._ranges
        )

    def _report(self, trial: Any, row: Row) -> None:
        value = self.value(row)
        if value is None:
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, float(value))

    def value(self, row: Row) -> Decimal | None:
        """Return the score of a row, larger is better; None if it stopped or lacks the figure."""
        found = row.figures.get(self._figure)
        return None if row.stop or found is None else self._sign * Decimal(str(found))

    def best(self, rows: Sequence[Row]) -> Row:
        """Return the best row, the first of equal ones.

        Raises:
            Refusal: No trial has the figure.
        """
        valued = [(value, row) for row in rows if (value := self.value(row)) is not None]
        if not valued:
            why = next(iter(broken_lines(rows)), "all stopped, or the windows are too short.")
            raise Refusal(
                f"no trial has a figure {self._figure}: {why}",
                "Correct that, or take another --figure, or more history.",
            )
        return max(valued, key=lambda pair: pair[0])[1]


def in_sample(found: Found, figure: str) -> Decimal | None:
    """Return the figure in sample; one of `SUMMED` is scaled to the judged stretch's length."""
    value = found.best.figures.get(figure)
    if value is None:
        return None
    amount = Decimal(str(value))
    if figure not in SUMMED:
        return amount
    return (amount / (_length(found.window.train) / _length(found.window.test))).quantize(PLACES)


def out_of_sample(found: Found, figure: str) -> Decimal | None:
    """Return the figure out of sample, unscaled; None if it is missing."""
    value = found.test.figures.get(figure)
    return None if value is None else Decimal(str(value))


def _length(span: Span) -> Decimal:
    return Decimal((span.to_ms or 0) - (span.from_ms or 0))


def parts_company(found: Found, figure: str) -> bool:
    """Return whether a window was stopped out of sample, or is much worse there than in sample.

    A gain is much worse below half, a loss or a cost above double. If the figure in sample is 0,
    any worse figure is much worse. A missing figure counts as much worse. Equity is judged by its
    gain, a profit factor by its excess over 1.
    """
    if found.test.stop:  # Its figure covers only the time before the stop.
        return True
    figure = JUDGED_BY.get(figure, figure)
    better = next(shown.better for shown in KEY_FIGURES if shown.key == figure)
    inside, outside = in_sample(found, figure), out_of_sample(found, figure)
    if inside is None or outside is None:
        return True
    even = BREAK_EVEN.get(figure, Decimal(0))
    one, other = better * (inside - even), better * (outside - even)
    # For a cost or a loss, twice as much is as bad as half of a gain.
    return other < (one / 2 if one > 0 else one * 2)


def optimise_document(
    job: Job, ranges: Sequence[Range], found: Sequence[Found], figure: str, trials: int
) -> JsonObject:
    """Return a search as one JSON object, without any wall-clock time."""
    body: JsonObject = {
        "schema": SCHEMA,
        "v": 1,
        "figure": figure,
        "trials": trials,
        "seed": job.config.seed,
        "sources": list(job.words),
        "files": files_behind(job.words, job.config.raw),
        "ranges": [{"key": each.key, "values": list(each.values)} for each in ranges],
        "windows": [each.to_json() for each in found],
        "config": job.config.raw,
    }
    digest = sha256(canonical.encode(body)).hexdigest()
    return {"id": f"optimise_{job.config.profile}_{digest[:ID_HEX]}", "digest": digest, **body}
