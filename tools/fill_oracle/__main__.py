"""Compare minibot's fills with freqtrade's and NautilusTrader's, trade by trade.

    python -m tools.fill_oracle                  a month of BTCUSDT's minutes, some two minutes
    python -m tools.fill_oracle --data FILE      other klines
    python -m tools.fill_oracle --only nautilus  one engine beside minibot
    python -m tools.fill_oracle --write          and the table of docs/BACKTEST.md

The same entries with the same stops and targets go through all of them on the same klines. Each
difference is given the rules of the other engine that it follows from (`path_rules`). Exit code 1:
a difference that no class explains, printed in full; 2: an engine that cannot be installed or
failed. Without the file below `--data` the bars that minibot ships are used.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

from minibot.data.klines import open_klines
from minibot.events.money import parse_amount
from minibot.exchanges.tapes.kline_bars import INTERVALS
from minibot.kernel.errors import Refusal
from minibot.kernel.files import write_atomic
from tools.fill_oracle.difference_table import PAGE, part, written
from tools.fill_oracle.differences import Comparison, EngineFailure, Trades, compare
from tools.fill_oracle.entry_plan import COUNT, Bars, Entry, PlainBar, counted, plan
from tools.fill_oracle.minibot_trades import PROJECT, minibot_trades
from tools.fill_oracle.path_rules import PEERS
from tools.fill_oracle.peer_trades import peer_trades, write_case
from tools.foreign.environments import NotInstalled

DATA: Final = PROJECT.parent / "shared" / "data"
NAMED: Final = Path("binance-klines-feather") / "BTC_USDT-1m.feather"
SHIPPED: Final = (
    PROJECT / "minibot" / "exchanges" / "tapes" / "shipped" / "BTCUSDT-1m-20250602-20250615.csv.gz"
)

AT_VENUE: Final = "minibot, exits at the venue"
UNEXPLAINED: Final = 1
FAILED: Final = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run all engines and print the table; exit code as the module says."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m tools.fill_oracle",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder of klines, or one file")
    parser.add_argument("--entries", type=int, default=COUNT, help=f"how many ({COUNT})")
    parser.add_argument("--only", choices=tuple(PEERS), help="one engine beside minibot")
    parser.add_argument("--write", action="store_true", help="write the table of the guide")
    options = parser.parse_args(argv)
    if options.write and options.only:
        parser.error("--write needs every engine; leave out --only")
    path = source_of(options.data)
    try:
        bars = read_bars(path)
    except Refusal as error:
        print(error, file=sys.stderr)
        return FAILED
    entries = plan(bars, options.entries)
    print(f"{path.name}: {len(bars.rows)} bars; entries: {counted(entries)}", flush=True)
    if not entries:
        print("No entry fits these bars: name a longer file.", file=sys.stderr)
        return FAILED
    try:
        return compared(bars, entries, path, options)
    except EngineFailure as error:
        print(error, file=sys.stderr)
        return FAILED


def compared(bars: Bars, entries: Sequence[Entry], path: Path, options: argparse.Namespace) -> int:
    """Run minibot and the other engines, print or write the tables, and return the exit code."""
    done: dict[str, Comparison] = {}
    is_failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        case = folder / "case.json"
        write_case(case, bars, entries)
        ours = minibot_trades(folder, path, bars, entries, "role")
        runs: dict[str, Callable[[], Trades]] = {
            AT_VENUE: partial(minibot_trades, folder, path, bars, entries, "venue"),
            **{engine: partial(peer_trades, engine, case) for engine in PEERS},
        }
        for engine, run in runs.items():
            if options.only not in (None, engine):
                continue
            try:
                theirs = run()
            except (EngineFailure, NotInstalled) as error:
                is_failed = True
                print(f"{engine}: not compared: {error}", flush=True)
                continue
            done[engine] = compare(bars, entries, ours, theirs, engine)
            print("\n".join(done[engine].table()), flush=True)
    if any(found.unexplained for found in done.values()):
        return UNEXPLAINED
    if is_failed:
        return FAILED
    if options.write:
        text = written(PAGE.read_text(encoding="utf-8"), part(path.name, done[AT_VENUE], done))
        write_atomic(PAGE, text.encode())
    return 0


def source_of(data: Path) -> Path:
    """Return the file of klines: the one given, the one of a folder, or the shipped one."""
    if data.is_file():
        return data
    return data / NAMED if (data / NAMED).is_file() else SHIPPED


def read_bars(path: Path) -> Bars:
    """Return the bars of a file.

    Raises:
        Refusal: The file is not a clean file of klines, or bars are missing.
    """
    found = open_klines(path)
    length = INTERVALS[found.interval]
    rows = tuple(
        PlainBar(one.open_ts, one.open, one.high, one.low, one.close, one.volume)
        for one in found.klines
    )
    for before, after in pairwise(rows):
        if after.open_ts - before.open_ts != length:
            raise Refusal(f"{path}: bars are missing after {before.open_ts}.", "Name another file.")
    steps = parse_amount(found.report.price_increment), parse_amount(found.report.qty_increment)
    return Bars(found.symbol, found.interval, length, *steps, rows)


if __name__ == "__main__":
    sys.exit(main())
