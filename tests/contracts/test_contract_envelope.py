"""Envelope: nine required fields, one optional, no others, and the format of each."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from minibot.events.registry import Contracts

PROJECT = Path(__file__).resolve().parents[2]
FIXTURE = PROJECT / "tests" / "fixtures" / "contracts" / "market_tick.json"
REQUIRED = ("schema", "v", "ts", "id", "source", "type", "run_id", "cmdline_hash", "payload")


@pytest.fixture(scope="module")
def contracts() -> Contracts:
    return Contracts.of_project()


@pytest.fixture
def event() -> Any:
    return deepcopy(json.loads(FIXTURE.read_text(encoding="utf-8"))["valid"])


@pytest.mark.row("N-41")
@pytest.mark.parametrize("name", REQUIRED)
def test_envelope_without_a_required_field_is_refused(
    name: str, event: Any, contracts: Contracts
) -> None:
    """Each of the nine fields is required: by the envelope's own schema and by the whole one."""
    del event[name]

    assert contracts.explain(event)
    assert name == "type" or not contracts.validate(event)
    assert not jsonschema.Draft202012Validator(contracts.envelope).is_valid(event)


@pytest.mark.row("N-41")
def test_envelope_with_ts_iso_is_accepted(event: Any, contracts: Contracts) -> None:
    """The time for people is optional and allowed."""
    event["ts_iso"] = "2024-08-08T23:54:14.087Z"

    assert contracts.validate(event)
    assert contracts.explain(event) == []


@pytest.mark.row("N-26")
def test_envelope_with_another_key_is_refused(event: Any, contracts: Contracts) -> None:
    """An envelope with an unknown key is refused."""
    event["note"] = "x"

    assert not contracts.validate(event)
    assert contracts.explain(event)


BROKEN = [
    ("schema", "minibot.signal"),
    ("schema", "market_tick"),
    ("v", 0),
    ("v", "1"),
    ("v", True),
    ("ts", -1),
    ("ts", "1723161254087"),
    ("ts", True),
    ("ts", 10**13),
    ("id", "0B1C2D3E-1111-4222-8333-0123456789AB"),
    ("id", "0b1c2d3e-1111-1222-8333-0123456789ab"),
    ("id", "0b1c2d3e-1111-4222-c333-0123456789ab"),
    ("id", "0b1c2d3e-1111-4222-8333-0123456789ab\n"),
    ("id", "0b1c2d3e111142228333" + "0123456789ab"),
    ("source", ""),
    ("source", "Market Role"),
    ("source", 1),
    ("run_id", "2024-08-08"),
    ("run_id", "20240808_235413\n"),
    ("run_id", "20240808-235413"),
    ("cmdline_hash", "A" * 64),
    ("cmdline_hash", "a" * 63),
    ("cmdline_hash", "a" * 64 + "\n"),
    ("cmdline_hash", None),
    ("payload", []),
    ("payload", None),
    ("ts_iso", 1),
]


@pytest.mark.row("N-42")
@pytest.mark.parametrize(("name", "value"), BROKEN)
def test_envelope_field_of_wrong_format_is_refused(
    name: str, value: Any, event: Any, contracts: Contracts
) -> None:
    """A field of the wrong format is refused, to the last character, by both validators."""
    event[name] = value

    assert not contracts.validate(event)
    assert contracts.explain(event)
