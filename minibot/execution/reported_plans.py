"""Reported plans: the levels that risk reported last for each position, for the positions file.

They are no input of the executor, and none of its decisions depends on them: its process reads them
from the queue `risk_actions`, apart from its inputs, when it writes the file. Execution ends after
risk, so at a planned end the levels are the last ones reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from minibot.events.model import Event, JsonObject, PositionPlan
from minibot.events.names import RISK_ACTIONS
from minibot.kernel.reader import JournalReader

Decode = Callable[[str, bytes], Event]

LEVELS: Final = (
    *("stop", "stop_reason", "target", "target_reason", "rungs", "until_ts", "stop_hard"),
    *("stop_entry", "stop_break_even", "stop_trailing", "stop_signal", "target_signal", "peak"),
)
"""Fields of `position_plan` that are copied: the levels, their reasons and the peak."""
BATCH: Final = 1_000
_PLAN: Final = f'"{PositionPlan.TYPE}"'.encode()


class ReportedPlans:
    """Reader of the plans that risk reported.

    Args:
        reader: Reader of the queue `risk_actions`, from its first line.
        decode: Returns the event of a queue's name and line.
    """

    def __init__(self, reader: JournalReader, decode: Decode) -> None:
        self._reader = reader
        self._decode = decode
        self._levels: dict[str, JsonObject] = {}

    def read(self) -> Mapping[str, JsonObject]:
        """Return the levels reported last for each open position, by symbol.

        Raises:
            IntegrityError: The queue is damaged.
            ContractError: A plan breaks its contract.
        """
        while lines := self._reader.read(BATCH):
            for line in lines:
                if _PLAN in line.json:
                    self._take(self._decode(RISK_ACTIONS, line.json))
        return self._levels

    def _take(self, event: Event) -> None:
        plan = event.payload
        if not isinstance(plan, PositionPlan):
            return  # Another event whose text contains the word.
        if plan.original_qty is None:
            self._levels.pop(plan.symbol, None)  # Closed.
            return
        reported = event.to_json()["payload"]
        self._levels[plan.symbol] = {name: reported[name] for name in LEVELS if name in reported}
