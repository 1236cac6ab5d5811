"""Schema check of a profile, in sentences: key, value, allowed values, nearest key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import jsonschema_rs

from minibot.events.model import JsonObject
from minibot.runtime.configuration.config_files import EXTENDS, MANIFEST, printable
from minibot.runtime.configuration.shown_values import is_live, shown_value
from minibot.runtime.paths import PROJECT

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

SCHEMA_PATH: Final = PROJECT / "config" / "config.v1.schema.json"

# Likeness from which a known key is named for an unknown one: a slip of the pen passes, another
# word does not. Keys of other sections, and single words of a name, have to be more alike.
NEAR_MIN: Final = 0.65
NEAR_ELSEWHERE_MIN: Final = 0.75
NEAR_WORD_MIN: Final = 0.8
WORD_LETTERS_MIN: Final = 4


@cache
def config_schema() -> JsonObject:
    """Return the schema of a resolved profile: the file's own, with every key required.

    The file also allows overlays, for editors; its `else` lists the keys of a whole profile.
    """
    schema: JsonObject = json.loads(SCHEMA_PATH.read_bytes())
    whole = schema.pop("else")
    del schema["if"], schema["properties"][EXTENDS]
    schema["required"] = whole["required"]
    for name, section in whole["properties"].items():
        schema["properties"][name] |= section
    return schema


def coerce_numbers(raw: JsonObject, schema: Mapping[str, Any]) -> None:
    """Turn integers into text where text is expected: `speed=30` means `"30"`."""
    for key, value in raw.items():
        expected = resolved(schema.get("properties", {}).get(key, {}))
        if isinstance(value, dict):
            coerce_numbers(value, expected)
        elif type(value) is int and _is_text(expected):
            raw[key] = str(value)


def _is_text(schema: Mapping[str, Any]) -> bool:
    """Return whether a schema takes text, or null and text with a pattern (a decimal number)."""
    kind = schema.get("type")
    return kind == "string" or (kind == ["string", "null"] and "pattern" in schema)


def schema_violations(raw: JsonObject, origin: Mapping[str, str]) -> dict[str, str]:
    """Return one sentence for each key that breaks the schema, by dotted key."""
    if _compiled().is_valid(raw):
        return {}
    found: dict[str, str] = {}
    for error in sorted(_explaining().iter_errors(raw), key=lambda error: error.json_path):
        for path, words in _violations_of(error, origin):
            found.setdefault(".".join(path), words)
    return found


@cache
def _compiled() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(config_schema(), offline=True)


@cache
def _explaining() -> Validator:
    """Return the validator that explains; it judges each text by the compiled engine's patterns.

    Python's own `$` also matches before a final newline, so it would find nothing wrong there.
    """
    # Loaded only to explain: a role with a valid profile saves its time and memory.
    from jsonschema import Draft202012Validator, ValidationError, validators

    def judged(_: Validator, pattern: str, text: object, __: object) -> Iterator[ValidationError]:
        if not _compiled_pattern(pattern).is_valid(text):
            yield ValidationError(f"does not match {pattern}")

    # Its own type stubs leave `extend` untyped.
    extended: Any = validators.extend
    kind: type[Validator] = extended(Draft202012Validator, {"pattern": judged})
    return kind(config_schema())


@cache
def _compiled_pattern(pattern: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({"pattern": pattern}, offline=True)


def _violations_of(
    error: ValidationError, origin: Mapping[str, str]
) -> Iterator[tuple[list[str], str]]:
    path = [str(part) for part in error.absolute_path]
    schema: Any = error.schema
    wanted: Any = error.validator_value
    value: Any = error.instance
    if error.validator == "additionalProperties":
        for key in sorted(set(value) - set(schema["properties"])):
            yield [*path, key], _unknown([*path, key], value[key], schema, origin)
    elif error.validator == "required":
        for key in [key for key in wanted if key not in value]:
            allowed = describe(schema["properties"][key])
            yield [*path, key], f"{'.'.join([*path, key])}: missing; allowed: {allowed}"
    else:
        yield path, violation(path, value, f"allowed: {describe(schema)}", origin)


def violation(path: list[str], value: Any, words: str, origin: Mapping[str, str]) -> str:
    """Return one violation as a sentence: the key, its value, its origin and the allowed values.

    The value of a key that may be a secret is hidden, as is the origin of a value that was resolved
    before: a sweep's profile comes from a file, and only a finished run's from a manifest.
    """
    key = ".".join(path)
    parents = [".".join(path[:depth]) for depth in range(len(path), 0, -1)]
    where = next((origin[parent] for parent in parents if parent in origin), "")
    origin_text = f" ({where})" if where not in ("", MANIFEST) else ""
    return f"{printable(key)} = {shown_value(path, value)}{origin_text}: {words}"


def describe(schema: Mapping[str, Any]) -> str:
    """Return the values that a part of the schema allows, in words."""
    schema = {**resolved(schema), **{k: v for k, v in schema.items() if k != "$ref"}}
    if "title" in schema:
        return str(schema["title"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(value) for value in schema["enum"])
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else list(types)
    return " or ".join(_described_type(name, schema) for name in types)


def _described_type(name: str, schema: Mapping[str, Any]) -> str:
    if name == "integer":
        bounds = f" from {schema['minimum']} to {schema['maximum']}" if "minimum" in schema else ""
        return f"a whole number{bounds}"
    if name == "array":
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        items = schema.get("items")
        once = ", none twice" if schema.get("uniqueItems") else ""
        count = f"{least} or more" if most is None else f"{least} to {most}"
        return f"a list of {count}, each {describe(items)}{once}" if items else "a list"
    words = {"boolean": "true or false", "string": "text", "object": "a section in braces"}
    return words.get(name, name)


def _unknown(
    path: list[str], value: Any, schema: Mapping[str, Any], origin: Mapping[str, str]
) -> str:
    if is_live(path[-1]):
        words = "refused: real trading and its keys do not exist in NORE (N-22); remove the key"
        return violation(path, value, words, origin)
    siblings = [*schema["properties"], *([EXTENDS] if len(path) == 1 else [])]
    near = nearest_key(path, siblings)
    hint = f"did you mean {near}?" if near else "minibot config show lists all keys"
    # A section has no origin of its own; those of its keys say where it came from.
    prefix = f"{'.'.join(path)}."
    within = dict.fromkeys(name for key, name in origin.items() if key.startswith(prefix))
    if within:
        origin = {**origin, prefix.removesuffix("."): ", ".join(within)}
    return violation(path, value, f"unknown key; {hint}", origin)


def nearest_key(path: list[str], siblings: list[str]) -> str:
    """Return the known key that an unknown one most resembles, siblings first; "" for none."""
    prefix = ".".join(path[:-1])
    close = get_close_matches(path[-1], siblings, 1, NEAR_MIN)
    if close:
        return f"{prefix}.{close[0]}" if prefix else close[0]
    everywhere = {key.rpartition(".")[2]: key for key in known_keys()}
    close = get_close_matches(path[-1], list(everywhere), 1, NEAR_ELSEWHERE_MIN)
    if close:
        return everywhere[close[0]]
    near = next((name for name in siblings if _share_a_word(name, path[-1])), "")
    return f"{prefix}.{near}" if prefix and near else near


def _share_a_word(known: str, unknown: str) -> bool:
    words = [word for word in unknown.split("_") if len(word) >= WORD_LETTERS_MIN]
    return any(get_close_matches(word, known.split("_"), 1, NEAR_WORD_MIN) for word in words)


@cache
def known_keys() -> tuple[str, ...]:
    """Return every key of a profile, dotted, in the schema's order."""
    return tuple(_keys(config_schema(), ""))


def _keys(schema: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, child in schema.get("properties", {}).items():
        yield prefix + key
        yield from _keys(child, f"{prefix}{key}.")


def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a part of the schema, or the definition that it refers to."""
    if "$ref" not in schema:
        return schema
    name = schema["$ref"].rpartition("/")[2]
    definition: Mapping[str, Any] = config_schema()["$defs"][name]
    return definition
