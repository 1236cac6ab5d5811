"""Fields of faults: what a fault does not have is refused, at once and in a script."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from minibot.kernel.errors import ConfigError
from minibot.simulator.faults.script import FIELDS, FaultUnknown
from minibot.simulator.server.service import Settings, make_server
from tests.simulator.test_simulator_clear import Place
from tests.simulator.test_simulator_page import rows

WRONG: list[tuple[str, dict[str, object], str]] = [
    ("stall", {"mss": 3000}, "mss"),
    ("stall", {"foo": 1}, "foo"),
    ("stall", {"ms": 0}, "ms"),
    ("stall", {"ms": "long"}, "ms"),
    ("drop", {"n": 2}, "n"),
    ("gap", {"symbol": "FOOUSDT"}, "FOOUSDT"),
    ("gap", {"n": -1}, "n"),
    ("gap", {"n": 0}, "n"),
    ("gap", {"factor": 2}, "factor"),
    ("html403", {"endpoints": "time"}, "endpoints"),
    ("stream_silent", {"stream": "trade", "symbol": "FOOUSDT"}, "FOOUSDT"),
    ("html403", {"endpoint": "/api/v3/depth"}, "endpoint"),
    ("field_removed", {"endpoint": "depht", "field": "bids"}, "endpoint"),
    ("field_retyped", {"endpoint": "depth", "field": "bids", "to": "float"}, "float"),
    ("field_added", {"endpoint": "depth", "symbol": "BTCUSDT"}, "symbol"),
    ("kline_unclosed", {"stream": "trade"}, "trade"),
    ("kline_unclosed", {"stream": "btcusdt@trade"}, "btcusdt"),
    ("stream_silent", {"stream": "trades"}, "trades"),
    ("stream_silent", {"stream": "foousdt@trade"}, "foousdt"),
    ("garbage", {"kind": "txt"}, "txt"),
    ("5xx", {"status": "down"}, "down"),
    ("5xx", {"status": 99}, "500 to 599"),
    ("redirect", {"status": 200}, "300 to 399"),
    ("symbol_break", {"status": 503}, "503"),
    ("filter", {"filter": "PRICE_FILTER", "field": "tickSize"}, "value"),
    ("filter", {"filter": "MAX_NUM_ORDERS", "field": "maxNumOrders", "value": "x"}, "maxNumOrders"),
    ("429", {"retry_after": 0}, "retry_after"),
    ("418", {"ban_ms": 0}, "ban_ms"),
    ("slow", {"delay_ms": 0}, "delay_ms"),
    ("earthquake", {}, "no such fault"),
]
IDS = [
    " ".join([name, *(f"{key}={value}" for key, value in fields.items())])
    for name, fields, _ in WRONG
]


@pytest.mark.parametrize(("name", "fields", "told"), WRONG, ids=IDS)
def test_field_that_a_fault_does_not_have_is_refused(
    name: str, fields: dict[str, object], told: str
) -> None:
    """A wrong fault is refused by its field and leaves nothing in force."""
    place = Place()

    with pytest.raises(FaultUnknown, match=rf"\b{told}\b"):
        place.fault(name, **fields)
    assert not place.faults.frame_faults
    assert not place.faults.is_silent
    assert not place.venue.counters[f"fault_{name}"]


@pytest.mark.parametrize(("name", "fields", "told"), WRONG, ids=IDS)
def test_script_with_a_wrong_field_is_refused_before_it_plays(
    name: str, fields: dict[str, object], told: str, tmp_path: Path
) -> None:
    """A script's later entries are judged at the start, not when they are due."""
    script = tmp_path / "faults.json"
    script.write_text(json.dumps([{"at_ms": 9_000_000, "name": name, **fields}]))

    with pytest.raises(ConfigError) as refused:
        make_server(Settings(source="generator:1", faults=str(script)))
    (violation,) = refused.value.violations
    assert violation.startswith(f"{name}: ")
    assert told in violation


def test_moment_belongs_to_a_script_alone() -> None:
    """A fault for now has no moment; one that it gets would be passed over."""
    with pytest.raises(FaultUnknown, match="at_ms"):
        Place().fault("stall", at_ms=5_000)


def test_page_names_the_fields_of_every_fault() -> None:
    """Every field on the page is taken, and every one that is taken is on the page."""
    document: dict[str, set[str]] = {}
    above: set[str] = set()
    for name, cell, *_ in rows("Faults"):
        more, _, less = re.sub(r"\([^)]*\)", "", cell).partition("without")
        above = (above if "the same" in more else set()) | set(re.findall(r"`(\w+)`", more))
        above = above - set(re.findall(r"`(\w+)`", less))
        document[name.strip("`")] = above

    assert document == {name: set(fields) for name, fields in FIELDS.items()}
