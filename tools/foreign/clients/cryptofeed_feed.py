"""cryptofeed. Settings needed: `websocket_endpoints` and `rest_endpoints` of a subclass, over TLS.

cryptofeed has no constructor option for an address; its users add a venue by a feed subclass with
its own endpoints. It accepts `wss://` alone, so the exchange is served with `--tls-dir` and its
certificate is trusted by the environment variable `SSL_CERT_FILE`. It asks for no bar below a
minute.
"""

from __future__ import annotations

import asyncio
import os
import sys
from importlib import import_module
from typing import Any, ClassVar

from tools.foreign.evidence import Evidence, Truth, arguments

LEVELS = 50


def main() -> int:
    """Read book, aggregate trades, quotes and candles; return the exit code."""
    cryptofeed = import_module("cryptofeed")
    connection, defines = (
        import_module("cryptofeed.connection"),
        import_module("cryptofeed.defines"),
    )
    binance: Any = import_module("cryptofeed.exchanges").Binance
    options = arguments()
    evidence = Evidence("cryptofeed", "cryptofeed", Truth(options.tape))

    class Loopback(binance):  # type: ignore[misc]  # known at run time alone
        websocket_endpoints: ClassVar[list[Any]] = [
            connection.WebsocketEndpoint(f"wss://{options.host}:{options.tls_port}")
        ]
        rest_endpoints: ClassVar[list[Any]] = [
            connection.RestEndpoint(
                f"http://{options.host}:{options.port}",
                routes=connection.Routes(
                    "/api/v3/exchangeInfo", l2book="/api/v3/depth?symbol={}&limit={}"
                ),
            )
        ]

    async def book(book: Any, received: float) -> None:
        if book.delta is not None:
            bids, asks = book.book.bids, book.book.asks
            levels = [[side.index(n) for n in range(LEVELS)] for side in (bids, asks)]
            evidence.book(book.sequence_number, levels[0], levels[1], LEVELS)

    async def trade(trade: Any, received: float) -> None:
        raw = trade.raw
        time_ms = round(trade.timestamp * 1000)
        evidence.aggregate(raw["f"], raw["l"], trade.price, trade.amount, time_ms)

    async def ticker(ticker: Any, received: float) -> None:
        raw = ticker.raw
        evidence.quote(raw["u"], ticker.bid, raw["B"], ticker.ask, raw["A"])

    async def candle(candle: Any, received: float) -> None:
        begin, end = round(candle.start * 1000), round(candle.stop * 1000) + 1
        values = (candle.open, candle.high, candle.low, candle.close, candle.volume)
        if candle.closed:
            evidence.kline(begin, end, *values)

    channels = {
        defines.L2_BOOK: book,
        defines.TRADES: trade,
        defines.TICKER: ticker,
        defines.CANDLES: candle,
    }
    # With this uvloop a loop has to exist before cryptofeed's handler asks for one.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    handler = cryptofeed.FeedHandler(config={"uvloop": False, "log": {"disabled": True}})
    handler.add_feed(Loopback(symbols=["BTC-USDT"], channels=list(channels), callbacks=channels))
    handler.run(start_loop=False, install_signal_handlers=False)
    loop.run_until_complete(asyncio.sleep(options.seconds))
    code = evidence.finish("books", "aggregate trades", "quotes", "klines")
    os._exit(code)  # cryptofeed's own end waits for retries of connections that it has just closed.


if __name__ == "__main__":
    sys.exit(main())
