"""Layers of a profile: files, environment and `--set`, with the origin of every value.

Precedence: `--set section.key=value`, then `MINIBOT__SECTION__KEY`, then staged settings, then the
overlay, then its base. A value from `--set` or the environment is JSON if it parses, else text. A
JSON number with a point is kept as its own characters: floats exist nowhere in a profile.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from minibot.events.model import JsonObject
from minibot.runtime.configuration.config_files import (
    DEPTH_MAX,
    EXTENDS,
    MANIFEST,
    leaves_below,
    parse,
    printable,
)
from minibot.runtime.configuration.shown_values import shown_text, shown_value

ENV_PREFIX: Final = "MINIBOT__"
# One underscore fewer, and the variable would have no effect.
_ENV_NEARLY: Final = re.compile(r"MINIBOT_[^_].*__", re.IGNORECASE | re.DOTALL)
SET: Final = "--set"
STAGED: Final = "minibot settings"
SIMULATED: Final = "; one with a simulated source: --config config/nore-demo.v1.json"


@dataclass(slots=True)
class Layers:
    """Profile merged from its layers, not yet judged; `violations` are faults of the layers."""

    raw: JsonObject
    origin: dict[str, str]
    violations: list[str] = field(default_factory=list)
    by_section: set[str] = field(default_factory=set)
    """Keys that came with a whole section, which has to name them all, chosen or not."""

    def put(self, keys: Sequence[str], value: Any, origin: str) -> None:
        """Set one value by its path; a path through anything but sections is a violation."""
        if keys[0] == EXTENDS:
            words = "refused: a file alone names its base; put the key into the profile"
            self.violations.append(f"{printable('.'.join(keys))} ({printable(origin)}): {words}")
            return
        if len(keys) > DEPTH_MAX:
            where = f"{printable('.'.join(keys))} ({printable(origin)})"
            self.violations.append(f"{where}: {len(keys)} names; allowed: {DEPTH_MAX} at most")
            return
        node = self.raw
        for depth, key in enumerate(keys[:-1], 1):
            child = node.setdefault(key, {})
            if not isinstance(child, dict):
                where = ".".join(keys[:depth])
                shown = shown_value(keys[:depth], child)
                self.violations.append(
                    printable(f"{'.'.join(keys)} ({origin})")
                    + f": {printable(where)} is {shown} in this profile, "
                    + f"so it has no key {printable(keys[depth])}"
                    + (SIMULATED if where == "embedded" else "")
                )
                return
            node = child
        node[keys[-1]] = value
        path = ".".join(keys)
        for known in [key for key in self.origin if key == path or key.startswith(path + ".")]:
            del self.origin[known]
            self.by_section.discard(known)
        put = dict.fromkeys(leaves_below(value, path), origin)
        self.origin.update(put)
        if isinstance(value, dict):
            self.by_section.update(put)

    def put_staged(self, staged: Mapping[str, Any]) -> None:
        """Set values that an operator staged, by dotted key."""
        for key, value in staged.items():
            self.put(key.split("."), value, STAGED)

    def put_environ(self, environ: Mapping[str, str]) -> None:
        """Set the values of variables `MINIBOT__SECTION__KEY`.

        A near miss is a violation, and so are two variables of one key in other letters.
        """
        named: dict[str, str] = {}
        for name in sorted(environ):
            if is_variable(name):
                keys = name[len(ENV_PREFIX) :].lower().split("__")
                former = named.setdefault(name.lower(), name)
                if former != name:
                    self.violations.append(f"{printable(name)}: {printable(former)} is set, too")
                self.put(keys, parse_value(environ[name]), name)
            elif _ENV_NEARLY.match(name):
                self.violations.append(
                    f"{printable(name)}: expected {ENV_PREFIX}SECTION__KEY, "
                    "two underscores after MINIBOT"
                )

    def put_texts(self, sets: Iterable[str]) -> None:
        """Set the values of `--set` texts; a text of another form is a violation."""
        for text in sets:
            key, equals, value = text.partition("=")
            if not equals or not all(key.strip().split(".")):
                self.violations.append(f"{SET} {shown_text(text)}: expected section.key=value")
            else:
                self.put(key.strip().split("."), parse_value(value), SET)


def is_variable(origin: str) -> bool:
    """Return whether a value's origin is a variable of the environment."""
    return origin.upper().startswith(ENV_PREFIX)


def file_origin(name: str) -> str:
    """Return the origin of a file's values: its name, and never the word of another layer.

    A file may be another person's, and bear the name of a trusted layer.
    """
    is_word = name in (SET, STAGED, MANIFEST) or is_variable(name)
    return f"./{name}" if is_word else name


def parse_value(text: str) -> Any:
    """Return a value of `--set` or the environment: JSON if it parses, else the text itself."""
    try:
        return parse(text)
    except (ValueError, RecursionError):
        return text
