"""Poison event: a role crashes at it repeatedly; noted at each crash, left out after the second.

A crash is noted next to the reader's acks before the process ends. After two crashes at the same
line of market data the role leaves that line out, with a dead letter; events that decide over money
are never left out, so for those the restart budget ends the run (fault F66).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from minibot.events.names import TICKS
from minibot.kernel.files import read_hashed, write_hashed
from minibot.runtime.secrets import redact

SUSPECT_FILE: Final = "suspect.json"
CRASHES_MAX: Final = 2


class PoisonEvents:
    """Last line at which this role crashed, and how often.

    Args:
        folder: Where the role keeps its input log.
        run_id: The run; a note of another run is ignored.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        self._path = folder / SUSPECT_FILE
        self._run_id = run_id
        self._place = ("", 0)
        self._crashes = 0
        self.error = ""
        if self._path.exists():
            data = read_hashed(self._path)
            if data["run_id"] == run_id:
                self._place = (data["queue"], data["seq"])
                self._crashes, self.error = data["crashes"], data["error"]

    @property
    def is_any(self) -> bool:
        """True if a line has crashed this role in this run; checked before each event."""
        return self._crashes > 0

    def note(self, queue: str, seq: int, error: Exception) -> None:
        """Record that the core crashed at a line; durable on return."""
        self._crashes = self._crashes + 1 if (queue, seq) == self._place else 1
        self._place, self.error = (queue, seq), redact.beginning(repr(error), 500)
        write_hashed(
            self._path,
            {
                "run_id": self._run_id,
                "queue": queue,
                "seq": seq,
                "crashes": self._crashes,
                "error": self.error,
            },
        )

    def has(self, queue: str, seq: int) -> bool:
        """Return whether a line is to be left out."""
        return queue == TICKS and self._crashes >= CRASHES_MAX and (queue, seq) == self._place
