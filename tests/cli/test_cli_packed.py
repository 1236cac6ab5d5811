"""Packed runs from elsewhere: accepted and refused archives."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from minibot.cli.support import packed
from minibot.cli.support.packed import ARCHIVE, unpacked
from minibot.kernel.errors import Refusal

Add = Callable[[tarfile.TarFile], None]


def file_of(name: str, data: bytes = b"{}") -> Add:
    """Return a function that adds a plain file."""

    def add(archive: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))

    return add


def special(name: str, kind: bytes, target: str = "") -> Add:
    """Return a function that adds a link or a device."""

    def add(archive: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        archive.addfile(member)

    return add


def pack(folder: Path, *adds: Add) -> Path:
    """Return an archive with these members."""
    path = folder / ARCHIVE
    with tarfile.open(path, mode="w:xz") as archive:
        for add in adds:
            add(archive)
    return path


SOUND = file_of("20251120_000000/manifest.json")


def test_packed_run_is_unpacked_once(tmp_path: Path) -> None:
    """A packed run is unpacked once, below a name derived from its content."""
    path = pack(tmp_path, SOUND, file_of("20251120_000000/queues/fills/inbox.jsonl", b""))
    folder = unpacked(path, tmp_path / "var")

    assert folder.name == "20251120_000000"
    assert (folder / "manifest.json").read_bytes() == b"{}"
    assert unpacked(path, tmp_path / "var") == folder


@pytest.mark.row("F141")
@pytest.mark.fault(
    "F141", by="a tar with ../, absolute, drive, link, device, two folders", ends="REJECT"
)
@pytest.mark.parametrize(
    "add",
    [
        pytest.param(file_of("20251120_000000/../../../out"), id="up"),
        pytest.param(file_of("../out"), id="up-first"),
        pytest.param(file_of("/tmp/out/out"), id="absolute"),
        pytest.param(file_of("20251120_000000/C:\\out"), id="drive"),
        pytest.param(file_of("20251120_000000/..\\..\\out"), id="up-windows"),
        pytest.param(special("20251120_000000/link", tarfile.SYMTYPE, "/etc"), id="link"),
        pytest.param(special("20251120_000000/hard", tarfile.LNKTYPE, "../x"), id="hard-link"),
        pytest.param(special("20251120_000000/device", tarfile.CHRTYPE), id="device"),
        pytest.param(special("20251120_000000/pipe", tarfile.FIFOTYPE), id="pipe"),
        pytest.param(file_of("20251121_000000/manifest.json"), id="two-folders"),
        pytest.param(file_of("manifest.json"), id="no-folder"),
    ],
)
def test_archive_with_a_member_that_has_no_place_is_refused(tmp_path: Path, add: Add) -> None:
    """A member outside the archive's own folder is refused, and nothing is written."""
    var = tmp_path / "deep" / "var"
    path = pack(tmp_path, SOUND, add)
    with pytest.raises(Refusal, match="is no packed run"):
        unpacked(path, var)

    outside = [found for found in tmp_path.rglob("*") if found.is_file() and found != path]
    assert all(found.is_relative_to(var / "unpacked") for found in outside)


@pytest.mark.slow
@pytest.mark.row("F141")
@pytest.mark.fault(
    "F141", by="a tar of 64 MB of zeros in some kB, and of many files", ends="REJECT"
)
def test_bomb_is_refused_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bomb in size or number of files is refused before it is written."""
    bomb = pack(tmp_path, SOUND, file_of("20251120_000000/zeros", bytes(64 * 1024**2)))
    with pytest.raises(Refusal, match="unpacks to more than"):
        unpacked(bomb, tmp_path / "var")
    assert not list((tmp_path / "var").rglob("zeros"))

    monkeypatch.setattr(packed, "MEMBERS_MAX", 3)
    many = pack(tmp_path, *[file_of(f"20251120_000000/{number}") for number in range(5)])
    with pytest.raises(Refusal, match="has no place"):
        unpacked(many, tmp_path / "var")


@pytest.mark.row("F141")
def test_cut_archive_is_refused(tmp_path: Path) -> None:
    """A truncated archive is refused."""
    path = pack(tmp_path, SOUND)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Refusal, match="is no packed run"):
        unpacked(path, tmp_path / "var")
