"""Two faults at once: the disk refuses, and the process is killed meanwhile."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

import pytest

from minibot.kernel.errors import RunStop
from tests.kernel.kernel_support import (
    Crash,
    FaultFiles,
    ids_of,
    line_of,
    open_journal,
    read_all,
)

SEGMENT = 300  # Two or three lines, so that some appends rotate.
LINES = 8
CALLS_MAX = 100
FAULTS = {
    "full disk": ("pwrite", "inbox.jsonl", errno.ENOSPC, "IO_ENOSPC"),
    "failed sync": ("datasync", "inbox.jsonl", errno.EIO, "IO_FSYNC"),
    "failed rename": ("replace", "inbox.000001", errno.EIO, "IO_RENAME"),
    "failed sync of the folder": ("sync_folder", "", errno.EIO, "IO_FSYNC"),
}


class NthFails:
    """Fault of one call alone: the nth of its kind on files with that name part."""

    def __init__(self, nth: int, call: str, part: str, code: int) -> None:
        self.is_over = False
        self._left = nth
        self._call, self._part, self._code = call, part, code

    def __call__(self, called: str, name: str) -> OSError | None:
        """Return the error for this call, if it is the nth."""
        if called != self._call or self._part not in name:
            return None
        self._left -= 1
        if self._left:
            return None
        self.is_over = True
        return OSError(self._code, errno.errorcode[self._code])


def append_until_it_ends(files: FaultFiles, folder: Path) -> tuple[int, str]:
    """Append line by line; return the number acknowledged, and what ended it."""
    acknowledged = 0
    try:
        writer = open_journal(folder, segment_bytes=SEGMENT, files=files)
        for number in range(1, LINES + 1):
            writer.append([line_of(number)])
            acknowledged = number
    except RunStop as stop:
        return acknowledged, stop.reason_code
    except Crash:
        return acknowledged, "killed"
    finally:
        files.kill()
    return acknowledged, "nothing"


def start_again(folder: Path, kill_at: int = -1) -> str:
    """Start a writer on the remains, perhaps killed on the way; return the refusal."""
    files = FaultFiles()
    files.crash_at = kill_at
    try:
        with suppress(Crash):
            open_journal(folder, segment_bytes=SEGMENT, files=files).close()
    except RunStop as stop:
        return stop.reason_code
    finally:
        files.kill()
    return ""


@pytest.mark.row("F159", "I1", "I2", "I3", "I5", "I10")
@pytest.mark.fault(
    "F159",
    by="each disk fault at each of its calls, with kills in the append and in the next start",
    ends="the stricter outcome of the two",
)
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("kill_at", [-1, 17, 30, 45])
def test_disk_fault_and_kills_lose_and_invent_nothing(
    tmp_path: Path, name: str, kill_at: int
) -> None:
    """Acknowledged lines exist once and in order after a disk fault and kills."""
    call, part, code, reason = FAULTS[name]
    for nth in range(1, CALLS_MAX):
        folder = tmp_path / str(nth)
        folder.mkdir(mode=0o700)
        files, fault = FaultFiles(), NthFails(nth, call, part, code)
        files.fault, files.crash_at = fault, kill_at
        acknowledged, end = append_until_it_ends(files, folder)
        start_again(folder, kill_at=nth % 7)
        refused = start_again(folder)

        assert end == (reason if fault.is_over else "killed" if kill_at >= 0 else "nothing")
        # A file whose sync has failed is never appended to again.
        assert refused == (reason if call == "datasync" and fault.is_over else "")
        found = ids_of(read_all(folder))
        assert found == list(range(1, len(found) + 1)), nth
        assert len(found) >= acknowledged, nth
        if not fault.is_over:
            break
    # Without a kill each fault met at least one call.
    assert (1 if kill_at < 0 else 0) < nth < CALLS_MAX - 1
