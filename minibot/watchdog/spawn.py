"""Start of processes such that the terminal's signals reach only the launcher.

On Windows a role has no console at all: with one it would get the console's end, and be
ended, before the launcher could end the run.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

if sys.platform == "win32":
    _OF_TABLE: Final = subprocess.CREATE_NEW_PROCESS_GROUP
    _OF_ROLE: Final = _OF_TABLE | subprocess.DETACHED_PROCESS
else:
    _OF_TABLE: Final = 0
    _OF_ROLE: Final = 0


def spawn_role(
    argv: Sequence[str], environ: Mapping[str, str], error_fd: int
) -> subprocess.Popen[bytes]:
    """Start a role with pipes for control and heartbeat, apart from the launcher's terminal."""
    return subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=error_fd,
        env=environ,
        creationflags=_OF_ROLE,
        start_new_session=sys.platform != "win32",
    )


def spawn_table(argv: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the live table on the operator's terminal.

    Elsewhere than on Windows it stays in the launcher's process group, as a background group could
    not write to some terminals; it ignores SIGINT itself.
    """
    return subprocess.Popen(argv, stdin=subprocess.PIPE, env=environ, creationflags=_OF_TABLE)
