"""Parts of a recording: saved after a crash, and listed when closed."""

from __future__ import annotations

import errno
import gzip
import subprocess
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibot.data.recording import OPEN, SUMS, Recording
from minibot.data.tapes import changed, parts_of
from minibot.exchanges.tapes.lines import tape_lines
from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.files import Files
from tests.exchanges.tapes.tape_lines import demo

NOW_NS = 1_763_649_000 * 10**9


def record(folder: Path, count: int = 300, flushes: tuple[int, ...] = ()) -> Recording:
    """Return a recording whose open part has the first lines of the shipped tape."""
    recording = Recording(folder)
    part = recording.open(NOW_NS)
    for number, line in enumerate(demo(count), 1):
        part.add(line.at_ns, line.message)
        if number in flushes:
            part.flush()
    return recording


@pytest.mark.process
def test_closed_part_is_a_tape_with_its_sum(tmp_path: Path) -> None:
    """A closed part is named by its beginning and listed with its sum; the next part follows."""
    recording = record(tmp_path)
    first = recording.close()
    part = recording.open(NOW_NS + 10**9)
    part.add(NOW_NS, b"{}")
    second = recording.close()

    assert first is not None
    assert second is not None
    assert first.name == "tape-20251120T143000Z-0001.gz"
    assert second.name == "tape-20251120T143001Z-0002.gz"
    assert [line.message for line in tape_lines(first)] == [line.message for line in demo(300)]
    done = subprocess.run(["sha256sum", "-c", SUMS], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert changed(parts_of([tmp_path])) == []
    first.write_bytes(first.read_bytes() + b"\0")
    second.unlink()
    assert [path.name for path, _ in changed([first])] == [first.name, second.name]


class FullOnce(Files):
    """A disk that is full for one write or one sync, and has room again afterwards."""

    def __init__(self, call: str) -> None:
        super().__init__()
        self.call = call
        self.is_due = False

    def _fail(self, call: str) -> None:
        if self.is_due and call == self.call:
            self.is_due = False
            raise OSError(errno.ENOSPC, "no space left")

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        self._fail("pwrite")
        return super().pwrite(fd, data, offset)

    def datasync(self, fd: int) -> None:
        self._fail("datasync")
        super().datasync(fd)


@pytest.mark.parametrize("call", ["pwrite", "datasync"])
def test_part_that_the_disk_refused_is_not_listed_as_whole(tmp_path: Path, call: str) -> None:
    """Bytes of a refused write are lost: the part stays open, and is saved up to there."""
    files = FullOnce(call)
    recording = Recording(tmp_path, files)
    part = recording.open(NOW_NS)
    lines = list(demo(300))
    for line in lines[:100]:
        part.add(line.at_ns, line.message)
    part.flush()
    part.add(lines[100].at_ns, lines[100].message)
    files.is_due = True
    with pytest.raises(RunStop):
        part.flush()
    for line in lines[101:]:
        with suppress(RunStop):
            part.add(line.at_ns, line.message)

    with pytest.raises(RunStop):
        recording.close()

    assert list(tmp_path.glob("tape-*.gz")) == []
    ((target, count, _),) = Recording(tmp_path).saved()
    assert count >= 100
    assert [line.message for line in tape_lines(target)] == [line.message for line in lines[:count]]


def test_part_without_a_line_is_not_kept(tmp_path: Path) -> None:
    """A part without a line is deleted."""
    recording = Recording(tmp_path)
    recording.open(NOW_NS)

    assert recording.close() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.floats(0, 1))
def test_crash_at_any_byte_keeps_all_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    """A crash at any byte keeps all flushed lines; the part is closed, listed and plays on."""
    folder = tmp_path_factory.mktemp("crash")
    recording = record(folder, flushes=(100, 200))
    flushed = {}
    part = recording.part
    assert part is not None
    part.flush()
    data = part.path.read_bytes()
    for count in (100, 200, 300):
        flushed[count] = _size_of(folder / f"twin-{count}", count)
    size = int(share * len(data))
    path = part.path
    path.write_bytes(data[:size])
    saved = Recording(folder).saved()

    kept = max((count for count, needed in flushed.items() if needed <= size), default=0)
    assert not list(folder.glob(f"*{OPEN}"))
    if not saved:
        assert kept == 0
        return
    ((target, lines, last_ns),) = saved
    expected = demo(300)
    assert lines >= kept
    assert [line.message for line in tape_lines(target)] == [
        line.message for line in expected[:lines]
    ]
    assert last_ns == max(line.at_ns for line in expected[:lines])
    assert changed([target]) == []
    assert target.name in (folder / SUMS).read_text()


def _size_of(folder: Path, count: int) -> int:
    """Return the size of the same part after the flush at `count` lines."""
    folder.mkdir()
    recording = record(folder, count, flushes=(100, 200))
    part = recording.part
    assert part is not None
    part.flush()
    return part.size


def test_line_that_lacks_its_end_is_not_saved(tmp_path: Path) -> None:
    """A line without its end is dropped, even one that stops at a brace."""
    path = tmp_path / f"tape-20251120T143000Z-0001.gz{OPEN}"
    lines = b'%d {"a":1}\n%d {"a":{"b":2}' % (NOW_NS, NOW_NS + 1)
    path.write_bytes(gzip.compress(lines))
    ((target, count, last_ns),) = Recording(tmp_path).saved()

    assert (count, last_ns) == (1, NOW_NS)
    assert [line.message for line in tape_lines(target)] == [b'{"a":1}']


def test_part_left_open_is_saved_in_the_memory_of_a_few_lines(tmp_path: Path) -> None:
    """A part of 256 MB unpacks to gigabytes: what a crash left open is never whole in memory."""
    part = Recording(tmp_path).open(NOW_NS)
    for number in range(20_000):
        part.add(NOW_NS + number, b'{"number":%d,"text":"%s"}' % (number, b"x" * 200))
    part.flush()
    tracemalloc.start()
    try:
        ((target, count, last_ns),) = Recording(tmp_path).saved()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (count, last_ns) == (20_000, NOW_NS + 19_999)
    assert sum(1 for _ in tape_lines(target)) == 20_000
    assert peak < 1_500_000


def test_part_closed_right_before_a_crash_is_listed_at_the_next_start(tmp_path: Path) -> None:
    """A part closed right before a crash is listed at the next start."""
    closed = record(tmp_path).close()
    (tmp_path / SUMS).unlink()
    recording = Recording(tmp_path)

    assert recording.saved() == []
    assert closed is not None
    assert closed.name in (tmp_path / SUMS).read_text()
    assert recording.last_ns() == max(line.at_ns for line in demo(300))


def test_folder_without_a_closed_part_is_refused(tmp_path: Path) -> None:
    """A folder without a closed part is refused in words."""
    with pytest.raises(Refusal, match="no closed part"):
        parts_of([tmp_path])
