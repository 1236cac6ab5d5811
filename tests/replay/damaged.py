"""Damaged copies of a run: a changed byte, a lost segment, another format."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minibot.events.model import JsonObject
from minibot.gates.tamper_forge import Forgery, forge_manifest, reseal
from minibot.kernel import canonical
from minibot.kernel.files import write_hashed
from minibot.kernel.journal import JournalWriter
from minibot.kernel.line import JSON_AT, encode_line
from minibot.kernel.lock import WriterLock
from minibot.kernel.queue import INBOX
from tests.runs import ShortRun

Edit = Callable[[dict[str, Any]], None]


def copy_of(run: ShortRun, target: Path) -> Path:
    """Return a copy of the run's folder, to be damaged."""
    copied = target / run.run_id
    shutil.copytree(run.run_dir, copied)
    return copied


def flip(path: Path, line: int, after: bytes) -> None:
    """Change the digit that follows a text in one line of a file."""
    lines = path.read_bytes().splitlines(keepends=True)
    said = bytearray(lines[line - 1])
    at = said.index(after, JSON_AT) + len(after)
    assert chr(said[at]).isdigit()
    said[at] = ord("0") + (said[at] - ord("0") + 1) % 10
    lines[line - 1] = bytes(said)
    path.write_bytes(b"".join(lines))


def forge(run_dir: Path, queue: str, seq: int, edit: Edit, stem: str = INBOX) -> None:
    """Change an event of a journal and recompute hash, chain, head and cursors."""
    forgery = Forgery.of(run_dir, queue, stem)
    forgery.edit(seq, edit, rehash=True)
    forgery.write_chain()


def respell(run_dir: Path, queue: str, seq: int, old: bytes, new: bytes) -> None:
    """Write the JSON of an event otherwise, all hashes and the seal in order."""
    forgery = Forgery.of(run_dir, queue)
    at, index = forgery.place(seq)
    data = forgery.lines[at][index][JSON_AT:-1]
    assert old in data
    forgery.lines[at][index] = encode_line(data.replace(old, new))
    forgery.write_chain()
    reseal(run_dir)


def unmerge(run_dir: Path, queue: str) -> None:
    """Empty a shared queue: its parts stand as they were before the launcher merged them."""
    forgery = Forgery.of(run_dir, queue)
    forgery.lines = [[] for _ in forgery.lines]
    forgery.write_chain()


def in_var(run: ShortRun, var: Path) -> Path:
    """Return a copy of the run in its own `var`, with its queues as during a run."""
    (var / "runs").mkdir(exist_ok=True)
    run_dir = copy_of(run, var / "runs")
    (run_dir / "queues").rename(var / "queues")
    (run_dir / "seal.json").unlink()
    write_hashed(var / "current.json", {"run_id": run.run_id})
    return run_dir


def add(run_dir: Path, queue: str, event: JsonObject) -> int:
    """Add an event behind the last one, all hashes and the seal in order; return its number."""
    forgery = Forgery.of(run_dir, queue)
    forgery.lines[-1].append(encode_line(canonical.encode(event)))
    forgery.write_chain()
    reseal(run_dir)
    return forgery.count


def put(path: Path, lines: list[bytes], run_dir: Path) -> None:
    """Write other lines into a file of a run, the seal in order."""
    path.write_bytes(b"".join(lines))
    reseal(run_dir)


def unlog(run_dir: Path, queue: str, seq: int) -> None:
    """Remove what a queue's primary reader logged from a line on, all hashes in order.

    Its log may name other queues, which have lines of their own, before it comes to this one.
    """
    acks = Forgery.of(run_dir, queue, "acks")
    is_found = False
    while not is_found:
        payload = canonical.decode(acks.lines[-1].pop()[JSON_AT:-1])["payload"]
        is_found = payload["queue"] == queue and payload["from_seq"] <= seq
    acks.write_chain()
    reseal(run_dir)


def in_segments(run_dir: Path, queue: str, segment_bytes: int) -> list[Path]:
    """Rewrite a queue in small segments; return the sealed ones."""
    folder = run_dir / "queues" / queue
    lines = (folder / "inbox.jsonl").read_bytes().splitlines(keepends=True)
    for path in folder.glob("inbox.*"):
        path.unlink()
    lock = WriterLock(folder / "writer.lock")
    writer = JournalWriter(folder, "inbox", lock=lock, sync=False, segment_bytes=segment_bytes)
    for line in lines:
        writer.append([line])
    writer.close()
    lock.close()
    return sorted(folder.glob("inbox.[0-9]*.jsonl"))


def manifest_says(run_dir: Path, **fields: Any) -> None:
    """Change the manifest with hash and seal in order; None removes a field."""

    def change(obj: dict[str, Any]) -> None:
        for name, value in fields.items():
            if value is None:
                del obj[name]
            else:
                obj[name] = value

    forge_manifest(run_dir, change)
    reseal(run_dir)
