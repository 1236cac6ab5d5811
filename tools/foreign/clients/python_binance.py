"""python-binance. Settings needed: a client's attribute `API_URL`, a manager's `STREAM_URL`.

python-binance has no constructor option for a base address; its documentation, too, sets these
attributes for private test networks.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from binance import AsyncClient, BinanceSocketManager, Client  # type: ignore[import-not-found]
from binance.ws.depthcache import DepthCacheManager  # type: ignore[import-not-found]

from tools.foreign.evidence import Evidence, Truth, arguments

LEVELS = 50


def main() -> int:
    """Call REST, then read streams; return the exit code."""
    options = arguments()
    evidence = Evidence("python-binance", "python-binance", Truth(options.tape))
    base = f"{options.host}:{options.port}"
    asyncio.run(_streams(base, evidence, options.seconds))
    _rest(base, evidence)
    return evidence.finish("books", "trades", "quotes", "klines", "aggregate trades", "touches")


def _rest(base: str, evidence: Evidence) -> None:
    client = Client(ping=False)
    client.API_URL = f"http://{base}/api"
    evidence.same("markets", client.get_symbol_info("BTCUSDT")["status"], "TRADING")
    for row in client.get_recent_trades(symbol="BTCUSDT", limit=1000):
        evidence.trade(row["id"], row["price"], row["qty"], row["time"], row["isBuyerMaker"])
    for row in client.get_aggregate_trades(symbol="BTCUSDT", limit=1000):
        evidence.aggregate(row["f"], row["l"], row["p"], row["q"], row["T"])
    bars = client.get_klines(symbol="BTCUSDT", interval=Client.KLINE_INTERVAL_1SECOND)
    for bar in bars[1:-1]:
        if float(bar[5]):
            evidence.kline(bar[0], bar[6] + 1, *bar[1:6])
    found = client.get_orderbook_ticker(symbol="BTCUSDT")
    evidence.touch(*(found[key] for key in ("bidPrice", "bidQty", "askPrice", "askQty")))
    book = client.get_order_book(symbol="BTCUSDT", limit=1000)
    evidence.book(book["lastUpdateId"], book["bids"], book["asks"], 1000)
    evidence.same("average", float(client.get_avg_price(symbol="BTCUSDT")["price"]) > 0, True)


async def _streams(base: str, evidence: Evidence, seconds: float) -> None:
    client = AsyncClient()
    client.API_URL = f"http://{base}/api"
    manager = BinanceSocketManager(client, max_queue_size=10_000)
    manager.STREAM_URL = f"ws://{base}/"
    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(_multiplex(manager, evidence), _book(client, manager, evidence))
    except TimeoutError:
        pass
    await client.close_connection()


async def _multiplex(manager: BinanceSocketManager, evidence: Evidence) -> None:
    names = ["btcusdt@trade", "btcusdt@aggTrade", "btcusdt@bookTicker", "btcusdt@kline_1s"]
    async with manager.multiplex_socket(names) as socket:
        while True:
            message: dict[str, Any] = await socket.recv()
            evidence.streamed(message["stream"].partition("@")[2], message["data"])


async def _book(client: AsyncClient, manager: BinanceSocketManager, evidence: Evidence) -> None:
    async with DepthCacheManager(
        client, "BTCUSDT", ws_interval=100, limit=1000, bm=manager, conv_type=str
    ) as cache:
        while True:
            book = await cache.recv()
            number = cache._last_update_id  # No other message tells the update's number.
            bids, asks = book.get_bids(), book.get_asks()
            evidence.book(number, bids, asks, LEVELS)


if __name__ == "__main__":
    sys.exit(main())
