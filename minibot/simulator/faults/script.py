"""Fault scripts: reading of the file, and checks of a fault's fields.

A script is a JSON list of `{"at_ms": ..., "name": ..., ...}`; `at_ms` counts market time from the
origin, values from the year 2001 on are absolute; `after_s` is the same in seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, Final

import orjson

from minibot.kernel.errors import ConfigError

ABSOLUTE_MS_MIN: Final = 10**12


class FaultUnknown(Exception):
    """There is no fault of this name, or one of its fields is wrong."""


_FRAMES: Final = ("n", "symbol")
_ANSWERS: Final = ("endpoint", "n", "ms")
_PAYLOADS: Final = ("endpoint", "stream", "field", "symbol", "n", "ms")
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "drop": (),
    "stall": ("ms",),
    "burst": ("ms",),
    "no_ping": ("ms",),
    "429": ("retry_after",),
    "418": ("ban_ms",),
    "5xx": (*_ANSWERS, "status"),
    "html403": _ANSWERS,
    "geo451": _ANSWERS,
    "redirect": (*_ANSWERS, "status", "to"),
    "bad_json": _ANSWERS,
    "rates": ("weight", "raw_requests"),
    "garbage": ("kind", "n"),
    "shutdown": ("lead_ms",),
    "disconnect_24h": (),
    "close_1008": (),
    "unreachable": ("ms",),
    "slow": ("delay_ms", "ms"),
    "clock_skew": ("skew_ms", "ms"),
    "symbol_break": ("symbol", "status", "ms"),
    "filter": ("symbol", "filter", "field", "value"),
    "delist": ("symbol",),
    "old_snapshot": ("n",),
    "control_errors": ("kind",),
    "clear": (),
    "field_added": (*_PAYLOADS, "value"),
    "field_removed": _PAYLOADS,
    "field_retyped": (*_PAYLOADS, "to"),
    "stream_silent": ("stream", "symbol", "n", "ms"),
    "kline_unclosed": ("stream", "symbol", "n", "ms"),
    "gap": _FRAMES,
    "missing_trades": _FRAMES,
    "duplicate_trades": _FRAMES,
    "repeated_diff": _FRAMES,
    "flood": (*_FRAMES, "factor"),
    "zero_price": _FRAMES,
    "zero_quote": _FRAMES,
    "outlier_price": (*_FRAMES, "factor"),
    "outlier_quote": (*_FRAMES, "factor"),
    "crossed_book": _FRAMES,
    "crossed_depth": _FRAMES,
    "unknown_field": _FRAMES,
    "unknown_event": _FRAMES,
    "missing_field": _FRAMES,
    "stray_removal": _FRAMES,
    "stale_diff": _FRAMES,
    "late_event": (*_FRAMES, "shift_ms"),
}
"""Fields of every fault, as docs/EXCHANGE.md describes them."""

_MOMENTS: Final = frozenset({"at_ms", "after_s"})
_FROM_ONE: Final = frozenset({"n", "ms", "retry_after", "ban_ms", "delay_ms"})
# Statuses of the answers that a fault may give, by its name.
_STATUSES: Final = {"5xx": range(500, 600), "redirect": range(300, 400)}
_TEXT_FIELDS: Final = frozenset(
    {"symbol", "kind", "status", "filter", "field", "endpoint", "stream", "to", "value"}
)


def check_fault(fault: Mapping[str, Any], symbols: Collection[str]) -> None:
    """Refuse an unknown fault, and a field that it does not know or that would change nothing.

    A field that is not given gets its default, or is missed by the fault itself.

    Args:
        fault: Its name and fields, without a moment.
        symbols: Symbols that are played.

    Raises:
        FaultUnknown: Unknown name, field or symbol, wrong type, or one of `n`, `ms`, `retry_after`,
            `ban_ms` and `delay_ms` below 1, or a status of another class; `lead_ms` and `factor`
            have no bound.
    """
    known = FIELDS.get(str(fault.get("name")))
    if known is None:
        raise FaultUnknown(f"no such fault; known faults are {', '.join(FIELDS)}")
    for key, value in fault.items():
        if key == "name":
            continue
        if key not in known:
            taken = f"its fields are {', '.join(known)}" if known else "it has none"
            raise FaultUnknown(f"{key}: no field of this fault; {taken}")
        _check_type(str(fault["name"]), key, value)
        if key in _FROM_ONE and value < 1:
            raise FaultUnknown(f"{key}: expected 1 or more, found {value}")
        statuses = _STATUSES.get(str(fault["name"])) if key == "status" else None
        if statuses is not None and value not in statuses:
            text = f"expected {statuses[0]} to {statuses[-1]}, found {value}"
            raise FaultUnknown(f"{key}: {text}")
        if key == "symbol" and value not in symbols:
            raise FaultUnknown(f"symbol: {value} is not played here")


def _check_type(name: str, key: str, value: Any) -> None:
    if key == "value" and name == "field_added":
        return
    is_text = key in _TEXT_FIELDS
    if key == "status":
        is_text = name == "symbol_break"  # All others have the status of an answer.
    if is_text and not isinstance(value, str):
        raise FaultUnknown(f"{key}: expected a text, found {value!r}")
    if not is_text and type(value) is not int:
        raise FaultUnknown(f"{key}: expected an integer, found {value!r}")


def without_moment(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fault of a script's entry."""
    return {key: value for key, value in item.items() if key not in _MOMENTS}


def moment_ms(item: Mapping[str, Any], origin_ms: int) -> int:
    """Return the due time of an entry of a script, in Unix ms of market time."""
    after_s = item.get("after_s")
    at_ms: int = item.get("at_ms", 0) if after_s is None else round(after_s * 1000)
    return at_ms if at_ms >= ABSOLUTE_MS_MIN else origin_ms + at_ms


def _is_seconds(value: Any) -> bool:
    """Return whether a number of seconds can be told in ms: JSON has numbers beyond all times."""
    return type(value) in (int, float) and isfinite(value * 1000)


def read_script(path: Path) -> list[dict[str, Any]]:
    """Return the faults of a script file.

    Raises:
        ConfigError: Missing, not JSON, or not a list of objects with `name` and a moment.
    """
    try:
        script = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigError(f"{path}: the fault script cannot be read.", [str(error)]) from error
    wrong = ["expected a list of objects"] if not isinstance(script, list) else []
    for number, item in enumerate(script if not wrong else [], 1):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            wrong.append(f"entry {number}: expected an object with a name")
        elif ("at_ms" in item) is ("after_s" in item):
            wrong.append(f"entry {number}: expected at_ms or after_s, not both")
        elif "at_ms" in item and type(item["at_ms"]) is not int:
            wrong.append(f"entry {number}: at_ms must be an integer")
        elif "after_s" in item and not _is_seconds(item["after_s"]):
            wrong.append(f"entry {number}: after_s must be a number of seconds")
    if wrong:
        raise ConfigError(f"{path}: not a fault script.", wrong)
    return list(script)
