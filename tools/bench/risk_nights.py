"""R4 and R6: nights of the portfolio against the embedded exchange, and the cost of depth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from minibot.compiled import SWITCH
from tools.bench.frame import Limit, Measure, median
from tools.bench.machine import PROJECT
from tools.bench.market import Plan, flood, latency, single
from tools.bench.risk_market import PAIRS, symbols

PROFILE: Final = PROJECT / "config" / "portfolio.v1.json"
DEPTH_KEY: Final = "book_depth"
SCHEMA: Final = PROJECT / "config" / "config.v1.schema.json"
NO_KEY: Final = f"the configuration has no key market.{DEPTH_KEY} that is true or false"
SLOWER: Final = Limit(1.5, 1.1, is_most=True)
SHARE: Final = Limit(25, 10, is_most=True)
NEAR: Final = Limit(10, 3, is_most=True)
"""Percent that the depth may cost."""
RATE_PER_S: Final = 2_000
NIGHT_S: Final = 120
NIGHT_S_MAX: Final = 600.0
INTERVAL: Final = "1s"
"""Bars so short that a night of a minute has many decisions."""


def overlay(pairs: int) -> dict[str, Any]:
    """Return the portfolio profile changed to a night of made-up pairs on this machine."""
    names = symbols(pairs)
    profile: dict[str, Any] = json.loads(PROFILE.read_bytes())
    profile |= {
        "profile": "risk-bench",
        "mode": "NORE",
        "duration_ms": 1000 * NIGHT_S,
        "embedded": {
            "source": f"generator:7:{','.join(names)}",
            "speed": "1",
            "history": None,
            "faults": None,
            "port": 0,
            "rate_per_s": RATE_PER_S,
        },
        "market": {"bar_intervals": [INTERVAL, "1m"]},
        "strategy": {
            "name": "rsi_band",
            "parameters": {"period": 5, "below": 48, "above": 52, "warm": 0},
            "bar_interval": INTERVAL,
            "trend_interval": "1m",
        },
    }
    profile["binance"] = {
        "rest_url": "embedded",
        "stream_url": "embedded",
        "symbols": names,
    }
    profile["risk"] |= {"night_notional_pace": None}
    del profile["paper"]  # Of the mode PAPER alone.
    del profile["universe"], profile["scanner"]
    return profile


def nights(repeats: int, folder: Path) -> list[Measure]:
    """Return how much slower decisions are in a night of fifty pairs, and the CPU of risk.

    Args:
        repeats: Nights of fifty pairs and of one, by turns.
        folder: Where the nights go, until the end.
    """
    name = f"night of {PAIRS} pairs, {RATE_PER_S:,} messages/s"
    one, many = [], []
    try:
        for _ in range(repeats):
            one.append(night(1, folder))
            many.append(night(PAIRS, folder))
    except OSError as error:
        note = [f"no figure: {error}"]
        return [
            Measure("R4", f"{name} over one: tick to result p50", None, "x", SLOWER, notes=note),
            Measure("R4", "CPU of risk, of a core", None, "%", SHARE, notes=note),
        ]
    decided = {
        f"{word}, tick to result p50, ms": [_p50_ms(each) for each in runs]
        for word, runs in ((f"{PAIRS} pairs", many), ("one pair", one))
    }
    ratios = [big / small for big, small in zip(*decided.values(), strict=True) if big and small]
    shares = [_risk_percent(each) for each in many]
    return [
        Measure(
            "R4",
            f"{name} over one: tick to result p50",
            median(ratios) if ratios else None,
            "x",
            SLOWER,
            decided
            | {
                f"{word}, results": [float(_decision(each)["tick_to_result_n"]) for each in runs]
                for word, runs in ((f"{PAIRS} pairs", many), ("one pair", one))
            },
            notes=[] if ratios else ["no order in one of the nights"],
        ),
        Measure(
            "R4",
            "CPU of risk, of a core",
            median(shares),
            "%",
            SHARE,
            {
                f"{PAIRS} pairs, %": shares,
                "one pair, %": [_risk_percent(each) for each in one],
            },
            notes=["over its whole life: the start of its process is in it"],
        ),
    ]


def night(pairs: int, folder: Path) -> dict[str, Any]:
    """Play a night of so many pairs to its end and return its metrics.

    Raises:
        OSError: It did not end in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="night-") as made:
        profile = Path(made) / "profile.json"
        profile.write_text(json.dumps(overlay(pairs)))
        words = ["-m", "minibot.nore_run_v1", "--config", str(profile), "--var", f"{made}/var"]
        done = subprocess.run(
            [sys.executable, *words, "--no-proof", "--quiet", "--json"],
            cwd=PROJECT,
            env={key: value for key, value in os.environ.items() if key != SWITCH},
            capture_output=True,
            text=True,
            timeout=NIGHT_S_MAX,
            check=False,
        )
    if done.returncode != 0:
        raise OSError(f"night of {pairs} pairs: {ended_by(done.stdout, done.stderr)}")
    return metrics_in(json.loads(done.stdout))


def ended_by(said: str, errors: str) -> str:
    """Return why a night ended, by its document; its last words where it wrote none."""
    try:
        document = json.loads(said)
    except ValueError:
        return errors.strip()[-300:]
    return f"{document['reason_code']}: {document['detail']}"


def metrics_in(document: Any) -> dict[str, Any]:
    """Return the metrics in a night's document."""
    found: dict[str, Any] = document["summary"]["metrics"]
    return found


def _decision(metrics: dict[str, Any]) -> dict[str, int]:
    found: dict[str, int] = metrics["decision"]
    return found


def _p50_ms(metrics: dict[str, Any]) -> float:
    return _decision(metrics)["tick_to_result_us_p50"] / 1000


def _risk_percent(metrics: dict[str, Any]) -> float:
    cpu_ms, uptime_s = metrics["processes"]["risk_role"]["cpu_ms"], metrics["uptime_s"]["risk_role"]
    return float(cpu_ms / (10 * uptime_s))


# --- R6 ---------------------------------------------------------------------------------------


def depth(repeats: int, folder: Path, core: int) -> list[Measure]:
    """Return by how much M1, M4 and M7 are worse with the depth in 2 %, in percent.

    Args:
        repeats: Pairs of runs, with and without it by turns.
        folder: Of the role's queues.
        core: Processor core of the role.
    """
    if not knows_depth(json.loads(SCHEMA.read_bytes())):
        return [Measure("R6", _cost(id_), None, "%", NEAR, notes=[NO_KEY]) for id_ in DEPTH_CASES]
    found = []
    for id_, (measure, is_rate) in DEPTH_CASES.items():
        off: list[float] = []
        on: list[float] = []
        for _ in range(repeats):
            for word, values in (("false", off), ("true", on)):
                plan = Plan(False, 1, folder, core, (f"market.{DEPTH_KEY}={word}",))
                values.append(measure(plan)[0].value or 0.0)
        worse = [
            100 * (without / with_it if is_rate else with_it / without) - 100
            for without, with_it in zip(off, on, strict=True)
        ]
        samples = {"without": off, "with": on, "% worse, in pairs": worse}
        found.append(Measure("R6", _cost(id_), median(worse), "%", NEAR, samples))
    return found


DEPTH_CASES: Final[dict[str, tuple[Callable[[Plan], list[Measure]], bool]]] = {
    "M1": (flood, True),
    "M4": (latency, False),
    "M7": (single, False),
}
"""The measure, and whether more of it is better."""


def knows_depth(schema: Any) -> bool:
    """Return whether a configuration's schema has the key as one that is true or false."""
    section = schema.get("properties", {}).get("market", {})
    kinds = section.get("properties", {}).get(DEPTH_KEY, {}).get("type", ())
    return "boolean" in ([kinds] if isinstance(kinds, str) else kinds)


def _cost(id_: str) -> str:
    return f"{id_} with depth in 2 %: worse by"
