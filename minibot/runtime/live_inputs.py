"""Live inputs of a role: opened where its logged ones ended, with the cursors of their readers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from minibot.cores.input_order import Decode, Inputs
from minibot.cores.processor import Progress
from minibot.events.model import JsonObject
from minibot.kernel.cursor import Cursor
from minibot.kernel.position import ZERO
from minibot.kernel.queue import reader_folder
from minibot.runtime.context import RoleContext


def reader_folders(context: RoleContext) -> dict[str, Path]:
    """Return the folder of the role's acks, dead letters and cursor for each input."""
    root, name, roles = context.var.queues, context.name, context.roles
    return {
        queue: reader_folder(root, queue, name, roles.is_primary(queue, name))
        for queue in context.spec.inputs
    }


class LiveInputs:
    """Live inputs of a role and the cursors of their readers.

    Args:
        context: The role's.
        folders: Reader folder of each input (`reader_folders`).
        decode: Returns the event of a queue's name and line.
        at: How far the logged inputs went.
    """

    def __init__(
        self, context: RoleContext, folders: Mapping[str, Path], decode: Decode, at: Progress
    ) -> None:
        self.inputs = Inputs(
            {queue: context.open_input(queue, at.inputs.get(queue)) for queue in folders},
            decode,
            at.known,
            is_opened=at.is_opened,
            tick_seq=at.tick_seq,
            decode_many=context.codec.decode_many,
        )
        # Of a restarted role nothing counts as saved: a crash may have left its cursors behind.
        self._saved = dict.fromkeys(folders, ZERO)
        self._cursors = {
            queue: Cursor(folder / "cursor.json", context.run_id, queue, context.name)
            for queue, folder in folders.items()
        }

    def standing(self) -> JsonObject:
        """Return position and backlog of each input, for health."""
        return {
            queue: {"position": reader.position.seq, "backlog": reader.backlog()}
            for queue, reader in self.inputs.readers.items()
        }

    def save_cursors(self) -> None:
        """Save each cursor that differs from the last one saved by this object."""
        for queue, position in self.inputs.positions.items():
            if position != self._saved[queue]:
                self._cursors[queue].save(position)
                self._saved[queue] = position
