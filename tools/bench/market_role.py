"""Market role as the bench runs it: the real one, on one core.

    python -m tools.bench.market_role --run DIR --core 1 [--trace FILE] [--lags FILE]

`--trace` records for every trade when it was read from the socket and when it was on the disk.
`--lags` records for every write the age of its oldest trade since sending, on the same machine's
clock. `--profile` profiles the role; `--every-quote` switches the overload rule off.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from minibot.events.model import MarketTick, Payload
from minibot.market import role, session
from minibot.market.overload import Overload
from minibot.runtime.channels import Heartbeat
from minibot.runtime.clock import machine_ns
from minibot.runtime.context import open_context
from minibot.runtime.role import ignore_signals, run_role


class TracedWorld(role.RoleWorld):
    """World that records, for every tick, when it was read and when it was durable."""

    rows: list[tuple[str, int, int, int]]

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.rows = traced

    def write(self, payloads: list[tuple[Payload, int]]) -> None:
        """Append as the role does, then record the time."""
        super().write(payloads)
        durable_ns = machine_ns()
        self.rows += [
            (payload.symbol, payload.trade_id or 0, payload.recv_mono_ns, durable_ns)
            for payload, _ in payloads
            if isinstance(payload, MarketTick)
        ]


class LagWorld(role.RoleWorld):
    """World that records, for every write with trades, its time and the lag of its oldest trade."""

    def write(self, payloads: list[tuple[Payload, int]]) -> None:
        """Append as the role does, then record time and lag."""
        super().write(payloads)
        sent_ms = [
            payload.exchange_ts
            for payload, _ in payloads
            if isinstance(payload, MarketTick) and payload.trade_id and payload.exchange_ts
        ]
        if sent_ms:
            lags.append((time.monotonic_ns(), time.time_ns() // 1_000_000 - min(sent_ms)))


traced: list[tuple[str, int, int, int]] = []
lags: list[tuple[int, int]] = []


def main() -> int:
    """Run the market role of one run."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.market_role")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--core", type=int)
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--lags", type=Path)
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--every-quote", action="store_true")
    arguments = parser.parse_args()
    if arguments.core is not None and sys.platform == "linux":
        os.sched_setaffinity(0, {arguments.core})
    ignore_signals()
    # The product has no switch for this, so the bench replaces the class that it watches; mypy
    # takes a class in a module for fixed.
    if arguments.trace is not None:
        role.RoleWorld = TracedWorld  # type: ignore[assignment, misc]
    if arguments.lags is not None:
        role.RoleWorld = LagWorld  # type: ignore[misc]
    if arguments.every_quote:
        session.Overload = partial(Overload, waiting_from=sys.maxsize)  # type: ignore[assignment, attr-defined]
    profiler = None if arguments.profile is None else cProfile.Profile()
    if profiler is not None:
        profiler.enable()
    code = run_role(open_context("market_role", arguments.run.resolve(), Heartbeat("market_role")))
    if profiler is not None:
        profiler.disable()
        profiler.dump_stats(arguments.profile)
    if arguments.trace is not None:
        arguments.trace.write_text(json.dumps(traced))
    if arguments.lags is not None:
        arguments.lags.write_text(json.dumps(lags))
    return code


if __name__ == "__main__":
    sys.exit(main())
