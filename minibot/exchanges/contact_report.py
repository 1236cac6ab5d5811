"""Report of a first contact: figures, and every difference with its place and count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from minibot.exchanges.shapes import MISSING, RETYPED, UNKNOWN, Difference

OF_FIELDS: Final = frozenset({MISSING, RETYPED, UNKNOWN})
"""Kinds of difference of a field; others, such as a limit, may be of what minibot reads."""


@dataclass(frozen=True, slots=True)
class SeenDifference:
    """A difference, the endpoint or stream where it was seen, and its count."""

    where: str
    difference: Difference
    count: int

    def to_json(self) -> dict[str, Any]:
        """Return the difference for `--json`."""
        one = self.difference
        return {
            "where": self.where,
            "kind": one.kind,
            "path": one.path,
            "expected": one.expected or None,
            "found": one.found or None,
            "count": self.count,
            "hinders": one.hinders,
        }


@dataclass(slots=True)
class Report:
    """Result of a first contact; times in ms, round trips in microseconds."""

    symbols: tuple[str, ...]
    endpoints: list[dict[str, Any]] = field(default_factory=list)
    streams: dict[str, dict[str, Any]] = field(default_factory=dict)
    limits: list[dict[str, Any]] = field(default_factory=list)
    filters: dict[str, list[str]] = field(default_factory=dict)
    books: dict[str, Any] = field(default_factory=dict)
    offsets_ms: list[int] = field(default_factory=list)
    round_trips_us: list[int] = field(default_factory=list)
    delays_ms: list[int] = field(default_factory=list)
    _seen: dict[tuple[str, str, str], tuple[Difference, int]] = field(default_factory=dict)

    def add(self, where: str, difference: Difference) -> None:
        """Note a difference; repeated ones at the same place are counted."""
        key = (where, difference.kind, difference.path)
        first, count = self._seen.get(key, (difference, 0))
        self._seen[key] = (first, count + 1)

    @property
    def differences(self) -> list[SeenDifference]:
        """Return all differences; differences that prevent a night come first."""
        seen = [SeenDifference(key[0], found, count) for key, (found, count) in self._seen.items()]
        return sorted(seen, key=lambda one: not one.difference.hinders)

    @property
    def passed(self) -> bool:
        """Return whether there are no differences."""
        return not self._seen

    @property
    def offset_ms(self) -> int:
        """Return how far the host's clock is ahead of ours, as the median of all samples."""
        return sorted(self.offsets_ms)[len(self.offsets_ms) // 2] if self.offsets_ms else 0


def quantile(values: Sequence[int], percent: int) -> int | None:
    """Return the value below which `percent` per cent of the values lie; None without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else None


def lines_of(report: Report) -> Iterator[str]:
    """Yield one sentence for each difference."""
    for seen in report.differences:
        one = seen.difference
        what = f"{seen.where}: {one.kind} {one.path}"
        if one.expected:
            what += f", expected {one.expected}"
        if one.found:
            what += f", found {one.found}"
        times = f" ({seen.count} times)" if seen.count > 1 else ""
        reading = ", minibot does not read it" if one.kind in OF_FIELDS else ""
        harm = "" if one.hinders else f"; harmless{reading}"
        yield f"{what}{times}{harm}"
