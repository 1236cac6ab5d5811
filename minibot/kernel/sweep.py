"""Fast proof that a file of lines is right: every hash, the chain, the form of each line.

A sweep either proves a file right or says nothing. If it proves it, the slow walk of `audit` would
find nothing; otherwise that walk goes over the file again and names each place. Files are swept in
several processes: a sealed segment's start position stands in its manifest, so none waits for
another.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from minibot.kernel import canonical
from minibot.kernel.files import FILES, Access, Files, io_stop
from minibot.kernel.line import chains_over, verified
from minibot.kernel.position import Position
from minibot.kernel.scan import LINE_BYTES_CAP

# Small enough that its lines stay in the processor's cache.
CHUNK_BYTES: Final = 1 << 18
# Starting processes takes a moment; a single process sweeps less than this sooner.
POOLED_BYTES_MIN: Final = 32 << 20
# Events nest five deep. The decoder's size doubles with each level: building it for eight takes
# milliseconds at every program start, for the sixteen of `DEPTH_MAX` it took a second.
QUICK_DEPTH: Final = 8


class Swept(NamedTuple):
    """Swept file, proved right from its beginning to an offset.

    Attributes:
        size: Bytes.
        sha256: Hash of these bytes, hex.
        end: The position after the last line.
        places: Position after each requested line, by its seq.
    """

    size: int
    sha256: str
    end: Position
    places: dict[int, Position]


class Job(NamedTuple):
    """One file to be swept: start position, end offset, and the seqs whose positions are wanted."""

    path: str
    start: Position
    end: int
    wanted: tuple[int, ...]


def sweep(job: Job, files: Files = FILES) -> Swept | None:
    """Return the sweep of a file if all of it is right, else None.

    Raises:
        RunStop: The disk cannot be read, or the path is a link or no regular file.
    """
    path = Path(job.path)
    try:
        fd = files.open(path, Access.READ)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise io_stop(error, "open", path) from error
    try:
        return _sweep(job, fd, files)
    finally:
        files.close(fd)


def _sweep(job: Job, fd: int, files: Files) -> Swept | None:
    digest = sha256()
    position = job.start
    places: dict[int, Position] = {}
    rest = b""
    at = 0
    while at < job.end:
        try:
            chunk = files.pread(fd, min(CHUNK_BYTES, job.end - at), at)
        except OSError as error:
            raise io_stop(error, "read", job.path) from error
        if not chunk or len(rest) > LINE_BYTES_CAP:
            return None
        at += len(chunk)
        digest.update(chunk)
        data = rest + chunk
        cut = data.rfind(b"\n") + 1
        rest = data[cut:]
        found = verified(data, cut)
        if found is None or not _is_in_form(found.jsons):
            return None
        lines, _, digests = found
        chains = chains_over(position.chain, digests)
        for seq in job.wanted:
            if position.seq < seq <= position.seq + len(lines):
                places[seq] = _after(position, lines, chains, seq - position.seq)
        position = _after(position, lines, chains, len(lines))
    return None if rest else Swept(at, digest.hexdigest(), position, places)


def _after(position: Position, lines: list[bytes], chains: list[bytes], count: int) -> Position:
    """Return the position after some of the lines of a chunk."""
    if not count:
        return position
    offset = position.offset + sum(map(len, lines[:count]))
    return Position(position.seq + count, position.segment, offset, chains[count - 1])


def _is_in_form(jsons: list[bytes]) -> bool:
    """Return whether every line holds canonical JSON of one object.

    JSON that decodes and encodes to the same bytes is canonical. The decoder accepts no floats, no
    integers outside signed 64 bits, no nesting deeper than `QUICK_DEPTH`, and only objects. What
    it refuses is left to the strict decoder.
    """
    try:
        if [_encoded(_decoded(json)) for json in jsons] == jsons:
            return True
    except (ValueError, RecursionError):  # Includes all errors of both decoders.
        pass
    try:
        for json in jsons:
            canonical.decode(json)
    except (ValueError, RecursionError):
        return False
    return True


def _object() -> Any:
    """Return the type of an object without floats and of at most `QUICK_DEPTH` levels."""
    whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    value: Any = str | whole | bool | None
    for _ in range(QUICK_DEPTH - 1):
        value = str | whole | bool | None | list[value] | dict[str, value]
    return dict[str, value]


_decoded: Final = msgspec.json.Decoder(_object()).decode
_encoded: Final = msgspec.json.Encoder(order="sorted").encode


class Sweeper:
    """Sweeper of files in other processes, ahead of the caller's requests.

    Args:
        jobs: Number of processes; 1 sweeps in this process, on request.
        files: The seam to the system; with another than the real one this process sweeps.
    """

    def __init__(self, jobs: int = 1, *, files: Files = FILES) -> None:
        self._jobs = jobs if files is FILES else 1
        self._files = files
        self._pool: ProcessPoolExecutor | None = None
        self._known: dict[Job, Future[Swept | None]] = {}
        self._by_path: dict[str, Job] = {}

    def __enter__(self) -> Sweeper:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def plan(self, jobs: Iterable[Job]) -> None:
        """Begin with files that will be requested, the largest first.

        Nothing is begun with one job, or for files of less than `POOLED_BYTES_MIN` together.
        """
        planned = sorted(jobs, key=lambda job: -job.end)
        if self._jobs < 2 or sum(job.end for job in planned) < POOLED_BYTES_MIN:
            return
        self._pool = ProcessPoolExecutor(self._jobs, multiprocessing.get_context("spawn"))
        with suppress(BrokenExecutor):
            for job in planned:
                self._known[job] = self._pool.submit(sweep, job)
                self._by_path[job.path] = job

    def swept(self, job: Job) -> Swept | None:
        """Return the sweep of a file if all of it is right, else None.

        Raises:
            RunStop: The disk cannot be read, or the path is a link or no regular file.
        """
        future = self._known.get(job)
        if future is not None:
            with suppress(BrokenExecutor):  # A process was killed: sweep it here.
                return future.result()
        return sweep(job, self._files)

    def digest(self, path: Path) -> tuple[int, str] | None:
        """Return size and sha256 of a file that `plan` began and that is right; None otherwise."""
        job = self._by_path.get(os.fspath(path))
        swept = None if job is None else self.swept(job)
        return None if swept is None else (swept.size, swept.sha256)
