"""Every figure of a run counted again from its queues alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from minibot.events.model import (
    Event,
    Fill,
    Health,
    JsonObject,
    MarketTick,
    RunOpening,
)
from minibot.events.performance import Performance
from minibot.events.tally import HealthTally
from minibot.kernel.errors import IntegrityError
from minibot.replay.engine import Recorded


def recount(recorded: Recorded) -> JsonObject:
    """Return the metrics of a run (N-75..N-78) from its queues.

    Raises:
        IntegrityError: A queue is damaged, or the run has no opening.
    """
    types: Counter[str] = Counter()
    lines: dict[str, int] = {}
    performance = _performance(recorded)
    fills = _fills(recorded)
    waiting = next(fills, None)
    last_seq = 0
    for seq, event in recorded.events("market_ticks"):
        last_seq = seq
        types[event.type] += 1
        while waiting is not None and (waiting.tick_seq or 0) < seq:
            _book(performance, waiting)
            waiting = next(fills, None)
        if isinstance(event.payload, MarketTick):
            performance.on_tick(event.payload)
    while waiting is not None:
        _book(performance, waiting)
        waiting = next(fills, None)
    for queue in recorded.roles.queues:
        lines[queue] = last_seq if queue == "market_ticks" else _count(recorded, queue)
    return {
        "run_id": recorded.manifest.run_id,
        "lines": lines,
        "market_ticks": dict(sorted(types.items())),
        "performance": performance.to_json(),
        **tally(recorded).to_json(),
    }


def tally(recorded: Recorded) -> HealthTally:
    """Return what the roles said of themselves, from their own parts."""
    found = HealthTally()
    for role in recorded.roles.writers("health"):
        for _, event in recorded.events(f"health/parts/{role}"):
            if isinstance(event.payload, Health):
                found.on_health(event.payload, event.ts)
    return found


def _performance(recorded: Recorded) -> Performance:
    first = next(recorded.events("control"), None)
    if first is None or not isinstance(first[1].payload, RunOpening):
        raise IntegrityError("report", "SCHEMA_INVALID", "control does not begin with run_opening")
    return Performance(first[1].payload, recorded.manifest.config["portfolio"]["quote_asset"])


def _fills(recorded: Recorded) -> Iterator[Event]:
    for _, event in recorded.events("fills"):
        yield event


def _book(performance: Performance, event: Event) -> None:
    if isinstance(event.payload, Fill):
        performance.on_fill(event.payload, event.ts)


def _count(recorded: Recorded, queue: str) -> int:
    return sum(1 for _ in recorded.events(queue))
