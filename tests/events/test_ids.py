"""Derived ids: well-formed, repeatable, and different for different causes."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.events.ids import derive_id, position_id
from minibot.runtime.stop import stop_id

RUN = "20240808_235413"
TEXT = st.text(st.characters(blacklist_characters="\n", blacklist_categories=["Cs"]))


@pytest.mark.row("N-42")
@given(TEXT, TEXT, TEXT, st.integers(0, 10**9))
def test_ids_are_uuid4_shaped(run: str, role: str, cause: str, ordinal: int) -> None:
    """Derived ids have the form of UUID version 4, variant RFC 4122, in lower case."""
    for id_ in (derive_id(run, role, cause, ordinal), position_id(run, role, cause, ordinal)):
        parsed = uuid.UUID(id_)
        assert (parsed.version, parsed.variant, str(parsed)) == (4, uuid.RFC_4122, id_)


def test_ids_of_the_same_cause_are_the_same_and_never_change() -> None:
    """Ids of one cause never change, so that a restarted role finds its own outputs."""
    assert derive_id(RUN, "risk_role", "a", 0) == "c4bc67a1-454d-48af-9fd6-98621d3c5d1e"
    assert (
        position_id(RUN, "market_role", "market_ticks", 1) == "53d7f1de-3c0a-43b4-a18b-5a8b274d77b6"
    )
    assert stop_id(RUN, "risk_role") == derive_id(RUN, "risk_role", "stop", 0)


def test_ids_differ_when_any_part_differs() -> None:
    """Ids differ in run, role, cause, ordinal and kind, and the parts do not run together."""
    ids = [
        derive_id(RUN, "risk_role", "a", 0),
        derive_id(RUN, "risk_role", "a", 1),
        derive_id(RUN, "risk_role", "b", 0),
        derive_id(RUN, "risk_rol", "ea", 0),
        derive_id("20240808_235414", "risk_role", "a", 0),
        derive_id(RUN, "risk_role", "a1", 0),
        position_id(RUN, "risk_role", "a", 0),
        position_id(RUN, "risk_role", "stop", 0),
        stop_id(RUN, "risk_role"),
        stop_id(RUN, "execution_role"),
    ]

    assert len(set(ids)) == len(ids)
