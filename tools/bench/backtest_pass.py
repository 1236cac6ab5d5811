"""One backtest in a separate process: `python -m tools.bench.backtest_pass CASE COUNT`.

Prints one JSON object: seconds until the market was ready, of the inner loop, of the whole; and the
results, so that two ways of running the same case can be compared.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

BEGAN: Final = time.perf_counter()

# As the product's own commands: an idle thread of NumPy would count as time of the loop.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Imported after the clock's start, because a user waits for these imports too.
from minibot.engine.decisions import DecisionDigest  # noqa: E402
from minibot.engine.lockstep import Lockstep, fresh_cores  # noqa: E402
from minibot.engine.tick_rows import TickRows  # noqa: E402
from minibot.events.model import Event, Payload, RunOpening  # noqa: E402
from minibot.events.names import CONTROL, TICKS  # noqa: E402
from minibot.events.roles import Roles  # noqa: E402
from minibot.runtime.configuration.config import Config, load_config  # noqa: E402
from minibot.runtime.paths import PROJECT  # noqa: E402
from tools.bench.backtest_market import SYMBOL, Beside, beside, columns, history, instrument, ticks  # noqa: E402

RUN_ID: Final = "20240101_000000"
NO_CMDLINE: Final = "0" * 64
PROFILE: Final = PROJECT / "config" / "nore-demo.v1.json"
CASH: Final = "1000000"
PLENTY: Final = "1000000000"
# Limits out of reach, so that the case is one unit, long or flat, at every cross.
UNLIMITED: Final = (
    "execution.latency_market_ms=0",
    "portfolio.cash=" + CASH,
    "risk.order_notional=100",
    "risk.position_notional_max=100000",
    "risk.night_notional_soft=" + PLENTY,
    "risk.night_notional_hard=" + PLENTY,
    "risk.day_notional_soft=" + PLENTY,
    "risk.day_notional_hard=" + PLENTY,
    "risk.night_loss_soft=" + PLENTY,
    "risk.night_loss_hard=" + PLENTY,
    "risk.day_loss_soft=" + PLENTY,
    "risk.day_loss_hard=" + PLENTY,
    "risk.orders_per_minute_soft=10000",
    "risk.orders_per_minute_hard=10000",
    "risk.stop_atr_mult=1000",
    "risk.take_profit_atr_mult=1000",
    "risk.reference_deviation_bps_max=10000",
)
CASES: Final = {
    "ema": ("strategy.name=ema_cross", *UNLIMITED),
    "rare": (
        "strategy.name=ema_cross",
        "strategy.parameters.slow=100000",
        *UNLIMITED,
    ),
    "nore": ("portfolio.cash=" + CASH,),
}


class Pass:
    """Pass of the three cores with their books over one market, with or without a digest.

    Without a digest nobody reads the cores' messages, so they are never written as events.
    """

    def __init__(self, config: Config, *, has_digest: bool = True) -> None:
        self.opening = RunOpening(cash={"USDT": CASH}, lots=(), budgets_used={})
        self.digest = DecisionDigest()
        self.seqs = {TICKS: 0, CONTROL: 0}
        self.lockstep = Lockstep(
            fresh_cores(config.raw),
            Roles.of_project(),
            cmdline_hashes=dict.fromkeys(Roles.of_project().cores, NO_CMDLINE),
            take=self.digest.add if has_digest else None,
        )

    def say(self, queue: str, payload: Payload, ts: int) -> None:
        """Feed one event."""
        self.seqs[queue] += 1
        seq = self.seqs[queue]
        source = "watchdog_role" if queue == CONTROL else "market_role"
        name = f"{queue}:{seq}"  # Called like a tick from columns.
        self.lockstep.process(Event(ts, name, source, RUN_ID, NO_CMDLINE, payload), seq)

    def run(self, table: dict[str, Any], between: Sequence[Beside]) -> int:
        """Walk the market; return the number of events."""
        first_ts = int(table["ts"][0])
        self.say(CONTROL, self.opening, first_ts)
        self.say(TICKS, instrument(), first_ts)
        for bar in history(first_ts):
            self.say(TICKS, bar, first_ts)
        rows = TickRows(SYMBOL, table, self.lockstep, RUN_ID, NO_CMDLINE)
        for one in between:
            if one.row > rows.row:
                self._walk(rows, one.row)
            self.say(TICKS, one.payload, one.ts)
        self._walk(rows, rows.rows)
        return sum(self.seqs.values())

    def _walk(self, rows: TickRows, last: int) -> None:
        first = rows.row
        if last > first:
            self.walk(rows, first, last, self.seqs[TICKS] + 1)
            self.seqs[TICKS] += last - first

    @staticmethod
    def walk(rows: TickRows, first: int, last: int, seq: int) -> None:
        """Hand rows to the cores; a test replaces this method to compare another way."""
        rows.walk(last, seq)


def _rss_mb() -> float:
    """Return the peak memory of this process, where the system reports it."""
    if sys.platform == "win32":
        return 0.0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Run one case and print its times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=list(CASES))
    parser.add_argument("count", type=int)
    parser.add_argument("core", type=int, nargs="?", help="run on this core alone")
    parser.add_argument(
        "--digest", action="store_true", help="of what is decided; B4 has one always"
    )
    parser.add_argument("--states", type=Path, help="write the cores' states there")
    given = parser.parse_args()
    case, count = given.case, given.count
    if given.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {given.core})
    config = load_config(PROFILE, list(CASES[case]), {})
    loaded = time.perf_counter()
    table = columns(ticks(count))
    between = beside(table) if case == "nore" else []
    made = time.perf_counter() - loaded
    one = Pass(config, has_digest=given.digest or case == "nore")
    gc.collect()
    gc.freeze()  # Every role does this at its start.
    ready = time.perf_counter()
    cpu_ready = time.process_time()
    events = one.run(table, between)
    done = time.perf_counter()
    cpu_done = time.process_time()
    if given.states is not None:
        cores = one.lockstep.cores
        document = {
            "config": config.raw,
            "market_s": (int(table["ts"][-1]) - int(table["ts"][0])) // 1000,
            "states": {name: core.state() for name, core in cores.items()},
        }
        given.states.parent.mkdir(parents=True, exist_ok=True)
        given.states.write_text(json.dumps(document))
    books = one.lockstep.cores["execution_role"].facts()
    print(
        json.dumps(
            {
                "case": case,
                "count": count,
                "events": events,
                "ready_s": ready - BEGAN - made,
                "market_s": made,
                "loop_s": done - ready,
                "loop_cpu_s": cpu_done - cpu_ready,
                "per_s": events / (cpu_done - cpu_ready),
                "fills": books["fills"],
                "digest": one.digest.hex if one.digest.events else "",
                "equity": books["equity"],
                "rss_mb": _rss_mb(),
                "compiled": bool(os.environ.get("MINIBOT_COMPILED")),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
