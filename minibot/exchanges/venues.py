"""The venues that a profile may name: the only module that knows them by name.

A venue is a package next to this module, and a line here. The key `venue` of a profile names it,
and its section bears the same name (`runtime.configuration.config_sections`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from minibot.exchanges.base import Venue
from minibot.exchanges.binance.venue import BINANCE

if TYPE_CHECKING:
    from minibot.exchanges.binance.first_contact import FirstContact

VENUES: Final = {venue.name: venue for venue in (BINANCE,)}
SIMULATED: Final = BINANCE
"""The venue whose protocol the simulator speaks, and whose files sources read."""


def first_contact(venue: Venue) -> Callable[..., FirstContact] | None:
    """Return the class that compares a venue's host with its documentation; None without one."""
    if venue is not BINANCE:
        return None
    # Loaded only when needed: it brings the checks of tapes.
    from minibot.exchanges.binance.first_contact import FirstContact

    return FirstContact
