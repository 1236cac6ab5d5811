"""freqtrade's backtesting of given bars, offline; runs in freqtrade's own environment.

Offline, freqtrade wants the venue's list of markets, so the pairs are given by hand; engine,
indicators (TA-Lib) and bookkeeping are freqtrade's own. It makes no page and one fill assumption.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from freqtrade.configuration import TimeRange
from freqtrade.enums import CandleType, RunMode
from freqtrade.optimize.backtesting import Backtesting
from freqtrade.resolvers import ExchangeResolver

NAMES = ["date", "open", "high", "low", "close", "volume"]
PAIR = "BTC/USDT"
BAND = "Band"
BAND_SOURCE = """
import talib
from freqtrade.strategy import IStrategy


class Band(IStrategy):
    INTERFACE_VERSION = 3
    timeframe = "1m"
    minimal_roi = {{}}
    startup_candle_count = 20
{attributes}
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
"""Source of the strategy `BAND` with further attributes: the rules of `rsi_band` in B9 and R1."""


def settings(folder: Path, pairs: list[str], strategy: str) -> dict[str, object]:
    """Return freqtrade's configuration: one trade at a time, 100 USDT each, 0.1 % fee."""
    book = {"price_side": "same", "use_order_book": False, "order_book_top": 1}
    return {
        **{"dry_run": True, "runmode": RunMode.BACKTEST, "trading_mode": "spot"},
        **{"margin_mode": "", "stake_currency": "USDT", "stake_amount": 100.0},
        **{"dry_run_wallet": 1_000_000, "max_open_trades": 1, "tradable_balance_ratio": 0.99},
        **{"fee": 0.001, "timeframe": "1m", "strategy": strategy, "original_config": {}},
        **{"strategy_path": str(folder / "strategies"), "user_data_dir": folder},
        **{"datadir": folder / "data", "pairlists": [{"method": "StaticPairList"}]},
        "exchange": {
            **{"name": "binance", "pair_whitelist": pairs, "pair_blacklist": []},
            **{"key": "", "secret": ""},
        },
        **{"dataformat_ohlcv": "feather", "dataformat_trades": "feather", "export": "none"},
        "entry_pricing": {**book, "check_depth_of_market": {"enabled": False}},
        "exit_pricing": book,
        **{"backtest_cache": "none", "candle_type_def": CandleType.SPOT, "internals": {}},
        "unfilledtimeout": {"entry": 10, "exit": 10, "unit": "minutes"},
    }


def market(pair: str, amount: float, price: float) -> dict[str, object]:
    """Return a pair as the venue would describe it, with its steps of amount and price."""
    base, quote = pair.split("/")
    return {
        **{"id": base + quote, "symbol": pair, "base": base, "quote": quote, "settle": None},
        **{"active": True, "type": "spot", "spot": True, "margin": False, "swap": False},
        **{"future": False, "option": False, "contract": False, "linear": None, "inverse": None},
        **{"maker": 0.001, "taker": 0.001, "contractSize": None, "info": {}},
        "precision": {"amount": amount, "price": price},
        "limits": {
            **{"amount": {"min": amount, "max": 1e8}, "price": {"min": price, "max": 1e7}},
            **{"cost": {"min": 5.0, "max": 1e9}, "leverage": {"min": None, "max": None}},
        },
    }


def frame(columns: Mapping[str, Any] | pd.DataFrame) -> pd.DataFrame:
    """Return the columns of `NAMES` as freqtrade keeps bars; `date` is given in Unix ms."""
    bars = pd.DataFrame(columns).astype(dict.fromkeys(NAMES[1:], float))
    bars["date"] = pd.to_datetime(bars["date"], unit="ms", utc=True).astype("datetime64[ms, UTC]")
    return bars


def backtested(
    strategy: str,
    text: str,
    bars: Mapping[str, pd.DataFrame],
    changes: Mapping[str, object],
    *,
    amount: float = 0.00001,
    price: float = 0.01,
) -> tuple[pd.DataFrame, float]:
    """Return the closed trades of a backtest, and the CPU time of its pass in seconds.

    Args:
        strategy: Name of the strategy's class.
        text: Source of its module.
        bars: Bars by pair, as `frame` makes them.
        changes: Changes of `settings`.
        amount: Step of amounts.
        price: Step of prices.
    """
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in ("strategies", "data"):
            (folder / each).mkdir()
        (folder / "strategies" / "given.py").write_text(text, encoding="utf-8")
        config = settings(folder, list(bars), strategy) | dict(changes)
        exchange = ExchangeResolver.load_exchange(config, validate=False)
        exchange._markets = {pair: market(pair, amount, price) for pair in bars}
        exchange._api.markets = exchange._api_async.markets = exchange._markets
        exchange._last_markets_refresh = 1 << 60
        testing = Backtesting(config, exchange=exchange)
        began = time.process_time()
        testing.backtest_one_strategy(testing.strategylist[0], dict(bars), TimeRange())
        took = time.process_time() - began
    return testing.all_bt_content[strategy]["results"], took
