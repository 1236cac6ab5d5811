"""Joint replay of the three cores in recorded order: only root events come from the record.

`engine.role_replay` gives each core its recorded inputs. Here a core gets only root events from the
record; signals, intents, results and fills are those that the other cores have just derived. Each
core takes its inputs in its own logged order and at its own logged time, and waits for inputs that
are not derived yet. The derived events must equal those in the run's queues, byte for byte: then
backtest and night are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from minibot.cores.comparison import Comparison, Difference
from minibot.cores.input_order import LoggedStep
from minibot.cores.protocol import Core
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import PROGRESS_EVERY, is_stopped, processor_of, underived
from minibot.events.model import Event
from minibot.events.names import TICKS
from minibot.kernel.journal import Line

Progress = Callable[[int, int], None]


class Intake(NamedTuple):
    """Lateness of an input at its role, in market events and in milliseconds.

    Rule order has neither: there a role takes an event right after the market event from which it
    follows, at the event's own time.
    """

    lag: int
    delay_ms: int


@dataclass(frozen=True, slots=True)
class Made:
    """One event that a core derived, with the input that caused it.

    `at_tick` is the number of market events that the role had taken then.
    """

    queue: str
    seq: int
    event: Event
    role: str
    intake: Intake
    at_tick: int


@dataclass(slots=True)
class QueueReplay:
    """Comparison of one queue with its record: equal events, and those on one side only."""

    same: int = 0
    missing: int = 0
    unproven: int = 0
    difference: Difference | None = None


@dataclass(slots=True)
class Together:
    """Decisions of the cores in the recorded order of the night, compared with the record.

    Attributes:
        made: The derived events, ordered by `at_tick`, then as they were derived.
        queues: Comparisons by derived queue.
        intakes: Lateness by role and id of a derived input.
        inputs: Total number of inputs of the roles.
        stuck: Sentence on why the cores could not finish; empty if they did.
    """

    run_id: str
    was_stopped: bool
    made: list[Made] = field(default_factory=list)
    queues: dict[str, QueueReplay] = field(default_factory=dict)
    intakes: dict[tuple[str, str], Intake] = field(default_factory=dict)
    inputs: int = 0
    stuck: str = ""

    @property
    def difference(self) -> Difference | None:
        """The first difference, by queue."""
        return next((one.difference for one in self.queues.values() if one.difference), None)

    @property
    def is_identical(self) -> bool:
        """True when every event equals the recorded one, there are no others, and none got stuck.

        In a stopped run events may be missing or unproven, and a core stuck; then only a difference
        counts.
        """
        beside = sum(one.missing + one.unproven for one in self.queues.values())
        if self.difference is not None:
            return False
        return self.was_stopped or (beside == 0 and not self.stuck)


def run_together(
    recorded: Recorded,
    progress: Progress = lambda done, whole: None,
    cores: Mapping[str, Core] | None = None,
) -> Together:
    """Run the cores of a recorded night together, up to the first event that differs.

    Args:
        recorded: The run.
        progress: Called now and then with the progress.
        cores: Fresh cores of the run's profile, for a caller that inspects them.

    Raises:
        IntegrityError: A recorded line fails its own hash or chain.
    """
    table = _Table(recorded, progress, cores or {})
    table.run()
    return table.result


class _Seat:
    """One core with its logged inputs.

    Attributes:
        waiting: The next input; None before it is read.
        taken: The last line that the core took, by queue.
    """

    def __init__(self, recorded: Recorded, name: str, core: Core | None) -> None:
        self.name = name
        self.processor = processor_of(recorded, name, core)
        self.waiting: LoggedStep | None = None
        self.taken: dict[str, int] = {}
        self._steps: Iterator[LoggedStep] = recorded.steps(recorded.roles.roles[name])

    def look(self) -> LoggedStep | None:
        """Return the next logged input, without taking it."""
        if self.waiting is None:
            self.waiting = next(self._steps, None)
        return self.waiting


class _Queue:
    """A derived queue as it grows, with the same queue as recorded."""

    def __init__(self, recorded: Recorded, name: str) -> None:
        self.made: dict[int, Event] = {}
        self.compared = QueueReplay()
        source = recorded.lines(name)
        self.comparison = Comparison(recorded.codec.encode, {name: source}, skips_repeats=True)


class _Table:
    """The state of one pass."""

    def __init__(self, recorded: Recorded, progress: Progress, cores: Mapping[str, Core]) -> None:
        self._recorded = recorded
        self._progress = progress
        self.result = Together(recorded.manifest.run_id, is_stopped(recorded))
        self._seats = [_Seat(recorded, name, cores.get(name)) for name in recorded.roles.cores]
        names = [queue for seat in self._seats for queue in recorded.roles.outputs(seat.name)]
        self._queues = {queue: _Queue(recorded, queue) for queue in names}
        roles = recorded.roles
        self._whole = sum(recorded.published(roles.roles[seat.name]) for seat in self._seats)

    def run(self) -> None:
        """Let each core process what it can, repeatedly, until none can continue."""
        is_going = True
        while is_going and self.result.difference is None:
            is_going = any([self._go(seat) for seat in self._seats])
        for name, queue in self._queues.items():
            self.result.queues[name] = queue.compared
        if self.result.difference is None:
            for seat in self._seats:
                self._take_rest(seat)
        self._note_stuck()
        # Ordered by each role's position in the market, which keeps the order of each queue.
        self.result.made.sort(key=lambda made: made.at_tick)

    def _take_rest(self, seat: _Seat) -> None:
        """Take the recorded events of a role that its core did not derive."""
        for name in self._recorded.roles.outputs(seat.name):
            queue, core = self._queues[name], seat.processor.core
            rest: dict[str, Line] = {}
            for _, line in queue.comparison.rest():
                rest.setdefault(name, line)
                queue.compared.unproven += 1
            queue.compared.difference = underived(
                self._recorded, seat.name, rest, seat.taken, self.result.inputs, core
            )

    def _go(self, seat: _Seat) -> bool:
        """Process the inputs that one core can take now; return whether there was one."""
        has_taken = False
        while self.result.difference is None and (step := seat.look()) is not None:
            event = self._event(step)
            if event is None:
                break
            seat.waiting, has_taken = None, True
            seat.taken[step.taken.queue] = step.taken.seq
            self.result.inputs += 1
            if self.result.inputs % PROGRESS_EVERY == 0:
                self._progress(self.result.inputs, self._whole)
            if seat.processor.admit(step.taken):
                self._step(seat, step, event)
        return has_taken

    def _event(self, step: LoggedStep) -> Event | None:
        """Return the event of a logged input: a recorded root event, or a derived one."""
        taken = step.taken
        if taken.is_known or taken.queue not in self._queues:
            return taken.event
        return self._queues[taken.queue].made.get(taken.seq)

    def _step(self, seat: _Seat, step: LoggedStep, event: Event) -> None:
        taken, tick_seq = step.taken, seat.processor.tick_seq
        if taken.queue == TICKS:
            intake = Intake(0, step.now - event.ts)
        else:
            back_to = tick_seq if event.tick_seq is None else event.tick_seq
            intake = Intake(tick_seq - back_to, step.now - event.ts)
            self.result.intakes[seat.name, event.id] = intake
        for out, derived in seat.processor.process(taken._replace(event=event), step.now):
            self._add(seat, step, out, derived, intake)

    def _add(self, seat: _Seat, step: LoggedStep, out: str, event: Event, intake: Intake) -> None:
        queue, processor = self._queues[out], seat.processor
        found = queue.comparison.take(out, event)
        queue.made[found.seq] = event
        made = Made(out, found.seq, event, seat.name, intake, processor.tick_seq)
        self.result.made.append(made)
        compared = queue.compared
        if found.is_missing:
            compared.missing += 1
        elif found.is_equal:
            compared.same += 1
        elif compared.difference is None:
            cause, state = step.taken.event.id, processor.core.state()
            compared.difference = found.difference(seat.name, out, step.n, cause, state)

    def _note_stuck(self) -> None:
        for seat in self._seats:
            step = seat.waiting
            if step is not None and self.result.difference is None:
                where = f"{step.taken.queue}:{step.taken.seq}"
                self.result.stuck = f"{seat.name} took {where}, which the cores have not made"
                return
