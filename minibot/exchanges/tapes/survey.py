"""Survey of a tape: span, symbols, streams and their counts, missed data, clock skew."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

import orjson

from minibot.events.unit_sizes import NS_PER_MS
from minibot.exchanges.base import FrameInvalid
from minibot.exchanges.tapes.lines import (
    KRAKEN,
    MARK,
    STREAM,
    Line,
    Missed,
    kind_of,
    read_mark,
)

# One in this many messages of a stream is parsed for its event time.
SKEW_EVERY: Final = 50
SILENCE_NS: Final = 5 * 10**9


@dataclass(slots=True)
class Survey:
    """Survey of a tape's lines, taken one by one; all times are Unix nanoseconds of receipt.

    `silences` are spans of five seconds and more without any message. `skews_ms` are event time
    less receive time; the error of the recorder's own clock is included.
    """

    lines: int = 0
    first_ns: int = 0
    last_ns: int = 0
    backward: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    missed: list[Missed] = field(default_factory=list)
    silences: list[tuple[int, int]] = field(default_factory=list)
    skews_ms: list[float] = field(default_factory=list)

    def take(self, line: Line) -> str:
        """Take one line; return the kind of its message, which need not be whole."""
        self._time(line.at_ns)
        kind = kind_of(line.message)
        if kind == STREAM:
            name = line.message[11:].partition(b'"')[0].decode("utf-8", "replace")
            self.counts[name] += 1
            if self.counts[name] % SKEW_EVERY == 1:
                self._skew(line)
            return kind
        self.counts[_kraken_name(line.message) if kind == KRAKEN else kind] += 1
        if kind == MARK:
            with suppress(FrameInvalid):  # A finding of the check, which reads it too.
                missed = read_mark(line.message)
                self.missed += [] if missed is None else [missed]
        return kind

    def _time(self, at_ns: int) -> None:
        if not self.lines:
            self.first_ns = self.last_ns = at_ns
        self.lines += 1
        if at_ns < self.last_ns:
            self.backward += 1
        elif at_ns - self.last_ns >= SILENCE_NS:
            self.silences.append((self.last_ns, at_ns))
        self.last_ns = max(self.last_ns, at_ns)

    def _skew(self, line: Line) -> None:
        data = _loaded(line.message).get("data")
        event_ms = data.get("E") if isinstance(data, dict) else None
        if type(event_ms) is int:
            self.skews_ms.append(event_ms - line.at_ns / NS_PER_MS)

    @property
    def symbols(self) -> list[str]:
        """Return the symbols whose streams are on the tape."""
        found = {
            name.partition("@")[0].upper() if "@" in name else name.partition(" ")[2]
            for name in self.counts
            if not name.startswith("!")
        }
        return sorted(found - {""})

    def to_json(self) -> dict[str, Any]:
        """Return the survey as a document."""
        skews = sorted(self.skews_ms)
        return {
            "lines": self.lines,
            "first_ns": self.first_ns,
            "last_ns": self.last_ns,
            "span_s": round((self.last_ns - self.first_ns) / 10**9, 3),
            "symbols": self.symbols,
            "streams": dict(sorted(self.counts.items())),
            "missed": [each._asdict() for each in self.missed],
            "silences_ns": [list(span) for span in self.silences],
            "backward": self.backward,
            "skew_ms": None
            if not skews
            else {"min": round(skews[0]), "median": round(median(skews)), "max": round(skews[-1])},
        }


def _kraken_name(message: bytes) -> str:
    """Return `channel symbol` of a Kraken frame, as far as both are given as texts."""
    body = orjson.loads(message) if _is_json(message) else None
    channel, symbol = None, None
    if isinstance(body, list) and len(body) >= 4:
        channel, symbol = body[-2:]
    elif isinstance(body, dict):
        channel, data = body.get("channel"), body.get("data")
        only = data[0] if isinstance(data, list) and data else None
        symbol = only.get("symbol") if isinstance(only, dict) else None
    if not isinstance(channel, str):
        return KRAKEN
    return f"{channel} {symbol}".strip() if isinstance(symbol, str) else channel


def _is_json(message: bytes) -> bool:
    try:
        orjson.loads(message)
    except orjson.JSONDecodeError:
        return False
    return True


def _loaded(message: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(message)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}
