"""Rules for the keys of a run profile, written beside each key.

A section is a frozen dataclass. A key of it is `Annotated[type, rule, "description"]`; the rule is
left out where the type suffices. `tools.config_schema` makes `config/config.v1.schema.json` from
the sections. Units stand in the names of keys: `_market_ms` is market time, `_ms` wall-clock time
unless the key's description says market time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, Final, TypeVar, get_args

Rule = Mapping[str, Any]
"""Rule of JSON Schema for a value beside its type."""

T = TypeVar("T")

DECIMAL: Final[Rule] = {"$ref": "#/$defs/decimal"}
DECIMAL_POSITIVE: Final[Rule] = {"$ref": "#/$defs/decimal_positive"}
DECIMAL_SIGNED: Final[Rule] = {"$ref": "#/$defs/decimal_signed"}
FEE_BPS: Final[Rule] = {"$ref": "#/$defs/fee_bps"}
PERCENT: Final[Rule] = {"$ref": "#/$defs/percent"}

DEFINITIONS: Final[Mapping[str, Rule]] = {
    "decimal": {
        "type": "string",
        "maxLength": 40,
        "pattern": "^(0|[1-9][0-9]*)([.][0-9]{1,8}0*)?$",
        "not": {"pattern": "\\n"},
        "title": 'a decimal number as text, zero or more, with at most 8 places, such as "1.5"',
    },
    "decimal_positive": {
        "type": "string",
        "maxLength": 40,
        "pattern": "^(0[.][0-9]{0,7}[1-9]0*|[1-9][0-9]*([.][0-9]{1,8}0*)?)$",
        "not": {"pattern": "\\n"},
        "title": 'a decimal number as text, above zero, with at most 8 places, such as "1.5"',
    },
    "decimal_signed": {
        "type": "string",
        "maxLength": 40,
        "pattern": "^-?(0|[1-9][0-9]*)([.][0-9]{1,8}0*)?$",
        "not": {"pattern": "\\n"},
        "title": 'a decimal number as text with at most 8 places, such as "-0.02"',
    },
    "fee_bps": {
        "type": "string",
        "maxLength": 40,
        "pattern": "^(0|[1-9][0-9]{0,2})([.][0-9]{1,4}0*)?$",
        "not": {"pattern": "\\n"},
        "title": "basis points as text, zero or more and below 1000, with at most 4 places",
    },
    "percent": {
        "type": "string",
        "maxLength": 10,
        "pattern": "^(100([.]0{1,6})?|[1-9]?[0-9]([.][0-9]{1,6})?)$",
        "not": {"pattern": "\\n"},
        "title": "a decimal number as text from 0 to 100, at most 6 places",
    },
}
"""Rules by their names in `$defs`; decimal numbers are text, so that they stay exact."""

_SECTION: Final = "section"
_ITEM: Final = "item"

LATER: Final = {"later": True}
"""Metadata of a key that was added later; its default keeps the meaning of older runs.

A whole profile must write it; one with `extends` need write no key.
"""

OPTIONAL: Final = {"optional": True}
"""Metadata of a key that a profile may omit, but not write as null.

Its default is None, except for `venue` and in the section scanner. If the description of another
key names a value without the key, the reader of the key applies it.
"""

OPTIONAL_OR_NULL: Final = {"optional": True, "null": True}
"""Metadata of a key that a profile may omit, or write as null."""


_PLACES_4: Final = "0[.]([1-9][0-9]{0,3}|0[1-9][0-9]{0,2}|00[1-9][0-9]?|000[1-9])0*"
"""The pattern of a decimal number between 0 and 1 with at most four significant places."""


def distance(digits: int, title: str) -> Rule:
    """Return the rule for an exact distance: text above zero with four places, or null for off.

    Args:
        digits: Largest number of digits before the point.
        title: The rule in words.
    """
    return {
        "type": ["string", "null"],
        "maxLength": 40,
        "pattern": f"^({_PLACES_4}|[1-9][0-9]{{0,{digits - 1}}}([.][0-9]{{1,4}}0*)?)$",
        "not": {"type": "string", "pattern": "\\n"},
        "title": title,
    }


def share(title: str) -> Rule:
    """Return the rule for an exact share of one: text above 0 and at most 1, with four places."""
    return {
        "maxLength": 40,
        "pattern": f"^({_PLACES_4}|1([.]0{{1,4}}0*)?)$",
        "not": {"pattern": "\\n"},
        "title": title,
    }


def whole(least: int, most: int) -> Rule:
    """Return the rule for a whole number within bounds."""
    return {"minimum": least, "maximum": most}


def one_of(*words: str) -> Rule:
    """Return the rule for one of several words."""
    return {"enum": list(words)}


def only(value: str | int) -> Rule:
    """Return the rule for a key with a single allowed value."""
    return {"const": value}


def string(
    least: int | None = None, most: int | None = None, pattern: str = "", title: str = ""
) -> Rule:
    """Return the rule for a text: length, pattern, and a title for people."""
    rule = {"minLength": least, "maxLength": most, "pattern": pattern, "title": title}
    return {name: value for name, value in rule.items() if value not in (None, "")}


def listed(item: Rule, least: int = 0, most: int | None = None) -> Rule:
    """Return the rule for a list of distinct texts."""
    items = dict(item) if "enum" in item else {"type": "string", **item}
    rule = {"minItems": least or None, "maxItems": most, "uniqueItems": True, "items": items}
    return {name: value for name, value in rule.items() if value is not None}


def holding(section: type[Any]) -> dict[str, Any]:
    """Return the metadata of an optional key that holds a section itself."""
    return {**OPTIONAL, _SECTION: section}


def listing(section: type[Any]) -> dict[str, Any]:
    """Return the metadata of an optional key that holds a list of sections."""
    return {**OPTIONAL, _ITEM: section}


def item_type(key: dataclasses.Field[Any]) -> type[Any] | None:
    """Return the section class of a list's items; None for a key without such a list."""
    found: type[Any] | None = key.metadata.get(_ITEM)
    return found


def is_optional(key: dataclasses.Field[Any]) -> bool:
    """Return whether a profile may omit a key."""
    return OPTIONAL.items() <= key.metadata.items()


def later_keys(section: type[Any]) -> dict[str, Any]:
    """Return the defaults of the keys that were added later, for sections of older runs."""
    found = {}
    for key in dataclasses.fields(section):
        if LATER.items() <= key.metadata.items():
            make = key.default_factory
            found[key.name] = key.default if make is dataclasses.MISSING else make()
    return found


def section_of(cls: type[T], values: Mapping[str, Any]) -> T:
    """Return a section of a validated profile.

    The list of a key becomes a tuple; lists within it stay lists. Missing keys, which are optional
    or were added later, get their defaults. Keys that the section does not have are left out.

    Raises:
        TypeError: A key without a default is missing.
    """
    made = {}
    for name, read in _readers(cls):  # type: ignore[arg-type]  # A class is hashable.
        if name in values:
            value = values[name]
            made[name] = value if read is None else read(value)
    return cls(**made)


def section_type(hint: Any) -> type[Any] | None:
    """Return the section class that a key of this type holds; None if it holds a value."""
    for part in (hint, *get_args(hint)):
        if isinstance(part, type) and dataclasses.is_dataclass(part):
            return part
    return None


@cache
def _readers(cls: type[Any]) -> tuple[tuple[str, Callable[[Any], Any] | None], ...]:
    """Return the keys of a section, each with the function that turns its JSON into its value.

    The result is cached: sections have about a hundred keys, and finding these functions each time
    took a third of the time of making a core.
    """
    return tuple((key.name, _reader(key)) for key in dataclasses.fields(cls))


def _reader(key: dataclasses.Field[Any]) -> Callable[[Any], Any] | None:
    if _SECTION in key.metadata:
        return partial(section_of, key.metadata[_SECTION])
    if _ITEM in key.metadata:
        section = key.metadata[_ITEM]
        return lambda value: tuple(section_of(section, item) for item in value)
    if "tuple[" in str(key.type):
        return lambda value: tuple(value) if isinstance(value, list) else value
    return None
