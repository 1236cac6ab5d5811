"""The process of `execution_role`: the paper executor in the shell, its portfolio on disk."""

from __future__ import annotations

from minibot.cores.protocol import Core
from minibot.execution.core import core_from_config, core_from_state
from minibot.execution.order_protocol import OrderManager
from minibot.execution.paper_executor_nore_v1 import PaperExecutorNoreV1
from minibot.execution.portfolio import PortfolioStore
from minibot.runtime.context import RoleContext
from minibot.runtime.shell import run_core


def main(context: RoleContext) -> int:
    """Run the paper executor until it is told to end or has to stop; return the exit code."""
    store = PortfolioStore(context.var.root, context.run_id)

    def keep(core: Core) -> None:
        if isinstance(core, PaperExecutorNoreV1):
            save(store, core)

    return run_core(context, core_from_config, core_from_state, keep)


def save(store: PortfolioStore, manager: OrderManager) -> None:
    """Put portfolio and open positions of an opened run on disk, where they changed."""
    if manager.is_opened:
        store.save(manager.portfolio, manager.ledger, manager.open_positions(), manager.balances())
