"""U1 to U5: the first hour, as a person meets it.

U1, U4 and U5, and U2's size, come from the session of `tools.first_hour`, played once from a fresh
clone of what is committed. U2's import and U3 are judged by CPU time, because these processes only
compute, and other work on the machine doubles their wall-clock time; U1 and U4 are judged by the
clock on the wall, as the tape of their nights is paced. Both times stand beside each figure.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from minibot.cli.main import verbs
from tools.bench.frame import Limit, Measure, median
from tools.bench.machine import PROJECT
from tools.chromium import ChromiumError, found_chromium
from tools.first_hour.looking import Looked, look_at, pages_of
from tools.first_hour.session import CHECKOUT, DEMO, OWN, PARTS, START, Done, play, steps
from tools.first_hour.terminal import Terminal, TerminalError, found_tmux

HELP: Final = "U1 to U5, the first hour: set-up, demo, size, start of verbs, the guide, pages"
LAUNCHER: Final = "minibot.watchdog.launcher"
SIZE: Final = (80, 24)
BLOCK_BYTES: Final = 512
MB: Final = 1e6
VERB_S_MAX: Final = 300.0
NO_TMUX: Final = "not measured: no tmux here (Debian: apt-get install tmux)"
NO_CHROMIUM: Final = "not measured: no Chromium here (Debian: apt-get install chromium)"
BY_CPU: Final = "judged by CPU time: such a process only computes"
BY_WALL: Final = (
    "judged by wall-clock time, as the night's tape is paced; CPU of all processes beside"
)


class Hour(NamedTuple):
    """Outcome of one session.

    Attributes:
        done: Its steps; empty where there is no terminal.
        env_mb: Size of its environment after the demo, before tests added theirs.
        looked: Findings of the look at its pages; None where nobody looked.
        trouble: Reason for what is missing.
    """

    done: Sequence[Done]
    env_mb: float | None
    looked: Looked | None
    trouble: str


@dataclass
class Plan:
    """Plan of the benchmark: repetitions of a verb, and the one session that measures share."""

    repeats: int
    parts: Sequence[str] = PARTS
    tell: Callable[[Done], None] = field(default=lambda done: None)

    @cached_property
    def hour(self) -> Hour:
        """Session of the hour, played when it is first asked for."""
        if found_tmux() is None:
            return Hour((), None, None, NO_TMUX)
        with tempfile.TemporaryDirectory(prefix="minibot-hour-") as place:
            folder = Path(place)
            start = [step for step in steps() if step.part == START]
            rest = [step for step in steps() if step.part != START and step.part in self.parts]
            try:
                with Terminal(folder, *SIZE) as terminal:
                    done = play(terminal, folder, start, self.tell)
                    env_mb = size_mb(folder / CHECKOUT / ".venv")
                    if not done[-1].missing:
                        done += play(terminal, folder, rest, self.tell)
            except TerminalError as error:
                return Hour((), None, None, f"not measured: {error}")
            browser = found_chromium()
            if browser is None:
                return Hour(done, env_mb, None, NO_CHROMIUM)
            pictures = folder / "pictures"
            pictures.mkdir()
            try:
                looked = look_at(browser, pages_of(folder / CHECKOUT / "var"), pictures)
            except ChromiumError as error:
                return Hour(done, env_mb, None, f"not measured: {error}")
            return Hour(done, env_mb, looked, "")


def size_mb(folder: Path) -> float:
    """Return a folder's size on the disk, in MB of a million bytes."""
    found = 0
    for place, _, names in os.walk(folder):
        for name in names:
            stat = os.lstat(os.path.join(place, name))
            found += getattr(stat, "st_blocks", -(-stat.st_size // BLOCK_BYTES)) * BLOCK_BYTES
    return found / MB


def u1(plan: Plan) -> list[Measure]:
    """U1: from a fresh clone to the end of the demo."""
    done = [d for d in plan.hour.done if d.step.wish.beginning in ("git clone", DEMO)]
    name = "fresh clone to the end of the demo, warm package cache"
    return [_typed("U1", name, done, 2, Limit(65, 50, is_most=True), plan.hour.trouble)]


def u2(plan: Plan) -> list[Measure]:
    """U2: size of the environment for running, and import of the launcher."""
    runs = [timed([sys.executable, "-c", f"import {LAUNCHER}"]) for _ in range(plan.repeats + 1)]
    cpu = [run.cpu_s for run in runs[1:]]  # The first one may have written bytecode.
    samples = {"CPU s": cpu, "wall s": [run.wall_s for run in runs[1:]]}
    env_mb = plan.hour.env_mb
    return [
        Measure(
            "U2",
            "installed environment for running",
            env_mb,
            "MB",
            Limit(220, 180, is_most=True),
            notes=[plan.hour.trouble] if env_mb is None else [],
        ),
        Measure(
            "U2",
            f"import of {LAUNCHER}",
            median(cpu),
            "s",
            Limit(0.3, 0.15, is_most=True),
            samples,
            notes=[BY_CPU],
        ),
    ]


def u3(plan: Plan) -> list[Measure]:
    """U3: the slowest `--help` of all verbs, and `status`."""
    found = {name: started(plan.repeats, name, "--help") for name in verbs()}
    slowest = max(found, key=lambda name: median(found[name]["CPU s"]))
    worse = sorted(found, key=lambda name: -median(found[name]["CPU s"]))[:5]
    shown = ", ".join(f"{name} {median(found[name]['CPU s']):.2f}" for name in worse)
    status = started(plan.repeats, "status")
    return [
        Measure(
            "U3",
            f"slowest --help of {len(found)} verbs: {slowest}",
            median(found[slowest]["CPU s"]),
            "s",
            Limit(0.3, 0.15, is_most=True),
            found[slowest],
            notes=[f"slowest five, s: {shown}", BY_CPU],
        ),
        Measure(
            *("U3", "minibot status", median(status["CPU s"]), "s"),
            Limit(0.3, 0.12, is_most=True),
            status,
            notes=[BY_CPU],
        ),
    ]


def u4(plan: Plan) -> list[Measure]:
    """U4: the guide, typed from its own blocks, from idea to finished paper night."""
    done = [d for d in plan.hour.done if d.step.part == OWN]
    wanted = sum(step.part == OWN for step in steps())
    name = "guide typed, from idea to finished paper night, machine time"
    return [_typed("U4", name, done, wanted, Limit(120, 80, is_most=True), plan.hour.trouble)]


def u5(plan: Plan) -> list[Measure]:
    """U5: the narrowest window in which no page of the hour scrolls sideways."""
    looked, trouble = plan.hour.looked, plan.hour.trouble
    notes = [trouble] if trouble else []
    if looked is not None:
        notes += [f"{page}: {'; '.join(said)}" for page, said in looked.faults.items()]
    # A page that scrolls at every width that was tried is wider than any phone.
    width = None if looked is None else float(looked.narrowest or 1000)
    name = "narrowest window in which no page scrolls sideways"
    return [Measure("U5", name, width, "px", Limit(390, 360, is_most=True), notes=notes)]


def _typed(
    id_: str, name: str, done: Sequence[Done], wanted: int, limit: Limit, trouble: str
) -> Measure:
    """Return the measure of steps of the session; none where one of them is missing or failed."""
    failed = [f"{d.step.command}: {', '.join(d.missing)}" for d in done if d.missing]
    ended = [(d.step.command, d.ended) for d in done if d.ended is not None]
    samples = {f"{shortened(command)}, wall s": [each.wall_s] for command, each in ended}
    samples["all, CPU s"] = [sum(each.cpu_s for _, each in ended)]
    if failed or len(done) != wanted:
        said = failed or [trouble or "not measured: the session ended before"]
        return Measure(id_, name, None, "s", limit, samples if ended else {}, notes=said)
    wall_s = sum(each.wall_s for _, each in ended)
    return Measure(id_, name, wall_s, "s", limit, samples, notes=[BY_WALL, *_disturbed()])


def _disturbed() -> list[str]:
    """Return a warning where other work has taken the cores, so that the wall-clock time is its."""
    load, cores = psutil.getloadavg()[0], os.cpu_count() or 1
    if load <= cores:
        return []
    return [f"load {load:.1f} on {cores} cores: wall-clock time is not the hour's own; repeat idle"]


def shortened(command: str) -> str:
    """Return the first words of a command, as a name of a sample."""
    words = command.split()
    return " ".join(words[:2] if words[0] != "python3" else words[2:4])


class Took(NamedTuple):
    """Time of one process."""

    wall_s: float
    cpu_s: float


def started(repeats: int, *words: str) -> dict[str, list[float]]:
    """Return samples of a verb's whole process, without the first, which may write bytecode."""
    with tempfile.TemporaryDirectory(prefix="minibot-hour-") as place:
        argv = [sys.executable, "-m", "minibot", *words]
        argv += [] if "--help" in words else ["--var", place]
        runs = [timed(argv) for _ in range(repeats + 1)][1:]
    return {"CPU s": [run.cpu_s for run in runs], "wall s": [run.wall_s for run in runs]}


def timed(argv: Sequence[str]) -> Took:
    """Run a process of Python as a person's shell would, and return what it took."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    before, began = os.times(), time.perf_counter()
    subprocess.run(
        argv, cwd=PROJECT, env=environ, capture_output=True, check=False, timeout=VERB_S_MAX
    )
    wall_s, after = time.perf_counter() - began, os.times()
    cpu_s = after.children_user + after.children_system
    return Took(wall_s, cpu_s - before.children_user - before.children_system)


MEASURES: Final = {"U1": u1, "U2": u2, "U3": u3, "U4": u4, "U5": u5}
