"""Checks of `minibot doctor`: set-up, machine, AI's jail, last night, trials, entries, exchange."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator

from minibot.cli.support.entry_checks import MARKETS, entry_checks, market_check
from minibot.cli.support.leftover_checks import account_checks, leftover_checks
from minibot.cli.support.machine_checks import machine_checks
from minibot.cli.support.trial_checks import trial_checks
from minibot.exchanges.base import REFUSED, RestError, StreamLost
from minibot.kernel.errors import MinibotError
from minibot.market.connections import groups_of
from minibot.market.venue_access import heeding_rest, new_stream, server_time, venue_of
from minibot.report.summary import Row
from minibot.runtime.configuration.config import Config
from minibot.runtime.paths import Var
from minibot.simulator.sources.sources import open_source
from minibot.watchdog.preflight import (
    AI_JAIL,
    FAIL,
    NETWORK,
    OK,
    WARN,
    CheckResult,
    exchange_checks,
    preflight,
)

PYTHON_MIN = (3, 11)
NEW_PYTHON = "Install Python 3.11 or later, then: python3.11 tools/with_env.py -m minibot doctor"
_LEVEL_WIDTH = 6
_TONES = {OK: "", WARN: "dim", FAIL: "bad"}
NO_AI = "Run without it: --set ai.enabled=false --set ai.required=false"


def examine(config: Config, var: Var, words: str = "") -> Iterator[CheckResult]:
    """Yield every check: set-up, machine, the AI's jail, last night, trials, entries, exchange.

    Args:
        config: The profile.
        var: Its folder.
        words: Words of a command line that name the profile, for a remedy.
    """
    yield _python()
    # The jail is checked below, together with what it lets the AI use.
    yield from (found for found in preflight(config, var, whole=True) if found.name != AI_JAIL)
    if config.ai.enabled:
        yield _ai(config, var)
    yield from machine_checks(config, var)
    yield from leftover_checks(var)
    yield from account_checks(config, var)
    yield from trial_checks(config, var, words)
    yield from entry_checks(config)
    yield from _market_data(config)


def _python() -> CheckResult:
    found = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    is_new = sys.version_info[:2] >= PYTHON_MIN
    return CheckResult("python", is_new, found, "" if is_new else NEW_PYTHON)


def _ai(config: Config, var: Var) -> CheckResult:
    """Start a jailed worker once, as a run would."""
    # Imported here because it brings the worker's own modules.
    from minibot.ai.preflight import check_jail

    level_min = config.ai.isolation_min.get(sys.platform, "jail")
    try:
        found = check_jail(var.lab_of("doctor").root / "ai", config.ai.memory_mb_max, level_min)
    except (MinibotError, OSError) as error:
        return CheckResult("AI sandbox", not config.ai.required, f"not checked: {error}", NO_AI)
    if found.problem:
        # Where the AI is not required, a run continues without it and is marked so.
        text = f"{found.problem}; the AI would be off"
        return CheckResult("AI sandbox", not config.ai.required, text, NO_AI)
    missing = found.lightgbm_missing
    model = "LightGBM loads" if found.lightgbm else f"baseline only, LightGBM: {missing}"
    found_text = f"sandbox available: {found.level} (profile requires at least {level_min})"
    return CheckResult("AI sandbox", True, f"{found_text}; {model}")


def _market_data(config: Config) -> Iterator[CheckResult]:
    if config.embedded is not None:
        yield _source(config)
        return
    found = exchange_checks(config, server_time)
    yield from found
    # A dynamic universe names its symbols by what is listed.
    if found[0].passed and (config.universe is None or config.universe.mode == "static"):
        yield _markets(config)
    yield _stream(config)


def _source(config: Config) -> CheckResult:
    if config.embedded is None:
        return CheckResult("market data", True, "from the exchange")
    word = config.embedded.source
    try:
        facts = open_source(word, config.embedded.rate_per_s).facts
    except (MinibotError, OSError) as error:
        remedy = "Name another source: --set embedded.source=tape:demo"
        return CheckResult("market data", False, f"{word}: {error}", remedy)
    symbols = ", ".join(facts.symbols)
    return CheckResult("market data", True, f"{word}: {symbols}, from the embedded exchange")


def _markets(config: Config) -> CheckResult:
    rest = heeding_rest(config, config.var.root)
    try:
        return market_check(config, rest.instruments(config.exchange.symbols))
    except RestError as error:
        if error.kind == REFUSED:  # As a start would be, after it has made a run and a flag.
            remedy = f"Correct {config.venue}.symbols, which name a market that is not listed."
            return CheckResult(MARKETS, False, str(error), remedy)
        return CheckResult(MARKETS, True, f"not checked: {error}", "minibot doctor, again")
    finally:
        rest.close()


def _stream(config: Config) -> CheckResult:
    """Check the combined stream by opening it once."""
    exchange, streams = config.exchange, venue_of(config).streams
    groups = groups_of(exchange.symbols, streams)
    named = streams.named_in_address(groups)
    stream = new_stream(config, [name for symbol in named for name in groups[symbol]])
    try:
        stream.open()
    except StreamLost as error:
        text = f"{exchange.stream_url}: {error}"
        return CheckResult("stream", False, text, f"{NETWORK}: curl -sI {exchange.rest_url}")
    finally:
        stream.close()
    return CheckResult("stream", True, f"{exchange.stream_url} opens")


def rows(results: list[CheckResult]) -> Iterator[Row]:
    """Yield the rows of each check with its level, and the remedy if it is not OK."""
    for result in results:
        tone = _TONES[result.level]
        for number, line in enumerate(result.lines):
            level = "" if number else result.level
            yield Row("" if number else result.name, f"{level:<{_LEVEL_WIDTH}}{line}", tone)
        if result.level != OK:
            yield Row("", f"{'':<{_LEVEL_WIDTH}}fix: {result.remedy or 'see above'}", tone)


def as_json(results: list[CheckResult]) -> list[dict[str, object]]:
    """Return each check as one JSON object."""
    return [
        {
            "name": result.name,
            "level": result.level,
            "passed": result.passed,
            "found": result.found,
            "remedy": result.remedy or None,
        }
        for result in results
    ]


def verdict(profile: str, results: list[CheckResult]) -> str:
    """Return in one line whether the profile can run here, and the checks to look at."""
    failed, warned = (
        ", ".join(result.name for result in results if result.level == level)
        for level in (FAIL, WARN)
    )
    if failed:
        return f"{profile} cannot run here: {failed}"
    return f"{profile} can run here" + (f"; to look at: {warned}" if warned else "")
