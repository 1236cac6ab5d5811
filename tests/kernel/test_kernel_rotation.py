"""Rotation: full segments are sealed, every line stays readable once after any crash."""

from __future__ import annotations

import errno
import hashlib
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minibot.kernel.errors import IntegrityError, RunStop
from minibot.kernel.files import read_hashed, write_hashed
from minibot.kernel.journal import JournalReader
from minibot.kernel.segments import load_segments
from tests.kernel.kernel_support import (
    Crash,
    FaultFiles,
    change,
    drain,
    failing,
    ids_of,
    line_of,
    lines_of,
    open_journal,
    read_all,
)
from tests.waiting import DEADLINE_S

SEGMENT = 600  # Bytes: some five lines.


def fill(folder: Path, count: int = 23) -> None:
    """Write a journal of several segments."""
    writer = open_journal(folder, segment_bytes=SEGMENT)
    for number in range(1, count + 1):
        writer.append([line_of(number)])
    writer.close()


@pytest.mark.row("N-07", "N-08")
def test_full_segment_is_sealed_with_its_sha256_and_chain(var_dir: Path) -> None:
    """The manifest describes each sealed segment; together they are the whole journal."""
    fill(var_dir)
    segments = load_segments(var_dir, "inbox")
    data = b""
    for segment in segments:
        content = (var_dir / segment.name).read_bytes()
        assert segment.size == len(content) <= SEGMENT
        assert segment.sha256 == hashlib.sha256(content).hexdigest()
        assert segment.lines == content.count(b"\n")
        data += content

    assert [segment.name for segment in segments[:2]] == [
        "inbox.000001.jsonl",
        "inbox.000002.jsonl",
    ]
    assert data + (var_dir / "inbox.jsonl").read_bytes() == b"".join(lines_of(1, 23))
    assert ids_of(read_all(var_dir)) == list(range(1, 24))


def test_readers_start_anywhere_and_follow_over_segments(var_dir: Path) -> None:
    """A reader continues from any former position across segments."""
    writer = open_journal(var_dir, segment_bytes=SEGMENT)
    reader = JournalReader(var_dir, "inbox")
    positions = [reader.position]
    for number in range(1, 24):
        writer.append([line_of(number)])
        assert ids_of(reader.read(10)) == [number]
        positions.append(reader.position)
    writer.close()
    reader.close()
    for seq, position in enumerate(positions):
        assert position.seq == seq
        late = JournalReader(var_dir, "inbox", position)
        ids: list[int] = []
        while batch := late.read(2):
            ids += ids_of(batch)
        assert ids == list(range(seq + 1, 24))
        assert late.position.seq == 23
        late.close()


@pytest.mark.row("F28")
@pytest.mark.fault(
    "F28", by="seam: crash before and after every call of a rotation", ends="SURVIVE"
)
@pytest.mark.parametrize("is_after", [False, True])
def test_crash_at_any_step_of_a_rotation_keeps_every_line_once(
    var_dir: Path, is_after: bool
) -> None:
    """A crash at any step keeps every line once; the next writer finishes the rotation (F28)."""
    step = 0
    while True:
        folder = var_dir / str(step)
        folder.mkdir(mode=0o700)
        writer = open_journal(folder, segment_bytes=SEGMENT)
        published = 0
        while writer.position.offset + len(line_of(published + 1)) <= SEGMENT:
            published += 1
            writer.append([line_of(published)])
        early = JournalReader(folder, "inbox")
        early.read(2)
        writer.close()
        files = FaultFiles()
        writer = open_journal(folder, segment_bytes=SEGMENT, files=files)
        start = len([call for call in files.calls if call.split(" ")[0] in CHANGING])
        files.crash_at, files.crash_after = start + step, is_after
        try:
            writer.append([line_of(published + 1)])
            is_done = True
            writer.close()
        except Crash:
            is_done = False
            files.kill()
        seen = len(read_all(folder))
        assert seen in (published, published + 1)
        assert 2 + len(drain(early)) == seen
        writer = open_journal(folder, segment_bytes=SEGMENT)
        assert writer.position.seq in (seen, published + 1)
        recovered = writer.position.seq
        writer.append([line_of(recovered + 1)])
        assert len(drain(early)) == recovered + 1 - seen
        writer.close()
        early.close()
        assert ids_of(read_all(folder)) == list(range(1, recovered + 2))
        names = sorted(path.name for path in folder.glob("inbox*.jsonl"))
        assert names == ["inbox.000001.jsonl", "inbox.jsonl"]
        if is_done:
            break
        step += 1

    assert step >= 8


CHANGING = frozenset(
    {"open", "pwrite", "truncate", "datasync", "sync", "replace", "link", "unlink", "mkdir",
     "rmdir", "sync_folder"}
)  # fmt: skip


def test_rotation_makes_each_step_durable_before_the_next(var_dir: Path) -> None:
    """Each step is durable before the next, so a power loss keeps name and manifest in step."""
    files = FaultFiles()
    writer = open_journal(var_dir, segment_bytes=SEGMENT, files=files)
    writer.append(lines_of(1, 4))
    files.calls.clear()
    writer.append(lines_of(5, 1))
    writer.close()
    steps = [
        re.sub(r"\.[0-9-]+\.tmp$", ".tmp", call)
        for call in files.calls
        if call.split(" ")[0] in CHANGING
    ]

    assert steps[: steps.index("datasync inbox.jsonl")] == [
        "replace inbox.000001.jsonl",
        "sync_folder var",
        "open segments.json.tmp",
        "pwrite segments.json.tmp",
        "sync segments.json.tmp",
        "replace segments.json",
        "sync_folder var",
        "open inbox.jsonl",
        "sync inbox.jsonl",
        "sync_folder var",
        "pwrite inbox.head",
        "pwrite inbox.jsonl",
    ]


def _drop_entry(folder: Path) -> None:
    path = folder / "segments.json"
    obj = read_hashed(path)
    del obj["segments"][-1]
    write_hashed(path, obj)


def _drop_first_entry(folder: Path) -> None:
    path = folder / "segments.json"
    obj = read_hashed(path)
    del obj["segments"][0]
    write_hashed(path, obj)


def _drop_entry_and_file(folder: Path) -> None:
    (folder / load_segments(folder, "inbox")[-1].name).unlink()
    _drop_entry(folder)


DAMAGES: list[Callable[[Path], Any]] = [
    lambda folder: (folder / "inbox.000002.jsonl").unlink(),
    lambda folder: change(folder / "inbox.000002.jsonl", 100),
    lambda folder: (folder / "inbox.000002.jsonl").write_bytes(
        (folder / "inbox.000002.jsonl").read_bytes() + line_of(99)
    ),
    lambda folder: change(folder / "segments.json", 60),
    lambda folder: (folder / "segments.json").unlink(),
    _drop_entry,
    _drop_first_entry,
    _drop_entry_and_file,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_sealed_segment_or_manifest_stops_the_reader(
    var_dir: Path, damage: Callable[[Path], Any]
) -> None:
    """A changed or missing segment, or a wrong manifest, stops the reader (F29)."""
    fill(var_dir)
    damage(var_dir)
    with pytest.raises(IntegrityError) as caught:
        read_all(var_dir)

    assert caught.value.reason_code in ("QUEUE_MANIFEST", "QUEUE_MISSING")


@pytest.mark.row("F29")
@pytest.mark.fault(
    "F29",
    by="sealed segment or manifest changed, cut, removed; a writer's start",
    ends="STOP(QUEUE_MANIFEST)",
)
@pytest.mark.parametrize("damage", [DAMAGES[0], *DAMAGES[2:]])
def test_damaged_manifest_or_size_of_a_segment_stops_the_writer(
    var_dir: Path, damage: Callable[[Path], Any]
) -> None:
    """A writer needs its sealed segments with the right sizes (F29)."""
    fill(var_dir)
    damage(var_dir)
    with pytest.raises(IntegrityError) as caught:
        open_journal(var_dir, segment_bytes=SEGMENT)

    assert caught.value.reason_code == "QUEUE_MANIFEST"


def test_whole_sealed_segment_exchanged_for_another_stops_the_reader(var_dir: Path) -> None:
    """A whole segment exchanged for another one stops the reader by the chain."""
    fill(var_dir)
    first, second = var_dir / "inbox.000001.jsonl", var_dir / "inbox.000002.jsonl"
    lines = first.read_bytes().splitlines(keepends=True)
    first.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(IntegrityError) as caught:
        read_all(var_dir)

    assert caught.value.reason_code == "QUEUE_CHAIN"
    assert second.exists()


def test_foreign_program_that_holds_the_file_puts_rotation_off(var_dir: Path) -> None:
    """A file held by another program (Windows) delays rotation, counted, without loss."""
    files = FaultFiles()
    writer = open_journal(var_dir, segment_bytes=SEGMENT, files=files)

    def fault(call: str, name: str) -> OSError | None:
        if call == "replace" and name.startswith("inbox.0"):
            error = PermissionError(errno.EACCES, "held by another program")
            error.winerror = 32  # type: ignore[attr-defined,unused-ignore]
            return error
        return None

    files.fault = fault
    for number in range(1, 12):
        writer.append([line_of(number)])
    assert writer.rotations_postponed > 0
    assert not (var_dir / "inbox.000001.jsonl").exists()
    files.fault = lambda _call, _name: None
    writer.append([line_of(12)])
    writer.close()

    assert (var_dir / "inbox.000001.jsonl").exists()
    assert ids_of(read_all(var_dir)) == list(range(1, 13))


@pytest.mark.row("F41")
@pytest.mark.fault("F41", by="seam: the rename of a rotation gives EIO", ends="STOP(IO_RENAME)")
def test_rename_that_fails_stops_with_the_old_layout(var_dir: Path) -> None:
    """A failed rename stops, and the segment keeps its name and every line (F41)."""
    files = FaultFiles()
    writer = open_journal(var_dir, segment_bytes=SEGMENT, files=files)
    writer.append(lines_of(1, 4))
    files.fault = lambda call, _name: OSError(errno.EIO, "") if call == "replace" else None
    with pytest.raises(RunStop) as caught:
        writer.append(lines_of(5, 4))
    writer.close()

    assert caught.value.reason_code == "IO_RENAME"
    assert ids_of(read_all(var_dir)) == [1, 2, 3, 4]
    open_journal(var_dir).close()


@pytest.mark.slow
def test_reader_beside_a_rotating_writer_misses_nothing(var_dir: Path) -> None:
    """Readers in other threads miss no line during many rotations."""
    count = 600
    writer = open_journal(var_dir, segment_bytes=SEGMENT, sync=False)
    failures: list[BaseException] = []
    results: list[list[int]] = []

    def follow() -> None:
        reader = JournalReader(var_dir, "inbox")
        ids: list[int] = []
        try:
            while len(ids) < count:
                ids += ids_of(reader.read(7))
        except BaseException as error:
            failures.append(error)
        results.append(ids)
        reader.close()

    threads = [threading.Thread(target=follow) for _ in range(2)]
    for thread in threads:
        thread.start()
    for first in range(1, count + 1, 2):
        writer.append(lines_of(first, 2))
    for thread in threads:
        thread.join(timeout=DEADLINE_S)
    writer.close()

    assert failures == []
    assert results == [list(range(1, count + 1))] * 2


def test_writer_that_could_not_begin_a_segment_gives_its_lock_back(var_dir: Path) -> None:
    """A disk without room for the next file stops; the same process may open the journal again."""
    files = FaultFiles()
    writer = open_journal(var_dir, segment_bytes=SEGMENT, files=files)
    writer.append(lines_of(1, 4))
    is_new = {"open": "inbox.jsonl"}
    files.fault = lambda call, name: OSError(errno.ENOSPC, "") if is_new.get(call) == name else None
    with pytest.raises(RunStop) as caught:
        writer.append(lines_of(5, 4))
    files.fault = lambda _call, _name: None
    writer.close()

    assert caught.value.reason_code == "IO_ENOSPC"
    again = open_journal(var_dir, segment_bytes=SEGMENT)
    again.append(lines_of(5, 4))
    again.close()
    assert ids_of(read_all(var_dir)) == list(range(1, 9))


def test_renamed_segment_that_lost_lines_is_refused_and_not_listed(var_dir: Path) -> None:
    """A writer died before it listed the segment: one cut since then is no truth for a manifest."""
    files = FaultFiles()
    writer = open_journal(var_dir, segment_bytes=SEGMENT, files=files)
    writer.append(lines_of(1, 4))
    files.fault = failing("open", "segments.json", errno.EIO)
    with pytest.raises(RunStop):
        writer.append(lines_of(5, 4))
    writer.close()
    sealed = var_dir / "inbox.000001.jsonl"
    whole = sealed.read_bytes()
    sealed.write_bytes(b"".join(lines_of(1, 3)))

    with pytest.raises(IntegrityError, match=re.escape(str(sealed))) as caught:
        open_journal(var_dir)

    assert caught.value.reason_code == "QUEUE_TRUNCATED"
    assert not (var_dir / "segments.json").exists()
    sealed.write_bytes(whole)
    again = open_journal(var_dir)
    again.append(lines_of(5, 4))
    again.close()
    assert ids_of(read_all(var_dir)) == list(range(1, 9))
