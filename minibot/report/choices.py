"""Choices of a run or backtest: its strategy, and how its profile differs from others.

A key of strategy, risk, execution or portfolio is changed if its value differs from the shipped
profile of the same name; without one, from the night's own profile, `config/nore.v1.json`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final

from minibot.events.model import JsonObject
from minibot.report.figures import plain_text
from minibot.runtime.configuration.config_files import SHIPPED, read_profile
from minibot.runtime.manifest import Manifest

BASE: Final = "nore"
OVERLAYS: Final = (
    *("nore-demo", "nore-smoke", "paper", "portfolio"),
    *("conservative", "balanced", "aggressive"),
)
SECTIONS: Final = ("strategy", "risk", "execution", "portfolio")
# The report names the strategy next to the changes; its text is in the manifest.
NAMED: Final = ("strategy.name", "strategy.folder", "strategy.source")
ABSENT: Final = "absent"
CHANGES_SHOWN: Final = 8
VALUE_LENGTH: Final = 28


def strategy_of(config: JsonObject) -> str:
    """Return the name of a profile's strategy."""
    return str(config["strategy"]["name"])


def symbols_of(manifest: Manifest, priced: Iterable[str]) -> tuple[str, ...]:
    """Return a run's symbols: with a universe those that had prices, else those of its manifest."""
    has_universe = manifest.config.get("universe") is not None
    return (tuple(sorted(priced)) if has_universe else ()) or manifest.symbols


def changed_keys(config: JsonObject) -> dict[str, str]:
    """Return the changed keys of a resolved profile with their values, `absent` for a missing one.

    Args:
        config: The profile, as manifest or result holds it.
    """
    own: JsonObject = {name: config[name] for name in SECTIONS if name in config}
    found = differing(own, _base(str(config.get("profile", ""))))
    names = [key for key in found if not key.startswith(NAMED)]
    return {key: found[key][0] for key in sorted(names, key=_place)}


def changed_words(config: JsonObject) -> str:
    """Return the changed keys in words, the strategy's own without its section; "" for none."""
    changed = changed_keys(config)
    lines = [
        f"{key.removeprefix('strategy.')}={plain_text(value, VALUE_LENGTH)}"
        for key, value in changed.items()
    ]
    more = len(lines) - CHANGES_SHOWN
    return " ".join(lines[:CHANGES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def differing(first: JsonObject, second: JsonObject) -> dict[str, tuple[str, str]]:
    """Return every dotted key whose values differ, with both, in order."""
    flat = [dict(_flat("", each)) for each in (first, second)]
    names = sorted({*flat[0], *flat[1]})
    pairs = {name: (flat[0].get(name, ABSENT), flat[1].get(name, ABSENT)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _place(key: str) -> tuple[int, str]:
    return SECTIONS.index(key.partition(".")[0]), key


@cache
def _base(profile: str) -> JsonObject:
    """Return the sections of the shipped profile of a name, else of the night's own."""
    name = profile if profile in OVERLAYS else BASE
    raw = read_profile(SHIPPED / f"{name}.v1.json").raw
    return {section: raw[section] for section in SECTIONS}


def _flat(above: str, values: JsonObject) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(f"{above}{name}.", value)
        else:
            yield f"{above}{name}", _text(value)


def _text(value: object) -> str:
    """Return a value as `--set` takes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
