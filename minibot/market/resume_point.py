"""Resume point of a restarted market role: the last data that a former process wrote.

The last segments of `market_ticks` are read once, and its first lines. They decide only where bars,
trade ids and gaps begin, which symbols were traded, and by which rules a symbol was known that has
meanwhile been delisted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from minibot.events.intervals import INTERVAL_MS
from minibot.events.model import Instrument
from minibot.exchanges.base import DEPTH
from minibot.kernel import canonical
from minibot.kernel.canonical import JsonObject
from minibot.kernel.journal import JournalReader
from minibot.kernel.position import ZERO
from minibot.kernel.segments import end_of, load_segments

STEM = "inbox"
LINES_AT_ONCE = 4096


@dataclass(slots=True)
class ResumePoint:
    """State at the end of the queue.

    `last_ts` is the time of its last line, 0 for an empty queue; `trade_ids` the last trade id by
    symbol; `bar_ends` the exchange time up to which bars are written, by (symbol, interval);
    `followed` the symbols of the last beat (one that joined later starts afresh); `books` the
    symbols whose book was not lost; `heard` the time of the last beat that named a symbol;
    `read_from` the time of the first line of the last segments, where the queue has lines before
    it; `rules` the last rules of each symbol in the lines read: a change between the first lines
    and the last segments is not among them, nor a symbol that joined there; `traded` the traded
    symbols of the last universe in those lines.
    """

    last_ts: int = 0
    trade_ids: dict[str, int] = field(default_factory=dict)
    bar_ends: dict[tuple[str, str], int] = field(default_factory=dict)
    followed: tuple[str, ...] = ()
    books: set[str] = field(default_factory=set)
    heard: dict[str, int] = field(default_factory=dict)
    read_from: int | None = None
    rules: dict[str, Instrument] = field(default_factory=dict)
    traded: tuple[str, ...] = ()

    def left(self) -> dict[str, int]:
        """Return until when each symbol was followed that is followed no longer."""
        return {name: ts for name, ts in self.heard.items() if name not in self.followed}


def read_resume_point(folder: Path) -> ResumePoint:
    """Return the resume point at the end of the queue in `folder`.

    The active segment may be nearly empty after a rotation, so the one before is read too.

    Raises:
        IntegrityError: The queue is damaged.
    """
    tail = ResumePoint()
    sealed = load_segments(folder, STEM)
    start = end_of(sealed[:-1]) if sealed else ZERO
    if start.seq:
        _note_first_rules(tail, folder)
    reader = JournalReader(folder, STEM, start)
    try:
        while lines := reader.read(LINES_AT_ONCE):
            for line in lines:
                _note(tail, line.json)
                if start.seq and tail.read_from is None:
                    tail.read_from = tail.last_ts
    finally:
        reader.close()
    return tail


def _note_first_rules(tail: ResumePoint, folder: Path) -> None:
    """Note the rules of the run's first symbols, which come before everything else."""
    reader = JournalReader(folder, STEM)
    try:
        while reader.position.seq < LINES_AT_ONCE and (lines := reader.read(LINES_AT_ONCE)):
            for line in lines:
                event = canonical.decode(line.json)
                if event["type"] == "instrument":
                    _note_rules(tail, event["payload"])
    finally:
        reader.close()


def _note_rules(tail: ResumePoint, payload: JsonObject) -> None:
    tail.rules[payload["symbol"]] = Instrument.from_json(payload)


def _note(tail: ResumePoint, json: bytes) -> None:
    event = canonical.decode(json)
    tail.last_ts = event["ts"]
    payload = event["payload"]
    if event["type"] == "market_tick" and "trade_id" in payload:
        tail.trade_ids[payload["symbol"]] = payload["trade_id"]
    elif event["type"] == "beat":
        tail.followed = tuple(payload["data_age_ms"])
        tail.heard.update(dict.fromkeys(tail.followed, tail.last_ts))
    elif event["type"] == "instrument":
        _note_rules(tail, payload)
    elif event["type"] == "universe":
        tail.traded = tuple(payload["traded"])
    elif event["type"] == "book":
        tail.books.add(payload["symbol"])
    elif event["type"] == "gap" and payload["stream"] == DEPTH:
        tail.books.discard(payload["symbol"])
    elif event["type"] == "bar":
        interval = payload["interval"]
        end = payload["open_ts"] + INTERVAL_MS[interval]
        key = (payload["symbol"], interval)
        tail.bar_ends[key] = max(end, tail.bar_ends.get(key, 0))
