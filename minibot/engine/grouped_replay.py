"""Replay of several roles of a run together, in step, so that their common queue is read once.

A group is the part of a proof that one process does. It can be sent to another process and returns
plain values: each role's result, where it broke off, and the books if the executor was among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from minibot.cores.protocol import Core
from minibot.engine.batched_inputs import Desk
from minibot.engine.bookkeeping import Bookkeeper, FiguresReplay, LedgerReplay
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import Counting, RoleReplay, Taking, Window
from minibot.events.model import Event, JsonObject
from minibot.events.names import EXECUTION_ROLE
from minibot.events.reasons import QUEUE_CORRUPT
from minibot.events.unit_sizes import NEVER
from minibot.kernel.errors import RunStop
from minibot.kernel.line import LineError

# Lines by which a role may be ahead of the others: these are kept in memory.
AHEAD_MAX: Final = 2048

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Broken:
    """Break of a replay that could not continue; `clock` is the last market time of its role."""

    role: str
    inputs: int
    clock: int
    reason_code: str
    detail: str

    def to_json(self) -> JsonObject:
        """Return the break as one JSON object."""
        return {
            "role": self.role,
            "inputs": self.inputs,
            "proven_until_ms": self.clock,
            "reason_code": self.reason_code,
            "detail": self.detail,
        }


class Task(NamedTuple):
    """Task of a replay: the run and its roles.

    Attributes:
        roles: Roles with a core; books and figures need the executor.
        window: The time that is compared.
        is_running: Whether the run is still going: then only inputs that its roles have finished
            count.
        has_figures: Whether it ended as planned, so that its figures can be counted again.
    """

    run_dir: Path
    roles: tuple[str, ...]
    window: Window
    is_running: bool
    has_figures: bool


@dataclass(slots=True)
class Group:
    """Results of replaying a group of roles.

    Attributes:
        breaks: The breaks of roles.
        ledger, figures: None if nothing was compared, or the comparison broke off.
        books_break: The break of that comparison.
    """

    results: list[RoleReplay] = field(default_factory=list)
    breaks: list[Broken] = field(default_factory=list)
    ledger: LedgerReplay | None = None
    figures: FiguresReplay | None = None
    books_break: Broken | None = None


def replay_group(task: Task, progress: Progress = lambda done, whole: None) -> Group:
    """Replay roles in step, each up to its first difference or break.

    Args:
        task: The run and its roles.
        progress: Called now and then with the number of inputs taken and their total.

    Raises:
        RunStop: The run's manifest, or the head of a queue that the roles read, is damaged. Damage
            of a line is a `Broken` of each role that meets it.
    """
    recorded = Recorded.open(task.run_dir)
    group = Group()
    count = Counting(recorded, task.roles, progress)
    desk = recorded.desk(len(task.roles))
    seats = []
    for number, name in enumerate(task.roles):
        result = RoleReplay(name)
        group.results.append(result)
        try:
            seats.append(_Seat(recorded, task, result, desk, number, count))
        except (RunStop, LineError) as error:
            desk.leave(number)
            group.breaks.append(_broken(result, error))
    _in_step(seats, group)
    keeper = next((seat.keeper for seat in seats if seat.keeper and seat.is_through), None)
    if keeper is not None:
        _keep_books(task, keeper, group)
    return group


def _in_step(seats: list[_Seat], group: Group) -> None:
    """Let the roles take their inputs, the one furthest behind first."""
    while seats:
        behind = min(seats, key=_tick_seq)
        ahead = min(
            (seat.taking.processor.tick_seq for seat in seats if seat is not behind), default=0
        )
        try:
            is_done = behind.advance(ahead + AHEAD_MAX if len(seats) > 1 else NEVER)
        except (RunStop, LineError) as error:
            group.breaks.append(_broken(behind.result, error))
            is_done = True
        if is_done:
            seats = [seat for seat in seats if seat is not behind]


def _tick_seq(seat: _Seat) -> int:
    return seat.taking.processor.tick_seq


def _keep_books(task: Task, keeper: Bookkeeper, group: Group) -> None:
    """Compare the books, and the figures if the run ended as planned."""
    result = next(each for each in group.results if each.role == EXECUTION_ROLE)
    try:
        group.ledger = keeper.ledger(task.window, result)
        group.figures = keeper.figures() if task.has_figures else None
    except (RunStop, LineError) as error:
        group.books_break = _broken(result, error)


class _Seat:
    """One role of a group; `is_through` after it has ended without a difference."""

    def __init__(
        self,
        recorded: Recorded,
        task: Task,
        result: RoleReplay,
        desk: Desk,
        number: int,
        count: Counting,
    ) -> None:
        role = recorded.roles.roles[result.role]
        until = recorded.positions(role) if task.is_running else None
        self.result = result
        self.keeper = Bookkeeper(recorded) if result.role == EXECUTION_ROLE else None
        self.taking = Taking(recorded, result, desk, number, task.window, until, listener=self)
        self.is_through = False
        self._count = count
        self._turns = self.taking.turns()

    def advance(self, tick_seq: int) -> bool:
        """Take inputs up to a line of `market_ticks`; return whether none are left."""
        for _ in self._turns:
            if self.taking.processor.tick_seq >= tick_seq:
                return False
        self.is_through = self.result.difference is None
        if self.keeper is not None:
            self.keeper.on_made(self.taking.processor.core, ())
        return True

    def on_inputs(self, queue: str, first_seq: int, events: Sequence[Event]) -> None:
        """Count inputs, and add them to the books."""
        self._count.on_inputs(queue, first_seq, events)
        if self.keeper is not None:
            self.keeper.on_inputs(queue, first_seq, events)

    def on_made(self, core: Core, events: Sequence[tuple[str, Event]]) -> None:
        """Book the events that the executor derived."""
        if self.keeper is not None:
            self.keeper.on_made(core, events)


def _broken(result: RoleReplay, error: RunStop | LineError) -> Broken:
    if isinstance(error, RunStop):
        return Broken(result.role, result.inputs, result.clock, error.reason_code, error.detail)
    return Broken(result.role, result.inputs, result.clock, QUEUE_CORRUPT, str(error))
