"""Planted defects for drills: a writer that breaks its contract, a faulty clock or disk.

Only a profile with an embedded exchange may carry `chaos` (the config rules refuse it elsewhere),
so a night on the real market cannot. `minibot chaos` uses it for faults that cannot be caused from
outside a process; all others it causes by signals, files and the exchange's own fault switches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from minibot.events.model import JsonObject
from minibot.events.names import AI_ROLE
from minibot.kernel import canonical
from minibot.runtime.clock import machine_ns
from minibot.runtime.configuration.config_sections import Chaos

Spoil = Callable[[JsonObject], JsonObject]


def _without(name: str) -> Spoil:
    return lambda envelope: {key: item for key, item in envelope.items() if key != name}


def _with(name: str, value: Any) -> Spoil:
    return lambda envelope: {**envelope, name: value}


def _empty_payload(envelope: JsonObject) -> JsonObject:
    return {**envelope, "payload": {}}


SPOILS: Final[Mapping[str, Spoil]] = {
    "bad_schema": _empty_payload,
    "extra_envelope_field": _with("note", "x"),
    "no_cmdline_hash": _without("cmdline_hash"),
    "malformed_cmdline_hash": _with("cmdline_hash", "ABC"),
    "foreign_cmdline_hash": _with("cmdline_hash", "0" * 64),
    "wrong_version": _with("v", 2),
    "unknown_type": _with("type", "wish"),
    "wrong_run_id": _with("run_id", "20000101_000000"),
    "forbidden_source": _with("source", AI_ROLE),
    "bad_id": _with("id", "not-a-uuid"),
}
"""Damage of a broken writer to one envelope, by name of the fault."""


@dataclass(slots=True)
class PlantedFaults:
    """Planted defect of a drill.

    Attributes:
        name: The fault.
        role: The role whose process carries it.
        queue: The queue in which the spoiled event appears.
        after: Number of events that the role's process writes into that queue before the spoiled
            one, counted anew after a restart; for `poison_event` the seq of the line at which the
            core crashes.
        after_ms: Time before an instrument goes wrong.
        amount: Amount added to the instrument's value.
    """

    name: str
    role: str
    queue: str
    after: int
    after_ms: int
    amount: int
    _started_ns: int
    _seen: int = 0

    @classmethod
    def of(cls, chaos: Chaos | None) -> PlantedFaults | None:
        """Return the defect that a profile's `chaos` section plants, or None."""
        if chaos is None or chaos.plant is None:
            return None
        return cls(
            name=chaos.plant,
            role=chaos.role or "",
            queue=chaos.queue or "",
            after=chaos.after or 0,
            after_ms=chaos.after_ms or 0,
            amount=chaos.amount or 0,
            _started_ns=machine_ns(),
        )

    def written(self, role: str, queue: str, json: bytes) -> bytes:
        """Return the JSON to be written for an event, spoiled if this is the one to spoil."""
        if self.name not in SPOILS or role != self.role or queue != self.queue:
            return json
        self._seen += 1
        if self._seen != self.after + 1:
            return json
        return canonical.encode(SPOILS[self.name](canonical.decode(json)))

    def chokes(self, role: str, queue: str, seq: int) -> bool:
        """Return whether a role's core has to crash at a line."""
        place = (self.role, self.queue, self.after)
        return self.name == "poison_event" and place == (role, queue, seq)

    def reading(self, name: str, value: int) -> int:
        """Return a measured value, falsified if the defect is of this instrument."""
        if name != self.name or machine_ns() - self._started_ns < self.after_ms * 1_000_000:
            return value
        return value + self.amount
