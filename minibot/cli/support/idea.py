"""Idea of a command line: strategy, timeframe, pairs and fee as keys of the profile, and a span.

`--timeframe 5m` replaces three keys by one word; `--from` and `--to` become `--timerange`. The
meaning of all is shown in one line, and a `--set` of the same key is stronger. Bad input gives one
line and exit code 4, before anything is run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from minibot.cli.support.moments import moment_of
from minibot.cli.support.output import say
from minibot.cli.support.profile import profile_of, recorded_profile
from minibot.cli.support.treatment import treatment_of
from minibot.events.intervals import INTERVAL_MS, warmup_raised
from minibot.exchanges.tapes.kline_bars import INTERVALS, divides
from minibot.exchanges.tapes.shipped_bars import SHIPPED_BARS
from minibot.exchanges.venue_facts import SYMBOL
from minibot.exchanges.venues import VENUES
from minibot.kernel.errors import ConfigError
from minibot.report.figures import long_duration, plain_text
from minibot.runtime.configuration.own_source import name_fault
from minibot.runtime.pasting import pasted
from minibot.runtime.paths import find, resolve

if TYPE_CHECKING:
    from minibot.backtest.search.backtest_job import Job
    from minibot.data.treatment import Treatment
    from minibot.engine.recorded_run import Recorded
    from minibot.events.model import JsonObject
    from minibot.runtime.configuration.config import Config

# Ten percent; a higher fee is a typing error, and no venue's.
FEE_BPS_MAX: Final = Decimal(1000)
FEE: Final = re.compile(r"(\d{1,6}(?:\.\d{1,4})?) ?(%|bps)")
BPS_PER_PERCENT: Final = 100
BAR_MINUTES: Final = "1m"
# Keys that `--timeframe` replaces.
OF_BARS: Final = ("market.bar_intervals", "strategy.bar_interval", "strategy.trend_interval")
DEFAULT_PAIR: Final = "BTCUSDT"
SHOWN_MAX: Final = 40
MESSAGE_MAX: Final = 400
EPOCH_YEAR: Final = 1970


def add_idea(command: argparse.ArgumentParser, *, is_night: bool = False) -> None:
    """Add the flags of an idea; a night has no span of history."""
    group = command.add_argument_group(
        "your idea", "each is translated into other flags, which are shown"
    )
    group.add_argument("--strategy", metavar="NAME", help="a shipped strategy, or a file of yours")
    group.add_argument("--timeframe", metavar="5m", help="the bars that it decides on")
    group.add_argument("--pairs", metavar="BTC/USDT,ETH/USDT", help="what it trades")
    group.add_argument("--fee", metavar="0.1%", help="of each fill, as 0.1%% or 10bps")
    if not is_night:
        group.add_argument("--from", dest="start", metavar="DATE", help="2025-06-02, UTC")
        group.add_argument("--to", dest="end", metavar="DATE", help="up to, excluded")


def take_idea(arguments: argparse.Namespace, recorded: JsonObject | None = None) -> None:
    """Translate the flags into `--set`, `--source` and `--timerange`, and show them.

    Without `--source`, an idea of a backtest is tried on the shipped minutes of its pairs.

    Args:
        arguments: The arguments of a verb with the flags of `add_idea` and a profile's.
        recorded: Profile of the run that is the source, where it is changed and not `--config`'s.

    Raises:
        ConfigError: One of them is impossible.
    """
    flags = ("strategy", "timeframe", "pairs", "fee", "start", "end")
    if all(getattr(arguments, flag, None) is None for flag in flags):
        return
    config = _changed_profile(arguments, recorded)
    pairs = _pairs(arguments.pairs, config)
    meant = [*_strategy_sets(arguments.strategy, config), *_timeframe_sets(arguments, config)]
    meant += _fee_sets(arguments.fee)
    if pairs:
        meant.append(f"{config.venue}.symbols={json.dumps(pairs)}")
    shown = []
    if "source" in arguments:
        shown += _span_words(arguments)
        if arguments.source is None:
            arguments.source = _shipped_words(pairs or [DEFAULT_PAIR])
            shown += [text for word in arguments.source for text in ("--source", word)]
        elif pairs:
            treatment = treatment_of(arguments)
            arguments.source = _words_with(arguments.source, pairs, config, treatment)
    shown += [text for each in meant for text in ("--set", each)]
    arguments.set = [*meant, *arguments.set]
    has_trend = any(each.startswith("strategy.trend_interval=") for each in meant)
    # As a comment of the shell, so that the line may be typed again.
    why = "  # the trend keeps its number of bars" if has_trend else ""
    say(f"means: {pasted(*shown)}{why}")


def _changed_profile(arguments: argparse.Namespace, recorded: JsonObject | None) -> Config:
    """Return the profile that the flags change.

    A `--set` of intervals may fit those of `--timeframe` alone; the verb judges both together.
    """

    def read(given: argparse.Namespace) -> Config:
        return profile_of(given) if recorded is None else recorded_profile(recorded, given)

    try:
        return read(arguments)
    except ConfigError:
        others = [text for text in arguments.set if text.partition("=")[0].strip() not in OF_BARS]
        if arguments.timeframe is not None and len(others) < len(arguments.set):
            with suppress(ConfigError):
                return read(argparse.Namespace(**{**vars(arguments), "set": others}))
        raise


def fed(arguments: argparse.Namespace, config: Config) -> Config:
    """Return a profile that gives the strategy of `--strategy` the bars that it needs.

    A strategy that `judge` refuses gets none: the refusal comes from there, with its exit code.
    """
    if arguments.strategy is None:
        return config
    from minibot.backtest.sources.source_interval import built_set
    from minibot.runtime.configuration.config import config_with
    from minibot.strategies.selection import sound_needs

    needs = sound_needs(config.raw)
    if needs is None:
        return config
    built = config.market.bar_intervals
    sets = []
    if [name for name in needs.intervals if name not in built and name in INTERVALS]:
        sets.append(built_set(dict.fromkeys([*built, *needs.intervals])))
    warmup = config.market.warmup_bars
    raised = warmup_raised(warmup, needs.intervals, needs.history)
    if raised != warmup:
        sets.append(f"market.warmup_bars={json.dumps(raised)}")
    if not sets:
        return config
    words = pasted(*(text for each in sets for text in ("--set", each)))
    say(f"means: {words} (the strategy needs it)")
    return config_with(config.raw, sets)


def judge_source(arguments: argparse.Namespace, job: Job) -> None:
    """Refuse a timeframe for which the source makes not even one bar, and bars that a run lacks.

    Raises:
        ConfigError: It is too short, or the recorded run made other bars.
    """
    # Here and below: sources are imported only to open one, not for `--help`.
    from minibot.backtest.sources.source_interval import source_interval
    from minibot.backtest.sources.source_spec import run_of

    timeframe, recorded = arguments.timeframe, run_of(job.words)
    if recorded is not None:
        _judge_bars(recorded, job)
        return
    if timeframe is None:
        return
    base = source_interval(job.words)
    if base in INTERVALS and not divides(base, timeframe):
        raise _refused(f"--timeframe {timeframe}: the source has bars of {base}; name a multiple")
    source = job.open()
    if source.end_ms is not None:
        _judge_length(timeframe, source.end_ms - source.origin_ms)


def _judge_bars(recorded: Recorded, job: Job) -> None:
    """Refuse a strategy that needs bars that a run did not record: nothing builds them there."""
    from minibot.strategies.selection import choose

    chosen, made = choose(job.profile), recorded.manifest.config["market"]["bar_intervals"]
    if missing := [name for name in chosen.needs.intervals if name not in made]:
        needed = f"strategy {chosen.name} needs bars of {', '.join(missing)}"
        raise _refused(f"--source: {needed}: the run recorded bars of {', '.join(made)}")


def judge_played(arguments: argparse.Namespace, config: Config) -> None:
    """Refuse pairs and a timeframe that the market played to a night does not have.

    Raises:
        ConfigError: It has other symbols, or ends before the first bar closes.
    """
    if config.embedded is None or (arguments.pairs is None and arguments.timeframe is None):
        return
    from minibot.simulator.sources.sources import open_source

    facts = open_source(config.embedded.source, config.embedded.rate_per_s).facts
    if missing := [name for name in config.exchange.symbols if name not in facts.symbols]:
        raise _missing(missing, config.embedded.source, facts.symbols)
    if arguments.timeframe is not None and facts.end_ms is not None:
        _judge_length(arguments.timeframe, facts.end_ms - facts.origin_ms)


def _judge_length(timeframe: str, length_ms: int) -> None:
    if length_ms < INTERVAL_MS[timeframe]:
        raise _refused(
            f"--timeframe {timeframe}: the source lasts {long_duration(length_ms)}, "
            "so no bar of it closes"
        )


def _strategy_sets(word: str | None, config: Config) -> list[str]:
    if word is None:
        return []
    name = _strategy_name(word, config.strategy.folder)
    if why := name_fault({"name": name, "folder": config.strategy.folder}):
        raise _refused(f"--strategy {name[:SHOWN_MAX]}: {why}")
    return [f"strategy.name={name}"]


def _strategy_name(word: str, folder: str) -> str:
    """Return the name of a strategy; of a file in the strategies' folder, its stem."""
    if not word.endswith(".py"):
        return word
    path = find(word)
    if os.path.realpath(path.parent) == os.path.realpath(resolve(folder)):
        return path.stem
    remedy = f"give --strategy {path.stem[:SHOWN_MAX]}, and its folder: --set strategy.folder=DIR"
    raise _refused(f"--strategy {word[:SHOWN_MAX]}: no file in {folder}; {remedy}")


def _timeframe_sets(arguments: argparse.Namespace, config: Config) -> list[str]:
    timeframe = arguments.timeframe
    if timeframe is None:
        return []
    if timeframe not in INTERVAL_MS:
        raise _refused(f"--timeframe {timeframe[:SHOWN_MAX]}: known are {', '.join(INTERVAL_MS)}")
    from minibot.backtest.sources.source_interval import interval_sets

    return interval_sets(timeframe, config)


def _fee_sets(text: str | None) -> list[str]:
    if text is None:
        return []
    found = FEE.fullmatch(text.strip())
    if found is None:
        raise _refused(f"--fee {text[:SHOWN_MAX]}: expected a share with its unit: 0.1% or 10bps")
    fee = Decimal(found[1]) * (BPS_PER_PERCENT if found[2] == "%" else 1)
    if fee > FEE_BPS_MAX:
        most = FEE_BPS_MAX / BPS_PER_PERCENT
        raise _refused(f"--fee {text[:SHOWN_MAX]}: expected at most {most:f}% of each fill")
    return [f"execution.{side}_fee_bps={fee.normalize():f}" for side in ("maker", "taker")]


def _pairs(text: str | None, config: Config) -> list[str]:
    if text is None:
        return []
    read = VENUES[config.venue].symbols.read
    names = list(dict.fromkeys(read(part) for part in text.split(",")))
    for name in names:
        if SYMBOL.fullmatch(name) is None:
            raise _refused(f"--pairs: {name[:SHOWN_MAX]!r} is not a pair; as BTC/USDT,ETH/USDT")
    return names


def _span_words(arguments: argparse.Namespace) -> list[str]:
    """Return the words of `--timerange` for `--from` and `--to`, and take them over."""
    if arguments.start is None and arguments.end is None:
        return []
    if arguments.timerange:
        raise _refused("--timerange says what --from and --to say; give one of them")
    moments = []
    for flag, text in (("--from", arguments.start), ("--to", arguments.end)):
        moment = None if text is None else moment_of(text)
        if text is not None and (moment is None or moment.year < EPOCH_YEAR):
            raise _refused(f"{flag} {text[:SHOWN_MAX]}: expected a date, as 2025-06-02")
        moments.append(moment)
    first, last = moments
    if first is not None and last is not None and first >= last:
        raise _refused(f"--from {arguments.start} is not before --to {arguments.end}")
    bounds = ["" if each is None else f"{each:%Y%m%d%H%M%S}" for each in moments]
    # A day's beginning reads better as a date.
    bounds = [text[:8] if text.endswith("000000") else text for text in bounds]
    arguments.timerange = "-".join(bounds)
    return ["--timerange", arguments.timerange]


def _shipped_words(pairs: Sequence[str]) -> list[str]:
    names = {pair: f"{pair.lower()}-{BAR_MINUTES}" for pair in pairs}
    if missing := [pair for pair, name in names.items() if name not in SHIPPED_BARS]:
        shipped = [name.removesuffix(f"-{BAR_MINUTES}").upper() for name in SHIPPED_BARS]
        raise _missing(missing, "what minibot ships", shipped, "; name another by --source")
    return [f"klines:{name}" for name in names.values()]


def _words_with(
    words: Sequence[str], pairs: Sequence[str], config: Config, treatment: Treatment
) -> list[str]:
    """Return the source words that have a pair.

    Raises:
        ConfigError: A pair is in none of them, or a word plays more than the pairs.
    """
    from minibot.backtest.sources.source_interval import fitted_sets
    from minibot.backtest.sources.source_spec import open_market
    from minibot.runtime.configuration.config import config_with

    symbols = {}
    for word in words:
        fitting = config_with(config.raw, fitted_sets([word], config))
        symbols[word] = open_market([word], fitting, treatment=treatment).symbols
    there = [symbol for each in symbols.values() for symbol in each]
    if missing := [pair for pair in pairs if pair not in there]:
        raise _missing(missing, ", ".join(words), there)
    for word, played in symbols.items():
        others = [symbol for symbol in played if symbol not in pairs]
        if others and len(others) < len(played):
            raise _refused(f"--pairs: {word} plays {', '.join(others)} too; name single files")
    return [word for word, played in symbols.items() if played[0] in pairs]


def _missing(
    pairs: Iterable[str], where: str, there: Iterable[str], remedy: str = ""
) -> ConfigError:
    return _refused(
        f"--pairs: {', '.join(pairs)} is not in {where}, which has {', '.join(there)}{remedy}"
    )


def _refused(message: str) -> ConfigError:
    return ConfigError(f"{plain_text(message, MESSAGE_MAX)}.", ())
