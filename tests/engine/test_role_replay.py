"""The one shape of all cores: events in, drafts out, nothing else."""

from __future__ import annotations

import typing

import pytest

from minibot.engine.role_replay import core_of
from minibot.events.model import Draft, Event
from minibot.runtime.configuration.config import load_config

CORE_ROLES = ("strategy_role", "risk_role", "execution_role")


@pytest.mark.row("S-16")
@pytest.mark.parametrize("role", CORE_ROLES)
def test_core_takes_events_and_returns_drafts(role: str) -> None:
    """Typed objects cross the border of each core, never bare dicts."""
    core = core_of(role, load_config("config/nore-demo.v1.json").raw)
    hints = typing.get_type_hints(type(core).step)

    assert hints == {
        "queue": str,
        "seq": int,
        "event": Event,
        "now": int,
        "return": list[Draft],
    }
