"""Replay: the recorded inputs of a run through the same cores, compared byte for byte.

Each of strategy, risk and execution is fed its own logged inputs in its own logged order; what it
derives must stand in its queues, event by event. Missing outputs are accepted only behind the
last logged range of a run that was stopped, and counted.

A `Window` narrows what is compared, never what is taken: every replay begins at the first input of
the run, because a state is trusted only when it was reckoned here.
"""

from __future__ import annotations

import hashlib
import importlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from minibot.events.ledger import HOUR_MS
from minibot.events.model import Draft, Event, JsonObject
from minibot.events.order import TICKS, Core, LineSource, LoggedStep, finish
from minibot.kernel.errors import IntegrityError
from minibot.replay.recorded import Recorded

__all__ = [
    "CORE_MODULES",
    "CORE_ROLES",
    "WHOLE",
    "Difference",
    "HourReplay",
    "Recorded",
    "Replay",
    "RoleReplay",
    "Window",
    "core_of",
    "is_stopped",
    "replay_role",
    "replay_run",
]

CORE_ROLES: Final = ("strategy_role", "risk_role", "execution_role")
PROGRESS_EVERY: Final = 4096
CORE_MODULES: Final = {
    "strategy_role": "minibot.strategies.core",
    "risk_role": "minibot.risk.core",
    "execution_role": "minibot.execution.core",
}

OnStep = Callable[[LoggedStep, Core, Sequence[tuple[str, Event]]], None]
OnTaken = Callable[[LoggedStep], None]


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when a replay compares, both in Unix ms of market time and both included.

    The time of an input is that of the last `market_ticks` line which its role had taken by then:
    it never goes back, and what a fill is booked under is never before it.
    """

    from_ms: int = 0
    to_ms: int = 10**15

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self == WHOLE

    @classmethod
    def hour(cls, hour_ts: int) -> Window:
        """Return the window of one hour of market time."""
        return cls(hour_ts, hour_ts + HOUR_MS - 1)


WHOLE: Final = Window()


@dataclass(frozen=True, slots=True)
class Difference:
    """The first event that replay derives differently, and what the core held before it."""

    role: str
    queue: str
    seq: int
    n: int
    cause_id: str
    expected: bytes | None  # what replay derives
    found: bytes | None  # what the run recorded
    state: JsonObject


@dataclass(slots=True)
class HourReplay:
    """What a role took and derived in one hour of market time; equal as far as it is counted."""

    inputs: int = 0
    outputs: Counter[str] = field(default_factory=Counter)
    hash: hashlib._Hash = field(default_factory=hashlib.sha256)


@dataclass(slots=True)
class RoleReplay:
    """What replaying one role gave.

    Attributes:
        inputs: All that it took; `compared` are those in the window.
        now: Market time of the last input that it took, Unix ms.
        clock: The `ts` of the last market event that it came to.
        is_cut: Whether there is more behind the end of the window, or of what is done.
    """

    role: str
    inputs: int = 0
    compared: int = 0
    now: int = 0
    clock: int = 0
    is_cut: bool = False
    outputs: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    hours: dict[int, HourReplay] = field(default_factory=dict)
    missing: int = 0
    unproven: int = 0
    difference: Difference | None = None


def core_of(role: str, config: JsonObject) -> Core:
    """Return a fresh core of a role."""
    module = importlib.import_module(CORE_MODULES[role])
    core: Core = module.core_from_config(config)
    return core


def replay_role(
    recorded: Recorded,
    name: str,
    *,
    core: Core | None = None,
    on_step: OnStep | None = None,
    on_taken: OnTaken | None = None,
    window: Window = WHOLE,
    until: Mapping[str, int] | None = None,
    result: RoleReplay | None = None,
    is_compared: bool = True,
) -> RoleReplay:
    """Replay one role and compare what it derives with what it recorded.

    Args:
        recorded: The run.
        name: One of `CORE_ROLES`.
        core: Another core than the recorded profile's.
        on_step: Called after each input with the core and the events it derived.
        on_taken: Called before each input, also for one that is a known double and not applied.
        window: What is compared; nothing behind its end is taken.
        until: By queue, the last line to take, for a run that is still going.
        result: Filled as the replay goes, so that it stands also when the record breaks off.
        is_compared: Whether recorded outputs are looked at; else the inputs are only taken again.
    """
    role = recorded.roles.roles[name]
    result = RoleReplay(name) if result is None else result
    comparison = _Comparison(recorded, result, window)
    stepped = core or core_of(name, recorded.manifest.config)
    for step in recorded.steps(role):
        taken = step.taken
        if taken.queue == TICKS:
            result.clock = taken.event.ts
        if result.clock > window.to_ms or _is_beyond(until, taken.queue, taken.seq):
            result.is_cut = True
            break
        comparison.count(step)
        if on_taken is not None:
            on_taken(step)
        if taken.is_known or taken.queue not in role.inputs:
            continue
        drafts = stepped.step(taken.queue, taken.seq, taken.event, step.now)
        events = _finish(recorded, name, drafts, taken.event) if drafts else []
        if on_step is not None:
            on_step(step, stepped, events)
        for queue, event in events if is_compared else ():
            difference = comparison.take(step, queue, event)
            if difference is not None:
                result.difference = replace(difference, state=stepped.state())
                return result
    comparison.end(is_cut=result.is_cut or not is_compared)
    return result


def _is_beyond(until: Mapping[str, int] | None, queue: str, seq: int) -> bool:
    return until is not None and seq > until.get(queue, seq)


def _finish(
    recorded: Recorded, name: str, drafts: Sequence[Draft], cause: Event
) -> list[tuple[str, Event]]:
    return finish(
        drafts,
        cause,
        run_id=recorded.manifest.run_id,
        role=name,
        cmdline_hash=recorded.manifest.processes[name].cmdline_hash,
    )


class _Comparison:
    """What one role derives beside what it recorded, line by line in each queue."""

    def __init__(self, recorded: Recorded, result: RoleReplay, window: Window) -> None:
        self._codec = recorded.codec
        self._result = result
        self._window = window
        writes = recorded.roles.roles[result.role].writes
        queues = [queue for queue in writes if not recorded.roles.queues[queue].parts]
        self._found: dict[str, LineSource] = {queue: recorded.lines(queue) for queue in queues}
        self._digests = {queue: hashlib.sha256() for queue in queues}
        self._hour = HourReplay()
        self._hour_end = 0
        self.is_inside = False
        result.outputs = dict.fromkeys(queues, 0)

    def count(self, step: LoggedStep) -> None:
        """Note an input."""
        result = self._result
        result.inputs = step.n
        result.now = step.now
        clock = result.clock or step.taken.event.ts
        self.is_inside = clock >= self._window.from_ms
        if not self.is_inside:
            return
        result.compared += 1
        if clock >= self._hour_end:
            hour_ts = clock // HOUR_MS * HOUR_MS
            self._hour = result.hours.setdefault(hour_ts, HourReplay())
            self._hour_end = hour_ts + HOUR_MS
        self._hour.inputs += 1

    def take(self, step: LoggedStep, queue: str, event: Event) -> Difference | None:
        """Compare one derived event with the next recorded line of its queue.

        Before the window only ids are compared: the line has to be that event's, whatever it says.
        """
        result = self._result
        expected = self._codec.encode(queue, event)
        line = self._found[queue].next()
        if line is None:
            result.missing += 1
            return None
        is_equal = line.json == expected if self.is_inside else event.id.encode() in line.json
        if result.missing or not is_equal:
            cause_id = step.taken.event.id
            return Difference(
                result.role, queue, line.seq, step.n, cause_id, expected, line.json, {}
            )
        if self.is_inside:
            result.outputs[queue] += 1
            self._digests[queue].update(expected + b"\n")
            self._hour.outputs[queue] += 1
            self._hour.hash.update(f"{queue}:".encode() + expected + b"\n")
        return None

    def end(self, *, is_cut: bool) -> None:
        """Count what stands beyond the last input; behind the end of a window that is nothing."""
        result = self._result
        for queue, source in self._found.items():
            while not is_cut and source.next() is not None:
                result.unproven += 1
            result.digests[queue] = self._digests[queue].hexdigest()


@dataclass(frozen=True, slots=True)
class Replay:
    """The verdict over a whole run, or over a window of it."""

    run_id: str
    roles: tuple[RoleReplay, ...]
    was_stopped: bool

    @property
    def difference(self) -> Difference | None:
        """The first difference in the time of the run: what others may only follow from."""
        apart = [role for role in self.roles if role.difference is not None]
        apart.sort(key=lambda role: role.clock)
        found = [role.difference for role in apart if role.clock == apart[0].clock]
        ids = b"".join(one.found or b"" for one in found if one is not None)
        for one in found:
            # One whose input is another's differing event was made of it.
            if one is not None and f'"id":"{one.cause_id}"'.encode() not in ids:
                return one
        return found[0] if found else None

    @property
    def is_identical(self) -> bool:
        """True when every derived event stands as recorded, and none stands beside them."""
        missing = sum(role.missing for role in self.roles)
        unproven = sum(role.unproven for role in self.roles)
        return self.difference is None and (self.was_stopped or missing + unproven == 0)

    @property
    def digest(self) -> str:
        """One sha256 over the digests of all derived queues."""
        total = hashlib.sha256()
        for role in self.roles:
            for queue, digest in sorted(role.digests.items()):
                total.update(f"{queue}:{digest}\n".encode())
        return total.hexdigest()


def replay_run(
    run_dir: Path,
    roles: Sequence[str] = CORE_ROLES,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> Replay:
    """Replay strategy, risk and execution of a recorded run, up to the first that differs.

    Args:
        run_dir: The run's folder.
        roles: Some of `CORE_ROLES`.
        progress: Told now and then how many of how many inputs have been taken.

    Raises:
        IntegrityError: A recorded line fails its own hash or chain; `verify` names them all.
    """
    recorded = Recorded.open(run_dir)
    count = Counting(recorded, roles, progress)
    results = []
    for name in roles:
        results.append(replay_role(recorded, name, on_taken=count))
        if results[-1].difference is not None:
            break
    return Replay(recorded.manifest.run_id, tuple(results), is_stopped(recorded))


class Counting:
    """Tells now and then how many of how many inputs have been taken."""

    def __init__(
        self, recorded: Recorded, roles: Sequence[str], progress: Callable[[int, int], None]
    ) -> None:
        self._whole = sum(recorded.published(recorded.roles.roles[name]) for name in roles)
        self._done = 0
        self._progress = progress

    def __call__(self, step: LoggedStep) -> None:
        """Count one input."""
        self._done += 1
        if self._done % PROGRESS_EVERY == 0:
            self._progress(self._done, self._whole)


def is_stopped(recorded: Recorded) -> bool:
    """Return whether the run ended otherwise than planned: no END stands in its journal."""
    try:
        kinds = [
            event.payload.to_json().get("kind")
            for role in recorded.roles.writers("stop_journal")
            if (recorded.queues / "stop_journal" / "parts" / f"{role}.head").exists()
            for _, event in recorded.events(f"stop_journal/parts/{role}")
        ]
    except IntegrityError:
        return True
    return "END" not in kinds
