"""Request for the launcher of a run: one file in `var/requests/`, journaled into `control`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from minibot.kernel.files import ensure_below, unsafe, write_hashed
from minibot.runtime.clock import machine_ns


def leave_request(folder: Path, run_id: str, kind: str, **fields: object) -> Path:
    """Write one request for a run and return its file.

    Raises:
        RunStop: The disk refuses; or, except on Windows, PERMISSIONS_UNSAFE: the folder is another
            user's, whose launcher could not read the file.
    """
    if sys.platform != "win32" and folder.is_dir():
        owner, user = folder.stat().st_uid, os.geteuid()
        if owner != user:
            raise unsafe(
                folder, f"owned by user {owner}, not by {user}: give the order as that user"
            )
    ensure_below(folder.parent, folder)
    path = folder / f"{kind}-{os.getpid()}-{machine_ns()}.json"
    write_hashed(path, {"run_id": run_id, "kind": kind, **fields})
    return path
