"""Attacks on the first seconds of a night: stopped, limited or frozen while it starts.

An untouched record must never be called different, and no role may trade before all roles have
begun. `tools.first_seconds` plays the same attacks at many moments, one after the other.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import psutil

from tools.attacks.frame import Done, Found, Lab, Night, NotPlayable, attack, lines_of, stops_of

ROLES: Final = ("execution_role", "risk_role", "strategy_role", "market_role")
# Ten times the longest unnoticed freeze that is allowed, a sixth of the longest start.
NOTICED_S_MAX: Final = 10.0
SHORT_FREEZE_S: Final = 1.0
REFUSED: Final = 2
STOPPED: Final = 10
# Allowed answers of each verb about a run that was stopped before anything happened.
Proofs = Mapping[tuple[str, ...], tuple[int, ...]]
PROOFS: Final[Proofs] = {
    ("verify",): (0,),
    ("replay",): (0,),
    ("report",): (0,),
    ("metrics",): (0,),
    ("explain",): (0, REFUSED),
    ("explain", "--stop"): (0,),
    ("accept",): (0, 1),
}
BRIEF: Final[Proofs] = {words: PROOFS[words] for words in (("verify",), ("replay",), ("report",))}
NEVER_SAID: Final = ("Traceback", "1970-01-01", "DIFFERENT")


def unproven(lab: Lab, night: Done, proofs: Proofs = PROOFS) -> list[str]:
    """Return the wrong verdicts of the proving verbs about the newest run; empty for none."""
    if not list((lab.var / "runs").glob("*/manifest.json")):
        return []
    found = []
    for words, codes in proofs.items():
        done = lab.minibot(*words)
        said = [word for word in NEVER_SAID if done.says(word)]
        # A system limit may prevent the seal; then the night itself has to say so.
        if done.says("SEAL_MISSING") and night.says("could not be sealed"):
            continue
        if done.code not in codes or said:
            found.append(
                f"{' '.join(words)} exit {done.code} {' '.join(said)}: {done.last_words()}"
            )
    return found


def sleep_until(moment_s: float) -> None:
    """Sleep until a moment of `time.monotonic`, at which an attack is due."""
    time.sleep(max(0.0, moment_s - time.monotonic()))


# --- deeds done to a night at a moment ---------------------------------------------------------


def kill(night: Night) -> None:
    """Run `minibot kill` at once, as an operator does; refused while nothing runs yet."""
    night.lab.minibot("kill", "--reason", "too early")


def flag(night: Night) -> None:
    """Create STOP.flag, as a script may."""
    (night.var / "STOP.flag").touch()


def files(night: Night) -> None:
    """Limit the night and its roles to 64 file descriptors each, like `ulimit -n 64`."""
    _limit(night, "RLIMIT_NOFILE", 64)


def memory(night: Night) -> None:
    """Limit the night and its roles to 250 MB of address space each, like `ulimit -v 250000`."""
    _limit(night, "RLIMIT_AS", 250_000 * 1024)


def _limit(night: Night, resource: str, limit: int) -> None:
    if not hasattr(psutil, resource):
        raise NotPlayable("this system has no limits of processes")
    try:
        launcher = psutil.Process(night.process.pid)
        found: list[Any] = [launcher, *launcher.children(recursive=True)]
        for process in found:
            process.rlimit(getattr(psutil, resource), (limit, limit))
    except psutil.NoSuchProcess:
        return


DEEDS: Final[Mapping[str, Callable[[Night], None]]] = {
    "kill": kill,
    "flag": flag,
    "files": files,
    "memory": memory,
}


def disturbed(
    lab: Lab, deed: Callable[[Night], None], moment_s: float, proofs: Proofs = BRIEF
) -> Found:
    """Disturb a night at a moment after its start; judge its record afterwards."""
    begun = time.monotonic()
    night = lab.start_night({"duration_ms": "60000"})
    sleep_until(begun + moment_s)
    deed(night)
    done = night.wait()
    findings = unproven(lab, done, proofs)
    said = "; ".join(findings) or f"{_end_of(lab)}, proven"
    return Found(said, done.code, not findings and done.code in (0, REFUSED, STOPPED))


def _end_of(lab: Lab) -> str:
    stops = stops_of(lab.var)
    return str(stops[-1]["reason_code"]) if stops else "no run"


def _draw(name: str, until_s: float) -> float:
    return random.Random(name).uniform(0.0, until_s)


@attack("A3", "minibot kill in the first second", "verify clean, replay identical, no 1970")
def kill_in_the_first_second(lab: Lab) -> Found:
    """Kill a night as soon as its manifest exists."""
    night = lab.start_night()
    night.wait_for_run()
    kill(night)
    done = night.wait()
    findings = unproven(lab, done, BRIEF)
    return Found("; ".join(findings) or f"{_end_of(lab)}, proven", done.code, not findings)


@attack("A3", "STOP.flag while the roles start", "verify clean, replay identical, no 1970")
def flag_while_roles_start(lab: Lab) -> Found:
    """Create STOP.flag as soon as the manifest exists."""
    night = lab.start_night()
    night.wait_for_run()
    flag(night)
    done = night.wait()
    findings = unproven(lab, done, BRIEF)
    is_stopped = done.code == STOPPED
    return Found("; ".join(findings) or _end_of(lab), done.code, is_stopped and not findings)


@attack("A3", "ulimit -n 64 in the first seconds", "an end with a reason, its record proven")
def few_files_in_the_first_seconds(lab: Lab) -> Found:
    """Take file descriptors away while the night starts."""
    return disturbed(lab, files, _draw("files", 3.0))


@attack("A3", "ulimit -v 250000 in the first seconds", "an end with a reason, its record proven")
def little_memory_in_the_first_seconds(lab: Lab) -> Found:
    """Take address space away while the night starts."""
    return disturbed(lab, memory, _draw("memory", 3.0))


# --- roles that freeze while they start --------------------------------------------------------


def _process_of(night: Night, role: str) -> psutil.Process:
    return night.wait_until(lambda: night.roles().get(role), f"the process of {role}")


def frozen(
    lab: Lab,
    role: str,
    moment_s: float,
    *,
    for_s: float | None = None,
    proofs: Proofs = BRIEF,
) -> Found:
    """Freeze a role at a moment of its life, for good or for a while, and judge the night.

    Frozen for good: the watchdog notices within seconds, and nothing is filled before the market
    begins. Frozen for a while: the night ends in order, and its replay is identical.
    """
    night = lab.start_night({"duration_ms": "60000"})
    process = _process_of(night, role)
    sleep_until(time.monotonic() + moment_s)
    process.suspend()
    begun = time.monotonic()
    had_begun = bool(list((night.var / "runs").glob("*/clock.json")))
    if for_s is not None:
        sleep_until(begun + for_s)
        process.resume()
        return _ended_in_order(lab, night, proofs)
    noticed_s = _noticed_s(night, begun)
    done = night.wait()
    fills = lines_of(night.var / "queues" / "fills" / "inbox.jsonl")
    findings = unproven(lab, done, proofs)
    if noticed_s > NOTICED_S_MAX:
        findings.append(f"noticed after {noticed_s:.1f} s")
    if fills and not had_begun:
        findings.append(f"{fills} fills while {role} was silent")
    if _end_of(lab) != "ROLE_HUNG":
        findings.append(f"it ended with {_end_of(lab)}")
    when = "running" if had_begun else "starting"
    said = "; ".join(findings) or f"ROLE_HUNG after {noticed_s:.1f} s, {when}, {fills} fills"
    return Found(said, done.code, not findings and done.code == STOPPED)


def _noticed_s(night: Night, begun: float) -> float:
    flag_path = night.var / "STOP.flag"
    end = begun + 90.0
    while not os.path.lexists(flag_path):
        if time.monotonic() > end:
            raise NotPlayable("a frozen role is not noticed in 90 s")
        if night.process.poll() is not None:
            break
        time.sleep(0.02)
    return time.monotonic() - begun


def _ended_in_order(lab: Lab, night: Night, proofs: Proofs) -> Found:
    done = night.wait()
    findings = unproven(lab, done, proofs)
    return Found("; ".join(findings) or _end_of(lab), done.code, done.code == 0 and not findings)


@attack("C23", "the strategy freezes before its first heartbeat", "ROLE_HUNG in 3 s, no trade")
def strategy_frozen_at_birth(lab: Lab) -> Found:
    """Freeze the strategy's process as soon as it appears."""
    return frozen(lab, "strategy_role", 0.0)


@attack("C23", "risk freezes while it imports", "ROLE_HUNG in 3 s, no trade")
def risk_frozen_while_it_imports(lab: Lab) -> Found:
    """Freeze risk's process a little later, while it imports."""
    return frozen(lab, "risk_role", 0.2)


@attack("C23", "market freezes at a drawn moment of its start", "ROLE_HUNG in seconds")
def market_frozen_while_it_starts(lab: Lab) -> Found:
    """Freeze market's process at a moment of its first two seconds."""
    return frozen(lab, "market_role", _draw("market", 2.0))


@attack("C23", "execution freezes for a second at its start", "the night goes on, replay identical")
def execution_frozen_for_a_second(lab: Lab) -> Found:
    """Freeze execution's process at its start for a second, then resume it."""
    return frozen(lab, "execution_role", 0.1, for_s=SHORT_FREEZE_S)
