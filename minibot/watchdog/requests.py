"""Requests of operators: files that name their run, taken by the launcher alone.

A verb leaves one atomic file (`runtime.request_file`); the launcher journals it as a `control`
event. A request for another run is set aside. No request enlarges a limit.
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
from minibot.kernel.files import read_hashed

END = "end"
CONTROL_KINDS: dict[str, type[Payload]] = {
    cls.TYPE: cls for cls in (Halt, Resume, ExitPosition, LockSymbol, ModelActive)
}


def take_requests(folder: Path, run_id: str) -> Iterator[JsonObject]:
    """Yield the requests for this run, oldest first; set damaged ones and others aside.

    Raises:
        RunStop: A name ends in `.json` and is no regular file.
        OSError: A file disappears meanwhile, or the system refuses.
    """
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
