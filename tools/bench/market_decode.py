"""minibot's own part of M3 and M7's floor: frames decoded and the book kept, nothing written.

    python -m tools.bench.market_decode PORT COUNTS --core 1

The stream, the parser and the keeper of the book are those of the market role.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from typing import Final

import orjson
import psutil

from minibot.exchanges.base import Diff
from minibot.exchanges.binance.book import BookKeeper
from minibot.exchanges.binance.messages import parse_frame, parse_snapshot, stream_names
from minibot.exchanges.binance.streams import combined_url
from minibot.exchanges.websocket_stream import WebSocketStream

SYMBOL: Final = "BTCUSDT"


def main() -> int:
    """Take all that the server sends of one symbol."""
    port, counts = int(sys.argv[1]), json.loads(sys.argv[2])
    if sys.platform == "linux" and len(sys.argv) > 4:
        os.sched_setaffinity(0, {int(sys.argv[4])})
    address = combined_url(f"ws://127.0.0.1:{port}", stream_names((SYMBOL,)))
    stream = WebSocketStream(address, connect_timeout_s=5.0)
    url = f"http://127.0.0.1:{port}/api/v3/depth?symbol={SYMBOL}&limit=1000"
    with urllib.request.urlopen(url, timeout=5) as answer:
        body = answer.read()
    snapshot = parse_snapshot(orjson.loads(body), 1000)
    keeper, total, seen = BookKeeper(), sum(counts.values()), 0
    stream.open()
    begun, cpu_s = 0.0, 0.0
    while seen < total:
        _, messages = stream.recv_all()
        if not seen:
            begun, cpu_s = time.perf_counter(), time.process_time()
        for data in messages:
            message = parse_frame(data)
            if type(message) is Diff:
                keeper.on_diff(message)
                if keeper.book is None:
                    keeper.on_snapshot(snapshot)
        seen += len(messages)
    found = {"messages": seen, "wall_s": time.perf_counter() - begun}
    found |= {"cpu_s": time.process_time() - cpu_s, "book": keeper.book is not None}
    found["rss_mb"] = psutil.Process().memory_info().rss / 1e6
    print("RESULT " + json.dumps(found), flush=True)
    stream.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
