"""R1 to R8: what risk, portfolio and scanner cost, each against the figure that it must reach.

A case is a separate process on one core. Events and bars per second are over CPU time, so that
other work on the machine does not change them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from minibot.compiled import SWITCH, build_folder, stale
from tools.bench import backtest_peers, risk_before, risk_nights, risk_year, worker
from tools.bench.frame import Limit, Measure, median, percentile
from tools.bench.risk_market import BARS, PAIRS
from tools.bench.risk_year import DATA

HELP = "risk: a portfolio of 50 pairs, a judged entry, the scanner, the storm, a year; R1 to R8"
SCALE: Final = 10
"""The default takes one bar in so many of R1's million."""
BATCHES: Final = 300
SYMBOLS: Final = 400
SCANS: Final = 60
STORM_EVENTS: Final = 300_000
SEED: Final = 1
NOT_COMPILED: Final = "not compiled: no build of these sources; python -m tools.compile"
WAYS: Final = (("interpreted", False), ("compiled", True))


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan of a measurement.

    Attributes:
        repeats: Repetitions of each case.
        folder: Where trees, queues and kept results go.
        core: Processor core to which every case is pinned.
        is_full: True for all of R1's bars.
        has_peers: True if freqtrade runs beside R1.
        before: Commit with which R2 compares; None for none.
        data: Folder of real market data, for R8.
    """

    repeats: int
    folder: Path
    core: int = 1
    is_full: bool = False
    has_peers: bool = False
    before: str | None = None
    data: Path = DATA

    def runs(self, case: str, is_compiled: bool = False, **arguments: object) -> list[Any]:
        """Return the answers of a case's runs; none where there is no build for them."""
        if is_compiled and stale(build_folder()) is not None:
            return []
        # An empty word is none.
        environ = {SWITCH: "1" if is_compiled else ""}
        given = {**arguments, "core": self.core if (os.cpu_count() or 1) > self.core else None}
        return [worker.call(case, given, environ=environ) for _ in range(self.repeats)]


def r1(plan: Plan) -> list[Measure]:
    """R1: A portfolio of fifty made-up pairs with the profile's gates and its ladder of exits."""
    bars = BARS if plan.is_full else BARS // SCALE
    found = []
    limits = (Limit(60_000, 150_000), Limit(500_000, 1_500_000))
    for (word, is_compiled), limit in zip(WAYS, limits, strict=True):
        runs = plan.runs("portfolio", is_compiled, count=PAIRS, bars=bars)
        name = f"{PAIRS} pairs, {PAIRS * bars:,} bars of 1m, ladder, {word}"
        notes = [] if runs else [NOT_COMPILED]
        if not plan.is_full:
            notes.append(f"a tenth: {bars:,} of {BARS:,} bars a pair; --full takes all")
        if runs:
            last = runs[-1]
            notes.append(
                f"{last['traded']} pairs traded, {last['entries']:,} entries, "
                f"{last['blocks']:,} refused, digest {last['digest'][:16]}"
                + (f", stopped by {last['stop']}" if last["stop"] else "")
            )
            written = median([run["written_per_s"] for run in runs])
            notes.append(f"with decisions written and digested, as no peer does: {written:,.0f}/s")
        notes.append("gates of the portfolio profile, limits on amounts out of reach")
        samples = {
            "bars/s, CPU": [run["per_s"] for run in runs],
            "bars/s, wall": [run["bars"] / run["wall_s"] for run in runs],
        }
        value = median(samples["bars/s, CPU"]) if runs else None
        found.append(Measure("R1", name, value, "bars/s", limit, samples, notes=notes))
    if plan.has_peers:
        found.append(backtest_peers.freqtrade_pairs(plan.repeats, PAIRS, bars))
    return found


def r2(plan: Plan) -> list[Measure]:
    """R2: One pair, now against a commit before, by turns."""
    return risk_before.compared(plan.repeats, plan.folder, plan.core, plan.before)


def r3(plan: Plan) -> list[Measure]:
    """R3: One judged entry with ten positions held and every gate on."""
    found = []
    limits = (Limit(400, 200, is_most=True), Limit(60, 25, is_most=True))
    for (word, is_compiled), limit in zip(WAYS, limits, strict=True):
        runs = plan.runs("judge", is_compiled, batches=BATCHES)
        samples = {
            "us": [median(run["us"]) for run in runs],
            "us, p99": [percentile(run["us"], 0.99) for run in runs],
            "us with its events": [median(run["written_us"]) for run in runs],
        }
        notes = [] if runs else [NOT_COMPILED]
        if runs:
            last = runs[-1]
            notes.append(
                f"{last['held']} held, {last['checks']} checks, {', '.join(last['said'])}; "
                f"median of {BATCHES} snapshots restored, the second entry after each"
            )
        name = f"a judged BUY, every gate on, ten held, {word}"
        value = median(samples["us"]) if runs else None
        found.append(Measure("R3", name, value, "us", limit, samples, notes=notes))
    return found


def r4(plan: Plan) -> list[Measure]:
    """R4: A night of fifty pairs over one of one pair."""
    return risk_nights.nights(plan.repeats, plan.folder)


def r5(plan: Plan) -> list[Measure]:
    """R5: Four hundred symbols ranked by the scanner, and the memory that it adds."""
    runs = plan.runs("rank", count=SYMBOLS, scans=SCANS)
    times = {
        "ms, p99": [percentile(run["ms"], 0.99) for run in runs],
        "ms, p50": [median(run["ms"]) for run in runs],
        "us for a bar between scans": [median(run["bar_us"]) for run in runs],
    }
    scored = min(run["scored"] for run in runs)
    memory = [run["memory_mb"] for run in runs]
    return [
        Measure(
            "R5",
            f"{SYMBOLS} symbols ranked, p99",
            median(times["ms, p99"]),
            "ms",
            Limit(50, 15, is_most=True),
            times,
            notes=[f"{scored} with a score, {SCANS} scans, a new bar of each between two"],
        ),
        Measure(
            "R5",
            f"memory of a scanner of {SYMBOLS} symbols",
            median(memory),
            "MB",
            Limit(60, 25, is_most=True),
            {"MB": memory},
            notes=["by tracemalloc: what it holds, bars included"],
        ),
    ]


def r6(plan: Plan) -> list[Measure]:
    """R6: M1, M4 and M7 with the depth within 2 % on and off."""
    return risk_nights.depth(plan.repeats, plan.folder, plan.core)


def r7(plan: Plan) -> list[Measure]:
    """R7: The storm of hostile nights."""
    runs = plan.runs("storm", events=STORM_EVENTS, seed=SEED)
    speed = {
        "events/s, CPU": [run["per_s"] for run in runs],
        "events/s, wall": [run["events"] / run["wall_s"] for run in runs],
    }
    last = runs[-1]
    told = [f"{last['events']:,} events of {last['nights']} nights, seed {SEED}"]
    name, broken = "storm, each night played twice", [float(run["violations"]) for run in runs]
    limit, none = Limit(15_000, 40_000), Limit(0, 0, is_most=True)
    value = median(speed["events/s, CPU"])
    return [
        Measure("R7", name, value, "events/s", limit, speed, notes=told),
        Measure(
            "R7", "violations", max(broken), "", none, {"violations": broken}, notes=last["found"]
        ),
    ]


def r8(plan: Plan) -> list[Measure]:
    """R8: Twelve months of five real pairs, command to table."""
    return risk_year.year(plan.repeats, plan.folder, plan.data)


MEASURES: Final[Mapping[str, Callable[[Plan], list[Measure]]]] = {
    "R1": r1,
    "R2": r2,
    "R3": r3,
    "R4": r4,
    "R5": r5,
    "R6": r6,
    "R7": r7,
    "R8": r8,
}
