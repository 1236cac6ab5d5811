"""Loopback exchange of the market bench: the embedded one over hundreds of synthetic symbols.

    python -m tools.bench.market_exchange --symbols 400 --rate 2000 --speed 60

The synthetic markets are those of `generator:SEED` without their two hours before the start: making
them takes a minute for hundreds of symbols, and no figure here needs them. The first line on
standard output is the embedded exchange's own. The process ends with its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import orjson

from minibot.exchanges.tapes.clock import PlayClock
from minibot.exchanges.tapes.frames import Frame
from minibot.exchanges.tapes.kline_bars import Bar
from minibot.simulator.server.server import ExchangeServer
from minibot.simulator.server.service import ready_line, serve
from minibot.simulator.sources.generator import Generator
from minibot.simulator.venue.instruments import symbol_infos
from minibot.simulator.venue.venue import Venue


def symbols_of(count: int) -> tuple[str, ...]:
    """Return the names of synthetic symbols."""
    return tuple(f"C{number:03d}USDT" for number in range(count))


class Market(Generator):
    """Synthetic markets without history, whose first message is made in advance."""

    def __init__(self, seed: int, symbols: tuple[str, ...], rate_per_s: int) -> None:
        super().__init__(seed, symbols, rate_per_s)
        # The first message of each symbol builds its book: seconds, for hundreds of symbols.
        frames = super().frames()
        self._prepared = chain([next(frames)], frames)

    def frames(self) -> Iterator[Frame]:
        """Return the messages, once."""
        return self._prepared

    def past_bars(self, symbol: str, interval: str) -> list[Bar]:
        """Return no past bars."""
        return []

    def frames_of(self, symbol: str) -> Iterator[Frame]:
        """Return the messages of one symbol alone, as it has them among the others."""
        number = list(self._markets).index(symbol)
        return self._symbol_frames(self._markets[symbol], number % self._every_s)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until the standard input closes."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.market_exchange")
    parser.add_argument("--run", type=Path, required=True, help="folder where clock.json appears")
    parser.add_argument("--symbols", type=int, default=400)
    parser.add_argument("--rate", type=int, default=2000, help="messages in a market second")
    parser.add_argument("--speed", default="1")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    source = Market(options.seed, symbols_of(options.symbols), options.rate)
    facts = source.facts
    clock = PlayClock(facts.origin_ms, Fraction(options.speed))
    infos = symbol_infos(facts.symbols, facts.symbol_infos, facts.samples)
    path = options.run / "clock.json"

    def start(server: ExchangeServer) -> bool:
        if not path.exists():
            return False
        data = orjson.loads(path.read_bytes())
        clock.start(data["machine_origin_ns"], data["market_origin_ms"], Fraction(data["speed"]))
        return True

    asyncio.run(_serve(ExchangeServer(Venue(source, infos, clock, {}), [], start)))
    return 0


async def _serve(server: ExchangeServer) -> None:
    done, loop = asyncio.Event(), asyncio.get_running_loop()

    def watch() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(done.set)

    async def beside() -> None:
        await done.wait()

    def on_ready() -> None:
        print(orjson.dumps(ready_line(server)).decode(), flush=True)
        threading.Thread(target=watch, daemon=True).start()

    await serve(server, 0, on_ready=on_ready, beside=beside, done=done)


if __name__ == "__main__":
    sys.exit(main())
