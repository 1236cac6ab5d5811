"""Supervision loop: requests, flags, checks and planned ends, without a market."""

from __future__ import annotations

import _thread
import errno
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from minibot.events.model import Halt, RunEnding
from minibot.kernel import canonical
from minibot.kernel.cursor import cursor_json
from minibot.kernel.errors import RunStop
from minibot.kernel.files import DISK_CALLS, FILES, Access, read_hashed, write_hashed
from minibot.kernel.position import Position
from minibot.runtime.clock import suspend_ns
from minibot.runtime.configuration.config_sections import Chaos
from minibot.runtime.context import Output, RoleContext
from minibot.runtime.fault_injection import PlantedFaults
from minibot.runtime.request_file import leave_request
from minibot.runtime.stop import OPERATOR, StopRecord, arm, raise_flag, raise_operators_flag
from minibot.watchdog import checks, supervision_loop
from minibot.watchdog import child as child_module
from minibot.watchdog import feed as feed_module
from minibot.watchdog import supervisor as supervisor_module
from minibot.watchdog.background import Background
from minibot.watchdog.checks import ClockCheck, CursorCheck, DiskCheck, PauseCheck, PinnedCheck
from minibot.watchdog.child import Child
from minibot.watchdog.ending import BEAT_GRACE_MARKET_MS, Phase, PlannedEnd
from minibot.watchdog.feed import LiveFeed
from minibot.watchdog.launcher import _Launch
from minibot.watchdog.ops_process import OPS_SILENT_MS, OpsProcess
from minibot.watchdog.requests import END, KILL, control_payload, take_requests
from minibot.watchdog.spawn import spawn_table
from minibot.watchdog.status_file import StatusFile
from minibot.watchdog.supervision_loop import ECHO_NS, HANG_UP, SupervisionLoop
from minibot.watchdog.supervisor import DiskLeases, Supervisor
from tests.waiting import DEADLINE_S, wait_until
from tests.watchdog.watchdog_stage import RUN_ID, START_TS, Stage

pytestmark = pytest.mark.process

NEVER = 10**15
CLOSE_MS = 1000  # How long before a planned end no entry is allowed.
SHORT = (f"portfolio.close_market_ms={CLOSE_MS}",)


# Length of a turn, whether it is in a disk call, and whether leases are sent beside it.
LEASES = [(0, True, True), (30_000, True, True), (30_001, True, False), (0, False, False)]


class Calm:
    """Stand-in for the second thread where a test needs none."""

    failure: StopRecord | None = None
    live: Any = None


class Scene:
    """Supervision loop over actors, with everything but a market."""

    def __init__(
        self,
        root: Path,
        hows: dict[str, str],
        planned_ts: int = NEVER,
        *,
        has_clock: bool = True,
    ) -> None:
        self.stage = Stage(root, SHORT, has_clock=has_clock)
        self.context: RoleContext = self.stage.context()
        self.control: Output = self.context.open_output("control")
        self.interrupts: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.supervisor = Supervisor(self.context, self.stage.actors(hows))
        self.end = PlannedEnd(
            self.context, self.control, self.supervisor, planned_ts, "DURATION_REACHED"
        )
        self.desk = SupervisionLoop(
            self.context,
            self.supervisor,
            self.end,
            self.control,
            None,
            LiveFeed(()),
            self.interrupts,
            self.stage.run_files,
        )
        self.calm = Calm()
        self.supervisor.start()

    def supervise(self) -> StopRecord | None:
        """Run the loop until the run has ended; fail if it never does."""
        late = StopRecord("test", "INVARIANT_BROKEN", "the run never ended")
        alarm = threading.Timer(DEADLINE_S, lambda: setattr(self.calm, "failure", late))
        alarm.daemon = True
        alarm.start()
        try:
            return self.desk.supervise(cast(Background, self.calm))
        finally:
            alarm.cancel()

    def close(self) -> None:
        """End everything that the scene started."""
        for child in self.supervisor.children.values():
            child.kill()
            child.wait(5.0)
        self.context.close_outputs()


@pytest.fixture
def scenes() -> Iterator[list[Scene]]:
    """Factory of scenes, whose processes end with the test."""
    made: list[Scene] = []
    yield made
    for scene in made:
        scene.close()


def staged(
    scenes: list[Scene], root: Path, hows: dict[str, str] | None = None, **kept: Any
) -> Scene:
    """Return a scene that is closed after the test."""
    scenes.append(Scene(root, hows or {}, **kept))
    return scenes[-1]


# --- ends ---------------------------------------------------------------------------------------


def test_planned_end_is_announced_ahead_and_drains_upstream_first(
    tmp_path: Path, scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planned end is announced with its moment; then all roles drain, market first."""
    planned_ts = START_TS + 60_000
    scene = staged(scenes, tmp_path / "var", planned_ts=planned_ts)
    phases = []
    for now_ts in (planned_ts - CLOSE_MS - 1, planned_ts - CLOSE_MS):
        monkeypatch.setattr(scene.context.clock, "now_ms", lambda now=now_ts: now)
        assert scene.end.step() is None
        phases.append(scene.end.phase)
    monkeypatch.setattr(scene.context.clock, "now_ms", lambda: planned_ts + BEAT_GRACE_MARKET_MS)

    assert scene.supervise() is None

    assert phases == [Phase.RUNNING, Phase.CLOSING]
    ending = scene.stage.envelopes("control")[0]
    assert ending["type"] == RunEnding.TYPE
    assert ending["payload"]["why"] == "DURATION_REACHED"
    assert ending["payload"]["until_ts"] == planned_ts
    assert ending["ts"] == planned_ts - CLOSE_MS
    assert scene.desk.end_record().detail == "planned by the profile"
    assert scene.end.phase is Phase.DRAINED
    assert {child.exit_code() for child in scene.supervisor.children.values()} == {0}


def test_end_names_the_exit_that_an_open_position_waits_for(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    """Execution tells what is open, and risk for what reason it is to be left, if at all."""
    silent = {"execution_role": "silent", "risk_role": "silent"}
    scene = staged(scenes, tmp_path / "var", silent)
    held = [{"symbol": symbol, "qty": "1"} for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT")]
    exits = {"BTCUSDT": {"stop": "1"}, "ETHUSDT": {"stop": None, "leaving": "operator_exit"}}
    children = scene.supervisor.children
    children["execution_role"].heartbeat = {"facts": {"open_positions": held}}
    children["risk_role"].heartbeat = {"facts": {"exits": exits}}

    assert scene.desk.end_record().open_positions == (
        held[0],
        held[1] | {"leaving": "operator_exit"},
        held[2],
    )


def test_operator_ends_a_run_that_holds_nothing_before_the_time_is_up(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    """A first Ctrl-C ends a run without positions early, with the operator's code."""
    scene = staged(scenes, tmp_path / "var")
    scene.interrupts.put("SIGINT")

    assert scene.supervise() is None
    assert scene.end.reason_code == "OPERATOR"
    assert scene.end.detail == "a signal to the launcher: SIGINT"


def test_end_says_who_asked_for_it_and_why(tmp_path: Path, scenes: list[Scene]) -> None:
    """The END has the operator's name and reason from the request."""
    scene = staged(scenes, tmp_path / "var")
    run_id = scene.context.run_id
    leave_request(scene.context.var.requests, run_id, END, who="anna", why="enough")

    assert scene.supervise() is None
    assert scene.desk.end_record().detail == "anna: enough"


@pytest.mark.parametrize(
    ("risk_s", "execution_s", "is_closed"),
    [(3600, 3600, True), (0, 3600, False), (3600, 0, False)],
)
def test_operators_end_waits_until_risk_and_execution_knew_of_it_and_held_nothing(
    tmp_path: Path, scenes: list[Scene], risk_s: int, execution_s: int, is_closed: bool
) -> None:
    """An operator's end waits for health written after the announcement, with no position."""
    hows = {
        "risk_role": f"flat {START_TS + risk_s * 1000}",
        "execution_role": f"flat {START_TS + execution_s * 1000}",
    }
    scene = staged(scenes, tmp_path / "var", hows)
    scene.end._close_ms = 3_600_000  # Long enough that time alone ends nothing here.
    scene.end.begin_by_operator("a test", "enough")
    begun_ts = scene.context.clock.now_ms()
    children = scene.supervisor.children
    wait_until(lambda: all(children[name].heartbeat for name in hows), "heartbeats")
    wait_until(
        lambda: scene.context.clock.now_ms() >= begun_ts + BEAT_GRACE_MARKET_MS, "the last beat"
    )

    assert scene.end._is_closed() == is_closed


@pytest.mark.row("N-20", "F62")
@pytest.mark.parametrize("role", ["market_role", "execution_role", "ai_role"])
def test_role_that_crashed_just_before_its_drain_comes_back_and_drains(
    tmp_path: Path, scenes: list[Scene], role: str
) -> None:
    """A role that crashed right before its drain is restarted and drains."""
    scene = staged(scenes, tmp_path / "var")
    child = scene.supervisor.children[role]
    wait_until(lambda: child.heartbeat, "a heartbeat")
    child.kill()
    assert child.wait(DEADLINE_S)
    scene.end.phase = Phase.DRAINING

    wait_until(lambda: scene.end.step() or scene.end.phase is Phase.DRAINED, "the end")

    assert scene.end.phase is Phase.DRAINED
    ended = {name: each.exit_code() for name, each in scene.supervisor.children.items()}
    assert ended == dict.fromkeys(ended, 0) | ({role: -9} if role == "ai_role" else {})


def test_role_that_does_not_drain_is_hung(tmp_path: Path, scenes: list[Scene]) -> None:
    """A role that does not drain within the limit is a STOP."""
    scene = staged(scenes, tmp_path / "var", {"risk_role": "undrainable"})
    begin_drain = scene.supervisor.begin_drain

    def drain(name: str) -> None:
        if name == "risk_role":  # The others have the whole time of a drain.
            object.__setattr__(scene.context.config.watchdog, "drain_ms_max", 300)
        begin_drain(name)

    scene.supervisor.begin_drain = drain  # type: ignore[method-assign]
    scene.interrupts.put("SIGTERM")

    record = scene.supervise()

    assert record is not None
    assert (record.reason_code, record.detail) == ("ROLE_HUNG", "risk_role does not drain")


def test_ai_that_does_not_drain_is_switched_off_on_record(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    """An AI that does not drain within the limit is killed with an incident; the others drain."""
    scene = staged(scenes, tmp_path / "var", {"ai_role": "undrainable"})
    begin_drain = scene.supervisor.begin_drain

    def drain(name: str) -> None:
        limit_ms = 300 if name == "ai_role" else 60_000
        object.__setattr__(scene.context.config.watchdog, "drain_ms_max", limit_ms)
        begin_drain(name)

    scene.supervisor.begin_drain = drain  # type: ignore[method-assign]
    scene.interrupts.put("SIGTERM")

    assert scene.supervise() is None

    scene.context.sync_parts(now=True)
    rows = scene.stage.envelopes("incidents", "watchdog_role")
    assert [event["payload"]["kind"] for event in rows] == ["AI_OFF"]
    assert "does not drain" in rows[0]["payload"]["detail"]


@pytest.mark.row("N-20")
def test_role_that_is_frozen_while_it_drains_is_hung_long_before_the_limit_of_a_drain(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    """A role frozen while it drains is hung before the drain's limit."""
    scene = staged(scenes, tmp_path / "var", {})
    wait_until(scene.supervisor.are_all_there, "all roles")
    psutil.Process(scene.supervisor.children["market_role"].pid).suspend()
    scene.interrupts.put("SIGINT")

    record = scene.supervise()

    assert record is not None
    assert record.reason_code == "ROLE_HUNG"
    assert record.detail.startswith("market_role froze while it drained")


@pytest.mark.row("N-20", "F62")
def test_role_that_crashes_while_draining_comes_back_and_drains(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    """A role that crashes while draining is restarted and drains."""
    scene = staged(scenes, tmp_path / "var", {"execution_role": "dies_once"})
    scene.interrupts.put("SIGINT")

    assert scene.supervise() is None

    execution = scene.supervisor.children["execution_role"]
    assert (execution.exit_code(), len(execution.restarts_ns)) == (0, 1)


@pytest.mark.row("N-88", "F72")
def test_second_interrupt_is_a_kill_on_record(tmp_path: Path, scenes: list[Scene]) -> None:
    """A second interrupt is a kill on record."""
    scene = staged(scenes, tmp_path / "var")
    scene.interrupts.put("SIGINT")
    scene.interrupts.put("SIGINT")

    record = scene.supervise()

    assert record is not None
    assert record.reason_code == "OPERATOR_KILL"
    assert scene.stage.var.flag.exists()
    stops = scene.stage.envelopes("stop_journal", "watchdog_role")
    assert [stop["payload"]["reason_code"] for stop in stops] == ["OPERATOR_KILL"]


@pytest.mark.row("N-88", "F72")
def test_first_interrupt_after_minibot_stop_confirms_the_end_and_the_second_kills(
    tmp_path: Path, scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `minibot stop` the first interrupt says that the run ends; the second is a kill."""
    scene = staged(scenes, tmp_path / "var")
    calm = cast(Background, scene.calm)
    lines: list[str] = []
    monkeypatch.setattr(scene.desk.feed, "print_line", lines.append)
    leave_request(scene.context.var.requests, RUN_ID, END, who="anna", why="enough")
    assert scene.desk._look(calm) is None
    assert scene.end.phase is Phase.CLOSING
    assert lines == []

    scene.interrupts.put("SIGINT")
    assert scene.desk._look(calm) is None
    assert len(lines) == 1
    scene.interrupts.put("SIGINT")
    record = scene.supervise()

    assert record is not None
    assert record.reason_code == "OPERATOR_KILL"
    assert "second" in record.detail
    assert scene.end.detail == "anna: enough"


@pytest.mark.row("N-88", "F72")
@pytest.mark.parametrize(
    "names",
    [("SIGHUP", "SIGHUP"), ("SIGTERM", "SIGHUP"), ("SIGHUP", "SIGTERM"), ("SIGTERM", "SIGTERM")],
)
def test_terminal_or_session_that_closes_ends_the_run_in_order(
    tmp_path: Path, scenes: list[Scene], names: tuple[str, str]
) -> None:
    """A closing terminal tells its group twice, a closing session by two signals: no kill."""
    scene = staged(scenes, tmp_path / "var")
    for name in names:
        scene.interrupts.put(name)

    assert scene.desk._look(cast(Background, scene.calm)) is None
    assert scene.end.phase is Phase.CLOSING
    assert scene.end.reason_code == "OPERATOR"


@pytest.mark.row("N-88", "F72")
def test_operator_kills_a_run_that_a_closed_terminal_has_ended(
    tmp_path: Path, scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hang-up counts for no interrupt, an echoed SIGTERM for one: the next one is a kill."""
    scene = staged(scenes, tmp_path / "var")
    calm, moment = cast(Background, scene.calm), [ECHO_NS]
    monkeypatch.setattr(supervision_loop, "machine_ns", lambda: moment[0])
    for name, later_ns in (("SIGHUP", 0), ("SIGTERM", 0), ("SIGTERM", ECHO_NS - 1)):
        moment[0] += later_ns
        scene.interrupts.put(name)
        assert scene.desk._look(calm) is None
    moment[0] += 1
    scene.interrupts.put("SIGTERM")

    found = scene.desk._look(calm)

    assert found is not None
    assert found[0].reason_code == "OPERATOR_KILL"


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_hang_up_that_the_launcher_was_started_to_ignore_stays_ignored() -> None:
    """A night under `nohup` goes on behind a closed terminal; SIGTERM still ends it."""
    launch, hang_up = object.__new__(_Launch), signal.Signals[HANG_UP]
    before = signal.signal(hang_up, signal.SIG_IGN)
    launch.interrupts = queue.SimpleQueue()
    replaced = launch._take_signals()
    try:
        os.kill(os.getpid(), hang_up)
        os.kill(os.getpid(), signal.SIGTERM)
        found = launch.interrupts.get()
    finally:
        for number, handler in (*replaced.items(), (hang_up, before)):
            signal.signal(number, handler)

    assert found == "SIGTERM"
    assert launch.interrupts.empty()


def test_ctrl_z_does_not_freeze_the_launcher() -> None:
    """A launcher that sleeps for seconds, until `bg`, would leave its roles without a lease."""
    if sys.platform == "win32":
        pytest.skip("Windows has no job control")
    launch, before = object.__new__(_Launch), signal.getsignal(signal.SIGTSTP)
    launch.interrupts = queue.SimpleQueue()
    replaced = launch._take_signals()
    during = signal.getsignal(signal.SIGTSTP)
    for number, handler in replaced.items():
        signal.signal(number, handler)

    assert (during, signal.getsignal(signal.SIGTSTP)) == (signal.SIG_IGN, before)


# --- flags --------------------------------------------------------------------------------------


@pytest.mark.row("N-88", "N-89", "F71")
def test_flag_of_a_role_waits_for_the_event_that_explains_it(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    """A role's flag is attributed to the role, whose event follows."""
    scene = staged(scenes, tmp_path / "var")
    var = scene.stage.var
    arm(var.stop, RUN_ID, "risk_role")
    raise_flag(var.stop, var.flag, "risk_role")
    for _ in range(5):
        assert scene.desk._look(cast(Background, scene.calm)) is None
    scene.stage.leave_stop("risk_role", "RISK_LIMIT")

    record = scene.supervise()

    assert record is not None
    assert (record.component, record.reason_code) == ("risk_role", "RISK_LIMIT")
    assert scene.stage.envelopes("stop_journal", "watchdog_role") == []


@pytest.mark.row("N-88", "N-89")
def test_flag_of_a_role_that_leaves_no_event_still_stops_the_run(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    """A role's flag without event stops the run; the launcher journals for the role."""
    scene = staged(scenes, tmp_path / "var")
    var = scene.stage.var
    arm(var.stop, RUN_ID, "risk_role")
    raise_flag(var.stop, var.flag, "risk_role")

    record = scene.supervise()

    assert record is not None
    assert (record.component, record.reason_code) == ("risk_role", "INVARIANT_BROKEN")
    assert scene.stage.envelopes("stop_journal", "watchdog_role")


@pytest.mark.row("N-89", "F71")
def test_flag_made_by_hand_is_the_operators_stop(tmp_path: Path, scenes: list[Scene]) -> None:
    """A flag made by hand is the operator's STOP, with the reason of `minibot kill`."""
    scene = staged(scenes, tmp_path / "var")
    leave_request(scene.stage.var.requests, RUN_ID, "kill", who="anna", why="odd prices")
    scene.stage.var.flag.write_bytes(b"\x00\xff not json")

    record = scene.supervise()

    assert record is not None
    assert record.reason_code == "OPERATOR_KILL"
    assert "odd prices" in record.detail


def test_flag_left_by_a_dead_link_stops_as_well(tmp_path: Path, scenes: list[Scene]) -> None:
    """A dangling link as flag stops the run."""
    scene = staged(scenes, tmp_path / "var")
    os.symlink(tmp_path / "nowhere", scene.stage.var.flag)

    record = scene.supervise()

    assert record is not None
    assert record.reason_code == "OPERATOR_KILL"


def test_kill_before_the_last_role_has_ended_is_a_stop(tmp_path: Path, scenes: list[Scene]) -> None:
    """A kill before the last role has ended is a STOP."""
    scene = staged(scenes, tmp_path / "var")
    var = scene.stage.var
    arm(var.stop, RUN_ID, OPERATOR)
    scene.interrupts.put("SIGINT")
    step = scene.end.step

    def step_and_kill() -> StopRecord | None:
        record = step()
        if scene.end.phase is Phase.DRAINED:
            leave_request(var.requests, RUN_ID, "kill", who="anna", why="odd prices")
            assert raise_operators_flag(var.stop, var.flag)
        return record

    scene.end.step = step_and_kill  # type: ignore[method-assign]
    record = scene.supervise()

    assert record is not None
    assert (record.reason_code, record.detail) == ("OPERATOR_KILL", "operator: odd prices")


@pytest.mark.row("N-88")
def test_reason_of_a_kill_is_kept_when_a_look_comes_before_its_flag(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    """A look between the two steps of `minibot kill` does not lose its reason, nor other words."""
    scene = staged(scenes, tmp_path / "var")
    var = scene.stage.var
    arm(var.stop, RUN_ID, OPERATOR)
    leave_request(var.requests, RUN_ID, KILL, who="anna", why="odd prices")
    leave_request(var.requests, RUN_ID, "halt", who="anna", why="thin book")

    assert scene.desk._slow_checks() is None
    assert raise_operators_flag(var.stop, var.flag)
    record = scene.supervise()

    assert record is not None
    assert (record.reason_code, record.detail) == ("OPERATOR_KILL", "operator: odd prices")
    assert [event["type"] for event in scene.stage.envelopes("control")] == ["halt"]
    scene.context.sync_parts(now=True)
    assert scene.stage.envelopes("incidents", "watchdog_role") == []
    assert list(var.requests.iterdir()) == []


@pytest.mark.parametrize(
    ("who", "component", "code"),
    [
        (OPERATOR, "watchdog_role", "OPERATOR_KILL"),
        ("risk_role", "risk_role", "QUEUE_CORRUPT"),
    ],
)
def test_stop_that_execution_obeys_before_a_long_turn_sees_its_flag_keeps_its_reason(
    tmp_path: Path,
    scenes: list[Scene],
    monkeypatch: pytest.MonkeyPatch,
    who: str,
    component: str,
    code: str,
) -> None:
    """A role that ends at a flag, in the middle of a turn of the launcher, is not its reason."""
    scene = staged(scenes, tmp_path / "var")
    var, execution = scene.context.var, scene.supervisor.children["execution_role"]
    wait_until(scene.supervisor.are_all_there, "all roles")
    arm(var.stop, RUN_ID, who)
    check = scene.supervisor.check
    event = threading.Timer(0.2, scene.stage.leave_stop, (who, code))
    turns: list[StopRecord | None] = []

    def check_late() -> StopRecord | None:
        if not turns:
            raise_flag(var.stop, var.flag, who)
            execution.send("stop")
            wait_until(lambda: execution.final_code() is not None, "execution's end")
            if who != OPERATOR:
                event.start()
        turns.append(check())
        return turns[-1]

    monkeypatch.setattr(scene.supervisor, "check", check_late)
    record = scene.supervise()

    assert turns[0] is not None
    assert record is not None
    assert (record.component, record.reason_code) == (component, code)


def test_kill_after_the_last_role_has_ended_comes_too_late_and_raises_no_flag(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    """A kill after the last role has ended comes too late and leaves no flag."""
    scene = staged(scenes, tmp_path / "var")
    var = scene.stage.var
    arm(var.stop, RUN_ID, OPERATOR)
    scene.interrupts.put("SIGINT")

    assert scene.supervise() is None
    assert not raise_operators_flag(var.stop, var.flag)
    assert not var.flag.exists()


# --- failures of the supervision itself --------------------------------------------------------


@pytest.mark.row("N-35")
def test_failure_of_the_second_thread_stops_the_run(tmp_path: Path, scenes: list[Scene]) -> None:
    """A failure of the second thread, which merges, stops the run."""
    scene = staged(scenes, tmp_path / "var")
    scene.calm.failure = StopRecord("watchdog_role", "IO_ENOSPC", "the disk is full")

    assert scene.supervise() == scene.calm.failure


@pytest.mark.row("N-35", "N-01")
def test_error_in_a_turn_of_supervision_is_a_stop_and_not_its_end(
    tmp_path: Path, scenes: list[Scene], capsys: pytest.CaptureFixture[str]
) -> None:
    """An error in the loop stops the run and leaves no role alone; no terminal holds it up."""
    scene = staged(scenes, tmp_path / "var")
    scene.supervisor.lease = lambda: [][1]  # type: ignore[method-assign]

    record = scene.supervise()

    assert record is not None
    assert record.reason_code == "INVARIANT_BROKEN"
    assert scene.stage.var.flag.exists()
    assert "Traceback" not in capsys.readouterr().err
    scene.desk.feed.close()
    assert "Traceback" in capsys.readouterr().err


def test_turn_without_memory_is_a_stop_that_says_so_and_formats_nothing(
    tmp_path: Path, scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback that needs memory, too, does not leave the run without supervision."""
    scene = staged(scenes, tmp_path / "var")

    def fail() -> None:
        raise MemoryError

    scene.supervisor.lease = fail  # type: ignore[method-assign]
    monkeypatch.setattr("traceback.format_exc", fail)

    record = scene.supervise()

    assert record is not None
    assert (record.component, record.reason_code) == ("watchdog_role", "ROLE_MEMORY")
    assert scene.stage.var.flag.exists()


# --- checks -------------------------------------------------------------------------------------


def planted(name: str, amount: int) -> PlantedFaults:
    """Return an instrument that is wrong from the beginning."""
    found = PlantedFaults.of(Chaos(plant=name, amount=amount))
    assert found is not None
    return found


@pytest.mark.row("F51")
@pytest.mark.fault(
    "F51", by="an instrument that reads too little free space", ends="STOP(DISK_LOW)"
)
def test_disk_at_its_floor_is_fine_and_below_it_a_stop(tmp_path: Path) -> None:
    """A disk at its floor is fine, below it a STOP."""
    free_mb = 10**7
    enough = DiskCheck(tmp_path, free_mb, planted("disk_low", 10**15))
    short = DiskCheck(tmp_path, free_mb, planted("disk_low", -(10**15)))

    assert enough.check() is None
    record = short.check()
    assert record is not None
    assert record.reason_code == "DISK_LOW"


@pytest.mark.row("F78", "F79")
@pytest.mark.parametrize(("step_ms", "code"), [(-3_600_000, "CLOCK_JUMP"), (500, None)])
def test_wall_clock_may_step_a_little_and_not_by_an_hour(step_ms: int, code: str | None) -> None:
    """A small step of wall-clock time is survived, an hour is a STOP."""
    sick = PlantedFaults("clock_jump", "", "", 0, 0, 0, 0)
    check = ClockCheck(2000, 60_000, sick)
    sick.amount = step_ms

    record = check.check()

    assert (None if record is None else record.reason_code) == code


class Clocks:
    """Three clocks of a machine, set by the test, in milliseconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall = self.awake = self.suspend = 1_000_000
        monkeypatch.setattr(checks, "wall_ms", lambda: self.wall)
        monkeypatch.setattr(checks, "awake_ns", lambda: self.awake * 1_000_000)
        monkeypatch.setattr(checks, "suspend_ns", lambda: self.suspend * 1_000_000)

    def sleep(self, ms: int) -> None:
        """Let the machine sleep: monotonic time stands still."""
        self.wall += ms
        self.suspend += ms


@pytest.mark.row("F77", "F81")
@pytest.mark.parametrize(("ms", "code"), [(12_000, None), (60_000, None), (60_001, "CLOCK_JUMP")])
def test_machine_may_sleep_for_as_long_as_a_pause_may_last(
    monkeypatch: pytest.MonkeyPatch, ms: int, code: str | None
) -> None:
    """A machine's sleep up to the longest pause is no step of the clock."""
    clocks = Clocks(monkeypatch)
    check = ClockCheck(2000, 60_000, None)
    clocks.sleep(ms)

    assert _code(check.check()) == code


@pytest.mark.row("F81")
@pytest.mark.parametrize(
    ("ms", "told_ms", "code"),
    [
        (2_000, 0, None),
        (5_000, 5_000, None),
        (60_000, 60_000, None),
        (60_001, 60_001, "CLOCK_JUMP"),
    ],
)
def test_turn_that_takes_seconds_is_a_pause_of_everything(
    monkeypatch: pytest.MonkeyPatch, ms: int, told_ms: int, code: str | None
) -> None:
    """A late turn is a pause with its length, and beyond the limit a STOP."""
    clocks = Clocks(monkeypatch)
    check = PauseCheck(60_000)
    clocks.suspend += ms

    assert _code(check.check()) == code
    assert check.pause_ms == told_ms
    assert check.check() is None
    assert check.pause_ms == 0


@pytest.mark.row("F81", "F63")
def test_pause_of_everything_is_an_incident_and_no_hang(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    """A pause of everything is an incident, and roles are not hung by it."""
    scene = staged(scenes, tmp_path / "var")
    children = scene.supervisor.children.values()
    wait_until(scene.supervisor.are_all_there, "all roles")
    for child in children:
        psutil.Process(child.pid).suspend()
    wait_until(lambda: min(child.silent_ms() for child in children) > 6_000, "a long silence")
    scene.desk._pause._turned_ns = suspend_ns() - 10_000_000_000
    for child in children:
        psutil.Process(child.pid).resume()
    scene.interrupts.put("SIGINT")

    assert scene.supervise() is None
    scene.context.sync_parts(now=True)
    rows = scene.stage.envelopes("incidents", "watchdog_role")
    assert [event["payload"]["kind"] for event in rows] == ["PAUSED"]


@pytest.mark.row("F59", "N-35")
@pytest.mark.fault("F59", by="an order whose sync in the launcher goes on and on", ends="SURVIVE")
def test_leases_go_on_while_an_order_waits_for_the_disk(
    tmp_path: Path, scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sync of an order ends only once execution has had two more leases: the run goes on."""
    scene = staged(scenes, tmp_path / "var", {"execution_role": "leased"})
    execution, sync = scene.supervisor.children["execution_role"], FILES.datasync
    wait_until(lambda: execution.heartbeat.get("facts"), "execution")
    leave_request(scene.context.var.requests, RUN_ID, "halt", who="anna", why="thin book")
    late: list[int] = []

    def leases() -> int:
        return int(execution.heartbeat["facts"]["leases"])

    def sync_late(fd: int) -> None:
        if not late:
            late.append(before := leases())
            wait_until(lambda: leases() >= before + 2, "two leases during the sync")
            scene.interrupts.put("SIGINT")
        sync(fd)

    monkeypatch.setattr(FILES, "datasync", sync_late)

    assert scene.supervise() is None
    assert late
    assert [event["type"] for event in scene.stage.envelopes("control")] == ["halt", "run_ending"]


@pytest.mark.row("F59", "F68")
@pytest.mark.parametrize(("turn_ms", "is_waiting", "is_sent"), LEASES)
def test_leases_beside_supervision_are_sent_in_a_disk_call_of_a_turn_that_is_not_too_long(
    monkeypatch: pytest.MonkeyPatch, turn_ms: int, is_waiting: bool, is_sent: bool
) -> None:
    """A turn that waits for nothing, or longer than a sync may take, has no leases beside it."""
    moment, sent = 0, []
    monkeypatch.setattr(supervisor_module, "machine_ns", lambda: moment)
    leases = DiskLeases(lambda: sent.append(moment), 30_000)
    leases.turn()
    moment = turn_ms * 1_000_000

    with DISK_CALLS if is_waiting else nullcontext():
        leases.look()

    assert bool(sent) == is_sent


@pytest.mark.row("F81")
def test_pause_of_everything_is_no_silence_of_ops(tmp_path: Path, scenes: list[Scene]) -> None:
    """A pause that a run survives, and longer than `ops` may be silent, does not end `ops`."""
    scene = staged(scenes, tmp_path / "var")
    argv = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    child = Child("ops", argv, tmp_path / "ops.log", dict(os.environ))
    child.start()
    try:
        ops = OpsProcess(scene.context)
        ops._child = child
        scene.desk._ops = ops
        child.heard_ns -= (OPS_SILENT_MS + 1) * 1_000_000
        scene.desk._pause._turned_ns = suspend_ns() - 40_000_000_000

        assert scene.desk._paused() is None
        ops.check()
    finally:
        child.close_input()
        child.wait(DEADLINE_S)
    assert child.exit_code() == 0  # Ended by its input, not killed.


class Until(Calm):
    """Condition that ends the run as soon as it holds."""

    def __init__(self, condition: Callable[[], bool]) -> None:
        self._condition = condition

    def __getattribute__(self, name: str) -> Any:
        if name == "failure" and object.__getattribute__(self, "_condition")():
            return StopRecord("test", "INVARIANT_BROKEN", "it is so")
        return object.__getattribute__(self, name)


@pytest.mark.row("F63")
@pytest.mark.parametrize(("how", "is_started"), [("starting", False), ("well", True)])
def test_market_time_begins_once_every_role_has_begun(
    tmp_path: Path, scenes: list[Scene], how: str, is_started: bool
) -> None:
    """Market time begins once every role has begun."""
    hows = {"market_role": "ready", "strategy_role": how}
    scene = staged(scenes, tmp_path / "var", hows, has_clock=False)
    clock = scene.stage.run_dir / "clock.json"
    children = scene.supervisor.children.values()
    heard = {name: 0 for name in scene.supervisor.children}

    def are_heard() -> bool:
        for child in children:
            heard[child.name] += bool(child.heartbeat)
        return min(heard.values()) > 5

    scene.calm = Until(clock.exists if is_started else are_heard)
    record = scene.supervise()

    assert record is not None
    assert record.detail == "it is so"
    assert clock.exists() is is_started


@pytest.mark.row("N-83", "N-86", "F33", "F37", "F43")
@pytest.mark.fault(
    "F33", by="the watchdog meets a cursor ahead of its queue", ends="STOP(CURSOR_AHEAD)"
)
@pytest.mark.fault(
    "F37", by="the watchdog meets a cursor of another run", ends="STOP(CURSOR_FOREIGN_RUN)"
)
@pytest.mark.fault(
    "F43", by="the watchdog meets a cursor cut short", ends="STOP(ATOMICITY_VIOLATION)"
)
def test_cursor_is_judged_against_its_own_hash_its_run_and_its_queue(tmp_path: Path) -> None:
    """A torn, foreign or advanced cursor is a STOP with its own code."""
    stage = Stage(tmp_path / "var")
    check = CursorCheck(stage.var.queues, stage.roles, RUN_ID)
    path = stage.var.queues / "signals" / "cursor.json"

    def put(run_id: str, seq: int) -> None:
        path.unlink()
        chain = bytes(32) if seq == 0 else b"\x01" * 32
        write_hashed(path, cursor_json(run_id, "signals", "risk_role", Position(seq, 1, 0, chain)))

    assert check.check() is None
    put(RUN_ID, 1)  # Of an empty queue.
    assert _code(check.check()) == "CURSOR_AHEAD"
    put("20000101_000000", 7)
    assert _code(check.check()) == "CURSOR_FOREIGN_RUN"
    path.write_bytes(path.read_bytes()[:40])
    assert _code(check.check()) == "ATOMICITY_VIOLATION"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert _code(check.check()) == "PERMISSIONS_UNSAFE"


def _code(record: StopRecord | None) -> str | None:
    return None if record is None else record.reason_code


@pytest.mark.row("N-83", "F147")
def test_pinned_file_that_changes_or_goes_is_a_stop(tmp_path: Path) -> None:
    """A changed or missing pinned file is a STOP."""
    path = tmp_path / "profile.json"
    path.write_bytes(b"{}")
    pins = {str(path): "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}
    check = PinnedCheck(pins)

    assert check.check() is None
    for content in (b"{ }", b"[]"):  # Of another size, and of the same.
        path.write_bytes(content)
        os.utime(path, (1, 1))
        assert _code(check.check()) == "CONFIG_INVALID"
    path.unlink()
    assert _code(check.check()) == "CONFIG_INVALID"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFOs in folders")
def test_pinned_file_that_becomes_a_fifo_is_a_stop_and_is_not_opened(tmp_path: Path) -> None:
    """A FIFO in a pinned file's place is a STOP; to read it would hang supervision."""
    path = tmp_path / "profile.json"
    if sys.platform != "win32":
        os.mkfifo(path)
    found: list[StopRecord | None] = []
    check = PinnedCheck({str(path): "0" * 64})
    looking = threading.Thread(target=lambda: found.append(check.check()), daemon=True)

    looking.start()
    looking.join(DEADLINE_S)

    assert [_code(record) for record in found] == ["CONFIG_INVALID"]


@pytest.mark.row("N-124")
@pytest.mark.parametrize(("call", "run_id"), [("unlink", RUN_ID), ("replace", "20260101_000000")])
def test_request_that_a_scanner_holds_for_a_moment_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, run_id: str
) -> None:
    """Windows neither removes nor renames a file that another program has open."""
    leave_request(tmp_path, run_id, END, why="enough")
    real, left = getattr(os, call), [3]

    def held(*words: Any) -> None:
        if left[0]:
            left[0] -= 1
            error = PermissionError(errno.EACCES, "held by another program")
            error.winerror = 32  # type: ignore[attr-defined,unused-ignore]
            raise error
        real(*words)

    monkeypatch.setattr(os, call, held)

    taken = list(take_requests(tmp_path, RUN_ID))

    assert len(taken) == (run_id == RUN_ID)
    assert list(tmp_path.glob("*.json")) == []


# --- requests -----------------------------------------------------------------------------------


def test_requests_are_taken_once_oldest_first_and_only_for_this_run(tmp_path: Path) -> None:
    """Requests are applied once, oldest first, for this run only; others are set aside."""
    for number in range(3):
        path = leave_request(tmp_path, RUN_ID, "halt", who="anna", why=str(number))
        os.utime(path, ns=(number, number))
    leave_request(tmp_path, "20000101_000000", END, who="anna", why="old")
    (tmp_path / "halt-torn.json").write_bytes(b'{"kind":"ha')

    taken = [request["why"] for request in take_requests(tmp_path, RUN_ID)]

    assert taken == ["0", "1", "2"]
    assert list(take_requests(tmp_path, RUN_ID)) == []
    assert len(list(tmp_path.glob("*.aside"))) == 2


def _leave_folder(path: Path) -> None:
    path.mkdir()
    (path / "inside.json").write_bytes(b"{}")


def _leave_link(path: Path) -> None:
    other = write_request(path.parent.parent / "elsewhere.json")
    path.symlink_to(other)


def write_request(path: Path) -> Path:
    """Write a valid request for the stage's run and return its path."""
    write_hashed(path, {"run_id": RUN_ID, "kind": END, "who": "anna", "why": "enough"})
    return path


ODD: dict[str, Callable[[Path], object]] = {
    "folder": _leave_folder,
    "link": _leave_link,
    "dangling link": lambda path: path.symlink_to(path.parent / "nowhere"),
    "link to itself": lambda path: path.symlink_to(path),
    "damaged": lambda path: path.write_bytes(b'{"kind":"ha'),
    **({"fifo": os.mkfifo} if hasattr(os, "mkfifo") else {}),
}


@pytest.mark.parametrize("kind", sorted(ODD))
@pytest.mark.parametrize("taken_name", [False, True])
def test_odd_file_among_the_requests_is_set_aside_on_record(
    tmp_path: Path, scenes: list[Scene], kind: str, taken_name: bool
) -> None:
    """A file that is no request is set aside with an incident, unopened, and the run goes on."""
    scene = staged(scenes, tmp_path / "var")
    folder = scene.context.var.requests
    if taken_name:  # A name of an earlier one, which stays as evidence.
        (folder / "b.aside").mkdir()
    ODD[kind](folder / "b.json")
    leave_request(folder, RUN_ID, "halt", who="anna", why="thin book")

    assert scene.desk._looked(cast(Background, scene.calm)) is None

    assert [event["type"] for event in scene.stage.envelopes("control")] == ["halt"]
    scene.context.sync_parts(now=True)
    (incident,) = scene.stage.envelopes("incidents", "watchdog_role")
    assert incident["payload"]["kind"] == "REQUEST_REFUSED"
    assert "'b.json'" in incident["payload"]["detail"]
    assert list(folder.glob("*.json")) == []
    assert len(list(folder.glob("b*.aside"))) == 1 + taken_name
    assert scene.end.phase is Phase.RUNNING


@pytest.mark.parametrize(
    "letter", ["b", "\u00e9", "\U0001f409"], ids=["1 byte", "2 bytes", "4 bytes"]
)
def test_odd_file_with_the_longest_name_is_set_aside_too(tmp_path: Path, letter: str) -> None:
    """A name without a byte left for the longer ending is shortened, and the run goes on."""
    odd: list[str] = []
    name = letter * ((255 - len(".json")) // len(os.fsencode(letter)))
    for _ in range(2):
        (tmp_path / f"{name}.json").write_bytes(b"{")
        assert list(take_requests(tmp_path, RUN_ID, odd.append)) == []

    assert len(odd) == 2
    assert [path.suffix for path in tmp_path.iterdir()] == [".aside", ".aside"]


def test_request_that_is_taken_back_meanwhile_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that disappears after it was listed, or after it was looked at, is left out."""
    gone_at_once = leave_request(tmp_path, RUN_ID, "halt", who="anna", why="listed")
    gone_later = leave_request(tmp_path, RUN_ID, "halt", who="anna", why="looked at")
    leave_request(tmp_path, RUN_ID, "halt", who="anna", why="stays")
    (tmp_path / "torn.json").write_bytes(b"{")
    lstat, opened, odd = os.lstat, FILES.open, list[str]()

    def lstat_late(path: Any, *rest: Any, **named: Any) -> os.stat_result:
        gone_at_once.unlink(missing_ok=True)
        return lstat(path, *rest, **named)

    def open_late(path: Any, access: Access) -> int:
        (tmp_path / "torn.json").unlink(missing_ok=True)
        gone_later.unlink(missing_ok=True)
        return opened(path, access)

    listed = list(tmp_path.glob("*.json"))
    monkeypatch.setattr(Path, "glob", lambda self, pattern: listed)
    monkeypatch.setattr(Path, "lstat", lstat_late)
    monkeypatch.setattr(FILES, "open", open_late)
    taken = [request["why"] for request in take_requests(tmp_path, RUN_ID, odd.append)]

    assert taken == ["stays"]
    assert odd == []
    assert list(tmp_path.iterdir()) == []


def test_request_that_may_not_be_read_is_set_aside_on_record(
    tmp_path: Path, scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that another user left, as by sudo, stops neither this run nor the next ones."""
    scene = staged(scenes, tmp_path / "var")
    folder, opened = scene.context.var.requests, FILES.open
    others = leave_request(folder, RUN_ID, "halt", who="root", why="by sudo")

    def open_own(path: Any, access: Access) -> int:
        if path == others:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, access)

    monkeypatch.setattr(FILES, "open", open_own)

    assert scene.desk._looked(cast(Background, scene.calm)) is None

    scene.context.sync_parts(now=True)
    (incident,) = scene.stage.envelopes("incidents", "watchdog_role")
    assert incident["payload"]["kind"] == "REQUEST_REFUSED"
    assert "another user" in incident["payload"]["detail"]
    assert not others.exists()


def test_request_to_another_users_run_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user is told so: the launcher could not read what he leaves."""
    if sys.platform == "win32":
        pytest.skip("Windows has no such ids")
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)

    with pytest.raises(RunStop, match=f"not by {other}: give the order as that user"):
        leave_request(tmp_path, RUN_ID, "halt", who="root", why="by sudo")

    assert list(tmp_path.iterdir()) == []


def test_request_becomes_a_control_event_only_if_it_is_one(tmp_path: Path) -> None:
    """A request that is no valid control payload changes nothing."""
    good = read_hashed(leave_request(tmp_path, RUN_ID, "halt", who="anna", why="thin book"))

    assert control_payload(good) == Halt(who="anna", why="thin book")
    assert control_payload({**good, "kind": "order_intent"}) is None
    assert control_payload({"kind": "halt"}) is None


# --- the live table -----------------------------------------------------------------------------


@pytest.mark.row("N-115")
def test_table_that_reads_nothing_never_makes_supervision_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A table that reads nothing never delays supervision; statuses are dropped."""
    monkeypatch.setattr(feed_module, "QUIT_S", 0.1)
    feed = LiveFeed([sys.executable, "-S", "-E", "-c", "import time; time.sleep(600)"])
    feed.start({})
    process = feed._process
    assert process is not None
    status = {"text": "x" * 50_000}

    for _ in range(50):
        feed.show(status)
    feed.end(status)

    assert process.poll() not in (None, 0)


def test_table_is_shown_how_the_run_ended_whatever_it_was_shown_just_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table always gets the last status."""
    monkeypatch.setattr(feed_module, "QUIT_S", DEADLINE_S)
    shown = tmp_path / "shown.jsonl"
    keep = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, open(sys.argv[1], 'wb'))"
    feed = LiveFeed([sys.executable, "-S", "-E", "-c", keep, str(shown)])
    feed.start({})

    for number in range(500):
        feed.show({"number": number})
    feed.end({"number": "last"})

    assert shown.read_bytes().splitlines()[-1] == b'{"number":"last"}'


def test_table_that_no_thread_can_feed_is_ended_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A table without a thread is ended at once: no error of it reaches the start of a run."""
    made: list[subprocess.Popen[bytes]] = []

    def spawn(argv: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        made.append(spawn_table(argv, environ))
        return made[0]

    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(feed_module, "spawn_table", spawn)
    monkeypatch.setattr(_thread, "start_new_thread", no_thread)
    feed = LiveFeed([sys.executable, "-S", "-E", "-c", "import sys; sys.stdin.read()"])

    feed.start({})
    feed.show({"number": 1})
    feed.end({"number": 2})

    assert made[0].poll() is not None


def test_status_whose_folder_cannot_even_be_looked_at_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A status is a hint: a folder that became unreadable since the checks ends no start."""

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(FILES, "stat", refuse)
    feed = LiveFeed((), StatusFile(tmp_path / "ops" / "status.json"))

    feed.start({})
    feed.show({"number": 1})
    feed.end({"number": 2})

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_open", [True, False])
def test_terminal_that_takes_nothing_keeps_supervision_from_nothing(
    monkeypatch: pytest.MonkeyPatch, *, is_open: bool
) -> None:
    """Lines wait for a frozen terminal in a thread of their own, or for the end, in their order."""
    thawed = threading.Event()
    output: list[str] = []

    def write(line: str) -> None:
        assert thawed.wait(DEADLINE_S)
        output.append(line)
        if line == "gone":
            raise OSError(errno.EIO, "the terminal is gone")

    monkeypatch.setattr("minibot.watchdog.feed.to_stderr", write)
    monkeypatch.setattr(feed_module, "LINES_S", DEADLINE_S)
    feed = LiveFeed(())
    if is_open:
        feed.open()
    lines = ["STOP", "gone", "last"]

    for line in lines:
        feed.print_line(line)

    assert output == []
    thawed.set()
    feed.close()
    assert output == lines


def test_frozen_terminal_holds_the_end_for_a_moment_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An end that nobody can read about is an end all the same."""
    thawed, said = threading.Event(), threading.Event()

    def write(_: str) -> None:
        assert thawed.wait(DEADLINE_S)
        said.set()

    monkeypatch.setattr("minibot.watchdog.feed.to_stderr", write)
    monkeypatch.setattr(feed_module, "LINES_S", 0.1)
    feed = LiveFeed(())
    feed.open()
    feed.print_line("STOP")

    feed.close()

    assert not said.is_set()
    thawed.set()
    assert said.wait(DEADLINE_S)


def test_line_for_the_operator_waits_for_the_end_of_a_table_on_the_same_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A line for the operator waits for the end of the table's drawing."""
    said: list[tuple[str, bool]] = []
    feed = LiveFeed([sys.executable, "-S", "-E", "-c", "import sys; sys.stdin.read()"])
    monkeypatch.setattr(
        "minibot.watchdog.feed.to_stderr",
        lambda line: said.append((line, feed._process is None or feed._process.poll() is not None)),
    )

    feed.open()
    feed.print_line("before there is a table")
    wait_until(lambda: len(said) == 1, "the line is written")
    feed.start({})
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    feed.print_line("to a file")
    wait_until(lambda: len(said) == 2, "the line is written")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    feed.print_line("STOP while the table stands")
    feed.end({})
    feed.print_line("behind it")
    feed.close()

    assert said == [
        ("before there is a table", True),
        ("to a file", False),
        ("STOP while the table stands", True),
        ("behind it", True),
    ]


def test_line_for_the_operator_does_not_wait_for_the_end_behind_a_table_that_has_died(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lines that a table held back are written once it has died, hours before the run's end."""
    said: list[str] = []
    monkeypatch.setattr("minibot.watchdog.feed.to_stderr", said.append)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    feed = LiveFeed([sys.executable, "-S", "-E", "-c", "import sys; sys.stdin.read()"])
    feed.open()
    feed.start({})
    process = feed._process
    assert process is not None
    feed.print_line("while the table stands")
    feed.show({})
    process.kill()
    process.wait()

    feed.print_line("behind it")
    feed.show({})

    wait_until(lambda: len(said) == 2, "both lines")
    assert said == ["while the table stands", "behind it"]
    feed.end({})
    feed.close()


def test_status_of_an_end_says_how_whatever_stands_in_its_detail(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    """A status with a file name that is no UTF-8 is still shown, and the run sealed."""
    desk = staged(scenes, tmp_path / "var").desk
    record = StopRecord("watchdog_role", "IO_ENOSPC", "write of \udcff: no space")

    fields = canonical.decode(canonical.encode(desk.status(record)))

    assert desk.status()["ended"] is None
    assert fields["ended"] == {
        "kind": "STOP",
        "reason_code": "IO_ENOSPC",
        "detail": "write of ?: no space",
    }


def test_status_has_every_restart_of_the_run(
    tmp_path: Path, scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restarts older than the budget's 300 s still count: the figure is a metric that never falls.

    A count of the last minutes would hide the crashes of a long night.
    """
    scene, now_s = staged(scenes, tmp_path / "var"), 0
    child = scene.supervisor.children["risk_role"]
    monkeypatch.setattr(child_module, "awake_ns", lambda: now_s * 1_000_000_000)

    for now_s in (0, 100, 1000):  # noqa: B007  the clock above reads it
        assert child.may_restart(1, 3)

    assert scene.desk.status()["roles"]["risk_role"]["restarts"] == 3


@pytest.mark.parametrize("name", ["manifest.json", "clock.json"])
def test_file_of_the_run_that_goes_is_a_stop_that_names_it(
    name: str, tmp_path: Path, scenes: list[Scene]
) -> None:
    """A missing file of the run is a STOP with its name, and is not replaced."""
    scene = staged(scenes, tmp_path / "var")
    path = scene.stage.run_dir / name
    path.unlink()
    record = scene.supervise()

    assert record is not None
    assert (record.reason_code, record.detail.split()[0]) == ("RUN_FILE_CHANGED", name)
    assert not path.exists()


def test_file_that_changes_after_the_last_role_has_ended_is_a_stop_as_well(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    """A file changed after the last role has ended is a STOP as well."""
    scene = staged(scenes, tmp_path / "var")
    assert scene.desk.last_look() is None
    (scene.stage.run_dir / "clock.json").write_bytes(b"{}\n")

    assert _code(scene.desk.last_look()) == "RUN_FILE_CHANGED"
