"""unicorn-binance-websocket-api. Settings needed: `websocket_base_uri`, a constructor option.

`restful_base_uri` stands beside it; nothing here uses it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading

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
    # The client sleeps some five seconds before it connects.
    threading.Event().wait(options.seconds / 2 + 5)
    manager.subscribe_to_stream(stream, channels=CHANNELS[3:], markets=["btcusdt"])
    threading.Event().wait(options.seconds / 2)
    manager.stop_manager()
    for text in received:
        message = json.loads(text)
        if "stream" in message:
            evidence.streamed(message["stream"].partition("@")[2], message["data"])
    code = evidence.finish("books", "trades", "quotes", "klines", "aggregate trades", "tickers")
    sys.stdout.flush()
    os._exit(code)  # The client's threads may still sleep for a while.


if __name__ == "__main__":
    sys.exit(main())
