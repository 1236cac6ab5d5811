"""The contract of an event type, made from its class.

Each rule stands beside its field (`events.field_types`); here it only takes the form that JSON
Schema gives it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from types import MappingProxyType, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from msgspec import Meta, Struct
from msgspec.structs import fields

from minibot.events.field_types import DEFINED_LAST, OR_NULL, UNIQUE, Codes, Named, Rule
from minibot.events.model import Envelope, Event, JsonObject, Payload
from minibot.events.reasons import codes

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
LINEAGE: Final = ("cause_ids", "tick_seq")

TYPES: Final = {int: "integer", str: "string", bool: "boolean", tuple: "array", list: "array"}
CLOSED: Final = frozenset({"const", "enum"})
# `Meta` bounds as keys of JSON Schema, by the type of the value.
BOUNDS: Final[Mapping[str, Mapping[str, str]]] = {
    "integer": {"ge": "minimum", "le": "maximum"},
    "string": {"min_length": "minLength", "max_length": "maxLength"},
    "array": {"min_length": "minItems", "max_length": "maxItems"},
    "object": {"max_length": "maxProperties"},
}


class Field(NamedTuple):
    """A field as its class has it: its type without None, and what is annotated to it."""

    kind: Any
    notes: tuple[Any, ...] = ()

    @classmethod
    def of(cls, hint: Any) -> Field:
        """Return the field of a type, its annotations gathered from the inside out."""
        if get_origin(hint) is Annotated:
            inner, *notes = get_args(hint)
            field = cls.of(inner)
            return field._replace(notes=(*field.notes, *notes))
        parts = get_args(hint)
        if get_origin(hint) in (Union, UnionType) and NoneType in parts:
            (inner,) = (part for part in parts if part is not NoneType)
            return cls.of(inner)
        return cls(hint)

    @property
    def named(self) -> Named | None:
        """Named rule of the field; None without one, and where OR_NULL makes it written out."""
        found = [note for note in self.notes if isinstance(note, Named)]
        return found[-1] if found and OR_NULL not in self.notes else None

    @property
    def rules(self) -> list[Rule | Codes]:
        """Rules of the field beside its type and its bounds."""
        rules = [note.rule if isinstance(note, Named) else note for note in self.notes]
        return [rule for rule in rules if isinstance(rule, (Mapping, Codes))]

    @property
    def description(self) -> str:
        """Words of the field; the outermost ones count."""
        return next((note for note in reversed(self.notes) if isinstance(note, str)), "")


class _Maker:
    """Makes the rules of one contract, and gathers the named ones that they refer to."""

    def __init__(self) -> None:
        self._named: dict[Named, JsonObject] = {}
        self._last: set[Named] = set()

    def value(self, hint: Any) -> JsonObject:
        """Return the rule of a type, with its words."""
        field = Field.of(hint)
        named = field.named
        if named is None:
            return _with_words(self._rule(field), field.description)
        if named not in self._named:
            self._named[named] = _with_words(self._rule(field), named.description)
        if DEFINED_LAST in field.notes:
            self._last.add(named)
        return _with_words({"$ref": f"#/$defs/{named.name}"}, field.description)

    def resolved(self, rule: Any) -> Any:
        """Return a rule with each type and list of codes inside it replaced by its own rule."""
        if isinstance(rule, Codes):
            return {"enum": list(codes(*rule.groups))}
        if isinstance(rule, Mapping):
            return {key: self.resolved(value) for key, value in rule.items()}
        if isinstance(rule, list):
            return [self.resolved(value) for value in rule]
        return self.value(rule) if get_origin(rule) is Annotated else rule

    def definitions(self) -> JsonObject:
        """Return the named rules in the order of `$defs`."""
        found = sorted(self._named, key=lambda named: (named in self._last, named.place))
        return {named.name: self._named[named] for named in found}

    def _rule(self, field: Field) -> JsonObject:
        """Return the rule of a field, without its words."""
        own: JsonObject = {}
        for rule in field.rules:
            own.update(self.resolved(rule))
        origin = get_origin(field.kind) or field.kind
        if origin is Literal:
            return {"enum": list(get_args(field.kind))}
        if CLOSED & own.keys():
            return own
        if isinstance(origin, type) and issubclass(origin, Struct):
            return self._object(origin)
        kind = TYPES.get(origin, "object")
        rule = {"type": [kind, "null"] if OR_NULL in field.notes else kind, **_bounds(kind, field)}
        parts = [part for part in get_args(field.kind) if part not in (Any, Ellipsis)]
        if kind == "array" and parts and "items" not in own:
            rule["items"] = self.value(parts[0])
        elif kind == "object" and parts[1:]:
            rule["additionalProperties"] = self.value(parts[1])
        return {**rule, **own}

    def _object(self, cls: type[Struct]) -> JsonObject:
        hints = hints_of(cls)
        return {
            "type": "object",
            "required": list(hints),
            "additionalProperties": True,
            "properties": {name: self.value(hint) for name, hint in hints.items()},
        }


def payload_schema(cls: type[Payload]) -> JsonObject:
    """Return the contract of an event type."""
    lineage = {name: hint for name, hint in hints_of(Event).items() if name in LINEAGE}
    return _contract(cls, f"minibot:{cls.TYPE}.v1", cls.NAMED_LAST, cls.conditions(), lineage)


def envelope_schema() -> JsonObject:
    """Return the contract of the envelope, which takes no further keys."""
    return _contract(Envelope, "minibot:envelope.v1", is_open=False)


def hints_of(cls: type[Struct]) -> dict[str, Any]:
    """Return the type of each field with all that is annotated to it, in the class's order."""
    hints = get_type_hints(cls, include_extras=True)
    return {name: hints[name] for name in cls.__struct_fields__}


def _contract(
    cls: type[Struct],
    id_: str,
    named_last: Sequence[str] = (),
    conditions: Rule = MappingProxyType({}),
    lineage: Mapping[str, Any] = MappingProxyType({}),
    *,
    is_open: bool = True,
) -> JsonObject:
    maker = _Maker()
    hints = hints_of(cls)
    names = [*(name for name in hints if name not in named_last), *named_last]
    required = {field.name for field in fields(cls) if field.required}
    title, _, description = (inspect.getdoc(cls) or "").partition("\n\n")
    return {
        "$schema": DIALECT,
        "$id": id_,
        "title": title.rstrip("."),
        "description": " ".join(description.split()),
        "type": "object",
        "required": [name for name in names if name in required],
        "additionalProperties": is_open,
        "properties": {
            name: maker.value(hint)
            for name, hint in ({name: hints[name] for name in names} | dict(lineage)).items()
        },
        **maker.resolved(conditions),
        "$defs": maker.definitions(),
    }


def _bounds(kind: str, field: Field) -> JsonObject:
    """Return the bounds of a value, a text's length, or how many a list or object may hold."""
    rule: JsonObject = {}
    for note in field.notes:
        if isinstance(note, Meta):
            for name, key in BOUNDS[kind].items():
                if getattr(note, name) is not None:
                    rule[key] = getattr(note, name)
    count = len(get_args(field.kind))
    if get_origin(field.kind) is tuple and Ellipsis not in get_args(field.kind):
        rule.update(minItems=count, maxItems=count)
    if UNIQUE in field.notes:
        rule["uniqueItems"] = True
    return rule


def _with_words(rule: JsonObject, description: str) -> JsonObject:
    """Return a rule with its description, at the empty one's place if there is one, else last."""
    if description:
        return {**rule, "description": description}
    return {key: value for key, value in rule.items() if key != "description"}
