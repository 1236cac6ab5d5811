"""Events of all benchmarks and all peers: a market tick of 380 bytes."""

from __future__ import annotations

from typing import Final

from minibot.events.codec import Codec
from minibot.events.model import Event as Event
from minibot.events.model import MarketTick
from minibot.events.names import TICKS as TICKS
from minibot.watchdog.capacity import RUN_ID as RUN_ID
from minibot.watchdog.capacity import sample_codec, sample_event, sample_tick

EVENT_BYTES: Final = 380
# As many different events as any batch needs; a longer run repeats them.
EVENTS: Final = 16_384


def codec() -> Codec:
    """Return the codec of the benchmark's run."""
    return sample_codec("bench")


def ticks(count: int, is_real: bool = False) -> list[Event]:
    """Return event objects.

    Args:
        count: Number of events, each with its own id, time and size.
        is_real: True for figures as long as those of BTCUSDT (446 bytes) instead of 380 bytes in
            all.
    """
    return [sample_tick(number) if is_real else _short_tick(number) for number in range(count)]


def _short_tick(number: int) -> Event:
    return sample_event(
        number,
        MarketTick(
            symbol="BTCUSDT",
            price="2",
            kind="quote",
            bid="2",
            bid_qty=f"{1 + number % 9}",
            ask="3.1",
            ask_qty=f"{1 + number % 8}",
            recv_mono_ns=10 + number % 90,
        ),
    )
