"""Inputs in batches equal inputs one by one, and a proof by two processes equals one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from minibot.cores.input_order import KNOWN_IDS_MAX, KnownIds, LoggedStep, Now
from minibot.cores.protocol import Core, Input
from minibot.engine import batched_inputs as intake
from minibot.engine.batched_inputs import ManyIds, steps_of
from minibot.engine.grouped_replay import AHEAD_MAX, Task, replay_group
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import WHOLE, Counting, RoleReplay, replay_role
from minibot.events.model import Event, RunOpening
from minibot.events.names import WATCHDOG_ROLE
from minibot.kernel.journal import Line
from minibot.replay.proof import prove
from minibot.replay.run_status import open_run
from tools.golden.fixture import golden_runs

CORE_ROLES = ("strategy_role", "risk_role", "execution_role")

GOLDEN = {one.name: one for one in golden_runs()}


@pytest.fixture(scope="module", params=["crash_run", "faults_run"])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Golden run: one with a crash and restarts, one with faults of the market."""
    return Recorded.open(GOLDEN[request.param].unpack(tmp_path_factory.mktemp("golden")))


@pytest.fixture(scope="module")
def logged(recorded: Recorded) -> Callable[[str], list[LoggedStep]]:
    """Inputs of a role one by one, read once for all sizes of batches."""
    return cache(lambda name: list(recorded.steps(recorded.roles.roles[name])))


def steps_by_runs(recorded: Recorded, name: str) -> list[LoggedStep]:
    """Return the inputs of a role as batches give them."""
    role, known, now = recorded.roles.roles[name], KnownIds(), Now()
    named = recorded.named(role)
    runs = recorded.runs(role, recorded.desk(), 0)
    return [step for run in runs for step in steps_of(run, recorded.codec, known, now, named)]


@pytest.mark.campaign
@pytest.mark.parametrize("role", CORE_ROLES)
@pytest.mark.parametrize("most", [1, 7, 1024])
def test_runs_are_the_logged_steps(
    role: str,
    most: int,
    recorded: Recorded,
    logged: Callable[[str], list[LoggedStep]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Batches have number, queue, line, event, market time and repeats of the logged steps."""
    monkeypatch.setattr(intake, "LINES_MAX", most)
    expected = logged(role)

    assert steps_by_runs(recorded, role) == expected
    assert len(expected) > 1000


def test_role_that_left_before_a_reading_began_keeps_no_piece_of_it(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reading forgets what the other reader has gone past, so that memory stays flat."""
    monkeypatch.setattr(intake, "LINES_MAX", 7)
    desk = recorded.desk(readers=2)
    desk.leave(1)
    reading = desk.reading("market_ticks", is_shared=True)

    for number in range(9):
        assert reading.piece(number, 0) is not None

    assert len(reading._pieces) == 1


@pytest.mark.parametrize("role", CORE_ROLES)
def test_a_listener_changes_nothing_of_a_replay(role: str, recorded: Recorded) -> None:
    """A listener changes no count, hour, digest or time of a replay."""
    each, many = RoleReplay(role), RoleReplay(role)
    replay_role(recorded, role, result=each, on_taken=lambda step: None)
    replay_role(recorded, role, result=many, listener=Counting(recorded, (role,), _silent))

    assert many == each
    assert many.difference is None
    assert many.inputs > 1000


class Noting(Core):
    """Core that notes the types of control events and says nothing."""

    def __init__(self) -> None:
        self.types: list[str] = []

    def process(self, item: Input, seq: int, now: int) -> None:
        """Note an event of the watchdog."""
        if isinstance(item, Event) and item.source == WATCHDOG_ROLE:
            self.types.append(item.type)


@pytest.mark.parametrize("role", CORE_ROLES)
def test_type_that_a_replay_leaves_out_is_counted_and_reaches_no_core(
    role: str, recorded: Recorded
) -> None:
    """A replay without the openings of runs gives its core all other events of the watchdog."""
    whole, less = Noting(), Noting()
    left_out = {RunOpening.TYPE}
    every = replay_role(recorded, role, core=whole, is_compared=False)
    fewer = replay_role(recorded, role, core=less, is_compared=False, without=left_out)

    assert fewer == every
    assert less.types == [kind for kind in whole.types if kind not in left_out]
    assert left_out.intersection(whole.types)


@pytest.mark.process
def test_a_proof_by_two_processes_is_that_by_one(recorded: Recorded) -> None:
    """A proof by two processes equals one process's, books and figures included."""
    condition = open_run(recorded.run_dir)[1]
    one = prove(recorded, condition, jobs=1)
    two = prove(recorded, condition, jobs=2)

    assert two == one
    assert two.to_json() == one.to_json()
    assert two.is_identical


def test_roles_in_step_hold_little_of_the_queue_that_they_share(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roles replayed in step hold little of a shared queue: the fastest one waits."""
    monkeypatch.setattr(intake, "LINES_MAX", 16)
    held = 0
    take = intake.Reading.piece

    def piece(self: intake.Reading, number: int, reader: int) -> intake.Piece | None:
        nonlocal held
        found = take(self, number, reader)
        held = max(held, len(self._pieces))
        return found

    monkeypatch.setattr(intake.Reading, "piece", piece)
    group = replay_group(Task(recorded.run_dir, CORE_ROLES, WHOLE, False, True))

    assert not group.breaks
    assert held <= AHEAD_MAX // 16 + 64


def test_many_ids_are_known_as_they_are_one_by_one() -> None:
    """Many ids are judged known like single ones, within the window of recent ids."""
    many, single = ManyIds(), KnownIds()
    for first in range(0, 3 * KNOWN_IDS_MAX, 700):
        events = [_event(f"id{n}") for n in range(first, first + 700)]
        lines = [Line(n, 0, b"{%d}" % n) for n in range(first, first + 700)]
        assert many.admit_all("q", events, lines)
        for event, line in zip(events, lines, strict=True):
            assert single.admit("q", event.id, line.json)
        assert many.state() == single.state()
    before = many.state()

    known = [_event("new"), events[-1]]
    assert not many.admit_all("q", known, lines[:2])
    assert not many.admit_all("q", [_event("x"), _event("x")], lines[:2])
    assert many.state() == before


def _event(name: str) -> Event:
    return Event(1, name, "market_role", "r", "0", None)  # type: ignore[arg-type]


def _silent(done: int, whole: int) -> None:
    """Listener that ignores everything."""
