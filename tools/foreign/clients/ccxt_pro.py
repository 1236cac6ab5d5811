"""ccxt's websockets (`ccxt.pro`). Settings needed: `urls.api.public` and `urls.api.ws.spot`.

Both in the constructor; `options.fetchMarkets` as over REST. All other settings are ccxt's
defaults: the book's snapshot by REST, one connection for each kind of stream.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import ccxt.pro  # type: ignore[import-not-found]

from tools.foreign.evidence import Evidence, Truth, arguments

SYMBOL = "BTC/USDT"
# ccxt keeps 1,000 levels and forgets deeper ones for good (docs/EXCHANGE.md).
LEVELS = 100


async def main() -> int:
    """Watch everything at once; return the exit code."""
    options = arguments()
    evidence = Evidence("ccxt.pro (websockets)", "ccxt", Truth(options.tape))
    base = f"{options.host}:{options.port}"
    exchange = ccxt.pro.binance(
        {
            "urls": {"api": {"public": f"http://{base}/api/v3", "ws": {"spot": f"ws://{base}/ws"}}},
            "options": {"fetchMarkets": {"types": ["spot"]}},
        }
    )
    watchers = (_books, _trades, _quotes, _klines, _tickers)
    tasks = [asyncio.create_task(watch(exchange, evidence)) for watch in watchers]
    try:
        ended, _ = await asyncio.wait(
            tasks, timeout=options.seconds, return_when=asyncio.FIRST_EXCEPTION
        )
        for task in ended:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await exchange.close()
    return evidence.finish("books", "trades", "quotes", "klines", "tickers")


async def _books(exchange: Any, evidence: Evidence) -> None:
    while True:
        book = await exchange.watch_order_book(SYMBOL)
        evidence.book(book["nonce"], book["bids"], book["asks"], LEVELS)


async def _trades(exchange: Any, evidence: Evidence) -> None:
    while True:
        for row in await exchange.watch_trades(SYMBOL):
            is_sell = row["side"] == "sell"
            evidence.trade(int(row["id"]), row["price"], row["amount"], row["timestamp"], is_sell)


async def _quotes(exchange: Any, evidence: Evidence) -> None:
    while True:
        found = (await exchange.watch_bids_asks([SYMBOL]))[SYMBOL]
        number = int(found["info"]["u"])
        evidence.quote(number, found["bid"], found["bidVolume"], found["ask"], found["askVolume"])


async def _klines(exchange: Any, evidence: Evidence) -> None:
    former: list[Any] | None = None
    while True:
        for bar in await exchange.watch_ohlcv(SYMBOL, "1s"):
            # A bar is complete when the next one has begun.
            if former is not None and bar[0] > former[0] and former[5]:
                evidence.kline(former[0], former[0] + 1000, *former[1:6])
            former = list(bar)


async def _tickers(exchange: Any, evidence: Evidence) -> None:
    prices = {float(row[0]) for row in evidence.truth.trades.values()}
    while True:
        ticker = await exchange.watch_ticker(SYMBOL)
        evidence.same("tickers", ticker["last"] in prices, True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
