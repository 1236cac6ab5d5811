"""Contracts against their recorded examples: accepted, refused with a code, round trips."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from minibot.events.codec import Codec
from minibot.events.model import PAYLOAD_CLASSES, Event
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel import canonical
from minibot.kernel.errors import ContractError
from tests.contracts import make_fixtures

PROJECT = Path(__file__).resolve().parents[2]
FIXTURES = PROJECT / "tests" / "fixtures" / "contracts"
TYPES = tuple(PAYLOAD_CLASSES)
LINEAGE = {"cause_ids", "tick_seq"}  # in Event, not in each class
PAGES: dict[str, Any] = {
    type_: json.loads((FIXTURES / f"{type_}.json").read_text(encoding="utf-8")) for type_ in TYPES
}
INVALID = [
    pytest.param(type_, case, id=f"{type_}-{case['why'].replace(' ', '_')}")
    for type_ in TYPES
    for case in PAGES[type_]["invalid"]
]


@pytest.fixture(scope="module")
def contracts() -> Contracts:
    return Contracts.of_project()


@pytest.fixture(scope="module")
def codec(contracts: Contracts) -> Codec:
    roles = Roles.load(PROJECT / "config" / "roles.v1.json")
    hashes = {role: {make_fixtures.hash_of(role)} for role in roles.roles}
    return Codec(contracts, roles, make_fixtures.RUN_ID, hashes)


def queue_of(codec: Codec, type_: str) -> str:
    side = {"ack": "acks", "dead_letter": "deadletter"}
    if type_ in side:
        return side[type_]
    return next(
        queue
        for role in codec.roles.roles.values()
        for queue, types in role.writes.items()
        if type_ in types
    )


@pytest.mark.row("N-116", "N-93", "S-15")
@pytest.mark.parametrize("type_", TYPES)
def test_contract_valid_example_is_accepted_by_both_validators(
    type_: str, contracts: Contracts
) -> None:
    """A valid example is accepted by the compiled schema and the oracle."""
    event = PAGES[type_]["valid"]

    assert contracts.validate(event)
    assert contracts.explain(event) == []


@pytest.mark.row("N-26", "N-27", "N-42")
@pytest.mark.parametrize(("type_", "case"), INVALID)
def test_contract_invalid_example_is_refused_with_its_code(
    type_: str, case: Any, contracts: Contracts, codec: Codec
) -> None:
    """An invalid example is refused by both validators, and reading stops with its code."""
    line = canonical.encode(case["event"])
    with pytest.raises(ContractError) as stop:
        codec.decode(queue_of(codec, type_), line)

    assert not contracts.validate(case["event"])
    assert contracts.explain(case["event"])
    assert stop.value.reason_code == case["code"]


@pytest.mark.row("S-57")
@pytest.mark.parametrize("type_", TYPES)
def test_contract_roundtrip_gives_the_same_event(type_: str, codec: Codec) -> None:
    """Round trips by object and by bytes give the same event."""
    event = PAGES[type_]["valid"]
    typed = Event.from_json(event)
    queue = queue_of(codec, type_)
    line = codec.encode(queue, typed)

    assert typed.to_json() == event
    assert line == canonical.encode(event)
    assert codec.decode(queue, line) == typed


@pytest.mark.row("N-43", "N-44", "N-45", "N-46", "N-47", "N-48", "N-49", "N-50", "N-27")
@pytest.mark.parametrize("type_", TYPES)
def test_payload_minimum_each_missing_field_is_refused_and_more_is_welcome(
    type_: str, contracts: Contracts
) -> None:
    """A missing required field is refused; an unknown payload field is allowed."""
    event = PAGES[type_]["valid"]
    required = contracts.payloads[type_]["required"]
    accepted = [
        name
        for name in required
        if contracts.validate(
            {**event, "payload": {k: v for k, v in event["payload"].items() if k != name}}
        )
    ]
    richer = {**event, "payload": {**event["payload"], "a_later_field": "x"}}

    assert accepted == []
    assert contracts.validate(richer)
    assert contracts.explain(richer) == []


MINIMUM = {
    "market_tick": {"symbol", "price"},
    "signal": {"symbol", "side", "score", "confidence", "horizon_ms", "reason"},
    "risk_action": {"action", "reason_code"},
    "order_intent": {"symbol", "side", "qty", "order_type"},
    "order_result": {"client_order_id", "result"},
    "fill": {"order_id", "symbol", "side", "qty", "price"},
    "health": {"role", "state", "uptime_s"},
    "stop_journal": {"component", "reason_code", "detail"},
}


@pytest.mark.row("N-43", "N-44", "N-45", "N-46", "N-47", "N-48", "N-49", "N-50")
@pytest.mark.parametrize("type_", MINIMUM)
def test_payload_minimum_covers_what_the_specification_asks(
    type_: str, contracts: Contracts
) -> None:
    """The specification's minimum of each base type is required."""
    assert set(contracts.payloads[type_]["required"]) >= MINIMUM[type_]


@pytest.mark.row("N-43", "N-44", "N-46", "N-47", "N-48", "N-49", "N-50", "N-117")
@pytest.mark.parametrize("type_", MINIMUM)
def test_russian_page_lists_what_a_contract_asks_beyond_the_minimum(
    type_: str, contracts: Contracts
) -> None:
    """The Russian page's two columns are exactly what the committed schema requires.

    An event with exactly the minimum is refused by each type that asks for more (own-60).
    """
    page = (PROJECT / "contracts" / "NORE_TZ_RU.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{type_}` \| (.+) \| (.+) \|$", section_6_5(page), re.MULTILINE)
    minimum, beyond = (set(re.findall(r"`([a-z_]+)`", cell)) for cell in row)
    event = PAGES[type_]["valid"]
    least = {key: event["payload"][key] for key in minimum}

    assert minimum == MINIMUM[type_]
    assert minimum | beyond == set(contracts.payloads[type_]["required"])
    assert not minimum & beyond
    assert contracts.validate({**event, "payload": least}) is not bool(beyond)


def section_6_5(page: str) -> str:
    """Section of the Russian page with the required fields."""
    return page.split("\n6.5. ")[1].split("\n6.6. ")[0]


@pytest.mark.row("S-57")
@pytest.mark.parametrize("type_", TYPES)
def test_contract_and_class_name_the_same_fields(type_: str, contracts: Contracts) -> None:
    """A class has exactly its schema's fields, with the same ones required."""
    schema = contracts.payloads[type_]
    fields = structs.fields(PAYLOAD_CLASSES[type_])
    required = {field.name for field in fields if field.required}

    assert {field.name for field in fields} == set(schema["properties"]) - LINEAGE
    assert required == set(schema["required"])


@pytest.mark.row("S-56")
def test_fixtures_made_from_recordings_equal_the_committed_ones(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Fixtures made again from recordings equal the committed ones."""
    monkeypatch.setattr(make_fixtures, "DATA", shared_data)
    monkeypatch.setattr(make_fixtures, "OUT", tmp_path)

    make_fixtures.main()

    made = sorted(tmp_path.iterdir())
    assert {path.name for path in made} >= {f"{type_}.json" for type_ in TYPES}
    for path in made:
        committed = (FIXTURES / path.name).read_text(encoding="utf-8")
        assert committed == path.read_text(encoding="utf-8"), path.name


@pytest.mark.row("S-56")
def test_fixtures_match_their_sums_and_name_their_source() -> None:
    """Each fixture has its listed sha256 and names its recording."""
    sums = (FIXTURES / "manifest.sha256").read_text(encoding="utf-8").split("\n")
    listed = {line[66:].rpartition("/")[2]: line[:64] for line in sums if line}

    assert set(listed) == {f"{type_}.json" for type_ in TYPES}
    for name, digest in listed.items():
        data = (FIXTURES / name).read_bytes().replace(b"\r\n", b"\n")
        assert hashlib.sha256(data).hexdigest() == digest, name
        assert " line " in json.loads(data)["source"]
