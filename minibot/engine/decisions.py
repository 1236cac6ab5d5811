"""Decision digest: the decisions of a run, without fields that differ between any two runs.

Type and payload of an event count, without ids and without the hash of the strategy's parameters;
causes count as ordinals, that is as (queue, number). Ids, `run_id`, `cmdline_hash` and `ts` are
left out (`docs/ARCH.md`, section 4).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, Final

import msgspec

from minibot.cores.event_id import EventId
from minibot.cores.messages import QUEUES, Message, SignalMessage
from minibot.events.model import HOLD, Event, JsonObject, Payload

# Writes the same as `canonical.encode`, but takes structs directly instead of dicts.
_ENCODER: Final = msgspec.json.Encoder(order="sorted")

# Ids are derived from the run's id, so that they differ between two runs that decide the same; the
# hash of the parameters identifies the strategy, not its decision.
LEFT_OUT: Final = frozenset({"client_order_id", "order_id", "params_hash", "replaces", "signal_id"})

_Decision: Final = msgspec.defstruct(
    "Decision", ["causes", "payload", "queue", "type"], frozen=True, gc=False
)


def decided(event: Event) -> JsonObject:
    """Return an event's decision: its payload without fields that differ between any two runs."""
    return {k: v for k, v in event.payload.to_json().items() if k not in LEFT_OUT}


class DecisionDigest:
    """A sha256 over derived events, in the order in which they were derived."""

    def __init__(self) -> None:
        self._total = hashlib.sha256()
        self._ordinals: dict[str, str] = {}
        # The same of messages, by the objects that stand for their ids.
        self._places: dict[EventId, str] = {}
        self.events = 0

    def note(self, queue: str, seq: int, event_id: str) -> None:
        """Remember queue and line of an event that may become a cause."""
        self._ordinals[event_id] = f"{queue}:{seq}"

    def add(self, queue: str, seq: int, event: Event) -> None:
        """Take the next derived event of a queue."""
        self.note(queue, seq, event.id)
        root, ordinals = f"market_ticks:{event.tick_seq}", self._ordinals
        causes = [ordinals.get(cause, root) for cause in event.cause_ids or ()]
        self._take([_decision(queue, event.payload, causes)])

    def add_messages(self, messages: Sequence[Message]) -> None:
        """Take the next messages of a lockstep, of which no events are made.

        Ids are compared as the objects that cores hand on, so that most are never hashed. Nothing
        follows from a hold, so that nobody asks for its id.
        """
        places, decisions = self._places, []
        for message in messages:
            queue, root = QUEUES[message.place], f"market_ticks:{message.tick_seq}"
            if isinstance(message, SignalMessage) and message.side == HOLD:
                causes = [root]
            else:
                places[message.ref()] = f"{queue}:{message.number}"
                causes = [
                    places.get(cause) or self._place_of(cause, root) for cause in message.causes()
                ]
            decisions.append(_decision(queue, message.payload(), causes))
        self._take(decisions)

    def _place_of(self, cause: EventId, root: str) -> str:
        """Return the place of an id that no message has handed on; `root` of a market event."""
        if cause.is_derived:
            for ref, place in reversed(self._places.items()):
                if ref.is_same(cause):
                    return place
        return root

    def _take(self, decisions: Sequence[msgspec.Struct]) -> None:
        self._total.update(_ENCODER.encode_lines(decisions))
        self.events += len(decisions)

    @property
    def hex(self) -> str:
        """The digest so far."""
        return self._total.hexdigest()


def _decision(queue: str, payload: Payload, causes: list[str]) -> msgspec.Struct:
    """Return the decision of an event, ready to be encoded."""
    struct, values = _counted(type(payload))
    decision: msgspec.Struct = _Decision(causes, struct(*values(payload)), queue, payload.TYPE)
    return decision


@cache
def _counted(cls: type[Payload]) -> tuple[type[msgspec.Struct], Callable[[Payload], Any]]:
    """Return a struct of the fields that count of a class, and what reads them of its payloads.

    Fields that are None are left out where the struct is written.
    """
    names = [name for name in sorted(cls.__struct_fields__) if name not in LEFT_OUT]
    fields: list[tuple[str, Any, Any]] = [(name, Any, None) for name in names]
    # A dict made anew for each payload took the encoder and its caller a third longer.
    struct = msgspec.defstruct(cls.__name__, fields, frozen=True, gc=False, omit_defaults=True)
    if len(names) < 2:  # Of less than two names an `attrgetter` makes no tuple.
        return struct, lambda payload: [getattr(payload, name) for name in names]
    return struct, attrgetter(*names)
