"""Requests of operators: files that name their run, taken by the launcher alone.

A verb leaves one atomic file in `var/requests/`; the launcher journals it as a `control` event.
A request for another run is set aside. No request enlarges a limit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from minibot.events.model import (
    ExitPosition,
    Halt,
    JsonObject,
    LockSymbol,
    ModelActive,
    Payload,
    Resume,
)
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import read_hashed, write_hashed
from minibot.runtime.clock import machine_ns

END = "end"
CONTROL_KINDS: dict[str, type[Payload]] = {
    cls.TYPE: cls for cls in (Halt, Resume, ExitPosition, LockSymbol, ModelActive)
}


def leave_request(folder: Path, run_id: str, kind: str, **fields: object) -> Path:
    """Write one request for a run and return its file."""
    path = folder / f"{kind}-{os.getpid()}-{machine_ns()}.json"
    write_hashed(path, {"run_id": run_id, "kind": kind, **fields})
    return path


def take_requests(folder: Path, run_id: str) -> Iterator[JsonObject]:
    """Yield the requests for this run, oldest first; set others aside."""
    for path in sorted(folder.glob("*.json"), key=lambda item: item.stat().st_mtime_ns):
        try:
            request = read_hashed(path)
        except IntegrityError:
            request = {}
        if request.get("run_id") != run_id:
            os.replace(path, path.with_suffix(".aside"))
            continue
        path.unlink()
        yield request


def control_payload(request: JsonObject) -> Payload | None:
    """Return the `control` payload of a request, or None if it is malformed."""
    cls = CONTROL_KINDS.get(str(request.get("kind")))
    if cls is None:
        return None
    try:
        return cls.from_json(request)
    except KeyError:
        return None
