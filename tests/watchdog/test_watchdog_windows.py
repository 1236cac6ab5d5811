"""Rules of Windows that Linux lacks: held files, another process than the started one."""

from __future__ import annotations

import os
import queue
import sys
from pathlib import Path

import pytest

from minibot.runtime.cmdline import cmdline_hash, own_cmdline
from minibot.runtime.interpreter import program, program_environ
from minibot.runtime.running import note_current
from minibot.watchdog import console
from minibot.watchdog.child import Child
from minibot.watchdog.recovery import clear_former_run
from minibot.watchdog.run_manifest import child_environ, role_argv
from tests.waiting import wait_until
from tests.watchdog.watchdog_stage import RUN_ID, Stage

ECHO = """
import sys
from minibot.kernel import canonical
from minibot.runtime.cmdline import own_cmdline_hash
print(canonical.encode({"hash": own_cmdline_hash(), "prefix": sys.prefix}).decode(), flush=True)
"""

SLOW = """
import json, time
def say(state):
    fields = {"role": "slow", "state": state, "turns": 0, "position": 0, "waiting": 1,
              "sync_ns": 0, "market_ready": False, "facts": {}}
    print(json.dumps(fields, sort_keys=True, separators=(",", ":")), flush=True)
for _ in range(3):
    say("STARTING")
    time.sleep(0.2)
say("READY")
time.sleep(60)
"""


def held_below(folder: Path) -> list[str]:
    """Return the files below a folder that this process holds, removed ones included."""
    return sorted(
        target
        for descriptor in os.listdir("/proc/self/fd")
        if (target := _target(descriptor)).startswith(str(folder))
    )


def _target(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Interrupted run with a STOP and incidents in its parts."""
    stage = Stage(tmp_path / "var")
    note_current(stage.var, RUN_ID)
    stage.leave_stop("execution_role", "WATCHDOG_LOST")
    stage.leave_incidents("market_role", 4)
    return stage


@pytest.mark.row("N-124")
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc/self/fd")
def test_recovery_of_a_run_holds_none_of_its_files_any_more(stage: Stage) -> None:
    """Recovery holds no file of the run afterwards, as Windows would keep its name."""
    before = held_below(stage.var.root)
    assert clear_former_run(stage.var, stage.contracts, stage.roles) is not None

    assert [path for path in held_below(stage.var.root) if path not in before] == []


@pytest.mark.row("N-124")
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc/self/fd")
def test_recovery_of_a_damaged_run_holds_none_of_its_files_any_more(stage: Stage) -> None:
    """Recovery of a damaged run holds no file either."""
    part = stage.var.queues / "incidents" / "parts" / "market_role.jsonl"
    data = bytearray(part.read_bytes())
    data[100] ^= 1
    part.write_bytes(bytes(data))
    before = held_below(stage.var.root)
    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert recovered is not None
    assert recovered.findings
    assert [path for path in held_below(stage.var.root) if path not in before] == []


@pytest.mark.process
@pytest.mark.row("N-09", "N-124")
def test_process_finds_the_command_line_hash_that_its_launcher_wrote_down(tmp_path: Path) -> None:
    """A process finds the command line hash that its launcher recorded."""
    argv = [program(), "-c", ECHO, "with blanks", 'and "quotes"', "back\\slash\\"]
    child = Child("echo", argv, tmp_path / "echo.log", child_environ(os.environ))
    child.start()
    fields = wait_until(lambda: child.lines or None, "its hash")[0]
    child.close_input()
    assert child.wait(10.0)

    assert fields["hash"] == cmdline_hash(argv)
    assert fields["prefix"] == sys.prefix


@pytest.mark.row("N-124")
def test_program_on_windows_is_the_one_that_runs_not_the_one_of_the_venv(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On Windows the real interpreter is started, not the venv's launcher."""
    assert role_argv("risk_role", tmp_path)[0] == program()
    if sys.platform != "win32":
        assert (program(), program_environ()) == (sys.executable, {})
        return
    monkeypatch.setattr(sys, "_base_executable", r"C:\Python\python.exe")
    monkeypatch.setattr(sys, "executable", r"C:\venv\Scripts\python.exe")
    assert program() == r"C:\Python\python.exe"
    assert program_environ() == {"__PYVENV_LAUNCHER__": r"C:\venv\Scripts\python.exe"}


def test_own_command_line_is_the_one_that_the_system_knows() -> None:
    """A process's own command line equals the system's, program first."""
    assert own_cmdline()


@pytest.mark.row("N-124")
def test_end_of_the_console_is_an_interrupt_and_soon_a_second_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The console's end is an interrupt, and a second one soon after stops the run."""
    if sys.platform != "win32":
        with console.console_events(queue.SimpleQueue()):
            return
    monkeypatch.setattr(console, "ORDERLY_S", 0.05)
    monkeypatch.setattr(console, "REST_S", 0.05)
    interrupts: queue.SimpleQueue[str] = queue.SimpleQueue()
    events = console.ConsoleEvents(interrupts)
    with events:
        assert not events.take(0)  # Python itself handles Ctrl-C.
        assert interrupts.empty()
        assert events.take(2)
    assert [interrupts.get(), interrupts.get()] == ["CTRL_CLOSE", "CTRL_CLOSE"]
    assert events.take(5)
    assert interrupts.get() == "CTRL_LOGOFF"
    assert interrupts.empty()


@pytest.mark.process
@pytest.mark.row("N-124")
def test_role_that_starts_slowly_is_not_taken_for_hung(tmp_path: Path) -> None:
    """A slow start is not taken for a hang."""
    child = Child("slow", [program(), "-c", SLOW], tmp_path / "slow.log", child_environ(os.environ))
    child.start()
    wait_until(lambda: child.heartbeat.get("state") == "READY", "READY")
    child.kill()
    assert child.wait(10.0)

    # Both times count from the first report after STARTING, 0.6 s after the others.
    assert child.turned_ns == child.moved_ns == child.heard_ns


@pytest.mark.row("N-124")
def test_file_that_a_foreign_program_keeps_from_rotation_is_an_incident_once(stage: Stage) -> None:
    """A file that another program keeps from rotation is one incident."""
    context = stage.context()
    output = context.open_output("control")
    context.health("READY")
    assert stage.envelopes("incidents", "watchdog_role") == []
    output.writer.rotations_postponed = 3
    context.health("READY")
    context.health("READY")
    context.close_outputs()

    (incident,) = stage.envelopes("incidents", "watchdog_role")
    assert incident["payload"]["kind"] == "ROTATION_POSTPONED"
    assert incident["payload"]["detail"].startswith("control: ")
