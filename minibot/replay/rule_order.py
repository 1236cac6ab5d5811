"""A recorded run once more in rule order, with its own profile or with another one.

Market and control events come from the record with their own ids and numbers, by time; a control
event before market events of the same millisecond, as a role prefers it. Everything else the cores
derive. The run itself is only read.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from minibot.events.model import Event, Fill, JsonObject, MarketTick, RiskAction, RunOpening
from minibot.events.order import CONTROL, TICKS, KnownIds
from minibot.events.performance import Performance
from minibot.kernel.errors import IntegrityError
from minibot.replay.decisions import DecisionDigest
from minibot.replay.lockstep import Lockstep, fresh_cores
from minibot.replay.recorded import Recorded

PROGRESS_EVERY = 4096

Progress = Callable[[int, int], None]


class Said(NamedTuple):
    """One derived event, its place, and the equity when it was made (hundred-millionths)."""

    queue: str
    seq: int
    event: Event
    equity: int


class World(NamedTuple):
    """One event that came from outside."""

    queue: str
    seq: int
    event: Event


@dataclass(slots=True)
class RulePass:
    """What the cores of a profile do with a recorded world in rule order.

    Attributes:
        derived: In the order they were made.
        performance: Exact equity, drawdown and round trips.
        stop: Reason code where risk stopped it, else empty.
    """

    performance: Performance
    derived: list[Said] = field(default_factory=list)
    digest: str = ""
    stop: str = ""


def world(recorded: Recorded) -> Iterator[World]:
    """Yield what a run was given from outside, by time; what was said twice, once."""
    return heapq.merge(
        _once(recorded, CONTROL), _once(recorded, TICKS), key=lambda one: one.event.ts
    )


def _once(recorded: Recorded, queue: str) -> Iterator[World]:
    known = KnownIds()
    for seq, event in recorded.events(queue):
        if known.admit(queue, event.id, b""):
            yield World(queue, seq, event)


def rule_order(
    recorded: Recorded, config: JsonObject, progress: Progress = lambda done, whole: None
) -> RulePass:
    """Return what the cores of a resolved profile do with a run's world in rule order.

    Raises:
        IntegrityError: A line is damaged, or the run has no opening.
        RunStop: A core found something that cannot be.
    """
    events = world(recorded)
    first = next(events, None)
    if first is None or not isinstance(first.event.payload, RunOpening):
        raise IntegrityError("replay", "SCHEMA_INVALID", "control:1: expected run_opening")
    done = RulePass(Performance(first.event.payload, config["portfolio"]["quote_asset"]))
    digest = DecisionDigest()

    def take(queue: str, seq: int, event: Event) -> None:
        digest.add(queue, seq, event)
        payload = event.payload
        if isinstance(payload, Fill):
            done.performance.on_fill(payload, event.ts)
        elif isinstance(payload, RiskAction) and payload.action == "STOP":
            done.stop = payload.reason_code
        done.derived.append(Said(queue, seq, event, done.performance.equity))

    lockstep = Lockstep(
        fresh_cores(config),
        recorded.roles,
        run_id=recorded.manifest.run_id,
        cmdline_hashes={
            name: process.cmdline_hash for name, process in recorded.manifest.processes.items()
        },
        take=take,
    )
    whole = sum(recorded.lines(queue).reader.head().lines for queue in (TICKS, CONTROL))
    lockstep.feed(*first)
    for count, one in enumerate(events):
        if type(one.event.payload) is MarketTick:
            done.performance.on_tick(one.event.payload)
        lockstep.feed(*one)
        if count % PROGRESS_EVERY == 0:
            progress(count, whole)
        if done.stop:
            break
    done.digest = digest.hex
    return done
