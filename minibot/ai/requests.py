"""The one request that the AI may leave for the launcher: `model_active`."""

from __future__ import annotations

import os
from pathlib import Path

from minibot.events.names import AI_ROLE
from minibot.kernel.files import ensure_folder, write_hashed
from minibot.runtime.clock import machine_ns


def request_model_active(
    requests: Path, run_id: str, model_id: str, why: str, *, who: str = AI_ROLE
) -> Path:
    """Write the request for the launcher to journal into `control`, and return its file."""
    path = requests / f"model_active-{os.getpid()}-{machine_ns()}.json"
    ensure_folder(requests)
    write_hashed(
        path,
        {"run_id": run_id, "kind": "model_active", "who": who, "why": why, "model_id": model_id},
    )
    return path
