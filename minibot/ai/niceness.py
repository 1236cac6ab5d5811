"""Niceness of the AI's processes: every other process has the CPU first, of whatever session.

Linux with autogroup, the default of most distributions, gives each session an equal share of the
CPU and heeds the niceness of a process, or its idle policy, within its session only. All processes
of a run are sessions of their own; so the niceness of the session has to be set as well.

Source:
    sched(7), "The autogroup feature".
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Final

_AUTOGROUP: Final = "/proc/self/autogroup"


def be_nice(niceness: int) -> None:
    """Lower the priority of this process, and of its session if it leads one.

    A kernel without autogroup has no such session. Raises nothing where a system has no niceness.

    Args:
        niceness: From 0 to 19; added to that of the process, and set for the session.
    """
    if sys.platform == "win32":
        return
    os.nice(niceness)
    # A session that somebody else leads has other processes, such as those of a terminal.
    if sys.platform == "linux" and os.getsid(0) == os.getpid():
        with suppress(OSError), open(_AUTOGROUP, "wb") as group:
            group.write(b"%d" % niceness)
