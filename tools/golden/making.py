"""Making of each golden run: by a real night with all its processes, never by hand.

A new golden run has another run id and other times, hence another digest. Remake one only where a
change of the format demands it, and say so in the commit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from minibot.engine.role_replay import replay_run
from minibot.gates.chaos_processes import kill_role
from minibot.gates.drill_run import DrillRun
from minibot.gates.smoke_run import EAGER
from minibot.runtime.paths import Var
from tools.golden.fixture import FIXTURES, keep

END_S_MAX: Final = 120.0
# Indicators need few bars, so that a short run trades; books are small, so that the file is too.
SMALL: Final[Mapping[str, object]] = {
    **EAGER,
    "ai.enabled": False,
    "market.book_levels": 5,
    "market.book_interval_market_ms": 5000,
    "strategy.ema_fast": 3,
    "strategy.ema_slow": 8,
    "strategy.rsi_period": 5,
    "strategy.atr_period": 5,
    "strategy.return_bars": 3,
    "portfolio.close_market_ms": 5000,
}
# Faults by name and fields, as `POST /minibot/fault` accepts them.
FAULTS: Final[tuple[tuple[str, Mapping[str, object]], ...]] = (
    ("gap", {"n": 3}),
    ("missing_trades", {"n": 5}),
    ("duplicate_trades", {"n": 10}),
    ("drop", {}),
    ("outlier_price", {"n": 2}),
    ("garbage", {"kind": "partial_json"}),
    ("stall", {"ms": 4000}),
    ("disconnect_24h", {}),
)

Drive = Callable[[DrillRun], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Recipe of one golden run.

    Attributes:
        what: Description in one sentence, for the record.
        sets: Keys that differ from the smoke profile.
        drive: Deeds done to the run while it is up.
    """

    what: str
    sets: Mapping[str, object]
    drive: Drive


def _leave_alone(night: DrillRun) -> None:
    night.wait_for_run()


def _kill_roles(night: DrillRun) -> None:
    night.wait_for_trading()
    for role in ("strategy_role", "risk_role", "execution_role"):
        kill_role(night, role)


def _break_the_feed(night: DrillRun) -> None:
    night.wait_for_trading()
    for name, fields in FAULTS:
        night.exchange_fault(name, **fields)
        night.wait_to_go_on()
    night.ask_end()


RECIPES: Final[Mapping[str, Recipe]] = {
    "sample_run": Recipe(
        "the first 45 seconds of the shipped recording of BTCUSDT (8 August 2024)",
        {"embedded.source": "tape:demo", "embedded.speed": "10", "duration_ms": 45_000},
        _leave_alone,
    ),
    "crash_run": Recipe(
        "a made market of 100 seconds; strategy, risk and execution each ended by SIGKILL once",
        {"embedded.source": "generator:2", "embedded.speed": "10", "duration_ms": 100_000},
        _kill_roles,
    ),
    "faults_run": Recipe(
        "a made market with gaps, repeats, outliers, garbage, a stall and two disconnections",
        {
            "embedded.source": "generator:3",
            "embedded.speed": "10",
            "duration_ms": 900_000,
        },
        _break_the_feed,
    ),
}


def make(name: str, folder: Path = FIXTURES) -> str:
    """Run a night by its recipe, keep it as a fixture, and return its digest.

    Raises:
        NotInjected: The night did not get as far as the recipe demands.
        ValueError: The night's replay differs, or the night has no fill.
    """
    recipe = RECIPES[name]
    with tempfile.TemporaryDirectory(prefix=f"golden-{name}-") as lab:
        night = DrillRun(name, Var(Path(lab)), sets={**SMALL, **recipe.sets}, chaos={})
        try:
            night.start()
            recipe.drive(night)
            night.watch_end(END_S_MAX)
        finally:
            night.clean_up()
        replay = replay_run(night.run_dir)
        outputs = {queue: n for role in replay.roles for queue, n in role.outputs.items()}
        if night.exit_code != 0 or not replay.is_identical or not outputs.get("fills"):
            raise ValueError(f"{name}: exit {night.exit_code}, {outputs}: {night.output()[-500:]}")
        record = {
            "digest": replay.digest,
            "inputs": sum(role.inputs for role in replay.roles),
            "made_by": f"python -m tools.golden --make {name}",
            "outputs": outputs,
            "run_id": replay.run_id,
            "what": recipe.what,
        }
        keep(night.run_dir, folder / name, record)
    return replay.digest
