"""The process of `execution_role`: the paper executor in the shell, its portfolio on disk."""

from __future__ import annotations

from collections.abc import Mapping

from minibot.cores.protocol import Core
from minibot.events.model import JsonObject
from minibot.events.names import RISK_ACTIONS
from minibot.execution.core import core_from_config, core_from_state
from minibot.execution.order_protocol import OrderManager
from minibot.execution.paper_executor_nore_v1 import PaperExecutorNoreV1
from minibot.execution.portfolio import PortfolioStore
from minibot.execution.told_plans import ToldPlans
from minibot.runtime.context import RoleContext
from minibot.runtime.shell import run_core


def main(context: RoleContext) -> int:
    """Run the paper executor until it is told to end or has to stop; return the exit code."""
    store = PortfolioStore(context.var.root, context.run_id)
    plans = ToldPlans(context.open_input(RISK_ACTIONS), context.codec.decode)

    def keep(core: Core, is_last: bool) -> None:
        if isinstance(core, PaperExecutorNoreV1):
            save(store, core, plans.read(), is_last=is_last)

    return run_core(context, core_from_config, core_from_state, keep)


def save(
    store: PortfolioStore,
    manager: OrderManager,
    levels: Mapping[str, JsonObject],
    *,
    is_last: bool,
) -> None:
    """Put portfolio and open positions of an opened run on disk, where they changed.

    Args:
        store: Of the two files.
        manager: The manager of the run's orders.
        levels: What risk told of each position, by symbol.
        is_last: Whether no later call follows, so that no change may wait.
    """
    if manager.is_opened:
        store.save(
            manager.portfolio,
            manager.ledger,
            manager.open_positions(),
            manager.balances(),
            levels,
            manager.marks(),
            is_last=is_last,
        )
