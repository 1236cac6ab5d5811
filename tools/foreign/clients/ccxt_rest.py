"""ccxt over REST. Setting needed: `urls.api.public` in the constructor, and spot markets alone.

`options.fetchMarkets` keeps ccxt from asking the futures hosts for markets, as users who trade spot
alone set it. All other settings are ccxt's defaults.
"""

from __future__ import annotations

import sys
import time

import ccxt  # type: ignore[import-not-found]

from tools.foreign.evidence import Evidence, Truth, arguments


def main() -> int:
    """Call every public method of ccxt for spot; return the exit code."""
    options = arguments()
    evidence = Evidence("ccxt (REST)", "ccxt", Truth(options.tape))
    exchange = ccxt.binance(
        {
            "urls": {"api": {"public": f"http://{options.host}:{options.port}/api/v3"}},
            "options": {"fetchMarkets": {"types": ["spot"]}},
        }
    )
    market = exchange.load_markets()["BTC/USDT"]
    evidence.same(
        "markets", (market["id"], market["spot"], market["active"]), ("BTCUSDT", True, True)
    )
    evidence.same("precision", market["precision"]["price"], 0.01)
    began_ms = exchange.fetch_time()
    deadline = time.monotonic() + options.seconds
    while time.monotonic() < deadline:
        _look(exchange, evidence)
        time.sleep(0.3)
    evidence.same("time", exchange.fetch_time() > began_ms, True)
    _look_back(exchange, evidence)
    return evidence.finish("trades", "books", "touches", "klines", "aggregate trades", "tickers")


def _look(exchange: ccxt.binance, evidence: Evidence) -> None:
    """Check present prices and the book."""
    book = exchange.fetch_order_book("BTC/USDT", 100)
    evidence.book(book["nonce"], book["bids"], book["asks"], 100)
    for each in (exchange.fetch_bids_asks(["BTC/USDT"])["BTC/USDT"],):
        evidence.touch(each["bid"], each["bidVolume"], each["ask"], each["askVolume"])
    ticker = exchange.fetch_ticker("BTC/USDT")
    prices = {row[0] for row in evidence.truth.trades.values()}
    evidence.same("tickers", any(float(price) == ticker["last"] for price in prices), True)
    for row in exchange.fetch_trades(
        "BTC/USDT", limit=100, params={"fetchTradesMethod": "publicGetTrades"}
    ):
        evidence.trade(
            int(row["id"]), row["price"], row["amount"], row["timestamp"], row["side"] == "sell"
        )


def _look_back(exchange: ccxt.binance, evidence: Evidence) -> None:
    """Check past trades and closed bars."""
    for row in exchange.fetch_trades("BTC/USDT", limit=500):
        raw = row["info"]
        evidence.aggregate(raw["f"], raw["l"], row["price"], row["amount"], row["timestamp"])
    # The first and the last second may be incomplete.
    for bar in exchange.fetch_ohlcv("BTC/USDT", "1s", limit=1000)[1:-1]:
        if bar[5]:
            evidence.kline(bar[0], bar[0] + 1000, *bar[1:6])


if __name__ == "__main__":
    sys.exit(main())
