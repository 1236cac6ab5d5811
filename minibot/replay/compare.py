"""The first differing event, field by field, and what the core held before it."""

from __future__ import annotations

from typing import Any

from minibot.kernel import canonical
from minibot.replay.engine import Difference


def describe(difference: Difference) -> dict[str, Any]:
    """Return where replay and record part, for people (`lines`) and for programs."""
    expected, found = _object(difference.expected), _object(difference.found)
    fields = differing_fields(expected, found)
    where = f"{difference.queue}:{difference.seq}"
    lines = [f"first difference: {where}, input {difference.n} of {difference.role}"]
    lines += [f"  caused by {difference.cause_id}"]
    lines += [f"  {name}: replay {one!r}, recorded {two!r}" for name, (one, two) in fields.items()]
    return {
        "role": difference.role,
        "queue": difference.queue,
        "seq": difference.seq,
        "n": difference.n,
        "cause_id": difference.cause_id,
        "fields": {name: {"replay": one, "recorded": two} for name, (one, two) in fields.items()},
        "state_before": difference.state,
        "lines": lines,
    }


def differing_fields(one: Any, two: Any) -> dict[str, tuple[Any, Any]]:
    """Return (one's, two's) value of every leaf in which two JSON values differ, by path."""
    return dict(_fields("", one, two))


def _object(json: bytes | None) -> dict[str, Any]:
    return {} if json is None else canonical.decode(json)


def _fields(prefix: str, one: Any, two: Any) -> list[tuple[str, tuple[Any, Any]]]:
    """Return (path, (replayed, recorded)) of every leaf that differs."""
    if isinstance(one, dict) and isinstance(two, dict):
        found = []
        for key in sorted({*one, *two}):
            path = f"{prefix}.{key}" if prefix else key
            found += _fields(path, one.get(key), two.get(key))
        return found
    return [] if one == two else [(prefix, (one, two))]
