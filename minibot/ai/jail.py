"""Sandbox of the AI: closed after the imports, before the first byte of data or of a model.

One call for every system; the layers differ and are reported as they are (`isolation.py`). The
sandbox can only be closed, never opened: all of it holds until the process ends.
"""

from __future__ import annotations

import sys

from minibot.ai.isolation import OFF, Isolation, Layer

if sys.platform == "linux":
    from minibot.ai.jail_linux import close_linux
elif sys.platform == "win32":
    from minibot.ai.jail_windows import close_windows


def close_jail(memory_bytes_max: int) -> Isolation:
    """Close the sandbox around this process and return its isolation.

    Args:
        memory_bytes_max: Most memory that this process may hold.
    """
    if sys.platform == "linux":
        return close_linux(memory_bytes_max)
    if sys.platform == "win32":
        return close_windows(memory_bytes_max)
    return Isolation(OFF, (Layer("system", False, f"no jail is written for {sys.platform}"),))
