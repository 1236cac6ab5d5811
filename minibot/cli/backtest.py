"""minibot backtest: run the profile's cores on historical data."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from minibot.backtest.sources.source_words import COLUMNS, LOGGED, RULE, RUN
from minibot.backtest.sources.span import ALL, parse_span
from minibot.cli.support.idea import add_idea, fed, judge_source, take_idea
from minibot.cli.support.output import progress_bar, say
from minibot.cli.support.profile import profile_of, recorded_profile
from minibot.cli.support.publishing import add_output_flags, publish, twice
from minibot.cli.support.searching import ALL_FILLS, add_flags, search
from minibot.cli.support.selection import add_profile, find_run, var_of
from minibot.cli.support.treatment import add_treatment, treatment_of
from minibot.compiled import offer
from minibot.data.klines import KLINES
from minibot.engine.collector import spared_collector
from minibot.report.figures import counted
from minibot.runtime.configuration.own_source import SHIPPED
from minibot.runtime.paths import PROJECT

if TYPE_CHECKING:
    from minibot.backtest.report.drawn_sections import DrawnSections
    from minibot.backtest.report.review import Review
    from minibot.backtest.search.backtest_job import Job
    from minibot.events.model import JsonObject
    from minibot.runtime.configuration.config import Config

HELP = "run the same cores on history: tape, klines, columns, recorded run or synthetic market"
EXAMPLE = "minibot backtest --source tape:demo --set strategy.rsi_period=21"
DEFAULT_PROFILE: Final = PROJECT.joinpath("config", "nore-demo.v1.json").relative_to(PROJECT)
DEFAULT_SOURCE: Final = "tape:demo"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_profile(command, DEFAULT_PROFILE)
    command.add_argument(
        "--source",
        action="append",
        help="tape:FILE, klines:FILE, columns:DIR, run:RUN or generator:SEED; shipped are "
        "tape:demo, klines:btcusdt-1m and klines:ethusdt-1m; "
        f"several are one portfolio (default: {DEFAULT_SOURCE}, or with a flag of your idea the "
        "shipped minutes of its pairs)",
    )
    command.add_argument(
        "--timerange",
        default="",
        metavar="FROM-TO",
        help="trade this part alone; what lies before warms up the indicators: 20250101-20250701",
    )
    command.add_argument(
        "--run-order",
        choices=(LOGGED, RULE),
        default=LOGGED,
        help="event order of run:DIR with its own profile: as recorded in the night (default), "
        "or deterministic",
    )
    add_idea(command)
    add_treatment(command)
    add_flags(command)
    add_output_flags(command)


def run(arguments: argparse.Namespace) -> int:
    """Run a backtest; 0 when it reached its end, 1 when risk stopped it.

    A check, a sweep and `--twice` exit by their own verdict.
    """
    # Imported here because `--help` needs none of it.
    from minibot.backtest.report.documents import document_of, unchanged
    from minibot.backtest.search.assumptions import KEY
    from minibot.backtest.search.backtest_job import Job

    folders = name_runs(arguments)
    take_idea(arguments, changed_run(arguments, arguments.source or ()))
    words = arguments.source or [DEFAULT_SOURCE]
    if arguments.twice:
        return twice(arguments, folders)
    config, fitted = market_profile(arguments, words)
    span = parse_span(arguments.timerange) if arguments.timerange else ALL
    treatment = treatment_of(arguments)
    job = Job(tuple(words), config.raw, (), span, treatment, arguments.run_order)
    if arguments.fills != ALL_FILLS:
        job = job.changed(f"{KEY}={arguments.fills}")
    judge_source(arguments, job)
    # Compared backtests need one event order, and only rule order is common to all profiles.
    done = search(arguments, job._replace(order=RULE))
    if done is not None:
        return done
    with spared_collector(is_last=True):
        with unchanged(words, config.raw):
            reviews, drawn = reviews_of(arguments, job._replace(draws=arguments.keep))
            for review in reviews.values():
                review.result.assumptions = (*fitted, *review.result.assumptions)
            document = document_of(reviews, words)
        code = publish(arguments, document, reviews, drawn)
    is_seen = sys.stderr.isatty() and not arguments.json and is_compilable(words, config)
    walked_s = next(iter(reviews.values())).result.elapsed_s
    if is_seen and (offered := offer(walked_s)):
        say(f"note: {offered}")
    return code


def is_compilable(words: list[str], config: Config) -> bool:
    """Return whether compiled cores do most of a backtest: rows, and no user's strategy."""
    kinds = {word.partition(":")[0] for word in words}
    return kinds <= {KLINES, COLUMNS} and config.strategy.name in SHIPPED


def name_runs(arguments: argparse.Namespace) -> dict[str, str]:
    """Name the runs in `--source` by their folders; return these words by those given."""
    given = arguments.source or []
    words = [named(word, arguments) for word in given]
    arguments.source = words or None
    return dict(zip(given, words, strict=True))


def changed_run(arguments: argparse.Namespace, words: Sequence[str]) -> JsonObject | None:
    """Return the recorded run's profile if that is the profile to change, else None."""
    from minibot.backtest.sources.source_spec import run_of

    recorded = run_of(words) if words else None
    if recorded is None or arguments.config is not DEFAULT_PROFILE:
        return None
    return recorded.manifest.config


def named(word: str, arguments: argparse.Namespace) -> str:
    """Return a source word in which a run's id or `latest` is replaced by the run's folder."""
    kind, _, rest = word.partition(":")
    if kind != RUN or not rest or os.path.exists(Path(rest, "manifest.json")):
        return word
    return f"{RUN}:{find_run(rest, var_of(arguments))}"


def sources_text(words: Sequence[str]) -> str:
    """Return sources for a line of progress: one as it was given, several by their number."""
    return words[0] if len(words) == 1 else counted(len(words), "source")


def reviews_of(
    arguments: argparse.Namespace, job: Job
) -> tuple[dict[str, Review], DrawnSections | None]:
    """Return the reviews by fill assumption, and the sections drawn of the first one.

    The reviews are all of the band, the profile's own first, or the job's alone. Nothing is drawn
    if `job.draws` is false.
    """
    from minibot.backtest.driver import run_backtest
    from minibot.backtest.report.review import Review
    from minibot.backtest.search.assumptions import run_band
    from minibot.engine.decision_record import DecisionRecord

    drawn: DrawnSections | None = None

    def draw(review: Review) -> None:
        nonlocal drawn
        if job.draws:
            # Imported here because only a page needs it.
            from minibot.backtest.report.drawn_sections import DrawnSections

            drawn = DrawnSections.of(review)

    with progress_bar(f"backtest {sources_text(job.words)}") as show_progress:
        if arguments.fills == ALL_FILLS:
            reviews = run_band(job, arguments.jobs, show_progress, draw)
        else:
            record = DecisionRecord(is_for_page=True)
            result = run_backtest(
                job.open(), job.config, show_progress, draws=job.draws, record=record
            )
            reviews = {arguments.fills: Review.of(result)}
            draw(reviews[arguments.fills])
    return reviews, drawn


def market_profile(
    arguments: argparse.Namespace, words: list[str]
) -> tuple[Config, tuple[str, ...]]:
    """Return the profile: the named one, or that of the night if the source is a recorded run.

    If the source's bars are longer than the profile's, the profile decides on the source's; the
    second value then says so, as does a line on stderr.
    """
    from minibot.backtest.sources.source_interval import fitted_sets, fitted_words
    from minibot.runtime.configuration.config import config_with
    from minibot.strategies.selection import judge

    recorded = changed_run(arguments, words)
    if recorded is not None:
        config = fed(arguments, recorded_profile(recorded, arguments))
        judge(config.raw, config.given)
        return config, ()
    config = profile_of(arguments)
    fitted: tuple[str, ...] = ()
    given = config.given
    if sets := fitted_sets(words, config):
        before, config = config, config_with(config.raw, sets)
        fitted = (fitted_words(before, config),)
        say(f"note: {fitted[0]}")
    config = fed(arguments, config)
    judge(config.raw, given)
    return as_nights(config), fitted


def as_nights(config: Config) -> Config:
    """Return a profile in which a long market is a series of nights, each with its own budgets."""
    if "night_ms" in (config.raw.get("backtest") or {}):
        return config
    from minibot.runtime.configuration.config import config_with

    return config_with(config.raw, [f"backtest.night_ms={config.duration_ms}"])
