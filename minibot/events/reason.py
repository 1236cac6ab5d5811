"""Reason code as a class; the codes themselves are in `stop_codes` and `business_codes`."""

from __future__ import annotations

from typing import Final, NamedTuple

STOP_GROUP: Final = "stop"
END_GROUP: Final = "end"
BUSINESS_GROUP: Final = "business"
FEED_GROUP: Final = "feed"
GROUPS: Final = (STOP_GROUP, END_GROUP, BUSINESS_GROUP, FEED_GROUP)


class Reason(NamedTuple):
    """One reason code with one sentence of meaning and one of remedy."""

    code: str
    group: str
    meaning: str
    remedy: str


_DEFINED: dict[str, Reason] = {}


def define(group: str, code: str, meaning: str, remedy: str) -> str:
    """Enter a code into the closed list and return it.

    Raises:
        ValueError: The code is defined already or the group is unknown: our own bug, at import.
    """
    if code in _DEFINED or group not in GROUPS:
        raise ValueError(f"reason code {code}: defined twice, or unknown group {group}")
    _DEFINED[code] = Reason(code, group, meaning, remedy)
    return code


def defined() -> dict[str, Reason]:
    """Return every code defined so far, in the order of definition."""
    return dict(_DEFINED)
