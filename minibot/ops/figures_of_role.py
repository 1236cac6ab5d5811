"""Figures that a role reports: the facts in its last heartbeat, as a status holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minibot.events.model import JsonObject


def facts_of(status: Mapping[str, Any], role: str) -> JsonObject:
    """Return the facts in a role's last heartbeat; empty before the first."""
    heartbeat = status["roles"].get(role, {}).get("heartbeat", {})
    found: JsonObject = heartbeat.get("facts", {})
    return found
