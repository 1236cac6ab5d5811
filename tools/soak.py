"""Soak: the whole chain at wall-clock speed, disturbed every 60 to 90 seconds.

    python -m tools.soak --hours 2 --seed 1            reports at the end; exit code 1 on a finding
    python -m tools.soak --hours 2 --report FILE       FILE also holds how it stands meanwhile

Only faults whose catalogued outcome is SURVIVE are injected, so every STOP is a false one. At the
end the run is ended as an operator ends it, then verified and replayed as a whole. Ctrl-C or
SIGTERM end the soak early with the same judgement. All files lie under `var/lab/soak`.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from minibot.cores.input_order import LineSource
from minibot.engine.role_replay import Recorded
from minibot.events.model import JsonObject
from minibot.gates.chaos_fault import SURVIVE, Fault
from minibot.gates.chaos_judge import complaints
from minibot.gates.drill_run import DrillRun, NotInjected
from minibot.kernel import canonical
from minibot.kernel.errors import MinibotError
from minibot.kernel.files import read_hashed, write_atomic
from minibot.kernel.queue import open_reader
from minibot.runtime.paths import PROJECT, Var
from tools.bench import machine
from tools.soak_faults import FAULTS, SoakFault, survive
from tools.soak_samples import Samples, slope_mb_per_h

PAUSE_S: Final = (60.0, 90.0)
SAMPLE_S: Final = 10.0
REPORT_S: Final = 300.0
LOOK_S: Final = 1.0
END_S: Final = 600.0
# A smaller slope is the allocator's noise within an hour; the report shows every slope.
SLOPE_MB_PER_H_MAX: Final = 30.0
SLOPE_HOURS_MIN: Final = 1.0
SETS: Final[JsonObject] = {
    "embedded.speed": "1",
    "ai.restarts_max": 100,
    "strategy.cooldown_ms": 1000,
    "strategy.score_min": 20,
    "strategy.confidence_min": 10,
    "strategy.momentum_bps_min": "0.2",
    "strategy.reversion_bps_min": "0.2",
    # A night of many hours on synthetic prices must not end on a limit of money.
    "portfolio.cash": "10000000",
    "risk.night_notional_soft": "900000000",
    "risk.night_notional_hard": "1000000000",
    "risk.day_notional_soft": "900000000",
    "risk.day_notional_hard": "1000000000",
    "risk.night_loss_soft": "900000",
    "risk.night_loss_hard": "1000000",
    "risk.day_loss_soft": "900000",
    "risk.day_loss_hard": "1000000",
}


@dataclass(slots=True)
class Soak:
    """One soak, from its start to its judgement."""

    night: DrillRun
    hours: float
    seed: int
    report: Path | None
    pause_s: tuple[float, float] = PAUSE_S
    samples: Samples = field(default_factory=Samples)
    took_s: dict[str, list[float]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    stops: int = 0
    is_asked_to_end: bool = False
    reported_s: float = 0.0
    sampled_s: float = -SAMPLE_S

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.samples.started

    def run(self, faults: Sequence[SoakFault]) -> None:
        """Start the run, disturb it until the time is over, end and judge it."""
        pick = random.Random(self.seed)
        self.night.start()
        try:
            self.night.wait_for_run()
            bag: list[SoakFault] = []
            while self._rest(pick.uniform(*self.pause_s)):
                if not bag:  # Every fault is injected once before any is repeated.
                    bag = [fault for fault in faults for _ in range(fault.weight)]
                    pick.shuffle(bag)
                self._disturb(bag.pop())
            self._judge()
        finally:
            self.night.clean_up()

    def end_early(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: the soak ends at its next look."""
        self.is_asked_to_end = True

    def _rest(self, seconds: float) -> bool:
        """Leave the run alone while looking at it; return False when the soak is over."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.is_asked_to_end or self.elapsed_s > self.hours * 3600 or self.night.look():
                return False
            if self.elapsed_s - self.sampled_s >= SAMPLE_S:
                self.sampled_s = self.elapsed_s
                self.samples.take(self.night)
            if self.elapsed_s - self.reported_s >= REPORT_S:
                self.reported_s = self.elapsed_s
                self._write("RUNNING: not judged yet")
            time.sleep(LOOK_S)
        return True

    def _disturb(self, fault: SoakFault) -> None:
        try:
            took = survive(self.night, fault)
        except (NotInjected, MinibotError) as error:
            self.findings.append(f"{fault.name}: {error}")
            self._say(f"{fault.name}: FINDING {error}")
            return
        self.took_s.setdefault(fault.name, []).append(took)
        self._say(f"{fault.name}: survived, {took:.1f} s")

    def _judge(self) -> None:
        night = self.night
        self.hours = min(self.hours, self.elapsed_s / 3600)
        if night.exit_code is None:
            night.ask_end()
            night.watch_end(END_S)
        self._say("ended; verify and replay of the whole")
        fault = Fault("soak", "", "", SURVIVE, lambda night: None, evidence=())
        self.findings += complaints(fault, night)
        if night.var.flag.exists() or night.exit_code != 0:
            self.stops = 1
        if self.hours >= SLOPE_HOURS_MIN:
            for name in sorted(self.samples.by_name):
                slope = slope_mb_per_h(self.samples.warm(name))
                if slope > SLOPE_MB_PER_H_MAX:
                    self.findings.append(f"memory of {name} grows by {slope:.0f} MB an hour")

    # --- report -----------------------------------------------------------------------------

    def verdict(self) -> str:
        """Return the last line of the report."""
        survived = sum(len(took) for took in self.took_s.values())
        return (
            f"soak: {self.hours:.2f} h, seed {self.seed}, {survived} faults survived, "
            f"{self.stops} false STOPs, {len(self.findings)} findings"
        )

    def lines(self, verdict: str) -> list[str]:
        """Return the report."""
        out = [
            f"soak of run {self.night.run_id}: {self.elapsed_s / 3600:.2f} of {self.hours:.2f} h",
            f"seed {self.seed}, generator at speed 1, a fault every "
            f"{self.pause_s[0]:.0f} to {self.pause_s[1]:.0f} s",
            *(f"{name:<10}{value}" for name, value in machine.describe().items()),
            f"versions  {_pairs(machine.versions())}",
            "",
            *self._memory(),
            "",
            *self._faults(),
            "",
            *self._figures(),
        ]
        out += ["", *(f"FINDING {finding}" for finding in self.findings)]
        return [*out, verdict]

    def _memory(self) -> list[str]:
        out = [
            "process               lives   MB first    last     max   MB/h   MB/h of the longest"
            " life    cores"
        ]
        total = 0.0
        for name, samples in sorted(self.samples.by_name.items()):
            sizes = [sample.rss_mb for sample in samples]
            life = self.samples.longest_life(name)
            minutes = (life[-1].at_s - life[0].at_s) / 60 if life else 0.0
            share = self.samples.cpu_s(name) / max(1.0, self.elapsed_s)
            total += share
            lives = len({sample.pid for sample in samples})
            out.append(
                f"{name:<20}{lives:>7}{sizes[0]:>11.1f}{sizes[-1]:>8.1f}{max(sizes):>8.1f}"
                f"{slope_mb_per_h(self.samples.warm(name)):>7.1f}"
                f"{slope_mb_per_h(life):>10.1f} in {minutes:>4.0f} min{share:>14.3f}"
            )
        return [*out, f"all processes together use {total:.3f} of a core"]

    def _faults(self) -> list[str]:
        out = ["fault                      survived   s to go on, longest"]
        for name, took in sorted(self.took_s.items()):
            out.append(f"{name:<27}{len(took):>8}{max(took):>22.1f}")
        return out

    def _figures(self) -> list[str]:
        metrics = self.night.var.metrics / "metrics.json"
        if not metrics.exists():
            return []
        found = read_hashed(metrics)
        backlog, kinds = _backlog_max(self.night), _incidents(self.night)
        return [
            f"lines             {_pairs(found['lines'])}",
            f"link latency, us  {_pairs(found['latency_us'])}",
            f"decisions, us     {_pairs(found.get('decision', {}))}",
            f"backlog, most     {_pairs(backlog)}",
            f"incidents         {_pairs(kinds)}",
        ]

    def _say(self, text: str) -> None:
        minutes, seconds = divmod(int(self.elapsed_s), 60)
        print(f"[{minutes // 60:02}:{minutes % 60:02}:{seconds:02}] {text}", flush=True)

    def _write(self, verdict: str) -> None:
        if self.report is not None:
            text = "\n".join(self.lines(verdict)) + "\n"
            write_atomic(self.report.resolve(), text.encode(), is_durable=False)


def _parts(night: DrillRun, queue: str) -> list[JsonObject]:
    """Return the payloads of all parts of a queue, live or sealed."""
    root, payloads = night.var.queues, []
    if not (root / queue).exists():
        root = Recorded.open(night.run_dir).queues
    for head in sorted((root / queue / "parts").glob("*.head")):
        source = LineSource(open_reader(root, queue, part=head.stem))
        while (line := source.next()) is not None:
            payloads.append(canonical.decode(line.json)["payload"])
    return payloads


def _backlog_max(night: DrillRun) -> Counter[str]:
    """Return the largest backlog of a role, according to its own health events."""
    most: Counter[str] = Counter()
    for payload in _parts(night, "health"):
        waiting = sum(entry["backlog"] for entry in (payload.get("inputs") or {}).values())
        most[payload["role"]] = max(most[payload["role"]], waiting)
    return +most


def _incidents(night: DrillRun) -> Counter[str]:
    return Counter(payload["kind"] for payload in _parts(night, "incidents"))


def _pairs(found: JsonObject | Counter[str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(found.items())) or "none"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    command = argparse.ArgumentParser(
        prog="python -m tools.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--hours", type=float, default=2.0, help="how long (default: 2)")
    command.add_argument("--seed", type=int, default=1, help="of faults and prices (default: 1)")
    command.add_argument(
        "--every",
        type=float,
        nargs=2,
        default=PAUSE_S,
        metavar=("MIN", "MAX"),
        help="seconds between two faults (default: 60 90)",
    )
    command.add_argument("--report", type=Path, help="also write the report to this file")
    command.add_argument(
        "--var", type=Path, default=PROJECT / "var", help="its lab/soak is emptied and used"
    )
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Run a soak; return 0 without a finding, 1 with one, 2 when the soak could not go on."""
    arguments = parser().parse_args(argv)
    sets = {
        **SETS,
        "duration_ms": int(arguments.hours * 3_600_000) + 3_600_000,
        "embedded.source": f"generator:{arguments.seed}",
    }
    try:
        night = DrillRun("soak", Var(arguments.var.resolve()).lab_of("soak"), sets=sets, chaos={})
        soak = Soak(night, arguments.hours, arguments.seed, arguments.report)
        soak.pause_s = (arguments.every[0], arguments.every[1])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, soak.end_early)
        soak.run(FAULTS)
    except MinibotError as error:
        print(f"soak: cannot go on: {error}")
        return 2
    verdict = soak.verdict()
    soak._write(verdict)
    print("\n".join(soak.lines(verdict)))
    return 1 if soak.findings or soak.stops else 0


if __name__ == "__main__":
    sys.exit(main())
