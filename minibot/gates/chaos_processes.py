"""Faults in the processes of a drill's run: killed, frozen, starved, started twice.

Each function that takes only the run injects one fault, and marks the moment where it can.
"""

from __future__ import annotations

import sys
import time
from typing import Final

import psutil

from minibot.events.names import EXECUTION_ROLE, MARKET_ROLE, RISK_ROLE, STRATEGY_ROLE
from minibot.events.reasons import POISON_EVENT, QUEUE_LOCKED
from minibot.gates.chaos_fault import Inject
from minibot.gates.drill_processes import FeatureMissing
from minibot.gates.drill_run import TRADING_ROLES, DrillRun
from minibot.kernel.files import read_hashed
from minibot.runtime.stop import raise_flag
from minibot.watchdog.run_manifest import role_argv

# Exit code of a run whose start is refused.
REFUSED: Final = 2
# A role that may run 2 ms of every 100 takes some hundred events a second and falls behind.
AWAKE_S: Final = 0.002
ASLEEP_S: Final = 0.098
FILE_BYTES_MAX: Final = 4096


def wait_for_stop(night: DrillRun) -> None:
    """Inject and mark nothing: the profile plants the fault, and `watch_end` awaits its STOP."""


def planted_line(queue: str, number: int) -> Inject:
    """Return an injection that waits for line `number`, which the writer spoils, and marks then.

    The wait ends when the line is published, with STOP.flag or with the run; each is marked.
    """

    def inject(night: DrillRun) -> None:
        night.wait_for(
            f"line {number} of {queue}",
            lambda: night.lines(queue) >= number or night.flagged_ns or night.look() or None,
            until_end=True,
        )
        night.mark()

    return inject


def poison(night: DrillRun) -> None:
    """Inject nothing: wait for the incident POISON_EVENT, mark it, wait for the run to go on."""
    night.wait_for("the dead letter", lambda: night.incidents(POISON_EVENT) or None)
    night.mark()
    night.wait_to_go_on()


# --- roles --------------------------------------------------------------------------------------


def kill_each_role(night: DrillRun) -> None:
    """Kill market, strategy, risk and execution in turn, each once the last is back at work."""
    for role in TRADING_ROLES:
        kill_role(night, role)


def kill_role(night: DrillRun, role: str) -> None:
    """Kill a role and wait until it is back at work.

    Back at work: it has another process, a new incident "role_restarted" stands, the run goes on.
    """
    count = len(night.incidents("role_restarted"))
    pid = night.wait_for(role, lambda: night.role_pid(role))
    night.kill(pid)
    night.mark()
    night.wait_for(f"the restart of {role}", lambda: other_pid(night.role_pid(role), pid))
    night.wait_for("its record", lambda: len(night.incidents("role_restarted")) > count)
    night.wait_to_go_on()


def other_pid(pid: int | None, before: int) -> int | None:
    """Return `pid`, or None if it is still the id `before`."""
    return None if pid == before else pid


def kill_while_draining(night: DrillRun) -> None:
    """Freeze the executor, ask the run to end, and kill the executor once risk has ended.

    The executor has to come back and finish, which the judge checks.
    """
    pid = night.wait_for(EXECUTION_ROLE, lambda: night.role_pid(EXECUTION_ROLE))
    night.suspend(pid)
    night.ask_end()
    night.wait_for("risk to have drained", lambda: night.role_pid(RISK_ROLE) is None)
    night.kill(pid)
    night.mark()


def kill_again_and_again(night: DrillRun) -> None:
    """Kill the strategy as often as it is restarted, until STOP.flag exists or the run ends."""
    night.mark()
    killed = 0
    while not night.look() and not night.flagged_ns:
        pid = night.role_pid(STRATEGY_ROLE)
        if pid is not None and pid != killed:
            night.kill(pid)
            killed = pid
        time.sleep(0.01)


def freeze_strategy(night: DrillRun) -> None:
    """Freeze the strategy for good."""
    _freeze(night, STRATEGY_ROLE)


def freeze_execution(night: DrillRun) -> None:
    """Freeze the executor for good."""
    _freeze(night, EXECUTION_ROLE)


def _freeze(night: DrillRun, role: str) -> None:
    pid = night.wait_for(role, lambda: night.role_pid(role))
    night.suspend(pid)
    night.mark()


def slow_strategy(night: DrillRun) -> None:
    """Let the strategy run 2 ms of every 100, until STOP.flag exists or the run ends."""
    pid = night.wait_for(STRATEGY_ROLE, lambda: night.role_pid(STRATEGY_ROLE))
    night.mark()
    while not night.look() and not night.flagged_ns:
        night.suspend(pid)
        time.sleep(ASLEEP_S)
        night.resume(pid)
        time.sleep(AWAKE_S)


def start_role_twice(night: DrillRun) -> None:
    """Start a second process of the strategy: it has to end with exit code 10 and QUEUE_LOCKED.

    Another end is a complaint.
    """
    argv = role_argv(STRATEGY_ROLE, night.run_dir)
    process = night.spawn(argv, "second")
    night.mark()
    code = night.wait_for("the end of the second process", process.poll)
    if code != 10 or QUEUE_LOCKED not in night.output("second"):
        night.complaints.append(f"the second process ended with {code}, not with QUEUE_LOCKED")


def limit_file_size(night: DrillRun) -> None:
    """Forbid the market role to write a file beyond 4096 bytes, as a quota does (only on Linux)."""
    _limit(night, MARKET_ROLE, "RLIMIT_FSIZE", FILE_BYTES_MAX)


def limit_descriptors(night: DrillRun) -> None:
    """Lower the risk role's limit of descriptors so far that it can open none (Linux only)."""
    _limit(night, RISK_ROLE, "RLIMIT_NOFILE", 3)


def _limit(night: DrillRun, role: str, name: str, value: int) -> None:
    pid = night.wait_for(role, lambda: night.role_pid(role))
    if sys.platform != "linux":
        raise FeatureMissing("limits of another process (prlimit, Linux)")
    try:
        psutil.Process(pid).rlimit(getattr(psutil, name), (value, value))
    except (psutil.AccessDenied, OSError) as error:
        raise FeatureMissing("limits of another process (prlimit)") from error
    night.mark()


# --- the launcher -------------------------------------------------------------------------------


def kill_launcher(night: DrillRun) -> None:
    """Kill the launcher and wait until a role that lost its supervision has raised STOP.flag."""
    night.kill(night.launcher_pid)
    night.mark()
    night.wait_for("the roles' own STOP", lambda: night.flagged_ns or None, until_end=True)


def after_killed_launcher(night: DrillRun) -> list[str]:
    """Start again and return the complaints.

    With the flag standing the start has to be refused (exit code 2). After `clear-stop` the next
    run has to trade and to end with exit code 0, and the dead run to be sealed as interrupted.
    """
    dead = night.run_dir
    complaints = []
    code = night.verb("night", "--config", str(night.profile), "--quiet", "--no-proof")
    if code != REFUSED:
        complaints.append(f"a start with the flag standing ended with {code}, not with {REFUSED}")
    code = night.verb("clear-stop", "--reason", "chaos: the launcher was killed on purpose")
    if code != 0:
        return [*complaints, f"clear-stop ended with {code}: {night.output('clear-stop')[-200:]}"]
    night.start()
    night.wait_for("the next run", lambda: night.last_run not in (None, dead))
    night.wait_for_trading()
    night.ask_end()
    night.watch_end()
    if night.exit_code != 0:
        complaints.append(f"the next run ended with {night.exit_code}: {night.output()[-200:]}")
    seal = dead / "seal.json"
    state = read_hashed(seal)["extra"]["state"] if seal.exists() else "not sealed"
    if state != "interrupted":
        complaints.append(f"the dead run is {state}, not sealed as interrupted")
    return complaints


def freeze_launcher(night: DrillRun) -> None:
    """Freeze the launcher until a role has raised STOP.flag, then let the launcher go on."""
    night.suspend(night.launcher_pid)
    night.mark()
    try:
        night.wait_for("the executor's own STOP", lambda: night.flagged_ns or None)
    finally:
        night.resume(night.launcher_pid)


def start_twice(night: DrillRun) -> None:
    """Start a second run on the same var: it has to end with `REFUSED`; else a complaint."""
    process = night.spawn(night.argv(), "second")
    night.mark()
    code = night.wait_for("the end of the second start", process.poll)
    if code != REFUSED:
        night.complaints.append(f"the second start ended with {code}, not with {REFUSED}")


def freeze_table(night: DrillRun) -> None:
    """Freeze the process of the live table for the rest of the run, as an unread terminal does."""
    pid = night.wait_for("the live table", lambda: night.child_pid("minibot.cli.support.live"))
    night.suspend(pid)
    night.mark()


# --- the operator -------------------------------------------------------------------------------


def operator_stop(night: DrillRun) -> None:
    """End the run by `minibot stop`; the verb has to return 0."""
    _ordered(night, "stop", "--reason", "chaos")


def operator_kill(night: DrillRun) -> None:
    """Stop the run by `minibot kill`; the verb has to return 0."""
    night.mark()
    _ordered(night, "kill", "--reason", "chaos")


def _ordered(night: DrillRun, *words: str) -> None:
    code = night.verb(*words)
    if code != 0:
        night.complaints.append(f"minibot {words[0]} ended with {code}")


def interrupt(night: DrillRun) -> None:
    """Press Ctrl-C once."""
    night.interrupt()
    night.mark()


def interrupt_twice(night: DrillRun) -> None:
    """Press Ctrl-C, and again once the run is closing: `control` has a second line."""
    night.interrupt()
    night.wait_for("the run to close", lambda: night.lines("control") > 1)
    night.interrupt()
    night.mark()


def start_with_flag(night: DrillRun) -> None:
    """Raise STOP.flag, as if of a former run, and start the run."""
    raise_flag(night.var.stop, night.var.flag, "operator")
    night.mark()
    night.start()
