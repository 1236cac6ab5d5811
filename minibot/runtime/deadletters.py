"""Dead letters: lines that a reader could not use, kept with their reason and place.

A reader's dead letters lie next to its acks and belong to its input log: restore and replay leave
out the lines that they name. An AI worker's draft is kept there, too, and names no line. A dead
letter that cannot be written stops the run, because no event may vanish. A line that breaks its
contract stops the run as well, once its dead letter is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from minibot.cores.input_order import LineSource
from minibot.events.codec import DETAIL_CHARS_MAX, Codec
from minibot.events.ids import position_id
from minibot.events.model import DeadLetter, Event
from minibot.events.names import RECOMMENDATIONS
from minibot.kernel.errors import ContractError
from minibot.kernel.journal import JournalReader, Line
from minibot.kernel.line import encode_line
from minibot.kernel.queue import DEAD_LETTERS, open_side_writer
from minibot.runtime.clock import RunClock

LINE_CHARS_MAX: Final = 4096


def named_lines(folders: Mapping[str, Path], codec: Codec) -> set[tuple[str, int]]:
    """Return (queue, seq) of every line that the dead letters in these folders name."""
    named: set[tuple[str, int]] = set()
    for queue, folder in folders.items():
        if not (folder / "deadletter.head").exists():
            continue
        with closing(JournalReader(folder, DEAD_LETTERS)) as reader:
            source = LineSource(reader)
            while (line := source.next()) is not None:
                payload = codec.decode(f"{queue}/{DEAD_LETTERS}", line.json).payload
                if isinstance(payload, DeadLetter):
                    named.add((payload.queue, payload.seq))
    return named


class DeadLetters:
    """Dead letters of one reader, next to the input logs of its inputs.

    Args:
        folders: By input, the reader's folder for it.
    """

    def __init__(
        self,
        *,
        role: str,
        run_id: str,
        cmdline_hash: str,
        codec: Codec,
        clock: RunClock,
        folders: Mapping[str, Path],
    ) -> None:
        self._role = role
        self._run_id = run_id
        self._cmdline_hash = cmdline_hash
        self._codec = codec
        self._clock = clock
        self._folders = folders

    def decode(self, queue: str, line: Line) -> Event:
        """Return the event of a line; an input's line that breaks its contract is set aside first.

        Raises:
            ContractError: As the codec raised it; the dead letter is durable by then.
        """
        try:
            return self._codec.decode(queue, line.json)
        except ContractError as error:
            if queue in self._folders:
                self.set_aside(queue, line, error)
            raise

    def set_aside(self, queue: str, line: Line, error: ContractError) -> None:
        """Keep a line of an input with the reason why it cannot be used; durable on return."""
        about = _letter(queue, line.seq, line.offset, line.json, error.reason_code, error.detail)
        self._append(queue, about)

    def set_aside_draft(self, beside: str, draft: bytes, reason_code: str, detail: str) -> None:
        """Keep a draft of a worker, which is a line of no queue; durable on return.

        Args:
            beside: The input whose input log is in the same folder.
            draft: The draft as sent.
            reason_code: Why it cannot be used.
            detail: The reason in words.
        """
        self._append(beside, _letter(RECOMMENDATIONS, 0, 0, draft, reason_code, detail))

    def _append(self, queue: str, about: DeadLetter) -> None:
        name = f"{queue.partition('/')[0]}/{DEAD_LETTERS}"
        with closing(open_side_writer(self._folders[queue], DEAD_LETTERS, sync=True)) as writer:
            event = Event(
                ts=self._clock.now_ms(),
                id=position_id(self._run_id, self._role, name, writer.position.seq + 1),
                source=self._role,
                run_id=self._run_id,
                cmdline_hash=self._cmdline_hash,
                payload=about,
            )
            writer.append([encode_line(self._codec.encode(name, event))])


def _letter(
    queue: str, seq: int, offset: int, line: bytes, reason_code: str, detail: str
) -> DeadLetter:
    return DeadLetter(
        queue=queue,
        seq=seq,
        offset=offset,
        reason_code=reason_code,
        detail=detail[:DETAIL_CHARS_MAX],
        line=line.decode("utf-8", "backslashreplace")[:LINE_CHARS_MAX],
        line_sha256=hashlib.sha256(line).hexdigest(),
    )
