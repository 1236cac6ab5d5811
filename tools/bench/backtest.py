"""B1 to B9: speed of history through the live cores, beside the peers on the same data.

Every case is a separate process on one core. Events per second are events over the CPU time of the
inner loop, so that other work on the machine does not change them; wall-clock time and start-up
stand beside them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from minibot.compiled import build_folder, stale
from tools.bench import backtest_cold, backtest_command, backtest_peers, backtest_replay
from tools.bench.backtest_market import bars, save, save_bars, ticks
from tools.bench.frame import Limit, Measure, median
from tools.bench.machine import PROJECT

HELP = "backtest: EMA cross, nore_strategy_v1, bars, replay, restore, whole command; B1 to B9"
MILLION: Final = 1_000_000
BARS: Final = 400_000
BARS_CASE: Final = "bars"
CASE_S_MAX: Final = 900.0
NO_BUILD: Final = "no compiled build of these sources: python -m tools.compile"


@dataclass(slots=True)
class Plan:
    """Plan of a measurement.

    Attributes:
        has_peers: True if the peers run too.
        repeats: Repetitions of each case.
        is_full: True to measure ten million ticks as well as one million.
        folder: Folder of the market for the peers.
        core: Processor core to which everything is pinned.
        run: Recorded run for B6, which needs a long one.
        peer_s_max: Longest time of one peer run; by default each peer's own limit.
    """

    has_peers: bool
    repeats: int
    is_full: bool
    folder: Path
    core: int = 1
    run: Path | None = None
    peer_s_max: float | None = None
    _cases: dict[tuple[str, int, bool], list[dict[str, Any]]] | None = None
    _peers: dict[str, backtest_peers.Outcome] | None = None

    def case(self, name: str, count: int, *, is_compiled: bool) -> list[dict[str, Any]]:
        """Return the runs of a case; none where there is no build for it."""
        self._cases = {} if self._cases is None else self._cases
        key = (name, count, is_compiled)
        if key not in self._cases:
            has_build = stale(build_folder()) is None
            runs = 0 if is_compiled and not has_build else self.repeats
            self._cases[key] = [_run(name, count, is_compiled, self.core) for _ in range(runs)]
        return self._cases[key]

    def peers(self, kind: str) -> backtest_peers.Outcome:
        """Return the figures of a market's peers (`ticks` or `bars`)."""
        self._peers = {} if self._peers is None else self._peers
        if not self.has_peers:
            return backtest_peers.Outcome()
        if kind not in self._peers:
            data = self.folder / "backtest"
            data.mkdir(parents=True, exist_ok=True)
            save(ticks(MILLION), data / "w1.npz")
            save_bars(bars(BARS), data / "w2.npz")
            named = backtest_peers.TICKS if kind == "ticks" else backtest_peers.BARS
            self._peers[kind] = backtest_peers.compare(
                named, data, self.repeats, self.core, self.peer_s_max
            )
        return self._peers[kind]


def _run(name: str, count: int, is_compiled: bool, core: int) -> dict[str, Any]:
    environ = {key: value for key, value in os.environ.items() if key != "MINIBOT_COMPILED"}
    if is_compiled:
        environ["MINIBOT_COMPILED"] = "1"
    words = ["tools.bench.backtest_pass", name]
    if name == BARS_CASE:
        words = ["tools.bench.backtest_bars"]
    done = subprocess.run(
        [sys.executable, "-m", *words, str(count), str(core)],
        cwd=PROJECT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=CASE_S_MAX,
        check=False,
    )
    if done.returncode != 0:
        raise OSError(f"{name} {count}: exit {done.returncode}: {done.stderr.strip()[-800:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _speed(
    plan: Plan, id_: str, name: str, case: str, is_compiled: bool, limit: Limit | None
) -> list[Measure]:
    found = []
    for count in (MILLION, 10 * MILLION) if plan.is_full else (MILLION,):
        runs = plan.case(case, count, is_compiled=is_compiled)
        outcome = plan.peers("ticks") if case == "ema" and count == MILLION else None
        peers = {} if outcome is None else outcome.figures
        notes = [] if runs else [NO_BUILD]
        if runs:
            last = runs[-1]
            digest = last["digest"][:16] or "none"
            notes.append(
                f"{last['events']:,} events, {last['fills']:,} fills, equity {last['equity']},"
                f" digest {digest}, {last['rss_mb']:.0f} MB"
            )
        notes += [_peer_line(name, figures) for name, figures in peers.items()]
        notes += (
            [] if outcome is None else [f"{k}: not here: {v}" for k, v in outcome.missing.items()]
        )
        found.append(
            Measure(
                id_,
                f"{name}, {count // MILLION} million ticks",
                median([run["per_s"] for run in runs]) if runs else None,
                "events/s",
                limit,
                _samples(runs),
                {peer: float(figures["ev_per_s"]) for peer, figures in peers.items()},
                "events/s",
                notes,
            )
        )
    return found


def _samples(runs: list[dict[str, Any]]) -> dict[str, list[float]]:
    return {
        "events/s, CPU of the loop": [run["per_s"] for run in runs],
        "events/s, wall of the loop": [run["events"] / run["loop_s"] for run in runs],
        "start-up and market, s": [run["ready_s"] for run in runs],
    }


def _peer_line(name: str, figures: Mapping[str, Any]) -> str:
    text = f"{name}: {figures['ev_per_s']:,} events/s, {figures['fills']:,} fills, "
    return text + f"equity {figures['equity']}, Python {figures['py']}; {figures['decides']}"


def b1(plan: Plan) -> list[Measure]:
    """EMA cross by ticks, compiled; and where it seldom crosses."""
    return [
        *_speed(plan, "B1", "EMA cross by ticks, compiled", "ema", True, Limit(8e6, 12e6)),
        *_speed(plan, "B1", "the same, averages that seldom cross, compiled", "rare", True, None),
    ]


def b2(plan: Plan) -> list[Measure]:
    """B2: EMA cross by ticks, interpreted."""
    limit = Limit(0.75e6, 2.5e6)
    return [
        *_speed(plan, "B2", "EMA cross by ticks, interpreted", "ema", False, limit),
        *_speed(plan, "B2", "the same, averages that seldom cross", "rare", False, None),
    ]


def b3(plan: Plan) -> list[Measure]:
    """EMA cross over the fastest NautilusTrader with a Python strategy."""
    outcome = plan.peers("ticks")
    rivals = {k: float(v["ev_per_s"]) for k, v in outcome.figures.items() if "nautilus" in k}
    found = []
    for word, is_compiled, limit in (
        ("interpreted", False, Limit(1.25, 4)),
        ("compiled", True, Limit(10, 18)),
    ):
        runs = plan.case("ema", MILLION, is_compiled=is_compiled)
        value = None
        if runs and rivals:
            value = median([run["per_s"] for run in runs]) / max(rivals.values())
        notes = [] if rivals else ["needs --peers"]
        name = f"EMA cross over NautilusTrader, {word}"
        found.append(Measure("B3", name, value, "x", limit, peers=rivals, notes=notes))
    return found


def b4(plan: Plan) -> list[Measure]:
    """B4: The real strategy with the whole system behind it."""
    name = "nore_strategy_v1, all gates, risk, executor, ledger, digest"
    return [
        *_speed(plan, "B4", f"{name}, compiled", "nore", True, Limit(2e6, 5e6)),
        *_speed(plan, "B4", f"{name}, interpreted", "nore", False, Limit(3e5, 7e5)),
    ]


def b5(plan: Plan) -> list[Measure]:
    """B5: Time from a user's command in a cold process to its first table over a million ticks."""
    found = []
    has_build = stale(build_folder()) is None
    for word, is_compiled in (("compiled", True), ("interpreted", False)):
        if is_compiled and not has_build:
            found.append(Measure("B5", "compiled", None, "s", notes=[NO_BUILD]))
            continue
        limit = Limit(5, 1.5, is_most=True) if is_compiled == has_build else None
        found.append(backtest_cold.cold(plan.repeats, plan.folder, word, is_compiled, limit))
    return found


def b6(plan: Plan) -> list[Measure]:
    """Replay with full comparison on two cores."""
    return backtest_replay.replay(plan.repeats, plan.run)


def b7(plan: Plan) -> list[Measure]:
    """A role's restart in hour seven."""
    return backtest_replay.restore(plan.repeats, plan.folder)


def b8(plan: Plan) -> list[Measure]:
    """B8: Bars through the intrabar model and the cores, over the fastest such peer."""
    outcome = plan.peers("bars")
    peers = {name: float(figures["ev_per_s"]) for name, figures in outcome.figures.items()}
    rivals = [peers[name] for name in backtest_peers.BY_EVENTS if name in peers]
    found = []
    for word, is_compiled, limit in (
        ("compiled", True, Limit(5, 10)),
        ("interpreted", False, None),
    ):
        runs = plan.case(BARS_CASE, BARS, is_compiled=is_compiled)
        name = f"bars, {word}, over the fastest peer by events"
        value = median([run["per_s"] for run in runs]) / max(rivals) if runs and rivals else None
        notes = [] if runs else [NO_BUILD]
        if runs:
            last = runs[-1]
            notes.append(
                f"{last['count']:,} bars, {last['derived']:,} derived, {last['fills']:,} fills,"
                f" equity {last['equity']}, digest {last['digest'][:16]}"
            )
            written = median([run["written_per_s"] for run in runs])
            notes.append(f"with all events written and digested, as no peer does: {written:,.0f}/s")
        notes += [] if rivals else ["needs --peers"]
        notes += [_peer_line(peer, figures) for peer, figures in outcome.figures.items()]
        notes += [f"{peer}: not here: {why}" for peer, why in outcome.missing.items()]
        samples = _samples(runs)
        found.append(Measure("B8", name, value, "x", limit, samples, peers, "bars/s", notes))
    return found


def b9(plan: Plan) -> list[Measure]:
    """The whole command as installed over a year of one-minute bars; freqtrade beside (b)."""
    folder = plan.folder / "backtest"
    found = [
        backtest_command.whole_command(plan.repeats, folder, case)
        for case in backtest_command.CASES
    ]
    if plan.has_peers:
        found.append(backtest_peers.whole_freqtrade(plan.repeats, folder))
    return found


MEASURES: Final[Mapping[str, Callable[[Plan], list[Measure]]]] = {
    "B1": b1,
    "B2": b2,
    "B3": b3,
    "B4": b4,
    "B5": b5,
    "B6": b6,
    "B7": b7,
    "B8": b8,
    "B9": b9,
}
