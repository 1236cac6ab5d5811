"""Forged runs: changed content with every hash in order, as an attacker would make."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minibot.kernel import canonical
from minibot.kernel.journal import JournalReader, JournalWriter
from minibot.kernel.line import encode_line
from minibot.kernel.lock import WriterLock
from tests.kernel.kernel_support import drain
from tests.runs import ShortRun

Event = dict[str, Any]


def edited(
    run: ShortRun, target: Path, queue: str, seq: int, edit: Callable[[Event], None]
) -> Path:
    """Return a copy of the run in which one event of a queue is changed, all hashes in order."""
    copied = target / run.run_id
    shutil.copytree(run.run_dir, copied)
    folder = copied / "queues" / queue
    lines = drain(JournalReader(folder, "inbox"))
    for path in folder.glob("inbox.*"):
        path.unlink()
    writer = JournalWriter(folder, "inbox", lock=WriterLock(folder / "writer.lock"))
    for line in lines:
        event = canonical.decode(line.json)
        if line.seq == seq:
            edit(event)
        writer.append([encode_line(canonical.encode(event))])
    writer.close()
    return copied


def last_event(run_dir: Path, queue: str) -> Event:
    """Return the last event of a queue."""
    *_, last = drain(JournalReader(run_dir / "queues" / queue, "inbox"))
    event: Event = canonical.decode(last.json)
    return event


def cut(run_dir: Path, queue: str) -> None:
    """Remove the last event of a queue, with its hashes in order."""
    folder = run_dir / "queues" / queue
    lines = drain(JournalReader(folder, "inbox"))
    for path in folder.glob("inbox.*"):
        path.unlink()
    writer = JournalWriter(folder, "inbox", lock=WriterLock(folder / "writer.lock"))
    writer.append([encode_line(line.json) for line in lines[:-1]])
    writer.close()
