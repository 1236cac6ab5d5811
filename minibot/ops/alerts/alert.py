"""Alert: one message for the operator, named by the event that caused it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from minibot.events.model import JsonObject
from minibot.runtime.clock import wall_ms
from minibot.runtime.command_place import Place

INFO: Final = "info"
WARNING: Final = "warning"
CRITICAL: Final = "critical"
LEVELS: Final = (INFO, WARNING, CRITICAL)
"""Levels of alerts, the least first; `alerts.level_min` names one."""

TITLE_MAX: Final = 200
TEXT_MAX: Final = 3000
"""Longest title and text in characters; Telegram takes 4096 of both together."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Alert of one event.

    Attributes:
        id: `run_id/kind/event id`; a second alert of an id is dropped.
        run_id: The run; empty for an alert of no run, as one of `minibot alert test`.
        kind: The rule's name, such as `STOP` or `data_age`.
        level: One of `LEVELS`.
        title: One line.
        text: Further lines.
        is_urgent: True overtakes all other alerts and waits for no rate limit, and for a pause only
            once it has failed itself; `alerts.level_min` holds it back all the same.
        is_always: True sends it even below `alerts.level_min`.
        made_ms: Time of making, Unix ms of the wall clock; no order of sending depends on it.
    """

    id: str
    run_id: str
    kind: str
    level: str
    title: str
    text: str
    is_urgent: bool = False
    is_always: bool = False
    made_ms: int = 0

    @classmethod
    def of(
        cls,
        run_id: str,
        kind: str,
        event_id: str,
        level: str,
        title: str,
        text: str,
        *,
        is_urgent: bool = False,
        is_always: bool = False,
    ) -> Alert:
        """Return the alert of an event, made now."""
        return cls(
            f"{run_id}/{kind}/{event_id}",
            run_id,
            kind,
            level,
            title[:TITLE_MAX],
            text[:TEXT_MAX],
            is_urgent,
            is_always,
            wall_ms(),
        )

    def placed(self, place: Place) -> Alert:
        """Return the alert with a text whose commands name a place."""
        return replace(self, text=place.named_in(self.text))

    def passes(self, level_min: str) -> bool:
        """Return whether the alert is sent under a least level; `is_always` passes any."""
        return self.is_always or LEVELS.index(self.level) >= LEVELS.index(level_min)

    def to_json(self) -> JsonObject:
        """Return the alert as the outbox and a local command get it."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, fields: JsonObject) -> Alert:
        """Return the alert of a line of the outbox.

        Raises:
            KeyError or TypeError: The line holds no alert.
        """
        return cls(**{name: fields[name] for name in cls.__slots__})
