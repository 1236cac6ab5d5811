"""Requests of an operator that would change nothing: refused, and not sent.

Terminal and page judge alike. "Sent" reads as if a position were closed or a lock lifted.
"""

from __future__ import annotations

from pathlib import Path

from minibot.engine.portfolio_at import portfolio_at
from minibot.engine.recorded_run import Recorded
from minibot.events.model import BUY, LockSymbol, OrderIntent, OrderResult
from minibot.events.names import CONTROL, ORDER_INTENTS, ORDER_RESULTS
from minibot.kernel.errors import Refusal, RunStop
from minibot.risk.positions import TERMINAL_RESULTS


def refuse_exit_of_nothing(run_dir: Path, symbol: str) -> None:
    """Refuse an exit if a run neither holds a symbol nor has an open entry in it.

    If the queues cannot be read, nothing is refused: risk knows its positions and orders.

    Raises:
        Refusal: There is nothing to close or to withdraw.
    """
    try:
        recorded = Recorded.open(run_dir)
        is_held = portfolio_at(recorded).has_lots(symbol)
        if is_held or has_open_entry(recorded, symbol):
            return
    except (RunStop, StopIteration):
        return
    raise Refusal(
        f"{run_dir.name} holds nothing in {symbol} and has no open entry: nothing was sent.",
        "See what it holds: minibot status",
    )


def has_open_entry(recorded: Recorded, symbol: str) -> bool:
    """Return whether a purchase of a symbol has not ended, by the run's record."""
    entries = {
        intent.client_order_id
        for _, event in recorded.events(ORDER_INTENTS)
        if isinstance(intent := event.payload, OrderIntent)
        and intent.symbol == symbol
        and intent.side == BUY
    }
    for _, event in recorded.events(ORDER_RESULTS):
        answer = event.payload
        if isinstance(answer, OrderResult) and answer.result in TERMINAL_RESULTS:
            entries.discard(answer.client_order_id)
    return bool(entries)


def refuse_unlock_of_nothing(run_dir: Path, symbol: str, now_ms: int) -> None:
    """Refuse to lift a lock of a symbol if no operator's lock lasts at a market time.

    Raises:
        Refusal: There is none.
        RunStop: The record cannot be read.
    """
    is_locked = False
    for _, event in Recorded.open(run_dir).events(CONTROL):
        lock = event.payload
        if isinstance(lock, LockSymbol) and lock.symbol == symbol:  # The last one counts.
            is_locked = lock.until_ts is None or now_ms < lock.until_ts
    if not is_locked:
        raise Refusal(
            f"no operator locks {symbol} in {run_dir.name}: nothing was sent.",
            "A limit's lock ends by itself; see: minibot risk",
        )
