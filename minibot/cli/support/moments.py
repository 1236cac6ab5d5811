"""Moments on the command line: a date, or a date and a time, UTC unless it names a zone."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo


def moment_of(text: str, zone: tzinfo = UTC) -> datetime | None:
    """Return the moment that an ISO text names, in UTC; None if it names none.

    A text that names no zone is a time of `zone`.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):  # The latter for a zone's offset beyond year 1 or 9999.
        return None


def moment_ms(text: str, zone: tzinfo = UTC) -> int | None:
    """Return the moment that an ISO text names, in Unix ms; None if it names none."""
    moment = moment_of(text, zone)
    return None if moment is None else round(moment.timestamp() * 1000)
