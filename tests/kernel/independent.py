"""Journal reader by the standard library alone, and the invariants after any fault.

It shares no code with minibot and follows the documented layout (docs/ARCH.md, section 3), so that
a fault that misleads the kernel does not mislead its tests.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

SLOT = struct.Struct(">IQQ32sQI")
PREFIX = len("sha256:") + 64 + 1


class Head(NamedTuple):
    """Head as the newer of two valid slots states it."""

    segment: int
    offset: int
    lines: int
    chain: bytes


def read_head(path: Path) -> Head | None:
    """Return the head of a journal; None without a valid slot."""
    raw = path.read_bytes() if path.exists() else b""
    best: tuple[int, Head] | None = None
    for at in (0, SLOT.size):
        slot = raw[at : at + SLOT.size]
        if len(slot) < SLOT.size or zlib.crc32(slot[:-4]) != int.from_bytes(slot[-4:], "big"):
            continue
        segment, offset, lines, chain, sequence, _ = SLOT.unpack(slot)
        if best is None or sequence > best[0]:
            best = (sequence, Head(segment, offset, lines, chain))
    return None if best is None else best[1]


def published(folder: Path, stem: str = "inbox") -> list[bytes]:
    """Return the JSON of every published line; fail where anything does not fit."""
    head = read_head(folder / f"{stem}.head")
    if head is None:
        assert not (folder / f"{stem}.jsonl").exists() or _size(folder, stem) == 0, "no good head"
        return []
    data = b"".join(
        (folder / f"{stem}.{number:06d}.jsonl").read_bytes() for number in range(1, head.segment)
    )
    active = (folder / f"{stem}.jsonl").read_bytes()
    assert len(active) >= head.offset, f"{head.offset} bytes promised, {len(active)} stand"
    lines = (data + active[: head.offset]).splitlines(keepends=True)
    chain = bytes(32)
    found = []
    for number, line in enumerate(lines, 1):
        body = line[PREFIX:-1]
        digest = sha256(body)
        assert line == b"sha256:" + digest.hexdigest().encode() + b":" + body + b"\n", number
        json.loads(body)
        chain = sha256(chain + digest.digest()).digest()
        found.append(body)
    assert (len(lines), chain) == (head.lines, head.chain), f"{stem}: the chain is another"
    return found


def _size(folder: Path, stem: str) -> int:
    return (folder / f"{stem}.jsonl").stat().st_size


def assert_kept(
    folder: Path, acknowledged: Sequence[bytes], tried: Sequence[bytes], stem: str = "inbox"
) -> list[bytes]:
    """Assert I1 to I3 of a recovered journal; return its published lines.

    Args:
        folder: Folder of the journal.
        acknowledged: The JSON of every line whose append returned, in order.
        tried: The JSON of every line ever given to an append, in order.
        stem: First part of the journal's file names.
    """
    found = published(folder, stem)
    assert found[: len(acknowledged)] == list(acknowledged), "I1: an acknowledged event is gone"
    assert len(set(found)) == len(found), "I2: an event stands twice"
    assert found == list(tried[: len(found)]), "I3: what stands was never written like this"
    return found


def assert_evidence(folder: Path, torn: bytes, stem: str = "inbox") -> None:
    """Assert I10: bytes cut from the end of the active segment lie in quarantine."""
    active = (folder / f"{stem}.jsonl").read_bytes()
    rests = [path for path in (folder / "quarantine").glob(f"{stem}.*.rest")]
    for path in rests:
        _, _, offset, digest, _ = path.name.split(".")
        rest = path.read_bytes()
        assert sha256(rest).hexdigest() == digest
        if torn[int(offset) :] == rest:
            assert active[: int(offset)] == torn[: int(offset)]
            return
    assert active[: len(torn)] == torn, "I10: bytes were cut without a copy"


def everything(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its content, to compare after a refusal."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }
