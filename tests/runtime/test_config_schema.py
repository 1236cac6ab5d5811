"""Schema check of a profile: the engine that explains judges no text otherwise than the other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import jsonschema_rs
import pytest

from minibot.events.ids import position_id
from minibot.events.model import Event, RiskAction
from minibot.events.registry import Contracts
from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration.config import config_of_manifest, load_config
from minibot.runtime.configuration.config_schema import (
    config_schema,
    describe,
    known_keys,
    resolved,
    schema_violations,
)

DEMO = "config/nore-demo.v1.json"
RAW = load_config(DEMO).raw
JUDGE = jsonschema_rs.Draft202012Validator(config_schema(), offline=True)
Place = tuple[str | int, ...]
ALLOWED = ("1", "1h", "0.5", "10:30", "a" * 64, "abc", "BTCUSDT", "klines:x", "generator:1")
"""Texts of which each pattern allows one."""
NAME = "a name"
"""Last part of a place whose pattern is one of the names in a section."""


def patterns(schema: Mapping[str, Any], place: Place = ()) -> Iterator[tuple[Place, str]]:
    """Yield every pattern of a schema with the place of the text that it judges."""
    schema = resolved(schema)
    if "pattern" in schema:
        yield place, schema["pattern"]
    if "pattern" in schema.get("propertyNames", {}):
        yield (*place, NAME), schema["propertyNames"]["pattern"]
    for key, child in schema.get("properties", {}).items():
        yield from patterns(child, (*place, key))
    for branch in ("anyOf", "oneOf", "allOf"):
        for child in schema.get(branch, ()):
            yield from patterns(child, place)
    if isinstance(schema.get("items"), dict):
        yield from patterns(schema["items"], (*place, 0))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from patterns(schema["additionalProperties"], (*place, "abc"))


PATTERNS = sorted(set(patterns(config_schema())), key=str)


def with_value(node: Any, place: Place, value: object) -> Any:
    """Return a part of a profile with a value at a place; what the way there lacks is made."""
    if not place:
        return value
    if place == (NAME,):
        return {value: {}}
    if place[0] == 0:
        return [with_value(node[0] if isinstance(node, list) else {}, place[1:], value)]
    node = dict(node) if isinstance(node, dict) else {}
    return {**node, place[0]: with_value(node.get(place[0], {}), place[1:], value)}


@pytest.mark.row("N-22")
def test_text_with_a_newline_at_its_end_is_refused_by_its_key() -> None:
    """A text that a pattern allows is refused by its key once a newline follows it."""
    raw = RAW
    for place, pattern in PATTERNS:
        text = next(text for text in ALLOWED if re.fullmatch(pattern, text))
        raw = with_value(raw, place, text + "\n")

    fields = schema_violations(raw, {})

    keys = {".".join(map(str, place[:-1] if place[-1] == NAME else place)) for place, _ in PATTERNS}
    # Of a value with several allowed forms the whole is told, not one form.
    assert {key for key in keys if not any(f"{key}.".startswith(f"{t}.") for t in fields)} == set()


def texts(node: Any, place: Place = ()) -> Iterator[Place]:
    """Yield the places of all texts in a profile."""
    children = node.items() if isinstance(node, dict) else enumerate(node)
    for key, child in children:
        if isinstance(child, dict | list):
            yield from texts(child, (*place, key))
        elif isinstance(child, str):
            yield (*place, key)


def test_profile_has_violations_exactly_where_the_compiled_schema_has_them() -> None:
    """The keys of the violations are those that the compiled schema refuses."""
    raw = deepcopy(RAW)
    for place in texts(RAW):
        node: Any = raw
        for key in place[:-1]:
            node = node[key]
        node[place[-1]] += "\n"

    violations = schema_violations(raw, {})

    assert set(violations) == {
        ".".join(map(str, error.instance_path)) for error in JUDGE.iter_errors(raw)
    }


def test_each_key_with_a_wrong_value_is_told_with_what_it_allows() -> None:
    """No key's rule lacks words, also not that of a drill's section, which a night has not."""
    for key in known_keys():
        fields = schema_violations(with_value(RAW, tuple(key.split(".")), 0.5), {})

        assert key in fields, key


def parts(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every part of a schema that is told by itself; what a `not` excludes is not."""
    if isinstance(node, dict):
        yield node
        node = [child for key, child in node.items() if key != "not"]
    if isinstance(node, list):
        for child in node:
            yield from parts(child)


def test_text_of_a_form_is_told_with_words_for_that_form() -> None:
    """Each pattern of the schema has words for people; "allowed: text" says nothing of a text."""
    nameless = [
        part["pattern"]
        for part in parts(config_schema())
        if isinstance(part.get("pattern"), str) and "title" not in part
    ]
    said = schema_violations(with_value(RAW, ("risk", "targets_by_age"), [[0, "-1"]]), {})[
        "risk.targets_by_age.0.1"
    ]

    assert nameless == []
    assert said.endswith("basis points as text, zero or more and below 1000000, at most 4 places")


def test_list_with_an_item_twice_is_told_that_none_may_be() -> None:
    """Each item is allowed by itself, so that the sentence has to say what is not."""
    fields = schema_violations(with_value(RAW, ("market", "bar_intervals"), ["1m", "1m"]), {})

    assert fields["market.bar_intervals"].endswith(", none twice")


def test_name_of_the_limits_fits_the_events_that_name_it() -> None:
    """A hundred characters name the limits in the profile and in each decision; one more do not."""
    contracts = Contracts.of_project()
    limits = "a" * 100
    said = RiskAction("EXIT", "stop_loss", profile=limits)
    id_ = position_id("20260301_200000", "risk_role", "risk_actions", 1)
    event = Event(1, id_, "risk_role", "20260301_200000", "0" * 64, said)

    assert load_config(DEMO, [f"risk.profile={limits}"]).risk.profile == limits
    assert contracts.validate(event.to_json())
    with pytest.raises(ConfigError) as refusal:
        load_config(DEMO, [f"risk.profile={limits}a"])
    assert refusal.value.violations[0].startswith("risk.profile = ")


@pytest.mark.row("N-22")
@pytest.mark.parametrize("key", ["profile", "risk.profile", "embedded.source"])
def test_profile_and_manifest_with_a_newline_behind_a_name_are_refused_by_its_key(
    key: str,
) -> None:
    """A newline behind a name is refused by its key, in a profile as in a manifest."""
    with pytest.raises(ConfigError) as profile:
        load_config(DEMO, [f'{key}="generator:1\\n"'])
    with pytest.raises(ConfigError) as manifest:
        config_of_manifest(with_value(RAW, tuple(key.split(".")), "generator:1\n"))

    for refusal in (profile, manifest):
        assert len(refusal.value.violations) == 1
        assert refusal.value.violations[0].startswith(f"{key} = ")


@pytest.mark.parametrize(
    ("key", "value", "bound"),
    [
        ("risk.take_profit_bps", "1000000", "below 1000000"),
        ("risk.stop_atr_mult", "1000000", "below 1000000"),
        ("risk.price_move_atr_max", "1000", "below 1000,"),
        ("strategy.rsi_overbought", "99.5000000", "at most 6 places"),
        ("universe.quote_volume_min", "-1", "zero or more"),
    ],
)
def test_number_beyond_a_bound_is_told_the_bound(key: str, value: str, bound: str) -> None:
    """A number in text that is too small or large, or has too many places, is told its bound."""
    said = schema_violations(with_value(RAW, tuple(key.split(".")), value), {})[key]

    assert bound in said


def test_list_that_is_too_long_is_told_how_long_it_may_be() -> None:
    """No list is refused as if it could have any length."""
    bounded = [part for part in parts(config_schema()) if "maxItems" in part and "items" in part]

    assert len(bounded) > 10
    assert [describe(part) for part in bounded if str(part["maxItems"]) not in describe(part)] == []


def test_share_of_a_hundred_may_be_written_with_its_point() -> None:
    """100.0 is a number from 0 to 100, like any other with a zero behind its point."""
    for text in ("100", "100.0", "100.000000", "99.0"):
        fields = schema_violations(with_value(RAW, ("strategy", "rsi_overbought"), text), {})

        assert fields == {}
