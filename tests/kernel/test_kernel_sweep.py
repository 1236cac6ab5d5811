"""Sweep of a file: it says yes exactly where the slow walk finds nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from minibot.kernel import canonical, seal_audit
from minibot.kernel import sweep as sweeping
from minibot.kernel.codes import IO_EIO
from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.files import read_hashed, write_hashed
from minibot.kernel.line import encode_line
from minibot.kernel.position import ZERO
from minibot.kernel.queue import open_writer
from minibot.kernel.seal import root_of, sums_of
from minibot.kernel.sweep import Job, Sweeper, Swept, sweep
from minibot.kernel.verify import Finding, verify_quick, verify_tree
from tests.kernel.kernel_run import make_run
from tests.kernel.kernel_support import change, line_of


def slow(path: Path) -> list[Finding]:
    """Return every finding of the slow walk, without the sweep."""

    def on_line(_file: str, _line: int, _offset: int, _json: bytes) -> Iterator[Finding]:
        return iter(())

    return list(verify_tree(path, on_line))


@pytest.mark.slow
@pytest.mark.row("N-25", "N-40")
def test_sweep_and_walk_find_the_same_in_a_damaged_run(run: Path) -> None:
    """Findings of random damage are equal with and without the sweep."""
    rnd = random.Random(11)
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.stat().st_size)
    assert list(verify_tree(run)) == slow(run) == []
    for _ in range(120):
        path = rnd.choice(files)
        offset, mask = rnd.randrange(path.stat().st_size), 1 << rnd.randrange(8)
        change(path, offset, mask)
        fast = list(verify_tree(run))
        assert fast == slow(run), f"{path} at {offset}"
        assert fast
        change(path, offset, mask)


@pytest.mark.process
def test_several_processes_find_what_one_finds(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments swept by several processes give the same findings in the same order."""
    monkeypatch.setattr(sweeping, "POOLED_BYTES_MIN", 0)
    assert list(verify_tree(run, jobs=2)) == []
    segment = run / "queues" / "fills" / "inbox.000001.jsonl"
    change(segment, 100)
    change(run / "queues" / "health" / "parts" / "risk_role.jsonl", 200)
    change(run / "queues" / "fills" / "cursor.json", 20)
    found = list(verify_tree(run, jobs=2))

    assert found == slow(run)
    assert {finding.line for finding in found} >= {1, 3}


@pytest.mark.parametrize(
    "hurt",
    [
        lambda line: line[:-1],
        lambda line: b" " + line,
        lambda line: line.upper(),
        lambda line: line + b"\n",
        lambda line: encode_line(b'{"a":1.5}'),
        lambda line: encode_line(b'{"a": 1}'),
        lambda line: encode_line(b'{"b":1,"a":1}'),
        lambda line: encode_line(b'{"a":1,"a":1}'),
        lambda line: encode_line(b'{"a":18446744073709551616}'),
        lambda line: encode_line(b'{"a":' + b"[" * 17 + b"]" * 17 + b"}"),
        lambda line: encode_line(b'{"a":"\\u0041"}'),
        lambda line: encode_line(b'{"a":"\xff"}'),
    ],
)
def test_line_in_any_other_form_is_not_swept(
    tmp_path: Path, hurt: Callable[[bytes], bytes]
) -> None:
    """A line with a right hash in another than the canonical form is not swept."""
    path = tmp_path / "inbox.jsonl"
    path.write_bytes(line_of(1) + hurt(line_of(2)) + line_of(3))

    assert sweep(Job(str(path), ZERO, path.stat().st_size, ())) is None
    path.write_bytes(line_of(1) + line_of(2) + line_of(3))
    swept = sweep(Job(str(path), ZERO, path.stat().st_size, (2,)))
    assert swept is not None
    assert swept.end.seq == 3
    assert swept.places[2].offset == len(line_of(1) + line_of(2))


def test_line_over_the_border_of_two_pieces_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line across two pieces is swept."""
    path = tmp_path / "inbox.jsonl"
    path.write_bytes(b"".join(map(line_of, range(9))))
    job = Job(str(path), ZERO, path.stat().st_size, (1, 4, 9))
    whole = sweep(job)
    assert whole is not None
    for size in (1, 2, 7, 100, 113, 114, 500):
        monkeypatch.setattr(sweeping, "CHUNK_BYTES", size)
        assert sweep(job) == whole


def test_file_that_is_gone_or_shorter_is_not_swept(tmp_path: Path) -> None:
    """A missing or short file is not swept, and the slow walk reports it."""
    path = tmp_path / "inbox.jsonl"
    assert sweep(Job(str(path), ZERO, 10, ())) is None
    path.write_bytes(line_of(1))
    assert sweep(Job(str(path), ZERO, 1000, ())) is None
    with Sweeper() as sweeper:
        assert sweeper.digest(path) is None


# --- verify --quick ---------------------------------------------------------------------------


@pytest.mark.row("N-40")
def test_quick_verify_finds_any_changed_byte_of_a_sealed_run(run: Path) -> None:
    """Quick verify finds any changed byte by the seal, without reading lines."""
    assert list(verify_quick(run)) == []
    rnd = random.Random(5)
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.stat().st_size)
    for path in files:
        data = path.read_bytes()
        change(path, rnd.randrange(len(data)), 1 << rnd.randrange(8))
        assert list(verify_quick(run)), path
        path.write_bytes(data[:-1])
        assert list(verify_quick(run)), path
        path.write_bytes(data)


def test_quick_verify_of_a_queue_compares_its_sealed_segments(run: Path) -> None:
    """Quick verify of a queue compares sizes and hashes of sealed segments with the manifest."""
    folder = run / "queues" / "fills"
    assert list(verify_quick(folder)) == []
    change(folder / "inbox.jsonl", 80)
    assert list(verify_quick(folder)) == []
    change(folder / "inbox.000002.jsonl", 80)
    assert [(f.file, f.code) for f in verify_quick(folder)] == [
        ("inbox.000002.jsonl", "QUEUE_MANIFEST")
    ]
    active = folder / "inbox.jsonl"
    active.write_bytes(active.read_bytes()[:-1])
    assert {finding.code for finding in verify_quick(folder)} == {
        "QUEUE_MANIFEST",
        "QUEUE_TRUNCATED",
    }


def test_quick_verify_of_a_live_queue_lets_its_writer_be(var_dir: Path) -> None:
    """Quick verify of a live queue ignores bytes above the head."""
    make_run(var_dir)
    writer = open_writer(var_dir / "queues", "fills", segment_bytes=1000)
    writer.append([line_of(70)])

    assert list(verify_quick(var_dir / "queues")) == []
    writer.close()


def test_quick_verify_of_a_file_is_refused(run: Path) -> None:
    """Quick verify of a single file is refused, as it has no seal and no list."""
    with pytest.raises(Refusal):
        list(verify_quick(run / "queues" / "fills" / "inbox.jsonl"))


def test_killed_process_of_a_sweep_changes_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed worker's share is swept by its caller, with the same findings."""
    change(run / "queues" / "fills" / "inbox.000002.jsonl", 100)
    wanted = slow(run)

    class Broken:
        def __init__(self, *_: object) -> None: ...

        def submit(self, *_: object) -> Future[None]:
            future: Future[None] = Future()
            future.set_exception(BrokenProcessPool("killed"))
            return future

        def shutdown(self, **_: object) -> None: ...

    monkeypatch.setattr(sweeping, "POOLED_BYTES_MIN", 0)
    monkeypatch.setattr(sweeping, "ProcessPoolExecutor", Broken)

    assert list(verify_tree(run, jobs=2)) == wanted


def test_file_that_no_process_can_read_is_one_finding_among_all(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read error in a sweeping process hides no finding of another file."""
    unreadable = run / "queues" / "fills" / "inbox.000002.jsonl"
    change(run / "queues" / "fills" / "deadletter.jsonl", 100)
    wanted = slow(run)

    class Pool:
        def __init__(self, *_: object) -> None: ...

        def submit(self, _: object, job: Job) -> Future[Swept | None]:
            future: Future[Swept | None] = Future()
            if job.path == str(unreadable):
                future.set_exception(RunStop("kernel.files", IO_EIO, f"read {job.path}: EIO"))
            else:
                future.set_result(sweep(job))
            return future

        def shutdown(self, **_: object) -> None: ...

    monkeypatch.setattr(sweeping, "POOLED_BYTES_MIN", 0)
    monkeypatch.setattr(sweeping, "ProcessPoolExecutor", Pool)

    found = list(verify_tree(run, jobs=2))

    assert ("queues/fills/inbox.000002.jsonl", IO_EIO) in {(f.file, f.code) for f in found}
    assert set(wanted) <= set(found)


def test_large_run_is_hashed_by_threads_with_the_same_findings(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hashing by threads keeps the order of findings."""
    for name in ("fills/inbox.000001.jsonl", "fills/cursor.json", "health/inbox.head"):
        change(run / "queues" / name, 30)
    (run / "queues" / "fills" / "inbox.jsonl").unlink()
    wanted = list(verify_quick(run))
    monkeypatch.setattr(seal_audit, "THREADED_BYTES_MIN", 0)

    assert list(verify_quick(run)) == wanted
    assert len(wanted) == 4


@pytest.mark.parametrize("name", ["queues/\0", "queues/" + "x" * 300, "../" * 40 + "dev/zero", "/"])
def test_forged_seal_that_names_no_file_is_a_finding(run: Path, name: str) -> None:
    """A forged seal without files is a finding, not a traceback."""
    seal = read_hashed(run / "seal.json")
    seal["files"][name] = {"size": 1, "sha256": "ab" * 32}
    seal["root"] = root_of(seal)
    write_hashed(run / "seal.json", seal)
    (run / "SHA256SUMS").write_bytes(sums_of(seal))

    assert [(f.file, f.code) for f in verify_quick(run)] == [(name, "SEAL_MISMATCH")]


def test_form_of_a_sweep_is_that_of_the_codec_for_every_letter_and_number() -> None:
    """Both JSON packages agree on the canonical form of every letter and number."""
    letters = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    for text in (letters, "a" + letters[::-1]):
        assert sweeping._encoded({"a": text}) == canonical.encode({"a": text})
    keys = {chr(code): 0 for code in (0, 9, 32, 65, 90, 97, 127, 0xE9, 0xD7FF, 0xFFFF, 0x1F600)}
    assert sweeping._encoded(keys) == canonical.encode(keys)
    for number in (2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**30, -(10**30)):
        fits = -(2**63) <= number < 2**64
        assert sweeping._is_in_form([b'{"a":%d}' % number]) == fits
    for depth in range(2, 20):
        nested = b'{"a":' + b'[{"b":' * (depth // 2) + b"1" + b"}]" * (depth // 2) + b"}"
        assert sweeping._is_in_form([nested]) == (1 + depth // 2 * 2 <= canonical.DEPTH_MAX)
