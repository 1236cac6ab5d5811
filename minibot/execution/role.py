"""The process of `execution_role`: the paper executor in the shell, with its files on disk."""

from __future__ import annotations

from collections.abc import Mapping

from minibot.cores.protocol import Core
from minibot.events.model import JsonObject
from minibot.events.names import RISK_ACTIONS
from minibot.execution.core import core_from_config, core_from_state
from minibot.execution.order_protocol import OrderManager
from minibot.execution.paper_executor_nore_v1 import PaperExecutorNoreV1
from minibot.execution.portfolio import PortfolioStore
from minibot.execution.reported_plans import ReportedPlans
from minibot.runtime.context import RoleContext
from minibot.runtime.shell import run_core


def main(context: RoleContext) -> int:
    """Run the paper executor until the run ends or stops; return the exit code."""
    store = PortfolioStore(context.var.root, context.run_id)
    plans = ReportedPlans(context.open_input(RISK_ACTIONS), context.codec.decode)

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
    """Write portfolio and open positions of an opened run to disk, if they changed.

    Args:
        store: The store of the two files.
        manager: The manager of the run's orders.
        levels: The levels that risk reported for each position, by symbol.
        is_last: Whether this is the last call, so that no change may wait.
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
