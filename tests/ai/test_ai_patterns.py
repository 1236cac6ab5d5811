"""Patterns: what the market did over the horizon after a signal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minibot.ai.drafts import Answer, Question
from minibot.ai.service import AiService
from minibot.events.model import Beat, Event, Gap, Payload
from minibot.kernel.line import decode_line
from tests.ai.ai_rows import RUN_ID
from tests.ai.ai_stage import START_TS, SYMBOL, bar, quote, signal
from tests.ai.test_ai_models import clerk_of

SIGNAL_S = 10
HORIZON_S = 60


class Night:
    """A clerk of the shipped night, whose bars last a minute, and its market by seconds."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clerk: AiService = clerk_of(root, "nore")
        self.second = 0
        self._seq = 0

    def take(self, payload: Payload) -> Event:
        """Let the clerk take an event of this second."""
        self._seq += 1
        ts = START_TS + self.second * 1000
        event = Event(ts, f"{self._seq}", "market_role", RUN_ID, "0" * 64, payload)
        self.clerk.take("market_ticks", self._seq, event, ts)
        return event

    def play(self, last: int, prices: Callable[[int], float], age_ms: int = 0) -> None:
        """Go on to a second: a quote and a beat each, and the bar of each minute."""
        while self.second < last:
            if not age_ms:
                self.take(quote(prices(self.second)))
            if self.second % 60 == 0:
                self.take(bar("1m", prices(self.second), START_TS + self.second * 1000))
            self.take(Beat(self.second + 1, {SYMBOL: age_ms}))
            self.second += 1

    def signalled(self) -> None:
        """Let a signal be answered, on the last touch."""
        ts = START_TS + self.second * 1000
        event = Event(ts, "s", "strategy_role", RUN_ID, "0" * 64, signal())
        mid = self.clerk.rows.windows.by_symbol[SYMBOL].mid
        assert mid is not None
        answer = Answer(Question(1, SYMBOL, self._seq, event.id, event.id), None)
        self.clerk.patterns.open(signal(), event, answer, mid)

    def outcomes(self) -> list[Any]:
        """Return the outcomes of all patterns, those of open ones as at the end of a run."""
        self.clerk.patterns.end(START_TS)
        paths = sorted(self.root.rglob("patterns/*/*.jsonl"))
        lines = [line for path in paths for line in path.read_bytes().splitlines(keepends=True)]
        return [json.loads(decode_line(line)[1])["outcome"] for line in lines]


@pytest.fixture
def night(tmp_path: Path) -> Night:
    """Night up to its signal, at a price of 60 000."""
    one = Night(tmp_path / "var" / "ai")
    one.root.mkdir(parents=True)
    one.play(SIGNAL_S + 1, lambda second: 60_000.0)
    one.second = SIGNAL_S
    one.signalled()
    one.second += 1
    return one


@pytest.mark.row("N-21")
def test_pattern_ends_with_its_horizon_and_shows_the_move_between_two_bars(night: Night) -> None:
    """A spike that no bar closes on is in the pattern; a fall after the horizon is not."""

    def prices(second: int) -> float:
        spike, fall = second == 30, second > SIGNAL_S + HORIZON_S
        return 60_300.0 if spike else 59_000.0 if fall else 60_000.0

    night.play(180, prices)

    assert night.outcomes() == [
        {"after_ms": 60_000, "return_bps": "0.0000", "high_bps": "50.0000", "low_bps": "0.0000"}
    ]


@pytest.mark.parametrize(
    ("stream", "is_known"), [("trade", False), ("bookTicker", False), ("depth", True)]
)
def test_pattern_across_a_gap_has_no_outcome(night: Night, stream: str, is_known: bool) -> None:
    """Prices within a gap are unknown; without a book the touch goes on."""
    night.play(30, lambda second: 60_000.0)
    night.take(Gap(SYMBOL, stream, START_TS + 25_000, START_TS + 30_000, "disconnect"))
    night.play(90, lambda second: 60_000.0)

    (outcome,) = night.outcomes()
    assert (outcome is not None) == is_known


def test_pattern_is_not_completed_by_a_stale_touch(night: Night) -> None:
    """A lost stream says so only once it is back; until then no mid is taken."""
    night.play(30, lambda second: 60_000.0)
    night.play(90, lambda second: 60_000.0, age_ms=60_000)
    night.take(Gap(SYMBOL, "bookTicker", START_TS + 30_000, START_TS + 90_000, "disconnect"))
    night.play(100, lambda second: 61_000.0)

    assert night.outcomes() == [None]
