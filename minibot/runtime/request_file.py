"""Request for the launcher of a run: one file in `var/requests/`, journaled into `control`."""

from __future__ import annotations

import os
from pathlib import Path

from minibot.kernel.files import write_hashed
from minibot.runtime.clock import machine_ns


def leave_request(folder: Path, run_id: str, kind: str, **fields: object) -> Path:
    """Write one request for a run and return its file."""
    path = folder / f"{kind}-{os.getpid()}-{machine_ns()}.json"
    write_hashed(path, {"run_id": run_id, "kind": kind, **fields})
    return path
