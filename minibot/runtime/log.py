"""Log lines of a role: JSON, redacted, bounded, rotated by size, tied to events by their ids.

A log is for people; the queues are the truth. So a line that cannot be written is counted and lost,
and the run goes on (F60); the next written line says how many were lost. A line of which a part was
written stays as that part, and the next one begins on a line of its own. Control and non-ASCII
characters are escaped: an exchange's data can neither forge a line nor move a terminal's cursor
(F149). `runtime.secrets` removes secrets (N-12).

    {"ts": 1795161600000, "level": "info", "role": "execution_role", "run_id": "20261120_200000",
     "kind": "fill", "event_id": "...", "cause_ids": ["...", "..."], "qty": "0.00100"}

`event_id` and `cause_ids` let a reader walk from a fill's line to its tick's (S-45).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice, pairwise
from pathlib import Path
from typing import Final

from minibot.events.model import Event
from minibot.events.reasons import PERMISSIONS_UNSAFE
from minibot.kernel.errors import RunStop
from minibot.kernel.files import FILES, Access, ensure_below, write_all
from minibot.runtime.clock import wall_ms
from minibot.runtime.secrets import REDACTED, names_secret, redact

LEVELS: Final = ("debug", "info", "warning", "error")
TEXT_LENGTH_MAX: Final = 2_000
KEY_LENGTH_MAX: Final = 200
ITEMS_MAX: Final = 50
DEPTH_MAX: Final = 6
LINE_BYTES_MAX: Final = 16_384
RESERVED: Final = frozenset(
    {"ts", "level", "role", "run_id", "kind", "event_id", "cause_ids", "lost"}
)
# A file held by another program (Windows) cannot be rotated; it may grow this far meanwhile.
GROWTH_MAX: Final = 4


class Log:
    """The log of one role: `<folder>/<role>.jsonl`, older ones `<role>.1.jsonl` and so on.

    Args:
        role: Name of the role, part of the file's name and of each line.
        folder: `var/logs`; made when missing.
        file_bytes_max: A file that would grow beyond it is rotated first.
        files_max: Number of files kept, the current one included.
        level: The least level that is written: debug, info, warning or error.
        run_id: Written in each line, so that a file shows which runs wrote it; empty for none.
        now_ms: Clock of `ts`; the wall clock unless a run gives its own.

    Raises:
        RunStop: PERMISSIONS_UNSAFE, the file is a link, not a regular file, or open to others.
    """

    def __init__(
        self,
        role: str,
        folder: Path,
        *,
        file_bytes_max: int,
        files_max: int,
        level: str = "info",
        run_id: str = "",
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self.role = role
        self.run_id = run_id
        self.path = folder / f"{role}.jsonl"
        self.lost = 0
        self._file_bytes_max = file_bytes_max
        self._files_max = files_max
        self._least = LEVELS.index(level)
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._descriptor = -1
        self._is_amid = False  # The file ends within a line: a full disk took only its beginning.
        self._closed = False
        try:
            self._open()
        except OSError:
            pass  # Retried with each line, as after a RunStop of any other code.
        except RunStop as stop:
            if stop.reason_code == PERMISSIONS_UNSAFE:
                raise

    def debug(self, kind: str, event: Event | None = None, **fields: object) -> None:
        """Write a line for debugging."""
        self._write(0, kind, event, fields)

    def info(self, kind: str, event: Event | None = None, **fields: object) -> None:
        """Write a line about something ordinary."""
        self._write(1, kind, event, fields)

    def warning(self, kind: str, event: Event | None = None, **fields: object) -> None:
        """Write a line about something the run survives."""
        self._write(2, kind, event, fields)

    def error(self, kind: str, event: Event | None = None, **fields: object) -> None:
        """Write a line about something that ends the run or loses something."""
        self._write(3, kind, event, fields)

    def close(self) -> None:
        """Close the file; later lines are lost."""
        with self._lock:
            self._closed = True
            self._shut()

    def _write(self, level: int, kind: str, event: Event | None, fields: dict[str, object]) -> None:
        if level < self._least:
            return
        with self._lock:
            try:
                data = self._line(level, kind, event, fields)
                self._put(data)
            except (OSError, RunStop, ValueError, TypeError):
                self.lost += 1
                self._shut()  # The next line reopens a file that failed.
            else:
                self.lost = 0

    def _line(self, level: int, kind: str, event: Event | None, fields: dict[str, object]) -> bytes:
        line: dict[str, object] = {
            "ts": self._now_ms(),
            "level": LEVELS[level],
            "role": self.role,
            **({"run_id": self.run_id} if self.run_id else {}),
            "kind": redact.beginning(kind, TEXT_LENGTH_MAX),
        }
        if event is not None:
            line["event_id"] = event.id
            if event.cause_ids is not None:
                line["cause_ids"] = list(event.cause_ids)
        if self.lost:
            line["lost"] = self.lost
        for key, value in fields.items():
            name = f"{key}_" if key in RESERVED else key
            line[name] = REDACTED if names_secret(key) else shown(value)
        text = json.dumps(line, ensure_ascii=True)
        if len(text) > LINE_BYTES_MAX:
            kept = {key: line[key] for key in line if key in RESERVED}
            text = json.dumps(kept | {"cut": text[: LINE_BYTES_MAX // 4]}, ensure_ascii=True)
        return text.encode("ascii") + b"\n"

    def _put(self, data: bytes) -> None:
        """Append one line, to a fresh file if the current one would grow too large."""
        if self._closed:
            raise OSError("the log is closed")
        if self._descriptor < 0:
            self._open()
        offset = FILES.fstat(self._descriptor).size
        if offset and offset + len(data) > self._file_bytes_max:
            self._rotate(offset)
            offset = FILES.fstat(self._descriptor).size
        whole = b"\n" + data if self._is_amid else data
        write_all(FILES, self._descriptor, whole, offset, self.path)
        self._is_amid = False

    def _open(self) -> None:
        ensure_below(self.path.parent.parent, self.path.parent)
        if FILES.stat(self.path) is None:
            self._descriptor = FILES.open(self.path, Access.CREATE)
        else:
            self._descriptor = FILES.open(self.path, Access.WRITE)
        size = FILES.fstat(self._descriptor).size
        self._is_amid = size > 0 and FILES.pread(self._descriptor, 1, size - 1) != b"\n"

    def _rotate(self, size: int) -> None:
        """Renumber each file one up; drop the oldest."""
        self._shut()
        names = [self.path]
        names += [self.path.with_name(f"{self.role}.{n}.jsonl") for n in range(1, self._files_max)]
        try:
            for older, newer in reversed(list(pairwise(names))):
                if FILES.stat(older) is not None:
                    FILES.replace(older, newer)
            if len(names) == 1:
                FILES.unlink(self.path)
        except OSError:
            if size > GROWTH_MAX * self._file_bytes_max:
                raise
        self._open()

    def _shut(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):  # The system has released it, or it was not ours any more.
                FILES.close(descriptor)


def run_of(line: bytes) -> str | None:
    """Return the run that a log line names; None if it names none or is not a log line."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    run_id = record.get("run_id") if isinstance(record, dict) else None
    return run_id if isinstance(run_id, str) else None


def shown(value: object, depth: int = 0) -> object:
    """Return `value` for a log line: its texts without secrets, bounded, JSON values only.

    Secrets are removed before a text is cut, so that no part of one survives at the edge. Integers
    are not searched. Long texts, long lists and deep nesting are cut; values that JSON lacks appear
    as text.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        if len(value) <= TEXT_LENGTH_MAX:
            return redact(value)
        return f"{redact.beginning(value, TEXT_LENGTH_MAX)}... (cut, {len(value)} in all)"
    if depth >= DEPTH_MAX:
        return "..."
    if isinstance(value, Mapping):
        items = [(str(key), item) for key, item in islice(value.items(), ITEMS_MAX)]
        return {
            redact.beginning(key, KEY_LENGTH_MAX): (
                REDACTED if names_secret(key) else shown(item, depth + 1)
            )
            for key, item in items
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [shown(item, depth + 1) for item in islice(value, ITEMS_MAX)]
    return shown(str(value), depth)
