"""Recorded run in rule order, with its own profile or with another one.

Market and control events come from the record with their own ids and numbers, by time; a control
event before market events of the same millisecond, as a role prefers it. The cores derive
everything else, as if no event overtook another and no role were late. The run is only read.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from minibot.accounting.performance import Performance
from minibot.cores.input_order import KnownIds
from minibot.cores.processor import second_opening
from minibot.engine.decisions import DecisionDigest
from minibot.engine.lockstep import Lockstep, Take, fresh_cores
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import PROGRESS_EVERY
from minibot.events.model import Event, Fill, JsonObject, RiskAction, RunOpening
from minibot.events.names import CONTROL, TICKS
from minibot.events.reasons import STRATEGY_ERROR
from minibot.kernel.errors import RunStop

Progress = Callable[[int, int], None]


class DerivedEvent(NamedTuple):
    """One derived event, its place, and its root event.

    Attributes:
        equity: Equity when it was made, hundred-millionths of quote; 0 if read from a record.
        root: The running number, from 0, of the event from outside that led to it; 0 if read from
            a record.
    """

    queue: str
    seq: int
    event: Event
    equity: int
    root: int


class World(NamedTuple):
    """One event that came from outside."""

    queue: str
    seq: int
    event: Event


@dataclass(slots=True)
class RulePass:
    """Pass of a profile's cores over a recorded market in rule order.

    Attributes:
        derived: Derived events, in the order in which they were made.
        performance: Exact equity, drawdown and round trips.
        stop: The reason code if risk or the run's own strategy stopped the pass, else empty.
    """

    performance: Performance
    derived: list[DerivedEvent] = field(default_factory=list)
    digest: str = ""
    stop: str = ""


def world(recorded: Recorded) -> Iterator[World]:
    """Yield the events that a run received from outside, by time; duplicates once.

    Raises:
        IntegrityError: The run was opened twice.
    """
    return heapq.merge(
        _once(recorded, CONTROL), _once(recorded, TICKS), key=lambda one: one.event.ts
    )


def _once(recorded: Recorded, queue: str) -> Iterator[World]:
    known = KnownIds()
    is_opened = False
    for seq, event in recorded.events(queue):
        if known.admit(queue, event.id, b""):
            if is_opened and isinstance(event.payload, RunOpening):
                raise second_opening(queue, seq)
            is_opened = queue == CONTROL
            yield World(queue, seq, event)


def rule_order(
    recorded: Recorded, config: JsonObject, progress: Progress = lambda done, whole: None
) -> RulePass:
    """Return the pass of a resolved profile's cores over a run's market in rule order.

    An error of the strategy ends the pass of the run's own profile, as it may have ended the run.

    Raises:
        IntegrityError: A line is damaged, or the run has no opening, or two.
        RunStop: A core found something that cannot be, or another profile's strategy failed.
    """
    _, opening = recorded.opening()
    done = RulePass(Performance(opening, config["portfolio"]["quote_asset"]))
    digest = DecisionDigest()
    root = 0

    def take(queue: str, seq: int, event: Event) -> None:
        digest.add(queue, seq, event)
        payload = event.payload
        if isinstance(payload, Fill):
            done.performance.on_fill(payload, event.ts)
        elif isinstance(payload, RiskAction) and payload.action == "STOP":
            done.stop = payload.reason_code
        done.derived.append(DerivedEvent(queue, seq, event, done.performance.equity, root))

    lockstep = _lockstep(recorded, config, take)
    whole = sum(recorded.lines(queue).reader.head().lines for queue in recorded.roles.world)
    for root, one in enumerate(world(recorded)):
        done.performance.on_market([one.event.payload])
        try:
            lockstep.process(one.event, one.seq)
        except RunStop as error:
            if not _is_own_failure(error, recorded, config):
                raise
            done.stop = error.reason_code
        if root % PROGRESS_EVERY == 0:
            progress(root, whole)
        if done.stop:
            break
    done.digest = digest.hex
    return done


def states_before(recorded: Recorded, config: JsonObject, root: int) -> JsonObject:
    """Return the state of each core, by role, before the outside event with that number."""
    lockstep = _lockstep(recorded, config, lambda queue, seq, event: None)
    try:
        for one in islice(world(recorded), root):
            lockstep.process(one.event, one.seq)
    except RunStop as error:
        if not _is_own_failure(error, recorded, config):
            raise
    return {name: core.state() for name, core in lockstep.cores.items()}


def _is_own_failure(error: RunStop, recorded: Recorded, config: JsonObject) -> bool:
    return error.reason_code == STRATEGY_ERROR and config == recorded.manifest.config


def _lockstep(recorded: Recorded, config: JsonObject, take: Take) -> Lockstep:
    processes = recorded.manifest.processes
    return Lockstep(
        fresh_cores(config),
        recorded.roles,
        cmdline_hashes={name: process.cmdline_hash for name, process in processes.items()},
        take=take,
    )
