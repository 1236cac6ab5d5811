"""freqtrade's backtesting of the bars and rules of B9 (b): `python freqtrade_year.py CSV`.

Run by `backtest_peers` in freqtrade's own environment, whole process, start and reading included.
Offline, freqtrade wants the venue's list of markets, so the one market is given by hand; engine,
indicator (TA-Lib) and bookkeeping are freqtrade's own. It makes no page and one fill assumption.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from pathlib import Path

import pandas as pd
from freqtrade.configuration import TimeRange
from freqtrade.enums import CandleType, RunMode
from freqtrade.optimize.backtesting import Backtesting
from freqtrade.resolvers import ExchangeResolver

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
NAMES = ["date", "open", "high", "low", "close", "volume"]
PAIR = "BTC/USDT"


def settings(folder: Path) -> dict[str, object]:
    """Return freqtrade's configuration: one pair, 100 USDT a trade, 0.1 % fee."""
    book = {"price_side": "same", "use_order_book": False, "order_book_top": 1}
    return {
        **{"dry_run": True, "runmode": RunMode.BACKTEST, "trading_mode": "spot"},
        **{"margin_mode": "", "stake_currency": "USDT", "stake_amount": 100.0},
        **{"dry_run_wallet": 1_000_000, "max_open_trades": 1, "tradable_balance_ratio": 0.99},
        **{"fee": 0.001, "timeframe": "1m", "strategy": "RsiYear", "original_config": {}},
        **{"strategy_path": str(folder / "strategies"), "user_data_dir": folder},
        **{"datadir": folder / "data", "pairlists": [{"method": "StaticPairList"}]},
        "exchange": {
            **{"name": "binance", "pair_whitelist": [PAIR], "pair_blacklist": []},
            **{"key": "", "secret": ""},
        },
        **{"dataformat_ohlcv": "feather", "dataformat_trades": "feather", "export": "none"},
        "entry_pricing": {**book, "check_depth_of_market": {"enabled": False}},
        "exit_pricing": book,
        **{"backtest_cache": "none", "candle_type_def": CandleType.SPOT, "internals": {}},
        "unfilledtimeout": {"entry": 10, "exit": 10, "unit": "minutes"},
    }


def market() -> dict[str, object]:
    """Return the pair as the venue would describe it."""
    return {
        **{"id": "BTCUSDT", "symbol": PAIR, "base": "BTC", "quote": "USDT", "settle": None},
        **{"active": True, "type": "spot", "spot": True, "margin": False, "swap": False},
        **{"future": False, "option": False, "contract": False, "linear": None, "inverse": None},
        **{"maker": 0.001, "taker": 0.001, "contractSize": None, "info": {}},
        "precision": {"amount": 0.00001, "price": 0.01},
        "limits": {
            **{"amount": {"min": 0.00001, "max": 9000.0}, "price": {"min": 0.01, "max": 1e7}},
            **{"cost": {"min": 5.0, "max": 1e9}, "leverage": {"min": None, "max": None}},
        },
    }


def main() -> None:
    """Run the backtest and print one line of JSON."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in ("strategies", "data"):
            (folder / each).mkdir()
        (folder / "strategies" / "rsi_year.py").write_text(STRATEGY)
        config = settings(folder)
        exchange = ExchangeResolver.load_exchange(config, validate=False)
        exchange._markets = {PAIR: market()}
        exchange._api.markets = exchange._api_async.markets = exchange._markets
        exchange._last_markets_refresh = 1 << 60
        bars = pd.read_csv(sys.argv[1], header=None, usecols=range(6), names=NAMES)
        bars["date"] = pd.to_datetime(bars["date"], unit="ms", utc=True)
        bars["date"] = bars["date"].astype("datetime64[ms, UTC]")
        testing = Backtesting(config, exchange=exchange)
        testing.backtest_one_strategy(testing.strategylist[0], {PAIR: bars}, TimeRange())
        trades = len(testing.all_bt_content["RsiYear"]["results"])
        print("RESULT", json.dumps({"bars": len(bars), "trades": trades}), flush=True)
    os._exit(0)  # Threads of its venue's library would keep it.


if __name__ == "__main__":
    main()
