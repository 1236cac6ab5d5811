"""freqtrade's backtesting of a case: `python -m tools.fill_oracle.freqtrade_script CASE`.

Run in freqtrade's own environment. The stop is given by `custom_stoploss` when the entry is filled,
so it is freqtrade's plain stop and not a trailing one; the target by `custom_roi`. Both are ratios
there and become the told prices again: the stop is rounded up to the price step, the target to the
nearest, so each ratio is of a price a part of a step below the level. A `roi` counts fees.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pandas as pd

from tools.bench.freqtrade_backtest import NAMES, PAIR, backtested, frame

SIDES = {"stop_loss": "stop", "roi": "target"}
STRATEGY = """
import json
from pathlib import Path

from freqtrade.strategy import IStrategy

CASE = json.loads(Path("{path}").read_text(encoding="utf-8"))
STEP, FEE = float(CASE["step"]), float(CASE["fee"])


class ToldEntries(IStrategy):
    INTERFACE_VERSION = 3
    timeframe = CASE["interval"]
    minimal_roi = {{}}
    stoploss = -0.99
    use_custom_stoploss = True
    use_custom_roi = True
    use_exit_signal = False
    startup_candle_count = 0

    def populate_indicators(self, df, metadata):
        return df

    def populate_entry_trend(self, df, metadata):
        df["enter_long"], df["enter_tag"] = 0, ""
        for number, (at, _, _) in enumerate(CASE["entries"]):
            df.loc[at, "enter_long"], df.loc[at, "enter_tag"] = 1, str(number)
        return df

    def populate_exit_trend(self, df, metadata):
        return df

    def custom_stoploss(self, pair, trade, current_time, current_rate, current_profit,
                        after_fill, **kwargs):
        if not after_fill:
            return None
        stop = float(CASE["entries"][int(trade.enter_tag)][1])
        return 1 - (stop - STEP / 2) / current_rate

    def custom_roi(self, pair, trade, current_time, trade_duration, entry_tag, side, **kwargs):
        target = float(CASE["entries"][int(entry_tag)][2]) - STEP / 4
        return target * (1 - FEE) / (trade.open_rate * (1 + FEE)) - 1
"""


def main() -> None:
    """Run the backtest and print its trades as one line of JSON."""
    path = Path(sys.argv[1])
    case = json.loads(path.read_text(encoding="utf-8"))
    changes = {
        **{"timeframe": case["interval"], "fee": float(case["fee"])},
        "stake_amount": float(case["notional"]),
    }
    rows, _ = backtested(
        "ToldEntries",
        STRATEGY.format(path=path.as_posix()),
        {PAIR: frame(pd.DataFrame(case["bars"], columns=NAMES))},
        changes,
        amount=float(case["qty_step"]),
        price=float(case["step"]),
    )
    trades = [
        [
            *(int(row.open_date.timestamp() * 1000), f"{row.open_rate:.8f}"),
            *(int(row.close_date.timestamp() * 1000), f"{row.close_rate:.8f}"),
            SIDES.get(row.exit_reason, row.exit_reason),
        ]
        for row in rows.itertuples()
    ]
    print("RESULT", json.dumps(trades), flush=True)
    os._exit(0)  # Threads of its venue's library would keep it.


if __name__ == "__main__":
    main()
