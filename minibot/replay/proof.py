"""Proof of a run within a window: every decision, balance and figure recomputed and compared.

A replay that breaks off (a damaged line, an impossible state) is part of the verdict: up to where
the record was proven, what broke there, and what can still be done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from minibot.engine.bookkeeping import FiguresReplay, LedgerReplay
from minibot.engine.grouped_replay import Broken, Group, Task, replay_group
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import WHOLE, Replay, RoleReplay, Window, is_stopped
from minibot.engine.worker_pool import Workers, default_jobs, result_of
from minibot.events.model import JsonObject
from minibot.kernel.errors import Refusal
from minibot.replay.compare import describe
from minibot.replay.run_status import Lost, RunStatus, called
from minibot.replay.time_arguments import Span

SEALED: Final = "sealed"
# Two processes: the strategy in one, risk and execution, which share their decoding, in the other.
BESIDE: Final = 2
# A run of fewer inputs is replayed before a second process has started.
ALONE_MAX: Final = 200_000


@dataclass(frozen=True, slots=True)
class Proof:
    """The verdict over a run or a window of it."""

    replay: Replay
    condition: RunStatus
    window: Window
    ledger: LedgerReplay | None
    figures: FiguresReplay | None
    broken: Broken | None
    run_dir: Path

    @property
    def digest(self) -> str | None:
        """Digest of the decisions that are as recorded; None where the replay broke off.

        A role ends at its first difference, so that a run that differs has a digest of a part.
        """
        return None if self.broken is not None else self.replay.digest

    @property
    def is_identical(self) -> bool:
        """True when all that was compared is as recorded, and `altered_files` names nothing.

        Queues that no core reads or writes, such as `health`, are not compared.
        """
        return self.broken is None and not self.condition.altered and self.agrees

    @property
    def agrees(self) -> bool:
        """True when no decision, balance or figure differs, as far as the replay came."""
        ledger, figures = self.ledger, self.figures
        return (
            self.replay.is_identical
            and not (ledger is not None and ledger.difference)
            and not (figures is not None and figures.differing)
        )

    def to_json(self) -> JsonObject:
        """Return the verdict as one JSON object."""
        replay, difference = self.replay, self.replay.difference
        return {
            "run_id": replay.run_id,
            "identical": self.is_identical,
            "digest": self.digest,
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
    condition: RunStatus,
    *,
    roles: Sequence[str] | None = None,
    window: Window = WHOLE,
    progress: Callable[[int, int], None] = lambda done, whole: None,
    jobs: int | None = None,
) -> Proof:
    """Replay a run and compare decisions, books and figures; each role up to its first difference.

    Args:
        recorded: The run.
        condition: Its status; of a running run, only inputs that its roles have finished count.
        roles: Roles that have a core, all by default; books and figures need the executor.
        window: The part that is compared.
        progress: Called now and then with the inputs processed and their total, both of this
            process alone.
        jobs: Largest number of processes, of which two are used at most; by default one, and for a
            long run one for each CPU core.
    """
    has_figures = window.is_whole and condition.state == SEALED
    names = recorded.roles.cores if roles is None else tuple(roles)
    whole = Task(recorded.run_dir, names, window, condition.is_running, has_figures)
    groups = _replayed(recorded, whole, jobs, progress)
    results = [result for group in groups for result in group.results]
    breaks = [one for group in groups for one in group.breaks]
    books = next((group for group in groups if group.ledger or group.books_break), Group())
    if not breaks and books.books_break is not None:
        breaks.append(books.books_break)
    if breaks:
        books = Group()
    # The proof of all roles together ends where the first of them broke off.
    broken = min(breaks, key=lambda one: one.clock, default=None)
    replay = Replay(recorded.manifest.run_id, tuple(results), is_stopped(recorded))
    return Proof(replay, condition, window, books.ledger, books.figures, broken, recorded.run_dir)


def _replayed(
    recorded: Recorded, whole: Task, jobs: int | None, progress: Callable[[int, int], None]
) -> list[Group]:
    """Replay all roles here, or the first role of a long run in a second process.

    If that process dies, its role is replayed here, after the others.
    """
    roles = recorded.roles.roles
    inputs = sum(recorded.published(roles[name]) for name in whole.roles)
    if jobs is None:
        jobs = default_jobs() if inputs > ALONE_MAX else 1
    if jobs < BESIDE or len(whole.roles) < BESIDE:
        return [replay_group(whole, progress)]
    with Workers(BESIDE) as workers:
        first = whole._replace(roles=whole.roles[:1])
        beside = workers.begin(replay_group, first)
        here = replay_group(whole._replace(roles=whole.roles[1:]), progress)
        try:
            return [result_of(beside), here]
        except Refusal:  # The other process died, perhaps for lack of memory.
            return [replay_group(first, progress), here]


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
    """Return the remedies for a run whose replay broke off, one sentence each."""
    broken = proof.broken
    if broken is None:
        return []
    run = called(proof.run_dir)
    lines = []
    # The second of the break: `--until` leaves out the time that it names.
    end = broken.clock // 1000 * 1000
    if end > span.from_ms:
        until = span.written(end)
        lines.append(f"what lies before it can be proven: minibot replay {run} --until {until}")
        lines.append(f"and explained, second by second: minibot explain {run} --at TIME")
    lines.append(f"all damage with its places: minibot verify {run}")
    lines.append(f"what depends on it: minibot replay {run} --graph")
    return lines


def lost_line(lost: Lost, span: Span) -> str:
    """Return one sentence: which segment is gone, and up to where the run can be read."""
    text = (
        f"{lost.queue} lacks segment {lost.number} of {lost.of} ({lost.name}, lines "
        f"{lost.from_seq:,} to {lost.to_seq:,})"
    )
    if lost.last_ts is None:
        return f"{text}: nothing before it is left."
    return f"{text}: what is before it ends at {span.clock(lost.last_ts)}."
