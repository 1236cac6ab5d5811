"""Reference pages of the documentation, generated from reason codes and contracts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from minibot.events.model import JsonObject
from minibot.events.reason import BUSINESS_GROUP, END_GROUP, FEED_GROUP, GROUPS, STOP_GROUP
from minibot.events.reasons import REASONS

CONTRACTS_BEGIN: Final = "<!-- generated: contracts -->"
CONTRACTS_END: Final = "<!-- end of generated -->"

_TITLES: Final[Mapping[str, str]] = {
    STOP_GROUP: "STOP: the run ends at once, exit code 10",
    END_GROUP: "Planned ends, and the clearing of a stop",
    BUSINESS_GROUP: "Decisions: signals, risk, orders",
    FEED_GROUP: "Data from outside that was set aside or survived",
}

# Form of a value in words, by the name of its definition.
_KINDS: Final[Mapping[str, str]] = {
    "decimal": "decimal",
    "decimal_positive": "decimal, above zero",
    "decimal_positive_or_zero": "decimal, zero or more",
    "probability": "decimal, six places",
    "symbol": "symbol",
    "asset": "asset",
    "ms": "ms",
    "count": "count",
    "seq": "seq",
    "mono_ns": "machine ns",
    "name": "name",
    "text": "text",
    "id": "id",
    "sha256": "sha256",
    "run_id": "run id",
    "checks": "list of checks",
    "side": "`BUY` `SELL`",
    "levels": "list of [price, qty]",
    "amounts": "name: decimal",
}


def reasons_page() -> str:
    """Return `docs/reference/reasons.md`: every reason code with meaning and remedy."""
    lines = [
        "# Reason codes",
        "",
        "Generated from `minibot/events/reasons.py` by `python -m minibot.events.schemas`; the",
        "list is closed: an event with another code fails its schema.",
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


def contracts_section(schemas: Mapping[str, JsonObject]) -> str:
    """Return the generated part of `docs/DATA_CONTRACTS.md`: each contract with its fields."""
    return "\n".join([CONTRACTS_BEGIN, *_contracts(schemas), "", CONTRACTS_END])


def with_contracts_section(page: str, schemas: Mapping[str, JsonObject]) -> str:
    """Return the page of contracts with its generated part renewed.

    Raises:
        ValueError: The page lacks the markers of that part.
    """
    before, begin, rest = page.partition(CONTRACTS_BEGIN)
    _, end, after = rest.partition(CONTRACTS_END)
    if not begin or not end:
        raise ValueError("DATA_CONTRACTS.md: the marks of its generated part are missing")
    return before + contracts_section(schemas) + after


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
        return _KINDS[part["$ref"].rpartition("/")[2]]
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
