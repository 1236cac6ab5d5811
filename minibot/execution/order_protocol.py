"""Order manager: takes intents, cancels and replaces, and answers them with results and fills.

The paper executor is the only one, and only `execution.core` makes it. Code that writes files or
shows values uses this protocol, so that another manager would be just another class, with the same
test suite (tests/execution/test_order_protocol.py).
"""

from __future__ import annotations

from typing import Protocol

from minibot.accounting.ledger import Ledger
from minibot.accounting.portfolio import Portfolio
from minibot.cores.messages import Message
from minibot.cores.protocol import Input
from minibot.events.model import JsonObject


class OrderManager(Protocol):
    """Manager of the orders of one run: intents in, results and fills out.

    Each intent, cancel and replace is answered in its own step. An intent ends in one terminal
    result. Fills come before the result that counts them. A manager made from a `state()` continues
    where the former one stopped.
    """

    def process(self, item: Input, seq: int, now: int) -> list[Message] | None:
        """Process one input at market time `now`; return results and fills, in order.

        None and an empty list both mean that nothing follows.
        """

    @property
    def is_opened(self) -> bool:
        """True once `run_opening` was processed."""

    @property
    def portfolio(self) -> Portfolio:
        """Portfolio as it is now."""

    @property
    def ledger(self) -> Ledger:
        """The cash ledger of the run so far."""

    def open_positions(self) -> list[dict[str, str]]:
        """Return the open positions, each with the newest order that rests for it."""

    def balances(self) -> dict[str, dict[str, str]] | None:
        """Return the free and reserved balance by asset; None where the profile lists none."""

    def marks(self) -> dict[str, int]:
        """Return the value of a unit of each symbol, in hundred-millionths of quote."""

    def state(self) -> JsonObject:
        """Return the whole state as canonical JSON values."""
