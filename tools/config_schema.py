"""The JSON Schema of run profiles, made of the sections that read them.

    python -m tools.config_schema --check    exit 1 when config/config.v1.schema.json says otherwise
    python -m tools.config_schema --write    write it anew

A test holds the two equal, so the section is the one home of a key's type, range and description.
The schema accepts whole profiles and overlays: with `extends` no key is required.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import sys
from collections.abc import Sequence
from types import NoneType
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from minibot.cores.profile_keys import (
    DEFINITIONS,
    OPTIONAL_OR_NULL,
    is_optional,
    item_type,
    section_type,
)
from minibot.events.model import JsonObject
from minibot.runtime.configuration.config_files import EXTENDS
from minibot.runtime.configuration.config_schema import SCHEMA_PATH
from minibot.runtime.configuration.config_sections import EXTENDS_KEY, ProfileKeys

HEAD: Final = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "minibot:config.v1",
    "title": "A run profile of minibot",
    "type": "object",
    "description": (
        "A file without extends is a whole profile and names every key; one with extends is an "
        "overlay and names what it changes. Keys are known; _ms is wall-clock time, _market_ms "
        "market time, duration_ms and the ages and horizons of strategy, risk and ai market time."
    ),
}
TYPES: Final = {int: "integer", str: "string", bool: "boolean", tuple: "array"}
# Rules that list all their values themselves.
CLOSED: Final = frozenset({"const", "enum", "$ref", "type"})
EXTENDS_AFTER: Final = "v"


def schema() -> JsonObject:
    """Return the whole schema."""
    properties: JsonObject = {}
    required, sections = [], {}
    hints = get_type_hints(ProfileKeys, include_extras=True)
    for key in dataclasses.fields(ProfileKeys):
        found = _described(key, hints[key.name])
        if "properties" in found and "required" in found:
            sections[key.name] = {"required": found.pop("required")}
        properties[key.name] = found
        if key.name == EXTENDS_AFTER:
            properties[EXTENDS] = _value(str, *get_args(EXTENDS_KEY)[1:], is_nullable=False)
        if not is_optional(key):
            required.append(key.name)
    return {
        **HEAD,
        "if": {"required": [EXTENDS]},
        "else": {"required": required, "properties": sections},
        "additionalProperties": False,
        "properties": properties,
        "$defs": dict(DEFINITIONS),
    }


def document() -> str:
    """Return the text of the schema's file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _described(key: dataclasses.Field[Any], hint: Any) -> JsonObject:
    """Return the schema of one key."""
    is_annotated = get_origin(hint) is Annotated
    kind, *notes = get_args(hint) if is_annotated else (hint,)
    is_nullable = NoneType in get_args(kind) and (
        not is_optional(key) or OPTIONAL_OR_NULL.items() <= key.metadata.items()
    )
    cls = section_type(kind)
    item = item_type(key)
    if item is not None:
        found = _value(_only_kind(kind), *notes, is_nullable=False)
        return {**found, "items": _section(item, is_nullable=False)}
    if cls is None:
        return _value(_only_kind(kind), *notes, is_nullable=is_nullable)
    return _section(cls, *notes, is_nullable=is_nullable)


def _section(cls: type[Any], *rules: Any, is_nullable: bool) -> JsonObject:
    hints = get_type_hints(cls, include_extras=True)
    keys = dataclasses.fields(cls)
    required = [key.name for key in keys if not is_optional(key)]
    return {
        "type": ["object", "null"] if is_nullable else "object",
        **(rules[0] if rules else {}),
        "description": " ".join((inspect.getdoc(cls) or "").split()),
        **({"required": required} if required else {}),
        "additionalProperties": False,
        "properties": {key.name: _described(key, hints[key.name]) for key in keys},
    }


def _value(kind: Any, *notes: Any, is_nullable: bool) -> JsonObject:
    """Return the schema of a value from its notes: a description, and a rule if it has one."""
    *rules, description = notes
    rule = dict(rules[0]) if rules else {}
    if CLOSED & rule.keys():
        if is_nullable and "enum" in rule:
            rule["enum"] = [*rule["enum"], None]
        return {**rule, "description": description}
    name = TYPES.get(get_origin(kind) or kind, "object")
    return {"type": [name, "null"] if is_nullable else name, **rule, "description": description}


def _only_kind(kind: Any) -> Any:
    """Return the type of a value that may be None, without None."""
    kinds = [part for part in get_args(kind) if part is not NoneType]
    return kinds[0] if NoneType in get_args(kind) else kind


def main(argv: Sequence[str] | None = None) -> int:
    """Check or write the schema; exit code 1 when the committed one is stale."""
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--check", action="store_true", help="exit 1 when the schema is stale")
    flags.add_argument("--write", action="store_true", help="write the schema")
    arguments = flags.parse_args(argv)
    text = document()
    if arguments.write:
        SCHEMA_PATH.write_text(text, encoding="utf-8")
    same = SCHEMA_PATH.read_text(encoding="utf-8") == text
    found = "as the sections say" if same else "stale, write it with --write"
    print(f"{SCHEMA_PATH.name}: {found}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
