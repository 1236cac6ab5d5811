"""Form of all cores: inputs in, messages out, nothing else."""

from __future__ import annotations

import typing

import pytest

from minibot.cores.closed_bar import BarInput
from minibot.cores.messages import Message
from minibot.cores.protocol import ShownTick
from minibot.cores.scaled_tick import ScaledTick
from minibot.engine.role_replay import core_of
from minibot.events.model import Event
from minibot.runtime.configuration.config import load_config

CORE_ROLES = ("strategy_role", "risk_role", "execution_role")


@pytest.mark.row("S-16")
@pytest.mark.parametrize("role", CORE_ROLES)
def test_core_takes_typed_inputs_and_returns_messages(role: str) -> None:
    """Each core gets and returns typed objects, never bare dicts."""
    core = core_of(role, load_config("config/nore-demo.v1.json").raw)
    hints = typing.get_type_hints(type(core).process)

    assert hints == {
        "item": Event | Message | ScaledTick | ShownTick | BarInput,
        "seq": int,
        "now": int,
        "return": list[Message] | None,
    }
