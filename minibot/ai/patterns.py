"""Patterns: the market before each signal, the AI's answer, and the move that followed.

Collected in `var/ai/patterns/<run_id>/`, one file an hour (`line_files.py`), written atomically,
each line in the line format of the queues. They are material for people and for later features, not
an input of any program; a crash loses those that are open and the lines since the last write.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from minibot.ai.drafts import Answer
from minibot.ai.line_files import LineFiles
from minibot.ai.vector import FEATURES_VERSION
from minibot.events.model import Event, Signal
from minibot.kernel import canonical
from minibot.kernel.line import encode_line

OPEN_MAX: Final = 1_000
_BPS: Final = 10_000.0


@dataclass(slots=True)
class _Open:
    """A signal whose horizon has not passed yet."""

    record: dict[str, Any]
    symbol: str
    until_ts: int
    mid: float
    high: float
    low: float


class Patterns:
    """Collector of one run's patterns.

    Args:
        ai_root: The folder `var/ai`.
        run_id: The run.
        horizon_ms: How long the move after a signal is watched, in market time.

    Attributes:
        lost: Number of signals without a pattern: not asked about, not answered, or too many open.
        files: The files that are written.
    """

    def __init__(self, ai_root: Path, run_id: str, horizon_ms: int) -> None:
        self.lost = 0
        self.files = LineFiles(ai_root, ai_root / "patterns" / run_id, horizon_ms)
        self._run_id = run_id
        self._horizon_ms = horizon_ms
        self._open: deque[_Open] = deque()

    def open(self, signal: Signal, event: Event, answer: Answer, mid: float) -> None:
        """Begin a pattern: a signal, and the worker's answer to it."""
        if len(self._open) >= OPEN_MAX:
            self.lost += 1
            return
        advice = answer.recommendation
        record: dict[str, Any] = {
            "schema": "minibot.ai_pattern",
            "v": 1,
            "run_id": self._run_id,
            "signal_id": event.id,
            "ts": event.ts,
            "tick_seq": event.tick_seq,
            "window_seq": answer.question.tick_seq,
            "symbol": signal.symbol,
            "side": signal.side,
            "score": signal.score,
            "confidence": signal.confidence,
            "reason_code": signal.reason_code,
            "features_version": FEATURES_VERSION,
            "features": list(answer.features),
            "recommendation": None if advice is None else advice.to_json(),
        }
        until = event.ts + self._horizon_ms
        self._open.append(_Open(record, signal.symbol, until, mid, mid, mid))

    def take_mids(self, mids: Mapping[str, float], ts: int) -> None:
        """Take the mids of some symbols at a time; patterns whose horizon has passed are complete.

        Once a market second, so that highs and lows between two bars count and a pattern ends with
        its horizon.
        """
        still: deque[_Open] = deque()
        for pattern in self._open:
            mid = mids.get(pattern.symbol)
            if mid is not None:
                pattern.high, pattern.low = max(pattern.high, mid), min(pattern.low, mid)
                if ts >= pattern.until_ts:
                    self._complete(pattern, ts, mid)
                    continue
            still.append(pattern)
        self._open = still

    def break_off(self, symbol: str) -> None:
        """Write the open patterns of a symbol without an outcome: prices in a gap are unknown."""
        still: deque[_Open] = deque()
        for pattern in self._open:
            if pattern.symbol == symbol:
                self._give_up(pattern)
            else:
                still.append(pattern)
        self._open = still

    def _complete(self, pattern: _Open, ts: int, mid: float) -> None:
        record = {
            **pattern.record,
            "outcome": {
                "after_ms": ts - pattern.record["ts"],
                "return_bps": _bps_text(mid, pattern.mid),
                "high_bps": _bps_text(pattern.high, pattern.mid),
                "low_bps": _bps_text(pattern.low, pattern.mid),
            },
        }
        self.files.add(encode_line(canonical.encode(record)))

    def end(self, ts: int) -> None:
        """Write the complete patterns and, marked by a null outcome, the open ones."""
        for pattern in self._open:
            self._give_up(pattern)
        self._open.clear()
        self.files.write(ts)

    def _give_up(self, pattern: _Open) -> None:
        record = {**pattern.record, "outcome": None}
        self.files.add(encode_line(canonical.encode(record)))


def _bps_text(value: float, start: float) -> str:
    """Return the distance of a value from the start, in bps with four places."""
    return f"{(value - start) / start * _BPS:.4f}"
