"""Input of the clerk: the same rule, input log and cursors as in the trading roles.

The AI's output is not a function of its inputs alone (the worker is another process with its own
speed), so it is never replayed or compared. But which inputs the clerk processed, and when, stands
in its input log as for every role. From time to time a hint (a small file) saves the place in that
log and the recent rows; after a restart the logged inputs since the last hint are processed again,
to find out what the worker has to be sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from minibot.cores.input_order import LineSource, Taken, read_ranges
from minibot.cores.processor import Progress
from minibot.events.model import JsonObject
from minibot.events.names import TICKS
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import HINT_BYTES_MAX, read_hashed, write_hint
from minibot.kernel.journal import ZERO
from minibot.runtime.clock import machine_ns
from minibot.runtime.context import RoleContext
from minibot.runtime.deadletters import named_lines
from minibot.runtime.input_log import open_input_log
from minibot.runtime.live_inputs import LiveInputs, reader_folders

HINT_FILE: Final = "snapshot.json"
HOUSEKEEPING_NS: Final = 5_000_000_000


class Intake:
    """Inputs of `ai_role`, from restore to end."""

    def __init__(self, context: RoleContext) -> None:
        self.context = context
        self.folders = reader_folders(context)
        self._letters = context.dead_letters(self.folders)
        self._progress = Progress(self.folders)
        self._order = open_input_log(context, self.folders)
        self._housekept_ns = 0
        self._hinted_ns = machine_ns()

    @property
    def now(self) -> int:
        """Return the market time of the last processed input."""
        return self._progress.now.value

    # --- restart ------------------------------------------------------------------------------

    def hint(self) -> list[Any]:
        """Return the clerk's state at the last hint, and start after it; empty without a hint."""
        path = self.folders[TICKS] / HINT_FILE
        if not path.exists():
            return []
        try:
            data = read_hashed(path, size_max=HINT_BYTES_MAX)
            if data["run_id"] != self.context.run_id:
                return []
            recent = list(data["recent"])
            self._progress.restore(data)
        except (IntegrityError, AttributeError, KeyError, ValueError, TypeError) as error:
            self.context.log.warning("snapshot_unusable", detail=repr(error))
            # No next one may come, and this one would be a finding in the sealed run.
            path.unlink()
            return []
        return recent

    def logged(self) -> Iterator[Taken]:
        """Yield the logged inputs after the hint again; afterwards `start` continues there."""
        context, progress = self.context, self._progress
        sources: dict[str, LineSource] = {}

        def open_source(queue: str) -> LineSource:
            source = LineSource(context.open_input(queue, progress.inputs.get(queue)))
            return sources.setdefault(queue, source)

        named = named_lines(self.folders, context.codec)
        for step, is_admitted in progress.logged(
            read_ranges(self.folders[TICKS], TICKS, context.codec.decode, progress.order or ZERO),
            open_source,
            self._letters.decode,
            skip=lambda queue, seq: (queue, seq) in named,
            decode_many=context.codec.decode_many,
        ):
            if is_admitted:
                yield step.taken
        behind = {queue: source.position for queue, source in sources.items()}
        progress.inputs = {**progress.inputs, **behind}

    def start(self) -> None:
        """Start reading live where the logged inputs ended."""
        self._live = LiveInputs(self.context, self.folders, self._letters.decode, self._progress)
        self._inputs = self._live.inputs
        self._order.taken = self._progress.taken

    # --- live ---------------------------------------------------------------------------------

    def take(self, events_max: int, apply: Callable[[Taken, int], None]) -> int:
        """Pass up to `events_max` events with their market time to `apply`; return their number.

        The input log gets each range before anything that follows from it is written, because the
        role closes the range (`close_range`) before it appends.
        """
        took = 0
        if not self._inputs.poll():
            return took
        while took < events_max and (taken := self._inputs.next()) is not None:
            took += 1
            now = self._progress.now.of(self._order.take(taken.queue, taken.seq), taken.event)
            if self._progress.admit(taken):
                apply(taken, now)
        return took

    def set_aside(self, draft: bytes, reason_code: str, why: str) -> None:
        """Set a draft aside as a dead letter of the clerk; it refers to no line of a queue."""
        self._letters.set_aside_draft(TICKS, draft, reason_code, why)

    def close_range(self) -> None:
        """Log the range of inputs processed so far; to be called before an output."""
        self._order.close()

    def wait(self, timeout_s: float) -> None:
        """Sleep for the timeout.

        The AI must not slow the other roles down: waking at every tick would take CPU time from the
        cores, so it polls a few times a second.
        """
        time.sleep(timeout_s)

    def backlog(self) -> int:
        """Return the number of published lines that were not processed yet."""
        return self._inputs.backlog()

    @property
    def taken(self) -> int:
        """Return the number of inputs processed in this run."""
        return self._order.taken

    def positions(self) -> JsonObject:
        """Return position and backlog of each input, for health."""
        return self._live.standing()

    def housekeep(self, recent: Callable[[], list[Any]]) -> None:
        """Sync the input log, save cursors and write a hint, each from time to time."""
        self._order.close_when_due()
        moment = machine_ns()
        if moment - self._housekept_ns < HOUSEKEEPING_NS:
            return
        self._housekept_ns = moment
        self._order.sync()
        self._order.sync_copies()
        self._live.save_cursors()
        interval_ns = self.context.config.watchdog.snapshot_interval_ms * 1_000_000
        if moment - self._hinted_ns >= interval_ns:
            self._hinted_ns = moment
            self._write_hint(recent())

    def _write_hint(self, recent: list[Any]) -> None:
        self._order.close()
        self._progress.taken = self._order.taken
        place = self._progress.state(self._order.position_writer.position, self._inputs.positions)
        hint = {**place, "run_id": self.context.run_id, "recent": recent}
        write_hint(self.folders[TICKS] / HINT_FILE, hint)

    def end(self) -> None:
        """Write the open range and the cursors, and release the files."""
        self._order.end()
        self._live.save_cursors()
