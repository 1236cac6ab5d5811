"""B8: bars through the live cores, in a separate process: `python -m tools.bench.backtest_bars`.

It runs `run_backtest` as `minibot backtest --source klines:` does: the intrabar model, the cores,
bookkeeping and marks. `per_s` counts the work that peers do too: every signal, order, result and
fill in whole numbers, the position, the round trips, equity and drawdown. `written_per_s` adds the
work that no peer does: events with ids and texts, and their digest. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from typing import Final

BEGAN: Final = time.perf_counter()

# Imported after the clock's start, because a user waits for these imports too.
import numpy as np  # noqa: E402

from minibot.backtest.driver import run_backtest  # noqa: E402
from minibot.backtest.sources.bars import BarSource  # noqa: E402
from minibot.engine.bar_series import BarSeries  # noqa: E402
from minibot.engine.bar_table import BAR_COLUMNS, BarTable  # noqa: E402
from minibot.runtime.configuration.config import load_config  # noqa: E402
from tools.bench.backtest_market import SYMBOL, bars  # noqa: E402
from tools.bench.backtest_pass import PROFILE, UNLIMITED  # noqa: E402

MINUTE_MS: Final = 60_000
CENT: Final = 10**6
THOUSANDTH: Final = 10**5
SETS: Final = (
    "strategy.name=rsi_band",
    "strategy.bar_interval=1m",
    "strategy.trend_interval=15m",
    'market.bar_intervals=["1m","15m"]',
    *UNLIMITED,
)


def series(count: int) -> BarSeries:
    """Return the bars of the workload W2 in the form that a file of columns gives."""
    ts, *prices, volume = bars(count)
    start = ts // 10**6
    units = [np.rint(column * 100).astype(np.int64) * CENT for column in prices]
    volumes = np.rint(volume * 1000).astype(np.int64) * THOUSANDTH
    columns = dict(zip(BAR_COLUMNS, (start, start + MINUTE_MS, *units, volumes), strict=True))
    first, end = int(start[0]), int(start[-1]) + MINUTE_MS
    table = BarTable("1m", columns)
    return BarSeries(
        *("made", SYMBOL, "1m", first, end, "0.01", "0.001"),
        candles=lambda: map(table.candle, range(count)),
        columns=lambda: columns,
    )


def main() -> int:
    """Run one backtest and print its times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("core", type=int, nargs="?", help="run on this core alone")
    given = parser.parse_args()
    if given.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {given.core})
    config = load_config(PROFILE, list(SETS), {})
    loaded = time.perf_counter()
    source = BarSource(series(given.count), config)
    made = time.perf_counter() - loaded
    gc.collect()
    gc.freeze()  # Every role does this at its start.
    ready, cpu_ready = time.perf_counter(), time.process_time()
    result = run_backtest(source, config)
    done, cpu_done = time.perf_counter(), time.process_time()
    digest = result.digest
    cpu_written = time.process_time()
    said = {
        "count": given.count,
        "events": given.count,
        "ready_s": ready - BEGAN - made,
        "market_s": made,
        "loop_s": done - ready,
        "loop_cpu_s": cpu_done - cpu_ready,
        "per_s": given.count / (cpu_done - cpu_ready),
        "written_per_s": given.count / (cpu_written - cpu_ready),
        "fills": len(result.of("fills")),
        "derived": len(result.derived),
        "digest": digest,
        "stop": result.stop,
        "equity": result.performance.to_json()["equity"],
        "compiled": bool(os.environ.get("MINIBOT_COMPILED")),
    }
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
