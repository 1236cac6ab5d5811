"""Figures of quantstats on series of returns: JSON in, JSON out; run by its own interpreter.

Standard input: `[{"name", "per_year", "returns": [...]}, ...]`. Imports nothing of minibot.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
import warnings
from typing import Any


def figures(returns: list[float], per_year: int) -> dict[str, float | None]:
    """Return quantstats' figures on the returns; None for NaN and infinity."""
    pandas: Any = importlib.import_module("pandas")
    stats: Any = importlib.import_module("quantstats.stats")
    days = pandas.date_range("2025-01-01", periods=len(returns), freq="D")
    series = pandas.Series(returns, index=days, dtype=float)
    found = {
        "sharpe": stats.sharpe(series, periods=per_year),
        "sortino": stats.sortino(series, periods=per_year),
        "volatility": stats.volatility(series, periods=per_year),
        "cagr": stats.cagr(series, periods=per_year),
        "calmar": stats.calmar(series, periods=per_year),
        "drawdown": -stats.max_drawdown(series),
        "compounded": stats.comp(series),
        "win_rate": stats.win_rate(series),
        "reward_risk": stats.payoff_ratio(series),
        "profit_factor": stats.profit_factor(series),
    }
    return {name: plain(float(value)) for name, value in found.items()}


def plain(value: float) -> float | None:
    """Return a number that JSON can express."""
    return value if math.isfinite(value) else None


def main() -> int:
    """Answer for every series."""
    warnings.simplefilter("ignore")
    quantstats: Any = importlib.import_module("quantstats")
    cases = json.load(sys.stdin)
    answers = [figures(case["returns"], case["per_year"]) for case in cases]
    print(json.dumps({"version": quantstats.__version__, "figures": answers}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
