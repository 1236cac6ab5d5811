"""The proof of a run: every decision made again, and what it owned and counted, within a window.

What stands in the way of a replay half-way (a damaged line, a state that cannot be) is part of the
verdict: up to where the record was proven, what broke there, and what can still be done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minibot.events.model import JsonObject
from minibot.events.order import LoggedStep
from minibot.kernel.errors import RunStop
from minibot.kernel.line import LineError
from minibot.replay.bookkeeping import Bookkeeper, FiguresReplay, LedgerReplay
from minibot.replay.compare import describe
from minibot.replay.condition import Condition, Lost
from minibot.replay.engine import (
    CORE_ROLES,
    WHOLE,
    Counting,
    Replay,
    RoleReplay,
    Window,
    is_stopped,
    replay_role,
)
from minibot.replay.moments import Span
from minibot.replay.recorded import Recorded

EXECUTION = "execution_role"
SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class Broken:
    """Where a replay could not go on; `clock` is the last market time that its role came to."""

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


@dataclass(frozen=True, slots=True)
class Proof:
    """The verdict over a run or a window of it."""

    replay: Replay
    condition: Condition
    window: Window
    ledger: LedgerReplay | None
    figures: FiguresReplay | None
    broken: Broken | None

    @property
    def is_identical(self) -> bool:
        """True when everything that was compared stands as recorded."""
        ledger, figures = self.ledger, self.figures
        return (
            self.broken is None
            and self.replay.is_identical
            and not (ledger is not None and ledger.difference)
            and not (figures is not None and figures.differing)
        )

    def to_json(self) -> JsonObject:
        """Return the verdict as one JSON object."""
        replay, difference = self.replay, self.replay.difference
        return {
            "run_id": replay.run_id,
            "identical": self.is_identical,
            "digest": replay.digest,
            "state": self.condition.state,
            "notices": list(self.condition.notices),
            "window": None
            if self.window.is_whole
            else {"from_ms": self.window.from_ms, "to_ms": self.window.to_ms},
            "roles": [role_json(role) for role in replay.roles],
            "ledger": None if self.ledger is None else self.ledger.to_json(),
            "figures": None if self.figures is None else self.figures.to_json(),
            "broken": None if self.broken is None else self.broken.to_json(),
            "difference": None if difference is None else describe(difference),
        }


def prove(
    recorded: Recorded,
    condition: Condition,
    *,
    roles: Sequence[str] = CORE_ROLES,
    window: Window = WHOLE,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> Proof:
    """Replay a run and compare decisions, books and figures; each role up to its first difference.

    Args:
        recorded: The run.
        condition: How it stands; of one that is still going only what its roles are done with is
            taken.
        roles: Some of `CORE_ROLES`; books and figures need the executor.
        window: What is compared.
        progress: Told now and then how many of how many inputs have been taken.
    """
    count = Counting(recorded, roles, progress)
    results: list[RoleReplay] = []
    books: tuple[Bookkeeper, RoleReplay] | None = None
    breaks: list[Broken] = []
    for name in roles:
        result = RoleReplay(name)
        results.append(result)
        try:
            keeper = _replay(recorded, condition, window, count, result)
        except (RunStop, LineError) as error:
            breaks.append(_broken(result, error))
            continue
        if keeper is not None and result.difference is None:
            books = keeper, result
    ledger = figures = None
    if books is not None and not breaks:
        try:
            ledger, figures = _kept(*books, window, condition)
        except (RunStop, LineError) as error:
            breaks.append(_broken(books[1], error))
    # What every role can prove ends where the first of them broke off.
    broken = min(breaks, key=lambda one: one.clock, default=None)
    replay = Replay(recorded.manifest.run_id, tuple(results), is_stopped(recorded))
    return Proof(replay, condition, window, ledger, figures, broken)


def _kept(
    keeper: Bookkeeper, result: RoleReplay, window: Window, condition: Condition
) -> tuple[LedgerReplay, FiguresReplay | None]:
    """Compare the books, and of a run that ended as planned its figures."""
    is_ended = window.is_whole and condition.state == SEALED
    return keeper.ledger(window, result), keeper.figures() if is_ended else None


def _replay(
    recorded: Recorded, condition: Condition, window: Window, count: Counting, result: RoleReplay
) -> Bookkeeper | None:
    """Replay one role; return the books that the executor filled."""
    role = recorded.roles.roles[result.role]
    until = recorded.positions(role) if condition.is_running else None
    if result.role != EXECUTION:
        replay_role(
            recorded, result.role, on_taken=count, window=window, until=until, result=result
        )
        return None
    keeper = Bookkeeper(recorded)

    def on_taken(step: LoggedStep) -> None:
        count(step)
        keeper.on_taken(step)

    replay_role(
        recorded,
        result.role,
        on_taken=on_taken,
        on_step=keeper.on_step,
        window=window,
        until=until,
        result=result,
    )
    return keeper


def _broken(result: RoleReplay, error: RunStop | LineError) -> Broken:
    if isinstance(error, RunStop):
        return Broken(result.role, result.inputs, result.clock, error.reason_code, error.detail)
    return Broken(result.role, result.inputs, result.clock, "QUEUE_CORRUPT", str(error))


def role_json(role: RoleReplay) -> JsonObject:
    """Return the replay of one role as one JSON object."""
    return {
        "role": role.role,
        "inputs": role.inputs,
        "compared": role.compared,
        "outputs": role.outputs,
        "missing": role.missing,
        "unproven": role.unproven,
        "digests": role.digests,
    }


def remedies(proof: Proof, span: Span) -> list[str]:
    """Return what can still be done with a run whose replay broke off, one sentence each."""
    broken = proof.broken
    if broken is None:
        return []
    run_id = proof.replay.run_id
    said = []
    # Up to, and without, the second of the break.
    end = broken.clock // 1000 * 1000
    if end > span.from_ms:
        until = span.clock(end).partition(".")[0]
        said.append(f"what lies before it can be proven: minibot replay {run_id} --until {until}")
    said.append(f"all damage with its places: minibot verify {run_id}")
    said.append(f"what depends on it: minibot replay {run_id} --graph")
    return said


def lost_line(lost: Lost, span: Span) -> str:
    """Return in one sentence which segment is gone and up to where the run can be read."""
    said = (
        f"{lost.queue} lacks segment {lost.number} of {lost.of} ({lost.name}, lines "
        f"{lost.from_seq:,} to {lost.to_seq:,})"
    )
    if lost.last_ts is None:
        return f"{said}: nothing before it is left."
    return f"{said}: what is before it ends at {span.clock(lost.last_ts)}."
