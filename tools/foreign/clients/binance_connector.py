"""binance-connector. Settings needed: `base_url` and `stream_url`, both constructor options."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from binance.spot import Spot  # type: ignore[import-not-found]
from binance.websocket.spot.websocket_stream import SpotWebsocketStreamClient  # type: ignore[import-not-found]

from tools.foreign.evidence import Evidence, Truth, arguments


def main() -> int:
    """Read streams and call REST; return the exit code."""
    options = arguments()
    evidence = Evidence("binance-connector", "binance-connector", Truth(options.tape))
    base = f"{options.host}:{options.port}"
    received: list[dict[str, Any]] = []
    stream = SpotWebsocketStreamClient(
        stream_url=f"ws://{base}",
        on_message=lambda _, text: received.append(json.loads(text)),
        is_combined=True,
    )
    stream.trade(symbol="btcusdt")
    stream.agg_trade(symbol="btcusdt")
    stream.book_ticker(symbol="btcusdt")
    stream.kline(symbol="btcusdt", interval="1s")
    stream.partial_book_depth(symbol="btcusdt", level=20, speed=100)
    time.sleep(options.seconds)
    stream.stop()
    for message in received:
        if "stream" in message:
            evidence.streamed(message["stream"].partition("@")[2], message["data"])
    _rest(Spot(base_url=f"http://{base}"), evidence)
    return evidence.finish(
        "books", "trades", "quotes", "klines", "aggregate trades", "touches", "tickers"
    )


def _rest(client: Spot, evidence: Evidence) -> None:
    evidence.same(
        "markets", client.exchange_info(symbol="BTCUSDT")["symbols"][0]["symbol"], "BTCUSDT"
    )
    for row in client.trades("BTCUSDT", limit=1000):
        evidence.trade(row["id"], row["price"], row["qty"], row["time"], row["isBuyerMaker"])
    for row in client.agg_trades("BTCUSDT", limit=1000):
        evidence.aggregate(row["f"], row["l"], row["p"], row["q"], row["T"])
    for bar in client.klines("BTCUSDT", "1s", limit=1000)[1:-1]:
        if float(bar[5]):
            evidence.kline(bar[0], bar[6] + 1, *bar[1:6])
    book = client.depth("BTCUSDT", limit=5000)
    evidence.book(book["lastUpdateId"], book["bids"], book["asks"], 5000)
    found = client.book_ticker("BTCUSDT")
    evidence.touch(*(found[key] for key in ("bidPrice", "bidQty", "askPrice", "askQty")))
    prices = {row[0] for row in evidence.truth.trades.values()}
    for ticker in (client.ticker_24hr("BTCUSDT"), client.rolling_window_ticker(symbol="BTCUSDT")):
        last = ticker["lastPrice"]
        evidence.same("tickers", any(float(price) == float(last) for price in prices), True)


if __name__ == "__main__":
    sys.exit(main())
