"""Fallback for the exchange in a paper profile, if the host cannot be reached.

Mode NORE, the mode of nights, has none: an unreachable host is a refusal. In mode PAPER a synthetic
market from a seed takes over, at the speed of real time, if the profile allows it. The run's
manifest and every `health` event say so, and the run does not count as a night.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from minibot.cores.core_profile import CARRY
from minibot.runtime.configuration.config import Config, config_of_manifest
from minibot.runtime.configuration.config_sections import EMBEDDED
from minibot.watchdog.preflight import EXCHANGE, CheckResult

GENERATOR: Final = "generator"
# The reason is repeated in every `health` event.
WHY_CHARS_MAX: Final = 500


class Fallback(NamedTuple):
    """Fallback: the profile as changed for it, and the reason."""

    config: Config
    why: str


def fallback_of(config: Config, checks: Sequence[CheckResult]) -> Fallback | None:
    """Return the fallback for an exchange that failed these checks; None if none is due or allowed.

    A wrong clock is not an unreachable host: it is refused in every mode.
    """
    paper = config.paper
    failed = [check for check in checks if not check.passed]
    if paper is None or [check.name for check in failed] != [EXCHANGE]:
        return None
    source = source_of(paper.fallback, config.exchange.symbols)
    raw = {
        **config.raw,
        # The account of real nights stays as the last of them left it.
        "portfolio": {**config.raw["portfolio"], "start_from": "fresh"},
        config.venue: {**config.raw[config.venue], "rest_url": EMBEDDED, "stream_url": EMBEDDED},
        "embedded": {
            "source": source,
            "speed": "1",
            "history": None,
            "faults": None,
            "port": 0,
            "rate_per_s": paper.rate_per_s,
        },
    }
    why = f"{failed[0].found}; {source} stands in"
    if config.portfolio.start_from == CARRY:
        why += ", afresh: nothing is carried on"
    stand_in = replace(config_of_manifest(raw), base=config.base, read=config.read)
    return Fallback(stand_in, why[:WHY_CHARS_MAX])


def source_of(word: str, symbols: Sequence[str]) -> str:
    """Return the source specification, with the profile's symbols if it names none."""
    kind, _, rest = word.partition(":")
    if kind == GENERATOR and ":" not in rest:
        return f"{word}:{','.join(symbols)}"
    return word
