"""Staged settings: values that an operator changes for the next start, and who changed them.

They lie in a queue of the kernel, `var/ops/settings`, which is both the state and its audit: one
line for each change, with who, why and the values before. They hold for starts of the profile that
was changed, from the next one on, until they are taken back. A running night is never changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from minibot.events.model import JsonObject
from minibot.kernel import canonical
from minibot.kernel.codes import QUEUE_LOCKED
from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.files import ensure_folder
from minibot.kernel.journal import JournalWriter, Line
from minibot.kernel.queue import open_reader, open_writer, queue_folder

QUEUE: Final = "settings"
VERSION: Final = 1
_BATCH: Final = 512


@dataclass(frozen=True, slots=True)
class Change:
    """Change of staged settings.

    Attributes:
        at_ms: When, Unix ms.
        who: The operator, or `page`.
        why: Reason for the record.
        profile: Name of the profile for whose starts it holds.
        put: New values by dotted key.
        taken_back: Keys for which the profile's own value holds again.
        before: Values that would have held without the change, by dotted key; None where the
            profile has none.
    """

    at_ms: int
    who: str
    why: str
    profile: str
    put: Mapping[str, Any]
    taken_back: tuple[str, ...]
    before: Mapping[str, Any]

    def to_json(self) -> JsonObject:
        """Return the change as its line holds it."""
        return {
            "v": VERSION,
            "at_ms": self.at_ms,
            "who": self.who,
            "why": self.why,
            "profile": self.profile,
            "put": dict(self.put),
            "taken_back": list(self.taken_back),
            "before": dict(self.before),
        }


def changes_of(ops: Path) -> list[Change]:
    """Return every change, oldest first.

    Args:
        ops: The folder `var/ops`.

    Raises:
        Refusal: The record is damaged, or of another version: the staged values are unknown.
    """
    folder = queue_folder(ops, QUEUE)
    if not folder.is_dir():
        return []
    found: list[Change] = []
    try:
        with closing(open_reader(ops, QUEUE)) as reader:
            while lines := reader.read(_BATCH):
                found += [_change_of(line) for line in lines]
    except (RunStop, ValueError, KeyError, TypeError) as error:
        why = error if isinstance(error, RunStop) else f"a line holds no change: {error!r}"
        raise Refusal(
            f"the staged settings in {folder} cannot be read: {why}.",
            "Move that folder away: then the profile's own values hold.",
        ) from error
    return found


def staged_values(changes: Iterable[Change], profile: str) -> dict[str, Any]:
    """Return the values that hold from the next start of a profile on, by dotted key."""
    values: dict[str, Any] = {}
    for change in changes:
        if change.profile == profile:
            for key in change.taken_back:
                values.pop(key, None)
            values.update(change.put)
    return values


@contextmanager
def held_record(ops: Path) -> Iterator[JournalWriter]:
    """Hold the record of changes, so that no one else changes settings meanwhile.

    Args:
        ops: The folder `var/ops`; made where it is missing.

    Raises:
        Refusal: Another process or thread holds it.
        RunStop: The disk refuses, or the record is damaged.
    """
    ensure_folder(ops.parent)
    ensure_folder(ops)
    try:
        writer = open_writer(ops, QUEUE)
    except RunStop as error:
        if error.reason_code != QUEUE_LOCKED:
            raise
        raise Refusal("somebody else changes settings at this moment.", "Try again.") from error
    with closing(writer):
        yield writer


def record_change(writer: JournalWriter, change: Change) -> None:
    """Append a change durably; it holds from the next start on.

    Raises:
        RunStop: The disk refuses.
    """
    writer.append_json([canonical.encode(change.to_json())])


def _change_of(line: Line) -> Change:
    change = canonical.decode(line.json)
    if change["v"] != VERSION:
        raise ValueError(f"line {line.seq} is of version {change['v']}, this code knows {VERSION}")
    return Change(
        int(change["at_ms"]),
        str(change["who"]),
        str(change["why"]),
        str(change["profile"]),
        dict(change["put"]),
        tuple(change["taken_back"]),
        dict(change["before"]),
    )
