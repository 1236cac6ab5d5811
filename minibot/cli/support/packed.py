"""Packed runs: an archive of one run, unpacked below `var` when a verb names it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from minibot.kernel.errors import Refusal
from minibot.kernel.files import ensure_folder, hash_file, write_atomic

if TYPE_CHECKING:
    import tarfile

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

    The archive's sha256 names the folder, so it never holds another archive's run.

    Raises:
        Refusal: The archive is damaged, or holds anything but one run's folder.
    """
    # Imported here and below because few runs come packed.
    import gzip
    import lzma
    import tarfile
    import zlib

    folder = var / "unpacked" / hash_file(archive)[1][:16]
    stamp = folder / "complete"
    if stamp.is_file():
        return folder / stamp.read_text(encoding="utf-8")
    try:
        opened = gzip.open if is_bundle(archive) else lzma.open
        with opened(archive) as plain, tarfile.open(fileobj=plain, mode="r|") as packed:
            bytes_max = UNPACKED_MAX * archive.stat().st_size
            name = _extract(packed, folder, bytes_max)
            # Read to the end, where the checksum is.
            while plain.read(CHUNK_BYTES):
                if plain.tell() > bytes_max + CHUNK_BYTES:
                    raise tarfile.TarError(f"it unpacks to more than {bytes_max} bytes")
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise Refusal(
            f"{archive} is no packed run: {error}", "Fetch it again from where it came."
        ) from error
    write_atomic(stamp, name.encode())
    return folder / name


def _extract(packed: tarfile.TarFile, folder: Path, bytes_max: int) -> str:
    """Extract every file of an archive; return the one folder that contains them all."""
    import tarfile

    names = set()
    size = 0
    for count, member in enumerate(packed):
        parts = PurePosixPath(member.name).parts
        if not member.isfile() or count >= MEMBERS_MAX or len(parts) < 2 or not _is_plain(parts):
            raise tarfile.TarError(f"{member.name} has no place in a run's folder")
        size += member.size
        if size > bytes_max:
            raise tarfile.TarError(f"it unpacks to more than {bytes_max} bytes")
        source = packed.extractfile(member)
        if source is None:
            raise tarfile.TarError(f"{member.name} has no content")
        path = folder.joinpath(*parts)
        ensure_folder(path.parent)
        write_atomic(path, source.read(), is_durable=False)
        names.add(parts[0])
    if len(names) != 1:
        raise tarfile.TarError(f"it holds {len(names)} folders instead of one run's")
    return names.pop()


def _is_plain(parts: tuple[str, ...]) -> bool:
    return all(part not in ("..", "/") and "\\" not in part and ":" not in part for part in parts)
