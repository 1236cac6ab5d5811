"""Damage to a queue's files: writer, reader and verify agree, and change nothing.

Each fault is put into a journal of two sealed segments and an active one. A reader hands out only
lines that were written (I3), and every file stays as the fault left it (I1, I10).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_hashed, write_hashed
from minibot.kernel.head import head_path, pack_slot
from minibot.kernel.journal import JournalReader
from minibot.kernel.position import Position
from minibot.kernel.verify import verify_tree
from tests.kernel.independent import assert_evidence, assert_kept, everything, published, read_head
from tests.kernel.kernel_support import change, json_of, line_of, lines_of, open_journal

# Invariants checked after each fault, as far as they apply.
pytestmark = [pytest.mark.row("I1", "I3", "I10"), pytest.mark.campaign]
SEGMENT = 700
ALL = [json_of(number) for number in range(1, 41)]
Damage = Callable[[Path], Any]
Trick = Callable[[list[bytes]], list[bytes]]


def fill(folder: Path, count: int = 15) -> Position:
    """Write a journal: two sealed segments, six lines in the active one."""
    writer = open_journal(folder, segment_bytes=SEGMENT)
    for first in range(1, count + 1, 3):
        writer.append(lines_of(first, 3))
    writer.close()
    return writer.position


def active(trick: Trick) -> Damage:
    """Return a damage that exchanges lines of the active segment."""

    def damage(folder: Path) -> None:
        path = folder / "inbox.jsonl"
        path.write_bytes(b"".join(trick(path.read_bytes().splitlines(keepends=True))))

    return damage


def stopped(folder: Path) -> tuple[str, str, set[str]]:
    """Return the names that reader, writer and verify give the damage; no file changes."""
    before = everything(folder)
    reader, handed = JournalReader(folder, "inbox"), list[bytes]()
    read = ""
    while not read:
        try:
            lines = reader.read(4)
        except RunStop as stop:
            read = stop.reason_code
        else:
            assert lines, "the reader came to the end of a damaged journal"
            handed += [line.json for line in lines]
    reader.close()
    with pytest.raises(RunStop) as started:
        open_journal(folder, segment_bytes=SEGMENT)
    findings = list(verify_tree(folder))

    assert handed == ALL[: len(handed)], "I3: a false event was handed out"
    assert everything(folder) == before, "I10: evidence was changed"
    assert all(finding.file for finding in findings)
    return read, started.value.reason_code, {found.code for found in findings}


def assert_all_say(folder: Path, code: str, *, or_verify: str = "") -> None:
    """Assert that reader, writer and verify find the damage under the same name.

    If the lines no longer end at the head, verify names what it meets there.
    """
    read, started, verified = stopped(folder)
    assert (read, started) == (code, code)
    assert {code, or_verify} & verified


@pytest.mark.row("F11", "F12", "F13")
@pytest.mark.fault("F11", by="a bit flipped in the middle of a line", ends="STOP(QUEUE_CORRUPT)")
@pytest.mark.fault("F12", by="a bit flipped in the last line", ends="STOP(QUEUE_CORRUPT)")
@pytest.mark.fault("F13", by="a bit flipped in a newline, and into one", ends="STOP(QUEUE_CORRUPT)")
@pytest.mark.parametrize("place", ["middle", "last line", "newline", "last newline", "made"])
def test_flipped_bit_below_the_head_is_corruption_to_everybody(var_dir: Path, place: str) -> None:
    """A flipped bit below the head is corruption for all, in the last line too."""
    end = fill(var_dir)
    path = var_dir / "inbox.jsonl"
    data = path.read_bytes()
    offset, mask = {
        "middle": (len(data) // 2, 1),
        "last line": (end.offset - 5, 1),
        "newline": (data.index(b"\n"), 1),
        "last newline": (end.offset - 1, 0x80),
        "made": (data.index(b"*") if b"*" in data else data.index(b"x"), 0x78 ^ 0x0A),
    }[place]
    change(path, offset, mask)

    assert_all_say(var_dir, "QUEUE_CORRUPT")


@pytest.mark.row("F14", "F17")
@pytest.mark.fault("F14", by="the active segment cut between lines", ends="STOP(QUEUE_TRUNCATED)")
@pytest.mark.fault("F17", by="the last line removed", ends="STOP(QUEUE_TRUNCATED)")
@pytest.mark.parametrize("trick", [lambda lines: lines[:-1], lambda lines: []])
def test_missing_end_is_a_truncation_to_everybody(var_dir: Path, trick: Trick) -> None:
    """A missing end is a truncation for all, because the head states the length."""
    fill(var_dir)
    active(trick)(var_dir)

    assert_all_say(var_dir, "QUEUE_TRUNCATED")


@pytest.mark.row("F15", "F16", "F18")
@pytest.mark.fault("F15", by="a line doubled", ends="STOP(QUEUE_CHAIN)")
@pytest.mark.fault("F16", by="two lines swapped", ends="STOP(QUEUE_CHAIN)")
@pytest.mark.fault("F18", by="a line edited and hashed again", ends="STOP(QUEUE_CHAIN)")
@pytest.mark.parametrize(
    "trick",
    [
        lambda lines: [*lines[:2], lines[1], *lines[2:]],
        lambda lines: [*lines[:2], lines[1], *lines[3:]],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [lines[0], line_of(77), *lines[2:]],
        lambda lines: [lines[0], line_of(77, 90), *lines[2:]],
        lambda lines: [*lines[:-1], line_of(22)],
    ],
)
def test_whole_lines_that_were_not_published_break_the_chain_for_everybody(
    var_dir: Path, trick: Trick
) -> None:
    """Whole unpublished lines break the chain for all."""
    fill(var_dir)
    active(trick)(var_dir)

    assert_all_say(var_dir, "QUEUE_CHAIN", or_verify="QUEUE_CORRUPT")


@pytest.mark.row("F17")
@pytest.mark.fault("F17", by="a line removed, the file as long as before", ends="STOP(QUEUE_CHAIN)")
def test_line_removed_from_the_middle_breaks_the_chain_for_everybody(var_dir: Path) -> None:
    """A line removed from the middle, hidden by a longer one, breaks the chain for all."""
    fill(var_dir)

    def merge(lines: list[bytes]) -> list[bytes]:
        gone = len(lines[1])
        fitting = [line_of(2000 + number, size) for number in range(7) for size in range(40, 190)]
        wanted = len(lines[2]) + gone
        return [lines[0], next(line for line in fitting if len(line) == wanted), *lines[3:]]

    active(merge)(var_dir)
    assert_all_say(var_dir, "QUEUE_CHAIN")


@pytest.mark.row("F32")
@pytest.mark.fault(
    "F32", by="CRLF, blank line, BOM, no last newline, below the head", ends="STOP(QUEUE_CORRUPT)"
)
@pytest.mark.parametrize(
    "trick",
    [
        lambda lines: [line.replace(b"\n", b"\r\n") for line in lines],
        lambda lines: [lines[0][:-1] + b"\r\n", *lines[1:]],
        lambda lines: [lines[0], b"\n", *lines[1:]],
        lambda lines: [b"\xef\xbb\xbf", *lines],
        lambda lines: [*lines[:-1], lines[-1][:-1] + b" "],
        lambda lines: [*lines[:-1], lines[-1][:-1] + b"\0"],
    ],
)
def test_foreign_line_ends_below_the_head_are_corruption_to_everybody(
    var_dir: Path, trick: Trick
) -> None:
    """Foreign line ends below the head are corruption for all."""
    fill(var_dir)
    active(trick)(var_dir)

    assert_all_say(var_dir, "QUEUE_CORRUPT")


def _rewrite_manifest(folder: Path) -> None:
    obj = read_hashed(folder / "segments.json")
    obj["segments"][0]["sha256"] = "0" * 64
    write_hashed(folder / "segments.json", obj)


def _drop_last_entry(folder: Path) -> None:
    obj = read_hashed(folder / "segments.json")
    del obj["segments"][-1]
    write_hashed(folder / "segments.json", obj)


@pytest.mark.row("F29")
@pytest.mark.fault(
    "F29",
    by="a sealed segment removed, cut, longer; the manifest flipped, an entry dropped",
    ends="STOP(QUEUE_MANIFEST)",
)
@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "inbox.000001.jsonl").unlink(),
        lambda folder: os.truncate(folder / "inbox.000001.jsonl", 100),
        lambda folder: (folder / "inbox.000001.jsonl").open("ab").write(line_of(99)),
        lambda folder: change(folder / "segments.json", 60),
        lambda folder: (folder / "segments.json").unlink(),
        _drop_last_entry,
    ],
)
def test_sealed_segments_are_what_the_manifest_says_to_everybody(
    var_dir: Path, damage: Damage
) -> None:
    """A sealed segment that differs from the manifest stops all."""
    fill(var_dir)
    damage(var_dir)

    assert_all_say(var_dir, "QUEUE_MANIFEST")


@pytest.mark.row("F29")
@pytest.mark.fault(
    "F29",
    by="a bit of a sealed segment, or its sha256 in the manifest",
    ends="STOP(QUEUE_MANIFEST)",
)
@pytest.mark.parametrize(
    "damage", [lambda folder: change(folder / "inbox.000001.jsonl", 100), _rewrite_manifest]
)
def test_content_of_a_sealed_segment_is_proven_by_verify(var_dir: Path, damage: Damage) -> None:
    """A sealed segment's content is proven by verify alone; a writer checks its size only."""
    fill(var_dir)
    damage(var_dir)

    assert "QUEUE_MANIFEST" in {finding.code for finding in verify_tree(var_dir)}


@pytest.mark.row("F24")
@pytest.mark.fault(
    "F24",
    by="both slots of the head bad, the cursor far behind, every line whole",
    ends="rebuilt where everything above the highest cursor is whole",
)
def test_head_with_two_bad_slots_is_rebuilt_over_whole_lines(var_dir: Path) -> None:
    """A head with two bad slots is rebuilt over whole lines, bounded by the cursor."""
    fill(var_dir)
    reader = JournalReader(var_dir, "inbox")
    reader.read(5)
    cursor = reader.position
    reader.close()
    for offset in (20, 84):
        change(var_dir / "inbox.head", offset)
    open_journal(var_dir, floor=cursor, segment_bytes=SEGMENT).close()

    assert assert_kept(var_dir, ALL[:15], ALL) == ALL[:15]


@pytest.mark.row("F24")
@pytest.mark.fault(
    "F24", by="both slots bad, and a damaged line above the cursor", ends="STOP(QUEUE_CORRUPT)"
)
def test_head_with_two_bad_slots_over_damage_stops(var_dir: Path) -> None:
    """A head with two bad slots over a damaged line stops, as that line may be published."""
    fill(var_dir)
    for offset in (20, 84):
        change(var_dir / "inbox.head", offset)
    change(var_dir / "inbox.jsonl", 100)
    before = everything(var_dir)

    with pytest.raises(RunStop) as caught:
        open_journal(var_dir, segment_bytes=SEGMENT)
    assert caught.value.reason_code == "QUEUE_CORRUPT"
    assert everything(var_dir) == before


@pytest.mark.row("F25")
@pytest.mark.fault("F25", by="the head of any earlier moment put back", ends="SURVIVE")
def test_head_of_any_earlier_moment_loses_no_line(var_dir: Path) -> None:
    """A stale head keeps all whole lines above it, across segments too."""
    folder = var_dir / "past"
    writer = open_journal(folder, segment_bytes=SEGMENT)
    heads = []
    for first in range(1, 13, 3):
        writer.append(lines_of(first, 3))
        heads.append(writer.position)
    writer.close()
    for number, stale in enumerate(heads):
        copy = var_dir / str(number)
        shutil.copytree(folder, copy)
        head_path(copy, "inbox").write_bytes(pack_slot(stale, 2) + pack_slot(stale, 1))
        (copy / "inbox.head").chmod(0o600)
        open_journal(copy, segment_bytes=SEGMENT).close()
        assert assert_kept(copy, ALL[:12], ALL) == ALL[:12]


@pytest.mark.row("F01", "F09")
@pytest.mark.fault("F01", by="every prefix of a batch, also after a rotation", ends="SURVIVE")
@pytest.mark.fault("F09", by="NUL bytes from any place of the last batch on", ends="SURVIVE")
@pytest.mark.parametrize("filler", [b"", b"\0"])
def test_torn_batch_behind_sealed_segments_is_repaired_and_kept_as_evidence(
    var_dir: Path, filler: bytes
) -> None:
    """A torn batch behind sealed segments is cut at the head, with a copy of the rest."""
    fill(var_dir)
    path = var_dir / "inbox.jsonl"
    whole, head = path.read_bytes(), (var_dir / "inbox.head").read_bytes()
    batch = b"".join(lines_of(16, 2))
    for size in range(0, len(batch), 7):
        torn = whole + batch[:size] + filler * (len(batch) - size)
        path.write_bytes(torn)
        (var_dir / "inbox.head").write_bytes(head)
        open_journal(var_dir, segment_bytes=SEGMENT).close()
        assert_kept(var_dir, ALL[:15], ALL)
        assert_evidence(var_dir, torn)


@pytest.mark.row("F22")
@pytest.mark.fault("F22", by="the first start of all", ends="SURVIVE")
def test_first_start_publishes_nothing_and_then_the_first_line(var_dir: Path) -> None:
    """A first start publishes nothing; the head of an empty queue says so."""
    writer = open_journal(var_dir / "new")
    assert published(var_dir / "new") == []
    writer.append([line_of(1)])
    writer.close()

    assert published(var_dir / "new") == ALL[:1]
    head = read_head(var_dir / "new" / "inbox.head")
    assert head is not None
    assert head[:3] == (1, len(line_of(1)), 1)
