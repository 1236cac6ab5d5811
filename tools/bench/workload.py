"""The events that all benchmarks and all peers are given: a market tick of 380 bytes."""

from __future__ import annotations

from typing import Final

from minibot.events.codec import Codec
from minibot.events.ids import position_id
from minibot.events.model import Event as Event
from minibot.events.model import MarketTick
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.runtime.paths import PROJECT

QUEUE: Final = "market_ticks"
SOURCE: Final = "market_role"
RUN_ID: Final = "20200101_000000"
HASH: Final = "0123456789abcdef" * 4
EVENT_BYTES: Final = 380
# As many different events as any batch needs; a longer run takes them again.
EVENTS: Final = 16_384
START_TS: Final = 1_577_836_800_000


def codec() -> Codec:
    """Return the codec of the benchmark's run."""
    contracts = Contracts.load(PROJECT / "contracts", PROJECT / "config" / "contracts.v1.json")
    roles = Roles.load(PROJECT / "config" / "roles.v1.json")
    return Codec(contracts, roles, RUN_ID, {SOURCE: {HASH}}, "bench")


def ticks(count: int, is_real: bool = False) -> list[Event]:
    """Return event objects.

    Args:
        count: How many, each with its own id, time and size.
        is_real: With figures as long as those of BTCUSDT (446 bytes) instead of 380 bytes in all.
    """
    return [_tick(number, is_real) for number in range(count)]


def _tick(number: int, is_real: bool) -> Event:
    if is_real:
        payload = MarketTick(
            symbol="BTCUSDT",
            price="61686.72000000",
            kind="quote",
            bid="61686.72000000",
            bid_qty=f"{number % 9}.74804000",
            ask="61686.73000000",
            ask_qty="1.29537000",
            recv_mono_ns=11_506_870_151_822 + number,
        )
    else:
        payload = MarketTick(
            symbol="BTCUSDT",
            price="2",
            kind="quote",
            bid="2",
            bid_qty=f"{1 + number % 9}",
            ask="3.1",
            ask_qty=f"{1 + number % 8}",
            recv_mono_ns=10 + number % 90,
        )
    return Event(
        ts=START_TS + number,
        id=position_id(RUN_ID, SOURCE, QUEUE, number + 1),
        source=SOURCE,
        run_id=RUN_ID,
        cmdline_hash=HASH,
        payload=payload,
    )
