"""Lines that a reader could not use at all, kept with the reason and where they stand.

A reader's dead letters lie beside its acks and belong to its order log: restore and replay leave
out what they name. One that cannot be written stops the run, because an event may not vanish.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from minibot.events.codec import Codec
from minibot.events.ids import position_id
from minibot.events.model import DeadLetter, Event
from minibot.kernel.errors import RunStop
from minibot.kernel.journal import JournalReader
from minibot.kernel.line import encode_line
from minibot.kernel.queue import open_side_writer

LINE_CHARS_MAX = 4096
SIDE_QUEUE = "deadletter"


def named_lines(folders: Mapping[str, Path], codec: Codec) -> set[tuple[str, int]]:
    """Return (queue, seq) of every line that the dead letters in these folders name."""
    named: set[tuple[str, int]] = set()
    for queue, folder in folders.items():
        if not (folder / "deadletter.head").exists():
            continue
        for line in JournalReader(folder, SIDE_QUEUE).read(100_000):
            payload = codec.decode(f"{queue}/{SIDE_QUEUE}", line.json).payload
            if isinstance(payload, DeadLetter):
                named.add((payload.queue, payload.seq))
    return named


def write_dead_letter(
    folder: Path,
    *,
    codec: Codec,
    role: str,
    run_id: str,
    cmdline_hash: str,
    ts: int,
    queue: str,
    seq: int,
    offset: int,
    json: bytes,
    error: RunStop,
) -> None:
    """Append one dead letter to the reader's file; durable on return."""
    writer = open_side_writer(folder, SIDE_QUEUE, sync=True)
    payload = DeadLetter(
        queue=queue,
        seq=seq,
        offset=offset,
        reason_code=error.reason_code,
        detail=error.detail[:2000],
        line=json.decode("utf-8", "backslashreplace")[:LINE_CHARS_MAX],
        line_sha256=hashlib.sha256(json).hexdigest(),
    )
    event = Event(
        ts=ts,
        id=position_id(run_id, role, f"{queue}/{SIDE_QUEUE}", writer.position.seq + 1),
        source=role,
        run_id=run_id,
        cmdline_hash=cmdline_hash,
        payload=payload,
    )
    writer.append([encode_line(codec.encode(f"{queue}/{SIDE_QUEUE}", event))])
    writer.close()
