"""What a check has to say: findings of a kind, counted, the first ones with their place."""

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

# Of each kind so many are told with their place; all are counted.
TOLD_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a tape.

    Attributes:
        kind: One of the constants above.
        line: Number of the line, from 1; 0 where it has none.
        at_ns: Receive time of that line.
        symbol: Whose data it is, "" for all.
        detail: For a person.
    """

    kind: str
    line: int
    at_ns: int
    symbol: str
    detail: str


@dataclass(slots=True)
class Findings:
    """All of one check."""

    counts: Counter[str] = field(default_factory=Counter)
    told: list[Finding] = field(default_factory=list)

    def add(self, finding: Finding) -> None:
        """Count a finding and keep the first ones of its kind."""
        self.counts[finding.kind] += 1
        if self.counts[finding.kind] <= TOLD_MAX:
            self.told.append(finding)

    def to_json(self) -> dict[str, Any]:
        """Return counts by kind, and the findings that are told."""
        return {
            "wrong": dict(sorted(self.counts.items())),
            "findings": [
                {name: getattr(each, name) for name in Finding.__slots__} for each in self.told
            ],
        }
