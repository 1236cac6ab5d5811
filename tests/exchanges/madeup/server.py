"""Server of the made-up venue: a process on loopback with its own market.

    python server.py [PORT]

It prints its port, then obeys lines on standard input: `gap` (an update of a book is never sent),
`pause` and `open` (all markets), `down` and `up` (no answer, no connection), `limit` (the next call
is refused: too many). The market comes from a seed; times are wall-clock times.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
import zlib
from collections import deque
from typing import Any

from aiohttp import WSMsgType, web

NAMES = {"btc:usdt": 120_000, "eth:usdt": 7_000}
TICK_DIGITS = 5  # A tick is half a unit: prices are counted in tenths.
LEVELS = 15
STEP_S = 0.1
PAST_S = 4_000
CALLS_PER_MINUTE = 600


def text(ticks: int) -> str:
    """Return a price as text, from half units."""
    return f"{ticks // 2}.{ticks % 2 * TICK_DIGITS}"


class Market:
    """One market: its trades so far, and its book."""

    def __init__(self, name: str, ticks: int, now_ms: int) -> None:
        self.name, self.ticks, self.count, self.state = name, ticks, 1_000, "open"
        self.random = random.Random(name)
        self.trend = 0
        self.trades: deque[tuple[int, int, int, bool]] = deque(maxlen=100_000)
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.set_last: dict[str, list[str]] = {"bids": [], "asks": []}
        for second in range(PAST_S):
            for part in (100, 600):
                self.trade(now_ms - (PAST_S - second) * 1000 + part)
        self.rows()

    def trade(self, at_ms: int) -> tuple[int, int, int, bool]:
        """Move the price and trade there; the trade has time, ticks, lots, and the taker."""
        if self.random.random() < 0.03:
            self.trend = self.random.choice((-3, -1, 0, 1, 3)) * max(1, self.ticks // 60_000)
        self.ticks = max(100, self.ticks + self.trend + self.random.randint(-1, 1))
        done = (at_ms, self.ticks, self.random.randint(2, 60), self.random.random() < 0.5)
        self.trades.append(done)
        return done

    def rows(self) -> tuple[list[list[str]], list[list[str]]]:
        """Set the book around the price; return the changes of each side."""
        changed = []
        for side, sign in (("bids", -1), ("asks", 1)):
            before: dict[str, str] = getattr(self, side)
            prices = [text(self.ticks + sign * (level + 1)) for level in range(LEVELS)]
            after = {price: before.get(price, self.qty()) for price in prices}
            # A missed update shows in the next checksum: nothing it set is soon set again.
            behind = [price for price in prices[1:9] if price not in self.set_last[side]]
            self.set_last[side] = [prices[0], self.random.choice(behind)]
            after |= {price: self.qty() for price in self.set_last[side]}
            gone = [[price, "0"] for price in before if price not in after]
            changed.append(
                gone + [[price, qty] for price, qty in after.items() if before.get(price) != qty]
            )
            setattr(self, side, after)
        self.count += 1
        return changed[0], changed[1]

    def qty(self) -> str:
        """Return a quantity."""
        return f"{self.random.randint(300, 900)}.{self.random.randint(1, 9)}"

    def sum(self) -> int:
        """Return the checksum of the best ten levels a side."""
        best = [*self.bids.items()][:10], [*self.asks.items()][:10]
        return zlib.crc32("|".join(f"{p}x{q}" for side in best for p, q in side).encode())

    def candles(self, seconds: int, since: int, until: int, count: int) -> list[dict[str, Any]]:
        """Return candles that open within since..until; if too many, the oldest after a since."""
        found: dict[int, list[tuple[int, int, int, bool]]] = {}
        for done in self.trades:
            at = done[0] // 1000 // seconds * seconds
            if since <= at * 1000 <= until:
                found.setdefault(at, []).append(done)
        rows = []
        of = sorted(found.items())
        for at, trades in of[:count] if since else of[-count:]:
            prices = [done[1] for done in trades]
            lots, bought = sum(t[2] for t in trades), sum(t[2] for t in trades if t[3])
            value = sum(t[1] * t[2] for t in trades) * 5  # 1e-4
            row = {"o": prices[0], "h": max(prices), "l": min(prices), "c": prices[-1]}
            rows.append(
                {key: text(price) for key, price in row.items()}
                | {"at": at, "n": len(trades), "v": f"{lots // 1000}.{lots % 1000:03d}"}
                | {"value": f"{value // 10_000}.{value % 10_000:04d}"}
                | {"bought": f"{bought // 1000}.{bought % 1000:03d}"}
            )
        return rows

    def entry(self) -> dict[str, Any]:
        """Return the rules."""
        rules = {"tick": "0.5", "lot": "0.001", "lots": [1, 9_000_000], "least": "5"}
        return {"market": self.name, "state": self.state} | rules


class Server:
    """Server side of all connections."""

    def __init__(self) -> None:
        now_ms = time.time_ns() // 1_000_000
        self.markets = {name: Market(name, ticks, now_ms) for name, ticks in NAMES.items()}
        self.joined: dict[web.WebSocketResponse, set[str]] = {}
        self.is_down = self.is_limiting = False
        self.gaps = 0
        self.minute = self.calls = 0

    async def rest(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        if self.is_down:
            return web.Response(status=503)
        minute = int(time.time() // 60)
        self.minute, self.calls = minute, 1 + (self.calls if minute == self.minute else 0)
        headers = {"x-calls-left": str(max(0, CALLS_PER_MINUTE - self.calls))}
        if self.is_limiting:
            self.is_limiting = False
            return web.Response(status=429, headers=headers | {"x-wait-ms": "1500"})
        body = self.body(request.path, dict(request.query))
        return web.json_response(body, status=404 if body is None else 200, headers=headers)

    def body(self, path: str, query: dict[str, str]) -> Any:
        """Return the body of a path; None for nothing."""
        if path == "/v1/hello":
            return {}
        if path == "/v1/clock":
            return {"now_us": time.time_ns() // 1000}
        if path == "/v1/volumes":
            return {name: "1000000.5" for name in self.markets}
        if path == "/v1/markets":
            names = query["names"].split(",") if query.get("names") else [*self.markets]
            known = all(name in self.markets for name in names)
            return {"markets": [self.markets[n].entry() for n in names]} if known else None
        market = self.markets.get(query.get("name", ""))
        if market is None:
            return None
        if path == "/v1/book":
            return {"count": market.count, "sum": market.sum()} | {
                side: [[*row] for row in getattr(market, side).items()] for side in ("bids", "asks")
            }
        if path == "/v1/candles":
            since, until = int(query.get("since", 0)), int(query["until"])
            return market.candles(int(query["seconds"]), since, until, int(query["count"]))
        return None

    async def feed(self, request: web.Request) -> web.StreamResponse:
        """Serve one stream connection."""
        if self.is_down:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.joined[socket] = set()
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await self.control(socket, json.loads(message.data))
        finally:
            self.joined.pop(socket, None)
        return socket

    async def control(self, socket: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        """Join or leave channels."""
        channels = set(asked["channels"])
        unknown = [c for c in channels if c.partition(" ")[2] not in self.markets and c != "prices"]
        if unknown:
            await send(socket, {"tag": asked["tag"], "refused": f"no channel {unknown[0]}"})
            return
        if asked["op"] == "join":
            self.joined[socket] |= channels
        else:
            self.joined[socket] -= channels
        await send(socket, {"tag": asked["tag"], "done": True})

    async def tell(self, channel: str, body: dict[str, Any]) -> None:
        """Send to every member of a channel."""
        for socket, channels in list(self.joined.items()):
            if channel in channels and not socket.closed:
                await send(socket, {"ch": channel} | body)

    async def play(self) -> None:
        """Trade and change books until the server ends."""
        numbers = dict.fromkeys(self.markets, 0)
        step = 0
        while True:
            await asyncio.sleep(STEP_S)
            step += 1
            now_us = time.time_ns() // 1000
            for name, market in self.markets.items():
                if market.state != "open":
                    continue
                if step % 3 == 0:
                    _, ticks, lots, bought = market.trade(now_us // 1000)
                    numbers[name] += 1
                    fields = {"n": numbers[name], "at_us": now_us, "px": text(ticks)}
                    qty = {"qty": f"0.{lots:03d}", "took": "buy" if bought else "sell"}
                    await self.tell(f"trades {name}", fields | qty)
                bids, asks = market.rows()
                if self.gaps:
                    self.gaps -= 1
                    continue
                book = {"count": market.count, "bids": bids, "asks": asks, "sum": market.sum()}
                await self.tell(f"book {name}", book)
            if step % 10 == 0:
                last = {name: text(market.ticks) for name, market in self.markets.items()}
                await self.tell("prices", {"at_us": now_us, "of": last})

    async def obey(self) -> None:
        """Obey standard input until its end."""
        while line := await asyncio.to_thread(sys.stdin.readline):
            word = line.strip()
            if word == "gap":
                self.gaps = len(self.markets)
            elif word in ("open", "pause"):
                for market in self.markets.values():
                    market.state = "open" if word == "open" else "paused"
            elif word == "limit":
                self.is_limiting = True
            else:
                self.is_down = word == "down"
                for socket in list(self.joined) if self.is_down else ():
                    await socket.close()


async def send(socket: web.WebSocketResponse, body: dict[str, Any]) -> None:
    """Send one frame; ignore a client that has gone."""
    try:
        await socket.send_str(json.dumps(body, separators=(",", ":")))
    except (ConnectionError, RuntimeError):
        return


async def main(port: int) -> None:
    """Serve until standard input ends."""
    server = Server()
    app = web.Application()
    app.router.add_get("/feed", server.feed)
    app.router.add_get("/{path:.*}", server.rest)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(runner.addresses[0][1], flush=True)
    playing = asyncio.create_task(server.play())
    await server.obey()
    playing.cancel()
    for socket in list(server.joined):
        await socket.close()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
