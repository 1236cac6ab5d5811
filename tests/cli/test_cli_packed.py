"""Packed runs from elsewhere: accepted and refused archives."""

from __future__ import annotations

import gzip
import io
import os
import random
import stat
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minibot.cli.support import packed
from minibot.cli.support.packed import ARCHIVE, unpacked
from minibot.kernel.errors import Refusal
from minibot.kernel.files import ensure_folder, read_hashed, write_hashed
from minibot.kernel.system import Files
from minibot.runtime.current_note import CURRENT_FILE
from minibot.runtime.paths import Var
from minibot.runtime.running import process_mark
from tests.runs import ShortRun, verb

MIB = 1024 * 1024
RUN = "20251120_000000"
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


@contextmanager
def peak_bytes() -> Iterator[Callable[[], int]]:
    """Measure memory within a `with`; the function returns the most that was allocated, bytes."""
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        found: list[int] = []
        try:
            yield lambda: found[0]
        finally:
            found.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()


def files_below(folder: Path) -> list[Path]:
    """Return every file in a folder or below."""
    return [path for path in folder.rglob("*") if path.is_file()]


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


def test_unpacked_run_is_on_the_disk_before_it_counts_as_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a loss of power a run of torn files would be read as damaged, now and ever after."""
    synced = list[int]()
    sync = Files.sync

    def noted(files: Files, fd: int) -> None:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            synced.append(os.fstat(fd).st_ino)
        sync(files, fd)

    monkeypatch.setattr(Files, "sync", noted)
    folder = unpacked(pack(tmp_path, SOUND, file_of(f"{RUN}/queues/x")), tmp_path / "var")

    written = {path.stat().st_ino for path in files_below(folder)}
    assert len(written) == 2
    assert written == set(synced[:2])
    assert synced[2:] == [(folder.parent / "complete").stat().st_ino]


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
    with pytest.raises(Refusal, match="is not a packed run") as refused:
        unpacked(path, var)

    assert refused.value.message.endswith(".")
    assert files_below(tmp_path) == [path]


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
    assert not files_below(tmp_path / "var")

    monkeypatch.setattr(packed, "MEMBERS_MAX", 3)
    many = pack(tmp_path, *[file_of(f"20251120_000000/{number}") for number in range(5)])
    with pytest.raises(Refusal, match="has no place"):
        unpacked(many, tmp_path / "var")
    assert not files_below(tmp_path / "var")


@pytest.mark.slow
def test_large_file_of_a_packed_run_takes_little_memory(tmp_path: Path) -> None:
    """A night on the same machine keeps its memory, however large the files of an archive are."""
    large, noise = bytes(32 * MIB), random.Random(7).randbytes(MIB)
    path = pack(
        tmp_path, SOUND, file_of("20251120_000000/large", large), file_of(f"{RUN}/noise", noise)
    )

    with peak_bytes() as peak:
        folder = unpacked(path, tmp_path / "var")

    assert (folder / "large").read_bytes() == large
    assert peak() < 16 * MIB  # Half of it is the window of xz.


@pytest.mark.slow
@pytest.mark.row("F141")
@pytest.mark.fault("F141", by="a header of 64 MB for the name of one file", ends="REJECT")
def test_header_that_holds_megabytes_is_refused_unread(tmp_path: Path) -> None:
    """A name of 64 MB has no place in a run; it is not read into memory to say so."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 64 * MIB
    path = tmp_path / "name.tar.gz"
    with gzip.open(path, "wb", 1) as out:
        out.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(64):
            out.write(b"n" * MIB)

    with peak_bytes() as peak, pytest.raises(Refusal, match="is not a packed run"):
        unpacked(path, tmp_path / "var")

    assert peak() < 8 * MIB


@pytest.mark.row("F141")
@pytest.mark.fault("F141", by="a tar of 1,500 headers that each name the next", ends="REJECT")
def test_headers_that_name_each_other_are_no_error_of_minibot(tmp_path: Path) -> None:
    """An archive of headers alone is refused; as a bundle it has a finding."""
    header = tarfile.TarInfo("././@LongLink")
    header.type = tarfile.GNUTYPE_LONGNAME
    path = tmp_path / "deep.tar.gz"
    path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) * 1500 + bytes(1024)))

    assert verb(tmp_path / "var", "report", str(path)).code == 2
    assert verb(tmp_path / "var", "verify", str(path)).code == 1


@pytest.mark.row("F141")
@pytest.mark.fault("F141", by="a tar with a zero byte in a name", ends="REJECT")
def test_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    """An extended header may hold any bytes."""

    def add(archive: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(f"{RUN}/name")
        member.pax_headers = {"path": f"{RUN}/a\0b"}
        archive.addfile(member)

    with pytest.raises(Refusal, match="is not a packed run"):
        unpacked(pack(tmp_path, SOUND, add), tmp_path / "var")


def test_packed_run_leaves_a_running_night_its_disk(short_run: ShortRun, tmp_path: Path) -> None:
    """An archive that would take what the night keeps free is refused, and leaves nothing."""
    var = Var(tmp_path / "var")
    manifest = read_hashed(short_run.run_dir / "manifest.json")
    manifest["config"]["watchdog"]["disk_free_min_mb"] = 10_000_000
    ensure_folder(var.run(short_run.run_id))
    write_hashed(var.run(short_run.run_id) / "manifest.json", manifest)
    path = pack(tmp_path, SOUND)
    living = os.getppid()
    note = {"run_id": short_run.run_id, "pid": living, "process": process_mark(living)}
    write_hashed(var.root / CURRENT_FILE, note, generation=1)

    with pytest.raises(Refusal, match=r": [0-9]+ bytes are free"):
        unpacked(path, var.root)
    assert not files_below(var.root / "unpacked")

    (var.root / CURRENT_FILE).unlink()
    assert unpacked(path, var.root).is_dir()


def test_archive_of_a_folder_that_is_no_run_leaves_nothing(tmp_path: Path) -> None:
    """A folder that no verb can read takes no room beside a night."""
    path = pack(tmp_path, file_of(f"{RUN}/notes.txt", bytes(1000)))
    with pytest.raises(Refusal, match="is not a packed run"):
        unpacked(path, tmp_path / "var")
    assert files_below(tmp_path) == [path]


@pytest.mark.row("F141")
def test_cut_archive_is_refused(tmp_path: Path) -> None:
    """A truncated archive is refused."""
    path = pack(tmp_path, SOUND)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Refusal, match="is not a packed run"):
        unpacked(path, tmp_path / "var")
