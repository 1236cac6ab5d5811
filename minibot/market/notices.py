"""Notices for the operator about the market role: repeated ones are gathered into one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from minibot.events.reasons import FRAME_INVALID, PRICE_OUTLIER

BANNED: Final = "banned"
REST_ERRORS: Final = "rest_errors"
REST_RECOVERED: Final = "rest_recovered"
REST_RETRY: Final = "rest_retry"
CONNECTED: Final = "connected"
SERVER_SHUTDOWN: Final = "server_shutdown"
RENEWAL: Final = "renewal"
CONTROL_REFUSED: Final = "control_refused"
STREAM_SILENT: Final = "stream_silent"
DATA_LATE: Final = "data_late"
FOLLOW_REFUSED: Final = "follow_refused"
BOOK_LOST: Final = "book_lost"
BOOK_RESYNC: Final = "book_resync"
BOOK_UNAVAILABLE: Final = "book_unavailable"
BARS_MISSING: Final = "bars_missing"
CLOCK_SKEW: Final = "clock_skew"
INSTRUMENT_CHANGED: Final = "instrument_changed"
SYMBOL_HALTED: Final = "symbol_halted"
SYMBOL_TRADING: Final = "symbol_trading"
SYMBOL_DELISTED: Final = "symbol_delisted"
FILTER_UNKNOWN: Final = "filter_unknown"
UNIVERSE_CHANGED: Final = "universe_changed"
UNIVERSE_UNRESOLVED: Final = "universe_unresolved"
PRICE_DISAGREES: Final = "price_disagrees"
PRINTS_OFF_TOUCH: Final = "prints_off_touch"
RESTARTED: Final = "restarted"
PAUSED: Final = "paused"
OVERLOADED: Final = "overloaded"
OVERLOAD_ENDED: Final = "overload_ended"
TRADES_DROPPED: Final = "trades_dropped"
TRADES_REPEATED: Final = "trades_repeated"

# Other kinds become one incident each; these may come by the hundred and are gathered.
GATHERED: Final = frozenset({FRAME_INVALID, PRICE_OUTLIER, REST_ERRORS, TRADES_DROPPED})
GATHER_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Notice:
    """Incident to report: `until_ms` if it ends by itself.

    `count` is how many notices it stands for, itself included, since one of its kind was told;
    None where none was held back.
    """

    kind: str
    detail: str
    count: int | None = None
    until_ms: int | None = None


class NoticeBoard:
    """Collector of notices; a gathered kind becomes one in ten seconds, and one more at the end."""

    def __init__(self) -> None:
        self._ready: list[Notice] = []
        self._held: dict[str, Notice] = {}
        self._last_ms: dict[str, int] = {}

    def add(self, now_ms: int, kind: str, detail: str, *, until_ms: int | None = None) -> None:
        """Add a notice."""
        if kind not in GATHERED or now_ms - self._last_ms.get(kind, -GATHER_MS) >= GATHER_MS:
            held = self._held.pop(kind, None)
            count = None if held is None or held.count is None else held.count + 1
            self._last_ms[kind] = now_ms
            self._ready.append(Notice(kind, detail, count, until_ms))
            return
        held = self._held.get(kind)
        count = 1 if held is None or held.count is None else held.count + 1
        self._held[kind] = Notice(kind, detail, count, until_ms)

    def take(self, now_ms: int) -> list[Notice]:
        """Return the notices to write now."""
        for kind in list(self._held):
            if now_ms - self._last_ms[kind] >= GATHER_MS:
                self._last_ms[kind] = now_ms
                self._ready.append(self._held.pop(kind))
        ready, self._ready = self._ready, []
        return ready

    def take_all(self) -> list[Notice]:
        """Return all notices, also those still being gathered: the role ends."""
        self._ready += self._held.values()
        self._held.clear()
        ready, self._ready = self._ready, []
        return ready
