"""Restart of a role: its logged inputs processed again by its core, its outputs compared.

A snapshot shortens the way and decides nothing. Outputs that are missing are appended; a difference
between recorded and recomputed ones is STOP(NONDETERMINISM).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from minibot.cores.comparison import Comparison
from minibot.cores.input_order import LineSource, position_from_json, position_to_json, read_ranges
from minibot.cores.processor import Processor
from minibot.cores.protocol import Core
from minibot.events.model import Event, JsonObject, RiskAction
from minibot.events.reasons import NONDETERMINISM
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import HINT_BYTES_MAX, read_hashed, write_hint
from minibot.kernel.journal import ZERO, JournalReader, Line, Position
from minibot.kernel.line import encode_line
from minibot.kernel.queue import open_reader
from minibot.runtime.context import Output, RoleContext
from minibot.runtime.deadletters import named_lines
from minibot.runtime.stop import stop_action

CoreFromConfig = Callable[[JsonObject], Core]
CoreFromState = Callable[[JsonObject, JsonObject], Core]
Decode = Callable[[str, Line], Event]

SNAPSHOT_FILE: Final = "snapshot.json"


def save_snapshot(
    folder: Path,
    run_id: str,
    processor: Processor,
    order: Position,
    inputs: Mapping[str, Position],
    outputs: Mapping[str, Position],
) -> bool:
    """Write a snapshot into the folder of the primary input; False if it is too large.

    Args:
        folder: The role's reader folder for its primary input.
        run_id: The run to which the snapshot belongs.
        processor: The role's, with its core, after all inputs of the log.
        order: Where the input log ends.
        inputs: The position up to which each input is read.
        outputs: The position up to which each output is written.
    """
    data = {
        **processor.state(order, inputs),
        "run_id": run_id,
        "core": processor.core.state(),
        "outputs": {queue: position_to_json(at) for queue, at in outputs.items()},
    }
    return write_hint(folder / SNAPSHOT_FILE, data)


class Restart:
    """Restart of one role from its logged inputs.

    Args:
        context: The role's context.
        folders: Reader folders of its inputs, by queue.
        primary: The input whose folder holds the input log.
        outputs: Its outputs, by queue.
        decode: Returns the event of a line; raises once it has set aside a line that it refuses.
        core_from_config: Makes a core in its initial state.
        core_from_state: Makes a core from a snapshot.

    Attributes:
        sources: The inputs as far as they were taken, by queue, once `run` has returned.
        stop: The STOP that the logged inputs gave, once `run` has returned. The process may have
            ended before it raised the flag or recorded the STOP.
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
        self.stop: RiskAction | None = None
        self._context = context
        self._folders = folders
        self._primary = primary
        self._outputs = outputs
        self._decode = decode
        self._from_config = core_from_config
        self._from_state = core_from_state

    def run(self) -> Processor:
        """Return the processor after all logged inputs; append outputs that are missing.

        Raises:
            IntegrityError: Recorded outputs differ from those of the logged inputs.
        """
        context = self._context
        processor, written = self._snapshot()

        def open_source(queue: str) -> LineSource:
            source = LineSource(self._open_logged(queue, processor.inputs.get(queue)))
            self.sources[queue] = source
            return source

        comparison = Comparison(
            context.codec.encode,
            {
                queue: LineSource(context.open_input(queue, written.get(queue)))
                for queue in self._outputs
            },
            on_missing=self._append,
        )
        folder = self._folders[self._primary]
        named = named_lines(self._folders, context.codec)
        steps = processor.logged(
            read_ranges(folder, self._primary, context.codec.decode, processor.order or ZERO),
            open_source,
            self._decode,
            skip=lambda queue, seq: (queue, seq) in named,
            decode_many=context.codec.decode_many,
        )
        for step, is_admitted in steps:
            if is_admitted:
                events = processor.process(step.taken, step.now)
                for queue, event in events:
                    self._compare(comparison, queue, event)
                self.stop = self.stop or stop_action(events)
        for queue, line in comparison.rest():
            raise self._nondeterminism(f"{queue}:{line.seq} does not follow from the logged inputs")
        return processor

    def _open_logged(self, queue: str, start: Position | None) -> JournalReader:
        if "/parts/" in queue:
            name, _, part = queue.split("/")
            return open_reader(self._context.var.queues, name, part=part)
        return self._context.open_input(queue, start)

    def _compare(self, comparison: Comparison, queue: str, event: Event) -> None:
        found = comparison.take(queue, event)
        if not found.is_equal:
            seq = "end" if found.is_missing else found.seq
            raise self._nondeterminism(
                f"{queue}:{seq}: the logged inputs give another event than the one recorded"
            )

    def _append(self, queue: str, event: Event, json: bytes) -> None:
        self._outputs[queue].writer.append([encode_line(json)])
        self._context.log.info("appended_after_restart", event=event, queue=queue)

    def _nondeterminism(self, detail: str) -> IntegrityError:
        return IntegrityError(self._context.name, NONDETERMINISM, detail)

    def _snapshot(self) -> tuple[Processor, Mapping[str, Position]]:
        """Return the processor of the last snapshot, and how far each output was written then.

        Without a usable one the restart only takes longer: a damaged one is removed, and one of
        another run is left out.

        Raises:
            RunStop: The system refuses to read it.
        """
        context, config = self._context, self._context.config.raw
        path = self._folders[self._primary] / SNAPSHOT_FILE
        try:
            data = read_hashed(path, size_max=HINT_BYTES_MAX) if path.exists() else None
            if data is not None and data["run_id"] == context.run_id:
                processor = self._processor(self._from_state(config, data["core"]))
                written = {name: position_from_json(at) for name, at in data["outputs"].items()}
                processor.restore(data)
                return processor, written
        except (IntegrityError, AttributeError, KeyError, ValueError, TypeError) as error:
            context.log.warning("snapshot_unusable", detail=repr(error))
            # There may be no next snapshot, and this one would be a finding in the sealed run.
            path.unlink()
        return self._processor(self._from_config(config)), {}

    def _processor(self, core: Core) -> Processor:
        context = self._context
        return Processor(
            core,
            self._folders,
            run_id=context.run_id,
            role=context.name,
            cmdline_hash=context.cmdline_hash,
        )
