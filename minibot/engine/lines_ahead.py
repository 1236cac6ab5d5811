"""Lines of a long queue, read and verified in another process while this one decodes them.

The other process only saves time. Wherever it ends (at the end of the queue, at damage, or because
it died), this process continues reading from there, so that the result and every refusal are those
of a single process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from minibot.engine.intact_prefix import open_intact
from minibot.engine.worker_pool import default_jobs, streamed
from minibot.kernel.errors import RunStop
from minibot.kernel.journal import Position
from minibot.kernel.position import ZERO
from minibot.kernel.queue import open_reader

# Many lines of one type are decoded together, which takes a third of the time.
BATCH_LINES: Final = 512
# A process starts in a fifth of a second; half of these lines take as long to verify here.
AHEAD_LINES_MIN: Final = 200_000


class Place(NamedTuple):
    """Starting place of a reading in a queue, or in one part of it."""

    root: Path
    queue: str
    part: str | None
    start: Position = ZERO


class Batch(NamedTuple):
    """JSON of consecutive verified lines, and the position after them."""

    end: Position
    jsons: list[bytes]

    @property
    def first_seq(self) -> int:
        """Number of the first line."""
        return self.end.seq - len(self.jsons) + 1


def batches(place: Place) -> Iterator[Batch]:
    """Yield the lines from a place on, up to the first damaged one.

    Raises:
        IntegrityError: The next line is damaged.
    """
    reader = open_intact(place.root, place.queue, place.start, place.part)
    while jsons := reader.look_jsons(BATCH_LINES):
        reader.take(len(jsons))
        yield Batch(reader.position, jsons)


def batches_ahead(place: Place) -> Iterator[Batch]:
    """Yield and raise the same as `batches`, while another process reads ahead.

    For a short queue, or with one CPU core, this process reads alone.
    """
    lines = open_reader(place.root, place.queue, part=place.part).head().lines
    if lines >= AHEAD_LINES_MIN and default_jobs() > 1:
        with streamed(_until_damage, place) as found:
            for batch in found:
                place = place._replace(start=batch.end)
                yield batch
    yield from batches(place)


def _until_damage(place: Place) -> Iterator[Batch]:
    with suppress(RunStop):
        yield from batches(place)
