"""Locks that freqtrade 2026.9 sets for fixed lists of closed trades, as its own code computed them.

Its `ProtectionManager` judged each trade at its close, as the bot does, with locks in its database.
After each trade stand the ends of the locks of all symbols in alphabetical order, in seconds since
`BEGAN`, 0 for none; a lock of all counts for each. `python -m tools.lock_oracle --write`
records them.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

BEGAN: Final = 1_772_445_600_000
"""2026-03-02 10:00 UTC, a Monday, Unix ms."""


class Closed(NamedTuple):
    """Closed trade: symbol, second of its close, reason, ratio, profit; locks behind it."""

    symbol: str
    second: int
    reason: str
    ratio: str
    profit: str
    locked: tuple[int, ...]


class Case(NamedTuple):
    """Closed trades under protections, with bars of an interval; equity begins at 1000."""

    name: str
    interval: str
    protections: list[dict[str, Any]]
    trades: tuple[Closed, ...]


CASES: Final = (
    Case(
        "stoploss guard, all symbols, in bars",
        "5m",
        [
            {
                "method": "StoplossGuard",
                "lookback_period_candles": 12,
                "trade_limit": 3,
                "stop_duration_candles": 4,
            }
        ],
        (
            Closed("AAA", 0, "stop_loss", "-0.01", "-1.0", (0, 0, 0)),
            Closed("BBB", 600, "stop_loss", "-0.02", "-2.0", (0, 0, 0)),
            Closed("AAA", 900, "take_profit", "0.03", "3.0", (0, 0, 0)),
            Closed("CCC", 1234, "stop_loss", "-0.005", "-0.5", (2700, 2700, 2700)),
            Closed("AAA", 3599, "signal_exit", "-0.01", "-1.0", (2700, 2700, 2700)),
            Closed("BBB", 3600, "stop_loss", "-0.01", "-1.0", (5100, 5100, 5100)),
            Closed("CCC", 4200, "stop_loss", "-0.01", "-1.0", (5700, 5700, 5700)),
            Closed("CCC", 4201, "stop_loss", "0.0", "0.0", (5700, 5700, 5700)),
            Closed("AAA", 4202, "stop_loss", "0.004", "0.4", (5700, 5700, 5700)),
            Closed("AAA", 9000, "stop_loss", "-0.02", "-2.0", (5700, 5700, 5700)),
        ),
    ),
    Case(
        "stoploss guard, by symbol, with a profit that is required",
        "5m",
        [
            {
                "method": "StoplossGuard",
                "lookback_period": 90,
                "trade_limit": 2,
                "stop_duration": 30,
                "required_profit": "0.01",
                "only_per_pair": True,
            }
        ],
        (
            Closed("AAA", 0, "stop_loss", "0.005", "0.5", (0, 0)),
            Closed("BBB", 60, "stop_loss", "-0.01", "-1.0", (0, 0)),
            Closed("AAA", 1500, "stop_loss", "0.0", "0.0", (0, 0)),
            Closed("AAA", 3000, "stop_loss", "0.0099", "0.99", (5100, 0)),
            Closed("BBB", 3600, "stop_loss", "0.01", "1.0", (5100, 0)),
            Closed("BBB", 5459, "stop_loss", "-0.001", "-0.1", (5100, 7500)),
            Closed("BBB", 5460, "stop_loss", "-0.001", "-0.1", (5100, 7500)),
            Closed("AAA", 8399, "stop_loss", "-0.5", "-5.0", (10200, 7500)),
            Closed("AAA", 13799, "stop_loss", "-0.5", "-5.0", (10200, 7500)),
        ),
    ),
    Case(
        "cooldown, in minutes and across a bar",
        "15m",
        [{"method": "CooldownPeriod", "stop_duration": 5}],
        (
            Closed("AAA", 0, "take_profit", "0.01", "1.0", (900, 0)),
            Closed("AAA", 599, "take_profit", "0.01", "1.0", (900, 0)),
            Closed("BBB", 600, "stop_loss", "-0.01", "-1.0", (900, 1800)),
            Closed("AAA", 601, "take_profit", "0.01", "1.0", (1800, 1800)),
            Closed("BBB", 1500, "take_profit", "0.01", "1.0", (1800, 2700)),
        ),
    ),
    Case(
        "cooldown until a time of day",
        "1m",
        [{"method": "CooldownPeriod", "unlock_at": "11:30"}],
        (
            Closed("AAA", 0, "take_profit", "0.01", "1.0", (5460, 0)),
            Closed("BBB", 5399, "take_profit", "0.01", "1.0", (5460, 5460)),
            Closed("AAA", 5400, "take_profit", "0.01", "1.0", (5460, 5460)),
            Closed("BBB", 5461, "take_profit", "0.01", "1.0", (5460, 91860)),
            Closed("AAA", 86400, "take_profit", "0.02", "2.0", (91860, 91860)),
        ),
    ),
    Case(
        "drawdown of ratios",
        "1h",
        [
            {
                "method": "MaxDrawdown",
                "lookback_period_candles": 4,
                "trade_limit": 3,
                "stop_duration_candles": 2,
                "max_allowed_drawdown": "0.1",
            }
        ],
        (
            Closed("AAA", 0, "take_profit", "-0.11", "-11.0", (0, 0, 0)),
            Closed("BBB", 1200, "take_profit", "0.05", "5.0", (0, 0, 0)),
            Closed("AAA", 3000, "stop_loss", "-0.03", "-3.0", (10800, 10800, 10800)),
            Closed("CCC", 5000, "take_profit", "0.02", "2.0", (14400, 14400, 14400)),
            Closed("BBB", 14400, "stop_loss", "-0.05", "-5.0", (14400, 14400, 14400)),
            Closed("AAA", 14500, "stop_loss", "-0.02", "-2.0", (14400, 14400, 14400)),
            Closed("AAA", 14600, "stop_loss", "-0.0400001", "-4.00001", (25200, 25200, 25200)),
            Closed("AAA", 15000, "stop_loss", "-0.01", "-1.0", (25200, 25200, 25200)),
            Closed("BBB", 30000, "take_profit", "0.04", "4.0", (25200, 25200, 25200)),
            Closed("BBB", 44399, "take_profit", "-0.5", "-50.0", (25200, 25200, 25200)),
        ),
    ),
    Case(
        "drawdown of equity",
        "1h",
        [
            {
                "method": "MaxDrawdown",
                "lookback_period": 240,
                "trade_limit": 2,
                "stop_duration": 60,
                "max_allowed_drawdown": "0.05",
                "calculation_mode": "equity",
            }
        ],
        (
            Closed("AAA", 0, "take_profit", "0.1", "100.0", (0, 0, 0)),
            Closed("BBB", 1200, "stop_loss", "-0.02", "-54.99", (0, 0, 0)),
            Closed("BBB", 1800, "stop_loss", "-0.01", "-0.02", (7200, 7200, 7200)),
            Closed("CCC", 3000, "take_profit", "0.05", "60.0", (7200, 7200, 7200)),
            Closed("AAA", 15700, "stop_loss", "-0.03", "-30.0", (7200, 7200, 7200)),
            Closed("AAA", 16000, "stop_loss", "-0.025", "-25.0", (7200, 7200, 7200)),
            Closed("AAA", 17000, "stop_loss", "-0.01", "-2.0", (21600, 21600, 21600)),
        ),
    ),
    Case(
        "pairs of low profit",
        "5m",
        [
            {
                "method": "LowProfitPairs",
                "lookback_period_candles": 24,
                "trade_limit": 2,
                "stop_duration": 60,
                "required_profit": "0.02",
            },
            {
                "method": "LowProfitPairs",
                "lookback_period_candles": 6,
                "trade_limit": 1,
                "stop_duration_candles": 1,
                "required_profit": "-0.03",
            },
        ],
        (
            Closed("AAA", 0, "take_profit", "0.01", "1.0", (0, 0)),
            Closed("AAA", 300, "take_profit", "0.01", "1.0", (0, 0)),
            Closed("AAA", 450, "signal_exit", "-0.00000001", "-0.1", (4200, 0)),
            Closed("BBB", 460, "signal_exit", "-0.04", "-4.0", (4200, 900)),
            Closed("BBB", 2261, "signal_exit", "-0.01", "-1.0", (4200, 6000)),
            Closed("AAA", 7199, "signal_exit", "0.015", "1.5", (4200, 6000)),
            Closed("AAA", 7200, "signal_exit", "0.001", "0.1", (4200, 6000)),
            Closed("AAA", 7500, "signal_exit", "0.03", "3.0", (4200, 6000)),
        ),
    ),
    Case(
        "all four at once",
        "5m",
        [
            {"method": "CooldownPeriod", "stop_duration_candles": 2},
            {
                "method": "MaxDrawdown",
                "lookback_period_candles": 48,
                "trade_limit": 4,
                "stop_duration_candles": 4,
                "max_allowed_drawdown": "0.04",
            },
            {
                "method": "StoplossGuard",
                "lookback_period_candles": 24,
                "trade_limit": 3,
                "stop_duration_candles": 6,
            },
            {
                "method": "LowProfitPairs",
                "lookback_period_candles": 6,
                "trade_limit": 2,
                "stop_duration_candles": 60,
                "required_profit": "0.02",
            },
            {
                "method": "LowProfitPairs",
                "lookback_period_candles": 24,
                "trade_limit": 4,
                "stop_duration_candles": 2,
                "required_profit": "0.01",
            },
        ],
        (
            Closed("AAA", 61, "take_profit", "0.02", "2.0", (900, 0, 0)),
            Closed("BBB", 400, "stop_loss", "-0.01", "-1.0", (900, 1200, 0)),
            Closed("AAA", 700, "take_profit", "0.015", "1.5", (1500, 1200, 0)),
            Closed("CCC", 1000, "stop_loss", "-0.02", "-2.0", (1500, 1200, 1800)),
            Closed("BBB", 1500, "take_profit", "0.01", "1.0", (1500, 19800, 1800)),
            Closed("CCC", 2100, "stop_loss", "-0.025", "-2.5", (4200, 19800, 20400)),
            Closed("AAA", 5000, "signal_exit", "-0.001", "-0.1", (5700, 19800, 20400)),
            Closed("AAA", 6900, "stop_loss", "-0.004", "-0.4", (9000, 19800, 20400)),
            Closed("BBB", 11000, "take_profit", "0.03", "3.0", (9000, 19800, 20400)),
            Closed("CCC", 12345, "take_profit", "0.02", "2.0", (9000, 19800, 20400)),
        ),
    ),
)
