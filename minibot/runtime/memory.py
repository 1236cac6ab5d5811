"""The ceiling of a role's memory: no allocation takes it near twice what its profile allows.

The launcher ends a role that passes `watchdog.rss_mb_max`, some fifty ms later. What asks for more
than that at once, the system refuses: the role's own allocation fails, and so the role.
"""

from __future__ import annotations

import sys

MIB = 1024 * 1024
# Less than twice the limit, and above it by what a process that is well has besides: the room that
# threads and allocators have asked for and not touched.
CEILING_PERCENT = 175
SPARE_MB = 256


def ceiling_bytes(rss_mb_max: int) -> int:
    """Return how much private memory a role may ask for whose limit is so many MB."""
    return max(rss_mb_max * CEILING_PERCENT // 100, rss_mb_max + SPARE_MB) * MIB


if sys.platform == "win32":

    def limit_memory(rss_mb_max: int) -> None:
        """Leave it to the launcher: a process cannot limit itself here without a job of its own."""

else:
    import resource

    def limit_memory(rss_mb_max: int) -> None:
        """Keep this process's private memory below the ceiling; children may set limits anew."""
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        soft = ceiling_bytes(rss_mb_max)
        if hard != resource.RLIM_INFINITY:
            soft = min(soft, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
