"""Position as the strategy knows it, exactly by `run_opening` and `fills`.

A spot strategy only needs to know whether it is long or flat; the quantity is exact, so that "flat"
does not depend on rounding. A sale takes the oldest purchase first, as in docs/accounting.md, so
that the average entry price equals the portfolio's. Money and fees in quote are left to risk.
"""

from __future__ import annotations

from typing import Any, Final

from minibot.cores.messages import FillMessage
from minibot.events.decimals import PLACES_MAX, div_down, div_up, format_fixed, parse_fixed, product
from minibot.events.model import BUY, JsonObject
from minibot.events.money import PLACES, amount_text, cost_up, parse_amount
from minibot.events.names import STRATEGY_ROLE
from minibot.events.reasons import NONDETERMINISM
from minibot.kernel.errors import InvariantError

UNITS: Final[int] = 10**PLACES_MAX
FINER: Final[int] = 10 ** (PLACES_MAX - PLACES)


class Position:
    """The base amount held in one symbol, in units of 10**-18, and the cost of its lots."""

    __slots__ = ("_lots", "qty", "symbol")

    def __init__(self, symbol: str) -> None:
        """Start flat."""
        self.symbol: str = symbol
        self.qty: int = 0
        self._lots: list[tuple[int, int]] = []  # (qty, cost in 10**-8 quote), oldest first

    def add_lot(self, lot: Any) -> None:
        """Add a lot of a former run from `run_opening`."""
        qty = parse_fixed(lot["qty"], PLACES_MAX)
        cost = lot.get("cost")
        price = parse_amount(lot["price"])
        self.qty += qty
        cost = div_up(qty * price, UNITS) if cost is None else parse_amount(cost)
        self._lots.append((qty, cost))

    def apply(self, fill: FillMessage, base_asset: str) -> None:
        """Apply a fill; a fee in the base asset reduces the quantity held.

        Raises:
            InvariantError: More was sold than is held.
        """
        qty = product(fill.qty, FINER)
        if fill.side == BUY:
            got, cost = fill.qty, cost_up(fill.qty, fill.price)
            if fill.fee_asset == base_asset:  # The fee is taken from these coins, at their price.
                got, cost = got - fill.fee, cost - cost_up(fill.fee, fill.price)
            self.qty += product(got, FINER)
            self._lots.append((product(got, FINER), cost))
        elif fill.fee_asset == base_asset:
            self._take(qty + product(fill.fee, FINER), fill)
        else:
            self._take(qty, fill)

    def _take(self, gone: int, fill: FillMessage) -> None:
        """Remove a quantity from the oldest lots."""
        held = self.qty - gone
        self.qty = held
        if held <= 0:
            if held:
                raise InvariantError(
                    STRATEGY_ROLE,
                    NONDETERMINISM,
                    f"{self.symbol}: fill {fill.order.text} makes the position {self.text}",
                )
            self._lots.clear()
            return
        while gone:
            held, cost = self._lots[0]
            if held <= gone:
                del self._lots[0]
                gone -= held
            else:
                self._lots[0] = (held - gone, cost - div_down(cost * gone, held))
                gone = 0

    @property
    def text(self) -> str:
        """The quantity as a decimal string without trailing zeros."""
        return qty_text(self.qty)

    @property
    def entry_price_avg_text(self) -> str:
        """The average entry price as a decimal string, rounded up; empty when flat."""
        if not self.qty:
            return ""
        cost = sum(cost for _, cost in self._lots)
        return amount_text(div_up(cost * UNITS, self.qty), PLACES)

    def state(self) -> JsonObject:
        """Return the state as canonical JSON values."""
        lots = [[str(qty), str(cost)] for qty, cost in self._lots]
        return {"lots": lots, "qty": str(self.qty)}

    def restore(self, state: JsonObject) -> None:
        """Take over what `state` described."""
        self.qty = int(state["qty"])
        self._lots = [(int(qty), int(cost)) for qty, cost in state["lots"]]


def qty_text(qty: int) -> str:
    """Return a quantity in units of 10**-18 as a decimal string without trailing zeros."""
    return format_fixed(qty, PLACES_MAX).rstrip("0").rstrip(".")
