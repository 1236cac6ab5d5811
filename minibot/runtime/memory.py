"""Memory ceiling of a role: no allocation takes it near twice what its profile allows.

The launcher ends a role that exceeds `watchdog.rss_mb_max`, some 50 ms later. The system refuses an
allocation of more than that at once: it fails, and with it the role.
"""

from __future__ import annotations

import sys

MIB = 1024 * 1024
# Less than twice the limit, but above it by what a healthy process reserves besides: memory that
# threads and allocators have requested and not touched.
CEILING_PERCENT = 175
SPARE_MB = 256


def ceiling_bytes(rss_mb_max: int) -> int:
    """Return how much private memory a role may allocate whose limit is `rss_mb_max`."""
    return max(rss_mb_max * CEILING_PERCENT // 100, rss_mb_max + SPARE_MB) * MIB


if sys.platform == "win32":

    def limit_memory(rss_mb_max: int) -> None:
        """Leave the limit to the launcher: only a job of its own could limit a process here."""

else:
    import resource

    def limit_memory(rss_mb_max: int) -> None:
        """Keep this process's private memory below the ceiling; children may set other limits."""
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        soft = ceiling_bytes(rss_mb_max)
        if hard != resource.RLIM_INFINITY:
            soft = min(soft, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
