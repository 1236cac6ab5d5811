"""Memory ceiling of a role, above the limit at which the launcher ends it.

The launcher ends a role whose resident memory exceeds `watchdog.rss_mb_max`, some 50 ms later. The
ceiling is for those 50 ms: an allocation above it fails, and the role crashes. Windows has no
ceiling.
"""

from __future__ import annotations

import sys

MIB = 1024 * 1024
# The ceiling is whichever is more: this share of the limit, or the limit and these MB. So it leaves
# room for memory that threads and allocators of a healthy process have requested and not touched.
CEILING_PERCENT = 175
SPARE_MB = 256


def ceiling_bytes(rss_mb_max: int) -> int:
    """Return how much private memory a role may allocate whose limit is `rss_mb_max`."""
    return max(rss_mb_max * CEILING_PERCENT // 100, rss_mb_max + SPARE_MB) * MIB


if sys.platform == "win32":

    def limit_memory(rss_mb_max: int) -> None:
        """Leave the limit to the launcher: here only a separate job could limit a process."""

else:
    import resource

    def limit_memory(rss_mb_max: int) -> None:
        """Keep this process's private memory below the ceiling; children may set other limits."""
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        soft = ceiling_bytes(rss_mb_max)
        if hard != resource.RLIM_INFINITY:
            soft = min(soft, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
