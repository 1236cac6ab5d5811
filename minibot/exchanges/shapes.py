"""Shapes of JSON answers, and the differences of a real answer from its shape.

A shape is a plain value: the name of a type, `[shape]` for a list, a tuple of shapes for a list of
that length, or a dict of fields. A field that ends with `?` may be missing. One that ends with `!`
is read by minibot: without it, or with another type, a run could not use the venue, or would miss a
rule of it. `Tagged` chooses a shape by one field, as filters and limits do. Every difference is
reported, also an unknown field; nothing is accepted silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from minibot.events.decimals import PLACES_MAX, NumberError, parse_fixed

INT: Final = "integer"
DEC: Final = "decimal text"
TEXT: Final = "text"
BOOL: Final = "boolean"
ANY: Final = "anything"

MISSING: Final = "missing"
UNKNOWN: Final = "unknown"
RETYPED: Final = "retyped"

SAMPLE_MAX: Final = 60

Shape = Any
"""One of the forms that the module's text names."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """Objects of several kinds: `shapes` by the value of the field `tag`.

    A value missing in `shapes` is UNKNOWN, with that value in its path; where the objects are read,
    it hinders: a kind that minibot does not know may be a rule that it would miss.
    """

    tag: str
    shapes: Mapping[str, Mapping[str, Shape]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference from a shape.

    Attributes:
        kind: MISSING, UNKNOWN, RETYPED, or a kind of the caller's own.
        path: Place inside the answer, such as `symbols[].filters[LOT_SIZE].stepSize`.
        expected: Expected value or type, empty for an unknown field.
        found: Value found, limited in length; empty for a missing field.
        hinders: Whether minibot reads it, so that a night could not run or would miss a rule.
    """

    kind: str
    path: str
    expected: str
    found: str
    hinders: bool


def differences(shape: Shape, value: Any, path: str = "") -> Iterator[Difference]:
    """Yield the differences of a decoded JSON value from a shape."""
    yield from _differences(shape, value, path, hinders=True)


def _differences(shape: Shape, value: Any, path: str, *, hinders: bool) -> Iterator[Difference]:
    if isinstance(shape, str):
        if not _is_of(shape, value):
            yield _retyped(path, shape, value, hinders=hinders)
    elif isinstance(shape, list):
        yield from _of_list(shape[0], value, path, hinders=hinders)
    elif isinstance(shape, tuple):
        yield from _of_tuple(shape, value, path, hinders=hinders)
    elif isinstance(shape, Tagged):
        yield from _of_tagged(shape, value, path, hinders=hinders)
    else:
        yield from _of_object(shape, value, path, hinders=hinders)


def _of_list(shape: Shape, value: Any, path: str, *, hinders: bool) -> Iterator[Difference]:
    if not isinstance(value, list):
        yield _retyped(path, "list", value, hinders=hinders)
        return
    for item in value:
        yield from _differences(shape, item, f"{path}[]", hinders=hinders)


def _of_tuple(
    shape: tuple[Shape, ...], value: Any, path: str, *, hinders: bool
) -> Iterator[Difference]:
    if not isinstance(value, list):
        yield _retyped(path, f"list of {len(shape)}", value, hinders=hinders)
        return
    for number, part in enumerate(shape):
        if number < len(value):
            yield from _differences(part, value[number], f"{path}[{number}]", hinders=hinders)
        else:
            expected = part if isinstance(part, str) else "list"
            yield Difference(MISSING, f"{path}[{number}]", expected, "", hinders)
    for number in range(len(shape), len(value)):
        yield Difference(UNKNOWN, f"{path}[{number}]", "", _sample(value[number]), False)


def _of_tagged(shape: Tagged, value: Any, path: str, *, hinders: bool) -> Iterator[Difference]:
    if not isinstance(value, dict):
        yield _retyped(path, "object", value, hinders=hinders)
        return
    tag = value.get(shape.tag)
    if not isinstance(tag, str):
        yield Difference(MISSING, f"{path}.{shape.tag}", TEXT, _sample(tag), hinders)
        return
    known = shape.shapes.get(tag)
    if known is None:
        yield Difference(UNKNOWN, f"{path}[{_sample(tag)}]", "", _sample(value), hinders)
        return
    where = f"{path.removesuffix('[]')}[{tag}]"
    yield from _of_object({shape.tag: TEXT, **known}, value, where, hinders=hinders)


def _of_object(
    shape: Mapping[str, Shape], value: Any, path: str, *, hinders: bool
) -> Iterator[Difference]:
    if not isinstance(value, dict):
        yield _retyped(path, "object", value, hinders=hinders)
        return
    known = set()
    prefix = f"{path}." if path else ""
    for written, part in shape.items():
        name = written.rstrip("!?")
        known.add(name)
        is_read = hinders and written.endswith("!")
        if name in value:
            yield from _differences(part, value[name], prefix + name, hinders=is_read)
        elif not written.endswith("?"):
            expected = part if isinstance(part, str) else "structure"
            yield Difference(MISSING, prefix + name, expected, "", is_read)
    for name in value:
        if name not in known:
            yield Difference(UNKNOWN, prefix + _clean(name), "", _sample(value[name]), False)


def _retyped(path: str, expected: str, value: Any, *, hinders: bool) -> Difference:
    found = f"{_type_of(value)} {_sample(value)}"
    return Difference(RETYPED, path or "(whole)", expected, found, hinders)


def _is_of(kind: str, value: Any) -> bool:
    if kind == INT:
        return type(value) is int
    if kind == BOOL:
        return type(value) is bool
    if kind == TEXT:
        return isinstance(value, str)
    if kind == DEC:
        return isinstance(value, str) and _is_decimal(value)
    return kind == ANY


def _is_decimal(text: str) -> bool:
    try:
        parse_fixed(text.removeprefix("-"), PLACES_MAX)
    except NumberError:
        return False
    return True


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: BOOL, int: INT, float: "number", str: TEXT, list: "list", dict: "object"}
    return names.get(type(value), type(value).__name__)


def _sample(value: Any) -> str:
    return _clean(str(value))


def _clean(text: str) -> str:
    """Return a text of the host, limited in length and without terminal control characters."""
    shown = "".join(c if c.isprintable() else "?" for c in text[: SAMPLE_MAX + 1])
    return shown if len(shown) <= SAMPLE_MAX else shown[: SAMPLE_MAX - 3] + "..."
