"""Lines of a tape, of Binance or of Kraken, and the kind of message in each one.

One line is `<receive ns> <message>`. A recorder itself adds marks, `{"minibot":...}`, and the field
`symbol` of a depth snapshot. Kraken's messages stand on a tape as they came, a list in version 1
and an object in version 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from minibot.events.money import amount_text
from minibot.exchanges.base import EDGES, Edges, FrameInvalid
from minibot.exchanges.tapes.frames import REBUILT
from minibot.exchanges.tapes.tape import MARK_BEGINS, lines_of, split_line

BRACKETS: Final = (b"{}", b"[]")

# Kinds of messages.
STREAM: Final = "stream"
SNAPSHOT: Final = "snapshot"
RULES: Final = "rules"
MARK: Final = "mark"
KRAKEN: Final = "kraken"
OTHER: Final = "other"

_STREAM: Final = b'{"stream":"'
MISSED: Final = "missed"
# The end of the times that a line can have.
TIME_NS_END: Final = 10**19


class Line(NamedTuple):
    """One line: its number from 1, Unix nanoseconds of its receipt, the raw message."""

    number: int
    at_ns: int
    message: bytes


def tape_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a plain or gzip tape; empty ones are left out.

    Raises:
        Refusal: The file cannot be read, is damaged or cut short, or a line is not one of a tape.
    """
    for number, line in enumerate(lines_of(path), 1):
        if line.strip():
            yield Line(number, *split_line(path, number, line, BRACKETS))


def kind_of(message: bytes) -> str:
    """Return the kind of a message by how it begins; of rules, by a word anywhere in it."""
    if message.startswith(_STREAM):
        return STREAM
    if message.startswith(MARK_BEGINS):
        return MARK
    if b'"lastUpdateId"' in message[:200]:
        return SNAPSHOT
    if message.startswith((b"[", b'{"channel":', b'{"method":', b'{"event":', b'{"channelID":')):
        return KRAKEN
    return RULES if b'"symbols":' in message else OTHER


def written(at_ns: int, message: bytes) -> bytes:
    """Return a line as it is in a tape."""
    return b"%d %b\n" % (at_ns, message)


# --- lines of a recorder ----------------------------------------------------------------------


class Missed(NamedTuple):
    """Data that a recorder missed: streams of `symbols`, from `from_ns` to `to_ns`."""

    from_ns: int
    to_ns: int
    symbols: tuple[str, ...]
    why: str


def missed_mark(missed: Missed) -> bytes:
    """Return the message that marks missed data."""
    return orjson.dumps({"minibot": MISSED, **missed._asdict()})


def read_mark(message: bytes) -> Missed | None:
    """Return the missed data of a mark; None for a mark of another kind.

    Raises:
        FrameInvalid: Not JSON, or a field is missing or of another type.
    """
    try:
        body = orjson.loads(message)
        if body["minibot"] != MISSED:
            return None
        missed = Missed(body["from_ns"], body["to_ns"], tuple(body["symbols"]), body["why"])
    except (ValueError, KeyError, TypeError) as error:
        raise FrameInvalid(f"mark: {error!r}") from error
    times = (missed.from_ns, missed.to_ns)
    if not all(type(at_ns) is int and 0 <= at_ns < TIME_NS_END for at_ns in times):
        raise FrameInvalid("mark: expected times in Unix nanoseconds")
    if not all(type(text) is str for text in (*missed.symbols, missed.why)):
        raise FrameInvalid("mark: expected symbols, and the reason as a text")
    return missed


def unreadable_mark(data: bytes) -> bytes:
    """Return the message that replaces a frame which is not a JSON object in one line."""
    begins = data[:200].decode("utf-8", "backslashreplace")
    return orjson.dumps({"minibot": "unreadable", "bytes": len(data), "begins": begins})


def depth_message(body: dict[str, Any], symbol: str) -> bytes:
    """Return a depth answer of the venue with its symbol added as the last field."""
    return orjson.dumps({**body, "symbol": symbol})


def snapshot_line(book_id: int, bids: Any, asks: Any, symbol: str, edges: Edges) -> bytes:
    """Return a depth snapshot as the venue would have answered it, and how far it is known."""
    body = {"lastUpdateId": book_id, "bids": bids, "asks": asks, "symbol": symbol, REBUILT: True}
    texts = [None if edge is None else amount_text(edge) for edge in edges]
    return orjson.dumps({**body, EDGES: texts})


def symbol_of_snapshot(body: Any, seen: Callable[[], dict[str, int]]) -> str | None:
    """Return the symbol of a snapshot: its own field, else the one with the nearest update ids.

    Raises:
        FrameInvalid: The body is not a snapshot.
    """
    update_id = body.get("lastUpdateId") if isinstance(body, dict) else None
    if type(update_id) is not int:
        raise FrameInvalid("depth: expected an object with an integer lastUpdateId")
    if isinstance(body.get("symbol"), str):
        return str(body["symbol"])
    ids = seen()
    return min(ids, key=lambda name: abs(ids[name] - update_id), default=None)
