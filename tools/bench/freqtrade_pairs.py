"""freqtrade's backtesting of the pairs of R1: `freqtrade_pairs FILE`.

Run by `backtest_peers` in freqtrade's own environment. FILE is an `.npz` with the bars of all pairs
of `risk_market`, an array of whole numbers for each. Of the profile's rules it has those that
freqtrade has as settings: entries and exits by RSI, ten positions, the hard stop, a trailing stop
and the protections. It has no ladder, no ATR and none of the other gates.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import json
import os
import sys

import numpy as np

from tools.bench.freqtrade_backtest import BAND, BAND_SOURCE, NAMES, backtested, frame

UNIT = 10**8
ATTRIBUTES = """
    stoploss = -0.05
    trailing_stop = True
    trailing_stop_positive = 0.003
    trailing_stop_positive_offset = 0.004
    trailing_only_offset_is_reached = True

    @property
    def protections(self):
        return [
            {"method": "CooldownPeriod", "stop_duration_candles": 2},
            {
                "method": "StoplossGuard",
                "lookback_period_candles": 60,
                "trade_limit": 4,
                "stop_duration_candles": 15,
            },
        ]
"""


def main() -> None:
    """Run the backtest and print one line of JSON."""
    with np.load(sys.argv[1]) as pairs:
        bars = {
            f"{symbol.removesuffix('USDT')}/USDT": frame(
                dict(zip(NAMES, (columns[0], *(columns[1:] / UNIT)), strict=True))
            )
            for symbol, columns in pairs.items()
        }
    changes = {"max_open_trades": 10, "stake_amount": 400.0, "enable_protections": True}
    text = BAND_SOURCE.format(attributes=ATTRIBUTES)
    trades, took = backtested(BAND, text, bars, changes, amount=0.001)
    count = sum(map(len, bars.values()))
    found = {"bars": count, "per_s": count / took, "trades": len(trades)}
    found["traded"] = int(trades["pair"].nunique())
    print("RESULT", json.dumps(found), flush=True)
    os._exit(0)  # Threads of its venue's library would keep it.


if __name__ == "__main__":
    main()
