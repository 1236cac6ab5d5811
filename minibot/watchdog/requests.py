"""Requests of operators: files that name their run, taken by the launcher alone.

A verb leaves one atomic file (`runtime.request_file`); the launcher journals it as a `control`
event. A request for another run is set aside. No request enlarges a limit. `minibot kill` leaves
its reason first and then raises `STOP.flag`, which alone kills: the reason waits for the flag.
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
KILL = "kill"
CONTROL_KINDS: dict[str, type[Payload]] = {
    cls.TYPE: cls for cls in (Halt, Resume, ExitPosition, LockSymbol, ModelActive)
}


def take_requests(folder: Path, run_id: str) -> Iterator[JsonObject]:
    """Yield the requests for this run, oldest first; set damaged ones and others aside.

    The reason of a kill stays where it is, see `take_kill`.

    Raises:
        RunStop: A name ends in `.json` and is no regular file.
        OSError: A file disappears meanwhile, or the system refuses.
    """
    for path, request in _requests(folder, run_id):
        if request.get("kind") != KILL:
            path.unlink()
            yield request


def take_kill(folder: Path, run_id: str) -> str | None:
    """Return the newest reason for a kill of this run, None without one; for a raised flag."""
    why = None
    for path, request in _requests(folder, run_id):
        if request.get("kind") == KILL:
            path.unlink()
            why = str(request.get("why", "")) or why
    return why


def _requests(folder: Path, run_id: str) -> Iterator[tuple[Path, JsonObject]]:
    for path in sorted(folder.glob("*.json"), key=lambda item: item.stat().st_mtime_ns):
        try:
            request = read_hashed(path)
        except IntegrityError:
            request = {}
        if request.get("run_id") != run_id:
            os.replace(path, path.with_suffix(".aside"))
            continue
        yield path, request


def control_payload(request: JsonObject) -> Payload | None:
    """Return the `control` payload of a request, or None if it is malformed."""
    cls = CONTROL_KINDS.get(str(request.get("kind")))
    if cls is None:
        return None
    try:
        return cls.from_json(request)
    except KeyError:
        return None
