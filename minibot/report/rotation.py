"""Log files that a run itself rotated, found by the run id in their lines.

A log file outlives its run, so its existence alone proves nothing about a night. A run rotated a
file if the last line before the rotation and the first one after it are both of that run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from minibot.runtime.log import LINE_BYTES_MAX, run_of

_NUMBERED: Final = re.compile(r"(?P<role>.+)[.](?P<number>[0-9]+)[.]jsonl")


def rotated_logs(folder: Path, run_id: str) -> list[Path]:
    """Return the log files that were rotated while this run wrote them, sorted.

    Args:
        folder: `var/logs`.
        run_id: The id of the run.
    """
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        match = _NUMBERED.fullmatch(path.name)
        if match is None:
            continue
        role, number = match["role"], int(match["number"])
        newer = folder / (f"{role}.{number - 1}.jsonl" if number > 1 else f"{role}.jsonl")
        if run_of(_last_line(path)) == run_id and run_of(_first_line(newer)) == run_id:
            found.append(path)
    return found


def _first_line(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.readline(LINE_BYTES_MAX + 1)
    except OSError:
        return b""


def _last_line(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - LINE_BYTES_MAX - 1))
            return (file.read().splitlines() or [b""])[-1]
    except OSError:
        return b""
