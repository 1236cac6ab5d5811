"""Files of a run's folder: compared with their written state, set aside when foreign."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import hashed_bytes
from minibot.runtime.runfiles import (
    RunFiles,
    is_run_folder,
    make_room,
    missing_of,
    own_runs,
    require,
    run_folders,
)
from tests.manifests import made_manifest

CLOCK = "clock.json"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Empty run folder."""
    folder = tmp_path / "runs" / "20261122_000000"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def kept(run: Path) -> RunFiles:
    """Manifest and clock as the launcher writes them, checked once."""
    files = RunFiles(run)
    files.put_hashed("manifest.json", {"run_id": run.name})
    files.put_hashed(CLOCK, {"speed": "1"})
    assert files.differences() == []
    return files


def replaced_by_folder(path: Path) -> None:
    """Put a folder in a file's place."""
    path.unlink()
    path.mkdir()


def replaced_by_link(path: Path) -> None:
    """Put a link to a copy in a file's place."""
    copy = path.parent.parent / "copy"
    shutil.move(path, copy)
    path.symlink_to(copy)


def replaced_by_fifo(path: Path) -> None:
    """Put a FIFO in a file's place."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("no FIFOs on this system")
    path.unlink()
    os.mkfifo(path)


DAMAGES: list[Callable[[Path], object]] = [
    lambda path: path.write_bytes(path.read_bytes().replace(b'"1"', b'"2"')),
    lambda path: path.write_bytes(hashed_bytes({"speed": "3"}, 1)),
    lambda path: os.truncate(path, 5),
    lambda path: os.truncate(path, 1 << 40),
    lambda path: path.unlink(),
    replaced_by_folder,
    replaced_by_link,
    replaced_by_fifo,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_file_that_is_no_longer_as_written_is_named(
    damage: Callable[[Path], object], run: Path, kept: RunFiles
) -> None:
    """A file changed, forged, cut, huge, missing or replaced is named in one sentence."""
    damage(run / CLOCK)

    (why,) = kept.differences()
    assert why.startswith(CLOCK)
    with pytest.raises(IntegrityError, match=CLOCK) as caught:
        require(run, kept.text)
    assert caught.value.reason_code == "RUN_FILE_CHANGED"


def test_file_that_was_only_touched_or_put_back_is_as_written(run: Path, kept: RunFiles) -> None:
    """A file touched, or rewritten with the same bytes, is no damage."""
    data = (run / CLOCK).read_bytes()
    (run / CLOCK).unlink()
    (run / CLOCK).write_bytes(data)
    os.utime(run / CLOCK, (1, 1))

    assert kept.differences() == []
    require(run, kept.text)


def test_folder_that_is_gone_or_another_one_is_named_and_never_made_anew(
    run: Path, kept: RunFiles
) -> None:
    """A missing or exchanged folder is named and never made again."""
    moved = run.parent / "moved"
    run.rename(moved)
    assert "is gone" in str(kept.changed())
    run.symlink_to(moved)
    assert "a link" in str(kept.changed())
    run.unlink()
    shutil.copytree(moved, run)
    assert "another folder" in str(kept.changed())

    with pytest.raises(IntegrityError, match="another folder"):
        kept.put("metrics.json", b"{}")
    assert not (run / "metrics.json").exists()


@pytest.mark.parametrize("name", ["metrics.json", "seal.json", "queues", "SHA256SUMS"])
def test_file_of_ours_that_somebody_else_wrote_is_named_and_set_aside(
    name: str, run: Path, kept: RunFiles
) -> None:
    """A foreign file under one of our names is named and set aside."""
    (run / name).write_bytes(b"planted")
    assert name in str(kept.changed())
    with pytest.raises(IntegrityError, match=name):
        kept.put(name, b"ours")

    (done,) = kept.set_aside()
    assert name in done
    assert (run / f"{name}.foreign").read_bytes() == b"planted"
    assert kept.differences() == []


def test_room_is_made_in_place_of_a_link_that_is_not_followed(run: Path, tmp_path: Path) -> None:
    """A link in a folder's place is replaced by a new folder and reported; its target stays."""
    moved = tmp_path / "moved"
    run.rename(moved)
    run.symlink_to(moved)
    done = make_room(run)

    assert len(done) == 2
    assert run.is_dir()
    assert not run.is_symlink()
    assert os.readlink(run.with_name(f"{run.name}.foreign")) == str(moved)
    assert make_room(run) == []
    assert list(moved.iterdir()) == []


def test_run_that_has_lost_its_manifest_is_still_a_run(run: Path, kept: RunFiles) -> None:
    """A run without manifest is recognised by its remains; an empty folder is none."""
    (run.parent / "20261122_000001").mkdir()
    (run.parent / "20261123_000000.foreign").symlink_to(run)
    (run / "manifest.json").unlink()

    assert run_folders(run.parent) == [run]
    assert is_run_folder(run)
    assert missing_of(run, ("manifest.json", CLOCK, "queues")) == [
        "manifest.json is missing",
        "queues is missing",
    ]
    assert run_folders(run.parent / "nowhere") == []


def test_run_counts_under_its_own_id_alone(run: Path) -> None:
    """A copy is none, whatever its name; one without a manifest to read may be the run."""
    made = made_manifest(run.name, {}, {}, 1)
    copied, named, lost = (
        run.with_name(name) for name in ("20261123_000000", "good_night", "20261124_000000")
    )
    for folder in (copied, named, lost):
        folder.mkdir()
    for folder in (run, copied, named):
        made.write(folder)
    (lost / "manifest.json").touch()

    assert list(own_runs(run.parent)) == [(lost, None), (run, made)]
