"""The fields in which two JSON values differ, by path."""

from __future__ import annotations

from typing import Any, Final

NULL_IN_ONE: Final = "a field is null in one and missing in the other"
"""Difference of two unequal objects without differing fields: one has null, one no field."""


def differing_fields(one: Any, two: Any) -> dict[str, tuple[Any, Any]]:
    """Return both values of every leaf in which two JSON values differ, by path."""
    return dict(_fields("", one, two))


def _fields(prefix: str, one: Any, two: Any) -> list[tuple[str, tuple[Any, Any]]]:
    """Return (path, (one's, two's)) of every leaf that differs."""
    if isinstance(one, dict) and isinstance(two, dict):
        found = []
        for key in sorted({*one, *two}):
            path = f"{prefix}.{key}" if prefix else key
            found += _fields(path, one.get(key), two.get(key))
        return found
    return [] if _is_same(one, two) else [(prefix, (one, two))]


def _is_same(one: Any, two: Any) -> bool:
    """Return whether two values are equal in JSON, where true is not 1."""
    if one != two or isinstance(one, bool) is not isinstance(two, bool):
        return False
    if isinstance(one, dict):
        return all(_is_same(value, two[key]) for key, value in one.items())
    return not isinstance(one, list | tuple) or all(map(_is_same, one, two))
