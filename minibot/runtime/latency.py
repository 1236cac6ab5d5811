"""Decision latency: from the socket read of the root tick to the first `order_result`, published.

Monotonic time, through market, strategy, risk and execution, with every sync but without the
simulated latency: the first result of an order is its acceptance or refusal. Only the executor sees
both ends.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from minibot.accounting.run_counters import percentile
from minibot.cores.input_order import Taken
from minibot.events.model import Bar, Event, MarketTick, OrderIntent, OrderResult
from minibot.events.names import EXECUTION_ROLE, TICKS
from minibot.runtime.clock import machine_ns

# A decision follows from a tick of the last seconds: enough for a thousand ticks a second.
TICKS_KEPT = 8192


class DecisionLatency:
    """Latency samples of one executor, in microseconds; idle in other roles."""

    def __init__(self, role: str) -> None:
        self._is_executor = role == EXECUTION_ROLE
        # Indexed by seq modulo length: the tick's seq and when it was read. Only a tick with a time
        # of reading takes a slot, so one from further back than `TICKS_KEPT` may still stand there.
        self._seqs = array("q", [0]) * (TICKS_KEPT if self._is_executor else 0)
        self._read_ns = array("q", [0]) * (TICKS_KEPT if self._is_executor else 0)
        self._open: dict[str, int] = {}
        self.samples_us: list[int] = []

    def on_taken(self, taken: Taken) -> None:
        """Remember when a tick was read, and from which tick an intent follows."""
        if not self._is_executor:
            return
        payload = taken.event.payload
        if taken.queue == TICKS:
            if isinstance(payload, MarketTick | Bar) and payload.recv_mono_ns is not None:
                at = taken.seq % TICKS_KEPT
                self._seqs[at], self._read_ns[at] = taken.seq, payload.recv_mono_ns
        elif isinstance(payload, OrderIntent) and taken.event.tick_seq is not None:
            at = taken.event.tick_seq % TICKS_KEPT
            if self._seqs[at] == taken.event.tick_seq:
                self._open[payload.client_order_id] = self._read_ns[at]

    def on_published(self, events: Sequence[Event]) -> None:
        """Sample the latency of each first result."""
        if not self._is_executor:
            return
        moment = machine_ns()
        for event in events:
            if isinstance(event.payload, OrderResult):
                read_ns = self._open.pop(event.payload.client_order_id, None)
                if read_ns is not None:
                    self.samples_us.append((moment - read_ns) // 1000)

    def counters(self) -> dict[str, int]:
        """Return the figures for `health` and the live table; empty in other roles."""
        if not self._is_executor:
            return {}
        return {
            "tick_to_result_n": len(self.samples_us),
            "tick_to_result_us_p50": percentile(self.samples_us, 50) or 0,
            "tick_to_result_us_p95": percentile(self.samples_us, 95) or 0,
            "tick_to_result_us_p99": percentile(self.samples_us, 99) or 0,
        }
