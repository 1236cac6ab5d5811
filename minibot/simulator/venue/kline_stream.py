"""Kline streams: messages of a growing bar, and one last message when it is closed."""

from __future__ import annotations

from typing import Any, Final

from minibot.exchanges.tapes.decimals import product_text, to_text
from minibot.exchanges.tapes.kline_bars import INTERVALS, Bar, next_open, open_of
from minibot.simulator.venue.venue import Venue
from minibot.simulator.venue.zoned_bars import is_shifted, zoned_bars

# A recorder's receive times vary by some ten milliseconds against the exchange's; the last trade
# of a bar must be in before the bar is declared closed.
CLOSE_GRACE_MS: Final = 200
SECOND_CADENCE_MS: Final = 1000
CADENCE_MS: Final = 2000


class KlineStream:
    """One kline stream: changes at its cadence, and one closing message for every bar.

    A bar that grows is sent every two seconds, first in any case, then only if it has more trades.
    A bar of a second does not grow: it has its closing message alone, but for the first one of a
    stream that begins at a whole second. The bars are those of REST, including the past before the
    first trade. With `offset_ms` they begin and end at the clock of a zone that is so far ahead of
    UTC; their times stay UTC.
    """

    def __init__(self, venue: Venue, symbol: str, interval: str, offset_ms: int = 0) -> None:
        self._venue = venue
        self._symbol = symbol
        self._interval = interval
        self._offset_ms = offset_ms if is_shifted(interval, offset_ms) else 0
        self._cadence_ms = SECOND_CADENCE_MS if interval == "1s" else CADENCE_MS
        self._open_ms: int | None = None
        self._sent_trades = -1

    def due(self, now_ms: int) -> list[dict[str, Any]]:
        """Return the messages due at this moment of exchange time."""
        if not self._venue.symbols[self._symbol].last_ms:
            return []
        if self._open_ms is None:
            self._open_ms = open_of(self._interval, now_ms + self._offset_ms) - self._offset_ms
        messages = []
        end_ms = self._end(self._open_ms)
        while end_ms + CLOSE_GRACE_MS <= now_ms:
            messages.append(self._message(self._bar(self._open_ms), now_ms, is_closed=True))
            self._open_ms, self._sent_trades = end_ms, -1
            end_ms = self._end(end_ms)
        if now_ms % self._cadence_ms == 0 and self._open_ms <= now_ms < end_ms:
            bar = self._bar(self._open_ms)
            if bar.trades != self._sent_trades:
                self._sent_trades = bar.trades
                messages.append(self._message(bar, now_ms, is_closed=False))
        return messages

    def _end(self, open_ms: int) -> int:
        return next_open(self._interval, open_ms + self._offset_ms) - self._offset_ms

    def _bar(self, open_ms: int) -> Bar:
        """Return the current bar, flat at the former close while nothing has traded in it."""
        window = (open_ms, open_ms, 1)
        if self._offset_ms:
            found = zoned_bars(self._venue, self._symbol, self._interval, self._offset_ms, *window)
        else:
            found = self._venue.bars(self._symbol, self._interval, *window)
        if found:
            return found[0]
        price = self._venue.symbols[self._symbol].last_price
        return Bar(open_ms, self._end(open_ms), price, price, price, price)

    def _message(self, bar: Bar, now_ms: int, *, is_closed: bool) -> dict[str, Any]:
        kline = {
            "t": bar.open_ms,
            "T": bar.end_ms - 1,
            "s": self._symbol,
            "i": self._interval,
            "f": bar.first_id,
            "L": bar.last_id,
            "o": to_text(bar.open),
            "c": to_text(bar.close),
            "h": to_text(bar.high),
            "l": to_text(bar.low),
            "v": to_text(bar.volume),
            "n": bar.trades,
            "x": is_closed,
            "q": product_text(bar.quote),
            "V": to_text(bar.taker_volume),
            "Q": product_text(bar.taker_quote),
            "B": "0",
        }
        return {"e": "kline", "E": now_ms, "s": self._symbol, "k": kline}


def is_interval(text: str) -> bool:
    """Return whether this is an interval's name; case matters."""
    return text in INTERVALS
