"""An explanation: events from the requested one back to its root, with places and reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from minibot.events.model import Event, JsonObject
from minibot.replay.explain.lines import clock_ms, event_text
from minibot.replay.explain.trips import TradeStory


@dataclass(frozen=True, slots=True)
class Step:
    """One event of the explanation: its place, its content, and notes that give the reasons."""

    queue: str
    seq: int
    event: Event
    notes: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The place of the event, as `queue:seq`."""
        return f"{self.queue}:{self.seq}"

    def to_json(self) -> JsonObject:
        """Return the step with its whole event."""
        return {"place": self.place, "event": self.event.to_json(), "notes": list(self.notes)}


@dataclass(slots=True)
class Explanation:
    """The events from the requested one back to its root.

    `missing` names causes not found; `trades` are the trades that its fills belong to.
    """

    subject: str
    steps: list[Step] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    trades: list[TradeStory] = field(default_factory=list)

    def to_json(self) -> JsonObject:
        """Return the explanation as one JSON object."""
        return {
            "subject": self.subject,
            "steps": [step.to_json() for step in self.steps],
            "missing": self.missing,
            "notes": self.notes,
            "trades": [story.to_json() for story in self.trades],
        }


def explanation_lines(
    explanation: Explanation, clock: Callable[[int], str] = clock_ms
) -> list[str]:
    """Return an explanation for people: effect first, then cause by cause, each with its place.

    The trades are left out: `report.headline` puts each into one sentence.

    Args:
        explanation: The explanation.
        clock: Formats a time.
    """
    lines = [explanation.subject]
    for step in explanation.steps:
        lines.append("")
        lines.append(f"{step.place}  {clock(step.event.ts)}  {step.event.type}")
        lines.append(f"    {event_text(step.event)}")
        lines.append(f"    id {step.event.id}")
        lines += [f"      {note}" for note in step.notes]
    lines += [f"\nnot found: cause {cause_id}" for cause_id in explanation.missing]
    lines += [f"\n{note}" for note in explanation.notes]
    return lines
