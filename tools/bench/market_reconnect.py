"""M6: every connection is cut; time until every book is usable again, within the request budget.

A hundred symbols on one connection. The time runs from the order to cut until the last symbol's
book has its snapshot and has met its stream. The wait before the first attempt comes from the
seeded backoff, as at night. Each sample starts a fresh exchange, so that samples do not share
request weight.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Protocol

from minibot.events.model import Book, Payload
from minibot.market.depth import RESYNC
from tools.bench.frame import Limit, Measure, median
from tools.bench.market_session import Running

SYMBOLS: Final = 100
# Every symbol has a diff every half second; a book is usable only after it has met its stream.
RATE: Final = 1_000
SETTLE_S: Final = 2.0
SAMPLE_S_MAX: Final = 60.0
WEIGHT_ALLOWED: Final = 3_000
# About the time of an answer from another continent.
FAR_MS: Final = 200


class Plan(Protocol):
    """Plan of the bench, as far as this measure needs it."""

    repeats: int


class Books:
    """Symbols that have had a new book since the mark."""

    def __init__(self) -> None:
        self.since: set[str] = set()

    def judge(self, payloads: Sequence[tuple[Payload, int]]) -> None:
        """Note the books that are whole again."""
        self.since.update(
            payload.symbol
            for payload, _ in payloads
            if isinstance(payload, Book) and payload.why == RESYNC
        )


def sample(delay_ms: int = 0, symbols: int = SYMBOLS, rate: int = RATE) -> tuple[float, int]:
    """Return seconds from the cut to the last book, and the request weight used in the minute.

    `delay_ms` delays every REST answer, as a long distance would.
    """
    books = Books()
    with Running(symbols, rate, "1", books.judge) as running:
        running.wait(lambda: len(books.since) == symbols, SAMPLE_S_MAX, "every book")
        time.sleep(SETTLE_S)
        books.since.clear()
        if delay_ms:
            running.exchange.fault("slow", ms=600_000, delay_ms=delay_ms)
        began = time.monotonic()
        running.exchange.fault("drop")
        running.wait(lambda: len(books.since) == symbols, SAMPLE_S_MAX, "every book again")
        took = time.monotonic() - began
        return took, int(running.exchange.status()["weight_used"])


def run(plan: Plan) -> list[Measure]:
    """Return M6."""
    found = [sample() for _ in range(plan.repeats)]
    weights = [float(weight) for _, weight in found]
    far = [took for took, _ in (sample(FAR_MS) for _ in range(plan.repeats))]
    return [
        Measure(
            "M6",
            f"from a drop until the books of {SYMBOLS} symbols are usable",
            median([took for took, _ in found]),
            "s",
            Limit(10, 3, is_most=True),
            {"seconds": [took for took, _ in found], "weight of the minute": weights},
            notes=[
                f"start included, at most {max(weights):.0f} of {WEIGHT_ALLOWED} allowed weight",
                *(["OVER THE WEIGHT BUDGET"] if max(weights) > WEIGHT_ALLOWED else []),
            ],
        ),
        Measure(
            "M6",
            f"the same where every REST answer takes {FAR_MS} ms longer",
            median(far),
            "s",
            Limit(10, 3, is_most=True),
            {"seconds": far},
        ),
    ]
