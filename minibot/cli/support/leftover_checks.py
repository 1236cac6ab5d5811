"""Leftovers of the night before, for `minibot doctor`: unsealed runs, processes, a stale status."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Final

import psutil

from minibot.events.reasons import REASONS
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.gates.drill_processes import named
from minibot.kernel import canonical
from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.files import read_whole
from minibot.kernel.seal import SEAL_FILE
from minibot.report.figures import counted, listed
from minibot.report.proof import waits_for_seal
from minibot.runtime.clock import wall_ms
from minibot.runtime.configuration.config import Config
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import run_folders
from minibot.runtime.running import running_run
from minibot.watchdog.opening import last_run, opening_of, refuse_gone
from minibot.watchdog.preflight import CheckResult
from minibot.watchdog.recovery import refuse_uncleared

RUNNING, UNSEALED_RUN, PROCESSES, STATUS = "running", "unsealed", "processes", "status"
ACCOUNT: Final = "account"
RUN_FLAG: Final = "--run"
_SHOWN: Final = 3


def leftover_checks(var: Var) -> Iterator[CheckResult]:
    """Yield the leftovers of an earlier night in a `var`; a start itself checks for a STOP flag.

    While a run goes on it is named, and nothing of it is a leftover.
    """
    run_id = running_run(var)
    if run_id is not None:
        text = f"{run_id} is running here; no other run can start"
        yield CheckResult(RUNNING, True, text, "minibot status, then minibot stop, or --var DIR")
        return
    yield _unsealed(var)
    yield _processes(var)
    yield _status(var)


def account_checks(config: Config, var: Var) -> Iterator[CheckResult]:
    """Yield whether a start could carry on the last run's account; nothing if it begins afresh."""
    if config.portfolio.start_from == "fresh":
        return
    last = last_run(var.runs, is_simulated=config.embedded is not None)
    try:
        refuse_gone(config, var)
        if last is not None and waits_for_seal(last):
            yield CheckResult(ACCOUNT, True, f"that of {last.name}, once it is sealed")
            return
        opening_of(config, var.runs, Contracts.of_project(), Roles.of_project(), wall_ms())
    except Refusal as refusal:
        yield CheckResult(ACCOUNT, False, refusal.message, refusal.remedy)
    except RunStop as error:
        remedy = REASONS[error.reason_code].remedy
        yield CheckResult(ACCOUNT, False, str(error), remedy)
    else:
        found = "no run to carry on from" if last is None else f"carries on from {last.name}"
        yield CheckResult(ACCOUNT, True, found)


def _unsealed(var: Var) -> CheckResult:
    found = [each for each in run_folders(var.runs) if not (each / SEAL_FILE).exists()]
    names = [each.name for each in found]
    text = f"{counted(len(names), 'run')} did not end: {_some(names)}" if names else "no run"
    try:
        refuse_uncleared(var)
    except Refusal as refusal:
        return CheckResult(UNSEALED_RUN, False, refusal.message, refusal.remedy)
    except RunStop as error:
        text = f"no start can clear {var.queues}: {error.detail}"
        return CheckResult(UNSEALED_RUN, False, text, REASONS[error.reason_code].remedy)
    waiting = [each.name for each in found if waits_for_seal(each)]
    if waiting:
        return CheckResult(
            UNSEALED_RUN, True, text, f"minibot night recovers and seals {waiting[0]}"
        )
    remedy = f"minibot verify {names[0]} says what is left of it" if names else ""
    return CheckResult(UNSEALED_RUN, True, text, remedy)


def _processes(var: Var) -> CheckResult:
    """Check for roles whose launcher is gone: they keep queues locked."""
    found = run_processes(var)
    if not found:
        return CheckResult(PROCESSES, True, "none left from an earlier run")
    text = f"{counted(len(found), 'process', 'processes')} left from an earlier run: "
    ids = " ".join(str(process.pid) for process in found)
    return CheckResult(
        PROCESSES, False, text + _some([named(each) for each in found]), f"kill {ids}"
    )


def run_processes(var: Var) -> list[psutil.Process]:
    """Return the living processes whose command line gives them a run of this `var`."""
    runs = f"{var.runs}{os.sep}"
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        of_run = any(
            flag == RUN_FLAG and word.startswith(runs) for flag, word in itertools.pairwise(words)
        )
        if of_run and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def _status(var: Var) -> CheckResult:
    """Check for the status of a run that never reported its end."""
    if not var.status.exists():
        return CheckResult(STATUS, True, "no stale file")
    try:
        status = canonical.decode(read_whole(var.status).rstrip(b"\n"))
        ended, run_id = status.get("ended"), str(status.get("run_id"))
    except (OSError, RunStop, ValueError, AttributeError):
        ended, run_id = None, "a file that cannot be read"
    if ended is not None:
        return CheckResult(STATUS, True, f"{run_id} reported its end")
    text = f"{var.status} is stale: {run_id} never reported its end"
    return CheckResult(STATUS, True, text, f"rm {var.status}")


def _some(names: list[str]) -> str:
    return listed(names[:_SHOWN]) + (" and more" if len(names) > _SHOWN else "")
