"""Training run for a build of the cores: `python -m tools.training FOLDER`, by `tools.compile`.

It runs the compiled modules of a folder, which count their branches: ticks that lead to many
orders, with and without texts; the shipped strategy with bars and beats; bars alone. The ticks
differ from those that the bench measures.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from minibot.compiled import take_into_use

SEED: Final = 7
TICKS: Final = 200_000
BARS: Final = 40_000
TICK_CASES: Final = (("ema", False), ("ema", True), ("nore", True))
"""Cases of the bench, and whether all of it is written and digested."""


def train(ticks: int = TICKS, bars: int = BARS) -> list[tuple[int, str]]:
    """Run each workload once, over a number of ticks or bars; return fills and digest of each."""
    # Imported here, because modules now come from the folder.
    from minibot.backtest.driver import run_backtest
    from minibot.backtest.sources.bars import BarSource
    from minibot.runtime.configuration.config import load_config
    from tools.bench import backtest_market as market
    from tools.bench.backtest_bars import SETS, series
    from tools.bench.backtest_pass import CASES, PROFILE, Pass

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
    return told


def main(argv: Sequence[str] | None = None) -> int:
    """Use the modules of the folder and run the training."""
    (folder,) = sys.argv[1:] if argv is None else argv
    take_into_use(Path(folder))
    train()
    return 0


if __name__ == "__main__":
    sys.exit(main())
