"""Trading halts: an operator forbids all entries, or those of one symbol until a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from minibot.events.model import Halt, JsonObject, LockSymbol, Payload, Resume
from minibot.events.reasons import SYMBOL_LOCKED


@final
class TradingHalts:
    """The halt and the symbol locks of one run; exits are always allowed.

    A `resume` ends only the halt; a lock ends by its time.

    Attributes:
        is_halted: Whether all entries are forbidden.
        until: The end of each symbol's lock, None for the rest of the run; past ones too.
    """

    __slots__ = ("is_halted", "until")

    def __init__(self) -> None:
        """Start with nothing forbidden."""
        self.is_halted: bool = False
        self.until: dict[str, int | None] = {}

    def lock(self, lock: LockSymbol) -> None:
        """Forbid entries in a symbol until `until_ts`, or for the run; replaces an earlier lock."""
        self.until[lock.symbol] = lock.until_ts

    def is_locked(self, symbol: str, now: int) -> bool:
        """Return whether entries in a symbol are forbidden now; at `until_ts` the lock is over."""
        until = self.until.get(symbol, 0)
        return until is None or now < until

    def take(self, order: Payload) -> None:
        """Take a halt, a resume or a lock; ignore any other event."""
        if isinstance(order, Halt):
            self.is_halted = True
        elif isinstance(order, Resume):
            self.is_halted = False
        elif isinstance(order, LockSymbol):
            self.lock(order)

    def listed(self, now: int) -> list[JsonObject]:
        """Return the locks in force at `now`, by symbol, in the form of `Protections.listed`."""
        return [
            {"reason_code": SYMBOL_LOCKED, "scope": symbol, "until_ts": until}
            for symbol, until in sorted(self.until.items())
            if self.is_locked(symbol, now)
        ]

    def state(self) -> JsonObject:
        """Return halt and locks as canonical JSON values."""
        return {"is_halted": self.is_halted, "until": dict(self.until)}

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> TradingHalts:
        """Return halt and locks of `state`."""
        halts = TradingHalts()
        halts.is_halted = state["is_halted"]
        halts.until = dict(state["until"])
        return halts
