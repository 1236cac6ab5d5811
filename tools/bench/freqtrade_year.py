"""freqtrade's backtesting of the bars and rules of B9 (b): `freqtrade_year CSV`.

Run by `backtest_peers` in freqtrade's own environment, whole process, start and reading included.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import json
import os
import sys

import pandas as pd

from tools.bench.freqtrade_backtest import NAMES, PAIR, backtested, frame

STRATEGY = """
import talib
from freqtrade.strategy import IStrategy


class RsiYear(IStrategy):
    INTERFACE_VERSION = 3
    timeframe = "1m"
    minimal_roi = {}
    stoploss = -0.99
    startup_candle_count = 20

    def populate_indicators(self, df, metadata):
        df["rsi"] = talib.RSI(df["close"], 7)
        return df

    def populate_entry_trend(self, df, metadata):
        df.loc[df["rsi"] < 35, "enter_long"] = 1
        return df

    def populate_exit_trend(self, df, metadata):
        df.loc[df["rsi"] > 65, "exit_long"] = 1
        return df
"""


def main() -> None:
    """Run the backtest and print one line of JSON."""
    bars = frame(pd.read_csv(sys.argv[1], header=None, usecols=range(6), names=NAMES))
    trades, _ = backtested("RsiYear", STRATEGY, {PAIR: bars}, {})
    print("RESULT", json.dumps({"bars": len(bars), "trades": len(trades)}), flush=True)
    os._exit(0)  # Threads of its venue's library would keep it.


if __name__ == "__main__":
    main()
