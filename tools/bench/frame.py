"""Frame of every benchmark: measures with samples, the figure each must reach, one report."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Limit:
    """Limits of a measure: the figure that it must reach, and its goal.

    Attributes:
        must: Figure whose missing is a failure.
        goal: Figure to aim at.
        is_most: True if the value may be at most these figures; False for at least.
    """

    must: float
    goal: float
    is_most: bool = False

    def verdict(self, value: float) -> str:
        """Return `goal met`, `must met` or `NOT MET`."""
        if self._reaches(value, self.goal):
            return "goal met"
        return "must met" if self._reaches(value, self.must) else "NOT MET"

    def _reaches(self, value: float, wanted: float) -> bool:
        return value <= wanted if self.is_most else value >= wanted


@dataclass(frozen=True, slots=True)
class Measure:
    """One measured figure.

    Attributes:
        id: Row of the issue's table.
        name: What was measured.
        value: Judged figure; None where it could not be measured.
        unit: Unit of the figure.
        limit: Limits of the figure; None where it only informs.
        samples: Every sample by name: of the figure itself, and of its parts.
        peers: Median of each peer, in `peer_unit`.
        peer_unit: Unit of the peers' figures.
        notes: Remarks for the reader: a peer that is missing, a scaled figure.
    """

    id: str
    name: str
    value: float | None
    unit: str
    limit: Limit | None = None
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)
    peers: Mapping[str, float] = field(default_factory=dict)
    peer_unit: str = ""
    notes: Sequence[str] = ()

    @property
    def verdict(self) -> str:
        """Verdict: `goal met`, `must met`, `NOT MET`, `not measured`, or empty without a limit."""
        if self.value is None:
            return "not measured"
        return "" if self.limit is None else self.limit.verdict(self.value)

    def to_json(self) -> Json:
        """Return the measure in the form of the JSON report."""
        return {
            "id": self.id,
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "must": None if self.limit is None else self.limit.must,
            "goal": None if self.limit is None else self.limit.goal,
            "verdict": self.verdict,
            "samples": {name: list(values) for name, values in self.samples.items()},
            "spread": {name: list(spread(values)) for name, values in self.samples.items()},
            "peers": dict(self.peers),
            "peer_unit": self.peer_unit,
            "notes": list(self.notes),
        }


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the lowest and the highest value; zeros without values."""
    return (min(values), max(values)) if values else (0.0, 0.0)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def figure(value: float) -> str:
    """Return a figure with three significant digits or thousands."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def lines(report: Mapping[str, object], measures: Sequence[Measure]) -> list[str]:
    """Return the report for people."""
    out = [f"{name:<10}{value}" for name, value in report.items()]
    out.append("")
    for measure in measures:
        out += _lines_of(measure)
    judged = [measure for measure in measures if measure.limit is not None]
    missed = sorted({measure.id for measure in judged if measure.verdict == "NOT MET"})
    absent = sorted({measure.id for measure in judged if measure.verdict == "not measured"})
    out.append("")
    met = sum(measure.verdict not in ("NOT MET", "not measured") for measure in judged)
    verdict = f"{len(judged)} measures: {met} met"
    verdict += f", not met: {' '.join(missed)}" if missed else ", none missed"
    out.append(verdict + (f", not measured: {' '.join(absent)}" if absent else ""))
    return out


def _lines_of(measure: Measure) -> list[str]:
    value = "-" if measure.value is None else f"{figure(measure.value)} {measure.unit}".strip()
    asked = ""
    if measure.limit is not None:
        word = "at most" if measure.limit.is_most else "at least"
        asked = f"must {word} {figure(measure.limit.must)}, goal {figure(measure.limit.goal)}"
    out = [f"{measure.id:<4}{measure.name:<58}{value:>16}   {asked:<36}{measure.verdict}".rstrip()]
    for name, values in measure.samples.items():
        if len(values) > 1:
            low, high = spread(values)
            middle = figure(median(values))
            text = f"{middle} ({figure(low)}-{figure(high)}), {len(values)} samples"
            out.append(f"      {name:<34}{text}")
        elif values:
            out.append(f"      {name:<34}{figure(values[0])}")
    out += [f"      {note}" for note in measure.notes]
    return out
