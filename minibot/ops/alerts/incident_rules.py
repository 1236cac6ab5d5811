"""Rules for incidents: the kinds that become alerts, their level, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from minibot.events.model import Event, Incident
from minibot.events.reasons import (
    POISON_EVENT,
    RATE_LIMITED,
    ROLE_MEMORY,
    SEQUENCE_GAP,
)
from minibot.market.notices import (
    BANNED,
    CLOCK_SKEW,
    FILTER_UNKNOWN,
    OVERLOADED,
    PRICE_DISAGREES,
    REST_ERRORS,
    SYMBOL_DELISTED,
    SYMBOL_HALTED,
    UNIVERSE_UNRESOLVED,
)
from minibot.ops.alerts.alert import CRITICAL, INFO, WARNING, Alert


class IncidentRule(NamedTuple):
    """Rule of one kind of incident: level of the alert, its title, and what to do."""

    level: str
    title: str
    remedy: str = "minibot health --detail shows how the run is now."


INCIDENT_RULES: Final[Mapping[str, IncidentRule]] = {
    "ROLE_RESTARTED": IncidentRule(WARNING, "a role was restarted"),
    ROLE_MEMORY: IncidentRule(WARNING, "a role used too much memory"),
    "AI_OFF": IncidentRule(WARNING, "the AI is off", "The night goes on without it."),
    "AI_DEGRADED": IncidentRule(INFO, "the AI has trouble"),
    "OPS_ENDED": IncidentRule(WARNING, "page, alerts and backups were away"),
    "OPS_OFF": IncidentRule(CRITICAL, "page, alerts and backups are off", "See logs/ops.err.log."),
    "EXCHANGE_PROCESS_ENDED": IncidentRule(WARNING, "the embedded exchange ended"),
    "PAUSED": IncidentRule(
        WARNING, "the machine stood still", "Look for suspend, a closed lid or a full disk."
    ),
    "QUEUE_TAIL_REPAIRED": IncidentRule(WARNING, "the end of a queue was repaired"),
    "ROTATION_POSTPONED": IncidentRule(
        WARNING, "another program holds a queue", "Find it: a virus scanner or a backup program."
    ),
    POISON_EVENT: IncidentRule(WARNING, "an event could not be used"),
    BANNED: IncidentRule(
        CRITICAL, "the exchange banned this machine", "Stop the other programs here that call it."
    ),
    RATE_LIMITED: IncidentRule(WARNING, "the exchange asks for fewer requests"),
    SEQUENCE_GAP: IncidentRule(INFO, "market data have a gap"),
    REST_ERRORS: IncidentRule(INFO, "requests to the exchange fail"),
    OVERLOADED: IncidentRule(WARNING, "market data arrive faster than they are processed"),
    CLOCK_SKEW: IncidentRule(WARNING, "this machine's clock is off", "Set the clock."),
    PRICE_DISAGREES: IncidentRule(WARNING, "prices of the exchange disagree"),
    SYMBOL_HALTED: IncidentRule(WARNING, "the exchange halted a symbol"),
    SYMBOL_DELISTED: IncidentRule(WARNING, "the exchange took a symbol off its list"),
    FILTER_UNKNOWN: IncidentRule(WARNING, "the exchange has a rule that minibot does not know"),
    UNIVERSE_UNRESOLVED: IncidentRule(WARNING, "the universe could not be resolved"),
}
"""Kinds of incidents that become alerts; all others stay only in the record."""


def incident_alert(event: Event) -> Alert | None:
    """Return the alert of an incident; None if `INCIDENT_RULES` does not have its kind.

    None also for an event that is not an incident.
    """
    payload = event.payload
    rule = INCIDENT_RULES.get(payload.kind) if isinstance(payload, Incident) else None
    if rule is None or not isinstance(payload, Incident):
        return None
    words = f"{payload.component}: {payload.detail}"
    return Alert.of(
        event.run_id,
        payload.kind,
        event.id,
        rule.level,
        f"minibot {event.run_id}: {rule.title}",
        f"{words}\n{rule.remedy}",
    )
