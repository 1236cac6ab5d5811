"""Inherited environment of a sandboxed process: allow lists of variables and descriptors.

The clerk starts the process with exactly these (in a virtual environment on Windows with one
variable more, which Python itself removes); the process checks them and reports its findings, so
that both sides would notice a leak.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final

# UTF-8, one thread for each native library, one arena of memory; no variable of the user.
_FIXED: Final = {
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
}
# Without these Windows cannot load its own libraries.
_WINDOWS_INHERITED: Final = ("SYSTEMROOT", "WINDIR")
_ALLOWED: Final = frozenset({*_FIXED, *_WINDOWS_INHERITED})
# Set by the system itself inside a process, not inherited: C library, macOS, Windows, Wine.
_SELF_MADE: Final = frozenset({"LC_CTYPE", "__CF_USER_TEXT_ENCODING", "SYSTEMDRIVE"})
_WINE: Final = "WINE"

STANDARD_STREAMS: Final = (0, 1, 2)


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a sandboxed process: fixed values, plus those Windows needs."""
    scrubbed = dict(_FIXED)
    if sys.platform == "win32":
        scrubbed.update({k: v for k, v in environ.items() if k.upper() in _WINDOWS_INHERITED})
    return scrubbed


def foreign_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the names of variables that are not on the allow list, sorted."""
    return sorted(name for name in environ if not _is_allowed(name.upper()))


def _is_allowed(name: str) -> bool:
    if name in _ALLOWED or name in _SELF_MADE:
        return True
    return sys.platform == "win32" and name.startswith(_WINE)


def open_descriptors() -> list[int] | None:
    """Return the open descriptors of this process; None where the system does not list them."""
    if sys.platform != "linux":
        return None
    listed = [int(name) for name in os.listdir("/proc/self/fd")]
    return sorted(descriptor for descriptor in listed if _is_open(descriptor))


def _is_open(descriptor: int) -> bool:
    """Return False for the descriptor that was open only for the listing itself."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
