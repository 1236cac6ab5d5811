"""O1 to O9: the operator's evening and morning, as the issue's table names them.

Every figure is that of a real process on a night of the bench's own, below a folder that is removed
at the end. A night of seven hours or of 25 million ticks is never played here: such a figure is
scaled from a shorter one, and its note says from what.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Final

from minibot.engine.lines_ahead import AHEAD_LINES_MIN
from minibot.engine.recorded_run import Recorded
from minibot.events.names import FILLS, RISK_ACTIONS, TICKS
from minibot.report.html import REPORT_FILE
from tools.bench.backtest_command import Took, run_command
from tools.bench.backtest_replay import NIGHT_EVENTS
from tools.bench.first_hour import MB, timed
from tools.bench.first_hour import Took as Timed
from tools.bench.frame import Json, Limit, Measure, median
from tools.bench.operator_alerts import alerts
from tools.bench.operator_audit import audit
from tools.bench.operator_extras import extras
from tools.bench.operator_load import cost, pairs
from tools.bench.operator_nights import PATIENT, Night, NightError, copies, environ, sealed_run
from tools.bench.operator_page import page
from tools.bench.operator_scale import scaled

HELP: Final = (
    "O1 to O9, evening and morning: page, ops, report, bundle, verbs, findings, alerts, extras"
)
RUNS: Final = 100
SHORT: Final[Json] = {
    "embedded.source": "generator:7",
    "embedded.speed": "20",
    "duration_ms": "100000",
}
LONG: Final[Json] = {
    "embedded.source": "generator:7",
    "embedded.speed": "5",
    "embedded.rate_per_s": "1000",
    # Of fewer ticks, a report is so short that starting its second process counts in a line.
    "duration_ms": "1000000",
}
# Of so many lines on, a report has a second process, whose memory is there from then on.
MIDDLE: Final[Json] = {**LONG, "duration_ms": str(AHEAD_LINES_MIN * 11 // 10)}
BESIDE: Final[Json] = {"embedded.source": "generator:7", "embedded.speed": "60"}
GROWING: Final = (TICKS, RISK_ACTIONS, FILLS)
"""Queues that `status` reads whole, but for the ticks."""
VERBS: Final = ("status", "runs", "health")


@dataclass
class Plan:
    """Plan of the benchmark, and the sealed runs that its measures share.

    Attributes:
        repeats: Repetitions of each process, or interleaved pairs.
        folder: On the disk to measure.
        run: A long recorded run for O4 and O5; None plays one of a million ticks.
        seconds: Length of a night of O2, and how long O3 looks.
        hours: Age of the night of O6, of market time, when the verbs are first called.
    """

    repeats: int
    folder: Path
    run: Path | None = None
    seconds: int = 60
    hours: float = 1.0

    @cached_property
    def scratch(self) -> Path:
        """Folder of the nights, removed at the end of the process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._kept = tempfile.TemporaryDirectory(dir=self.folder, prefix="operator-")
        return Path(self._kept.name)

    @cached_property
    def short(self) -> Path:
        """Sealed run of some seconds: its costs are those of starting."""
        return sealed_run(self.scratch / "short", SHORT)

    @cached_property
    def middle(self) -> Path:
        """Sealed run just long enough for a report by two processes, as that of a night is."""
        return sealed_run(self.scratch / "middle", MIDDLE)

    @cached_property
    def long(self) -> Path:
        """Sealed run from which figures are scaled."""
        return sealed_run(self.scratch / "long", LONG) if self.run is None else self.run


def o1(plan: Plan) -> list[Measure]:
    """O1: The page of a finished run in Chromium."""
    return page(plan.repeats, plan.long, ticks_of(plan.long))


def o2(plan: Plan) -> list[Measure]:
    """O2: Tick to result with `ops` and ten viewers over none."""
    return pairs(plan.repeats, plan.seconds, plan.scratch)


def o3(plan: Plan) -> list[Measure]:
    """O3: Share of a core and memory of `ops`."""
    return cost(plan.seconds, plan.scratch)


def o4(plan: Plan) -> list[Measure]:
    """O4: Report of a run with its page, all recounted: time, memory, size of the file."""
    short, middle, long = (_reported(plan, run) for run in (plan.short, plan.middle, plan.long))
    base, ticks = float(ticks_of(plan.short)), float(ticks_of(plan.long))
    two = float(ticks_of(plan.middle))
    samples = {
        f"{word}, {name}": [getattr(took, key) for took in tooks]
        for word, tooks in (
            (_told(plan.short), short),
            (_told(plan.middle), middle),
            (_told(plan.long), long),
        )
        for name, key in (
            ("wall s", "wall_s"),
            ("CPU s, all processes", "cpu_s"),
            ("peak MB, all processes", "peak_mb"),
        )
    }
    note = [f"scaled by the line through {base:,.0f} and {ticks:,.0f} ticks"]
    found = []
    # A line of memory through a report by one process would count the second one for each tick.
    seconds, mb = Limit(150, 75, is_most=True), Limit(1000, 300, is_most=True)
    for name, unit, key, limit, first, tooks in (
        ("report, 25 million ticks, two cores", "s", "wall_s", seconds, base, short),
        ("report, peak memory, all processes", "MB", "peak_mb", mb, two, middle),
    ):
        small = first, median([getattr(took, key) for took in tooks])
        large = ticks, median([getattr(took, key) for took in long])
        value = scaled(small, large, NIGHT_EVENTS)
        chosen = samples if unit == "s" else {}
        line = f"scaled by the line through {first:,.0f} and {ticks:,.0f} ticks"
        told = [line, f"seen at {ticks:,.0f} ticks: {large[1]:.1f} {unit}"]
        found.append(Measure("O4", name, value, unit, limit, chosen, notes=told))
    sizes = [
        float((run / "report" / REPORT_FILE).stat().st_size) for run in (plan.short, plan.long)
    ]
    value = scaled((base, sizes[0] / MB), (ticks, sizes[1] / MB), NIGHT_EVENTS)
    told = [*note, f"seen at {ticks:,.0f} ticks: {sizes[1] / MB:.2f} MB"]
    page = Limit(3, 1, is_most=True)
    found.append(Measure("O4", "report, size of the page", value, "MB", page, notes=told))
    return found


def _reported(plan: Plan, run: Path) -> list[Took]:
    argv = [sys.executable, "-m", "minibot", "report", run.name, "--html"]
    words = [*argv, "--var", str(run.parents[1])]
    return [run_command(words, environ()) for _ in range(plan.repeats)]


def o5(plan: Plan) -> list[Measure]:
    """O5: Bundle of a sealed run, then verify of that file."""
    taken: dict[str, tuple[list[Took], list[Took]]] = {}
    sizes = []
    for run in (plan.short, plan.long):
        packed, checked = [], []
        for number in range(plan.repeats):
            out = plan.scratch / f"{run.name}-{number}.tar.gz"
            argv = [sys.executable, "-m", "minibot"]
            var = ["--var", str(run.parents[1])]
            packed.append(
                run_command(
                    [*argv, "bundle", run.name, "--out", str(out), "--no-report", *var], environ()
                )
            )
            checked.append(run_command([*argv, "verify", str(out), *var], environ()))
            size = out.stat().st_size
            out.unlink()
        sizes.append(size)
        taken[str(run)] = packed, checked
    base, ticks = float(ticks_of(plan.short)), float(ticks_of(plan.long))
    whole = sum(path.stat().st_size for path in plan.long.rglob("*") if path.is_file())
    found = []
    for place, name in enumerate(("bundle", "verify of the bundle")):
        short, long = taken[str(plan.short)][place], taken[str(plan.long)][place]
        small = base, median([took.wall_s for took in short])
        large = ticks, median([took.wall_s for took in long])
        samples = {
            f"{_told(plan.long)}, wall s": [took.wall_s for took in long],
            f"{_told(plan.long)}, CPU s": [took.cpu_s for took in long],
            f"{_told(plan.long)}, peak MB": [took.peak_mb for took in long],
            f"{_told(plan.short)}, wall s": [took.wall_s for took in short],
        }
        notes = [
            f"scaled by the line through {base:,.0f} and {ticks:,.0f} ticks, "
            f"{sizes[1] / MB:.1f} MB packed of {whole / MB:.1f}; report made before",
        ]
        limit = Limit(600, 200, is_most=True)
        value = scaled(small, large, NIGHT_EVENTS)
        title = f"{name}, night of 25 million ticks"
        found.append(Measure("O5", title, value, "s", limit, samples, notes=notes))
    return found


def ticks_of(run: Path) -> int:
    """Return the lines of a run's market queue."""
    return Recorded.open(run).lines(TICKS).reader.head().lines


def _told(run: Path) -> str:
    return f"{ticks_of(run):,} ticks"


def o6(plan: Plan) -> list[Measure]:
    """O6: Verbs beside a running night and a hundred runs, as whole processes."""
    var = plan.scratch / "beside"
    (var / "runs").mkdir(parents=True, mode=0o700)
    var.chmod(0o700)
    copies(plan.short, var / "runs", RUNS)
    limit = Limit(0.5, 0.2, is_most=True)
    with Night(var, BESIDE | PATIENT) as night:
        night.await_trading()
        night.await_age(plan.hours)
        beside = _timed_verbs(var, plan.repeats)
        with night.standing():
            taken = _timed_verbs(var, plan.repeats)
        age, counts = night.hours, {name: night.lines(name) for name in GROWING}
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    notes = [
        f"night {age:.1f} h old in market time (--hours; the issue asks for 7): {told}",
        "judged by wall-clock time while the night's processes stand still: at "
        f"{BESIDE['embedded.speed']} times its pace it takes the cores that a real night leaves",
    ]
    return [
        Measure(
            "O6",
            f"minibot {verb} beside a night and {RUNS} runs",
            median([run.wall_s for run in runs]),
            "s",
            limit,
            {
                "wall s": [run.wall_s for run in runs],
                "CPU s": [run.cpu_s for run in runs],
                "wall s beside the compressed night": [run.wall_s for run in beside[verb]],
            },
            notes=notes,
        )
        for verb, runs in taken.items()
    ]


def _timed_verbs(var: Path, repeats: int) -> dict[str, list[Timed]]:
    """Return the time of each verb; its first process, which may write bytecode, is left out."""
    found = {}
    for verb in VERBS:
        argv = [sys.executable, "-m", "minibot", verb, "--var", str(var)]
        found[verb] = [timed(argv) for _ in range(repeats + 1)][1:]
    return found


def o7(plan: Plan) -> list[Measure]:
    """O7: Findings of axe, of a look at every answer's headers, and of schemathesis."""
    return audit(plan.short, plan.scratch / "audited")


def o8(plan: Plan) -> list[Measure]:
    """O8: A standing night until the guard's alarm; a STOP until its alert."""
    return alerts(plan.repeats, plan.scratch)


def o9(plan: Plan) -> list[Measure]:
    """O9: Size of the extras, and the launcher's import with them over without."""
    return extras(plan.repeats)


def tried(id_: str, measure: Callable[[Plan], list[Measure]], plan: Plan) -> list[Measure]:
    """Return the measures of a row; one without a figure where its night did not do its part."""
    try:
        return measure(plan)
    except NightError as error:
        told = [f"not measured: {error}"]
        return [Measure(id_, "night of this row", None, "", Limit(0, 0, is_most=True), notes=told)]


ROWS: Final[Mapping[str, Callable[[Plan], list[Measure]]]] = {
    "O1": o1,
    "O2": o2,
    "O3": o3,
    "O4": o4,
    "O5": o5,
    "O6": o6,
    "O7": o7,
    "O8": o8,
    "O9": o9,
}
MEASURES: Final[Mapping[str, Callable[[Plan], list[Measure]]]] = {
    id_: partial(tried, id_, measure) for id_, measure in ROWS.items()
}
