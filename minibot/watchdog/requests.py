"""Requests of operators: files that name their run; only the launcher takes them.

A verb leaves one atomic file (`runtime.request_file`); the launcher removes it, then journals it as
a `control` event. Killed in between it loses the request; it never journals one twice. A request
for another run is set aside. No kind of request (`CONTROL_KINDS`, `END`) enlarges a limit.
`minibot kill` leaves its reason first, then raises `STOP.flag`. Only the flag kills: the reason
waits for the flag.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
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
from minibot.kernel.errors import IntegrityError, RunStop
from minibot.kernel.files import FILES, read_hashed, remove, rename
from minibot.runtime.clock import machine_ns

END = "end"
KILL = "kill"
# Bound on a file's name in an incident.
FILE_NAME_CHARS_MAX = 100
# Longest name of a file on most disks, and how much of one is kept beside a time: a character has
# up to four bytes.
NAME_BYTES_MAX, KEPT_CHARS_MAX = 255, 50
CONTROL_KINDS: dict[str, type[Payload]] = {
    cls.TYPE: cls for cls in (Halt, Resume, ExitPosition, LockSymbol, ModelActive)
}


def take_requests(
    folder: Path, run_id: str, on_odd: Callable[[str], None] = lambda why: None
) -> Iterator[JsonObject]:
    """Yield the requests for this run, oldest first; set those of other runs aside.

    Whatever is no request is set aside too: a file that is damaged or another user's, a folder, a
    link, a FIFO. It is renamed and neither followed nor opened; one that disappears meanwhile is
    left out. The reason of a kill stays where it is, see `take_kill`.

    Args:
        folder: `var/requests`.
        run_id: The run.
        on_odd: Called with one sentence for each file that is no request.

    Raises:
        RunStop: The disk refuses to read a regular file.
        OSError: The system refuses to rename or remove a file.
    """
    for path, request in _requests(folder, run_id, on_odd):
        if request.get("kind") != KILL:
            remove(path)
            yield request


def take_kill(folder: Path, run_id: str) -> str | None:
    """Return the newest reason for a kill of this run, None without one; for a raised flag."""
    why = None
    for path, request in _requests(folder, run_id, lambda why: None):
        if request.get("kind") == KILL:
            remove(path)
            why = str(request.get("why", "")) or why
    return why


def _requests(
    folder: Path, run_id: str, on_odd: Callable[[str], None]
) -> Iterator[tuple[Path, JsonObject]]:
    """Yield the file and content of each request for this run, oldest first."""
    for path in _oldest_first(folder):
        status = FILES.stat(path)
        if status is None:
            continue
        request: JsonObject = {}
        odd = "" if status.is_file else "it is not a regular file"
        if not odd:
            try:
                request = read_hashed(path)
            except IntegrityError:
                odd = "it is damaged, or no verb of minibot wrote it"
            except RunStop as error:
                if not isinstance(error.__cause__, PermissionError):
                    raise
                odd = "another user wrote it, as by sudo, and it cannot be read"
        if not odd and request.get("run_id") == run_id:
            yield path, request
        elif _set_aside(path) and odd:
            on_odd(f"{ascii(path.name)[:FILE_NAME_CHARS_MAX]} is set aside: {odd}")


def _oldest_first(folder: Path) -> list[Path]:
    aged = []
    for path in folder.glob("*.json"):
        with suppress(FileNotFoundError):  # Taken back meanwhile.
            aged.append((path.lstat().st_mtime_ns, path))
    return [path for _, path in sorted(aged)]


def _set_aside(path: Path) -> bool:
    """Rename a file so that it is no request any more; False if it disappeared meanwhile."""
    aside = path.with_suffix(".aside")
    if os.path.lexists(aside) or len(os.fsencode(aside.name)) > NAME_BYTES_MAX:
        aside = path.with_name(f"{path.stem[:KEPT_CHARS_MAX]}-{machine_ns()}.aside")
    try:
        rename(path, aside)
    except FileNotFoundError:
        return False
    return True


def control_payload(request: JsonObject) -> Payload | None:
    """Return the `control` payload of a request; None for an unknown kind or a missing field.

    The types of its fields are not looked at: the event's contract judges them.
    """
    cls = CONTROL_KINDS.get(str(request.get("kind")))
    if cls is None:
        return None
    try:
        return cls.from_json(request)
    except KeyError:
        return None
