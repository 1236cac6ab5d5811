"""freqtrade, whole, in dry-run mode. Settings needed: `exchange.ccxt_config` in its configuration.

In that section `urls.api.public`, `urls.api.ws.spot` and `options.fetchMarkets` are set as for
ccxt, on which freqtrade is built. freqtrade knows wall-clock time alone, so the exchange is served
with `--rebase-to-now`. Its orders go to its own paper wallet and never to the exchange.

freqtrade must receive a candle of every past minute through its websocket, each equal to REST's
candle in the end. Each entry and exit must be filled at a price that the market had at that time.
"""

from __future__ import annotations

import csv
import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tools.foreign.evidence import Evidence, arguments

PAIRS = {"BTC/USDT": "BTCUSDT", "ETH/USDT": "ETHUSDT", "SOL/USDT": "SOLUSDT"}
END_S = 60
MINUTE_MS = 60_000
# From the seen price to the placed order: one turn of freqtrade's loop and a call.
PLACED_MS = 15_000
STRATEGY = '''
import csv
from pathlib import Path

import talib.abstract as ta
from freqtrade.strategy import IStrategy


class Simple(IStrategy):
    """Buys below the mean of five minutes, sells above it."""

    INTERFACE_VERSION = 3
    timeframe = "1m"
    startup_candle_count = 30
    minimal_roi = {"0": 0.002}
    stoploss = -0.05
    use_exit_signal = True
    order_types = {
        "entry": "limit", "exit": "limit", "stoploss": "market", "stoploss_on_exchange": False,
    }

    def populate_indicators(self, dataframe, metadata):
        dataframe["mean"] = ta.SMA(dataframe, timeperiod=5)
        path = Path(self.config["user_data_dir"]) / "candles.csv"
        with path.open("a", newline="") as file:
            rows = csv.writer(file)
            for row in dataframe.tail(3).itertuples():
                time_ms = int(row.date.timestamp() * 1000)
                values = (row.open, row.high, row.low, row.close, row.volume)
                rows.writerow([metadata["pair"], time_ms, *map(repr, map(float, values))])
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["close"] < dataframe["mean"], "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["close"] > dataframe["mean"], "exit_long"] = 1
        return dataframe
'''


def main() -> int:
    """Let freqtrade trade for the time asked for; return the exit code."""
    options = arguments()
    evidence = Evidence("freqtrade (dry run)", "freqtrade", None)
    base = f"{options.host}:{options.port}"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        said = _trade(home, base, options.seconds)
        minutes = _check_candles(evidence, home, base)
        _check_orders(evidence, home, base)
    for line in said:
        if " - ERROR - " in line or "Traceback" in line:
            evidence.wrong.append(line)
    whole = int(options.seconds // 60) - 2
    evidence.same("minutes", minutes >= whole, True)
    return evidence.finish("candles", "entries", "exits")


def _trade(home: Path, base: str, seconds: float) -> list[str]:
    """Run freqtrade as its users do, end it politely; return its log."""
    (home / "strategies").mkdir()
    (home / "strategies" / "simple.py").write_text(STRATEGY)
    (home / "config.json").write_text(json.dumps(_configuration(base)))
    program = Path(sys.executable).with_name("freqtrade")
    words = ["trade", "--dry-run", "--userdir", str(home), "--config", str(home / "config.json")]
    log = home / "log.txt"
    with log.open("w") as out:
        process = subprocess.Popen(
            [str(program), *words, "--strategy", "Simple"], cwd=home, stdout=out, stderr=out
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait(END_S)
        finally:
            process.kill()
    return log.read_text().splitlines()


def _configuration(base: str) -> dict[str, Any]:
    return {
        "dry_run": True,
        "dry_run_wallet": 1000,
        "stake_currency": "USDT",
        "stake_amount": 100,
        "max_open_trades": 3,
        "trading_mode": "spot",
        "db_url": "sqlite:///trades.sqlite",
        "cancel_open_orders_on_exit": False,
        "unfilledtimeout": {"entry": 1, "exit": 1, "unit": "minutes"},
        "entry_pricing": {"price_side": "other", "use_order_book": True, "order_book_top": 1},
        "exit_pricing": {"price_side": "other", "use_order_book": True, "order_book_top": 1},
        "exchange": {
            "name": "binance",
            "key": "",
            "secret": "",
            "pair_whitelist": list(PAIRS),
            "ccxt_config": {
                "urls": {
                    "api": {"public": f"http://{base}/api/v3", "ws": {"spot": f"ws://{base}/ws"}}
                },
                "options": {"fetchMarkets": {"types": ["spot"]}},
            },
        },
        "pairlists": [{"method": "StaticPairList"}],
        "internals": {"process_throttle_secs": 2},
        "initial_state": "running",
    }


def _klines(base: str, symbol: str, interval: str, start_ms: int, end_ms: int) -> Iterator[Any]:
    query = f"symbol={symbol}&interval={interval}&startTime={start_ms}&endTime={end_ms}&limit=1000"
    with urlopen(f"http://{base}/api/v3/klines?{query}", timeout=10) as answer:
        yield from json.load(answer)


def _check_candles(evidence: Evidence, home: Path, base: str) -> int:
    """Check every candle that the strategy saw last; return the number of minutes."""
    seen: dict[tuple[str, int], tuple[float, ...]] = {}
    path = home / "candles.csv"
    for pair, time_text, *cells in csv.reader(path.open()) if path.exists() else ():
        seen[pair, int(time_text)] = tuple(map(float, cells))
    for (pair, open_ms), values in seen.items():
        bars = list(_klines(base, PAIRS[pair], "1m", open_ms, open_ms))
        expected = [tuple(map(float, bar[1:6])) for bar in bars]
        evidence.same("candles", [values], expected)
    return len({open_ms for _, open_ms in seen})


def _check_orders(evidence: Evidence, home: Path, base: str) -> None:
    """Check the fill prices of its paper orders against the market's prices."""
    query = (
        "select t.pair, o.ft_order_side, o.average, o.filled, "
        "o.order_date, o.order_filled_date from orders o join trades t on t.id = o.ft_trade_id "
        "where o.status = 'closed' and o.filled > 0"
    )
    with sqlite3.connect(home / "trades.sqlite") as database:
        rows = database.execute(query).fetchall()
    for pair, side, price, _, placed, filled in rows:
        start_ms, end_ms = _time_ms(placed) - PLACED_MS, _time_ms(filled or placed) + PLACED_MS
        bars = list(_klines(base, PAIRS[pair], "1s", start_ms, end_ms))
        low = min((Decimal(bar[3]) for bar in bars), default=Decimal(0))
        high = max((Decimal(bar[2]) for bar in bars), default=Decimal(0))
        # The touch may lie a little beyond the trade prices of these seconds.
        room = high / 2000
        fits = low - room <= Decimal(str(price)) <= high + room
        evidence.same("entries" if side == "buy" else "exits", fits, True)


def _time_ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


if __name__ == "__main__":
    sys.exit(main())
