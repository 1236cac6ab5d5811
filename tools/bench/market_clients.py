"""Peers of the market bench, each used as its own documentation says; run by their Python.

    python market_clients.py NAME PORT COUNTS

COUNTS is JSON: the number of messages of each kind that the server sends. The last line is `RESULT
{...}`: messages, seconds and CPU seconds between the first message and the last. Comments in place
say how each client is pointed at loopback.
"""

# mypy: ignore-errors
# These packages are not in minibot's environment, and most of them are untyped.

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import sys
import threading
import time
from typing import ClassVar

NAME, PORT, COUNTS = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
HOST = f"127.0.0.1:{PORT}"
TOTAL = sum(COUNTS.values())
STREAMS = ("depth@100ms", "trade", "bookTicker")


class Count:
    """Counter of messages; its clock runs from the first to the last."""

    def __init__(self) -> None:
        self.messages = 0
        self.wall_s = self.cpu_s = 0.0

    def one(self) -> bool:
        """Count a message; return True for the last one."""
        if not self.messages:
            self.begun = time.perf_counter(), time.process_time()
        self.messages += 1
        if self.messages < TOTAL:
            return False
        self.wall_s = time.perf_counter() - self.begun[0]
        self.cpu_s = time.process_time() - self.begun[1]
        return True

    def report(self, **more) -> None:
        """Print the result and end the process, whatever threads there are."""
        rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        found = {"messages": self.messages, "wall_s": self.wall_s, "cpu_s": self.cpu_s}
        print("RESULT " + json.dumps({**found, "rss_mb": rss_mb, **more}), flush=True)
        os._exit(0)


def cryptofeed(count: Count) -> None:
    """L2 book, trades and ticker by callbacks, on uvloop as it recommends."""
    from cryptofeed import FeedHandler
    from cryptofeed.connection import RestEndpoint, Routes, WebsocketEndpoint
    from cryptofeed.defines import L2_BOOK, TICKER, TRADES
    from cryptofeed.exchanges import Binance

    class Loopback(Binance):
        # cryptofeed refuses `ws://` addresses but lets its own hook for signed ones change them.
        websocket_endpoints: ClassVar = [
            WebsocketEndpoint(f"wss://{HOST}", authentication=True, options={"compression": None})
        ]
        rest_endpoints: ClassVar = [
            RestEndpoint(
                f"http://{HOST}",
                routes=Routes("/api/v3/exchangeInfo", l2book="/api/v3/depth?symbol={}&limit={}"),
            )
        ]

        async def _ws_authentication(self, address, options):
            return address.replace("wss://", "ws://"), options

    async def on_book(book, _):
        # A diff older than the snapshot causes no call, so the last message decides.
        state["book"] = book
        count.one()

    async def on_other(_, __):
        if count.one():
            count.report()

    state = {}
    handler = FeedHandler(config={"uvloop": True, "log": {"disabled": True}})
    asyncio.set_event_loop(asyncio.new_event_loop())  # `run` needs an existing loop.
    callbacks = {L2_BOOK: on_book, TRADES: on_other, TICKER: on_other}
    channels = [L2_BOOK, TRADES, TICKER]
    handler.add_feed(Loopback(symbols=["BTC-USDT"], channels=channels, callbacks=callbacks))
    # Diffs before its snapshot are not handed over; the clock ends with the last call.
    threading.Thread(target=_quiet, args=(count,), daemon=True).start()
    handler.run()


def _quiet(count: Count) -> None:
    """Report after two seconds without a message, up to the last message."""
    seen, last = 0, (0.0, 0.0)
    while True:
        time.sleep(0.05)
        now = time.perf_counter()
        if count.messages != seen:
            seen, last = count.messages, (now, time.process_time())
        elif seen and now - last[0] > 2:
            count.wall_s = last[0] - count.begun[0]
            count.cpu_s = last[1] - count.begun[1]
            count.report()


def ccxt(count: Count) -> None:
    """ccxt.pro: watch_order_book, watch_trades and watch_bids_asks on one connection."""
    import ccxt.pro

    async def main() -> None:
        options = {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False}
        exchange = ccxt.pro.binance(
            {
                "enableRateLimit": False,
                "newUpdates": True,
                "options": {**options, "fetchCurrencies": False},
            }
        )
        exchange.options["streamLimits"]["spot"] = 1  # Otherwise a connection for each kind.
        for name, address in list(exchange.urls["api"].items()):
            if isinstance(address, str):
                exchange.urls["api"][name] = f"http://{HOST}/" + address.split("/", 3)[3]
        exchange.urls["api"]["ws"]["spot"] = f"ws://{HOST}/ws"
        await exchange.load_markets()
        handle, ended = exchange.handle_message, asyncio.Event()

        def on_message(client, message):
            handle(client, message)
            if "result" not in message and count.one():
                ended.set()

        async def forever(watch, *given):
            while True:
                await watch(*given)

        exchange.handle_message = on_message
        watches = (
            (exchange.watch_order_book, "BTC/USDT"),
            (exchange.watch_trades, "BTC/USDT"),
            (exchange.watch_bids_asks, ["BTC/USDT"]),
        )
        tasks = [asyncio.create_task(forever(watch, given)) for watch, given in watches]
        waiting = asyncio.create_task(ended.wait())
        await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        count.report(has_ended=ended.is_set())

    asyncio.run(main())


def python_binance(count: Count) -> None:
    """python-binance: multiplex socket, decoded and nothing else; it keeps no book there."""
    from binance import AsyncClient, BinanceSocketManager

    AsyncClient.API_URL = f"http://{HOST}/api"
    BinanceSocketManager.STREAM_URL = f"ws://{HOST}/"

    async def main() -> None:
        manager = BinanceSocketManager(AsyncClient(), max_queue_size=1_000_000)
        names = [f"btcusdt@{stream}" for stream in STREAMS]
        async with manager.multiplex_socket(names) as stream:
            while True:
                message = await stream.recv()
                if "stream" not in message:
                    count.report(error=str(message)[:200])
                if count.one():
                    count.report()

    asyncio.run(main())


def unicorn(count: Count) -> None:
    """unicorn-binance-websocket-api: raw strings by callback, decoded by orjson; no book."""
    import orjson
    from unicorn_binance_websocket_api import BinanceWebSocketApiManager

    logging.disable(logging.CRITICAL)

    def on_data(data):
        if "stream" in orjson.loads(data) and count.one():
            count.report()

    manager = BinanceWebSocketApiManager(
        exchange="binance.com",
        warn_on_update=False,
        process_stream_data=on_data,
        output_default="raw_data",
        websocket_base_uri=f"ws://{HOST}/",
        restful_base_uri=f"http://{HOST}/",
    )
    manager.create_stream(channels=list(STREAMS), markets=["btcusdt"])
    threading.Event().wait(120)


CLIENTS = {"cryptofeed": cryptofeed, "ccxt": ccxt, "python-binance": python_binance}
CLIENTS["unicorn"] = unicorn

if __name__ == "__main__":
    CLIENTS[NAME](Count())
