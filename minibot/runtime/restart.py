"""Restart of a role: its logged inputs go through its core again, its outputs are compared.

A snapshot shortens this and decides nothing. Missing outputs are appended; a difference between
recorded and recomputed outputs is STOP(NONDETERMINISM).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from minibot.cores.input_order import (
    Core,
    KnownIds,
    LineSource,
    Now,
    Taken,
    logged_steps,
    position_from_json,
    position_to_json,
    read_ranges,
)
from minibot.events.model import Event, JsonObject
from minibot.events.names import TICKS
from minibot.events.reasons import NONDETERMINISM
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import read_hashed, write_hashed
from minibot.kernel.journal import ZERO, JournalReader, Line, Position
from minibot.kernel.line import encode_line
from minibot.kernel.queue import open_reader
from minibot.runtime.context import Output, RoleContext
from minibot.runtime.deadletters import named_lines

CoreFromConfig = Callable[[JsonObject], Core]
CoreFromState = Callable[[JsonObject, JsonObject], Core]
Decode = Callable[[str, Line], Event]

SNAPSHOT_FILE: Final = "snapshot.json"


@dataclass(slots=True)
class Standing:
    """Standing of a role: the inputs that it took, and how far its queues are read and written.

    Attributes:
        core: The core after all inputs taken.
        known: Ids of the events taken.
        now: Market time of the last input.
        taken: Number of events taken, over all inputs.
        tick_seq: The last line of `market_ticks`.
        is_opened: Whether `run_opening` was taken.
        order: How far the input log is read; None before the first range.
        inputs, outputs: By queue: how far it is read, or written.
        dup_dropped: Number of duplicate events since the snapshot.
    """

    core: Core
    known: KnownIds
    now: Now
    taken: int = 0
    tick_seq: int = 0
    is_opened: bool = False
    order: Position | None = None
    inputs: Mapping[str, Position] = field(default_factory=dict)
    outputs: Mapping[str, Position] = field(default_factory=dict)
    dup_dropped: int = 0

    def save(self, folder: Path, run_id: str) -> None:
        """Write a snapshot into the folder of the primary input."""
        data = {
            "run_id": run_id,
            "taken": self.taken,
            "tick_seq": self.tick_seq,
            "now": self.now.value,
            "core": self.core.state(),
            "known": self.known.state(),
            "order": position_to_json(self.order or ZERO),
            "inputs": {queue: position_to_json(at) for queue, at in self.inputs.items()},
            "outputs": {queue: position_to_json(at) for queue, at in self.outputs.items()},
        }
        write_hashed(folder / SNAPSHOT_FILE, data)


class Restart:
    """Restart of one role from its logged inputs.

    Args:
        context: The role's context.
        folders: Reader folders of its inputs, by queue.
        primary: The input whose folder holds the input log.
        outputs: Its outputs, by queue.
        decode: Returns the event of a line; sets aside a line that it refuses.
        core_from_config: Makes a core in its initial state.
        core_from_state: Makes a core from a snapshot.

    Attributes:
        sources: The inputs as far as they were taken, by queue, once `run` has returned.
    """

    def __init__(
        self,
        context: RoleContext,
        folders: Mapping[str, Path],
        primary: str,
        outputs: Mapping[str, Output],
        decode: Decode,
        core_from_config: CoreFromConfig,
        core_from_state: CoreFromState,
    ) -> None:
        self.sources: dict[str, LineSource] = {}
        self._context = context
        self._folders = folders
        self._primary = primary
        self._outputs = outputs
        self._decode = decode
        self._from_config = core_from_config
        self._from_state = core_from_state

    def run(self) -> Standing:
        """Return the role's standing; append outputs that it had not written before it ended.

        Raises:
            IntegrityError: Recorded outputs differ from those of the logged inputs.
        """
        context = self._context
        at = self._snapshot() or Standing(self._from_config(context.config.raw), KnownIds(), Now())
        produced = {
            queue: LineSource(context.open_input(queue, at.outputs.get(queue)))
            for queue in self._outputs
        }

        def open_source(queue: str) -> LineSource:
            source = LineSource(self._open_logged(queue, at.inputs.get(queue)))
            self.sources[queue] = source
            return source

        folder = self._folders[self._primary]
        named = named_lines(self._folders, context.codec)
        steps = logged_steps(
            read_ranges(folder, self._primary, context.codec.decode, at.order or ZERO),
            open_source,
            self._decode,
            at.known,
            at.now,
            taken_before=at.taken,
            skip=lambda queue, seq: (queue, seq) in named,
            decode_many=context.codec.decode_many,
        )
        for step in steps:
            at.taken = step.n
            self._step(at, step.taken, step.now, produced)
        for queue, source in produced.items():
            extra = source.next()
            if extra is not None:
                raise self._nondeterminism(
                    f"{queue}:{extra.seq} does not follow from the logged inputs"
                )
        return at

    def _step(
        self, at: Standing, taken: Taken, now: int, produced: Mapping[str, LineSource]
    ) -> None:
        if taken.queue == TICKS:
            at.tick_seq = taken.seq
        at.is_opened = True
        if taken.is_known or taken.queue not in self._folders:
            at.dup_dropped += taken.is_known
            return
        drafts = at.core.step(taken.queue, taken.seq, taken.event, now)
        if drafts:
            self._compare(self._context.finish(drafts, taken.event), produced)

    def _open_logged(self, queue: str, start: Position | None) -> JournalReader:
        if "/parts/" in queue:
            name, _, part = queue.split("/")
            return open_reader(self._context.var.queues, name, part=part)
        return self._context.open_input(queue, start)

    def _compare(self, events: list[tuple[str, Event]], produced: Mapping[str, LineSource]) -> None:
        context = self._context
        for queue, event in events:
            expected = context.codec.encode(queue, event)
            line = produced[queue].next()
            if line is None:
                self._outputs[queue].writer.append([encode_line(expected)])
                context.log.info("appended_after_restart", event=event, queue=queue)
                # Step over our own line, so that the comparison continues behind it.
                line = produced[queue].next()
            if line is None or line.json != expected:
                seq = "end" if line is None else line.seq
                raise self._nondeterminism(
                    f"{queue}:{seq}: the logged inputs give another event than the one that stands"
                )

    def _nondeterminism(self, detail: str) -> IntegrityError:
        return IntegrityError(self._context.name, NONDETERMINISM, detail)

    def _snapshot(self) -> Standing | None:
        """Return the last snapshot; without a usable one the restart only takes longer."""
        path = self._folders[self._primary] / SNAPSHOT_FILE
        if not path.exists():
            return None
        try:
            data = read_hashed(path)
            if data["run_id"] != self._context.run_id:
                return None
            return Standing(
                core=self._from_state(self._context.config.raw, data["core"]),
                known=KnownIds(data["known"]),
                now=Now(data["now"]),
                taken=data["taken"],
                tick_seq=data["tick_seq"],
                is_opened=True,
                order=position_from_json(data["order"]),
                inputs={name: position_from_json(at) for name, at in data["inputs"].items()},
                outputs={name: position_from_json(at) for name, at in data["outputs"].items()},
            )
        except (IntegrityError, KeyError, ValueError, TypeError) as error:
            self._context.log.warning("snapshot_unusable", detail=repr(error))
            # An unreadable hint would be in the way of the next one.
            path.unlink()
            return None
