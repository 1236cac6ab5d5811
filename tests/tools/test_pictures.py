"""tools.pictures: the committed page equals the one from roles and imports."""

from __future__ import annotations

import json
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tools import pictures


@pytest.mark.parametrize("path", [pictures.DOCUMENT, pictures.ARCHITECTURE], ids=lambda p: p.name)
def test_committed_pictures_are_those_of_roles_and_imports(path: Path) -> None:
    """The committed page is current (write it: python -m tools.pictures --write)."""
    text = path.read_text(encoding="utf-8")

    assert text == pictures.pages()[path]
    assert len(text) < 60_000


def test_flow_shows_every_role_queue_write_and_input() -> None:
    """The picture shows every role, queue, write and input; primary readers have thick arrows."""
    table = json.loads(pictures.ROLES.read_text(encoding="utf-8"))
    drawn = {*pictures.flow(table), *pictures.shared_flow(table)}

    for role, spec in table["roles"].items():
        assert f"  {role}[{role}]" in drawn
        for queue in spec["writes"]:
            assert f"  {role} --> {queue}" in drawn
        for queue in spec["inputs"]:
            is_primary = table["queues"][queue]["primary_reader"] == role
            assert f"  {queue} {'==>' if is_primary else '-->'} {role}" in drawn
    assert {f"  {name}[({name})]" for name in table["queues"]} <= drawn


@pytest.mark.parametrize(
    ("arrows", "kept"),
    [
        ("ab bc ac", "ab bc"),
        ("ab bc cd ad", "ab bc cd"),
        ("ab ac", "ab ac"),
        ("ab ba bc", "ab ba bc"),
    ],
)
def test_arrow_that_a_longer_way_shows_is_left_out(arrows: str, kept: str) -> None:
    """The picture of rooms omits implied arrows and keeps both arrows of a circle."""
    given = [(arrow[0], arrow[1]) for arrow in arrows.split()]

    assert pictures.reduced(given) == {(arrow[0], arrow[1]) for arrow in kept.split()}


def test_rooms_do_not_import_each_other_in_a_circle() -> None:
    """Rooms have no circular imports."""
    imported: dict[str, set[str]] = {}
    for source, target in pictures.room_arrows():
        imported.setdefault(source, set()).add(target)

    # Raises CycleError for a circle.
    assert len(list(TopologicalSorter(imported).static_order())) > 10
