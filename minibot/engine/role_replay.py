"""Replay of a run's recorded inputs through the same cores, compared byte for byte.

Strategy, risk and execution each get their own logged inputs in their own logged order. The events
that each derives must equal those in its queues, one by one, and there must be no others. In a run
that was stopped, two differences are accepted and counted: derived events that were no longer
written at the end of a queue (`missing`), and lines that follow from inputs after the last logged
range (`unproven`).

A `Window` narrows the comparison, never the inputs: every replay begins at the first input of the
run, because only a state computed here is trusted.
"""

from __future__ import annotations

import hashlib
import importlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, cast

from minibot.cores.comparison import Compared, Comparison, Difference
from minibot.cores.input_order import LoggedStep
from minibot.cores.processor import Processor
from minibot.cores.protocol import Core
from minibot.engine.batched_inputs import Desk, ManyIds, Run, steps_of
from minibot.engine.recorded_run import Recorded
from minibot.engine.replay_rows import Row
from minibot.events.model import Event, JsonObject
from minibot.events.names import STOP_JOURNAL, TICKS
from minibot.events.roles import Roles
from minibot.events.unit_sizes import HOUR_MS
from minibot.kernel.errors import ContractError, IntegrityError
from minibot.kernel.journal import Line

__all__ = [
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

PROGRESS_EVERY: Final = 4096

# The sha256 of an empty sequence of events.
NOTHING: Final = hashlib.sha256().hexdigest()

OnStep = Callable[[LoggedStep, Core, Sequence[tuple[str, Event]]], None]
OnTaken = Callable[[LoggedStep], None]


@dataclass(frozen=True, slots=True)
class Window:
    """Window of a replay's comparison, in Unix ms of market time, both ends included.

    The time of an input is the time of the last `market_ticks` line that its role had taken: it
    never goes back, as the market role writes lines in the order of time, and a fill that follows
    from the input is not booked earlier.
    """

    from_ms: int = 0
    to_ms: int = 10**15

    @property
    def is_whole(self) -> bool:
        """True when the window covers the whole run."""
        return self == WHOLE

    @classmethod
    def hour(cls, hour_ts: int) -> Window:
        """Return the window of one hour of market time."""
        return cls(hour_ts, hour_ts + HOUR_MS - 1)


WHOLE: Final = Window()


@dataclass(slots=True)
class HourReplay:
    """Inputs and outputs of a role in one hour of market time, counted up to a difference."""

    inputs: int = 0
    outputs: Counter[str] = field(default_factory=Counter)
    digest: str = NOTHING


@dataclass(slots=True)
class RoleReplay:
    """Result of replaying one role.

    Attributes:
        inputs: Number of inputs taken; `compared` is the number in the window.
        now: Market time at which it took its last input, Unix ms.
        clock: The `ts` of the last market event that it reached; the window uses this one.
        is_cut: Whether inputs were left, after the window or after `until` of `Taking`.
        missing: Number of derived events without a line in their queue.
        unproven: Number of recorded lines without a logged input that causes them.
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
    """Return a fresh core of a role that has one."""
    module = importlib.import_module(str(Roles.of_project().roles[role].core))
    core: Core = module.core_from_config(config)
    return core


def processor_of(recorded: Recorded, role: str, core: Core | None = None) -> Processor:
    """Return the processor of a recorded role before its first input.

    Args:
        recorded: The run.
        role: One that has a core.
        core: Another core than the recorded profile's.
    """
    manifest = recorded.manifest
    return Processor(
        core_of(role, manifest.config) if core is None else core,
        recorded.roles.roles[role].inputs,
        run_id=manifest.run_id,
        role=role,
        cmdline_hash=manifest.processes[role].cmdline_hash,
    )


class Listener(Protocol):
    """Listener of a replay that takes most inputs in batches."""

    def on_inputs(self, queue: str, first_seq: int, events: Sequence[Event]) -> None:
        """Take consecutive inputs, from line `first_seq` on, before the events of the last one."""
        ...

    def on_made(self, core: Core, events: Sequence[tuple[str, Event]]) -> None:
        """Take the events that a core derived from the last input, if any."""
        ...


def replay_role(
    recorded: Recorded,
    name: str,
    *,
    core: Core | None = None,
    on_step: OnStep | None = None,
    on_taken: OnTaken | None = None,
    listener: Listener | None = None,
    window: Window = WHOLE,
    result: RoleReplay | None = None,
    is_compared: bool = True,
    without: Collection[str] = (),
) -> RoleReplay:
    """Replay one role and compare its derived events with its recorded ones.

    Args:
        recorded: The run.
        name: One that has a core.
        core: Another core than the recorded profile's.
        on_step: Called after each input with the core and the events it derived.
        on_taken: Called before each input, also for a known repeat that is not applied.
        listener: Called with consecutive inputs; many times faster than a call for each.
        window: The time that is compared; no input after its end is taken.
        result: Filled during the replay, so that it is valid even if the record breaks off.
        is_compared: Whether recorded outputs are compared; else the inputs are only taken again.
        without: Types of events that are counted and not processed; none of `market_ticks`.
    """
    found = RoleReplay(name) if result is None else result
    taking = Taking(
        recorded,
        found,
        recorded.desk(),
        0,
        window,
        core=core,
        on_step=on_step,
        on_taken=on_taken,
        listener=listener,
        is_compared=is_compared,
        without=without,
    )
    for _ in taking.turns():
        pass
    return found


class Taking:
    """Pass of one role through its logged inputs.

    Args:
        recorded: The run.
        result: Filled during the pass.
        desk: The desk where the role reads.
        reader: Its number at the desk.
        window, core, on_step, on_taken, listener: As in `replay_role`.
        until: By queue, the last line to take, for a run that is still going.
        is_compared, without: As in `replay_role`.

    Attributes:
        processor: The processor of the role.
    """

    def __init__(
        self,
        recorded: Recorded,
        result: RoleReplay,
        desk: Desk,
        reader: int,
        window: Window = WHOLE,
        until: Mapping[str, int] | None = None,
        *,
        core: Core | None = None,
        on_step: OnStep | None = None,
        on_taken: OnTaken | None = None,
        listener: Listener | None = None,
        is_compared: bool = True,
        without: Collection[str] = (),
    ) -> None:
        self.processor = processor_of(recorded, result.role, core)
        # The ids of plain runs are remembered in batches.
        self._known = self.processor.known = ManyIds()
        self._recorded = recorded
        self._role = recorded.roles.roles[result.role]
        self._result = result
        self._desk = desk
        self._reader = reader
        self._window = window
        self._until = until
        self._on_step = on_step
        self._on_taken = on_taken
        self._listener = listener
        self._is_compared = is_compared
        self._without = without
        self._missing: Difference | None = None  # The first event without a line.
        self._comparison = _RoleComparison(recorded, result, window)
        self._named = recorded.named(self._role)
        self._row = Row(self.processor.core, desk.amounts)

    def turns(self) -> Iterator[None]:
        """Take all inputs, some per turn; stop at the first difference or the end of the window.

        Raises:
            RunStop: The record breaks off, or a core found an impossible state.
        """
        result = self._result
        try:
            for run in self._recorded.runs(self._role, self._desk, self._reader):
                self._take_all(run) if self._is_plain(run) else self._take_each(run)
                if result.difference is not None:
                    return
                if result.is_cut:
                    break
                yield
        finally:
            self._desk.leave(self._reader)
        if not result.is_cut and self._is_compared:
            self._comparison.take_rest(self.processor.core)
        self._comparison.end()

    # --- one by one ---------------------------------------------------------------------------

    def _take_each(self, run: Run) -> None:
        result, processor, codec = self._result, self.processor, self._recorded.codec
        for step in steps_of(run, codec, self._known, processor.now, self._named):
            taken = step.taken
            queue, event = taken.queue, taken.event
            if queue == TICKS:
                result.clock = event.ts
            if result.clock > self._window.to_ms or _is_beyond(self._until, queue, taken.seq):
                result.is_cut = True
                return
            self._comparison.count(step.n, step.now, event.ts)
            if self._on_taken is not None:
                self._on_taken(step)
            if self._listener is not None:
                self._listener.on_inputs(queue, taken.seq, (event,))
            if not processor.admit(taken) or event.type in self._without:
                continue
            events = processor.process(taken, step.now)
            if self._on_step is not None:
                self._on_step(step, processor.core, events)
            if events and not self._compare(step.n, event.id, events):
                return

    def _compare(self, n: int, cause_id: str, events: Sequence[tuple[str, Event]]) -> bool:
        """Compare derived events with the record; return False at a difference."""
        core = self.processor.core
        if self._listener is not None:
            self._listener.on_made(core, events)
        for queue, event in events if self._is_compared else ():
            found = self._comparison.take(queue, event)
            if found.is_equal or (found.is_missing and self._missing is not None):
                continue
            difference = found.difference(self._result.role, queue, n, cause_id, core.state())
            if found.is_missing:
                self._missing = difference
                continue
            # A line for an event after one without a line, even an equal one of another queue,
            # shows that not only ends are missing.
            self._result.difference = self._missing or difference
            return False
        return True

    # --- many at once -------------------------------------------------------------------------

    def _is_plain(self, run: Run) -> bool:
        """Return whether a run consists of market events that need no separate check.

        They are new, decoded, inside the window and of one hour; if so, their ids are remembered.
        """
        if run.queue != TICKS or self._on_step is not None or self._on_taken is not None:
            return False
        first, last = run.lines[0].seq, run.lines[-1].seq
        if self._named or None in run.events or _is_beyond(self._until, TICKS, last):
            return False
        events = cast("list[Event]", run.events)
        times = [event.ts for event in events]
        latest = max(times)
        if latest > self._window.to_ms or min(times) < self._window.from_ms:
            return False
        is_row = last - first + 1 == len(events)
        return (
            is_row
            and self._comparison.is_of_hour(min(times), latest)
            and self._known.admit_all(TICKS, events, run.lines)
        )

    def _take_all(self, run: Run) -> None:
        """Take a plain run, like `_take_each`; count inputs at each one that has an effect."""
        events = cast("list[Event]", run.events)
        now, row = self.processor.now, self._row
        row.begin(events, run.lines[0].seq, max(now.value, run.taken_ts))
        counted = 0
        try:
            while row.at < len(events):
                messages = row.go()
                if messages:
                    now.value, cause = row.now, events[row.at - 1]
                    counted = self._count(run, counted, row.at)
                    derived = self.processor.finalize(messages, cause)
                    if not self._compare(self._result.inputs, cause.id, derived):
                        return
        except BaseException:
            # Up to and including the input that raised.
            now.value = row.now
            self._count(run, counted, max(counted, min(row.at + 1, len(events))))
            raise
        now.value = row.now
        self._count(run, counted, len(events))

    def _count(self, run: Run, first: int, last: int) -> int:
        """Count inputs `first` to `last` (excluded) of a plain run; return `last`."""
        if last > first:
            events = cast("list[Event]", run.events[first:last])
            self._result.clock = events[-1].ts
            self.processor.tick_seq = run.lines[last - 1].seq
            now = self.processor.now.value
            self._comparison.count_many(run.n + last - 1, now, len(events))
            if self._listener is not None:
                self._listener.on_inputs(TICKS, run.lines[first].seq, events)
        return last


def _is_beyond(until: Mapping[str, int] | None, queue: str, seq: int) -> bool:
    return until is not None and seq > until.get(queue, seq)


class _RoleComparison:
    """Comparison of one role's derived events with its record, hashed by queue and hour."""

    def __init__(self, recorded: Recorded, result: RoleReplay, window: Window) -> None:
        self._recorded = recorded
        self._result = result
        self._window = window
        queues = recorded.roles.outputs(result.role)
        sources = {queue: recorded.lines(queue) for queue in queues}
        self._comparison = Comparison(recorded.codec.encode, sources)
        self._digests = {queue: hashlib.sha256() for queue in queues}
        self._hour = HourReplay()
        self._hashes: dict[int, hashlib._Hash] = {}
        self._hour_end = 0
        self.is_inside = False
        result.outputs = dict.fromkeys(queues, 0)

    def count(self, n: int, now: int, ts: int) -> None:
        """Note an input: its number, the market time when it was taken, and its own time."""
        result = self._result
        result.inputs = n
        result.now = now
        clock = result.clock or ts
        self.is_inside = clock >= self._window.from_ms
        if not self.is_inside:
            return
        result.compared += 1
        if clock >= self._hour_end:
            hour_ts = clock // HOUR_MS * HOUR_MS
            self._hour = result.hours.setdefault(hour_ts, HourReplay())
            self._hour_end = hour_ts + HOUR_MS
        self._hour.inputs += 1

    def is_of_hour(self, first: int, last: int) -> bool:
        """Return whether inputs of these times belong to the hour being counted."""
        return first > 0 and last < self._hour_end

    def count_many(self, n: int, now: int, inputs: int) -> None:
        """Note consecutive inputs, all inside the window and the hour being counted."""
        result = self._result
        result.inputs = n
        result.now = now
        self.is_inside = True
        result.compared += inputs
        self._hour.inputs += inputs

    def take(self, queue: str, event: Event) -> Compared:
        """Compare one derived event with the next recorded line of its queue.

        Before the window only ids are compared, not contents.
        """
        result = self._result
        found = self._comparison.take(queue, event, is_id_enough=not self.is_inside)
        result.missing = self._comparison.missing
        if found.is_equal and self.is_inside:
            result.outputs[queue] += 1
            line = found.expected + b"\n"
            self._digests[queue].update(line)
            self._hour.outputs[queue] += 1
            total = self._hashes.setdefault(self._hour_end, hashlib.sha256())
            total.update(f"{queue}:".encode() + line)
            self._hour.digest = total.hexdigest()
        return found

    def take_rest(self, core: Core) -> None:
        """Take the recorded lines without a derived event, after the last input."""
        rest: dict[str, Line] = {}
        for queue, line in self._comparison.rest():
            rest.setdefault(queue, line)
            self._result.unproven += 1
        role = self._recorded.roles.roles[self._result.role]
        taken = self._recorded.logged(role) if rest else {}
        self._result.difference = underived(
            self._recorded, role.name, rest, taken, self._result.inputs, core
        )

    def end(self) -> None:
        """Set the digests."""
        result = self._result
        for queue, digest in self._digests.items():
            result.digests[queue] = digest.hexdigest()


def underived(
    recorded: Recorded,
    name: str,
    rest: Mapping[str, Line],
    taken: Mapping[str, int],
    inputs: int,
    core: Core,
) -> Difference | None:
    """Return the difference of recorded lines without a derived event; None for none.

    Such a line is a difference if the input from which it follows was taken; the queues of derived
    inputs are read to find that out.

    Args:
        recorded: The run.
        name: The role that wrote the lines.
        rest: The first such line of each queue.
        taken: The last line that its core took, by queue.
        inputs: Number of inputs taken.
        core: The core after the last of them.
    """
    for queue, line in rest.items():
        event = recorded.decode(queue, line)
        cause = event.cause_ids[-1] if event.cause_ids else ""
        if _is_taken(recorded, name, cause, event.tick_seq, taken):
            return Difference(name, queue, line.seq, inputs, cause, None, line.json, core.state())
    return None


def _is_taken(
    recorded: Recorded, name: str, cause: str, tick_seq: int | None, taken: Mapping[str, int]
) -> bool:
    for queue in recorded.roles.roles[name].inputs:
        for seq, event in () if queue == TICKS else recorded.events(queue):
            if event.id == cause:
                return seq <= taken.get(queue, 0)
    # Then it is a market event, whose line number is in the events that follow from it.
    return tick_seq is not None and tick_seq <= taken.get(TICKS, 0)


@dataclass(frozen=True, slots=True)
class Replay:
    """Result of replaying a whole run, or a window of it."""

    run_id: str
    roles: tuple[RoleReplay, ...]
    was_stopped: bool

    @property
    def difference(self) -> Difference | None:
        """The first difference by the run's time, from which the others may follow."""
        apart = [role for role in self.roles if role.difference is not None]
        apart.sort(key=lambda role: role.clock)
        found = [role.difference for role in apart if role.clock == apart[0].clock]
        ids = b"".join(one.found or b"" for one in found if one is not None)
        for one in found:
            # A difference follows from another if its input is the other role's differing event.
            if one is not None and f'"id":"{one.cause_id}"'.encode() not in ids:
                return one
        return found[0] if found else None

    @property
    def is_identical(self) -> bool:
        """True when every derived event equals the recorded one, and there are no others.

        In a stopped run events may be missing or unproven; then only a difference counts.
        """
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
    roles: Sequence[str] | None = None,
    progress: Callable[[int, int], None] = lambda done, whole: None,
    without: Collection[str] = (),
) -> Replay:
    """Replay strategy, risk and execution of a recorded run, one role after the other.

    A role ends at its first difference; then the roles after it are not replayed.

    Args:
        run_dir: The run's folder.
        roles: Roles with a core; all by default.
        progress: Called now and then with the number of inputs taken and their total.
        without: As in `replay_role`.

    Raises:
        IntegrityError: A recorded line fails its own hash or chain; `verify` names them all.
    """
    recorded = Recorded.open(run_dir)
    names = recorded.roles.cores if roles is None else roles
    count = Counting(recorded, names, progress)
    results = []
    for name in names:
        results.append(replay_role(recorded, name, listener=count, without=without))
        if results[-1].difference is not None:
            break
    return Replay(recorded.manifest.run_id, tuple(results), is_stopped(recorded))


class Counting:
    """Counter that reports the inputs processed and their total now and then."""

    def __init__(
        self, recorded: Recorded, roles: Sequence[str], progress: Callable[[int, int], None]
    ) -> None:
        self._whole = sum(recorded.published(recorded.roles.roles[name]) for name in roles)
        self._done = 0
        self._progress = progress

    def __call__(self, step: LoggedStep) -> None:
        """Count one input."""
        self._add(1)

    def on_inputs(self, queue: str, first_seq: int, events: Sequence[Event]) -> None:
        """Count consecutive inputs."""
        self._add(len(events))

    def on_made(self, core: Core, events: Sequence[tuple[str, Event]]) -> None:
        """Do nothing: a derived event is not an input."""

    def _add(self, inputs: int) -> None:
        before = self._done // PROGRESS_EVERY
        self._done += inputs
        if self._done // PROGRESS_EVERY > before:
            self._progress(self._done, self._whole)


def is_stopped(recorded: Recorded) -> bool:
    """Return whether the run did not end as planned: its stop journal has no END."""
    try:
        kinds = [
            event.payload.to_json().get("kind")
            for part in recorded.parts(STOP_JOURNAL)
            for _, event in recorded.events(part)
        ]
    except (IntegrityError, ContractError):
        return True
    return "END" not in kinds
