"""Store of files by content: each once and whole, at any crash; only the unnamed are swept."""

from __future__ import annotations

import errno
import os
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from minibot.kernel.codes import IO_ENOSPC
from minibot.kernel.errors import IntegrityError, RunStop
from minibot.kernel.store import Content, Store, content_of
from tests.kernel.kernel_support import Crash, FaultFiles, change, failing
from tools.crash_sim.disk import ROOT, SimFiles
from tools.crash_sim.images import PROCESS, RULES, images

PIECES = (b"a" * 1000, b"b" * 1000, b"c" * 10)
WHOLE = content_of(b"".join(PIECES))


def whole_names(folder: Path) -> set[str]:
    """Return the names of stored files, each of which has to be what it is named by."""
    names = {path.name for path in folder.iterdir() if len(path.name) == 64}
    assert all(sha256((folder / name).read_bytes()).hexdigest() == name for name in names)
    return names


def test_content_is_stored_once_and_read_back(tmp_path: Path) -> None:
    """Equal pieces are one file, however they were cut; they come back as they were."""
    store = Store(tmp_path / "content")

    assert store.put(PIECES) == store.put([b"".join(PIECES)]) == WHOLE
    assert b"".join(store.chunks(WHOLE)) == b"".join(PIECES)
    assert whole_names(tmp_path / "content") == {WHOLE.sha256}
    assert store.put([]) == content_of(b"")


@pytest.mark.parametrize("at", range(len(PIECES) + 1))
def test_empty_piece_among_others_loses_none_of_them(tmp_path: Path, at: int) -> None:
    """An empty piece adds nothing and takes nothing away, though each other one stands alone."""
    store = Store(tmp_path / "content")
    for piece in PIECES:
        store.put([piece])

    assert store.put([*PIECES[:at], b"", *PIECES[at:]]) == WHOLE
    assert b"".join(store.chunks(WHOLE)) == b"".join(PIECES)


def test_crash_at_any_call_leaves_no_content_or_the_whole_and_the_next_writer_goes_on(
    tmp_path: Path,
) -> None:
    """A name in the store always stands for the whole of its content."""
    crashes = 0
    while True:
        folder = tmp_path / str(crashes) / "content"
        folder.parent.mkdir()
        files = FaultFiles()
        files.crash_at = crashes
        try:
            Store(folder, files=files).put(PIECES)
        except Crash:
            files.kill()
        else:
            break
        if folder.exists():
            assert whole_names(folder) <= {WHOLE.sha256}
        assert Store(folder).put(PIECES) == WHOLE
        assert [path.name for path in folder.iterdir()] == [WHOLE.sha256]
        crashes += 1
    assert crashes > 6


@pytest.mark.parametrize("rules", RULES)
def test_settled_content_survives_a_power_loss_whole(rules: str) -> None:
    """Once a list may name it, no power loss takes a content's bytes or its name."""
    files = SimFiles(page_bytes=512, is_ordered=rules != "posix")
    store = Store(Path(ROOT) / "content", files=files)
    store.put(PIECES)
    store.settle()
    path = os.path.join(ROOT, "content", WHOLE.sha256)

    left = [
        image.read(path) if path in dict(image.entries) else None
        for choice, image in images(files, rules, Random(1), 200)
        if choice != PROCESS
    ]

    assert left
    assert set(left) == {b"".join(PIECES)}


def test_full_disk_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    """A full disk is IO_ENOSPC; the half-written file is gone, and a later try succeeds."""
    files = FaultFiles()
    store = Store(tmp_path / "content", files=files)
    files.fault = failing("pwrite", "incoming", errno.ENOSPC)

    with pytest.raises(RunStop) as raised:
        store.put(PIECES)

    assert raised.value.reason_code == IO_ENOSPC
    assert list((tmp_path / "content").iterdir()) == []
    assert store.put(PIECES) == WHOLE


def test_file_that_is_not_as_recorded_is_refused_unless_its_content_is_there(
    tmp_path: Path,
) -> None:
    """A record of another content is refused; where that content is stored, nothing is read."""
    store = Store(tmp_path / "content")
    path = tmp_path / "file"
    path.write_bytes(b"other")

    with pytest.raises(IntegrityError):
        store.put_file(path, WHOLE)
    store.put(PIECES)
    path.unlink()

    assert store.put_file(path, WHOLE) == WHOLE


def test_changed_missing_or_linked_content_is_never_read_as_good(tmp_path: Path) -> None:
    """A content is verified against its name, by size first; a link is no content."""
    store = Store(tmp_path / "content")
    store.put(PIECES)
    path = tmp_path / "content" / WHOLE.sha256

    change(path, 5)
    with pytest.raises(IntegrityError):
        list(store.chunks(WHOLE))
    path.write_bytes(b"short")
    with pytest.raises(IntegrityError):
        list(store.chunks(WHOLE))
    path.unlink()
    with pytest.raises(IntegrityError):
        list(store.chunks(WHOLE))
    (tmp_path / "elsewhere").write_bytes(b"".join(PIECES))
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError):
        list(store.chunks(WHOLE))


def test_sweep_removes_what_nobody_names_and_nothing_else(tmp_path: Path) -> None:
    """Named content stays, other content goes, foreign files stay."""
    store = Store(tmp_path / "content")
    kept, gone = store.put(PIECES), store.put([b"gone"])
    (tmp_path / "content" / "notes").touch()

    assert store.sweep({kept.sha256}) == gone.size
    assert {path.name for path in (tmp_path / "content").iterdir()} == {kept.sha256, "notes"}


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        {"size": 1},
        {"size": -1, "sha256": "0" * 64},
        {"size": True, "sha256": "0" * 64},
        {"size": 1, "sha256": "../" + "0" * 61},
        {"size": 1, "sha256": "0" * 64, "more": 1},
    ],
)
def test_entry_that_names_no_content_is_refused(entry: object) -> None:
    """Only a size and a sha256 are an entry, so that no name leads elsewhere."""
    with pytest.raises(ValueError, match="is not a size and a sha256"):
        Content.of_json(entry)
