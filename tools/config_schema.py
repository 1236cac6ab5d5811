"""The JSON Schema of run profiles and its page, made of the sections that read them.

    python -m tools.config_schema --check    exit 1 when the schema or docs/reference/config.md says
                                             otherwise
    python -m tools.config_schema --write    write both

A test holds them equal, so the section is the one home of a key's type, range and description.
The schema accepts whole profiles and overlays: with `extends` no key is required.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
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
from minibot.runtime.configuration.config_schema import SCHEMA_PATH, describe
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
PAGE: Final = Path(__file__).resolve().parent.parent / "docs/reference/config.md"
PAGE_HEAD: Final = """\
# Keys of a profile

Written from the typed sections by `python -m tools.config_schema --write`; a test holds both equal.

`_ms` is wall-clock time; `_market_ms` is market time, and so are `duration_ms`, ages and horizons
of `strategy`, `risk` and `ai`. An `optional` key may be absent from a whole profile.
`minibot config show --origin` prints the values of yours.
"""


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


def page() -> str:
    """Return the text of the reference page: a table for each section."""
    whole = schema()
    required, sections = whole["else"]["required"], whole["else"]["properties"]
    alone = {key: part for key, part in whole["properties"].items() if "properties" not in part}
    parts = [PAGE_HEAD, _table(alone, required, "")]
    for name, part in whole["properties"].items():
        if name not in alone:
            needed = sections.get(name, {}).get("required", [])
            optional = "" if name in required else " Optional."
            parts.append(f"## {name}\n\n{part['description']}{optional}")
            parts.append(_table(part["properties"], needed, ""))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table(keys: JsonObject, required: Sequence[str], prefix: str) -> str:
    rows = [" | ".join(cells) for cells in _rows(keys, required, prefix)]
    head = ["| key | allowed | meaning |", "| --- | --- | --- |"]
    return "\n".join([*head, *(f"| {row} |" for row in rows)])


def _rows(keys: JsonObject, required: Sequence[str], prefix: str) -> Iterator[tuple[str, str, str]]:
    """Yield key, allowed values and meaning of each key, those within a section behind its own."""
    for key, part in keys.items():
        optional = "" if key in required else "optional: "
        allowed, meaning = (
            text.replace("|", "\\|") for text in (describe(_ruled(part)), part["description"])
        )
        yield f"`{prefix}{key}`", optional + allowed, meaning
        items = part.get("items", {})
        inner, name = (items, f"{key}[].") if "properties" in items else (part, f"{key}.")
        if "properties" in inner:
            yield from _rows(inner["properties"], inner.get("required", []), prefix + name)


def _ruled(part: JsonObject) -> JsonObject:
    """Return a part with the rule that it refers to, which the committed schema may lack yet."""
    if "$ref" not in part:
        return part
    return {**DEFINITIONS[part["$ref"].rpartition("/")[2]], "description": part["description"]}


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
    """Check or write schema and page; exit code 1 when a committed one is stale."""
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--check", action="store_true", help="exit 1 when one is stale")
    flags.add_argument("--write", action="store_true", help="write both")
    arguments = flags.parse_args(argv)
    texts = {SCHEMA_PATH: document()}
    if PAGE.parent.is_dir():  # An installed copy has no docs.
        texts[PAGE] = page()
    stale = False
    for path, text in texts.items():
        if arguments.write:
            path.write_text(text, encoding="utf-8")
        same = path.is_file() and path.read_text(encoding="utf-8") == text
        stale = stale or not same
        print(f"{path.name}: {'as the sections say' if same else 'stale, write it with --write'}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
