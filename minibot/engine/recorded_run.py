"""A recorded run, opened for reading: its manifest, its queues and its codec."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final, TypeVar

from minibot.cores.input_order import KnownIds, LineSource, LoggedStep, Now, logged_steps
from minibot.engine.batched_inputs import Desk, Run, logged_runs, ranges_of
from minibot.engine.intact_prefix import open_intact
from minibot.engine.lines_ahead import Place, batches, batches_ahead
from minibot.events.codec import Codec
from minibot.events.fast_codec import TAIL_BYTES, Row
from minibot.events.model import Ack, Event, RunOpening
from minibot.events.names import CONTROL, TICKS
from minibot.events.reasons import SCHEMA_INVALID
from minibot.events.registry import Contracts
from minibot.events.roles import Roles, RoleSpec
from minibot.kernel.cursor import position_of
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import read_hashed
from minibot.kernel.journal import Line
from minibot.kernel.queue import CURSOR_FILE, PARTS, open_reader, queue_folder, reader_folder
from minibot.runtime.current_note import has_queues_of
from minibot.runtime.deadletters import named_lines
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var

# The queues that every core reads.
SHARED = frozenset({TICKS})

Found = TypeVar("Found")

_tail: Final = itemgetter(slice(-TAIL_BYTES, None))  # The part of a line that holds its type.


@cache
def _contracts() -> Contracts:
    """Return the project's contracts, compiled once per process."""
    return Contracts.of_project()


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run's folder, opened for reading: its manifest, its queues and its codec."""

    run_dir: Path
    manifest: Manifest
    roles: Roles
    codec: Codec

    @classmethod
    def open(cls, run_dir: Path) -> Recorded:
        """Return a recorded run, sealed or still under `var/queues`."""
        manifest = Manifest.load(run_dir)
        roles = Roles.of_project()
        codec = Codec(_contracts(), roles, manifest.run_id, manifest.cmdline_hashes(), "replay")
        return cls(run_dir, manifest, roles, codec)

    @property
    def queues(self) -> Path:
        """Folder of the run's queues: its own once its seal stands.

        Until then its own folder may have only a part of them. So those under `var` are read if the
        note there names this run, or its lines do where there is no note, or if the run has no
        queues of its own.
        """
        sealed = self.run_dir / "queues"
        if os.path.lexists(self.run_dir / "seal.json"):
            return sealed
        var = Var(self.run_dir.parents[1])
        is_noted = has_queues_of(var, self.run_dir.name) and var.queues.exists()
        return sealed if sealed.exists() and not is_noted else var.queues

    @property
    def quote_asset(self) -> str:
        """Asset in which the run counts its money."""
        return str(self.manifest.config["portfolio"]["quote_asset"])

    def opening(self) -> tuple[int, RunOpening]:
        """Return the opening of the run, with its time, Unix ms.

        Raises:
            IntegrityError: `control` is damaged, or does not begin with the opening.
        """
        _, first = next(self.events(CONTROL), (0, None))
        if first is None or not isinstance(first.payload, RunOpening):
            detail = "control does not begin with run_opening"
            raise IntegrityError("replay", SCHEMA_INVALID, detail)
        return first.ts, first.payload

    def decode(self, queue: str, line: Line) -> Event:
        """Return the event of one line."""
        return self.codec.decode(queue.partition("/")[0], line.json)

    def lines(self, queue: str) -> LineSource:
        """Return the lines of a queue, or of one part of it, up to the first damage."""
        name, _, part = queue.partition("/parts/")
        return LineSource(open_intact(self.queues, name, part=part or None))

    def events(self, queue: str, *, is_ahead: bool = False) -> Iterator[tuple[int, Event]]:
        """Yield (seq, event) of a queue, or of one part of it, up to the first damage.

        Args:
            queue: Name of the queue, or of one part of it.
            is_ahead: Whether another process reads ahead if the queue is long.
        """
        decode_many = self.codec.decode_many
        for first_seq, events in self._decoded(queue, is_ahead, decode_many, lambda event: [event]):
            yield from enumerate(events, first_seq)

    def parts(self, queue: str) -> list[str]:
        """Return the names of a shared queue's existing parts, in the form that `events` takes.

        Parts are the truth: lines that a killed launcher had not merged yet are only there.
        """
        folder = queue_folder(self.queues, queue) / PARTS
        return [
            f"{queue}/{PARTS}/{role}"
            for role in self.roles.writers(queue)
            if (folder / f"{role}.head").exists()
        ]

    def rows(self, queue: str, *, is_ahead: bool = False) -> Iterator[tuple[int, Row]]:
        """Yield times and payloads of `events` in runs of one type, each with its first seq."""
        return self._decoded(queue, is_ahead, self.codec.decode_row, _alone)

    def _decoded(
        self,
        queue: str,
        is_ahead: bool,
        decode_many: Callable[[str, Sequence[bytes]], Found | None],
        alone: Callable[[Event], Found],
    ) -> Iterator[tuple[int, Found]]:
        """Yield the result of decoding many lines of one type, each with the seq of the first line.

        Lines that cannot be decoded together come one by one, decoded by `alone`.
        """
        name, _, part = queue.partition("/parts/")
        read = batches_ahead if is_ahead else batches
        for batch in read(Place(self.queues, name, part or None)):
            seq = batch.first_seq
            for _, same in groupby(batch.jsons, _tail):
                jsons = list(same)
                found = decode_many(name, jsons)
                if found is not None:
                    yield seq, found
                else:
                    for place, json in enumerate(jsons, seq):  # A refused line raises here.
                        yield place, alone(self.codec.decode(name, json))
                seq += len(jsons)

    def order_log(self, role: RoleSpec) -> Iterator[Ack]:
        """Yield the ranges of a role's input log."""
        queue = role.order_log
        if queue is None:
            return
        folder = self._folder(role, queue)
        if not (folder / "acks.head").exists():
            return
        yield from ranges_of(folder, queue, self.codec)

    def steps(self, role: RoleSpec) -> Iterator[LoggedStep]:
        """Yield the inputs of a role in logged order, without lines that its dead letters name."""
        named = self.named(role)
        return logged_steps(
            self.order_log(role),
            self.lines,
            self.decode,
            KnownIds(),
            Now(),
            skip=lambda queue, seq: (queue, seq) in named,
            decode_many=self.codec.decode_many,
        )

    def desk(self, readers: int = 1) -> Desk:
        """Return a desk where several roles of one process share one reading of each queue."""
        return Desk(self.codec, lambda queue: self.lines(queue).reader, readers)

    def runs(self, role: RoleSpec, desk: Desk, reader: int) -> Iterator[Run]:
        """Yield the inputs of a role in logged order, many at once; see `named`.

        Args:
            role: Name of the role.
            desk: The desk where it reads.
            reader: Its number at the desk.
        """
        return logged_runs(self.order_log(role), desk, reader, SHARED)

    def logged(self, role: RoleSpec) -> dict[str, int]:
        """Return the last line of each queue in a role's input log."""
        return {ack.queue: ack.to_seq for ack in self.order_log(role)}

    def named(self, role: RoleSpec) -> set[tuple[str, int]]:
        """Return queue and number of the lines in a role's dead letters, which were not taken."""
        folders = {queue: self._folder(role, queue) for queue in role.inputs}
        return named_lines(folders, self.codec)

    def published(self, role: RoleSpec) -> int:
        """Return the total number of lines in the queues that a role reads."""
        return sum(open_reader(self.queues, queue).head().lines for queue in role.inputs)

    def positions(self, role: RoleSpec) -> dict[str, int]:
        """Return the number of lines of each queue that a role has finished, by its cursors.

        A cursor moves only after the outputs of the lines before it are durable, so a run that is
        still going can be proven up to there.
        """
        done = {}
        for queue in role.inputs:
            path = self._folder(role, queue) / CURSOR_FILE
            done[queue] = position_of(read_hashed(path)).seq if path.exists() else 0
        return done

    def _folder(self, role: RoleSpec, queue: str) -> Path:
        is_primary = self.roles.queues[queue].primary_reader == role.name
        return reader_folder(self.queues, queue, role.name, is_primary)


def _alone(event: Event) -> Row:
    return Row([event.ts], [event.payload])
