"""Bundle of a run: its files and its report in one archive, which is checked as it is read.

A bundle is a gzip of a ustar archive with one folder, the run's. Small files come first, the seal
among them; so a reader knows size and sha256 of every queue file before it comes. The same run
gives the same bytes. gzip at level 1 packs a demo 5.5 to 1 at 164 MB/s of a core; level 6 packs it
6.3 to 1 at 71 MB/s, xz at its lowest level 6.3 to 1 at 35 MB/s.
"""

from __future__ import annotations

import gzip
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from minibot.kernel.canonical import JsonObject
from minibot.kernel.codes import ATOMICITY_VIOLATION
from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.files import (
    TEMP_SUFFIX,
    chunks_of,
    ensure_folder,
    put_atomic,
    read_hashed,
    write_atomic,
)
from minibot.kernel.seal import LOCK_SUFFIX, QUEUES, SEAL_FILE
from minibot.kernel.seal_audit import streamed_findings
from minibot.kernel.verify import Finding
from minibot.report.proof import made_again, pinned_key
from minibot.runtime.manifest import Manifest, is_run_id

LEVEL: Final = 1
GZIP_FORMAT: Final = 16
"""Added to zlib's window bits, it has zlib write the header and checksum of gzip."""
CHUNK_BYTES: Final = 1 << 20
FILES_MAX: Final = 100_000
SMALL_BYTES_MAX: Final = 64 << 20
"""Most that the files before the queues take together: manifest, seal, sums, report."""
BETWEEN_BYTES_MAX: Final = 1 << 20
"""Most bytes between two files: a header, padding, and tarfile's read-ahead."""

BROKEN: Final = (
    tarfile.TarError, EOFError, OSError, zlib.error, ValueError, RecursionError,
)  # fmt: skip
"""Errors of an archive that is none: headers may name one another deeper than Python calls."""

Progress = Callable[[int], None]


# --- writing ----------------------------------------------------------------------------------


def require_sealed(run_dir: Path) -> None:
    """Refuse a run that has no seal: there is nothing to check its files against."""
    if not (run_dir / SEAL_FILE).is_file():
        raise Refusal(
            f"{run_dir.name} is not sealed.",
            "Bundle it once it has ended; if it was interrupted, the next start seals it.",
        )


def require_place(out: Path) -> None:
    """Refuse a place where a new file cannot stand: there is one, or its folder is missing."""
    if out.exists():
        raise Refusal(f"{out} exists already.", "Name another file with --out.")
    if not out.parent.is_dir():
        raise Refusal(f"{out.parent} is no folder.", "Make it, or name another place with --out.")


def write_bundle(run_dir: Path, out: Path, progress: Progress = lambda done: None) -> int:
    """Pack a sealed run with its report into a new file; return the bytes of the file.

    Args:
        run_dir: The run's folder.
        out: The file; it appears whole or not at all.
        progress: Called with the bytes that were read so far.

    Raises:
        Refusal: The run is not sealed, a file of it is not as sealed or changes meanwhile, the
            bundle exists, its folder does not, or it cannot be written.
        IntegrityError: The seal is damaged.
    """
    require_sealed(run_dir)
    require_place(out)
    seal = read_hashed(run_dir / SEAL_FILE)
    sealed = {**seal.get("run_files", {}), **seal.get("files", {})}
    try:
        put_atomic(out, _packed(run_dir, sealed, progress))
    except RunStop as error:
        raise Refusal(
            f"{out} was not written: {error.detail}.", "Free space, or name another place."
        ) from error
    return out.stat().st_size


def _packed(run_dir: Path, sealed: JsonObject, progress: Progress) -> Iterator[bytes]:
    """Yield the bundle's bytes; report how many of the run's bytes are in.

    Args:
        run_dir: The run's folder.
        sealed: Size and sha256 of each sealed file by name; emptied as they are found.
        progress: As for `write_bundle`.
    """
    # The header of gzip has no time, so that the same run gives the same bytes.
    pack = zlib.compressobj(LEVEL, wbits=zlib.MAX_WBITS | GZIP_FORMAT)
    folder, done = _id_of(run_dir), 0
    for path in _ordered(run_dir):
        name, digest = path.relative_to(run_dir).as_posix(), sha256()
        member = tarfile.TarInfo(str(PurePosixPath(folder, name)))
        member.size, member.mode = path.stat().st_size, 0o600
        yield pack.compress(member.tobuf(tarfile.USTAR_FORMAT))
        size = 0
        for chunk in _chunks(path, name):
            size += len(chunk)
            digest.update(chunk)
            yield pack.compress(chunk)
        if name in sealed and sealed.pop(name)["sha256"] != digest.hexdigest():
            raise _not_as_sealed(run_dir, name)
        if size != member.size:
            raise Refusal(f"{name} changed while it was packed.", "Bundle the run again.")
        yield pack.compress(bytes(-member.size % tarfile.BLOCKSIZE))
        done += member.size
        progress(done)
    for name in sealed:
        raise _not_as_sealed(run_dir, name)
    yield pack.compress(bytes(2 * tarfile.BLOCKSIZE))
    yield pack.flush()


def _chunks(path: Path, name: str) -> Iterator[bytes]:
    try:
        yield from chunks_of(path)
    except RunStop as error:
        raise Refusal(
            f"{name} cannot be read, so there is no bundle: {error.detail}.",
            "See who may read it, and whether its disk is whole.",
        ) from error


def _id_of(run_dir: Path) -> str:
    """Return the run's id, which names its folder; a copy may have another name here."""
    try:
        return Manifest.load(run_dir).run_id
    except RunStop:
        return run_dir.name


def _not_as_sealed(run_dir: Path, name: str) -> Refusal:
    return Refusal(
        f"{name} of {run_dir.name} is not as sealed, so its bundle would verify nowhere.",
        f"See all that is amiss: minibot verify {run_dir.name}. Keep a copy of {run_dir} instead.",
    )


def _ordered(run_dir: Path) -> list[Path]:
    """Return the files of a run: those outside the queues first, each group by name."""
    files = [
        path
        for path in run_dir.rglob("*")
        if path.is_file() and path.suffix not in (LOCK_SUFFIX, TEMP_SUFFIX)
    ]
    queues = run_dir / QUEUES
    return sorted(files, key=lambda path: (queues in path.parents, path.relative_to(run_dir).parts))


# --- reading ----------------------------------------------------------------------------------


class BundleCheck(NamedTuple):
    """Check of a bundle: the run in it, the root of its seal, and the differences from it."""

    run_id: str
    root: str
    findings: list[Finding]


def check_bundle(path: Path, public_key: str | None = None) -> BundleCheck:
    """Return the differences between a bundle's files and the seal in it.

    The bundle is read once. Its queues are only hashed; the other files stand in a temporary folder
    meanwhile, `SMALL_BYTES_MAX` together at most. A broken archive is a finding too.

    Args:
        path: The bundle.
        public_key: The key that must have signed the seal; by default the one that the profile in
            the bundle's manifest pins, if any.
    """
    with tempfile.TemporaryDirectory(prefix="minibot-bundle-") as name:
        folder = Path(name)
        reading = _Reading(path, folder)
        fault = reading.read()
        findings = [] if fault is None else [fault]
        findings += streamed_findings(folder, public_key or pinned_key(folder), reading.found)
        findings += made_again(folder)
        try:
            root = str(read_hashed(folder / SEAL_FILE).get("root", ""))
        except (OSError, RunStop):
            root = ""  # One of the findings names the fault of the seal.
        return BundleCheck(reading.run_id, root, findings)


class _Reading:
    """One pass over a bundle; small files go into a folder, queue files are only measured."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        self._folder = folder
        self.run_id = ""
        self._sizes: dict[str, int] | None = None
        self._small = 0
        self.found: dict[str, tuple[int, str]] = {}

    def read(self) -> Finding | None:
        """Read as far as the bundle is sound; return the fault at which it is not."""
        name = self._path.name
        try:
            with opened(self._path) as (archive, plain):
                while True:
                    plain.allow(BETWEEN_BYTES_MAX)
                    member = archive.next()
                    if member is None:
                        break
                    name = member.name
                    self._take(archive, member, plain)
                plain.to_end()
        except BROKEN as error:
            return Finding(name, 0, 0, ATOMICITY_VIOLATION, "a whole bundle", str(error))
        except RunStop as error:
            return Finding(name, 0, 0, error.reason_code, "a whole file", error.detail)
        return None

    def _take(self, archive: tarfile.TarFile, member: tarfile.TarInfo, plain: Bounded) -> None:
        name = self._name_of(member)
        is_small = not name.startswith(f"{QUEUES}/")
        if is_small:
            self._small += member.size
            if self._sizes is not None or self._small > SMALL_BYTES_MAX:
                raise tarfile.TarError(f"{name} is too large, or comes behind the queues")
        else:
            wanted = self._listed().get(name)
            # One that the seal does not list is a finding later; its size is bounded like a header.
            if member.size > (BETWEEN_BYTES_MAX if wanted is None else wanted):
                raise tarfile.TarError(f"it has {member.size} bytes, and the seal lists {wanted}")
        plain.allow(member.size + BETWEEN_BYTES_MAX)
        source = archive.extractfile(member)
        if source is None:
            raise tarfile.TarError(f"{name} has no content")
        if is_small:
            data = source.read()
            self.found[name] = len(data), sha256(data).hexdigest()
            ensure_folder((self._folder / name).parent)
            write_atomic(self._folder / name, data, is_durable=False)
            return
        digest, size = sha256(), 0
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
        self.found[name] = size, digest.hexdigest()

    def _name_of(self, member: tarfile.TarInfo) -> str:
        """Return the name of a member below the run's folder.

        Raises:
            TarError: It has no place there.
        """
        parts = PurePosixPath(member.name).parts
        is_plain = all(part not in ("..", "/") and not set(part) & set("\\:") for part in parts)
        if not member.isfile() or len(parts) < 2 or not is_plain or not is_run_id(parts[0]):
            raise tarfile.TarError(f"{member.name[:200]!r} has no place in a run's folder")
        if self.run_id not in ("", parts[0]):
            raise tarfile.TarError(f"it holds {self.run_id} and {parts[0]}")
        self.run_id, name = parts[0], "/".join(parts[1:])
        if name in self.found or len(self.found) >= FILES_MAX:
            raise tarfile.TarError(f"{name} comes twice, or is one of too many")
        return name

    def _listed(self) -> dict[str, int]:
        if self._sizes is None:
            if SEAL_FILE not in self.found:
                raise tarfile.TarError("its seal does not come before its queues")
            seal = read_hashed(self._folder / SEAL_FILE)
            try:
                self._sizes = {name: int(entry["size"]) for name, entry in seal["files"].items()}
            except (KeyError, TypeError, AttributeError) as error:
                raise tarfile.TarError(f"its seal lists no files: {error!r}") from error
        return self._sizes


class Bounded:
    """Unpacked bytes of an archive, read only as far as they were allowed.

    Args:
        plain: The unpacked bytes.
    """

    def __init__(self, plain: BufferedIOBase) -> None:
        self._plain = plain
        self._left = 0

    def allow(self, count: int) -> None:
        """Allow more bytes, counted from here."""
        self._left = count

    def read(self, count: int) -> bytes:
        """Return the next bytes.

        Raises:
            TarError: There are more than were allowed.
        """
        data = self._plain.read(count)
        self._left -= len(data)
        if self._left < 0:
            raise tarfile.TarError("it unpacks to more than it states")
        return data

    def to_end(self) -> None:
        """Read the rest, up to the checksum at the end."""
        while self.read(CHUNK_BYTES):
            pass


@contextmanager
def opened(
    path: Path, unpack: Callable[[Path], BufferedIOBase] = gzip.GzipFile
) -> Iterator[tuple[tarfile.TarFile, Bounded]]:
    """Open a packed archive within a `with`; a header and what is around it may be read at once.

    Args:
        path: The archive.
        unpack: Opens it for its unpacked bytes.

    Raises:
        TarError: It does not begin as an archive does; it and others of `BROKEN` come later too.
    """
    with unpack(path) as raw:
        plain = Bounded(raw)
        plain.allow(BETWEEN_BYTES_MAX)
        with tarfile.open(fileobj=plain, mode="r|") as archive:  # type: ignore[call-overload]
            yield archive, plain
