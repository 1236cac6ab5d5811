"""Registry of contracts by type: their schemas, compiled once.

`config/contracts.v1.json` maps each event type to the schema of its payload and pins every file
by sha256 over its canonical JSON. The envelope's schema is merged around each payload's, so one
call of the compiled validator (jsonschema-rs) judges a whole event. The oracle, a slow second
validator (jsonschema), gives `explain` its sentences. No schema may reach outside its own file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import jsonschema_rs
import orjson

from minibot.events.field_types import NEWLINE_GUARD
from minibot.events.model import PAYLOAD_CLASSES, JsonObject
from minibot.kernel import canonical
from minibot.kernel.errors import ConfigError

ERRORS_MAX: Final = 20
PROJECT: Final = Path(__file__).resolve().parents[2]

_PREFIX: Final = "contracts/"
_WORDS: Final = frozenset({"title", "description", "$defs"})


class Contracts:
    """The contracts of all event types.

    `schemas` maps a type to the schema of a whole event of that type; `payloads` to the schema of
    its payload as it stands in the file. `sha256` is one hash over envelope and payloads.
    """

    def __init__(self, envelope: JsonObject, payloads: Mapping[str, JsonObject]) -> None:
        """Compile the schemas; see `load` for the errors."""
        self.envelope = envelope
        self.payloads = MappingProxyType(dict(payloads))
        self.schemas = MappingProxyType(
            {type_: event_schema(envelope, type_, schema) for type_, schema in payloads.items()}
        )
        everything = {"envelope": envelope, "types": dict(payloads)}
        self.sha256 = sha256(canonical.encode(everything)).hexdigest()
        self._fast = {
            type_: _compiled(lean_schema(schema, schema["$defs"]))
            for type_, schema in self.schemas.items()
        }
        self._oracles: dict[str, Any] = {}

    @staticmethod
    def of_project() -> Contracts:
        """Return the contracts of this build; see `load`."""
        return Contracts.load(PROJECT / "contracts", PROJECT / "config" / "contracts.v1.json")

    @classmethod
    def load(cls, contracts_dir: Path, config_path: Path) -> Contracts:
        """Return the contracts that a mapping file names, read from a folder.

        The files are read and held against their pins each time. The last four `Contracts` are
        kept, so that equal files give the same object.

        Raises:
            ConfigError: A file is missing, changed or no JSON Schema, refers out of itself, has a
                pattern that the linear engine cannot compile, or is another type's contract; or
                the types are not those of `PAYLOAD_CLASSES`. All violations of the files at once; a
                mapping file that is unreadable or lacks a part comes alone, and a `$defs` name that
                differs from the envelope's comes last.
        """
        mapping = _read(config_path)
        types, pins = (_part(mapping, key, config_path.name) for key in ("types", "sha256"))
        violations: list[str] = []
        schemas: dict[str, JsonObject] = {}
        entries = {"envelope": mapping.get("envelope"), **types}
        for name, entry in entries.items():
            try:
                schemas[name] = _pinned(contracts_dir, entry, pins)
            except ConfigError as error:
                violations += error.violations
                continue
            found, expected = schemas[name].get("$id"), f"minibot:{name}.v1"
            if found != expected:
                where = f"types.{name}" if name in types else name
                violations.append(
                    f"{config_path.name}: {where}: {entry} is {_short(found)}, expected {expected}"
                )
        for type_ in sorted(PAYLOAD_CLASSES.keys() - entries.keys()):
            violations.append(f"{config_path.name}: types.{type_}: missing, every type needs one")
        for type_ in sorted(entries.keys() - PAYLOAD_CLASSES.keys() - {"envelope"}):
            violations.append(f"{config_path.name}: types.{type_}: no event class has this type")
        if violations:
            raise _refused(*violations)
        return _made(orjson.dumps({"envelope": schemas.pop("envelope"), "types": schemas}))

    def __contains__(self, type_: object) -> bool:
        return type_ in self._fast

    def validate(self, envelope: JsonObject) -> bool:
        """Return whether a decoded event satisfies the contract of its type.

        False for a type that is not registered; KeyError for an event without `type`.
        """
        validator = self._fast.get(envelope["type"])
        return validator is not None and validator.is_valid(envelope)

    def explain(self, envelope: Any) -> list[str]:
        """Return at most `ERRORS_MAX` faults of an event, a sentence each; none if it is valid.

        Those of the envelope come before those of the payload.
        """
        type_ = envelope.get("type") if isinstance(envelope, dict) else None
        if not isinstance(type_, str) or type_ not in self.schemas:
            return [f"type: {_short(type_)} is not registered"]
        errors = sorted(self.oracle(type_).iter_errors(envelope), key=_place)
        return [f"{error.json_path}: {_short(error.message)}" for error in errors[:ERRORS_MAX]]

    def oracle(self, type_: str) -> Any:
        """Return the slow validator of a type, by which the fast one is checked."""
        # Loaded on first use: a role that meets no bad event saves its time and memory.
        import jsonschema

        if type_ not in self._oracles:
            self._oracles[type_] = jsonschema.Draft202012Validator(self.schemas[type_])
        return self._oracles[type_]


def event_schema(envelope: JsonObject, type_: str, payload: JsonObject) -> JsonObject:
    """Return the schema of a whole event: the envelope's with the payload's inside.

    Raises:
        ConfigError: Both define the same name differently.
    """
    whole = deepcopy(envelope)
    inner = {key: value for key, value in payload.items() if key not in ("$schema", "$id", "$defs")}
    definitions = whole.setdefault("$defs", {})
    for name, definition in payload.get("$defs", {}).items():
        if definitions.setdefault(name, definition) != definition:
            raise _refused(f"{type_}: $defs.{name} differs from the envelope's")
    whole["$id"] = f"minibot:{type_}.v1.event"
    whole["properties"]["schema"] = {"const": f"minibot.{type_}"}
    whole["properties"]["type"] = {"const": type_}
    whole["properties"]["payload"] = deepcopy(inner)
    return whole


def lean_schema(node: Any, definitions: JsonObject, within: tuple[str, ...] = ()) -> Any:
    """Return a schema that accepts the same values and is faster to check.

    References are resolved in place and descriptions dropped. So is the `not` that forbids
    newlines beside an anchored pattern: it is there for engines whose `$` also matches before a
    last newline (Python's); in the compiled engine `$` is the end and nothing else.

    Raises:
        ValueError: A reference leads back to itself or to nothing.
    """
    if isinstance(node, list):
        return [lean_schema(item, definitions, within) for item in node]
    if not isinstance(node, dict):
        return node
    lean: JsonObject = {}
    for key, value in node.items():
        if key == "properties":
            lean[key] = {n: lean_schema(child, definitions, within) for n, child in value.items()}
        elif key in ("const", "enum"):
            lean[key] = value
        elif key not in _WORDS and key != "$ref":
            lean[key] = lean_schema(value, definitions, within)
    if str(node.get("pattern", "")).endswith("$") and node.get("not") == NEWLINE_GUARD:
        del lean["not"]
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        if name in within or name not in definitions:
            raise ValueError(f"$ref to {name} leads to itself or nowhere")
        target = lean_schema(definitions[name], definitions, (*within, name))
        return {**lean, "allOf": [target]} if lean else target
    return lean


def schema_sha256(schema: JsonObject) -> str:
    """Return the pin of a schema: sha256 of its canonical JSON, whatever the file's line ends."""
    return sha256(canonical.encode(schema)).hexdigest()


# Cached: a command loads the contracts for each run that it opens, and compiling takes longest.
@lru_cache(maxsize=4)
def _made(everything: bytes) -> Contracts:
    found = orjson.loads(everything)
    return Contracts(found["envelope"], found["types"])


@lru_cache(maxsize=256)
def _violations_of(schema: bytes) -> tuple[str, ...]:
    return tuple(_schema_violations(orjson.loads(schema)))


def _compiled(schema: JsonObject) -> jsonschema_rs.Draft202012Validator:
    # The linear regex engine, and no retriever: a pattern cannot blow up, a $ref cannot call out.
    return jsonschema_rs.Draft202012Validator(
        schema, pattern_options=jsonschema_rs.RegexOptions(), offline=True
    )


def _pinned(contracts_dir: Path, entry: Any, pins: Mapping[str, str]) -> JsonObject:
    name = entry[len(_PREFIX) :] if isinstance(entry, str) and entry.startswith(_PREFIX) else None
    if not name or "/" in name or "\\" in name or not name.endswith(".schema.json"):
        raise _refused(f"contract path {_short(entry)}: expected contracts/<name>.schema.json")
    schema = _read(contracts_dir / name)
    try:
        found = schema_sha256(schema)
    except ValueError as error:
        raise _refused(f"{entry}: has no canonical JSON: {_short(error)}") from error
    if pins.get(entry) != found:
        raise _refused(f"{entry}: differs from its pin in contracts.v1.json")
    violations = [f"{entry}: {text}" for text in _violations_of(orjson.dumps(schema))]
    if violations:
        raise _refused(*violations)
    return schema


def _schema_violations(schema: JsonObject) -> Iterator[str]:
    try:
        jsonschema_rs.meta.validate(schema)
    except jsonschema_rs.ValidationError as error:
        yield f"is not JSON Schema 2020-12: {_short(error.message)}"
        return
    references = list(_references(schema))
    if any(not reference.startswith("#/$defs/") for reference in references):
        yield f"$ref leads out of the file: {_short(references)}"
        return
    try:
        _compiled(schema)
        _compiled(lean_schema(schema, schema.get("$defs", {})))
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        yield f"cannot be compiled: {_short(error)}"


def _refused(*violations: str) -> ConfigError:
    remedy = (
        "Restore the files, or run `python -m minibot.events.schemas` after an intended change."
    )
    return ConfigError("the contracts are refused", violations, remedy)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _read(path: Path) -> JsonObject:
    try:
        value = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise _refused(f"{path.name}: cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise _refused(f"{path.name}: expected a JSON object")
    return value


def _part(mapping: JsonObject, key: str, name: str) -> JsonObject:
    """Return an object within the mapping; raises ConfigError where there is none."""
    part = mapping.get(key)
    if not isinstance(part, dict):
        raise _refused(f"{name}: {key}: expected a JSON object, found {_short(part)}")
    return part


def _place(error: Any) -> tuple[bool, str]:
    path: str = error.json_path
    return path.startswith("$.payload"), path


def _short(value: object) -> str:
    text = str(value).encode("unicode_escape").decode("ascii")
    return text if len(text) <= 300 else text[:300] + "..."
