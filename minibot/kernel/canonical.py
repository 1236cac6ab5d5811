"""The one JSON codec of events: one object, one sequence of bytes.

Canonical JSON has sorted keys, no spaces, UTF-8, no duplicate keys and no float anywhere. `decode`
accepts exactly what `encode` returns: no object has two encodings.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from minibot.kernel.errors import MinibotError

JsonObject = dict[str, Any]
"""A JSON object: str keys; str, int, bool, None, list and dict values; never float."""

# An envelope with its payload nests five deep. Deeper input is not an event of ours, and the bound
# keeps hostile input from exhausting the stack.
DEPTH_MAX: Final = 16

_LEAVES: Final = frozenset({str, int, bool, type(None)})


class CanonicalError(MinibotError, ValueError):
    """A value that has no canonical form, or bytes that are not canonical JSON."""


def encode(obj: JsonObject) -> bytes:
    """Return the canonical JSON of an object.

    Args:
        obj: A dict; lists and tuples are both written as arrays.

    Raises:
        CanonicalError: A float, a type that JSON lacks, a key that is not text, an integer below
            -2**63 or above 2**64 - 1, a lone surrogate, or more than `DEPTH_MAX` levels.
    """
    if type(obj) is not dict:
        raise CanonicalError(f"an event is a JSON object, not {type(obj).__name__}")
    _check(obj, 1)
    try:
        return orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise CanonicalError(f"not encodable as JSON: {error}") from error


def decode(data: bytes) -> JsonObject:
    """Return the object of canonical JSON bytes.

    Raises:
        CanonicalError: Not JSON, not an object, a float or an integer that `encode` refuses, a
            duplicate or unsorted key, a space, another escape than `encode` writes, or more than
            `DEPTH_MAX` levels.
    """
    try:
        obj = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise CanonicalError(f"not JSON: {error}") from error
    if type(obj) is not dict:
        raise CanonicalError(f"an event is a JSON object, not {type(obj).__name__}")
    _check(obj, 1)
    # Encoding again is the strictest check: keys, spaces, escapes and numbers at once.
    if orjson.dumps(obj, option=orjson.OPT_SORT_KEYS) != data:
        raise CanonicalError("JSON is not in canonical form")
    return obj


def _check(value: Any, depth: int) -> None:
    """Refuse values without a canonical form; exact types, as subclasses have their own rules."""
    if depth > DEPTH_MAX:
        raise CanonicalError(f"nested deeper than {DEPTH_MAX} levels")
    for item in value.values() if type(value) is dict else value:
        kind = type(item)
        if kind in _LEAVES:
            continue
        if kind is dict or kind is list or kind is tuple:
            _check(item, depth + 1)
        elif kind is float:
            raise CanonicalError(f"a float in an event: {item!r}; use a decimal string")
        else:
            raise CanonicalError(f"{kind.__name__} has no canonical JSON form")
