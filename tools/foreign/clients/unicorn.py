"""unicorn-binance-websocket-api. Settings needed: `websocket_base_uri`, a constructor option.

`restful_base_uri` beside it; nothing of what is read here asks for it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from typing import Any

from unicorn_binance_websocket_api import BinanceWebSocketApiManager  # type: ignore[import-not-found]

from tools.foreign.evidence import Evidence, Truth, arguments

CHANNELS = ["trade", "aggTrade", "bookTicker", "kline_1s", "depth20@100ms", "miniTicker"]


def main() -> int:
    """Read streams, subscribe to more and leave some; return the exit code."""
    logging.disable(logging.CRITICAL)
    options = arguments()
    evidence = Evidence(
        "unicorn-binance-websocket-api", "unicorn-binance-websocket-api", Truth(options.tape)
    )
    received: list[str] = []
    base = f"{options.host}:{options.port}"
    manager = BinanceWebSocketApiManager(
        exchange="binance.com",
        warn_on_update=False,
        output_default="raw_data",
        process_stream_data=received.append,
        websocket_base_uri=f"ws://{base}/",
        restful_base_uri=f"http://{base}/",
    )
    stream = manager.create_stream(channels=CHANNELS[:3], markets=["btcusdt"])
    # It sleeps some five seconds before it connects.
    threading.Event().wait(options.seconds / 2 + 5)
    manager.subscribe_to_stream(stream, channels=CHANNELS[3:], markets=["btcusdt"])
    threading.Event().wait(options.seconds / 2)
    manager.stop_manager()
    for text in received:
        message = json.loads(text)
        if "stream" in message:
            _check(evidence, message["stream"].partition("@")[2], message["data"])
    code = evidence.finish("books", "trades", "quotes", "klines", "aggregate trades", "tickers")
    sys.stdout.flush()
    os._exit(code)  # Its threads may sleep for a while yet.


def _check(evidence: Evidence, kind: str, data: dict[str, Any]) -> None:
    if kind == "trade":
        evidence.trade(data["t"], data["p"], data["q"], data["T"], data["m"])
    elif kind == "aggTrade":
        evidence.aggregate(data["f"], data["l"], data["p"], data["q"], data["T"])
    elif kind == "bookTicker":
        evidence.quote(data["u"], data["b"], data["B"], data["a"], data["A"])
    elif kind.startswith("depth"):
        evidence.book(data["lastUpdateId"], data["bids"], data["asks"], 20)
    elif kind == "miniTicker":
        prices = {float(row[0]) for row in evidence.truth.trades.values()}
        evidence.same("tickers", float(data["c"]) in prices, True)
    elif data["k"]["x"] and data["k"]["n"]:
        bar = data["k"]
        evidence.kline(bar["t"], bar["T"] + 1, *(bar[key] for key in "ohlcv"))


if __name__ == "__main__":
    sys.exit(main())
