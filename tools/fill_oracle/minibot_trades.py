"""Trades of minibot's own backtest: the command, with a strategy made of the entries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from minibot.events.money import amount_text, parse_amount
from tools.fill_oracle.differences import EngineFailure, Trades, by_opening
from tools.fill_oracle.entry_plan import Bars, Entry
from tools.fill_oracle.path_rules import STOP, TARGET, Trade

PROJECT: Final = Path(__file__).resolve().parents[2]
RUN_S_MAX: Final = 900
NAME: Final = "told_entries"
SIDES: Final = {"signal_stop": STOP, "signal_target": TARGET}
STRATEGY: Final = '''"""Entries told beforehand, each with its stop and its target."""

from decimal import Decimal

from minibot.strategies.protocol import Needs, Strategy, buy

ENTRIES = (
{rows}
)


class ToldEntries(Strategy):
    """Buys on the close of each bar that is told."""

    def __init__(self, settings):
        self.levels = {{ts: (stop, target) for ts, stop, target in ENTRIES}}

    @staticmethod
    def needs(settings):
        return Needs(intervals=(settings.interval,), trades=False)

    def on_bar(self, bar, view):
        levels = self.levels.get(bar.open_ts) if bar.is_live else None
        if levels is None:
            return None
        return buy("told", stop=Decimal(levels[0]), target=Decimal(levels[1]))
'''
# No gate but the entry's own: small amounts of a large account, and no budget of a night in reach.
SETS: Final = (
    *("portfolio.cash=100000", "risk.order_notional=100", "risk.hard_stop_bps=9000"),
    *("risk.stop_atr_mult=null", "risk.take_profit_atr_mult=null", "risk.signal_exit=false"),
    *("backtest.spread_bps=0", "execution.fill_model=touch"),
)


def output_of(engine: str, words: Sequence[str]) -> str:
    """Return the standard output of an engine's command.

    Raises:
        EngineFailure: It ended with another code than 0, or not within `RUN_S_MAX`.
    """
    try:
        done = subprocess.run(
            words, cwd=PROJECT, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True, text=True, timeout=RUN_S_MAX, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise EngineFailure(f"{engine}: no end within {RUN_S_MAX} s") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout)[-1200:]
        raise EngineFailure(f"{engine} ended with {done.returncode}: {said}")
    return done.stdout


def write_strategy(folder: Path, bars: Bars, entries: Sequence[Entry]) -> None:
    """Write the strategy's file."""
    rows = "\n".join(
        f'    ({bars.rows[entry.at].open_ts}, "{amount_text(entry.stop)}", '
        f'"{amount_text(entry.target)}"),'
        for entry in entries
    )
    (folder / f"{NAME}.py").write_text(STRATEGY.format(rows=rows), encoding="utf-8")


def minibot_trades(
    folder: Path, source: Path, bars: Bars, entries: Sequence[Entry], exits_at: str
) -> Trades:
    """Return the trades of `minibot backtest`.

    Args:
        folder: Scratch folder for the strategy and its runs.
        source: File of the klines.
        bars: The same bars.
        entries: The entries.
        exits_at: Where stop and target wait: `role` or `venue`.

    Raises:
        EngineFailure: The backtest failed, or a trade is not one purchase and one sale.
    """
    write_strategy(folder, bars, entries)
    sets = (*SETS, f"strategy.folder={folder}", f"risk.exits_at={exits_at}")
    words = [
        *(sys.executable, "-m", "minibot", "backtest", "--json", "--no-keep", "--fills", "touch"),
        *("--var", str(folder / "var"), "--source", f"klines:{source}"),
        *("--strategy", NAME, "--timeframe", bars.interval),
        *(word for each in sets for word in ("--set", each)),
    ]
    said = output_of("minibot backtest", words)
    made = []
    for one in json.loads(said)["trades"]:
        if one["fills"] != 2 or one["exit_reason"] not in SIDES:
            raise EngineFailure(f"minibot backtest: no plain trade, {one}")
        opened, closed = (
            int(one[name]) // bars.length_ms * bars.length_ms for name in ("opened_ts", "closed_ts")
        )
        prices = parse_amount(one["entry_price"]), parse_amount(one["exit_price"])
        made.append(Trade(opened, prices[0], closed, prices[1], SIDES[one["exit_reason"]]))
    return by_opening("minibot", made)
