"""Findings of a check, counted by kind, the first ones with their place."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

DAMAGED: Final = "damaged"
FRAME: Final = "frame"
ORDER: Final = "order"
GAP: Final = "gap"
REPEATED: Final = "repeated"
TRADES: Final = "trades_missing"
BOOK: Final = "book"
TOP: Final = "top"
CHECKSUM: Final = "checksum"
SUM: Final = "sha256"

# Findings of each kind that are kept with their place; all are counted.
SHOWN_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class TapeFinding:
    """One contradiction or damage in a tape.

    Attributes:
        kind: One of the constants above.
        line: Number of the line, from 1; 0 where it has none.
        at_ns: Receive time of that line.
        symbol: Symbol concerned, "" for all.
        detail: Text for the operator.
    """

    kind: str
    line: int
    at_ns: int
    symbol: str
    detail: str


@dataclass(slots=True)
class Findings:
    """All findings of one check."""

    counts: Counter[str] = field(default_factory=Counter)
    shown: list[TapeFinding] = field(default_factory=list)

    def add(self, finding: TapeFinding) -> None:
        """Count a finding, and keep it if it is among the first ones of its kind."""
        self.counts[finding.kind] += 1
        if self.counts[finding.kind] <= SHOWN_MAX:
            self.shown.append(finding)

    def to_json(self) -> dict[str, Any]:
        """Return counts by kind, and the findings that were kept."""
        return {
            "wrong": dict(sorted(self.counts.items())),
            "findings": [
                {name: getattr(each, name) for name in TapeFinding.__slots__} for each in self.shown
            ],
        }
