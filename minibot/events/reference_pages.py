"""Reference pages of the documentation, generated from reason codes and contracts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from minibot.events.field_types import Named
from minibot.events.model import PAYLOAD_CLASSES, JsonObject
from minibot.events.reason import BUSINESS_GROUP, END_GROUP, FEED_GROUP, GROUPS, STOP_GROUP
from minibot.events.reasons import REASONS
from minibot.events.roles import Roles

CONTRACTS_BEGIN: Final = "<!-- generated: contracts -->"
CONTRACTS_END: Final = "<!-- end of generated -->"

_TITLES: Final[Mapping[str, str]] = {
    STOP_GROUP: "STOP: the run ends at once, exit code 10",
    END_GROUP: "Planned ends, a cleared stop, a refused start",
    BUSINESS_GROUP: "Decisions: signals, risk, orders",
    FEED_GROUP: "Data from outside that was set aside or survived",
}

_WORDS: Final[Mapping[str, str]] = {named.name: named.words for named in Named.made}


def reasons_page() -> str:
    """Return `docs/reference/reasons.md`: every reason code with meaning and remedy."""
    lines = [
        "# Reason codes",
        "",
        "Generated from `stop_codes.py` and `business_codes.py` of `minibot/events` by",
        "`python -m minibot.events.schemas`; an event with another code fails its schema.",
    ]
    for group in GROUPS:
        lines += ["", f"## {_TITLES[group]}", "", "| code | meaning | what to do |"]
        lines.append("| --- | --- | --- |")
        lines += [
            f"| `{reason.code}` | {reason.meaning} | {reason.remedy} |"
            for reason in REASONS.values()
            if reason.group == group
        ]
    return "\n".join(lines) + "\n"


def with_contracts(page: str, schemas: Mapping[str, JsonObject]) -> str:
    """Return `docs/DATA_CONTRACTS.md` with its generated part renewed: contracts and fields.

    Raises:
        ValueError: The page lacks the marks of that part.
    """
    return _with_section(page, _contracts(schemas))


def with_writers(page: str, roles: Roles) -> str:
    """Return `docs/SPEC.md` with its generated part renewed: who writes each event type.

    Raises:
        ValueError: The page lacks the marks of that part.
    """
    return _with_section(page, _writers(roles))


def _with_section(page: str, lines: Iterable[str]) -> str:
    before, begin, rest = page.partition(CONTRACTS_BEGIN)
    _, end, after = rest.partition(CONTRACTS_END)
    if not begin or not end:
        raise ValueError(f"a page lacks the marks of its generated part: {CONTRACTS_BEGIN}")
    return before + "\n".join([CONTRACTS_BEGIN, *lines, "", CONTRACTS_END]) + after


def _writers(roles: Roles) -> Iterator[str]:
    yield ""
    yield "| type | schema | writer |"
    yield "| --- | --- | --- |"
    for type_ in PAYLOAD_CLASSES:
        schema = f"contracts/{type_}.v1.schema.json"
        yield f"| `{type_}` | `{schema}` | {_writers_of(type_, roles)} |"


def _writers_of(type_: str, roles: Roles) -> str:
    writers = [
        name
        for name, role in roles.roles.items()
        if any(type_ in types for types in role.writes.values())
    ]
    others = [name for name in roles.roles if name not in writers]
    if not writers:
        return "whoever reads a queue"
    if not others:
        return "every role"
    if len(others) == 1:
        return f"every role but `{others[0]}`"
    return " ".join(f"`{name}`" for name in writers)


def _contracts(schemas: Mapping[str, JsonObject]) -> Iterator[str]:
    for name, schema in schemas.items():
        yield ""
        yield f"### `{name}`: {schema['title'][0].lower()}{schema['title'][1:]}"
        yield ""
        yield schema["description"]
        yield ""
        yield "| field | form | meaning |"
        yield "| --- | --- | --- |"
        for field, part in schema["properties"].items():
            shown = f"**{field}**" if field in schema["required"] else field
            yield f"| {shown} | {_form(field, part)} | {part.get('description', '')} |"


def _form(field: str, part: Mapping[str, Any]) -> str:
    if field == "reason_code":
        return "[reason code](reference/reasons.md)"
    if "$ref" in part:
        return _WORDS[part["$ref"].rpartition("/")[2]]
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return " ".join(f"`{value}`" for value in part["enum"])
    kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
    words = {
        "integer": "whole number",
        "boolean": "true or false",
        "string": "text",
        "array": "list",
    }
    shown = " or ".join(words.get(str(kind), str(kind)) for kind in kinds)
    if kinds == ["integer"] and part["maximum"] < 1000:
        shown += f" {part['minimum']}-{part['maximum']}"
    return shown
