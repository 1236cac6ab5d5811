"""Cost of an answer of the embedded exchange's REST side, with 400 symbols behind it.

    python -m tools.bench.answering                 400 synthetic symbols python -m
    tools.bench.answering --symbols 40

The exchange is a separate process that plays at the market's speed. The cost is its own CPU time
(user and system) over many calls of one client, minus the cost of playing, so that a busy machine
does not change it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import psutil
import requests

from minibot.simulator.server.remote import RunningExchange
from tools.bench.machine import describe

CALLS: Final[tuple[tuple[str, dict[str, str], int], ...]] = (
    ("ping", {}, 400),
    ("depth", {"symbol": "BTCUSDT", "limit": "100"}, 200),
    ("klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": "1000"}, 100),
    ("ticker/24hr", {"symbol": "BTCUSDT"}, 200),
    ("ticker/bookTicker", {}, 60),
    ("ticker/price", {}, 60),
    ("ticker/24hr", {}, 60),
    ("exchangeInfo", {}, 60),
)
IDLE_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one call: CPU milliseconds of the exchange, and the size of the answer."""

    call: str
    cpu_ms: float
    size: int


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench.answering",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--symbols", type=int, default=400)
    parser.add_argument("--rate", type=int, default=2_000, help="messages in a market second")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    costs = measure(options.symbols, options.rate)
    if options.json:
        print(json.dumps({"machine": describe(), "costs": [asdict(cost) for cost in costs]}))
    else:
        for cost in costs:
            print(f"{cost.call:<44} {cost.cpu_ms:>7.2f} ms {cost.size:>9,} bytes")
    return 0


def measure(symbols: int, rate: int) -> list[Cost]:
    """Serve synthetic symbols and call REST; return the cost of each call."""
    command = [
        *(sys.executable, "-m", "minibot.simulator", "--start", "now"),
        *("--source", f"generator:1:{symbols}", "--rate", str(rate)),
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        RunningExchange(port).fault("rates", {"weight": 10**9})
        with requests.Session() as session:
            base = f"http://127.0.0.1:{port}/api/v3/"
            # Computed once: the history of all symbols, and the rules as text.
            for path, query, _ in CALLS:
                session.get(base + path, params=query, timeout=600).raise_for_status()
            idle = _idle(process)
            return [_cost(process, session, base, *call, idle) for call in CALLS]
    finally:
        process.kill()
        process.communicate()


def _cpu_s(process: subprocess.Popen[str]) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def _idle(process: subprocess.Popen[str]) -> float:
    """Return the share of a core that playing alone uses."""
    before, began = _cpu_s(process), time.monotonic()
    time.sleep(IDLE_S)
    return (_cpu_s(process) - before) / (time.monotonic() - began)


def _cost(
    process: subprocess.Popen[str],
    session: requests.Session,
    base: str,
    path: str,
    query: dict[str, Any],
    count: int,
    idle: float,
) -> Cost:
    before, began = _cpu_s(process), time.monotonic()
    for _ in range(count):
        answer = session.get(base + path, params=query, timeout=60)
    used_s = _cpu_s(process) - before - idle * (time.monotonic() - began)
    words = "&".join(f"{name}={value}" for name, value in query.items())
    call = f"{path}?{words}" if words else path
    return Cost(call, max(0.0, used_s / count * 1e3), len(answer.content))


if __name__ == "__main__":
    sys.exit(main())
