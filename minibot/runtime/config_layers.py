"""File, environment and `--set`, laid over each other, with the origin of every value.

Precedence: `--set section.key=value`, then `MINIBOT__SECTION__KEY`, then the file. A value from
`--set` or the environment is JSON if it parses, else text. A JSON number with a point is kept as
its own characters: floats exist nowhere in a profile.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from minibot.events.model import JsonObject
from minibot.kernel.errors import ConfigError
from minibot.kernel.files import is_endless

ENV_PREFIX: Final = "MINIBOT__"
# One line fewer, and it would steer nothing.
_ENV_NEARLY: Final = re.compile(r"MINIBOT_[^_].*__", re.IGNORECASE | re.DOTALL)
SET: Final = "--set"
MANIFEST: Final = "manifest.json"
"""The origin of values that a finished run's manifest gives."""

FILE_BYTES_MAX: Final = 1_000_000


@dataclass(slots=True)
class Layers:
    """A profile as the layers give it, not yet judged; `violations` are those of the layers."""

    raw: JsonObject
    origin: dict[str, str]
    violations: list[str] = field(default_factory=list)
    by_section: set[str] = field(default_factory=set)
    """Keys that came inside a whole section, which has to name them all."""

    def put(self, keys: Sequence[str], value: Any, origin: str) -> None:
        """Set one value by its path; a step through something that is no section is a violation."""
        node = self.raw
        for depth, key in enumerate(keys[:-1], 1):
            child = node.setdefault(key, {})
            if not isinstance(child, dict):
                where = ".".join(keys[:depth])
                self.violations.append(
                    printable(f"{'.'.join(keys)} ({origin})")
                    + f": {printable(where)} is {printable(json.dumps(child))} in this profile, "
                    + f"so it has no key {printable(keys[depth])}"
                )
                return
            node = child
        node[keys[-1]] = value
        path = ".".join(keys)
        for known in [key for key in self.origin if key == path or key.startswith(path + ".")]:
            del self.origin[known]
            self.by_section.discard(known)
        put = dict.fromkeys(_leaves(value, path), origin)
        self.origin.update(put)
        if isinstance(value, dict):
            self.by_section.update(put)

    def put_environ(self, environ: Mapping[str, str]) -> None:
        """Set the values of variables `MINIBOT__SECTION__KEY`; one nearly so is a violation."""
        for name in sorted(environ):
            if name.upper().startswith(ENV_PREFIX):
                keys = name[len(ENV_PREFIX) :].lower().split("__")
                self.put(keys, parse_value(environ[name]), name)
            elif _ENV_NEARLY.match(name):
                self.violations.append(
                    f"{printable(name)}: expected {ENV_PREFIX}SECTION__KEY, two lines after MINIBOT"
                )

    def put_texts(self, sets: Iterable[str]) -> None:
        """Set the values of `--set` texts; one of another form is a violation."""
        for text in sets:
            key, equals, value = text.partition("=")
            if not equals or not all(key.strip().split(".")):
                self.violations.append(f"{SET} {printable(text)}: expected section.key=value")
            else:
                self.put(key.strip().split("."), parse_value(value), SET)


def leaves(raw: JsonObject) -> Iterator[str]:
    """Yield the dotted key of every value."""
    return _leaves(raw, "")


def read_layers(path: Path, sets: Iterable[str], environ: Mapping[str, str]) -> Layers:
    """Return file, environment and sets merged.

    Raises:
        ConfigError: The file is missing, unreadable, or holds no JSON object.
    """
    raw = read_profile(path)
    layers = Layers(raw, dict.fromkeys(leaves(raw), path.name))
    layers.put_environ(environ)
    layers.put_texts(sets)
    return layers


def read_profile(path: Path) -> JsonObject:
    """Return the JSON object of a profile's file; see `read_layers`."""
    if is_endless(path):
        raise _refused(path, "is no regular file")
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        why = "no such file" if isinstance(error, FileNotFoundError) else why
        raise _refused(path, f"cannot be read: {why}") from error
    if len(data) > FILE_BYTES_MAX:
        raise _refused(path, f"is larger than {FILE_BYTES_MAX} bytes; that is no profile")
    try:
        value = _parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _refused(path, "is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"is no complete JSON: {error}") from error
    if not isinstance(value, dict):
        raise _refused(path, "holds no JSON object")
    return value


def parse_value(text: str) -> Any:
    """Return a value of `--set` or the environment: JSON if it parses, else the text itself."""
    try:
        return _parse(text)
    except (ValueError, RecursionError):
        return text


def printable(text: str) -> str:
    """Return a text of the world outside, bounded and without characters that act on a terminal."""
    text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[:200])
    return text if len(text) <= 100 else text[:97] + "..."


def _parse(text: str) -> Any:
    return json.loads(
        text,
        parse_int=_bounded,
        parse_float=str,
        parse_constant=_no_constant,
        object_pairs_hook=_no_duplicates,
    )


def _bounded(digits: str) -> int:
    if len(digits) > len(str(-(2**63))) or not -(2**63) <= int(digits) < 2**64:
        raise ValueError(f"{digits[:20]}... has more than 64 bits")
    return int(digits)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> JsonObject:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"key {twice!r} stands twice")
    return value


def _leaves(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from _leaves(child, f"{path}.{key}" if path else key)
    elif path:
        yield path


def _refused(path: Path, why: str) -> ConfigError:
    remedy = "Give a profile such as config/nore-demo.v1.json."
    return ConfigError(f"{printable(path.name or str(path))}: {why}.", (), remedy)
