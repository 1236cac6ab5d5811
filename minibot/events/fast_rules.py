"""Rules of the fast path beside its classes: texts, by the patterns of the contracts.

Bounds, closed lists and lengths are in the classes, which are compared with the contracts here,
once. A field of the fast path that would accept what its contract refuses prevents the start. No
such class may have `conditions`, which nothing here compares or checks. All other classes are
judged by the contracts themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain, repeat
from operator import attrgetter
from typing import Any, Final

from msgspec.inspect import (
    BoolType,
    DictType,
    IntType,
    LiteralType,
    NoneType,
    StrType,
    StructType,
    TupleType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)
from msgspec.structs import fields

from minibot.events.field_types import NUMBER, SYMBOL
from minibot.events.model import JsonObject, Payload
from minibot.events.reasons import SCHEMA_INVALID
from minibot.events.registry import lean_schema
from minibot.kernel.errors import InvariantError

# Texts above which the cache is emptied before new ones join; one call may add more than this.
# It is small, so that it soon fills and a role's memory is flat.
KNOWN_MAX: Final = 4_096
# Contracts allow any text as a key. Here it has to be a market's name, else the slow path judges
# the line: two encoders might write other texts as different bytes.
KEYS: Final = lean_schema(SYMBOL.rule, {})

# A payload's shape: each digit as 0, each capital as A.
SHAPE: Final = bytes.maketrans(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"0" * 10 + b"A" * 26)
# Texts of one shape follow these patterns together, but for a number's leading zero.
SHAPED_PATTERNS: Final = frozenset({NUMBER["pattern"], SYMBOL.rule["pattern"]})
_leading_zero: Final = re.compile(rb'"0[0-9]').search


class TextRule:
    """Rule for texts, and the fields under it: texts, levels of texts, or keys."""

    def __init__(self, rule: JsonObject) -> None:
        self.rule = rule
        self.names: list[str] = []
        self.levels: list[str] = []
        self.keys: list[str] = []


class Texts:
    """Text fields of one class under one rule, with a cache of accepted texts."""

    def __init__(self, rule: TextRule) -> None:
        # `attrgetter` of one name gives the text itself, of several a tuple.
        self._of: Callable[[Any], Any] | None = attrgetter(*rule.names) if rule.names else None
        self._is_one = len(rule.names) == 1
        self._levels, self._keys = rule.levels, rule.keys
        self._known: set[str | None] = {None}
        pattern = rule.rule["pattern"]
        if "[^" in pattern or "\\" in pattern:
            # Such a pattern may match a newline, so two wrong texts, joined, could pass as one.
            raise InvariantError(
                "events.quick", SCHEMA_INVALID, f"{pattern} is not matched by lines"
            )
        # Many texts are matched at once, a line each, which takes half the time.
        self._fit = re.compile(rf"(?:(?:{pattern})\n)*+", re.MULTILINE).fullmatch
        self._chars_max = rule.rule["maxLength"]

    def admit(self, payloads: Sequence[Payload]) -> bool:
        """Return whether all texts of these payloads follow the rule."""
        try:
            new = self._found(payloads)
            new -= self._known
            if not self._admit_new(new):
                return False
        except TypeError:
            return False  # Some field holds no text: a `Decimal`, bytes or a value without a hash.
        if len(self._known) > KNOWN_MAX:
            self._known = {None}
        self._known |= new
        return True

    def _found(self, payloads: Sequence[Payload]) -> set[str | None]:
        """Return the texts of these payloads; raises TypeError where a field cannot hold any."""
        found: set[str | None] = set()
        if self._of is not None:
            values = map(self._of, payloads)
            found.update(values if self._is_one else chain.from_iterable(values))
        for name in self._levels:
            levels: Iterable[Any] = chain.from_iterable(map(attrgetter(name), payloads))
            found.update(chain.from_iterable(levels))
        for name in self._keys:
            found.update(chain.from_iterable(map(attrgetter(name), payloads)))
        return found

    def _admit_new(self, texts: Collection[Any]) -> bool:
        if not texts:
            return True
        lines = "\n".join(texts) + "\n"
        return (
            self._fit(lines) is not None
            and lines.count("\n") == len(texts)  # Else a text is itself of several lines.
            and max(map(len, texts)) <= self._chars_max
        )


class Shapes:
    """Shapes of payloads of one class that were judged and are right.

    Payloads of one shape differ in digits and capitals alone. Where `are_enough`, a payload of a
    known shape can be wrong only by a leading zero, which is looked for here, or by a value, which
    the decoder judges.
    """

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    @staticmethod
    def are_enough(cls: type[Payload], rules: Iterable[TextRule]) -> bool:
        """Return whether a payload of a known shape needs no judging beside the decoder's."""
        return all(
            re.fullmatch("[a-z_]+", field.name) and (field.required or field.default is None)
            for field in fields(cls)
        ) and all(
            rule.rule["pattern"] in SHAPED_PATTERNS and not rule.levels and not rule.keys
            for rule in rules
        )

    def unknown(self, jsons: Sequence[bytes], whole: bytes) -> Sequence[int]:
        """Return which of many payloads have to be judged.

        Args:
            jsons: Each of them.
            whole: All of them in one JSON array.
        """
        if _leading_zero(whole):
            return range(len(jsons))
        shapes, known = list(map(bytes.translate, jsons, repeat(SHAPE))), self._known
        if known.issuperset(shapes):
            return ()
        return [place for place, shape in enumerate(shapes) if shape not in known]

    def learn(self, jsons: Iterable[bytes]) -> None:
        """Add the shapes of payloads that were judged and are right."""
        if len(self._known) > KNOWN_MAX:
            self._known = set()
        self._known.update(map(bytes.translate, jsons, repeat(SHAPE)))


def follows(text: str, rule: JsonObject) -> bool:
    """Return whether one text follows a rule for texts."""
    return len(text) <= rule["maxLength"] and re.fullmatch(rule["pattern"], text) is not None


def text_rules(cls: type[Payload], schema: JsonObject) -> list[TextRule]:
    """Compare a class with its contract, field by field; return the rules for texts, yet to check.

    Raises:
        InvariantError: A field without texts would accept values that the contract refuses, or a
            text's rule is of another kind. `conditions` over several fields are not compared.
    """
    info = type_info(cls)
    rules: list[TextRule] = []
    if not isinstance(info, StructType) or not info.forbid_unknown_fields:
        raise _differs(cls, "*", "it takes fields that it does not know")
    required = {field.name for field in info.fields if field.required}
    if required != set(schema["required"]):
        raise _differs(cls, "*", "it requires other fields")
    for field in info.fields:
        rule = schema["properties"].get(field.name, {})
        kinds = field.type.types if isinstance(field.type, UnionType) else (field.type,)
        for kind in kinds:
            if isinstance(kind, NoneType):
                continue  # Absent; an explicit null is not re-encoded, so it is refused.
            if isinstance(kind, StrType):
                _rule(rules, cls, field.name, rule).names.append(field.name)
            elif isinstance(kind, VarTupleType) and _are_levels(kind, rule):
                text = rule["items"]["items"]
                _rule(rules, cls, field.name, text).levels.append(field.name)
            elif isinstance(kind, DictType) and _are_counts(kind, rule):
                _rule(rules, cls, field.name, KEYS).keys.append(field.name)
            elif not _is_within(kind, rule):
                raise _differs(cls, field.name, f"{kind} against {rule}")
    return rules


def _rule(rules: list[TextRule], cls: type[Payload], name: str, rule: JsonObject) -> TextRule:
    """Return the rule for texts among those known; add a new one if there is none."""
    if not set(rule) <= {"type", "pattern", "maxLength"} or "pattern" not in rule:
        raise _differs(cls, name, f"a rule of another kind: {rule}")
    for known in rules:
        if known.rule == rule:
            return known
    rules.append(TextRule(rule))
    return rules[-1]


def _are_levels(kind: VarTupleType, rule: JsonObject) -> bool:
    """Return whether a field accepts only pairs of texts, and at most as many as its rule."""
    pair = kind.item_type
    if not isinstance(pair, TupleType) or pair.item_types != (StrType(), StrType()):
        return False
    texts = rule.get("items", {}).get("items", {})
    item = {"type": "array", "minItems": 2, "maxItems": 2, "items": texts}
    return rule == {"type": "array", "maxItems": kind.max_length, "items": item}


def _are_counts(kind: DictType, rule: JsonObject) -> bool:
    """Return whether a field accepts only numbers by name within its rule, and at most as many."""
    values = rule.get("additionalProperties", {})
    is_known = set(rule) == {"type", "maxProperties", "additionalProperties"}
    return (
        is_known
        and rule["type"] == "object"
        and rule["maxProperties"] == kind.max_length
        and kind.key_type == StrType()
        and _is_within(kind.value_type, values)
    )


def _is_within(kind: Type, rule: JsonObject) -> bool:
    """Return whether a field accepts only numbers, flags or listed texts within its rule."""
    allowed = rule.get("type", [])
    types = set(allowed) if isinstance(allowed, list) else {allowed}
    if isinstance(kind, IntType):
        bounds = (rule.get("minimum"), rule.get("maximum"))
        is_known = set(rule) <= {"type", "minimum", "maximum"}
        return "integer" in types and is_known and bounds == (kind.ge, kind.le)
    if isinstance(kind, BoolType):
        return rule == {"type": "boolean"}
    if isinstance(kind, LiteralType):
        return set(rule) == {"enum"} and set(kind.values) <= set(rule["enum"])
    return False


def _differs(cls: type[Payload], name: str, why: str) -> InvariantError:
    detail = f"{cls.__name__}.{name} differs from its contract: {why}"
    return InvariantError("events.quick", SCHEMA_INVALID, detail)
