"""freqtrade's backtesting of the bars and rules of B9 (b): `freqtrade_year CSV`.

Run by `backtest_peers` in freqtrade's own environment, whole process, start and reading included.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import json
import os
import sys

import pandas as pd

from tools.bench.freqtrade_backtest import BAND, BAND_SOURCE, NAMES, PAIR, backtested, frame


def main() -> None:
    """Run the backtest and print one line of JSON."""
    bars = frame(pd.read_csv(sys.argv[1], header=None, usecols=range(6), names=NAMES))
    text = BAND_SOURCE.format(attributes="    stoploss = -0.99\n")
    trades, _ = backtested(BAND, text, {PAIR: bars}, {})
    print("RESULT", json.dumps({"bars": len(bars), "trades": len(trades)}), flush=True)
    os._exit(0)  # Threads of its venue's library would keep it.


if __name__ == "__main__":
    main()
