"""Lineage of every decision: contracts, causes and permissions over a whole run (N-04).

`kernel.verify` proves that no byte changed; this proves that the content is allowed: every line
satisfies its contract and was written by a role that may write it (the codec judges both), every
cause exists and is not younger than its effect, no intent lacks an allowing `risk_action`, and no
fill exceeds its intent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from minibot.engine.recorded_run import Recorded
from minibot.events.model import Ack, Event, Fill, OrderCancel, OrderIntent, RiskAction
from minibot.events.names import EXECUTION_ROLE
from minibot.events.reasons import EVENT_ID_CONFLICT, NONDETERMINISM, SOURCE_FORBIDDEN
from minibot.kernel.errors import ContractError, RunStop
from minibot.kernel.verify import Finding

ALLOWING: Final = frozenset({"ALLOW", "REDUCE", "EXIT", "PROTECT", "WITHDRAW"})


@dataclass(slots=True)
class _Seen:
    """Derived events in memory, and those root events that are a cause of one.

    `damaged` names the queues that could be read only up to their damage.
    """

    derived: dict[str, Event] = field(default_factory=dict)
    wanted: dict[str, list[tuple[str, int, Event]]] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)

    @property
    def unread(self) -> str:
        """Caveat that a missing event may come after the damage; empty when all was read."""
        named = ", ".join(self.damaged)
        return f"; it may come after the damage in {named}, which is not read" if named else ""


def verify_lineage(recorded: Recorded) -> Iterator[Finding]:
    """Yield every finding of contracts and lineage; repairs nothing.

    Args:
        recorded: The run. A damaged queue is judged up to its damage, which is one finding, of
            line 0; `kernel.verify` names the place.
    """
    seen = _Seen()
    for queue in recorded.roles.derived:
        yield from _read_derived(recorded, queue, seen)
    for queue in recorded.roles.queues:
        if queue not in recorded.roles.derived:
            yield from _read_roots(recorded, queue, seen)
    for cause_id, effects in seen.wanted.items():
        for queue, seq, event in effects:
            lacking = f"none of {event.id}{seen.unread}"
            yield _finding(queue, seq, NONDETERMINISM, f"cause {cause_id}", lacking)
    yield from _judge_intents(seen)
    yield from _judge_fills(seen)


def _events(recorded: Recorded, queue: str, seen: _Seen) -> Iterator[tuple[int, Event] | Finding]:
    """Yield the events of a queue, or a finding for each line that breaks its contract."""
    source = recorded.lines(queue)
    ids: dict[str, int] = {}
    while True:
        try:
            line = source.next()
        except RunStop as error:
            # The bytes are damaged from here on; `kernel.verify` names the place.
            seen.damaged.append(queue)
            yield _finding(queue, 0, error.reason_code, "whole lines", error.detail)
            return
        if line is None:
            return
        try:
            event = recorded.decode(queue, line)
        except ContractError as error:
            yield _finding(queue, line.seq, error.reason_code, "an event by contract", error.detail)
            continue
        if queue != "market_ticks":
            before = ids.setdefault(event.id, line.seq)
            if before != line.seq:
                yield _finding(queue, line.seq, EVENT_ID_CONFLICT, "a new id", f"line {before}'s")
        yield line.seq, event


def _read_derived(recorded: Recorded, queue: str, seen: _Seen) -> Iterator[Finding]:
    for item in _events(recorded, queue, seen):
        if isinstance(item, Finding):
            yield item
            continue
        seq, event = item
        seen.derived[event.id] = event
        yield from _judge_waiting(seen, event)  # A risk_action STOP may come of a fill.
        if not event.cause_ids:
            yield _finding(queue, seq, NONDETERMINISM, "a cause", "none")
        for cause_id in event.cause_ids or ():
            cause = seen.derived.get(cause_id)
            if cause is None:
                seen.wanted.setdefault(cause_id, []).append((queue, seq, event))
            elif cause.ts > event.ts:
                yield _finding(queue, seq, NONDETERMINISM, f"ts >= {cause.ts}", str(event.ts))


def _read_roots(recorded: Recorded, queue: str, seen: _Seen) -> Iterator[Finding]:
    is_root = queue in recorded.roles.world
    for item in _events(recorded, queue, seen):
        if isinstance(item, Finding):
            yield item
            continue
        _, cause = item
        if is_root:
            yield from _judge_waiting(seen, cause)


def _judge_waiting(seen: _Seen, cause: Event) -> Iterator[Finding]:
    """Judge the events that were read before their cause."""
    for name, seq, event in seen.wanted.pop(cause.id, ()):
        if cause.ts > event.ts:
            yield _finding(name, seq, NONDETERMINISM, f"ts >= {cause.ts}", str(event.ts))


def _judge_intents(seen: _Seen) -> Iterator[Finding]:
    for event in seen.derived.values():
        if not isinstance(event.payload, OrderIntent | OrderCancel):
            continue
        causes = [seen.derived.get(cause_id) for cause_id in event.cause_ids or ()]
        actions = [
            cause.payload
            for cause in causes
            if cause is not None and isinstance(cause.payload, RiskAction)
        ]
        if not actions or any(action.action not in ALLOWING for action in actions):
            found = ", ".join(action.action for action in actions) or f"none{seen.unread}"
            wanted = f"{event.id}: an allowing risk_action"
            yield _finding("order_intents", 0, SOURCE_FORBIDDEN, wanted, found)


def _judge_fills(seen: _Seen) -> Iterator[Finding]:
    filled: dict[str, Decimal] = {}
    for event in seen.derived.values():
        if not isinstance(event.payload, Fill):
            continue
        intent = next(
            (
                cause
                for cause_id in event.cause_ids or ()
                if (cause := seen.derived.get(cause_id)) is not None
                and isinstance(cause.payload, OrderIntent)
            ),
            None,
        )
        if intent is None or not isinstance(intent.payload, OrderIntent):
            lacking = f"none{seen.unread}"
            yield _finding("fills", 0, SOURCE_FORBIDDEN, f"{event.id}: an intent", lacking)
            continue
        filled[intent.id] = filled.get(intent.id, Decimal(0)) + Decimal(event.payload.qty)
        if filled[intent.id] > Decimal(intent.payload.qty):
            wanted = f"{intent.id}: at most {intent.payload.qty}"
            yield _finding("fills", 0, NONDETERMINISM, wanted, str(filled[intent.id]))


def stop_position(recorded: Recorded) -> Ack | None:
    """Return the ack with which the executor processed a STOP, or None."""
    role = recorded.roles.roles[EXECUTION_ROLE]
    for ack in recorded.order_log(role):
        if ack.queue.startswith("stop_journal/"):
            return ack
    return None


def _finding(queue: str, seq: int, code: str, expected: str, found: str) -> Finding:
    return Finding(
        file=f"{queue}/inbox.jsonl", line=seq, offset=0, code=code, expected=expected, found=found
    )
