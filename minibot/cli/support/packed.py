"""Packed runs: an archive of one run, unpacked below `var` when a verb names it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Final

from minibot.kernel.errors import Refusal
from minibot.kernel.files import (
    ensure_folder,
    hash_file,
    put_atomic,
    sync,
    sync_folder,
    write_atomic,
)
from minibot.kernel.system import FILES, Access
from minibot.runtime.paths import Var

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator

    from minibot.report.bundle import Bounded

ARCHIVE: Final = "run.tar.xz"
GZIP: Final = b"\x1f\x8b"
MEMBERS_MAX: Final = 10_000
# Runs pack ten to one. An archive that would unpack to more than this factor is a bomb.
UNPACKED_MAX: Final = 100
CHUNK_BYTES: Final = 1024 * 1024


def is_bundle(path: Path) -> bool:
    """Return whether a file begins as a bundle does, with a gzip header."""
    try:
        with path.open("rb") as file:
            return file.read(len(GZIP)) == GZIP
    except OSError:
        return False


def unpacked(archive: Path, var: Path) -> Path:
    """Return the folder of a packed run, unpacked below `var/unpacked` unless it exists there.

    The archive's sha256 names the folder, so it never holds another archive's run. A refused
    archive leaves nothing. A folder that a killed process left has no stamp `complete`, and is
    unpacked again.

    Raises:
        Refusal: The archive is damaged, holds anything but one run's folder, or would take the
            disk from a running night.
        RunStop: The disk refuses.
    """
    # Imported here and below because few runs come packed.
    import gzip
    import lzma
    import shutil
    import tarfile

    from minibot.report.bundle import BROKEN, opened
    from minibot.runtime.runfiles import is_run_folder

    folder = Var(var).unpacked / hash_file(archive)[1][:16]
    stamp = folder / "complete"
    if stamp.is_file():
        return folder / stamp.read_text(encoding="utf-8")
    unpack = gzip.GzipFile if is_bundle(archive) else lzma.LZMAFile
    kept_bytes = _kept_bytes(Var(var))
    try:
        with opened(archive, unpack) as (packed, plain):
            name = _Extraction(archive, folder, kept_bytes).run(packed, plain)
        if not is_run_folder(folder / name):
            raise tarfile.TarError(f"{name} in it is not a run's folder")
        _sync(folder / name)
        write_atomic(stamp, name.encode())
    except (*BROKEN, lzma.LZMAError) as error:
        raise Refusal(
            f"{archive} is not a packed run: {error}.", "Fetch it again from where it came."
        ) from error
    finally:
        if not stamp.is_file():
            shutil.rmtree(folder, ignore_errors=True)
    return folder / name


def _sync(folder: Path) -> None:
    """Sync all below a folder: after a loss of power, torn files with a stamp would look damaged.

    One pass at the end takes a third of the time of a sync with each file.
    """
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            fd = FILES.open(path, Access.WRITE)
            try:
                sync(partial(FILES.sync, fd), path)
            finally:
                FILES.close(fd)
        sync_folder(FILES, place)


def _kept_bytes(var: Var) -> int:
    """Return the bytes of the disk that stay free for the night that is running; 0 for none."""
    from minibot.ops.backup_service import free_min_of
    from minibot.runtime.manifest import Manifest
    from minibot.runtime.running import living_run

    run_id = living_run(var)
    return 0 if run_id is None else free_min_of(Manifest.load(var.run(run_id)).config)


class _Extraction:
    """One pass over an archive that writes its files into a folder, piece by piece."""

    def __init__(self, archive: Path, folder: Path, kept_bytes: int) -> None:
        self._archive = archive
        self._folder = folder
        self._kept_bytes = kept_bytes
        self._bytes_max = UNPACKED_MAX * archive.stat().st_size

    def run(self, packed: tarfile.TarFile, plain: Bounded) -> str:
        """Extract every file; return the one folder that contains them all."""
        import tarfile

        from minibot.report.bundle import BETWEEN_BYTES_MAX

        names = set()
        size = 0
        for count, member in enumerate(packed):
            parts = PurePosixPath(member.name).parts
            is_one = member.isfile() and count < MEMBERS_MAX
            if not is_one or len(parts) < 2 or not _is_plain(parts):
                raise tarfile.TarError(f"{member.name} has no place in a run's folder")
            size += member.size
            if size > self._bytes_max:
                raise tarfile.TarError(f"it unpacks to more than {self._bytes_max} bytes")
            source = packed.extractfile(member)
            if source is None:
                raise tarfile.TarError(f"{member.name} has no content")
            path = self._folder.joinpath(*parts)
            ensure_folder(path.parent)
            plain.allow(member.size + BETWEEN_BYTES_MAX)
            put_atomic(path, self._chunks(source), is_durable=False)
            names.add(parts[0])
            plain.allow(BETWEEN_BYTES_MAX)
        # Read to the end, where the checksum is.
        plain.to_end()
        if len(names) != 1:
            raise tarfile.TarError(f"it holds {len(names)} folders instead of one run's")
        return names.pop()

    def _chunks(self, source: IO[bytes]) -> Iterator[bytes]:
        """Yield the content of a file as long as the disk has room besides its reserve.

        Raises:
            Refusal: It has no more.
        """
        import shutil

        while chunk := source.read(CHUNK_BYTES):
            free = shutil.disk_usage(self._folder).free
            if self._kept_bytes and free - len(chunk) < self._kept_bytes:
                raise Refusal(
                    f"{self._archive}: {free} bytes are free; it needs at least {len(chunk)}, and "
                    f"{self._kept_bytes} have to stay free for the running night.",
                    "Make room, or name a folder on another disk: --var DIR",
                )
            yield chunk


def _is_plain(parts: tuple[str, ...]) -> bool:
    return all(part not in ("..", "/") and "\\" not in part and ":" not in part for part in parts)
