"""Verify: every change in a finished run is found in place, and nothing in a clean one."""

from __future__ import annotations

import os
import random
import shutil
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from minibot.kernel import canonical
from minibot.kernel.cursor import Cursor
from minibot.kernel.errors import Refusal
from minibot.kernel.files import Access, Files, StrPath, read_hashed, write_hashed
from minibot.kernel.line import CHAIN_START, chain_next, decode_line, encode_line
from minibot.kernel.position import Position
from minibot.kernel.queue import CURSOR_FILE, open_writer, reader_folder
from minibot.kernel.seal import measure, root_of, seal_run, sums_of
from minibot.kernel.system import FILES
from minibot.kernel.verify import Finding, verify_quick, verify_tree
from tests.kernel.kernel_run import EXTRA, make_run, sealed_run
from tests.kernel.kernel_support import change, line_of, lines_of


def codes(path: Path) -> set[str]:
    """Return the codes of all findings."""
    return {finding.code for finding in verify_tree(path)}


def reseal(run: Path) -> None:
    """Recompute the seal, as the disk's owner would."""
    path = run / "seal.json"
    seal = read_hashed(path)
    for group in ("files", "run_files"):
        for name in seal[group]:
            seal[group][name] = measure(run / name, FILES)
    seal["root"] = root_of(seal)
    write_hashed(path, seal)
    (run / "SHA256SUMS").write_bytes(sums_of(seal))


@pytest.mark.row("N-25", "N-39", "N-40")
def test_clean_run_has_no_findings_nor_has_a_copy(clean: Path, run: Path) -> None:
    """A clean run and a copy with other inodes and times have no findings."""
    assert list(verify_tree(clean)) == []
    assert list(verify_tree(run)) == []
    assert list(verify_tree(clean / "queues")) == []
    assert list(verify_tree(clean / "queues" / "fills")) == []
    for path in sorted(clean.rglob("*.json*")):
        assert list(verify_tree(path)) == []


@pytest.mark.slow
def test_every_byte_of_inboxes_and_acks_is_guarded_by_the_line_itself(run: Path) -> None:
    """A changed byte of a line is found by file, line and offset, even under a new seal."""
    names = ["fills/inbox.000001.jsonl", "health/inbox.jsonl", "fills/acks.jsonl"]
    for name in names:
        path = run / "queues" / name
        data = path.read_bytes()
        starts = [0, *[at + 1 for at, byte in enumerate(data) if byte == 10]]
        for offset in range(len(data)):
            change(path, offset, 1 << offset % 8)
            findings = list(verify_tree(path))
            change(path, offset, 1 << offset % 8)
            line = sum(1 for start in starts if start <= offset)
            places = {(finding.line, finding.offset) for finding in findings}
            assert (line, starts[line - 1]) in places
            assert "QUEUE_CORRUPT" in {finding.code for finding in findings}


@pytest.mark.slow
def test_any_changed_byte_in_the_whole_run_is_found(run: Path) -> None:
    """A random changed byte of any file is found."""
    rnd = random.Random(7)
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.stat().st_size)
    for _ in range(250):
        path = rnd.choice(files)
        offset, mask = rnd.randrange(path.stat().st_size), rnd.randrange(1, 256)
        change(path, offset, mask)
        findings = list(verify_tree(run))
        change(path, offset, mask)
        assert findings, f"{path} at {offset}, mask {mask}"
    assert list(verify_tree(run)) == []


def _rehash(line: bytes) -> bytes:
    event = canonical.decode(line[72:-1])
    return encode_line(canonical.encode({**event, "text": "cheat"}))


Trick = Callable[[list[bytes]], list[bytes]]
TRICKS: dict[str, Trick] = {
    "edit": lambda lines: [_rehash(lines[0]), *lines[1:]],
    "edit, same length": lambda lines: [line_of(16) if n == 2 else x for n, x in enumerate(lines)],
    "delete": lambda lines: lines[1:],
    "swap": lambda lines: [lines[1], lines[0], *lines[2:]],
    "duplicate": lambda lines: [lines[0], *lines],
    "cut": lambda lines: lines[:-1],
    "insert": lambda lines: [*lines[:1], line_of(777), *lines[1:]],
    "append": lambda lines: [*lines, line_of(777)],
    "empty": lambda lines: [],
}


@pytest.mark.row("N-82")
@pytest.mark.parametrize("is_resealed", [False, True])
@pytest.mark.parametrize(
    "name", ["fills/inbox.000001.jsonl", "fills/inbox.jsonl", "fills/acks.jsonl"]
)
@pytest.mark.parametrize("trick", list(TRICKS))
def test_lines_changed_with_right_hashes_are_found(
    run: Path, trick: str, name: str, is_resealed: bool
) -> None:
    """Lines changed with right hashes are found by chain, head and manifest, seal or not."""
    path = run / "queues" / name
    lines = path.read_bytes().splitlines(keepends=True)
    changed = TRICKS[trick](lines)
    if len(lines) == 1 and changed == lines:
        return
    path.write_bytes(b"".join(changed))
    if is_resealed:
        reseal(run)
    findings = list(verify_tree(run))

    assert findings
    assert all(decode_line(line) for line in changed)
    assert path.name in {Path(finding.file).name for finding in findings}


def test_lines_taken_from_another_run_are_found(run: Path, tmp_path: Path) -> None:
    """A whole file from another run is found."""
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    writer = open_writer(other, "fills")
    writer.append(lines_of(300, 3))
    writer.close()
    for name in ("inbox.jsonl", "inbox.head"):
        shutil.copy(other / "fills" / name, run / "queues" / "fills" / name)

    assert {"SEAL_MISMATCH", "QUEUE_MANIFEST"} <= codes(run)


@pytest.mark.parametrize(
    ("hurt", "code"),
    [
        (lambda run: (run / "seal.json").unlink(), "SEAL_MISSING"),
        (lambda run: (run / "SHA256SUMS").unlink(), "SEAL_MISMATCH"),
        (lambda run: (run / "queues/fills/inbox.head").unlink(), "QUEUE_CORRUPT"),
        (lambda run: (run / "queues/fills/inbox.jsonl").unlink(), "QUEUE_MISSING"),
        (lambda run: (run / "queues/fills/inbox.000001.jsonl").unlink(), "QUEUE_MANIFEST"),
        (lambda run: (run / "queues/fills/segments.json").unlink(), "QUEUE_MANIFEST"),
        (lambda run: shutil.rmtree(run / "queues" / "fills"), "SEAL_MISMATCH"),
        (lambda run: shutil.rmtree(run / "queues"), "SEAL_MISMATCH"),
        (lambda run: (run / "queues/fills/note.txt").write_text("hi"), "SEAL_EXTRA_FILE"),
        (lambda run: (run / "queues/fills/inbox.000077.jsonl").write_text("x"), "QUEUE_MANIFEST"),
        (lambda run: (run / "manifest.json").unlink(), "QUEUE_MISSING"),
        (lambda run: change(run / "manifest.json", 30), "ATOMICITY_VIOLATION"),
        (lambda run: change(run / "seal.json", 30), "ATOMICITY_VIOLATION"),
        (lambda run: change(run / "queues/fills/cursor.json", 30), "ATOMICITY_VIOLATION"),
        (lambda run: change(run / "queues/fills/segments.json", 30), "QUEUE_MANIFEST"),
        (lambda run: change(run / "queues/fills/inbox.head", 30), "QUEUE_CORRUPT"),
        (lambda run: change(run / "queues/health/parts/risk_role.jsonl", 9), "QUEUE_CORRUPT"),
        (lambda run: (run / "queues/fills/inbox.suspect").touch(), "IO_FSYNC"),
    ],
)
def test_missing_and_damaged_files_are_found(
    run: Path, hurt: Callable[[Path], Any], code: str
) -> None:
    """A missing, extra or inconsistent file is found."""
    hurt(run)

    assert code in codes(run)


def test_manifest_rewritten_with_a_right_hash_is_found_by_the_seal(run: Path) -> None:
    """A manifest rewritten with a right hash is found by the seal."""
    obj = read_hashed(run / "manifest.json")
    write_hashed(run / "manifest.json", {**obj, "run_id": "20261120_074601"})

    assert codes(run) == {"SEAL_MISMATCH"}


@pytest.mark.row("N-08")
@pytest.mark.parametrize("field", ["sha256", "size", "lines", "chain_after"])
def test_segment_that_is_not_as_its_manifest_says_is_found(run: Path, field: str) -> None:
    """Each value of a segment's manifest entry is compared with the segment."""
    path = run / "queues" / "fills" / "segments.json"
    obj = read_hashed(path)
    value = obj["segments"][-1][field]
    obj["segments"][-1][field] = value + 1 if isinstance(value, int) else "ab" * 32
    write_hashed(path, obj)

    assert codes(run / "queues") & {"QUEUE_MANIFEST", "QUEUE_CHAIN"}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"seq": 99}, "CURSOR_AHEAD"),
        ({"chain": "ab" * 32}, "QUEUE_CHAIN"),
        ({"offset": 3}, "CURSOR_CORRUPT"),
        ({"offset": -3}, "CURSOR_CORRUPT"),
        ({"segment": 1}, "CURSOR_CORRUPT"),
        ({"segment": 99}, "CURSOR_CORRUPT"),
        ({"segment": 99, "offset": 0}, "CURSOR_CORRUPT"),
        ({"queue": "signals"}, "CURSOR_FOREIGN_RUN"),
    ],
)
@pytest.mark.parametrize("name", ["cursor.json", "readers/ai_role/cursor.json"])
def test_cursor_that_does_not_fit_its_queue_is_found(
    run: Path, name: str, fields: dict[str, Any], code: str
) -> None:
    """A cursor that does not fit its queue is found, even with a right hash."""
    path = run / "queues" / "fills" / name
    write_hashed(path, {**read_hashed(path), **fields})

    assert code in codes(run / "queues")


def test_cursor_of_another_reader_is_found(run: Path) -> None:
    """A sound cursor that lies in another reader's folder is not that reader's position."""
    readers = run / "queues" / "fills" / "readers"
    own = read_hashed(readers / "ai_role" / "cursor.json")
    write_hashed(readers / "ai_role" / "cursor.json", {**own, "reader": "risk_role"})

    assert "CURSOR_FOREIGN_RUN" in codes(run / "queues")


@pytest.mark.parametrize("by_line", [False, True])
def test_cursor_between_two_segments_may_name_either_and_no_other(
    tmp_path: Path, by_line: bool
) -> None:
    """The end of a segment is also the beginning of the next; a cursor elsewhere is a finding."""
    ends = {}
    with closing(open_writer(tmp_path, "fills", sync=False, segment_bytes=1000)) as writer:
        for number in range(1, 30):
            before = writer.position
            writer.append(lines_of(number, 1))
            if writer.position.segment > before.segment:
                ends[before.segment] = before
        head = writer.position
    path = reader_folder(tmp_path, "fills", "risk_role", True) / CURSOR_FILE

    def found(place: Position) -> list[str]:
        path.unlink(missing_ok=True)
        Cursor(path, "night", "fills", "risk_role").save(place)
        return [f.code for f in verify_tree(tmp_path, (lambda *_: ()) if by_line else None)]

    assert len(ends) >= 2
    for segment, end in ends.items():
        following = end._replace(segment=segment + 1, offset=0)
        assert found(end) == found(following) == []
        for wrong in (following._replace(segment=segment + 2), end._replace(segment=segment + 1)):
            assert found(wrong) == ["CURSOR_CORRUPT"]
    assert found(head) == []
    assert found(head._replace(segment=head.segment + 1, offset=0)) == ["CURSOR_CORRUPT"]


def rewrite(folder: Path, stem: str, lines: list[bytes]) -> None:
    """Rewrite a journal with these lines, chain and head included."""
    for path in (folder / f"{stem}.jsonl", folder / f"{stem}.head"):
        path.unlink()
    root, name = folder.parent, folder.name
    if name == "parts":
        root, name = folder.parent.parent, folder.parent.name
        writer = open_writer(root, name, part=stem, sync=False)
    else:
        writer = open_writer(root, name, sync=False)
    writer.append(lines)
    writer.close()


@pytest.mark.parametrize("trick", ["drop", "invent", "swap within a part"])
def test_inbox_that_is_not_the_merge_of_its_parts_is_found(run: Path, trick: str) -> None:
    """An inbox with a missing, false or reordered line of its parts is found."""
    folder = run / "queues" / "health"
    lines = (folder / "inbox.jsonl").read_bytes().splitlines(keepends=True)
    if trick == "drop":
        lines = lines[:-1]
    elif trick == "invent":
        lines = [*lines, line_of(5)]
    else:
        lines[0], lines[1] = lines[1], lines[0]
    rewrite(folder, "inbox", lines)
    findings = list(verify_tree(run / "queues"))

    assert [finding.code for finding in findings] == ["QUEUE_CHAIN"]
    assert findings[0].line > 0


def test_merge_in_any_order_of_parts_is_right(run: Path) -> None:
    """A merge may order the parts in any way that keeps each part's order."""
    folder = run / "queues" / "health"
    lines = (folder / "inbox.jsonl").read_bytes().splitlines(keepends=True)
    rewrite(
        folder, "inbox", [line for pair in zip(lines[4:], lines[:4], strict=True) for line in pair]
    )

    assert list(verify_tree(run / "queues")) == []


def test_all_findings_are_told_not_only_the_first(run: Path) -> None:
    """Three damaged lines in two files give three places."""
    first = run / "queues" / "fills" / "inbox.000001.jsonl"
    last = run / "queues" / "fills" / "acks.jsonl"
    length = len(line_of(1))
    for path, offset in ((first, 100), (first, length + 100), (last, 100)):
        change(path, offset)
    places = [
        (finding.file, finding.line, finding.offset)
        for finding in verify_tree(run)
        if finding.code == "QUEUE_CORRUPT"
    ]

    assert ("queues/fills/inbox.000001.jsonl", 1, 0) in places
    assert ("queues/fills/inbox.000001.jsonl", 2, length) in places
    assert ("queues/fills/acks.jsonl", 1, 0) in places


def test_line_with_a_right_hash_over_other_json_is_found(run: Path) -> None:
    """Floats, spaces and unsorted keys are found under a right hash."""
    for json in (b'{"a":1.5}', b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}'):
        rewrite(run / "queues" / "risk_actions", "inbox", [encode_line(json)])
        findings = [f for f in verify_tree(run / "queues" / "risk_actions")]
        assert [(finding.code, finding.line) for finding in findings] == [("SCHEMA_INVALID", 1)]


def test_whole_lines_are_shown_to_a_further_check(run: Path) -> None:
    """A further check gets whole lines, and its findings come in place."""
    seen: list[tuple[str, int]] = []

    def on_line(file: str, line: int, offset: int, json: bytes) -> list[Finding]:
        seen.append((file, line))
        wrong = canonical.decode(json).get("id") == 3
        return [Finding(file, line, offset, "TYPE_UNKNOWN", "a type", "3")] if wrong else []

    findings = list(verify_tree(run, on_line))

    assert ("queues/fills/inbox.000001.jsonl", 1) in seen
    assert len(seen) == len(set(seen)) == 22 + 4 + 4 + 1 + 16
    assert {finding.code for finding in findings} == {"TYPE_UNKNOWN"}
    assert len(findings) == 3


def test_live_queue_verifies_up_to_its_head(var_dir: Path) -> None:
    """A live queue verifies up to its head."""
    make_run(var_dir)
    writer = open_writer(var_dir / "queues", "fills", segment_bytes=1000)
    writer.append(lines_of(60, 2))
    with (var_dir / "queues" / "fills" / "inbox.jsonl").open("ab") as file:
        file.write(b"half a li")

    assert list(verify_tree(var_dir / "queues")) == []
    writer.close()


class Meanwhile(Files):
    """Real files, with something that happens before each file is opened to be read."""

    def __init__(self, act: Callable[[Path], None]) -> None:
        super().__init__()
        self._act = act

    def open(self, path: StrPath, access: Access) -> int:
        """Let the act happen, then open the file."""
        self._act(Path(path))
        return super().open(path, access)


@pytest.mark.parametrize("segment_bytes", [600, 60_000])
def test_live_merge_is_right_whatever_is_appended_between_two_looks(
    tmp_path: Path, segment_bytes: int
) -> None:
    """Parts and inbox that grow, and inboxes that are sealed, between two looks are no findings."""
    with ExitStack() as stack:
        inbox = stack.enter_context(
            closing(open_writer(tmp_path, "health", sync=False, segment_bytes=segment_bytes))
        )
        parts = [
            stack.enter_context(closing(open_writer(tmp_path, "health", role, sync=False)))
            for role in ("market_role", "risk_role")
        ]
        numbers = count(1)

        def append(_path: Path) -> None:
            for part in parts:
                line = line_of(next(numbers))
                part.append([line])
                inbox.append([line])

        append(tmp_path)

        assert list(verify_tree(tmp_path, files=Meanwhile(append))) == []
    assert next(numbers) > 20


def test_lines_beyond_the_heads_count_in_a_merge_only_once_it_has_ended(var_dir: Path) -> None:
    """A line in a part or an inbox beyond its head is a finding of an ended run alone."""
    run = make_run(var_dir)
    for name in ("inbox.jsonl", "parts/market_role.jsonl"):
        with (var_dir / "queues" / "health" / name).open("ab") as file:
            file.write(line_of(1 if name == "inbox.jsonl" else 2))
    assert list(verify_tree(var_dir / "queues")) == []

    seal_run(var_dir / "queues", run, EXTRA)
    found = [(f.file, f.line) for f in verify_tree(run) if f.code == "QUEUE_CHAIN" and f.line]

    assert found == [("queues/health/inbox.jsonl", 9)]


def test_segment_that_its_writer_is_sealing_verifies_at_every_step(tmp_path: Path) -> None:
    """A live segment under its sealed name, and not yet listed, is verified and no finding."""
    with closing(open_writer(tmp_path, "fills", sync=False, segment_bytes=1000)) as writer:
        writer.append(lines_of(1, 30))
        folder = tmp_path / "fills"
        active, sealed = folder / "inbox.jsonl", folder / f"inbox.{2:06d}.jsonl"
        writer.append(lines_of(31, 3))
        active.rename(sealed)
        assert list(verify_tree(folder)) == list(verify_quick(folder)) == []

        shutil.copy(sealed, active)
        assert codes(folder) == {"QUEUE_MANIFEST"}

        active.unlink()
        change(sealed, 100)
        assert codes(folder) == {"QUEUE_CORRUPT"}


def test_segment_sealed_between_two_looks_is_no_finding(tmp_path: Path) -> None:
    """A journal whose active segment is sealed while it is looked at has no finding."""
    with closing(open_writer(tmp_path, "fills", sync=False, segment_bytes=1000)) as writer:
        writer.append(lines_of(1, 5))

        def seal(path: Path) -> None:
            if path.name == "inbox.jsonl":
                writer.append(lines_of(writer.position.seq + 1, 15))

        for way in (verify_tree, verify_quick):
            before = writer.position.segment
            assert list(way(tmp_path, files=Meanwhile(seal))) == []
            assert writer.position.segment > before


def test_loose_file_of_lines_is_judged_line_by_line(clean: Path, tmp_path: Path) -> None:
    """A loose file of lines is judged line by line, without a head."""
    path = tmp_path / "export.jsonl"
    shutil.copy(clean / "queues" / "fills" / "inbox.jsonl", path)
    assert list(verify_tree(path)) == []
    change(path, 80)
    findings = list(verify_tree(path))

    assert [(finding.code, finding.line) for finding in findings] == [("QUEUE_CORRUPT", 1)]


@pytest.mark.parametrize("name", ["nowhere", "notes.txt"])
def test_what_cannot_be_verified_is_refused(tmp_path: Path, name: str) -> None:
    """A path with nothing to verify is refused."""
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(Refusal):
        list(verify_tree(tmp_path / name))


@pytest.mark.slow
def test_verify_needs_little_memory_however_long_the_queue(var_dir: Path) -> None:
    """Verify needs little more than three of the longest lines, also for an endless one."""
    writer = open_writer(var_dir, "fills", sync=False)
    lines = lines_of(1, 100, 1000)
    for _ in range(250):
        writer.append(lines)
    writer.close()
    (var_dir / "fills" / "loose.jsonl").write_bytes(b"\0" * 100_000_000)
    tracemalloc.start()
    found = list(verify_tree(var_dir / "fills"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert {Path(finding.file).stem for finding in found} == {"loose"}
    assert peak < 60_000_000


def test_chain_of_the_head_is_recomputed_by_anybody(clean: Path) -> None:
    """The head's chain is sha256(chain + digest) over all lines, from 32 zeros."""
    folder = clean / "queues" / "fills"
    chain = CHAIN_START
    for path in [*sorted(folder.glob("inbox.0*.jsonl")), folder / "inbox.jsonl"]:
        for line in path.read_bytes().splitlines():
            chain = chain_next(chain, bytes.fromhex(line[7:71].decode()))

    assert chain in (folder / "inbox.head").read_bytes()


@pytest.mark.parametrize("name", ["manifest.json", "clock.json"])
def test_file_of_a_run_that_fails_its_own_hash_is_found_although_the_seal_fits(
    name: str, var_dir: Path
) -> None:
    """A file that fails its own hash is found, although the seal fits."""
    run = make_run(var_dir)
    path = run / name
    path.write_bytes(path.read_bytes().replace(b'"generation":1', b'"generation":2'))
    seal_run(var_dir / "queues", run, EXTRA)

    assert [(f.file, f.code) for f in verify_tree(run)] == [(name, "ATOMICITY_VIOLATION")]


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "clock.json",
        "seal.json",
        "SHA256SUMS",
        "queues/fills/inbox.jsonl",
        "queues/fills/inbox.000002.jsonl",
        "queues/fills/inbox.head",
        "queues/fills/cursor.json",
        "queues/fills/segments.json",
        "queues/health/parts/risk_role.jsonl",
        "queues/health/parts/risk_role.head",
    ],
)
def test_fifo_in_place_of_any_sealed_file_is_a_finding_and_keeps_nobody_waiting(
    name: str, var_dir: Path
) -> None:
    """A FIFO in place of a sealed file is a finding by name, in full and quick verify."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("no FIFOs on this system")
    run = sealed_run(var_dir)
    (run / name).unlink()
    os.mkfifo(run / name)

    for found in (list(verify_tree(run)), list(verify_quick(run))):
        assert any(finding.file == name for finding in found), found


@pytest.mark.parametrize("name", [f"quarantine/inbox.000001.0.{'0' * 64}.rest", "readers", "parts"])
def test_odd_path_in_a_queue_is_a_finding_before_those_of_other_queues(
    name: str, tmp_path: Path
) -> None:
    """A link or file where none belongs is one finding, and the damage behind it another."""
    for queue in ("fills", "signals"):
        with closing(open_writer(tmp_path, queue, sync=False)) as writer:
            writer.append(lines_of(1, 3))
    path = tmp_path / "fills" / name
    if name.endswith(".rest"):
        path.parent.mkdir(exist_ok=True)
        path.symlink_to("nothing")
    else:
        path.write_bytes(b"")
    change(tmp_path / "signals" / "inbox.jsonl", 100, 1)

    found = {(finding.file, finding.code) for finding in verify_tree(tmp_path)}

    assert (f"fills/{name}", "PERMISSIONS_UNSAFE") in found
    assert ("signals/inbox.jsonl", "QUEUE_CORRUPT") in found


def test_longest_line_that_a_profile_allows_is_no_damage(tmp_path: Path) -> None:
    """Lines up to sixteen megabytes are verified whole."""
    longest = 16 << 20
    lines = [line_of(1), encode_line(b'{"a":"%b"}' % (b"x" * (longest - 81))), line_of(2)]
    with closing(open_writer(tmp_path, "fills", sync=False, line_bytes_max=longest)) as writer:
        writer.append(lines)

    assert len(lines[1]) == longest
    assert list(verify_tree(tmp_path)) == []
    assert list(verify_tree(tmp_path, lambda *_: ())) == []


def test_huge_file_in_place_of_a_critical_one_is_refused_before_it_is_read(var_dir: Path) -> None:
    """A file of a terabyte in place of a critical one is refused before it is read."""
    run = sealed_run(var_dir)
    for name in ("manifest.json", "seal.json"):
        os.truncate(run / name, 1 << 40)
        found = [finding for finding in verify_tree(run) if finding.file == name]

        assert any("too large" in finding.found for finding in found), found


def test_folder_that_holds_nothing_of_a_run_is_refused(tmp_path: Path) -> None:
    """A folder without any part of a run is refused, not called clean."""
    (tmp_path / "empty" / "within").mkdir(parents=True)

    with pytest.raises(Refusal, match="nothing that can be verified"):
        list(verify_tree(tmp_path / "empty"))


@pytest.mark.parametrize("is_primary", [True, False])
def test_queue_whose_inbox_is_gone_is_found_by_what_its_readers_have_read(
    tmp_path: Path, is_primary: bool
) -> None:
    """Lines that a reader has read, and nothing holds any more, are a finding."""
    with closing(open_writer(tmp_path, "fills", sync=False)) as writer:
        writer.append(lines_of(1, 5))
        read = writer.position
    folder = reader_folder(tmp_path, "fills", "risk_role", is_primary)
    folder.mkdir(parents=True, exist_ok=True)
    Cursor(folder / CURSOR_FILE, "night", "fills", "risk_role").save(read)
    assert codes(tmp_path) == set()

    for name in ("inbox.jsonl", "inbox.head"):
        (tmp_path / "fills" / name).unlink()

    for root in (tmp_path, tmp_path / "fills"):
        (found,) = verify_tree(root)
        assert (Path(found.file).name, found.code) == ("inbox.jsonl", "QUEUE_MISSING")
        assert found.expected == "5 lines"


@pytest.mark.parametrize("name", ["health", "risk_actions"])
def test_queue_whose_inbox_is_gone_is_found_though_no_reader_has_read(
    var_dir: Path, name: str
) -> None:
    """Acks and cursor are made after the inbox: a queue's folder with them alone has lost it."""
    make_run(var_dir)
    for part in ("inbox.jsonl", "inbox.head"):
        (var_dir / "queues" / name / part).unlink()

    for root in (var_dir / "queues", var_dir / "queues" / name):
        for findings in (verify_tree(root), verify_quick(root)):
            (found,) = findings
            assert (Path(found.file).name, found.code) == ("inbox.jsonl", "QUEUE_MISSING")
            assert found.expected == "an inbox"


def test_folder_without_a_journal_is_refused_by_both_ways(tmp_path: Path) -> None:
    """A folder without a journal gets no clean verdict, from the quick way either."""
    (tmp_path / "empty").mkdir()

    for way in (verify_tree, verify_quick):
        with pytest.raises(Refusal, match="nothing that can be verified"):
            list(way(tmp_path))
