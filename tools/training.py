"""Training run for a build of the cores: `python -m tools.training FOLDER`, by `tools.compile`.

It runs the compiled modules of a folder, which count their branches: ticks that lead to many
orders, with and without texts; the shipped strategy with bars and beats; bars alone; portfolios of
many pairs behind every gate, with exits by risk and with exits that rest. Ticks and pairs differ
from those that the bench measures.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from minibot.compiled import take_into_use

SEED: Final = 7
TICKS: Final = 1_000_000
BARS: Final = 40_000
STEPS: Final = 2_000
"""Bars of each pair of a portfolio."""
TICK_CASES: Final = (("ema", False), ("ema", True), ("nore", True))
"""Cases of the bench, and whether all of it is written and digested."""
PORTFOLIOS: Final = ("risk.exits_at=role", "risk.exits_at=venue")


def train(ticks: int = TICKS, bars: int = BARS, steps: int = STEPS) -> list[tuple[int, str]]:
    """Run each workload once; return fills and digest of each.

    Args:
        ticks: Length of the workloads of ticks.
        bars: Length of the workload of one symbol's bars.
        steps: Bars of each pair of a portfolio.
    """
    # Imported here, because modules now come from the folder.
    from minibot.backtest.driver import run_backtest
    from minibot.backtest.sources.bars import BarSource
    from minibot.backtest.sources.portfolio import Merged
    from minibot.engine.decision_record import DecisionRecord
    from minibot.runtime.configuration.config import load_config
    from tools.bench import backtest_market as market
    from tools.bench.backtest_bars import SETS, series
    from tools.bench.backtest_pass import CASES, PROFILE, Pass
    from tools.bench.risk_cases import GATES, profile
    from tools.bench.risk_market import PAIRS, pairs

    told: list[tuple[int, str]] = []
    table = market.columns(market.ticks(ticks, SEED))
    for case, has_digest in TICK_CASES:
        config = load_config(PROFILE, list(CASES[case]), {})
        between = market.beside(table) if case == "nore" else []
        one = Pass(config, has_digest=has_digest)
        one.run(table, between)
        told.append((one.lockstep.cores["execution_role"].facts()["fills"], one.digest.hex))
    config = load_config(PROFILE, list(SETS), {})
    result = run_backtest(BarSource(series(bars), config), config)
    told.append((len(result.of("fills")), result.digest))
    for exits_at in PORTFOLIOS:
        config = profile(*GATES, exits_at)
        merged = Merged([BarSource(each, config) for each in pairs(PAIRS, steps, SEED)])
        result = run_backtest(merged, config, record=DecisionRecord(is_for_page=False))
        told.append((len(result.of("fills")), result.digest))
    return told


def main(argv: Sequence[str] | None = None) -> int:
    """Use the modules of the folder and run the training."""
    (folder,) = sys.argv[1:] if argv is None else argv
    take_into_use(Path(folder))
    train()
    return 0


if __name__ == "__main__":
    sys.exit(main())
