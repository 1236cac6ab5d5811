"""Stopped entries: since when risk refuses entries for a used-up budget or a halt, and how many.

Risk keeps it while the run lives, reports recount it from the recorded verdicts; both must agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from minibot.events.model import JsonObject, RiskAction
from minibot.events.reasons import (
    ACCOUNT_DRAWDOWN,
    DAY_LOSS,
    DAY_NOTIONAL,
    DRAWDOWN,
    HALTED,
    INSUFFICIENT_CASH,
    NIGHT_LOSS,
    NIGHT_NOTIONAL,
    NIGHT_NOTIONAL_PACE,
    WEEK_LOSS,
    WEEK_NOTIONAL,
)

LASTING: Final = frozenset(
    (
        *(NIGHT_NOTIONAL, NIGHT_NOTIONAL_PACE, DAY_NOTIONAL, INSUFFICIENT_CASH),
        *(NIGHT_LOSS, DAY_LOSS, DRAWDOWN, HALTED),
        *(WEEK_NOTIONAL, WEEK_LOSS, ACCOUNT_DRAWDOWN),
    )
)
"""Reasons that refuse whatever comes next too; only entries are refused for them."""


@final
class EntryStops:
    """Refusals of entries in a row, without a passed entry between them.

    Attributes:
        refused: How many for lasting reasons; 0 while entries pass. The end of a halt sets it to 0
            only if the last of them was for the halt.
        since_ts: When the first of them was, Unix ms.
        code: The reason of the last one.
    """

    __slots__ = ("code", "refused", "since_ts")

    def __init__(self) -> None:
        """Start with nothing refused."""
        self.refused: int = 0
        self.since_ts: int = 0
        self.code: str = ""

    def on_refusal(self, code: str, ts: int) -> None:
        """Count a refused entry if its reason lasts."""
        if code not in LASTING:
            return
        if not self.refused:
            self.since_ts = ts
        self.refused += 1
        self.code = code

    def on_entry(self) -> None:
        """Forget the refusals: an entry passed."""
        self.refused, self.since_ts, self.code = 0, 0, ""

    def on_resume(self) -> None:
        """Forget all refusals if the last one was for a halt, which is over; else keep them.

        Refusals for another reason before the halt are forgotten too: if the reason still holds,
        the next refusal begins a new count.
        """
        if self.code == HALTED:
            self.on_entry()

    def on_action(self, action: RiskAction, ts: int) -> None:
        """Take a recorded verdict of risk, in the order of its queue."""
        if action.action == "BLOCK":
            self.on_refusal(action.reason_code, ts)
        elif action.action in ("ALLOW", "REDUCE"):  # Only entries; a sale is an EXIT.
            self.on_entry()

    def to_json(self) -> JsonObject | None:
        """Return them as canonical JSON values; None while entries pass."""
        if not self.refused:
            return None
        return {"since_ts": self.since_ts, "reason_code": self.code, "refused": self.refused}

    @staticmethod
    def from_json(fields: Mapping[str, Any] | None) -> EntryStops:
        """Return the stops that `to_json` described."""
        stops = EntryStops()
        if fields is not None:
            stops.since_ts, stops.code = fields["since_ts"], fields["reason_code"]
            stops.refused = fields["refused"]
        return stops
