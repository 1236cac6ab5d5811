"""Garbage collector while a process keeps most of what it makes."""

from __future__ import annotations

import gc
import weakref

import pytest

from minibot.engine.collector import spared_collector


class Node:
    """Half of a cycle."""

    other: Node


@pytest.mark.parametrize("is_last", [False, True])
def test_spared_collector_leaves_thresholds_frozen_objects_and_cycles_as_they_were(
    is_last: bool,
) -> None:
    """Thresholds and frozen objects are as before, and a cycle of the time between is found."""
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with spared_collector(is_last=is_last):
        one, two = Node(), Node()
        one.other, two.other = two, one
        found = weakref.ref(one)
        del one, two

    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == frozen
    gc.collect()
    assert found() is None
