"""Writes `talib_values.csv`: what TA-Lib says of the walk's bars. No test needs TA-Lib.

In a folder of its own, because minibot does not depend on it:
    python3 -m venv DIR && DIR/bin/pip install TA-Lib==0.8.2
    DIR/bin/python -m tests.features.make_talib_values > tests/features/talib_values.csv
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from tests.features.walk import compared, walk


def main() -> None:
    """Print versions, column names and one row for each compared bar, every digit of each value."""
    talib: Any = import_module("talib")
    numpy: Any = import_module("numpy")
    high, low, close = (
        numpy.array([getattr(bar, name) for bar in walk()]) for name in ("high", "low", "close")
    )
    upper, middle, lower = talib.BBANDS(close, timeperiod=20, nbdevup=2, nbdevdn=2)
    macd, macd_signal, histogram = talib.MACD(close, 12, 26, 9)
    k, d = talib.STOCH(high, low, close, 14, 3, 0, 3, 0)
    fast_k, fast_d = talib.STOCHF(high, low, close, 5, 3, 0)
    columns = {
        "sma_20": talib.SMA(close, 20),
        "ema_20": talib.EMA(close, 20),
        "rsi_14": talib.RSI(close, 14),
        "atr_14": talib.ATR(high, low, close, 14),
        "bollinger_upper": upper,
        "bollinger_middle": middle,
        "bollinger_lower": lower,
        "macd": macd,
        "macd_signal": macd_signal,
        "macd_histogram": histogram,
        "donchian_upper": talib.MAX(high, 20),
        "donchian_lower": talib.MIN(low, 20),
        "stochastic_k": k,
        "stochastic_d": d,
        "stochastic_fast_k": fast_k,
        "stochastic_fast_d": fast_d,
        "adx_14": talib.ADX(high, low, close, 14),
        "adx_plus": talib.PLUS_DI(high, low, close, 14),
        "adx_minus": talib.MINUS_DI(high, low, close, 14),
    }
    core = talib.__ta_version__.decode().split()[0]
    rows = [f"# TA-Lib {talib.__version__} over its C library {core}"]
    rows.append(",".join(["bar", *columns]))
    rows += [
        ",".join([str(bar), *(repr(float(values[bar])) for values in columns.values())])
        for bar in compared()
    ]
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
