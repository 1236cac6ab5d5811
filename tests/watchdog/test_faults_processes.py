"""Processes that cannot start, or take too much: the supervisor's reaction."""

from __future__ import annotations

import _thread
import ast
import errno
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from minibot.kernel.errors import RunStop
from minibot.runtime.stop import StopRecord
from minibot.watchdog import child as child_module
from minibot.watchdog.background import Background
from minibot.watchdog.child import Child
from minibot.watchdog.feed import LiveFeed
from minibot.watchdog.launcher import _Launch
from minibot.watchdog.ops_process import OpsProcess
from minibot.watchdog.run_manifest import child_environ
from minibot.watchdog.spawn import spawn_role
from minibot.watchdog.supervisor import Supervisor
from tests.kernel.injection import Group, run_victim
from tests.waiting import wait_until
from tests.watchdog.watchdog_stage import Stage, Watched

pytestmark = pytest.mark.process

SETS = (
    "watchdog.heartbeat_interval_ms=200",
    "watchdog.restarts_max_60s=1",
    "watchdog.rss_mb_max=128",
)
MIB = 2**20
GREEDY = """
import json, sys, time
held = bytearray(b"x") * {size}
turns = 0
while True:
    turns += 1
    said = {{"role": "risk_role", "state": "READY", "turns": turns, "position": turns,
            "waiting": 0, "sync_ns": 0, "market_ready": False, "facts": {{}}}}
    print(json.dumps(said, sort_keys=True, separators=(",", ":")), flush=True)
    time.sleep(0.05)
"""


# May use a process id: only the AI's probe of its sandbox, which has to fail.
PROBES = {"minibot/ai/probes.py", "minibot/ai/jail_linux.py"}
# Kills the group of a child that it has not waited for, so that the number is still the child's.
OWN_GROUP = {"minibot/ops/alerts/targets.py"}
BY_NUMBER = {"os.kill", "os.killpg", "signal.pidfd_send_signal", "psutil.pid_exists"}


class Watch(Watched):
    """Supervisor over a few actors."""

    def __init__(self, root: Path, hows: Mapping[str, str]) -> None:
        self.stage = Stage(root, SETS)
        self.context = self.stage.context()
        children = {name: child for name, child in self.stage.actors(hows).items() if name in hows}
        self.supervisor = Supervisor(self.context, children)


@pytest.mark.row("F61")
@pytest.mark.fault(
    "F61",
    by="seam: no further process (EAGAIN), no further thread",
    ends="restart fails: STOP(ROLE_CRASH_LOOP)",
)
@pytest.mark.parametrize("what", ["process", "thread"])
def test_role_that_cannot_be_restarted_stops_the_run(
    tmp_path: Path, watches: list[Watched], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A role that cannot be restarted stops the run."""
    watch = Watch(tmp_path / "var", {"risk_role": "dead", "market_role": "well"})
    watches.append(watch)
    watch.supervisor.start()

    def no_process(*_: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    if what == "process":
        monkeypatch.setattr(child_module, "spawn_role", no_process)
    else:
        monkeypatch.setattr(_thread, "start_new_thread", no_thread)
    record = wait_until(watch.supervisor.check, "a STOP")

    assert record.reason_code == "ROLE_CRASH_LOOP"
    assert "risk_role: restart failed" in record.detail
    assert watch.supervisor.children["market_role"].is_running
    assert not watch.supervisor.children["risk_role"].is_running


@pytest.mark.row("F61")
@pytest.mark.parametrize("refused", ["risk_role", "ai_role"])
def test_role_that_cannot_be_started_at_all_stops_the_run_and_the_ai_is_switched_off(
    tmp_path: Path, watches: list[Watched], monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """A role that cannot be started stops the run on record, and the AI is switched off."""
    watch = Watch(tmp_path / "var", {refused: "well", "execution_role": "well"})
    watches.append(watch)

    def no_more(
        argv: Sequence[str], environ: Mapping[str, str], error_fd: int
    ) -> subprocess.Popen[bytes]:
        if refused in argv:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return spawn_role(argv, environ, error_fd)

    monkeypatch.setattr(child_module, "spawn_role", no_more)
    record = watch.supervisor.start()

    assert watch.supervisor.children["execution_role"].is_running
    if refused == "ai_role":
        assert (record, watch.supervisor.ai_off) == (None, True)
        assert watch.incidents() == ["AI_OFF"]
    else:
        assert record is not None
        assert record.reason_code == "ROLE_CRASH_LOOP"
        assert record.detail.startswith("risk_role: start failed")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RunStop("kernel.journal", "IO_ENOSPC", "no space left"), "IO_ENOSPC"),
        (RuntimeError("odd"), "INVARIANT_BROKEN"),
        (MemoryError(), "ROLE_MEMORY"),
    ],
)
def test_fault_behind_the_start_of_a_role_is_a_stop_and_no_refused_start(
    tmp_path: Path,
    watches: list[Watched],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: str,
) -> None:
    """An AI that cannot start on a disk that refuses to say so ends the run on record."""
    watch = Watch(tmp_path / "var", {"ai_role": "well", "execution_role": "well"})
    watches.append(watch)
    launch = object.__new__(_Launch)
    launch.feed = LiveFeed(())

    def refuse(*_: object) -> None:
        raise error

    watch.supervisor.children["ai_role"].argv = [str(tmp_path / "no such program")]
    monkeypatch.setattr(watch.context, "incident", refuse)
    record = launch._begin(watch.supervisor, cast(Background, object()), OpsProcess(watch.context))
    launch.feed.close()

    assert record is not None
    assert (record.component, record.reason_code) == ("watchdog_role", code)
    assert watch.supervisor.children["execution_role"].is_running


@pytest.fixture
def few_processes() -> Iterator[Group]:
    """Control group without room for another process."""
    group = Group("pids")
    yield group
    group.close()


@pytest.mark.real_injection("pids")
@pytest.mark.row("F61")
@pytest.mark.fault(
    "F61", by="a pids group at its limit", ends="restart fails: STOP(ROLE_CRASH_LOOP)"
)
def test_launcher_at_its_limit_of_processes_stops_the_run(
    tmp_path: Path, few_processes: Group
) -> None:
    """A launcher at its limit of processes stops the run."""
    done = run_victim("restart", tmp_path / "var", group=str(few_processes.folder))

    assert done.code == 0, done.err
    assert done.out[-1].startswith("STOP ROLE_CRASH_LOOP risk_role: restart failed")
    assert "Resource temporarily unavailable" in done.out[-1]


@pytest.mark.row("F57")
@pytest.mark.fault("F57", by="a process of 178 MiB under a limit of 128", ends="STOP(ROLE_MEMORY)")
@pytest.mark.fault(
    "F57", by="the same once", ends="role restarted; over the budget STOP(ROLE_MEMORY)"
)
def test_role_that_grows_is_killed_and_stops_the_run_when_it_grows_again(
    tmp_path: Path, watches: list[Watched]
) -> None:
    """A role over its memory is killed, restarted once, and then stops the run."""
    watch = Watch(tmp_path / "var", {"risk_role": "well"})
    watches.append(watch)
    limit_mb = watch.context.config.watchdog.rss_mb_max
    child = Child(
        "risk_role",
        [sys.executable, "-S", "-E", "-c", GREEDY.format(size=(limit_mb + 50) * MIB)],
        watch.stage.var.logs / "risk_role.err.log",
        child_environ({}),
    )
    supervisor = watch.supervisor = Supervisor(watch.context, {"risk_role": child})
    supervisor.start()

    def look() -> StopRecord | None:
        rss = child.rss_bytes()
        supervisor.kill_over_memory({"risk_role": rss} if rss is not None else {})
        return supervisor.check()

    record = wait_until(look, "a STOP")

    assert record.reason_code == "ROLE_MEMORY"
    assert watch.incidents() == ["ROLE_MEMORY", "ROLE_RESTARTED", "ROLE_MEMORY"]


@pytest.mark.row("F57")
def test_role_over_its_memory_that_is_still_ending_is_on_record_once(
    tmp_path: Path, watches: list[Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role over its memory that is still ending is recorded once."""
    watch = Watch(tmp_path / "var", {"risk_role": "well"})
    watches.append(watch)
    watch.supervisor.start()
    child = watch.supervisor.children["risk_role"]
    monkeypatch.setattr(child, "kill", lambda: None)
    for _ in range(3):
        watch.supervisor.kill_over_memory({"risk_role": 1 << 40})
    monkeypatch.undo()

    assert watch.incidents() == ["ROLE_MEMORY"]


@pytest.mark.row("F73")
@pytest.mark.fault(
    "F73", by="the product searched for calls by number", ends="watchdog uses its own child handles"
)
def test_no_process_is_ended_by_a_number(project: Path) -> None:
    """No process is ended by its id, which may belong to another one; only by a handle."""
    found: dict[str, set[str]] = {}
    calls = {name.rpartition(".")[2] for name in BY_NUMBER}
    for path in (project / "minibot").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if not any(call in text for call in calls):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in BY_NUMBER:
                name = path.relative_to(project).as_posix()
                found.setdefault(name, set()).add(ast.unparse(node))

    assert set(found) == PROBES | OWN_GROUP, found
