"""Told plans: the levels of each position as risk told them last, for the file of positions.

They are no input of the executor, and nothing it decides follows from them: its process reads them
from the queue `risk_actions`, behind its own inputs, when it writes the file. Execution ends after
risk, so that at a planned end the levels are the last that risk told.
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
"""Fields of `position_plan` that are levels, and what they follow."""
BATCH: Final = 1_000
_PLAN: Final = f'"{PositionPlan.TYPE}"'.encode()


class ToldPlans:
    """Reader of the plans that risk told.

    Args:
        reader: Of the queue of risk's actions, from its first line.
        decode: Returns the event of a queue's name and line.
    """

    def __init__(self, reader: JournalReader, decode: Decode) -> None:
        self._reader = reader
        self._decode = decode
        self._levels: dict[str, JsonObject] = {}

    def read(self) -> Mapping[str, JsonObject]:
        """Return the levels told last of each open position, by symbol.

        Raises:
            IntegrityError: The queue is damaged.
            ContractError: A plan is against its contract.
        """
        while lines := self._reader.read(BATCH):
            for line in lines:
                if _PLAN in line.json:
                    self._take(self._decode(RISK_ACTIONS, line.json))
        return self._levels

    def _take(self, event: Event) -> None:
        plan = event.payload
        if not isinstance(plan, PositionPlan):
            return  # Another event that has the word in a text.
        if plan.original_qty is None:
            self._levels.pop(plan.symbol, None)  # Closed.
            return
        said = event.to_json()["payload"]
        self._levels[plan.symbol] = {name: said[name] for name in LEVELS if name in said}
