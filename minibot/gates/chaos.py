"""Chaos: each fault of the catalogue in a real short run, whose end is judged.

A fault that this machine cannot have is skipped with the name of the missing feature; a skipped
fault fails nothing. Any other error of minibot or of the system makes the fault a failed one. An
exception of any other kind is a bug of the drill and ends the campaign without results.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Final

import filelock
import psutil

from minibot.gates.chaos_catalogue import BASE, FAULTS
from minibot.gates.chaos_fault import STOP, SURVIVE, Fault
from minibot.gates.chaos_judge import complaints, observed
from minibot.gates.drill_processes import DrillProcesses, FeatureMissing, signalled
from minibot.gates.drill_run import DrillRun, NotInjected
from minibot.kernel.errors import MinibotError
from minibot.kernel.files import ensure_folder
from minibot.runtime.paths import PROJECT, Var

OK: Final = "ok"
FAILED: Final = "FAILED"
SKIPPED: Final = "skipped"
DISK_S_MAX: Final = 180.0


@dataclass(frozen=True, slots=True)
class Result:
    """Result of one fault.

    A skipped fault, and one that failed by an error, has no `observed`, exit code and seconds.
    """

    name: str
    expected: str
    observed: str
    exit_code: int | None  # Of the launcher.
    seconds: str  # From the last `mark` to the flag; empty without one of them, or without a STOP.
    verdict: str
    complaints: tuple[str, ...] = ()
    skipped_for: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the result as one JSON object."""
        return asdict(self)


def run_fault(fault: Fault, var: Var, *, on_own_disk: bool = False) -> Result:
    """Run one fault in its own lab below `var` and judge it.

    A lab that another drill or run is using makes the fault a failed one.

    Args:
        fault: The fault.
        var: The folder above the lab.
        on_own_disk: True if the lab is already on the small disk that the fault needs.
    """
    lab = var.lab_of(f"chaos-{fault.name}")
    try:
        ensure_folder(lab.root)
        if on_own_disk:
            return _run(fault, lab)
        # One drill of a name at a time; `DrillRun` refuses a var that a run is using.
        with filelock.FileLock(str(lab.root.with_suffix(".lock")), timeout=0):
            return _on_own_disk(fault, var, lab) if fault.disk_mb else _run(fault, lab)
    except filelock.Timeout:
        return _failed(fault, f"another drill is using {lab.root}")
    except FeatureMissing as missing:
        return _skipped(fault, missing)
    except (MinibotError, OSError, psutil.Error, subprocess.SubprocessError) as error:
        return _failed(fault, str(error))


def run_faults(
    faults: Iterable[Fault],
    var: Var,
    *,
    jobs: int = 1,
    on_result: Callable[[Result], None],
    on_own_disk: bool = False,
) -> list[Result]:
    """Run faults, `jobs` at a time, each in its own lab; return their results in the given order.

    `on_result` gets each result as soon as that drill has ended, on the drill's thread.
    """

    def one(fault: Fault) -> Result:
        result = run_fault(fault, var, on_own_disk=on_own_disk)
        on_result(result)
        return result

    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        return list(pool.map(one, faults))


def _run(fault: Fault, lab: Var) -> Result:
    night = None
    try:
        night = DrillRun(
            fault.name, lab, sets={**BASE, **fault.sets}, chaos=fault.chaos, shows=fault.shows
        )
        _drive(fault, night)
        seen = observed(fault, night)
        exit_code, seconds = night.exit_code, _seconds(fault, night)
        wrong = complaints(fault, night)
        return Result(
            fault.name,
            fault.outcome,
            seen,
            exit_code,
            seconds,
            FAILED if wrong else OK,
            tuple(wrong),
        )
    except FeatureMissing as missing:
        return _skipped(fault, missing)
    except (MinibotError, OSError, psutil.Error) as error:
        text = "" if night is None else night.output().strip()[-500:]
        return _failed(fault, str(error), *([f"output of the run: {text}"] if text else []))
    finally:
        if night is not None:
            night.clean_up()


def _drive(fault: Fault, night: DrillRun) -> None:
    """Bring the run to the fault's state, inject the fault, and watch the run to its end.

    A run that has to survive goes on first and is then asked to end.
    """
    if fault.ready != "none":
        night.start()
    if fault.ready == "run":
        night.wait_for_run()
    elif fault.ready == "trading":
        night.wait_for_trading()
    fault.inject(night)
    if fault.expect == SURVIVE:
        night.wait_to_go_on()
        night.ask_end()
    night.watch_end()


def _seconds(fault: Fault, night: DrillRun) -> str:
    if fault.expect != STOP or not (night.injected_ns and night.flagged_ns):
        return ""
    return f"{max(0, night.flagged_ns - night.injected_ns) / 1e9:.1f}"


def _skipped(fault: Fault, missing: FeatureMissing) -> Result:
    return Result(fault.name, fault.outcome, "", None, "", SKIPPED, (), str(missing))


def _failed(fault: Fault, *why: str) -> Result:
    return Result(fault.name, fault.outcome, "", None, "", FAILED, why)


# --- a small disk -------------------------------------------------------------------------------


def _on_own_disk(fault: Fault, var: Var, lab: Var) -> Result:
    """Run the fault by a second minibot in its own mount namespace, where its lab is a small disk.

    The second minibot has `DISK_S_MAX` to end, after which it and its run are killed and the fault
    is a failed one. The disk disappears with the last process that sees it.
    """
    words = _private_mount()
    script = f'mount -t tmpfs -o size={fault.disk_mb}m,mode=700 minibot "$1" && shift && exec "$@"'
    argv = [*words, "sh", "-c", script, "sh", str(lab.root), sys.executable, "-m", "minibot"]
    argv += ["chaos", fault.name, "--var", str(var.root), "--json", "--on-own-disk"]
    try:
        done = subprocess.run(
            argv, capture_output=True, cwd=PROJECT, timeout=DISK_S_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        # Only the second minibot is dead: the processes of its run have sessions of their own.
        for process in DrillProcesses(lab.root).members():
            signalled(process.pid, lambda living: living.kill())
        raise
    try:
        entry = json.loads(done.stdout)["results"][0]
    except (ValueError, KeyError, IndexError):
        text = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-500:]
        return _failed(fault, f"the drill on its own disk ended with {done.returncode}: {text}")
    return Result(**{**entry, "complaints": tuple(entry["complaints"])})


def _private_mount() -> list[str]:
    """Return the command that gives a process its own mounts.

    Raises:
        FeatureMissing: Impossible on this system, or for this user.
    """
    missing = FeatureMissing("mounts of its own (unshare --mount with a tmpfs)")
    if sys.platform != "linux" or shutil.which("unshare") is None:
        raise missing
    for words in (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]):
        probe = [*words, "sh", "-c", "mount -t tmpfs -o size=1m minibot /mnt"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return words
    raise missing


# --- the report ---------------------------------------------------------------------------------


def faults_named(names: Iterable[str]) -> list[Fault]:
    """Return the faults of these names, in the order of the names.

    Raises:
        NotInjected: One of them is not in the catalogue.
    """
    found = []
    for name in names:
        if name not in FAULTS:
            raise NotInjected(f"{name} is not a fault of the catalogue; see: minibot chaos --list")
        found.append(FAULTS[name])
    return found


def drawn(faults: Sequence[Fault], part: int, seed: int) -> list[Fault]:
    """Return a random 1/`part` of the faults, their number rounded up, in the given order.

    A part of 1 or less is all of them. The same seed draws the same faults on every machine, as
    long as the same faults are given.
    """
    if part <= 1:
        return list(faults)
    numbers = random.Random(seed).sample(range(len(faults)), -(-len(faults) // part))
    return [faults[number] for number in sorted(numbers)]


def is_passed(results: Iterable[Result]) -> bool:
    """Return whether no fault failed; a skipped one is not a failure."""
    return all(result.verdict != FAILED for result in results)


def table(results: list[Result]) -> Iterator[str]:
    """Yield the table, then fault by fault its complaints or missing feature, last the verdict."""
    header = ("fault", "expected", "observed", "exit", "seconds to STOP", "verdict")
    rows = [header, *(_row(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for result in results:
        for complaint in result.complaints:
            yield f"{FAILED} {result.name}: {complaint}"
        if result.verdict == SKIPPED:
            yield f"{SKIPPED} {result.name}: this machine has not {result.skipped_for}"
    yield verdict(results)


def _row(result: Result) -> tuple[str, ...]:
    exit_code = "-" if result.exit_code is None else str(result.exit_code)
    return (
        result.name,
        result.expected,
        result.observed or "-",
        exit_code,
        result.seconds or "-",
        result.verdict,
    )


def verdict(results: list[Result]) -> str:
    """Return the last line: how many of the faults that ran ended as catalogued; the skipped."""
    run = [result for result in results if result.verdict != SKIPPED]
    passed = sum(result.verdict == OK for result in run)
    skipped = [result.name for result in results if result.verdict == SKIPPED]
    text = f"{passed} of {len(run)} faults end as catalogued"
    return f"{text}; skipped: {', '.join(skipped)}" if skipped else text
