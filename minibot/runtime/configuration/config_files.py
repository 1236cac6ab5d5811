"""Profile files: a whole profile, or an overlay merged into the base that it extends.

`"extends": "nore.v1.json"` makes a file an overlay. Its base is a whole profile next to it, else
one of the shipped profiles, and extends nothing itself. Merging goes one key deep: a section of the
overlay changes the keys that it names; the value of a key replaces the base's as a whole, whether
list, null or an object such as `strategy.parameters`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from minibot.events.model import JsonObject
from minibot.kernel.errors import ConfigError
from minibot.kernel.files import is_endless
from minibot.runtime.paths import PROJECT, escape_reason

EXTENDS: Final = "extends"
"""The key that makes a file an overlay; no resolved profile has it."""

MANIFEST: Final = "manifest.json"
"""The origin of values of a profile that was resolved before, as a finished run's."""

SHIPPED: Final = PROJECT / "config"
"""The folder of the shipped profiles."""

FILE_BYTES_MAX: Final = 1_000_000
DEPTH_MAX: Final = 32
"""Most levels of a value, or names of a key; those of a profile have fewer than ten."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Profile as read from its files.

    Attributes:
        raw: The whole profile, the overlay merged into its base.
        origin: Name of the file that gives a value, by dotted key.
        path: The file that was named.
        base: The file that it extends, None for none.
        sha256: Hash of the bytes that were read, by file.
    """

    raw: JsonObject
    origin: dict[str, str]
    path: Path
    base: Path | None
    sha256: dict[Path, str]

    @property
    def overlay(self) -> Path | None:
        """The file that was named, if it extends another."""
        return None if self.base is None else self.path

    @property
    def whole(self) -> Path:
        """The file that names every key: the base, or the only file."""
        return self.base or self.path


def read_profile(path: Path) -> Profile:
    """Return the profile of a file, merged with its base.

    Raises:
        ConfigError: The file or its base is missing, unreadable or not a JSON object, or `extends`
            names no whole profile.
    """
    overlay, sha256 = _read_object(path)
    if EXTENDS not in overlay:
        origin = dict.fromkeys(leaves(overlay), path.name)
        return Profile(overlay, origin, path, None, {path: sha256})
    base_path = _base_path(path, overlay.pop(EXTENDS))
    base, base_sha256 = _read_base(path, base_path)
    raw = merged(base, overlay)
    origin = {
        key: path.name if _names(overlay, base, key.split(".")) else base_path.name
        for key in leaves(raw)
    }
    return Profile(raw, origin, path, base_path, {path: sha256, base_path: base_sha256})


def merged(base: JsonObject, overlay: JsonObject) -> JsonObject:
    """Return a base merged with an overlay: sections key by key, every other value whole."""
    raw = dict(base)
    for name, value in overlay.items():
        raw[name] = base[name] | value if _is_merged(base, overlay, name) else value
    return raw


def is_shipped(path: Path) -> bool:
    """Return whether a file, links followed, is one of the shipped profiles."""
    return Path(os.path.realpath(path)).parent == SHIPPED


def leaves(raw: JsonObject) -> Iterator[str]:
    """Yield the dotted key of every value."""
    return leaves_below(raw, "")


def leaves_below(value: Any, path: str) -> Iterator[str]:
    """Yield the dotted key of every value at or below a path."""
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from leaves_below(child, f"{path}.{key}" if path else key)
    elif path:
        yield path


def parse(text: str) -> Any:
    """Return the value of a JSON text; a number with a point or an exponent becomes its own text.

    Raises:
        ValueError: It is not JSON, has a key twice, an integer over 64 bits or `NaN`, or is nested
            deeper than `DEPTH_MAX`.
        RecursionError: It is nested deeper than JSON can be read.
    """
    value = json.loads(
        text,
        parse_int=_bounded,
        parse_float=str,
        parse_constant=_no_constant,
        object_pairs_hook=_no_duplicates,
    )
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [child for each in level for child in _children(each)]
    if any(isinstance(each, dict | list) for each in level):
        raise ValueError(f"nested deeper than {DEPTH_MAX}")
    return value


def printable(text: str) -> str:
    """Return an untrusted text, bounded and without terminal control characters."""
    text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[:200])
    return text if len(text) <= 100 else text[:97] + "..."


def _is_merged(base: JsonObject, overlay: JsonObject, name: str) -> bool:
    return isinstance(base.get(name), dict) and isinstance(overlay.get(name), dict)


def _names(overlay: JsonObject, base: JsonObject, keys: list[str]) -> bool:
    """Return whether the overlay has a value of a key."""
    if not _is_merged(base, overlay, keys[0]):
        return keys[0] in overlay
    return len(keys) > 1 and keys[1] in overlay[keys[0]]


def _base_path(path: Path, name: Any) -> Path:
    """Return the path of an overlay's base."""
    if not isinstance(name, str):
        raise _no_base(path, name, "is not a file's name")
    if why := escape_reason(name):
        raise _no_base(path, name, why)
    if "/" in name or "\\" in name or name in (".", ".."):
        raise _no_base(path, name, "holds a path; a base is named without its folder")
    beside, shipped = path.parent / name, SHIPPED / name
    found = beside if os.path.lexists(beside) else shipped
    if not os.path.lexists(found):
        raise _no_base(path, name, f"is neither beside {path.name} nor in config")
    if os.path.exists(found) and os.path.samefile(found, path):
        raise _no_base(path, name, "is the file itself")
    return found


def _read_base(path: Path, base: Path) -> tuple[JsonObject, str]:
    try:
        raw, sha256 = _read_object(base)
    except ConfigError as error:
        raise _no_base(path, base.name, f"cannot be the base: {error}") from error
    if EXTENDS in raw:
        raise _no_base(path, base.name, "extends another profile itself; one level is allowed")
    return raw, sha256


def _no_base(path: Path, name: Any, why: str) -> ConfigError:
    # A section or list may hold a secret, see `shown_values`.
    shown = "..." if isinstance(name, dict | list) else printable(json.dumps(name))
    return ConfigError(
        f"{printable(path.name)}: {EXTENDS} = {shown}: {why}.",
        (),
        f'Write "{EXTENDS}": "nore.v1.json", or name a whole profile in the folder of this one.',
    )


def _read_object(path: Path) -> tuple[JsonObject, str]:
    """Return the JSON object of a file, and the sha256 of its bytes."""
    if is_endless(path):
        raise _refused(path, "is not a regular file")
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        why = "no such file" if isinstance(error, FileNotFoundError) else why
        raise _refused(path, f"cannot be read: {why}") from error
    if len(data) > FILE_BYTES_MAX:
        raise _refused(path, f"is larger than {FILE_BYTES_MAX} bytes; that is not a profile")
    try:
        value = parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _refused(path, "is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"is no complete JSON: {error}") from error
    if not isinstance(value, dict):
        raise _refused(path, "holds no JSON object")
    return value, hashlib.sha256(data).hexdigest()


def _refused(path: Path, why: str) -> ConfigError:
    remedy = "Give a profile such as config/nore-demo.v1.json."
    return ConfigError(f"{printable(path.name or str(path))}: {why}.", (), remedy)


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _bounded(digits: str) -> int:
    if len(digits) > len(str(-(2**63))) or not -(2**63) <= int(digits) < 2**64:
        count = len(digits.removeprefix("-"))  # The number itself may be a secret.
        raise ValueError(f"a number of {count} digits has more than 64 bits")
    return int(digits)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> JsonObject:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"key {twice!r} appears twice")
    return value
