"""Skeletons of the examples of an event type: a least payload and its mistakes.

From what is printed, a person writes the type's examples into `tests/contracts/make_fixtures.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from minibot.events.class_schemas import LINEAGE, Field, hints_of, payload_schema
from minibot.events.field_types import Example
from minibot.events.model import JsonObject, Payload
from minibot.events.registry import lean_schema

OFF_THE_LIST: Final = "no_such_word"


def skeleton(cls: type[Payload]) -> JsonObject:
    """Return a least valid payload, and copies of it with one mistake each."""
    whole = payload_schema(cls)
    schema = lean_schema(whole, whole["$defs"])
    rules = {name: rule for name, rule in schema["properties"].items() if name not in LINEAGE}
    values = {name: _value(rules[name], hint) for name, hint in hints_of(cls).items()}
    valid = {name: values[name] for name in schema["required"]}
    for name, value, other, codes in _conditions(schema):
        if valid.get(name) == value:
            valid[other] = codes[0]
    lacking = [(f"lacks {name}", _without(valid, name)) for name in schema["required"]]
    wrong = [
        (f"{name}: {why}", {**valid, name: value})
        for name, rule in rules.items()
        for why, value in _mistakes(rule, values[name])
    ]
    at_odds = [
        (f"{other} that {value} has not", {**valid, name: value, other: code})
        for name, value, other, codes in _conditions(schema)
        for code in [code for code in rules[other]["enum"] if code not in codes][:1]
    ]
    invalid = [{"why": why, "payload": payload} for why, payload in (*lacking, *wrong, *at_odds)]
    return {"valid": valid, "invalid": invalid}


def _value(rule: JsonObject, hint: Any) -> Any:
    """Return the example of a field, or the least value that its rule admits."""
    examples = [note.value for note in Field.of(hint).notes if isinstance(note, Example)]
    if examples:
        return examples[-1]
    if "enum" in rule:
        return rule["enum"][0]
    least = {"integer": rule.get("minimum", 0), "boolean": False, "array": [], "object": {}}
    kinds = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
    return least.get(kinds[0], "x" * max(1, rule.get("minLength", 1)))


def _mistakes(rule: JsonObject, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield values that a rule refuses, each with the reason."""
    if "enum" in rule:
        yield "a word off the list", OFF_THE_LIST
        return
    yield "of another type", [] if isinstance(value, (str, dict)) else {}
    if "minimum" in rule:
        yield "below its least", rule["minimum"] - 1
    if "maximum" in rule:
        yield "above its most", rule["maximum"] + 1
    if "pattern" in rule:
        yield "of another form", value + "\n"
    if "minLength" in rule:
        yield "too short", "x" * (rule["minLength"] - 1)
    if "maxLength" in rule:
        yield "too long", "x" * (rule["maxLength"] + 1)


def _conditions(schema: JsonObject) -> Iterator[tuple[str, str, str, list[str]]]:
    """Yield a field, its value, another field and the values that this one may then have."""
    for rule in (schema, *schema.get("allOf", ())):
        for name, asked in rule.get("if", {}).get("properties", {}).items():
            for value in schema["properties"][name]["enum"]:
                branch = rule.get("then" if value == asked["const"] else "else", {})
                for other, allowed in branch.get("properties", {}).items():
                    yield name, value, other, allowed["enum"]


def _without(payload: JsonObject, name: str) -> JsonObject:
    return {key: value for key, value in payload.items() if key != name}
