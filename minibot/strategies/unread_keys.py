"""Unread keys: set in the profile, but without effect because the strategy does not read them.

The section `strategy` has all numbers of `nore_strategy_v1`. Another strategy has its own
parameters, and besides those a run reads only a few keys of the section.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Final

from minibot.events.model import JsonObject
from minibot.strategies.declaration import Parameter

SECTION: Final = "strategy."
PARAMETERS: Final = "parameters"
# The strategy whose numbers are keys of the section.
READS_ALL: Final = "nore_strategy_v1"
# Keys that a run itself reads: strategy, bars for exits, AI and backtest, and horizon.
READ_BY_RUN: Final = frozenset(
    (
        *("name", "folder", PARAMETERS, "source"),
        *("bar_interval", "trend_interval", "bars_from_ticks", "atr_period", "horizon_ms"),
    )
)
WHOLE_PROFILE: Final = "profile"


def unread_violations(
    section: JsonObject, parameters: tuple[Parameter, ...], given: Mapping[str, str]
) -> list[str]:
    """Return one sentence for each set key of the section that the strategy does not read.

    Args:
        section: The section `strategy` of a resolved profile.
        parameters: The parameters that the strategy declares.
        given: Dotted keys set by a person, with the place of each.
    """
    if section["name"] == READS_ALL:
        return []
    read = READ_BY_RUN | _read_by(section)
    names = [parameter.name for parameter in parameters]
    found = []
    for key, origin in sorted(given.items()):
        name = key.removeprefix(SECTION).partition(".")[0]
        if not key.startswith(SECTION) or name in read:
            continue
        near = get_close_matches(name, names, 1, 0.5)
        rest = f"its parameters: {', '.join(names)}" if names else "it takes no parameters"
        if near:
            rest = f"did you mean its parameter {SECTION}{PARAMETERS}.{near[0]}?"
        value = section.get(name)
        found.append(f"{key} = {value!r} ({origin}): {section['name']} does not read it; {rest}")
    return found


def _read_by(section: JsonObject) -> frozenset[str]:
    """Return the keys that an own strategy may read from the whole profile."""
    source = section.get("source")
    return frozenset() if source is None else _texts_beside_profile(source["text"])


@cache
def _texts_beside_profile(text: str) -> frozenset[str]:
    """Return every text in a file that uses `settings.profile`: any of them may be a key."""
    nodes = list(ast.walk(ast.parse(text)))
    if not any(isinstance(node, ast.Attribute) and node.attr == WHOLE_PROFILE for node in nodes):
        return frozenset()
    return frozenset(
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
