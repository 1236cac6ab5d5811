"""Small `var` with an open run for tests of backups: two queues, hints, a model, a note."""

from __future__ import annotations

from pathlib import Path

from minibot.kernel.files import ensure_folder, write_hashed
from minibot.kernel.journal import JournalWriter
from minibot.kernel.queue import make_queue, open_writer
from minibot.runtime.backup import Backup, BackupFolder
from minibot.runtime.paths import Var
from minibot.runtime.running import note_current, note_ended
from tests.kernel.kernel_support import lines_of

RUN = "20260105_200000"
QUEUES = ("signals", "fills")
SEGMENT_BYTES = 4096


def open_var(root: Path, lines: int = 60) -> Var:
    """Return a `var` whose run has written some lines, over more than one segment."""
    var = Var(root)
    ensure_folder(var.run(RUN))
    write_hashed(var.run(RUN) / "manifest.json", {"run_id": RUN})
    write_hashed(var.run(RUN) / "clock.json", {"speed": "1"})
    for name in QUEUES:
        make_queue(var.queues, name, "risk_role")
        append(var, name, 1, lines)
    ensure_folder(var.ai / "packs")
    (var.ai / "packs" / "model").write_bytes(b"model" * 100)
    note_current(var, RUN)
    note_ended(var, RUN)
    return var


def append(var: Var, queue: str, first: int, count: int) -> None:
    """Append lines to a queue, each a batch of its own."""
    writer: JournalWriter = open_writer(var.queues, queue, segment_bytes=SEGMENT_BYTES)
    for line in lines_of(first, count):
        writer.append([line])
    writer.close()


def read_back(folder: BackupFolder, backup: Backup) -> dict[str, bytes]:
    """Return every file of a backup, verified against its list."""
    return {name: b"".join(folder.store.chunks(content)) for name, content in backup.files.items()}
