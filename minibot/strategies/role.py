"""`strategy_role`: the process around the strategy's core."""

from __future__ import annotations

from minibot.runtime.context import RoleContext
from minibot.runtime.shell import run_core
from minibot.strategies.core import core_from_config, core_from_state


def main(context: RoleContext) -> int:
    """Run the strategy until the run ends or stops; return the exit code."""
    return run_core(context, core_from_config, core_from_state)
