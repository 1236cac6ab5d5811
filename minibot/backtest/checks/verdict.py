"""Verdict and findings of a check for look-ahead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from minibot.backtest.checks.file_access_check import Read
from minibot.events.model import JsonObject

MARKET: Final = "market"
# Default number of moments to try: of decisions, and random ones.
DECISIONS: Final = 24
RANDOM: Final = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """An event at or before a moment that changed with the data after it.

    Attributes:
        ts: The moment, Unix ms.
        kind: The kind of alteration after it.
        where: `market`, or the queue of the event.
        event_ts: The event's own time.
        before, after: The event over the true and over the altered data; empty where it is missing.
    """

    ts: int
    kind: str
    where: str
    event_ts: int
    before: JsonObject
    after: JsonObject

    def to_json(self) -> JsonObject:
        """Return the finding as one JSON object."""
        return {
            "ts": self.ts,
            "altered": self.kind,
            "where": self.where,
            "event_ts": self.event_ts,
            "before": self.before,
            "after": self.after,
        }


@dataclass(slots=True)
class Verdict:
    """Result of a look-ahead check: its extent and its findings.

    Attributes:
        moments: Number of moments tried.
        decisions: Number of moments among them with an event of the cores.
        runs: Number of runs over altered data, without those repeated for a finding.
        differing: Number of runs among them with a changed past.
        findings: First difference of each of the first few differing runs.
        reads: Files that the cores opened on unaltered data.
        modelled: Number of signals decided on modelled ticks inside bars.
        is_cut_alone: True for a recorded run, whose finished events are neither shuffled nor
            replaced.
        feeds: Names of the feeds whose values were not altered.
    """

    moments: int = 0
    decisions: int = 0
    runs: int = 0
    differing: int = 0
    findings: list[Finding] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    modelled: int = 0
    is_cut_alone: bool = False
    feeds: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """True when no past event changed with the future and no core opened a file."""
        return self.differing == 0 and not self.reads


def changed_fields(finding: Finding) -> list[str]:
    """Return one line for each changed field, the event's time and type first.

    A single line says which run has the event if only one has it. A value of which only the JSON
    type changed is written as JSON: `1 became "1"`.
    """
    if not finding.before or not finding.after:
        return [f"{'only' if finding.before else 'not'} in the true run"]
    lines = [
        f"{name}: {finding.before[name]} became {finding.after[name]}"
        for name in ("ts", "type")
        if finding.before[name] != finding.after[name]
    ]
    before, after = finding.before["payload"], finding.after["payload"]
    for name in dict.fromkeys([*before, *after]):
        one, other = before.get(name), after.get(name)
        if as_json(one) != as_json(other):
            if str(one) == str(other):
                one, other = as_json(one), as_json(other)
            lines.append(f"{name}: {one} became {other}")
    return lines or ["the same fields in another order"]


def as_json(value: object) -> str:
    """Return a value as JSON text, in which `True`, `1` and `"1"` differ."""
    return msgspec.json.encode(value).decode()
