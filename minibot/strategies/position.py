"""What the strategy knows of its position: exactly what `run_opening` and `fills` say.

Only long or flat matters to a spot strategy; the quantity is kept exactly, so that "flat" is
never a matter of rounding. Money, fees in quote and lots are accounted for by the risk role.
"""

from __future__ import annotations

from typing import Final

from minibot.events.model import BUY, Fill, JsonObject
from minibot.events.numbers import PLACES_MAX, format_fixed, parse_fixed
from minibot.kernel.errors import InvariantError

UNITS: Final = 10**PLACES_MAX


class Position:
    """The base amount held in one symbol, in units of 10**-18."""

    __slots__ = ("qty", "symbol")

    def __init__(self, symbol: str) -> None:
        """Start flat."""
        self.symbol: str = symbol
        self.qty: int = 0

    def add_lot(self, qty: str) -> None:
        """Take over a lot of a former run."""
        self.qty += parse_fixed(qty, PLACES_MAX)

    def apply(self, fill: Fill, base_asset: str) -> None:
        """Apply a fill; a fee taken in the base asset lessens what is held.

        Raises:
            InvariantError: More was sold than is held.
        """
        qty = parse_fixed(fill.qty, PLACES_MAX)
        self.qty += qty if fill.side == BUY else -qty
        if fill.fee_asset == base_asset:
            self.qty -= parse_fixed(fill.fee, PLACES_MAX)
        if self.qty < 0:
            raise InvariantError(
                "strategy_role",
                "NONDETERMINISM",
                f"{self.symbol}: fill {fill.order_id} makes the position {self.text}",
            )

    def is_long(self, qty_min: int, notional_min: float, bid: float) -> bool:
        """Whether something is held that the exchange would let us sell.

        A rest below its minimum quantity (`qty_min`, units of 10**-18) or its minimum notional
        cannot be sold: it counts as flat, else it would keep the strategy from buying ever again.
        """
        if self.qty <= 0 or self.qty < qty_min:
            return False
        return bid <= 0.0 or self.qty / UNITS * bid >= notional_min

    @property
    def text(self) -> str:
        """The quantity as a decimal string without trailing zeros."""
        return format_fixed(self.qty, PLACES_MAX).rstrip("0").rstrip(".")

    def state(self) -> JsonObject:
        """Return the state as canonical JSON values."""
        return {"qty": str(self.qty)}

    def restore(self, state: JsonObject) -> None:
        """Take over what `state` described."""
        self.qty = int(state["qty"])
