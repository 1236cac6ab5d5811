"""Sweeps, assumptions, warm-ups, searches: each one consists of backtests, always the same."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec import structs

from minibot.backtest.checks.lookahead import check_lookahead
from minibot.backtest.checks.warmup_check import check_warmup
from minibot.backtest.report.review import Review
from minibot.backtest.search.assumptions import band_jobs, is_night, night_assumption, run_band
from minibot.backtest.search.backtest_job import Job, run_job
from minibot.backtest.search.ranges import Range, parse_range
from minibot.backtest.search.sweep import (
    Row,
    broken_lines,
    idle_axes,
    parse_axis,
    points_of,
    ranked,
    run_row,
    run_sweep,
    short,
)
from minibot.backtest.search.walk_forward import (
    Found,
    Window,
    _common_end,
    in_sample,
    judge,
    optimise_document,
    parts_company,
    walk_forward,
    windows_of,
)
from minibot.backtest.sources import bars as bars_module
from minibot.backtest.sources.bars import BarSource
from minibot.backtest.sources.portfolio import Merged
from minibot.backtest.sources.span import Span
from minibot.cli.support import optimise_words
from minibot.data.treatment import Treatment
from minibot.engine.intrabar import Candle
from minibot.engine.market_source import NOBODY, MarketSource, Root, Watch
from minibot.engine.recorded_run import Recorded
from minibot.engine.worker_pool import Workers, in_parallel
from minibot.events.model import JsonObject
from minibot.execution.fill_models import FILL_MODELS
from minibot.kernel.errors import ConfigError, Refusal, RunStop
from minibot.runtime.configuration.loosening import FLOORS
from tests.backtest.markets import (
    MINUTE_MS,
    START_MS,
    bar_profile,
    gathered,
    walk,
    write_klines,
)
from tests.runs import ShortRun
from tests.waiting import wait_until

pytestmark = pytest.mark.campaign

PROFILE = bar_profile().raw
LIMIT = 60
FLOORED = {**dict.fromkeys(FLOORS, LIMIT), "stop_limit_bps": None}
WITH_FLOORS = {**PROFILE, "risk": {**PROFILE["risk"], **FLOORED}}


CROSSES = '''"""Has two averages, of which one is slower."""

from minibot.strategies.protocol import Needs, Strategy, buy, whole


class Crosses(Strategy):
    """Refuses a fast average that is not faster."""

    PARAMETERS = (
        whole("fast", 30, low=2, high=200, what="bars"),
        whole("slow", 40, low=2, high=200, what="bars"),
    )

    def __init__(self, settings):
        if settings.whole("fast") >= settings.whole("slow"):
            raise ValueError("fast is not faster")

    @staticmethod
    def needs(settings):
        return Needs(intervals=("1m",), history=1)

    def on_bar(self, bar, view):
        return buy("a bar")
'''


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Bars of five hours."""
    return Job((f"klines:{write_klines(tmp_path, walk(300, seed=5))}",), PROFILE)


# --- workers ----------------------------------------------------------------------------------


def double(number: int) -> int:
    if number == 13:
        raise RunStop("a worker", "INVARIANT_BROKEN", "thirteen")
    return 2 * number


@pytest.mark.process
def test_results_come_in_the_order_of_the_tasks_from_two_processes() -> None:
    """Results keep the order of the tasks; a worker's error is the caller's error."""
    with Workers(2) as workers:
        assert list(workers.results(double, range(9))) == [2 * number for number in range(9)]
        with pytest.raises(RunStop, match="thirteen"):
            list(workers.results(double, [1, 13, 2]))


def stuck(number: int) -> int:
    if number:
        threading.Event().wait()
    return number


def is_at_work(worker: psutil.Process) -> bool:
    """Return whether a process runs, without reaping it.

    Its pool reaps it: a pool whose children were reaped elsewhere waits for ever.
    """
    try:
        return worker.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.process
def test_workers_that_are_left_in_the_middle_of_a_task_are_ended() -> None:
    """Workers abandoned in the middle of a task, as on Ctrl-C, are ended."""
    before = set(psutil.Process().children(recursive=True))
    results = in_parallel(stuck, [0, 1, 2, 3], 2)
    assert next(results) == 0
    # Python's own resource tracker stays for later pools.
    children = set(psutil.Process().children(recursive=True)) - before
    workers = [each for each in children if "resource_tracker" not in " ".join(each.cmdline())]

    assert isinstance(results, Generator)
    results.close()

    wait_until(lambda: not any(is_at_work(worker) for worker in workers), "no worker is left")


class Unreadable:
    """Result that another process cannot restore."""

    def __init__(self, needed: int) -> None:
        """Take an argument that pickle does not keep."""
        self.needed = needed

    def __reduce__(self) -> tuple[type[Unreadable], tuple[()]]:
        """Restore without the argument, which fails."""
        return Unreadable, ()


def unreadable(_: int) -> Unreadable:
    """Return a result that cannot be restored."""
    return Unreadable(1)


def killed(_: int) -> None:
    """End this process at once."""
    os._exit(9)


@pytest.mark.process
@pytest.mark.parametrize(
    ("work", "told"),
    [
        (killed, "a worker process died, perhaps for lack of memory"),
        (unreadable, "the result of a worker process could not be read: TypeError: .*'needed'"),
    ],
)
def test_refusal_of_a_broken_pool_names_its_cause(work: Callable[[int], Any], told: str) -> None:
    """Broken pools end in a refusal that tells a dead worker from an unreadable result."""
    with pytest.raises(Refusal, match=told) as refused:
        list(in_parallel(work, [0, 1], 2))

    assert "--jobs 1" in str(refused.value.remedy)


def test_one_process_needs_no_other() -> None:
    """A single process needs no worker, so a task that cannot be pickled runs too."""
    assert list(in_parallel(lambda number: number + 1, [1, 2], 1)) == [2, 3]


# --- fill assumptions -------------------------------------------------------------------------


def test_band_has_every_assumption_and_the_nights_own_first(job: Job) -> None:
    """Each assumption equals a single run under it; one increment worse never earns more."""
    job = job.changed("execution.fill_model=worse")

    band = run_band(job, 1)

    assert night_assumption(job) == "worse"
    assert list(band) == ["worse", "touch", "queue"]
    assert set(band) == set(FILL_MODELS)
    for name, review in band.items():
        result = review.result
        single = run_job(job.changed(f"execution.fill_model={name}"))
        assert (result.digest, result.equity[-1]) == (single.digest, single.equity[-1])
    assert band["touch"].figures["fills"] > 4
    assert band["worse"].result.equity[-1].equity < band["touch"].result.equity[-1].equity
    # No order rests, because a taker waits behind nobody.
    assert band["queue"].result.digest == band["touch"].result.digest


def test_review_remembers_a_limit_order_without_its_events(job: Job) -> None:
    """Only a backtest that sent none stands for another assumption of resting orders."""
    result = run_job(job)
    place = next(at for at, item in enumerate(result.derived) if item.queue == "order_intents")
    item = result.derived[place]
    plain = Review.of(result)

    payload = structs.replace(item.event.payload, order_type="LIMIT", limit_price="1.00")
    result.derived[place] = item._replace(event=structs.replace(item.event, payload=payload))
    limited = Review.of(result)
    result.forget_events()

    assert not plain.has_limit_orders
    assert limited.has_limit_orders


@pytest.mark.process
def test_band_of_workers_is_the_band_of_one_process(job: Job) -> None:
    """A band from workers equals one from a single process; each line's end is reported."""
    told: list[tuple[int, int] | JsonObject] = []
    alone = run_band(job, 1)
    beside = run_band(
        *(job, 2, lambda *done: told.append(done)),
        on_first=lambda review: told.append(review.to_json()),
    )

    assert list(alone) == list(beside)
    for name, review in alone.items():
        assert review.to_json() == beside[name].to_json()
    first = next(iter(alone.values())).to_json()
    assert told == [first, (1, 3), (2, 3), (3, 3)]  # The first one before any other is waited for.


def test_band_of_a_recorded_night_is_the_night_and_all_three_by_rule_order(
    short_run: ShortRun,
) -> None:
    """A recorded night's band is the night itself and all three assumptions in rule order."""
    word = f"run:{short_run.run_dir}"
    recorded = Recorded.open(short_run.run_dir)
    job = Job((word,), recorded.manifest.config)

    tasks = band_jobs(job)

    assert list(tasks) == ["night (touch)", "touch", "worse", "queue"]
    assert is_night(tasks["night (touch)"])
    assert not any(is_night(task) for name, task in tasks.items() if name in FILL_MODELS)
    fills = [event.payload for _, event in recorded.events("fills")]
    assert [event.payload for event in run_job(tasks["night (touch)"]).of("fills")] == fills


# --- sweeps -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("strategy.rsi_period=7,14", ("7", "14")),
        ('market.bar_intervals=["1m","5m"],["1m"]', ('["1m","5m"]', '["1m"]')),
        ('x.y="a,b","c"', ('"a,b"', '"c"')),
    ],
)
def test_axis_is_divided_at_commas_outside_of_brackets_and_quotes(
    text: str, values: tuple[str, ...]
) -> None:
    """A sweep axis is divided at commas outside brackets and quotes."""
    assert parse_axis(text).values == values


@pytest.mark.parametrize("text", ["strategy.rsi_period", "=1,2", "a.b=", "a.b=1,,2", "a.b=1,1"])
def test_axis_of_another_form_is_refused(text: str) -> None:
    """A malformed axis is refused, also one with a repeated value."""
    with pytest.raises(ConfigError):
        parse_axis(text)


def test_grid_names_every_value_that_the_profile_does_not_allow(job: Job) -> None:
    """Values that the profile does not allow are refused before anything runs."""
    axes = [parse_axis("strategy.rsi_period=0,14"), parse_axis("risk.positions_max=1,many")]

    with pytest.raises(ConfigError) as refused:
        points_of(job, axes)

    assert {text.split()[0] for text in refused.value.violations} == {
        "strategy.rsi_period",
        "risk.positions_max",
    }


def test_grid_that_a_key_of_the_file_forbids_names_no_manifest(job: Job) -> None:
    """The profile is a file's: no run wrote it, so no manifest holds the key that is in the way."""
    bars = [parse_axis('market.bar_intervals=["15m"]')]

    with pytest.raises(ConfigError) as refused:
        points_of(job, bars)

    assert refused.value.violations
    assert all(text.startswith("strategy.") for text in refused.value.violations)
    assert not any("manifest" in text for text in refused.value.violations)


def test_grid_keeps_points_that_are_refused_where_each_value_is_accepted_in_another(
    job: Job,
) -> None:
    """A point whose fast average is the slower one is a row, and says so."""
    axes = [parse_axis("strategy.ema_fast=5,30"), parse_axis("strategy.ema_slow=20,50")]

    rows = run_sweep(job, points_of(job, axes), 1)

    assert [row.stop for row in rows] == ["", "", "CONFIG_INVALID", ""]
    with pytest.raises(ConfigError):
        points_of(job, [parse_axis("strategy.ema_fast=5,60"), *axes[1:]])


def test_value_that_the_source_alone_refuses_costs_no_other_row(job: Job) -> None:
    """A source of minutes makes no seconds; where no point fits, the source refuses all."""
    axes = [parse_axis("strategy.bar_interval=1m,1s"), parse_axis("strategy.rsi_period=7,14")]
    built = job.changed('market.bar_intervals=["1s","1m","15m"]')

    rows = run_sweep(built, points_of(built, axes), 1)

    assert [row.stop for row in rows] == ["", "", "CONFIG_INVALID", "CONFIG_INVALID"]
    assert all(row.figures for row in rows[:2])
    (text,) = broken_lines(rows)
    assert text.startswith("CONFIG_INVALID: strategy.bar_interval: 1s")
    for other in (built.changed("strategy.bar_interval=1s"), job._replace(words=("klns:x",))):
        with pytest.raises(ConfigError, match=r"cannot be combined into 1s|is not a source"):
            run_sweep(other, points_of(other, axes[1:]), 1)


def test_trial_that_the_source_alone_refuses_does_not_end_the_search(job: Job) -> None:
    """The others go on; a profile whose own bars the source lacks is refused before the search."""
    interval = parse_range("strategy.bar_interval=1m,1s", PROFILE)
    built = job.changed('market.bar_intervals=["1s","1m","15m"]')

    (found,) = walk_forward(
        built, [interval], windows_of(built, 1, 1), figure="pnl", trials=8, jobs=1
    )

    assert {row.stop for row in found.trials} == {"", "CONFIG_INVALID"}
    assert found.best.sets == ("strategy.bar_interval=1m",)


def test_profile_whose_strategy_lacks_bars_is_refused_before_search_and_checks(
    job: Job, tmp_path: Path
) -> None:
    """Bars that the strategy names, and not its profile, are found missing at once, and told."""
    (tmp_path / "crosses.py").write_text(CROSSES.replace('"1m",', '"1m", "1s"'), encoding="utf-8")
    own = job.changed(
        "strategy.name=crosses",
        f"strategy.folder={tmp_path}",
        'market.bar_intervals=["1s","1m","15m"]',
    )

    later = own._replace(span=Span(START_MS + 200 * MINUTE_MS, None))
    for refused in (
        lambda: windows_of(own, 1, 1),
        lambda: check_lookahead(own, 1),
        lambda: check_warmup(later, 1),
    ):
        with pytest.raises(ConfigError, match="cannot be combined into 1s"):
            refused()


@pytest.mark.process
def test_sweep_rows_are_the_single_runs_in_the_order_of_the_grid(job: Job) -> None:
    """Each row's digest equals the run with the same `--set`, from two processes too."""
    axes = [parse_axis("strategy.rsi_period=7,14"), parse_axis('risk.stop_atr_mult="1.0","3.0"')]
    points = points_of(job, axes)

    rows = run_sweep(job, points, 2)

    assert [row.sets for row in rows] == points
    assert points[1] == ("strategy.rsi_period=7", 'risk.stop_atr_mult="3.0"')
    assert len({row.digest for row in rows}) > 1
    for row in rows[::3]:
        assert row.digest == run_job(job.changed(*row.sets)).digest


def row(pnl: str | None, name: str = "x", **figures: str) -> Row:
    return Row((f"strategy.{name}=1",), {"pnl": pnl, **figures}, "d", "")


def test_row_names_a_key_of_no_section_in_full() -> None:
    """The section is left out where there is one, and the quotes."""
    texts = ("seed=1", 'risk.stop_atr_mult="2.0"', 'seed="2.0"', "strategy.parameters.bars=3")

    lines = [short(text) for text in texts]

    assert lines == ["seed=1", "stop_atr_mult=2.0", "seed=2.0", "parameters.bars=3"]


def test_length_of_a_night_is_no_axis(job: Job) -> None:
    """Each row has the nights of the profile: rows of other lengths would be no such backtests."""
    with pytest.raises(ConfigError, match="duration_ms is not an axis"):
        points_of(job, [parse_axis("duration_ms=3600000,7200000")])

    assert len(points_of(job, [parse_axis("backtest.night_ms=3600000,7200000")])) == 2


def test_ranking_puts_the_better_first_and_what_has_no_figure_last() -> None:
    """A ranking puts better figures first and missing ones last, and keeps equals in order."""
    rows = [row(None, "a"), row("1", "b", fees="3"), row("2", "c", fees="1"), row("2", "d")]

    assert [r.sets[0][9] for r in ranked(rows, "pnl")] == ["c", "d", "b", "a"]
    assert [r.sets[0][9] for r in ranked(rows, "fees")][:2] == ["c", "b"]


def test_ranking_puts_what_was_stopped_behind_what_ended() -> None:
    """A run that risk stopped lost less only because it ended sooner."""
    stopped, late = replace(row("-1", "s"), stop="RISK_LIMIT"), replace(row("3", "t"), stop="X")
    rows = [late, row(None, "a"), stopped, row("-5", "b"), row("-2", "c")]

    assert [r.sets[0][9] for r in ranked(rows, "pnl")] == ["c", "b", "t", "s", "a"]


def test_row_of_a_run_that_risk_stops_says_so(job: Job) -> None:
    """A row that risk stops is a result of the sweep, not its end."""
    stopped = run_row(job.changed('risk.night_loss_soft="0.1"', 'risk.night_loss_hard="0.2"'))

    assert stopped.stop == "RISK_LIMIT"
    assert stopped.figures["fills"] >= 1


FALLS = CROSSES.replace('buy("a bar")', "1 / 0").replace("Crosses", "Falls")


def test_strategy_that_fails_at_every_point_is_told_with_its_line(job: Job, tmp_path: Path) -> None:
    """A table of dashes says nothing of the mistake, and no key is idle where nothing was run."""
    (tmp_path / "falls.py").write_text(FALLS)
    own = job.changed("strategy.name=falls", f"strategy.folder={tmp_path}")
    axes = [parse_axis("strategy.parameters.fast=5,6")]
    span = Span(START_MS, START_MS + 300 * MINUTE_MS)

    rows = run_sweep(own, points_of(own, axes), 1)

    (text,) = broken_lines(rows)
    assert text.startswith("STRATEGY_ERROR: ")
    assert "falls.py, line 23: ZeroDivisionError" in text
    assert idle_axes(axes, rows) == []
    fast = parse_range("strategy.parameters.fast=5:9", own.config.raw)
    with pytest.raises(Refusal, match=r"falls\.py, line 23"):
        walk_forward(own, [fast], [Window(span, span)], figure="pnl", trials=2, jobs=1)


# --- warm-up ----------------------------------------------------------------------------------


def test_short_warm_up_moves_values_until_they_agree(job: Job) -> None:
    """A longer warm-up moves values until they agree; RSI forgets its start."""
    middle = job.open().origin_ms + 240 * 60_000

    found = check_warmup(job._replace(span=Span(middle, None)), 1)

    assert [each.bars for each in found.warmups] == [30, 60, 120]
    assert [each.is_own for each in found.warmups] == [False, True, False]
    own = {value.name: value for value in found.warmups[1].values}
    short = {value.name: value for value in found.warmups[0].values}
    assert short["rsi"].differing >= own["rsi"].differing
    assert short["rsi"].differing > 0
    assert short["rsi"].last_ts is not None
    assert found.longest.history_bars > found.warmups[0].history_bars
    assert own["spread_bps"].differing == 0


def test_table_of_the_warm_up_is_scaled_as_a_whole(job: Job) -> None:
    """Each number of a table is halved and doubled; the strategy's own interval names the tries."""
    middle = job.open().origin_ms + 240 * 60_000
    interval = job.config.strategy.bar_interval
    table = json.dumps({interval: 20, job.config.strategy.trend_interval: 6})
    job = job.changed(f"market.warmup_bars={table}")._replace(span=Span(middle, None))

    found = check_warmup(job, 1)

    assert [each.bars for each in found.warmups] == [10, 20, 40]
    assert [each.is_own for each in found.warmups] == [False, True, False]
    assert found.longest.history_bars > found.warmups[1].history_bars == 20 + 6


@pytest.mark.parametrize(
    ("deciding", "bars", "history"),
    [(1000, [500, 1000, 1000], [242, 244, 248]), (1, [1, 1, 2], [3, 5, 10])],
)
def test_tables_that_differ_in_another_interval_are_tries_of_their_own(
    job: Job, deciding: int, bars: list[int], history: list[int]
) -> None:
    """At the ends of the lengths the deciding interval's number stays; the trend's is varied."""
    middle = job.open().origin_ms + 240 * 60_000
    table = json.dumps({job.config.strategy.bar_interval: deciding, "15m": 4})
    job = job.changed(f"market.warmup_bars={table}")._replace(span=Span(middle, None))

    found = check_warmup(job, 1)

    assert [each.bars for each in found.warmups] == bars
    assert [each.is_own for each in found.warmups] == [False, True, False]
    assert [each.history_bars for each in found.warmups] == history


def test_warm_up_too_short_for_the_strategy_moves_its_decisions(job: Job) -> None:
    """Three bars of warm-up are too few: the strategy waits where it would have decided."""
    middle = job.open().origin_ms + 240 * 60_000
    job = job.changed("market.warmup_bars=3")._replace(span=Span(middle, None))

    found = check_warmup(job, 1)

    assert not found.is_enough
    own = next(each for each in found.warmups if each.is_own)
    assert own.decision.differing > 0


class WholeSeconds(BarSource):
    """Market of bars whose events come on whole seconds: a bar's last tick as the bar closes."""

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        for root in super().roots(watch):
            yield root._replace(ts=-(-root.ts // 1000) * 1000)


# Decides on each tick and bar. Only the values of bars follow how many there were.
COUNTING = """
from minibot.strategies.protocol import Needs, Strategy, check, hold

class Counting(Strategy):
    @staticmethod
    def needs(settings):
        return Needs(intervals=(settings.profile["strategy"]["bar_interval"],), history=1)

    def __init__(self, settings):
        self.bars = 0

    def on_tick(self, tick, view):
        return hold("tick", (check("still", "1", "any"),))

    def on_bar(self, bar, view):
        self.bars += 1
        odd = ODD[self.bars % len(ODD)]
        return hold("bar", (check("bars", str(self.bars), "any"), check("odd", odd, "any")))

ODD = ("NaN", "none", "1", "sNaN", "1E+999999", "-Infinity", "-NaN")
"""


def test_values_of_every_decision_of_a_millisecond_are_compared(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar's last tick and the bar decide at once: the tick's value stays, those of the bar move.

    Texts such as NaN are no numbers, nor is one beyond any float: they differ by no number.
    """
    monkeypatch.setattr(bars_module, "BarSource", WholeSeconds)
    (tmp_path / "counting.py").write_text(COUNTING)
    job = job.changed("strategy.name=counting", f"strategy.folder={tmp_path}")
    middle = job.open().origin_ms + 240 * 60_000

    found = check_warmup(job._replace(span=Span(middle, None)), 1)

    own = found.warmups[1]
    values = {value.name: value for value in own.values}
    assert own.decision.readings == len(found.longest.readings)
    assert values["still"].differing == 0
    assert values["still"].readings == own.decision.readings - values["bars"].readings
    assert values["bars"].differing == values["bars"].readings == 60
    assert values["bars"].difference_max == "180"
    assert values["odd"].differing == 60
    assert (values["odd"].difference_max, values["odd"].ratio_max) == (None, None)


# Says BUY at each bar; one value of its wish follows an average that remembers all bars.
WISHING = """
from minibot.features.ema import Ema
from minibot.strategies.protocol import Needs, Strategy, buy

class Wishing(Strategy):
    @staticmethod
    def needs(settings):
        return Needs(intervals=(settings.profile["strategy"]["bar_interval"],), history=1)

    def __init__(self, settings):
        self.average = Ema(20)

    def on_bar(self, bar, view):
        average = self.average.update(bar.close)
        if not bar.is_live or average is None:
            return None
        half = int(average * 50)
        return buy("always", WISH)
"""


@pytest.mark.parametrize(
    ("wish", "sets"),
    [
        ("limit=half", ()),
        ("valid_ms=half", ()),
        ("stop=half", ()),
        ("confidence=half % 101", ("risk.confidence_min=50",)),
    ],
)
def test_warm_up_that_moves_a_wish_alone_is_not_enough(
    wish: str, sets: tuple[str, ...], job: Job, tmp_path: Path
) -> None:
    """It says BUY at the same bars, but at another price, for another time, or less surely."""
    (tmp_path / "wishing.py").write_text(WISHING.replace("WISH)", f"{wish})"))
    own = ("strategy.name=wishing", f"strategy.folder={tmp_path}", "market.warmup_bars=20", *sets)
    middle = job.open().origin_ms + 240 * 60_000

    found = check_warmup(job.changed(*own)._replace(span=Span(middle, None)), 1)

    decision = found.warmups[1].decision
    assert found.warmups[1].is_own
    assert 0 < decision.differing < decision.readings
    assert not found.is_enough


def test_warm_up_that_moves_no_wish_is_enough(job: Job, tmp_path: Path) -> None:
    """The same wish at the same bars is the same decision."""
    (tmp_path / "wishing.py").write_text(WISHING.replace("WISH)", "limit=1, valid_ms=1000)"))
    own = ("strategy.name=wishing", f"strategy.folder={tmp_path}", "market.warmup_bars=20")
    middle = job.open().origin_ms + 240 * 60_000

    found = check_warmup(job.changed(*own)._replace(span=Span(middle, None)), 1)

    assert found.warmups[1].decision.readings > 0
    assert found.is_enough


def test_source_without_history_is_refused_with_what_to_do(job: Job) -> None:
    """A source without history is refused before any backtest, with what to do."""
    told: list[tuple[int, int]] = []

    with pytest.raises(Refusal, match="nothing can be varied") as refused:
        check_warmup(job, 1, lambda *done: told.append(done))

    assert "--timerange" in refused.value.remedy
    assert told == []


def test_warm_up_is_not_called_enough_where_nothing_longer_was_tried(job: Job) -> None:
    """Half the warm-up has less history; the profile's own and the longest have the same."""
    early = Span(job.open().origin_ms + 40 * 60_000, None)

    with pytest.raises(Refusal, match="nothing longer could be tried"):
        check_warmup(job._replace(span=early), 1)


def test_warm_up_is_not_called_enough_where_nothing_was_decided(job: Job) -> None:
    """A span shorter than the strategy's bars has no decision that could differ."""
    begin = job.open().origin_ms + 240 * 60_000
    longer = ("strategy.bar_interval=15m", "strategy.trend_interval=1h", "market.warmup_bars=4")
    built = 'market.bar_intervals=["15m","1h"]'
    job = job.changed(built, *longer)._replace(span=Span(begin + 60_000, begin + 13 * 60_000))

    with pytest.raises(Refusal, match="nothing was decided"):
        check_warmup(job, 1)


# --- searching --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("strategy.rsi_period=7:9", ("7", "8", "9")),
        ("strategy.rsi_period=7:28:7", ("7", "14", "21", "28")),
        ("strategy.momentum_bps_min=5e-1:0.7", ('"0.5"', '"0.6"', '"0.7"')),
        ("strategy.momentum_bps_min=0.5:0.7", ('"0.5"', '"0.6"', '"0.7"')),
        ("risk.order_notional=400:500:50", ('"400"', '"450"', '"500"')),
        ("risk.signal_exit=true,false", ("true", "false")),
    ],
)
def test_range_counts_in_steps_of_its_own_places(text: str, values: tuple[str, ...]) -> None:
    """A range steps in decimals, as the profile writes them."""
    assert parse_range(text, PROFILE).values == values


@pytest.mark.parametrize(
    "text",
    [
        "risk.order_notional=400:501",
        "risk.night_loss_hard=100,201",
        "risk.night_loss_hard=100,1e1000000",
        "risk.drawdown_bps_hard=100:600",
        "risk.stop_atr_mult=2.0:3.1",
        "risk.stop_atr_mult=3.0,null",
        "risk.positions_max=1:2",
        "risk.stop_limit_bps=1:2",
        *(f"risk.{key}={LIMIT - 1}:{LIMIT}" for key in sorted(FLOORS)),
    ],
)
def test_search_may_not_widen_a_limit_of_risk(text: str) -> None:
    """A search may reach the profile's own risk limit, and not one step to its looser side."""
    with pytest.raises(ConfigError, match="risk"):
        parse_range(text, WITH_FLOORS)


@pytest.mark.parametrize("key", sorted(FLOORS))
def test_search_may_tighten_a_limit_whose_smaller_values_are_looser(key: str) -> None:
    """A search may go up from the profile's own value where more is stricter."""
    values = parse_range(f"risk.{key}={LIMIT}:{LIMIT + 1}", WITH_FLOORS).values

    assert [value.strip('"') for value in values] == ["60", "61"]


@pytest.mark.parametrize(
    "text",
    ["execution.taker_fee_bps=1:5", "portfolio.cash=1:9", "strategy.nothing=1:2",
     "strategy.rsi_period", "strategy.rsi_period=9:7", "strategy.rsi_period=7",
     "strategy.rsi_period=1:2:0", "strategy.rsi_period=5:9:20"],
)  # fmt: skip
def test_search_may_not_touch_fees_money_or_what_is_not_there(text: str) -> None:
    """A search may not touch fees, money or unknown keys."""
    with pytest.raises(ConfigError):
        parse_range(text, PROFILE)


@pytest.mark.parametrize(
    "text",
    [
        "strategy.rsi_period=1:1000001",
        "strategy.rsi_period=1:1e5000",
        "strategy.rsi_period=0:1:1e-5000",
        "strategy.rsi_period=1:1e1000000",
        "strategy.rsi_period=1:2:1e-1000000",
        "strategy.rsi_period=1e-1000000:1",
        "strategy.rsi_period=1e-999999999999999999:1",
    ],
)
def test_range_of_too_many_values_is_refused(text: str) -> None:
    """A range of more values than can be listed is refused, also where no number holds them."""
    with pytest.raises(ConfigError) as refused:
        parse_range(text, PROFILE)

    assert refused.value.violations == ("allowed: 1,000,000",)


def test_range_of_a_million_values_is_taken() -> None:
    """The largest number of values is itself allowed."""
    assert len(parse_range("strategy.rsi_period=1:1000000", PROFILE).values) == 1_000_000


def test_search_of_an_own_strategys_parameters_needs_no_value_in_the_profile() -> None:
    """Parameters of a user's strategy need no value in the profile; the strategy knows them."""
    assert parse_range("strategy.parameters.bars=3:5", PROFILE).values == ("3", "4", "5")


def test_range_that_the_profile_does_not_take_is_refused_before_the_search(job: Job) -> None:
    """A range whose ends the profile refuses is refused before the search."""
    judge(job, [parse_range("strategy.rsi_period=5:30", PROFILE)])

    for text in ("strategy.rsi_period=0:5", "strategy.ema_fast=5:300"):
        with pytest.raises(ConfigError):
            judge(job, [parse_range(text, PROFILE)])


@pytest.mark.parametrize("own", [False, True])
def test_ends_of_ranges_that_need_each_other_are_searched(
    own: bool, job: Job, tmp_path: Path
) -> None:
    """A fast average as slow as the profile's slow one is fine beside the slower ones."""
    keys = ("strategy.ema_fast", "strategy.ema_slow")
    if own:
        (tmp_path / "crosses.py").write_text(CROSSES, encoding="utf-8")
        job = job.changed("strategy.name=crosses", f"strategy.folder={tmp_path}")
        keys = ("strategy.parameters.fast", "strategy.parameters.slow")
    texts = (f"{keys[0]}=5:60", f"{keys[1]}=20:100")

    judge(job, [parse_range(text, PROFILE) for text in texts])

    for text, end in zip(texts if own else texts[:1], ("=60", "=20"), strict=False):
        with pytest.raises(ConfigError, match=f"--vary: {text.partition('=')[0]}{end} is refused"):
            judge(job, [parse_range(text, PROFILE)])


def test_key_that_stands_twice_is_refused(job: Job) -> None:
    """The later one would silently win, and the search would vary nothing."""
    twice = ("strategy.ema_fast=3:5", "strategy.ema_fast=6:7")
    with pytest.raises(ConfigError, match="is given twice"):
        judge(job, [parse_range(text, PROFILE) for text in twice])
    with pytest.raises(ConfigError, match="is given twice"):
        points_of(job, [parse_axis(text) for text in ("risk.a=1,2", "risk.a=3,4")])


def test_combination_that_the_profile_refuses_is_a_row_without_figures(job: Job) -> None:
    """Both values are fine alone: the search goes on, and tells the point as refused."""
    row = run_row(job.changed("strategy.ema_fast=30", "strategy.ema_slow=20"))

    assert (row.figures, row.stop) == ({}, "CONFIG_INVALID")


def test_windows_judge_on_the_time_after_the_one_they_search_on(job: Job) -> None:
    """A window is judged on the time after its search, and judged stretches follow one another."""
    windows = windows_of(job, 3, 2)

    for window in windows:
        assert window.train.to_ms == window.test.from_ms
    for one, other in pairwise(windows):
        assert one.test.to_ms == other.test.from_ms
    assert windows[-1].test.to_ms == job.open().end_ms
    with pytest.raises(Refusal):
        windows_of(job, 500, 3)


def test_windows_cut_no_bar_and_judge_the_last_one(job: Job) -> None:
    """Five hours in seven parts are no whole minutes: each judged stretch still has all its own."""
    windows = windows_of(job, 4, 3)

    judged = [run_job(_judged(job, window)).inputs["beat"] for window in windows]

    assert judged == [42, 42, 42, 42]
    assert windows[-1].test.to_ms == START_MS + 300 * MINUTE_MS
    assert windows[0].train.from_ms == START_MS + (300 - 7 * 42) * MINUTE_MS


def test_windows_of_two_lengths_of_bars_cut_no_bar_of_either(tmp_path: Path) -> None:
    """Minutes that end in mid-hour beside hours: each stretch has all its own of both."""
    market = walk(10 * 60 + 37)
    hours = _lots(market, 60)
    words = (
        f"klines:{write_klines(tmp_path, market)}",
        f"klines:{write_klines(tmp_path, hours, 'ETHUSDT-1h.csv')}",
    )
    hourly = Job(words, bar_profile(interval="1h", trend="4h").raw)

    windows = windows_of(hourly, 2, 2)

    spans = [span for window in windows for span in (window.train, window.test)]
    traded = [hourly._replace(span=span).open() for span in spans]
    assert windows[-1].test.to_ms == START_MS + 10 * 60 * MINUTE_MS
    for span, source in zip(spans, traded, strict=True):
        bounds = source.origin_ms, source.end_ms
        assert all((one.origin_ms, one.end_ms) == bounds for one in parts_of(source))
        assert bounds == (span.from_ms, span.to_ms)


def test_windows_of_three_and_five_minutes_are_whole_bars_of_both(tmp_path: Path) -> None:
    """Stretches of a multiple of the longer bars alone would cut the shorter ones."""
    market = walk(305)
    words = [
        f"klines:{write_klines(tmp_path, _lots(market, size), f'{symbol}-{size}m.csv')}"
        for symbol, size in (("BTCUSDT", 3), ("ETHUSDT", 5))
    ]
    both = Job(tuple(words), bar_profile(interval="15m", trend="1h").raw)

    windows = windows_of(both, 2, 2)

    bounds = {at for window in windows for span in (window.train, window.test) for at in span}
    assert all(at is not None and (at - START_MS) % (15 * MINUTE_MS) == 0 for at in bounds)


def test_windows_of_bars_beside_ticks_cut_no_bar() -> None:
    """Ticks may end within a bar: the last common bound lies before it."""
    end_ms = START_MS + 60 * MINUTE_MS + 1

    assert _common_end(end_ms, START_MS, ["1m"]) == START_MS + 60 * MINUTE_MS
    assert _common_end(end_ms, START_MS, []) == end_ms


def _lots(bars: Sequence[Candle], size: int) -> list[Candle]:
    return [gathered(bars[at : at + size]) for at in range(0, len(bars) - size + 1, size)]


def parts_of(source: MarketSource) -> tuple[MarketSource, ...]:
    return source.sources if isinstance(source, Merged) else (source,)


def test_window_in_which_a_pair_has_no_bars_is_refused_before_the_search(
    job: Job, tmp_path: Path
) -> None:
    """A pair that ends early, begins late or pauses is refused with its window, not hours later."""
    bars = walk(300, seed=6, around=2000.0)
    for name, kept, place in (
        ("early", bars[:140], "window 2 of 2, judged"),
        ("late", bars[120:], "window 1 of 2, searched"),
        ("pausing", [*bars[:90], *bars[210:]], "window 1 of 2, judged"),
    ):
        (tmp_path / name).mkdir()
        file = write_klines(tmp_path / name, kept, "ETHUSDT-1m.csv")
        words = (*job.words, f"klines:{file}")
        both = job._replace(words=words, treatment=Treatment(gaps="keep"))

        with pytest.raises(Refusal, match=place) as refused:
            windows_of(both, 2, 1)

        assert str(file) in refused.value.message


@pytest.mark.process
def test_search_is_the_same_for_a_seed_and_its_rows_are_single_runs(job: Job) -> None:
    """A search equals itself in one process or two; another seed draws other trials."""
    ranges = [parse_range("strategy.rsi_period=5:30", PROFILE)]
    windows = windows_of(job, 1, 1)

    def search(job: Job, jobs: int) -> Found:
        (found,) = walk_forward(job, ranges, windows, figure="pnl", trials=4, jobs=jobs)
        return found

    one = search(job, 1)

    assert search(job, 2) == one
    assert search(job.changed("seed=77"), 1).trials != one.trials
    assert one.test.digest == run_job(_judged(job, windows[0]).changed(*one.best.sets)).digest
    assert one.plain.digest == run_job(_judged(job, windows[0])).digest
    best = max(float(trial.figures["pnl"]) for trial in one.trials)
    assert float(one.best.figures["pnl"]) == best
    document = optimise_document(job, ranges, [one], "pnl", 4)
    assert json.dumps(document) == json.dumps(optimise_document(job, ranges, [one], "pnl", 4))


def test_search_takes_every_seed_that_a_profile_may_have(job: Job) -> None:
    """A seed beyond those of the sampler draws trials of its own too."""
    ranges = [parse_range("strategy.rsi_period=5:30", PROFILE)]
    windows = windows_of(job, 1, 1)

    drawn = [
        walk_forward(job.changed(f"seed={seed}"), ranges, windows, figure="pnl", trials=2, jobs=1)[
            0
        ].trials
        for seed in (0, 9007199254740991)
    ]

    assert drawn[0] != drawn[1]


def _judged(job: Job, window: Window) -> Job:
    return job._replace(span=window.test)


WINDOW = Window(Span(0, 300), Span(300, 400))


@pytest.mark.parametrize(
    ("inside", "outside", "parted"),
    [("30", "5", False), ("30", "4.9", True), ("-30", "-20", False), ("-30", "-20.1", True),
     ("30", None, True)],
)  # fmt: skip
def test_window_parts_when_it_is_less_than_half_as_good_for_as_much_time(
    inside: str, outside: str | None, parted: bool
) -> None:
    """A window fails below half of its search's result, which is first scaled to its time."""
    found = Found(WINDOW, row(inside), row(outside), row("0"), ())

    assert parts_company(found, "pnl") is parted
    assert str(in_sample(found, "pnl")) in ("10.00000000", "-10.00000000")


def test_cost_parts_when_it_is_more_than_twice_as_large() -> None:
    """A window fails above twice the search's drawdown, which is not scaled with time."""
    found = Found(WINDOW, row("1", drawdown_max="2"), row("1", drawdown_max="4"), row("0"), ())

    assert not parts_company(found, "drawdown_max")
    worse = replace(found, test=row("1", drawdown_max="4.1"))
    assert parts_company(worse, "drawdown_max")


@pytest.mark.parametrize(
    ("figure", "inside", "outside"),
    [("equity", "10400", "9600"), ("profit_factor", "1.5", "0.8"), ("win_rate", "0.5", "0.4")],
)
def test_search_that_loses_out_of_sample_says_so_by_whatever_figure(
    figure: str, inside: str, outside: str
) -> None:
    """Equity and a profit factor stay positive while money is lost: neither hides it."""
    plain = row("-500", **{figure: "0"})
    best, test = row("400", **{figure: inside}), row("-400", **{figure: outside})
    found = Found(WINDOW, best, test, plain, (best,))

    lines = optimise_words.lines([found], figure)

    assert parts_company(found, figure) is (figure != "win_rate")
    assert any("loses out of sample" in line for line in lines)


@pytest.mark.parametrize(
    ("names", "is_idle"), [(("x", "x"), False), (("x", "y"), True), (("x", "x", "y"), True)]
)
def test_search_is_called_idle_by_points_that_differ(names: tuple[str, ...], is_idle: bool) -> None:
    """A point drawn twice has its own digest again: that says nothing of what is varied."""
    trials = tuple(row("1", name) for name in names)
    found = Found(WINDOW, trials[0], row("1"), row("0"), trials)

    lines = optimise_words.lines([found], "pnl")

    assert any("changes no decision" in line for line in lines) is is_idle


def test_equity_and_profit_factor_that_keep_half_of_the_gain_hold() -> None:
    """A window that earns as much for its time out of sample as in sample does not part."""
    best = row("30", equity="10030", profit_factor="1.5")
    found = Found(WINDOW, best, row("9", equity="10009", profit_factor="1.3"), row("0"), ())

    assert not parts_company(found, "equity")
    assert not parts_company(found, "profit_factor")


@pytest.mark.parametrize("outside", ["12", "4"])
def test_window_that_stopped_out_of_sample_parts_whatever_its_figure(outside: str) -> None:
    """A stopped stretch does not hold, and the words name the stop once and no halved figure."""
    stopped = replace(row(outside), stop="RISK_LIMIT")
    found = Found(WINDOW, row("30"), stopped, row("3"), (row("30"),))
    held = replace(found, test=row("12"))

    lines = optimise_words.lines([found, held], "pnl")

    assert parts_company(found, "pnl")
    assert not parts_company(held, "pnl")
    warnings = [line for line in lines if line.startswith("WARNING")]
    assert len(warnings) == 1
    assert "in 1 of 2 windows the run was stopped" in warnings[0]


def test_range_sets_the_value_at_a_place() -> None:
    """A sampler's draw is an index into the range's values."""
    assert Range("a.b", ("x", "y"), False).set(1) == "a.b=y"
