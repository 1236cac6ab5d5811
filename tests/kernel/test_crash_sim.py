"""Crash simulator: its disk acts like a real one, its verdicts are right, and it finds nothing.

`.ci/run crashsim` judges a drawn quarter million of states; these tests judge a slice.
"""

from __future__ import annotations

import inspect
import os
import random
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.kernel import head
from minibot.kernel.files import Access, Files, ensure_folder, write_atomic
from minibot.kernel.head import SLOT_BYTES, HeadWriter, pack_slot, read_head_bytes, slots
from minibot.kernel.position import Position
from tools.crash_sim.campaign import run_campaign
from tools.crash_sim.disk import FOLDER, ROOT, SimFiles
from tools.crash_sim.images import PROCESS, RULES, Image, images
from tools.crash_sim.plan import Program
from tools.crash_sim.recipe import parse_recipe, recipe_of, replay, shrink
from tools.crash_sim.tally import Judge, Place

STATES = 12_000
SEED = 3
FILE = ROOT + os.sep + "file"
TAKEN = Program(
    "role",
    "xfs",
    512,
    1 << 20,
    (["append", "inbox", 1, 0], ["note"], ["take", 1], ["append", "inbox", 2, 40]),
)


# --- the campaign -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.row(
    "F01", "F09", "F25", "F28", "F34", "F39", "F40", "F49", "F160", "I1", "I2", "I3", "I10"
)
@pytest.mark.fault(
    "F01",
    "F09",
    "F25",
    "F28",
    "F34",
    "F39",
    "F40",
    "F49",
    "F160",
    by="crash simulator: every call, every choice of what survives",
    ends="SURVIVE",
)
def test_crashes_of_every_kind_at_every_call_break_no_invariant() -> None:
    """Recovery after any crash finds the acknowledged lines, and no false one."""
    result = run_campaign(STATES, SEED, jobs=1)

    assert [recipe_of(program, found.place) for program, _, found in result.findings] == []
    assert result.states >= STATES
    assert result.distinct > STATES // 5
    assert set(result.kinds) >= {"eager", "lazy", "role", "merge", "seal"}


@pytest.mark.process
@pytest.mark.campaign
def test_campaign_with_one_seed_is_the_same_on_one_core_and_on_two() -> None:
    """A campaign's seed gives the same result on one core and on two."""
    one, two = (run_campaign(1, SEED, jobs) for jobs in (1, 2))

    assert one == two


def _open_and_cut_at_once(self: HeadWriter, position: Position) -> None:
    """Open a head as the product once did: its marks are cut before the new slots are durable."""
    files = self._files
    old = read_head_bytes(self.path, files=files)
    self._sequence = max((slot.sequence for slot in slots(old)[:2] if slot), default=0) + 2
    newer, older = (pack_slot(position, self._sequence - back) for back in (0, 1))
    data = newer + older if self._sequence % 2 == 0 else older + newer
    data += pack_slot(position, self._boot) * 2 if self._is_lazy else b""
    if files.stat(self.path) is None:
        write_atomic(self.path, data, files=files)
        self._fd = self._open()
        return
    self._fd = self._open()
    for at in range(0, len(data), SLOT_BYTES):
        files.pwrite(self._fd, data[at : at + SLOT_BYTES], at)
    files.truncate(self._fd, len(data))
    self.sync()


@pytest.mark.slow
@pytest.mark.row("F160")
def test_crash_while_marks_of_a_lazy_head_are_cut_refuses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A crash while marks of a lazy head are cut must not cause a refusal.

    A lazily synced journal was recovered by a writer that syncs; old slots without their marks
    then promised lines that the first power loss had taken.
    """
    assert Judge(TAKEN, "7", nested=1).run().findings == []

    monkeypatch.setattr(HeadWriter, "open", _open_and_cut_at_once)

    found = Judge(TAKEN, "7", nested=1).run().findings
    assert [finding.text.split(":")[2] for finding in found] == [" QUEUE_TRUNCATED"]


@pytest.mark.slow
def test_finding_is_shrunk_and_replayed_from_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finding shrinks to a recipe that shows the same fault, and passes when it is repaired."""
    with monkeypatch.context() as patched:
        patched.setattr(HeadWriter, "open", _open_and_cut_at_once)
        (found,) = Judge(TAKEN, "7", nested=1).run().findings
        shorter, found = shrink(TAKEN, found, "7")
        recipe = recipe_of(shorter, found.place)
        assert len(shorter.steps) == 2
        assert replay(*parse_recipe(recipe)) == found.text

    # The repaired kernel makes one call more, so the same crash has another number.
    assert Judge(shorter, "7").run().findings == []


def test_recipe_that_names_no_state_is_refused() -> None:
    """A text that is no recipe, and a call that the program never reaches, are refused."""
    with pytest.raises(ValueError, match="no recipe"):
        parse_recipe('{"program": 1}')
    with pytest.raises(ValueError, match="calls, the recipe names"):
        replay(*parse_recipe(recipe_of(TAKEN, _place_at(100_000))))


def _place_at(call: int) -> Place:
    return Place(call, PROCESS)


# --- the disk ---------------------------------------------------------------------------------


def test_simulated_disk_has_every_call_of_the_seam() -> None:
    """The simulated disk has every call of the seam, so none reaches the real disk."""
    public = {name for name, _ in inspect.getmembers(Files, inspect.isfunction) if name[0] != "_"}

    assert public - set(vars(SimFiles)) == set()


NAMES = st.sampled_from("ab")
CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, st.binary(max_size=40), st.integers(0, 60)),
        st.tuples(st.just("cut"), NAMES, st.integers(0, 60)),
        st.tuples(st.sampled_from(["replace", "link"]), NAMES, st.sampled_from("bc")),
        st.tuples(st.sampled_from(["create", "unlink", "mkdir", "rmdir"]), st.sampled_from("abcd")),
    ),
    max_size=12,
)


@given(calls=CALLS)
@settings(max_examples=60, deadline=None)
def test_simulated_disk_answers_as_a_real_one(calls: list[tuple[object, ...]]) -> None:
    """Any calls have the same results, errors and contents on both disks."""
    with tempfile.TemporaryDirectory() as folder:
        sim = SimFiles()
        ensure_folder(Path(ROOT) / "x", files=sim)
        real, simulated = Path(folder), Path(ROOT) / "x"
        answers = [
            [_answer(files, root, call) for call in calls] + [_state(files, root)]
            for files, root in ((Files(), real), (sim, simulated))
        ]

    assert answers[0] == answers[1]


def _answer(files: Files, root: Path, call: tuple[object, ...]) -> object:
    verb, name, *rest = call
    path = root / str(name)
    acts: dict[str, Callable[[], object]] = {
        "create": lambda: files.close(files.open(path, Access.CREATE)),
        "write": lambda: _with(files, path, lambda fd: files.pwrite(fd, rest[0], rest[1])),  # type: ignore[arg-type]
        "cut": lambda: _with(files, path, lambda fd: files.truncate(fd, rest[0])),  # type: ignore[arg-type]
        "replace": lambda: files.replace(path, root / str(rest[0])),
        "link": lambda: files.link(path, root / str(rest[0])),
        "unlink": lambda: files.unlink(path),
        "mkdir": lambda: files.mkdir(path),
        "rmdir": lambda: files.rmdir(path),
    }
    status = files.stat(path)
    if status is not None and status.is_folder and verb not in ("mkdir", "rmdir"):
        return None  # The kernel never does this, so systems may give different errors.
    if any(files.stat(root / str(other)) for other in rest if verb == "replace"):
        target = files.stat(root / str(rest[0]))
        if target is not None and target.is_folder:
            return None
    try:
        return acts[str(verb)]()
    except OSError as error:
        return type(error).__name__ if error.errno else "error"


def _with(files: Files, path: Path, act: Callable[[int], object]) -> object:
    fd = files.open(path, Access.WRITE)
    try:
        return act(fd)
    finally:
        files.close(fd)


def _state(files: Files, root: Path) -> list[object]:
    found: list[object] = []
    for name in files.listdir(root):
        status = files.stat(root / name)
        assert status is not None
        if status.is_folder:
            found.append((name, "folder"))
            continue
        fd = files.open(root / name, Access.READ)
        found.append((name, files.pread(fd, 1000, 0), files.fstat(fd).size == status.size))
        files.close(fd)
    return found


# --- what a crash may take --------------------------------------------------------------------


def after_crash(files: SimFiles, rules: str, extra: int = 200) -> set[bytes | None]:
    """Return every content of the file that a power loss may leave; None for its loss."""
    found: set[bytes | None] = set()
    for choice, image in images(files, rules, random.Random(1), extra):
        if choice != PROCESS:
            found.add(_content(image))
    return found


def _content(image: Image) -> bytes | None:
    return image.read(FILE) if FILE in dict(image.entries) else None


def written(files: SimFiles, data: bytes, offset: int = 0) -> int:
    """Write to the file, made where it is missing; return its descriptor."""
    with suppress(FileExistsError):
        files.close(files.open(FILE, Access.CREATE))
    fd = files.open(FILE, Access.WRITE)
    files.pwrite(fd, data, offset)
    return fd


@pytest.mark.parametrize("rules", RULES)
def test_synced_file_with_a_synced_name_survives_whole(rules: str) -> None:
    """A synced file with a synced name survives whole."""
    files = SimFiles(is_ordered=rules != "posix")
    files.sync(written(files, b"a" * 1200))
    files.sync_folder(ROOT)

    assert after_crash(files, rules) == {b"a" * 1200}


@pytest.mark.parametrize("rules", RULES)
def test_file_without_a_sync_may_lose_name_pages_and_parts_of_pages(rules: str) -> None:
    """An unsynced file may lose its name, whole pages and parts of pages."""
    files = SimFiles(page_bytes=512, is_ordered=rules != "posix")
    written(files, b"a" * 1200)

    found = after_crash(files, rules)

    assert {None, b"", b"a" * 1200} <= found
    assert any(data and not data.strip(b"\0") for data in found)
    holes = {data for data in found if data and data.startswith(bytes(512)) and b"a" in data}
    assert bool(holes) == (rules != "ext4")  # On ext4 a file grows over written pages only.
    assert any(data is not None and b"a" in data and len(set(data[:512])) == 2 for data in found)


@pytest.mark.parametrize("rules", RULES)
def test_older_state_of_a_page_may_be_what_the_disk_has(rules: str) -> None:
    """The disk may hold an older version of a page, as the system writes back at any time."""
    files = SimFiles(is_ordered=rules != "posix")
    files.sync(written(files, b"0" * 8))
    files.sync_folder(ROOT)
    written(files, b"1" * 8)
    written(files, b"2" * 8)

    assert {b"0" * 8, b"1" * 8, b"2" * 8} <= after_crash(files, rules)


def test_names_survive_in_order_with_a_journal_and_each_for_itself_without() -> None:
    """Only POSIX rules allow the second of two new names without the first."""
    for rules, expected in (("xfs", False), ("posix", True)):
        files = SimFiles(is_ordered=rules != "posix")
        files.mkdir(ROOT + os.sep + "first")
        written(files, b"")
        alone = [
            image
            for _, image in images(files, rules, random.Random(1), 0)
            if FILE in dict(image.entries) and len(image.entries) == 2
        ]
        assert bool(alone) == expected


def test_replaced_file_that_was_not_synced_may_be_empty() -> None:
    """A replaced file without sync may be empty under its new name, as seen on xfs."""
    files = SimFiles()
    files.sync(written(files, b"old"))
    files.sync_folder(ROOT)
    temp = FILE + ".tmp"
    fd = files.open(temp, Access.CREATE)
    files.pwrite(fd, b"new content", 0)
    files.replace(temp, FILE)

    assert {b"old", b"", b"new content"} <= after_crash(files, "xfs")


@pytest.mark.row("F06")
def test_page_whose_sync_failed_stays_lost_after_a_sync_that_succeeds() -> None:
    """A page whose sync failed stays lost, although the next sync succeeds."""
    files = SimFiles()
    fd = written(files, b"a" * 10)
    files.sync_folder(ROOT)

    def fail(call: str, _: str) -> None:
        if call == "sync":
            raise OSError(5, "input/output error")

    files.before = fail
    with pytest.raises(OSError, match="input/output"):
        files.sync(fd)
    files.before = None
    files.sync(fd)

    assert files.read(FILE) == b"a" * 10
    assert after_crash(files, "xfs") == {b""}


def test_death_of_a_process_takes_nothing_but_its_locks() -> None:
    """A process's death takes its descriptors and locks, not the cache."""
    files = SimFiles()
    fd = written(files, b"data")
    assert files.try_lock(fd)
    other = files.open(FILE, Access.WRITE)
    assert not files.try_lock(other)

    files.kill()

    fresh = files.open(FILE, Access.WRITE)
    assert files.try_lock(fresh)
    assert files.read(FILE) == b"data"
    assert files.names[ROOT] is FOLDER
    assert head.newest(b"") is None
