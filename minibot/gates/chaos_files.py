"""Faults in the files of a drill's run, as another program makes them: flip, cut, replace, forge.

Most faults use the kernel's own file functions (`kernel.files`), with harmful arguments. To harm a
line before a role has read it, the strategy is frozen for a moment. Each function that takes only
the run injects one fault and marks the moment.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from minibot.events.names import STRATEGY_ROLE, TICKS
from minibot.events.reasons import IO_RENAME
from minibot.gates.drill_processes import FeatureMissing
from minibot.gates.drill_run import DrillRun, NotInjected
from minibot.kernel.errors import RunStop
from minibot.kernel.files import FILES, Access, read_hashed, write_atomic, write_hashed

UNREAD_ROLE: Final = STRATEGY_ROLE
# Lines published while the strategy is frozen, so that fast readers have passed the harmed line.
UNREAD_LINES: Final = 200
# Lines published after the freezing of the strategy and before the harmed one.
HARMED_LINE: Final = 50
FOREIGN_BYTES: Final = 64 * 1024
FILL_BYTES: Final = 256 * 1024


def inbox(night: DrillRun, queue: str = TICKS) -> Path:
    """Return the path of a queue's `inbox.jsonl`, by default that of market data."""
    return night.var.queues / queue / "inbox.jsonl"


def control_cursor(night: DrillRun) -> Path:
    """Return the path of risk's cursor of `control`, once risk has saved it with a line taken.

    Risk changes it again only at the end of the run, by the next line of `control`.
    """
    path = night.var.queues / "control" / "cursor.json"
    night.wait_for("a saved cursor", lambda: read_hashed(path)["seq"] > 0)
    return path


# --- lines below the head -----------------------------------------------------------------------


def flip_byte(night: DrillRun) -> None:
    """Flip a bit of a published line of market data that the strategy has not taken."""
    _harm_unread_line(night, lambda line: line[:100] + bytes([line[100] ^ 1]) + line[101:])


def edit_line(night: DrillRun) -> None:
    """Change `ts` in a published line of market data that the strategy has not taken.

    The line's own sha256 is recomputed, so that only the chain shows the change.
    """
    _harm_unread_line(night, _edited)


def _edited(line: bytes) -> bytes:
    json = line[72:-1]
    match = re.search(rb'"ts":\d+(\d)', json)
    if match is None:
        raise NotInjected("the line has no ts")
    at = match.end() - 1
    digit = b"%d" % ((int(json[at : at + 1]) + 1) % 10)
    json = json[:at] + digit + json[at + 1 :]
    return b"sha256:" + sha256(json).hexdigest().encode() + b":" + json + b"\n"


def _harm_unread_line(night: DrillRun, harm: Callable[[bytes], bytes]) -> None:
    with night.suspended(UNREAD_ROLE):
        first = night.lines(TICKS)
        night.wait_for("unread lines", lambda: night.lines(TICKS) >= first + UNREAD_LINES)
        lines = inbox(night).read_bytes().split(b"\n")
        number = first + HARMED_LINE
        offset = sum(len(line) + 1 for line in lines[:number])
        line = lines[number] + b"\n"
        _overwrite(inbox(night), offset, harm(line))
        night.mark()


def _overwrite(path: Path, offset: int, data: bytes) -> None:
    descriptor = FILES.open(path, Access.WRITE)
    try:
        FILES.pwrite(descriptor, data, offset)
    finally:
        FILES.close(descriptor)


# --- whole files --------------------------------------------------------------------------------


def truncate_queue(night: DrillRun) -> None:
    """Cut the last 10 bytes off the file of market data, under its writer."""
    _cut(inbox(night), lambda size: size - 10)
    night.mark()


def append_foreign(night: DrillRun) -> None:
    """Append foreign lines of almost 64 KiB to the file of market data."""
    path = inbox(night)
    _overwrite(path, path.stat().st_size, b"not a line of ours\n" * (FOREIGN_BYTES // 19))
    night.mark()


def delete_queue(night: DrillRun) -> None:
    """Delete the file of market data while its writer holds it.

    Raises:
        FeatureMissing: The file is still there, as under Wine.
    """
    FILES.unlink(inbox(night))
    if inbox(night).exists():
        raise FeatureMissing("the removal of a file that is held (Wine waits for its holders)")
    night.mark()


def replace_queue(night: DrillRun) -> None:
    """Replace the file of market data by an empty one, as a program does that saves by replacing.

    Raises:
        FeatureMissing: Windows does not replace a file that is held.
    """
    try:
        write_atomic(inbox(night), b"")
    except RunStop as error:
        if sys.platform == "win32" and error.reason_code == IO_RENAME:
            raise FeatureMissing("the replacement of a file that is held (Windows)") from error
        raise
    night.mark()


def _cut(path: Path, size_of: Callable[[int], int]) -> None:
    descriptor = FILES.open(path, Access.WRITE)
    try:
        FILES.truncate(descriptor, size_of(FILES.fstat(descriptor).size))
    finally:
        FILES.close(descriptor)


# --- cursors ------------------------------------------------------------------------------------


def tear_cursor(night: DrillRun) -> None:
    """Cut risk's cursor of `control` to half, as a program does that dies while it writes it."""
    _cut(control_cursor(night), lambda size: size // 2)
    night.mark()


def cursor_ahead(night: DrillRun) -> None:
    """Set the `seq` in risk's cursor of `control` to 9999, beyond the end of the queue."""
    _forge_cursor(night, seq=9999)


def cursor_foreign_run(night: DrillRun) -> None:
    """Set the `run_id` in risk's cursor of `control` to that of another run."""
    _forge_cursor(night, run_id="20000101_000000")


def _forge_cursor(night: DrillRun, **fields: object) -> None:
    path = control_cursor(night)
    kept = {key: value for key, value in read_hashed(path).items() if key not in _OWN}
    write_hashed(path, {**kept, **fields})
    night.mark()


_OWN: Final = ("generation", "sha256")


def cursor_link(night: DrillRun) -> None:
    """Replace risk's cursor of `control` by a symbolic link to a copy of it.

    Raises:
        FeatureMissing: This user or system makes no symbolic links.
    """
    path = control_cursor(night)
    target = night.var.root / "elsewhere.json"
    write_atomic(target, path.read_bytes())
    link = path.with_name("planted.link")
    try:
        os.symlink(target, link)
    except OSError as error:
        raise FeatureMissing(f"symbolic links for this user ({error.strerror})") from error
    if not link.is_symlink():
        raise FeatureMissing("symbolic links")
    os.replace(link, path)
    night.mark()


# --- other files of the run ---------------------------------------------------------------------


def raise_flag_by_hand(night: DrillRun) -> None:
    """Create STOP.flag as a person would: a line of plain text, no JSON of the run."""
    write_atomic(night.var.flag, b"stop, says the operator\n")
    night.mark()


def change_profile(night: DrillRun) -> None:
    """Append a newline to the profile of the run: other bytes, the same values."""
    write_atomic(night.profile, night.profile.read_bytes() + b"\n")
    night.mark()


def fill_disk(night: DrillRun) -> None:
    """Fill the disk of the run's `var` to its last byte."""
    descriptor = FILES.open(night.var.root / "filler", Access.CREATE)
    size = FILL_BYTES
    offset = 0
    try:
        while size:
            try:
                offset += FILES.pwrite(descriptor, bytes(size), offset)
            except OSError:
                size //= 2
    finally:
        FILES.close(descriptor)
    night.mark()
