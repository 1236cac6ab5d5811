"""Fault scripts: reading of the file, and checks of a fault's fields.

A script is a JSON list of `{"at_ms": ..., "name": ..., ...}`; `at_ms` counts market time from the
origin, values from the year 2001 on are absolute; `after_s` is the same in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from minibot.kernel.errors import ConfigError

ABSOLUTE_MS_MIN: Final = 10**12


class FaultUnknown(Exception):
    """There is no fault of this name, or one of its fields is wrong."""


_TEXT_FIELDS: Final = frozenset(
    {"name", "symbol", "kind", "status", "why", "filter", "field", "endpoint", "stream", "to"}
)


def check_field(name: str, key: str, value: Any) -> None:
    """Refuse a field of the wrong type.

    Raises:
        FaultUnknown: Not an integer where one is required, or not a text.
    """
    if key == "after_s" or (key == "value" and name == "field_added"):
        return
    is_text = key in _TEXT_FIELDS or key == "value"
    if is_text and key == "status" and type(value) is int:
        return  # The status of an answer, not that of a symbol.
    if is_text and not isinstance(value, str):
        raise FaultUnknown(f"{key}: a text is expected, found {value!r}")
    if not is_text and type(value) is not int:
        raise FaultUnknown(f"{key}: an integer is expected, found {value!r}")


def moment_ms(item: Mapping[str, Any], origin_ms: int) -> int:
    """Return the due time of an entry of a script, in Unix ms of market time."""
    after_s = item.get("after_s")
    at_ms: int = item.get("at_ms", 0) if after_s is None else round(after_s * 1000)
    return at_ms if at_ms >= ABSOLUTE_MS_MIN else origin_ms + at_ms


def read_script(path: Path) -> list[dict[str, Any]]:
    """Return the faults of a script file.

    Raises:
        ConfigError: Missing, not JSON, or not a list of objects with `name` and a moment.
    """
    try:
        script = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigError(f"{path}: the fault script cannot be read.", [str(error)]) from error
    wrong = ["a list of objects is expected"] if not isinstance(script, list) else []
    for number, item in enumerate(script if not wrong else [], 1):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            wrong.append(f"entry {number}: an object with a name is expected")
        elif ("at_ms" in item) is ("after_s" in item):
            wrong.append(f"entry {number}: at_ms or after_s is expected, and not both")
        elif "at_ms" in item and type(item["at_ms"]) is not int:
            wrong.append(f"entry {number}: at_ms must be an integer")
        elif "after_s" in item and type(item["after_s"]) not in (int, float):
            wrong.append(f"entry {number}: after_s must be a number of seconds")
    if wrong:
        raise ConfigError(f"{path}: not a fault script.", wrong)
    return list(script)
