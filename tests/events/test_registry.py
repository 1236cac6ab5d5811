"""Registered schemas: closed, linear, pinned; the fast validator against its oracle."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.events.field_types import NEWLINE_GUARD
from minibot.events.model import PAYLOAD_CLASSES
from minibot.events.registry import Contracts, schema_sha256
from minibot.kernel.errors import ConfigError

PROJECT = Path(__file__).resolve().parents[2]
CONTRACTS = Contracts.of_project()
TYPES = tuple(PAYLOAD_CLASSES)
VALID = {
    type_: json.loads(
        (PROJECT / "tests" / "fixtures" / "contracts" / f"{type_}.json").read_text(encoding="utf-8")
    )["valid"]
    for type_ in TYPES
}

TEXTS = st.one_of(
    st.sampled_from(
        ["", "1.0\n", "-0", "00", "1e5", "BTCUSDT\n", "\x00", "\u0661", "0.333333", "BUY"]
    ),
    st.from_regex(r"-?[0-9]{1,22}([.][0-9]{1,20})?", fullmatch=True),
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=12),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, 1, -1, 110, 111, 10**13, 2**53, 2**53 - 1, 2**63 - 1, 2**63, 2**64]),
    TEXTS,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
    ),
    max_leaves=5,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place inside an event, as its path of keys."""
    children = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


@st.composite
def disturbed_events(draw: st.DrawFn) -> Any:
    """Recorded event with up to three values changed, removed, added or bent."""
    event = deepcopy(VALID[draw(st.sampled_from(TYPES))])
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(list(places(event))))
        node = event
        for key in path[:-1]:
            node = node[key]
        how = draw(st.sampled_from(["replace", "remove", "add", "bend"]))
        if how == "remove":
            del node[path[-1]]
        elif how == "add" and isinstance(node, dict):
            node[draw(st.sampled_from(["note", "ts_iso", "symbol", "reason_code"]))] = draw(VALUES)
        elif how == "bend" and isinstance(node[path[-1]], str):
            node[path[-1]] = bent(node[path[-1]], draw)
        else:
            node[path[-1]] = draw(VALUES)
    return event


def bent(text: str, draw: st.DrawFn) -> str:
    """Text with one character more, less or other, in capitals, or much longer."""
    at = draw(st.integers(0, len(text)))
    extra = draw(st.sampled_from(["", "\n", " ", "0", "-", ".", "A", "\u00e9", "\U0001f600"]))
    inserted = text[:at] + extra + text[at:]
    replaced = text[:at] + extra + text[at + 1 :]
    return draw(st.sampled_from([inserted, replaced, text.upper(), (text[:99] + "x") * 2000]))


@pytest.mark.slow
@pytest.mark.row("N-26", "N-27")
@settings(max_examples=1500, deadline=None)
@given(disturbed_events())
def test_compiled_validator_agrees_with_the_oracle(event: Any) -> None:
    """The compiled schema and the written one accept the same events."""
    if not isinstance(event.get("type"), str) or event["type"] not in CONTRACTS:
        return
    is_valid = CONTRACTS.oracle(event["type"]).is_valid(event)

    assert CONTRACTS.validate(event) is is_valid
    assert (CONTRACTS.explain(event) == []) is is_valid


@pytest.mark.row("N-93", "N-116")
def test_mapping_has_every_type_in_use_and_each_path_exists() -> None:
    """The mapping has one entry per type and one file per entry, and no others."""
    mapping = json.loads((PROJECT / "config" / "contracts.v1.json").read_text(encoding="utf-8"))
    roles = json.loads((PROJECT / "config" / "roles.v1.json").read_text(encoding="utf-8"))
    granted = {
        type_
        for role in roles["roles"].values()
        for types in role["writes"].values()
        for type_ in types
    }
    files = {f"contracts/{path.name}" for path in (PROJECT / "contracts").glob("*.schema.json")}

    assert set(mapping["types"]) == set(PAYLOAD_CLASSES) == granted | {"ack", "dead_letter"}
    assert set(mapping["types"].values()) | {mapping["envelope"]} == files


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every object inside a schema."""
    if isinstance(node, dict):
        yield node
    for child in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from nodes(child)


@pytest.mark.parametrize("type_", TYPES)
def test_schema_has_no_floats_bounds_every_integer_and_anchors_every_pattern(type_: str) -> None:
    """Numbers are bounded integers or decimal texts; patterns are whole and linear."""
    for node in nodes(CONTRACTS.schemas[type_]):
        kinds = node.get("type", [])
        assert "number" not in kinds
        if "integer" in kinds:
            assert {"minimum", "maximum"} <= set(node), node
        if isinstance(node.get("pattern"), str) and node != NEWLINE_GUARD:
            assert re.fullmatch(r"\^.*\$", node["pattern"]), node
            assert node["not"] == NEWLINE_GUARD
            assert "maxLength" in node


@pytest.mark.row("N-116")
@pytest.mark.parametrize("type_", TYPES)
def test_schema_is_draft_2020_12_and_stands_alone(type_: str) -> None:
    """A stranger's validator can use a schema file as it is: valid, named, self-contained."""
    path = PROJECT / "contracts" / f"{type_}.v1.schema.json"
    schema = json.loads(path.read_text(encoding="utf-8"))

    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"minibot:{type_}.v1"
    assert jsonschema.Draft202012Validator(schema).is_valid(VALID[type_]["payload"])
    assert jsonschema_rs.Draft202012Validator(schema, offline=True).is_valid(
        VALID[type_]["payload"]
    )


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Copy of contracts and mapping that a test may damage."""
    shutil.copytree(PROJECT / "contracts", tmp_path / "contracts")
    shutil.copy(PROJECT / "config" / "contracts.v1.json", tmp_path / "contracts.v1.json")
    return tmp_path


def load(folder: Path) -> Contracts:
    return Contracts.load(folder / "contracts", folder / "contracts.v1.json")


def change(path: Path, edit: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def change_pinned(folder: Path, edit: Callable[[Any], None]) -> None:
    """Change the contract of fill together with its pin, as a forger would."""
    path = folder / "contracts" / "fill.v1.schema.json"
    change(path, edit)
    pin = schema_sha256(json.loads(path.read_text(encoding="utf-8")))
    change(
        folder / "contracts.v1.json",
        lambda mapping: mapping["sha256"].update({"contracts/fill.v1.schema.json": pin}),
    )


def test_contracts_sha256_ignores_layout_and_notices_content(copied: Path) -> None:
    """Line ends and indents leave a contract's hash; another limit changes it."""
    change(copied / "contracts" / "fill.v1.schema.json", lambda schema: None)
    assert load(copied).sha256 == CONTRACTS.sha256

    change_pinned(copied, lambda schema: schema["properties"]["fee_asset"].update(description="x"))
    assert load(copied).sha256 != CONTRACTS.sha256


@pytest.mark.row("F101")
def test_contracts_changed_without_their_pin_are_refused(copied: Path) -> None:
    """A contract edited, truncated or removed without its pin refuses the start by name (F101)."""
    contracts = copied / "contracts"
    change(contracts / "fill.v1.schema.json", lambda schema: schema["required"].remove("price"))
    (contracts / "ack.v1.schema.json").write_text("{", encoding="utf-8")
    (contracts / "halt.v1.schema.json").unlink()

    with pytest.raises(ConfigError) as refusal:
        load(copied)

    text = " ".join(refusal.value.violations)
    assert refusal.value.exit_code == 4
    assert all(name in text for name in ("fill.v1", "ack.v1", "halt.v1"))


def _remote(schema: Any) -> None:
    schema["properties"]["fee"] = {"$ref": "http://127.0.0.1:9/fee.json"}


def _dynamic(schema: Any) -> None:
    schema["properties"]["fee"] = {"$dynamicRef": "https://example.org/x"}


def _itself(schema: Any) -> None:
    schema["$defs"]["decimal"] = {"$ref": "#/$defs/decimal"}
    schema["properties"]["fee"] = {"$ref": "#/$defs/decimal"}


def _lookaround(schema: Any) -> None:
    schema["properties"]["fee"] = {"type": "string", "pattern": "^(?=(a+)+$)b"}


def _backreference(schema: Any) -> None:
    schema["properties"]["fee"] = {"type": "string", "pattern": "^(a+)\\1$"}


def _no_schema(schema: Any) -> None:
    schema["type"] = "objekt"


@pytest.mark.parametrize(
    "edit", [_remote, _dynamic, _itself, _lookaround, _backreference, _no_schema]
)
def test_contracts_that_call_out_or_blow_up_are_refused(
    edit: Callable[[Any], None], copied: Path
) -> None:
    """A reference to another file or a superlinear pattern is refused, even with a fitting pin."""
    change_pinned(copied, edit)

    with pytest.raises(ConfigError) as refusal:
        load(copied)

    assert "fill.v1" in " ".join(refusal.value.violations)


@pytest.mark.row("N-93")
@pytest.mark.parametrize(
    "path", ["../x.schema.json", "contracts/../x.schema.json", "contracts\\x.schema.json", None, 1]
)
def test_mapping_that_leads_out_of_its_folder_is_refused(path: Any, copied: Path) -> None:
    """A mapping that leads out of the contracts folder is refused."""
    change(copied / "contracts.v1.json", lambda mapping: mapping["types"].update(fill=path))

    with pytest.raises(ConfigError, match="contracts"):
        load(copied)


@pytest.mark.row("N-93")
@pytest.mark.parametrize("value", [None, [], "x", 1, True])
@pytest.mark.parametrize("key", ["types", "sha256"])
def test_mapping_with_a_malformed_part_is_refused_by_its_name(
    key: str, value: Any, copied: Path
) -> None:
    """A part of the mapping that is missing or no object is refused."""
    for edit in (lambda mapping: mapping.update({key: value}), lambda mapping: mapping.pop(key)):
        change(copied / "contracts.v1.json", edit)

        with pytest.raises(ConfigError) as refusal:
            load(copied)

        place = f"contracts.v1.json: {key}:"
        assert any(text.startswith(place) for text in refusal.value.violations)


def test_contract_without_canonical_json_is_refused_by_its_name(copied: Path) -> None:
    """A contract with a float has no pin, and is refused by its path."""
    change(copied / "contracts" / "fill.v1.schema.json", lambda schema: schema.update(x=0.5))

    with pytest.raises(ConfigError) as refusal:
        load(copied)

    assert [text.partition(":")[0] for text in refusal.value.violations] == [
        "contracts/fill.v1.schema.json"
    ]


@pytest.mark.row("N-93")
def test_mapping_without_a_type_in_use_is_refused_by_its_name(copied: Path) -> None:
    """A mapping without a used type is refused by the type's name."""
    change(copied / "contracts.v1.json", lambda mapping: mapping["types"].pop("fill"))

    with pytest.raises(ConfigError) as refusal:
        load(copied)

    assert any("types.fill" in text for text in refusal.value.violations)


def test_mapping_that_gives_a_type_the_contract_of_another_is_refused(copied: Path) -> None:
    """An order judged by the contract of a halt would carry any quantity."""
    path = "contracts/halt.v1.schema.json"
    change(copied / "contracts.v1.json", lambda mapping: mapping["types"].update(order_intent=path))

    with pytest.raises(ConfigError) as refusal:
        load(copied)

    assert list(refusal.value.violations) == [
        f"contracts.v1.json: types.order_intent: {path} is minibot:halt.v1,"
        " expected minibot:order_intent.v1"
    ]


def test_explain_of_hostile_events_is_bounded_and_printable() -> None:
    """An explanation of a hostile event is short and has no control characters."""
    event = deepcopy(VALID["signal"])
    event["payload"]["checks"] = [{"name": "\x1b]0;x\x07" * 1000}] * 64
    hostile_events: list[Any] = [event, {}, [], None, {"type": "\n" * 10_000}, {"type": 3}]
    for hostile in hostile_events:
        findings = CONTRACTS.explain(hostile)
        assert 0 < len(findings) <= 20
        assert all(text.isprintable() and len(text) < 600 for text in findings)
