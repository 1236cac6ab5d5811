"""Decision digest: it takes each event as canonical JSON writes its decision."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from minibot.cores.event_id import of_line
from minibot.cores.messages import SIGNALS, ReportMessage
from minibot.engine.decisions import DecisionDigest, decided
from minibot.events.model import PAYLOAD_CLASSES, Event, JsonObject
from minibot.kernel.canonical import encode

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "contracts"
VALID: dict[str, JsonObject] = {
    path.stem: valid
    for path in sorted(FIXTURES.glob("*.json"))
    if (valid := json.loads(path.read_text(encoding="utf-8")).get("valid"))
    and valid["type"] in PAYLOAD_CLASSES
}


def line_of(event: Event, causes: list[str]) -> bytes:
    fields = {
        "causes": causes,
        "payload": decided(event),
        "queue": "signals",
        "type": event.type,
    }
    return encode(fields) + b"\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(VALID))
@given(data=st.data())
def test_digest_of_each_type_is_that_of_its_canonical_decision(
    name: str, data: st.DataObject
) -> None:
    """Whichever optional fields are missing, fields that are None or left out are not written."""
    event = Event.from_json(VALID[name])
    fields: dict[str, Any] = {field: getattr(event.payload, field) for field in _names(event)}
    for field in _optional(event):
        if data.draw(st.booleans()):
            fields[field] = None
    event = Event(9, "e", "role", "run", "0" * 64, type(event.payload)(**fields), ("a", "b"), 7)
    digest = DecisionDigest()
    digest.note("fills", 3, "b")
    first = ReportMessage.caused_by(of_line(8, "run"), 9, 8, 0, event.payload, SIGNALS)
    first.number = 2
    then = ReportMessage.caused_by(first.ref(), 9, 8, 0, event.payload, SIGNALS)

    digest.add("signals", 1, event)
    digest.add_messages([first, then])

    lines = line_of(event, ["market_ticks:7", "fills:3"])
    lines += line_of(event, ["market_ticks:8"]) + line_of(event, ["signals:2"])
    assert (digest.hex, digest.events) == (hashlib.sha256(lines).hexdigest(), 3)


def _names(event: Event) -> tuple[str, ...]:
    return type(event.payload).__struct_fields__


def _optional(event: Event) -> tuple[str, ...]:
    cls = type(event.payload)
    return cls.__struct_fields__[len(cls.__struct_fields__) - len(cls.__struct_defaults__) :]


def test_every_payload_class_has_a_fixture() -> None:
    """No class is left out of the comparison above."""
    assert {event["type"] for event in VALID.values()} == set(PAYLOAD_CLASSES)
