"""Supervisor: real processes that spin, hang, lag or die, and the end of the run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import psutil
import pytest

from minibot.runtime.clock import awake_ns
from minibot.runtime.stop import StopRecord
from minibot.watchdog import child as child_module
from minibot.watchdog import supervisor as supervisor_module
from minibot.watchdog.child import Child
from minibot.watchdog.supervisor import Supervisor
from tests.waiting import DEADLINE_S, wait_until
from tests.watchdog.watchdog_stage import Stage, Watched

pytestmark = pytest.mark.process

FAST = ("watchdog.heartbeat_interval_ms=200", "watchdog.hung_ms=1000", "watchdog.lease_ms=2000")
QUICK = (*FAST, "watchdog.hung_execution_ms=1000")


class Watch(Watched):
    """Supervisor over five actors, one of them with the test's behaviour."""

    def __init__(self, root: Path, hows: dict[str, str], sets: Sequence[str] = QUICK) -> None:
        self.stage = Stage(root, sets)
        self.context = self.stage.context()
        self.supervisor = Supervisor(
            self.context, self.stage.actors(hows), run_files=self.stage.run_files
        )
        self.supervisor.start()

    def stop(self) -> StopRecord:
        """Return the STOP of the supervisor."""
        return wait_until(self.supervisor.check, "a STOP")


@pytest.mark.row("N-35", "F63", "F64", "F76")
@pytest.mark.parametrize(
    ("how", "code"),
    [("spinning", "ROLE_HUNG"), ("stuck", "ROLE_HUNG"), ("behind", "CONSUMER_LAG")],
)
def test_role_that_beats_without_progress_stops_the_run(
    tmp_path: Path, watches: list[Watched], how: str, code: str
) -> None:
    """A role with heartbeats but without progress stops the run."""
    watch = Watch(tmp_path / "var", {"strategy_role": how})
    watches.append(watch)

    record = watch.stop()

    assert (record.component, record.reason_code) == ("watchdog_role", code)
    assert "strategy_role" in record.detail


@pytest.mark.row("N-35")
def test_role_that_never_gets_beyond_starting_stops_the_run(
    tmp_path: Path, watches: list[Watched]
) -> None:
    """A role that never leaves its start stops the run at the limit of a start."""
    watch = Watch(
        tmp_path / "var", {"risk_role": "starting"}, (*QUICK, "watchdog.starting_ms_max=2000")
    )
    watches.append(watch)

    record = watch.stop()

    assert record.reason_code == "ROLE_HUNG"
    assert "risk_role is still starting" in record.detail


@pytest.mark.row("N-35", "F63")
@pytest.mark.parametrize("how", ["well", "starting"])
def test_role_frozen_while_it_starts_is_hung_in_the_ordinary_time(
    tmp_path: Path, watches: list[Watched], how: str
) -> None:
    """A role frozen during its start is hung within seconds."""
    watch = Watch(tmp_path / "var", {"strategy_role": how})
    watches.append(watch)
    psutil.Process(watch.supervisor.children["strategy_role"].pid).suspend()

    record = watch.stop()

    assert record.reason_code == "ROLE_HUNG"
    assert "strategy_role" in record.detail
    assert "still starting" not in record.detail
    assert not watch.supervisor.are_all_there()


@pytest.mark.row("N-35", "F63")
def test_role_that_is_slow_to_import_is_not_taken_for_frozen(
    tmp_path: Path, watches: list[Watched]
) -> None:
    """A role slow to import, which uses the processor, has the whole time of a start."""
    sets = (*QUICK, "watchdog.starting_ms_max=4000")
    watch = Watch(tmp_path / "var", {"risk_role": "importing"}, sets)
    watches.append(watch)

    record = watch.stop()

    assert "risk_role is still starting" in record.detail


@pytest.mark.row("F81", "F77")
def test_roles_count_their_time_anew_after_a_pause_of_everything(
    tmp_path: Path, watches: list[Watched]
) -> None:
    """A pause of everything restarts each role's time."""
    watch = Watch(tmp_path / "var", {})
    watches.append(watch)
    children = watch.supervisor.children
    wait_until(watch.supervisor.are_all_there, "all roles")
    for child in children.values():
        psutil.Process(child.pid).suspend()
    wait_until(lambda: min(c.silent_ms() for c in children.values()) > 1_000, "a silence")
    moment_ns = awake_ns()
    watch.supervisor.rearm()

    assert min(child.heard_ns for child in children.values()) >= moment_ns
    assert watch.stop().reason_code == "ROLE_HUNG"


@pytest.mark.row("F57")
def test_memory_of_every_role_is_looked_at(tmp_path: Path, watches: list[Watched]) -> None:
    """Each turn checks the memory of every role and kills one over its limit."""
    watch = Watch(tmp_path / "var", {})
    watches.append(watch)
    wait_until(watch.supervisor.are_all_there, "all roles")
    rss = {name: child.rss_bytes() for name, child in watch.supervisor.children.items()}
    watch.supervisor.check_memory()

    assert all(used is not None and used > 0 for used in rss.values())
    assert watch.incidents() == []


@pytest.mark.row("F59")
@pytest.mark.fault(
    "F59", by="a role whose sync began long ago and goes on", ends="STOP(CONSUMER_LAG)"
)
def test_sync_that_takes_too_long_is_lag_and_no_hang(
    tmp_path: Path, watches: list[Watched]
) -> None:
    """A sync that takes too long is lag, not a hang."""
    watch = Watch(tmp_path / "var", {"market_role": "syncing"})
    watches.append(watch)

    record = watch.stop()

    assert record.reason_code == "CONSUMER_LAG"
    assert "a sync takes" in record.detail


@pytest.mark.row("F59")
@pytest.mark.fault("F59", by="many short syncs in one turn", ends="STOP(CONSUMER_LAG)")
def test_turn_of_many_syncs_is_lag_in_the_end(tmp_path: Path, watches: list[Watched]) -> None:
    """A turn that never ends is lag, even if each of its syncs is short."""
    sets = (*QUICK, "queues.sync_ms_max=1000")
    watch = Watch(tmp_path / "var", {"execution_role": "syncing_on"}, sets)
    watches.append(watch)

    record = watch.stop()

    assert record.reason_code == "CONSUMER_LAG"
    assert "execution_role: a turn with syncs takes" in record.detail


LIMITS = (
    *("watchdog.heartbeat_interval_ms=1000", "watchdog.hung_ms=5000"),
    *("watchdog.hung_execution_ms=3000", "watchdog.starting_ms_max=60000"),
    *("queues.sync_ms_max=10000", "queues.backlog_max=100000"),
)
NOW_NS = 10**15
HUNG, LAG = "ROLE_HUNG", "CONSUMER_LAG"


class Told(Child):
    """Child without a process: its times are those that a test tells, milliseconds."""

    def __init__(self, name: str, **told: int) -> None:
        super().__init__(name, [], Path("none"), {})
        sync_ms = told.pop("sync", None)
        self.heartbeat = {
            "state": "READY",
            "waiting": told.pop("waiting", 0),
            "sync_ns": 0 if sync_ms is None else NOW_NS - sync_ms * 1_000_000,
        }
        if "age" in told or "starting" in told:
            self.heartbeat["state"] = "STARTING"
        self._told = told

    def silent_ms(self) -> int:
        return self._told.get("silent", 0)

    def turn_ms(self) -> int:
        return self._told.get("turn", 0)

    def quiet_ms(self) -> int:
        return self._told.get("quiet", 0)

    def stuck_ms(self) -> int:
        return self._told.get("stuck", 0)

    def still_ms(self) -> int:
        return self._told.get("starting", self._told.get("still", 0))

    def age_ms(self) -> int:
        return self._told.get("age", 0)


class Sudden(Told):
    """Child whose loop begins, with its first heartbeats, while it is judged."""

    def __init__(self) -> None:
        super().__init__("risk_role")
        self._first, self.heartbeat = self.heartbeat, {}

    @property
    def is_starting(self) -> bool:
        self.heartbeat = self._first
        return super().is_starting


def test_role_that_begins_its_loop_while_it_is_judged_stops_nothing(tmp_path: Path) -> None:
    """A heartbeat between two lines of a turn is no error of the launcher."""
    context = Stage(tmp_path / "var").context()

    assert Supervisor(context, {"risk_role": Sudden()})._alive(Sudden()) is None


@pytest.mark.row("N-35", "F63", "F64", "F76", "F59")
@pytest.mark.parametrize(
    ("name", "told", "most", "code"),
    [
        ("risk_role", "silent", 5_000, HUNG),
        ("execution_role", "silent", 3_000, HUNG),
        ("risk_role", "quiet", 5_000, HUNG),
        ("execution_role", "quiet", 3_000, HUNG),
        ("risk_role", "stuck", 5_000, HUNG),
        ("risk_role", "sync", 10_000, LAG),
        ("execution_role", "turn", 13_000, LAG),
        ("risk_role", "turn", 15_000, LAG),
        ("risk_role", "waiting", 100_000, LAG),
        ("risk_role", "starting", 3_000, HUNG),
        ("risk_role", "age", 60_000, HUNG),
    ],
)
def test_role_is_judged_by_each_of_its_limits_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, told: str, most: int, code: str
) -> None:
    """A limit itself is no STOP; a millisecond or an event more is the STOP of that limit."""
    monkeypatch.setattr(supervisor_module, "machine_ns", lambda: NOW_NS)
    context = Stage(tmp_path / "var", LIMITS).context()
    beside = {"stuck": {"waiting": 1}, "turn": {"sync": 1}}.get(told, {})
    codes = []
    for value in (most, most + 1):
        child = Told(name, **{told: value}, **beside)
        record = Supervisor(context, {name: child}).check()
        codes.append(None if record is None else record.reason_code)

    assert codes == [None, code]


@pytest.mark.row("F77")
def test_sync_under_way_through_a_pause_counts_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that stood still with the whole machine is given its time again."""
    monkeypatch.setattr(supervisor_module, "machine_ns", lambda: NOW_NS)
    context = Stage(tmp_path / "var", LIMITS).context()
    supervisor = Supervisor(context, {"risk_role": Told("risk_role", sync=60_000)})
    assert supervisor.check() is not None

    supervisor.rearm()

    assert supervisor.check() is None


def test_role_that_drains_may_stand_as_long_as_any_role(tmp_path: Path) -> None:
    """The longer of the two limits counts while a role ends: a hang there costs no trade."""
    supervisor = Supervisor(Stage(tmp_path / "var", LIMITS).context(), {})

    assert supervisor.draining(Told("execution_role", still=5_000)) is None
    record = supervisor.draining(Told("execution_role", still=5_001))
    assert record is not None
    assert "while it drained" in record.detail


def test_ai_that_was_switched_off_is_not_waited_for(tmp_path: Path) -> None:
    """The run's clock begins without an AI that died while the others started."""
    children = {name: Told(name) for name in ("risk_role", "ai_role")}
    children["ai_role"].heartbeat = {}
    supervisor = Supervisor(Stage(tmp_path / "var", LIMITS).context(), children)
    assert not supervisor.are_all_there()

    supervisor.switch_ai_off("it died")

    assert supervisor.are_all_there()


def test_restarts_are_counted_within_a_minute_and_within_five(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two within 60 s and three within 300 s: each budget alone refuses the next one."""
    child, now_s = Told("risk_role"), 0
    monkeypatch.setattr(child_module, "awake_ns", lambda: now_s * 1_000_000_000)
    found = []
    for now_s in (0, 1, 2, 59, 60, 61, 299, 300, 301):  # noqa: B007  the clock above reads it
        found.append(child.may_restart(2, 3))

    #                 60 s budget    freed  300 s budget   freed
    assert found == [True, True, False, False, True, False, False, True, True]


@pytest.mark.row("F59", "N-35")
@pytest.mark.fault("F59", by="a sync longer than a hang may be", ends="SURVIVE")
def test_time_in_disk_calls_is_no_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a slow sync the loop has its whole time again to turn, and its inputs to move."""
    moment = 0
    monkeypatch.setattr(child_module, "awake_ns", lambda: moment)
    child = Child("execution_role", [], tmp_path / "log", {})
    beat = {"state": "READY", "turns": 1, "position": 1, "waiting": 3, "sync_ns": 0}
    child.hear(beat)
    for second in range(1, 9):
        moment = second * 1_000_000_000
        child.hear({**beat, "sync_ns": 5})
    moment += 500_000_000
    child.hear(beat)

    assert (child.quiet_ms(), child.stuck_ms(), child.turn_ms()) == (500, 500, 8_500)
    moment += 3_000_000_000
    assert (child.quiet_ms(), child.stuck_ms()) == (3_500, 3_500)


def test_line_for_a_child_whose_input_is_closed_is_dropped(tmp_path: Path) -> None:
    """A process that goes on after its input was closed gets no more lines, without an error."""
    argv = [sys.executable, "-c", "import time; time.sleep(600)"]
    child = Child("risk_role", argv, tmp_path / "log", dict(os.environ))
    child.start()
    try:
        child.close_input()
        child.send("drain")

        assert child.is_running
    finally:
        child.kill()
        child.wait(DEADLINE_S)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFOs in folders")
def test_start_of_a_child_whose_error_log_is_a_fifo_fails_and_does_not_wait(tmp_path: Path) -> None:
    """A FIFO in the place of an error log is an error; to wait for it would hang supervision."""
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "log")
    child = Child("risk_role", [sys.executable, "-c", ""], tmp_path / "log", dict(os.environ))
    refused: list[OSError] = []

    def start() -> None:
        try:
            child.start()
        except OSError as error:
            refused.append(error)

    starting = threading.Thread(target=start, daemon=True)
    starting.start()
    starting.join(DEADLINE_S)

    assert len(refused) == 1
    assert not child.is_running


@pytest.mark.row("N-35", "F63")
def test_role_frozen_in_the_middle_of_a_sync_is_hung(
    tmp_path: Path, watches: list[Watched]
) -> None:
    """A role frozen in a sync is hung, because heartbeats do not wait for disks."""
    watch = Watch(tmp_path / "var", {"execution_role": "frozen_in_sync"})
    watches.append(watch)

    record = watch.stop()

    assert record.reason_code == "ROLE_HUNG"
    assert "execution_role has not been heard" in record.detail


@pytest.mark.row("N-20", "N-103", "F65")
def test_role_that_crashes_is_restarted_until_its_budget_is_spent(
    tmp_path: Path, watches: list[Watched]
) -> None:
    """A crashing role is restarted three times a minute; the fourth crash is a crash loop."""
    watch = Watch(tmp_path / "var", {"execution_role": "dead"})
    watches.append(watch)

    record = watch.stop()

    assert record.reason_code == "ROLE_CRASH_LOOP"
    assert watch.incidents() == ["ROLE_RESTARTED"] * 3


@pytest.mark.row("N-20", "N-103", "F65")
@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 restarts"), (1, "1 restart"), (2, "2 restarts")]
)
def test_stop_of_a_crash_loop_counts_the_restarts_that_happened(
    tmp_path: Path, watches: list[Watched], count: int, words: str
) -> None:
    """The STOP of a crash loop counts the restarts, without the one that was refused."""
    sets = (*QUICK, f"watchdog.restarts_max_60s={count}")
    watch = Watch(tmp_path / "var", {"risk_role": "dead"}, sets)
    watches.append(watch)

    record = watch.stop()

    assert record.detail == f"risk_role ended with exit code 11; {words} in 300 s"
    assert watch.incidents() == ["ROLE_RESTARTED"] * count
    assert len(watch.supervisor.children["risk_role"].restarts_ns) == count


def test_role_that_ends_after_the_clock_is_gone_is_not_started_again(
    tmp_path: Path, watches: list[Watched]
) -> None:
    """A role that ends after the clock is gone is not restarted."""
    watch = Watch(tmp_path / "var", {})
    watches.append(watch)
    (watch.stage.run_dir / "clock.json").unlink()
    watch.supervisor.children["market_role"].kill()

    record = watch.stop()

    assert record.reason_code == "RUN_FILE_CHANGED"
    assert record.detail.startswith("clock.json is gone")
    assert watch.incidents() == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a folder of open files")
def test_role_is_restarted_though_somebody_removed_the_folder_of_logs(
    tmp_path: Path, watches: list[Watched]
) -> None:
    """Whoever cleans up logs at night does not cost the next crash the whole run."""
    watch = Watch(tmp_path / "var", {})
    watches.append(watch)
    wait_until(watch.supervisor.are_all_there, "all roles")
    child = watch.supervisor.children["risk_role"]
    shutil.rmtree(watch.stage.var.logs)
    child.kill()
    wait_until(lambda: child.final_code() is not None, "its end")

    assert watch.supervisor.check() is None

    wait_until(watch.supervisor.are_all_there, "all roles again")
    assert (watch.stage.var.logs / "risk_role.err.log").exists()


@pytest.mark.row("N-20", "N-02")
def test_role_killed_once_is_restarted_with_the_same_command_line(
    tmp_path: Path, watches: list[Watched]
) -> None:
    """A role killed once is restarted with the same command line."""
    watch = Watch(tmp_path / "var", {})
    watches.append(watch)
    child = watch.supervisor.children["market_role"]
    before = child.pid

    child.kill()
    wait_until(lambda: watch.supervisor.check() is None and child.pid != before, "another process")
    wait_until(lambda: bool(child.heartbeat), "its heartbeat")

    assert psutil.Process(child.pid).cmdline() == child.argv
    assert watch.incidents() == ["ROLE_RESTARTED"]


@pytest.mark.row("N-35", "N-88")
def test_role_that_says_why_it_stops_is_taken_at_its_word(
    tmp_path: Path, watches: list[Watched]
) -> None:
    """A role's last words give component, code and detail of the STOP; no restart."""
    watch = Watch(tmp_path / "var", {"risk_role": "stopped"})
    watches.append(watch)

    record = watch.stop()

    assert (record.component, record.reason_code) == ("risk_role", "QUEUE_CORRUPT")
    assert record.detail == "line 7"
    assert watch.incidents() == []


@pytest.mark.row("F135", "N-68")
def test_ai_that_hangs_or_dies_is_switched_off_and_never_stops_the_run(
    tmp_path: Path, watches: list[Watched]
) -> None:
    """An AI that hangs or dies beyond its budget is switched off on record."""
    watch = Watch(tmp_path / "var", {"ai_role": "dead"}, (*QUICK, "ai.restarts_max=1"))
    watches.append(watch)

    found = wait_until(lambda: watch.supervisor.check() or watch.supervisor.ai_off, "AI off")

    assert found is True
    assert watch.supervisor.check() is None
    assert watch.incidents() == ["ROLE_RESTARTED", "AI_OFF"]


@pytest.mark.row("N-01", "N-68", "F135")
@pytest.mark.fault(
    "F135",
    by="an AI clerk far behind its queues, or long in a sync",
    ends="core unaffected; AI off",
)
@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("behind", "ai_role is 1000000000 events behind"),
        ("syncing", "ai_role: a sync takes"),
        ("syncing_on", "ai_role: a turn with syncs takes"),
    ],
)
def test_ai_that_lags_is_switched_off_and_never_stops_the_run(
    tmp_path: Path, watches: list[Watched], how: str, why: str
) -> None:
    """An AI far behind, or in a disk call beyond its limit, is switched off on record."""
    sets = (*QUICK, "queues.sync_ms_max=1000")
    watch = Watch(tmp_path / "var", {"ai_role": how}, sets)
    watches.append(watch)

    found = wait_until(lambda: watch.supervisor.check() or watch.supervisor.ai_off, "AI off")

    assert found is True
    assert watch.supervisor.check() is None
    assert watch.incidents() == ["AI_OFF"]
    (incident,) = watch.stage.envelopes("incidents", "watchdog_role")
    assert incident["payload"]["detail"].startswith(why)
    assert watch.supervisor.children["strategy_role"].is_running


def test_ai_that_cannot_be_started_again_is_switched_off_and_never_stops_the_run(
    tmp_path: Path, watches: list[Watched]
) -> None:
    """An AI that cannot be restarted, as after a rebuilt environment, is switched off."""
    watch = Watch(tmp_path / "var", {"ai_role": "dead"})
    watches.append(watch)
    watch.supervisor.children["ai_role"].argv = [str(tmp_path / "no-python")]

    wait_until(lambda: watch.supervisor.check() is None and watch.supervisor.ai_off, "AI off")

    assert watch.supervisor.check() is None
    assert watch.incidents() == ["ROLE_RESTARTED", "AI_OFF"]


@pytest.mark.row("N-35", "F57")
@pytest.mark.fault("F57", by="a reading over the limit, no restart left", ends="STOP(ROLE_MEMORY)")
def test_role_over_its_memory_is_killed_and_counts_as_memory(
    tmp_path: Path, watches: list[Watched]
) -> None:
    """A role over its memory is killed each time, and the STOP of its budget says memory."""
    watch = Watch(tmp_path / "var", {}, (*QUICK, "watchdog.restarts_max_60s=0"))
    watches.append(watch)

    watch.supervisor.kill_over_memory({"risk_role": 10**12, "market_role": 1})
    record = watch.stop()

    assert record.reason_code == "ROLE_MEMORY"
    assert watch.incidents() == ["ROLE_MEMORY"]
    assert watch.supervisor.children["market_role"].is_running


def test_role_that_was_restarted_is_killed_again_for_its_memory(
    tmp_path: Path, watches: list[Watched]
) -> None:
    """Each process is looked at anew, and a later crash is no kill for memory."""
    watch = Watch(tmp_path / "var", {})
    watches.append(watch)
    child = watch.supervisor.children["risk_role"]

    def has_restarted(times: int) -> bool:
        return watch.supervisor.check() is None and len(child.restarts_ns) == times

    for times in (1, 2):
        watch.supervisor.kill_over_memory({"risk_role": 10**12})
        wait_until(partial(has_restarted, times), "a restart")

    assert watch.incidents() == ["ROLE_MEMORY", "ROLE_RESTARTED"] * 2


@pytest.mark.row("N-90")
def test_stop_ends_execution_first_and_kills_what_is_deaf(
    tmp_path: Path, watches: list[Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A STOP ends execution first and kills roles that do not answer."""
    monkeypatch.setattr("minibot.watchdog.supervisor.STOP_S", DEADLINE_S)
    watch = Watch(tmp_path / "var", {"market_role": "deaf"})
    watches.append(watch)
    children = watch.supervisor.children
    wait_until(lambda: all(child.heartbeat for child in children.values()), "heartbeats")

    watch.supervisor.stop_all()

    assert not any(child.is_running for child in watch.supervisor.children.values())
    assert children["execution_role"].exit_code() == 10
    assert children["market_role"].exit_code() not in (0, 10, None)
    assert watch.supervisor.epoch == 2


def test_lease_goes_to_every_role_once_a_second(tmp_path: Path, watches: list[Watched]) -> None:
    """A lease goes to every role each second, and a full channel neither raises nor waits."""
    watch = Watch(tmp_path / "var", {"strategy_role": "silent"})
    watches.append(watch)
    child = watch.supervisor.children["strategy_role"]
    psutil.Process(child.pid).suspend()

    def send_much() -> None:
        for _ in range(3000):
            child.send("x" * 100)
        watch.supervisor.lease()
        child.kill()
        child.wait(5.0)
        child.send("lease 1 1")

    sender = threading.Thread(target=send_much, daemon=True)
    sender.start()
    sender.join(DEADLINE_S)

    assert not sender.is_alive()
    assert not child.is_running


def test_end_of_a_role_is_judged_only_after_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role's end is judged after its last words."""
    heard = threading.Event()
    listen = Child._listen

    def listen_late(self: Child, process: subprocess.Popen[bytes]) -> None:
        heard.wait(DEADLINE_S)
        listen(self, process)

    monkeypatch.setattr(Child, "_listen", listen_late)
    monkeypatch.setattr(child_module, "LAST_WORDS_NS", 10**18)
    child = Stage(tmp_path / "var").actors({"risk_role": "stopped"})["risk_role"]
    child.start()
    assert child.wait(DEADLINE_S)

    assert child.final_code() is None
    heard.set()
    assert wait_until(child.final_code, "the last words") == 10
    assert child.reported_stop == ("QUEUE_CORRUPT", "line 7")


def test_end_of_a_role_is_not_hidden_by_a_pipe_that_somebody_else_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe held by a child of the role hides the role's end only for a moment."""
    held = threading.Event()
    monkeypatch.setattr(Child, "_listen", lambda self, stream: held.wait(DEADLINE_S))
    monkeypatch.setattr(child_module, "LAST_WORDS_NS", 0)
    child = Stage(tmp_path / "var").actors({"risk_role": "dead"})["risk_role"]
    child.start()
    assert child.wait(DEADLINE_S)

    assert child.final_code() == 11
    held.set()


LATE = """
import subprocess, sys, time
from pathlib import Path
begun, late = Path(sys.argv[1]), Path(sys.argv[2])
if not begun.exists():
    begun.touch()
    speak = "import sys, time; from pathlib import Path; late = Path(sys.argv[1])\\n"
    speak += "while not late.exists(): time.sleep(0.01)\\n"
    speak += "print('{\\"detail\\":\\"line 7\\",\\"stopped\\":\\"QUEUE_CORRUPT\\"}', flush=True)"
    subprocess.Popen([sys.executable, "-S", "-E", "-c", speak, str(late)])
    sys.exit(11)
sys.stdin.read()
"""


def test_late_words_of_a_process_are_not_those_of_the_one_started_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that comes only after the restart explains no end of the new process."""
    monkeypatch.setattr(child_module, "LAST_WORDS_NS", 0)
    begun, late = tmp_path / "begun", tmp_path / "late"
    argv = [sys.executable, "-S", "-E", "-c", LATE, str(begun), str(late)]
    child = Child("risk_role", argv, tmp_path / "logs" / "risk_role.err.log", dict(os.environ))
    child.start()
    former = child._listener
    assert former is not None
    assert wait_until(child.final_code, "the crash") == 11
    child.start()
    try:
        late.touch()
        wait_until(lambda: not former.is_alive(), "the late words")

        assert child.reported_stop is None
    finally:
        child.kill()
        child.wait(DEADLINE_S)


@pytest.mark.row("N-23", "F161")
@pytest.mark.fault(
    "F161", by="code that changed before a role is started again", ends="STOP(CODE_CHANGED)"
)
@pytest.mark.parametrize("role", ["risk_role", "ai_role"])
def test_role_is_not_restarted_from_code_that_changed_meanwhile(
    tmp_path: Path, watches: list[Watched], role: str
) -> None:
    """Changed code stops the run with the file's name instead of a restart, for the AI too."""
    watch = Watch(tmp_path / "var", {})
    watches.append(watch)
    changed = "minibot/risk/limits.py: changed"
    supervisor = Supervisor(watch.context, watch.supervisor.children, lambda: changed)
    child = supervisor.children[role]
    before = child.pid

    child.kill()
    record = wait_until(supervisor.check, "a STOP")

    assert (record.component, record.reason_code) == ("watchdog_role", "CODE_CHANGED")
    assert f"{role} is not started" in record.detail
    assert changed in record.detail
    assert child.pid == before
    assert watch.incidents() == []


@pytest.mark.row("F161")
def test_roles_are_not_started_from_code_that_changed_since_the_manifest(
    tmp_path: Path, watches: list[Watched]
) -> None:
    """Code that changed since the manifest prevents the first start."""
    stage = Stage(tmp_path / "var", QUICK)
    supervisor = Supervisor(stage.context(), stage.actors({}), lambda: "minibot/x.py: new")

    record = supervisor.start()

    assert record is not None
    assert record.reason_code == "CODE_CHANGED"
    assert not any(child.is_running for child in supervisor.children.values())
