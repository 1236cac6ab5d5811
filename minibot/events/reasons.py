"""Every reason code as a constant, and REASONS: the closed list.

An unknown code fails the schemas, whose enums `events.schemas` generates from this list. Each
code is a constant here and a literal nowhere else: those that the kernel raises come from
`kernel.codes`. The texts of all are in `stop_codes` and `business_codes`, from which
`docs/reference/reasons.md` is generated.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from minibot.events.business_codes import *  # noqa: F403  one name space for all codes
from minibot.events.reason import BUSINESS_GROUP as BUSINESS_GROUP
from minibot.events.reason import END_GROUP as END_GROUP
from minibot.events.reason import FEED_GROUP as FEED_GROUP
from minibot.events.reason import GROUPS as GROUPS
from minibot.events.reason import STOP_GROUP as STOP_GROUP
from minibot.events.reason import Reason as Reason
from minibot.events.reason import defined
from minibot.events.stop_codes import *  # noqa: F403  the same
from minibot.kernel.codes import *  # noqa: F403  the same

REASONS: Final[Mapping[str, Reason]] = MappingProxyType(defined())
"""Code to Reason, in the order of definition."""


def codes(*groups: str) -> tuple[str, ...]:
    """Return the codes of the given groups (without any, all codes), sorted."""
    wanted = groups or GROUPS
    return tuple(sorted(code for code, reason in REASONS.items() if reason.group in wanted))
