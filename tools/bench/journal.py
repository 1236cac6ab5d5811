"""The journal: how fast events go in, through and out, and beside what people use instead."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.bench import worker
from tools.bench.frame import Limit, Measure, median
from tools.bench.machine import FOLDER

HELP: Final = "the journal: append, read, verify, wake-up, memory (J1 to J9)"
READ_LINES: Final = 524_288
VERIFY_LINES: Final = 1_048_576
NIGHT_LINES: Final = 25_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run of the benchmark was asked for.

    Attributes:
        repeats: Repetitions of each case, interleaved where cases are compared.
        peers: Names of the peers to run beside, none without `--peers`.
        is_real: Events with figures as long as BTCUSDT's instead of 380 bytes.
        is_full: J6 over all 25 million lines instead of a scaled part.
        folder: Where everything is written; removed at the end.
    """

    repeats: int = 5
    peers: tuple[str, ...] = ()
    is_real: bool = False
    is_full: bool = False
    folder: Path = FOLDER


def j5(plan: Plan) -> list[Measure]:
    """Read, verify hash and chain, decode and validate, one process."""
    root = _prepared(plan, READ_LINES)
    rates, plain = [], []
    for _ in range(plan.repeats):
        rates.append(_rate(worker.call("read", {"root": str(root)})))
        plain.append(_rate(worker.call("read", {"root": str(root), "is_decoded": False})))
    return [
        Measure(
            "J5",
            "read, verify hash and chain, decode, validate",
            median(rates),
            "events/s",
            Limit(300_000, 450_000),
            {"decoded and validated": rates, "hash and chain only": plain},
        )
    ]


def j6(plan: Plan) -> list[Measure]:
    """Verify a whole queue; the figure is for a night of 25 million lines."""
    lines = NIGHT_LINES if plan.is_full else VERIFY_LINES
    root = _prepared(plan, lines)
    took, memory, findings = [], [], []
    for _ in range(1 if plan.is_full else min(plan.repeats, 3)):
        answer = worker.call("verify", {"root": str(root)})
        took.append(answer["seconds"] * NIGHT_LINES / lines)
        memory.append(answer["rss_mb"])
        findings += answer["findings"]
    notes = [] if plan.is_full else [f"from {lines:,} lines; --full takes all {NIGHT_LINES:,}"]
    notes += [f"FINDING {text}" for text in findings]
    return [
        Measure(
            "J6",
            "verify a night of 25 million lines",
            median(took),
            "s",
            Limit(100, 40, is_most=True),
            {"seconds": took, "memory, MB": memory},
            notes=notes,
        )
    ]


MEASURES: Final[Mapping[str, Callable[[Plan], list[Measure]]]] = {"J5": j5, "J6": j6}


def _prepared(plan: Plan, lines: int) -> Path:
    """Return a folder of queues with so many lines; it is kept for the next run."""
    root = plan.folder / f"prepared-{'real-' if plan.is_real else ''}{lines}"
    worker.call("prepare", {"root": str(root), "lines": lines, "is_real": plan.is_real})
    return root


def _rate(answer: worker.Answer) -> float:
    return float(answer["events"] / answer["seconds"])


def clear(folder: Path) -> None:
    """Remove what earlier runs left."""
    shutil.rmtree(folder, ignore_errors=True)
