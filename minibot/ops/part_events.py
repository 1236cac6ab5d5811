"""Reader of a shared queue while the run goes on: each published event of each part, once."""

from __future__ import annotations

from collections.abc import Iterator

from minibot.cores.input_order import LineSource
from minibot.engine.recorded_run import Recorded
from minibot.events.model import Event
from minibot.kernel.queue import open_reader


class PartEvents:
    """Events of all parts of one queue, each read once; parts appear when their writers start.

    Args:
        recorded: The run.
        queue: A queue with parts, such as `incidents`.
    """

    def __init__(self, recorded: Recorded, queue: str) -> None:
        self._recorded = recorded
        self._queue = queue
        self._sources: dict[str, LineSource] = {}

    def look(self) -> Iterator[Event]:
        """Yield what was written since the last look, part by part.

        Raises:
            IntegrityError: A line is damaged.
        """
        for role in self._recorded.roles.writers(self._queue):
            source = self._sources.get(role)
            if source is None:
                queues = self._recorded.queues
                if not (queues / self._queue / "parts" / f"{role}.head").exists():
                    continue
                source = LineSource(open_reader(queues, self._queue, part=role))
                self._sources[role] = source
            while (line := source.next()) is not None:
                yield self._recorded.decode(self._queue, line)

    def close(self) -> None:
        """Close the files; a later look opens them again and yields everything once more."""
        for source in self._sources.values():
            source.reader.close()
        self._sources.clear()
