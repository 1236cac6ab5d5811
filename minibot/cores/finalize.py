"""Drafts turned into events, with ids and causes, alike in night, replay and backtest."""

from __future__ import annotations

from collections.abc import Sequence

from minibot.events.ids import derive_id
from minibot.events.model import Draft, Event
from minibot.events.reasons import NONDETERMINISM
from minibot.kernel.errors import InvariantError


def finalize_drafts(
    drafts: Sequence[Draft], cause: Event, *, run_id: str, role: str, cmdline_hash: str
) -> list[tuple[str, Event]]:
    """Return the events of one step with their queues: ids derived, causes resolved.

    Ids derive from the input, `cause`. It becomes a cause only of drafts that name it.

    Raises:
        InvariantError: A draft names itself or a later draft, or has no cause.
    """
    events: list[tuple[str, Event]] = []
    for ordinal, draft in enumerate(drafts):
        causes: list[str] = []
        for named in draft.cause_ids:
            if isinstance(named, str):
                causes.append(named)
            elif 0 <= named < ordinal:
                causes.append(events[named][1].id)
            else:
                raise InvariantError(
                    role, NONDETERMINISM, f"draft {ordinal} names draft {named} as its cause"
                )
        if not causes:
            raise InvariantError(role, NONDETERMINISM, f"draft {ordinal} has no cause")
        event = Event(
            ts=draft.ts,
            id=derive_id(run_id, role, cause.id, ordinal),
            source=role,
            run_id=run_id,
            cmdline_hash=cmdline_hash,
            payload=draft.payload,
            cause_ids=tuple(causes),
            tick_seq=draft.tick_seq,
        )
        events.append((draft.queue, event))
    return events
