"""Latency from tick to result: the tick behind an intent, in bounded memory."""

from __future__ import annotations

import tracemalloc

import pytest

from minibot.cores.input_order import Taken
from minibot.events.model import Event, MarketTick, OrderIntent, OrderResult, Payload
from minibot.events.names import TICKS
from minibot.kernel.position import Line
from minibot.runtime import latency as latency_module
from minibot.runtime.latency import TICKS_KEPT, DecisionLatency

READ_NS = 5_000_000_000_000


def taken(seq: int, payload: Payload, queue: str = TICKS, tick_seq: int | None = None) -> Taken:
    """Return an input as a role gets it."""
    event = Event(1, "e", "market_role", "r", "0" * 64, payload, None, tick_seq)
    return Taken(queue, Line(seq, 0, b""), event, False)


def tick(seq: int) -> Taken:
    """Return a tick whose socket read was at its number."""
    payload = MarketTick(
        ask="2", ask_qty="1", bid="1", bid_qty="1", kind="quote", price="1", symbol="BTCUSDT",
        recv_mono_ns=READ_NS + seq,
    )  # fmt: skip
    return taken(seq, payload)


def is_timed(latency: DecisionLatency, tick_seq: int) -> bool:
    """Return whether an intent that goes back to a tick, and its result, make a sample."""
    intent = OrderIntent("BTCUSDT", "BUY", "1", "MARKET", f"c{tick_seq}", "ENTRY")
    latency.on_taken(taken(1, intent, "order_intents", tick_seq))
    samples = len(latency.samples_us)
    result = OrderResult(f"c{tick_seq}", "o", "ACCEPTED")
    latency.on_published([Event(1, "e", "execution_role", "r", "0" * 64, result)])
    return len(latency.samples_us) > samples


def test_result_is_timed_from_the_tick_that_its_intent_names() -> None:
    """A result is timed from a recent tick; an unknown or old one makes no sample."""
    latency = DecisionLatency("execution_role")
    for seq in range(1, TICKS_KEPT + 11):
        if seq != TICKS_KEPT:
            latency.on_taken(tick(seq))

    assert is_timed(latency, TICKS_KEPT + 10)
    assert is_timed(latency, 11)
    assert not is_timed(latency, 10)  # Its place has been reused.
    assert not is_timed(latency, TICKS_KEPT)  # No tick has this number.
    assert not is_timed(latency, TICKS_KEPT + 11)  # Not processed yet.
    assert not is_timed(DecisionLatency("risk_role"), 1)


def test_latency_is_in_microseconds_of_machine_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result 2,345,678 ns after the socket read of its tick took 2,345 us."""
    monkeypatch.setattr(latency_module, "machine_ns", lambda: READ_NS + 1 + 2_345_678)
    latency = DecisionLatency("execution_role")
    latency.on_taken(tick(1))

    assert is_timed(latency, 1)
    assert latency.samples_us == [2_345]
    assert latency.counters()["tick_to_result_us_p50"] == 2_345


@pytest.mark.slow
def test_night_of_ticks_between_other_events_needs_no_more_memory_than_its_first_minute() -> None:
    """A night of ticks between other events needs no more memory than its first minute."""
    latency = DecisionLatency("execution_role")
    latency.on_taken(tick(1))
    tracemalloc.start()
    for seq in range(2, 12 * TICKS_KEPT):
        if seq % 7:
            latency.on_taken(tick(seq))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept < 20_000
