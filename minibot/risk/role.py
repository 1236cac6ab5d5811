"""The process of `risk_role`: its core in the shell."""

from __future__ import annotations

from minibot.risk.core import core_from_config, core_from_state
from minibot.runtime.context import RoleContext
from minibot.runtime.shell import run_core


def main(context: RoleContext) -> int:
    """Run the core of risk until the run ends or stops; return the exit code."""
    return run_core(context, core_from_config, core_from_state)
