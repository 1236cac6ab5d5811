"""Market change and buy-and-hold over a span: the exact benchmarks of a result.

Change: last close over first close, minus one; for several symbols the plain mean. Buy-and-hold:
the starting equity, in equal parts, buys every symbol at its first close, each part paying the
taker fee of its purchase, and is marked at the last close. Nothing is sold, and there is no spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from minibot.events.decimals import format_fixed
from minibot.events.model import JsonObject
from minibot.events.money import RATE_UNIT, amount_text, parse_rate

RATIO_PLACES = 6


@dataclass(frozen=True, slots=True)
class MarketChange:
    """Market of a span, in which equity could have been held.

    Attributes:
        closes: First and last close by symbol, hundred-millionths of quote.
        equity_start: Money to begin with, hundred-millionths of quote.
        fee_bps: Taker fee of the profile.
    """

    closes: Mapping[str, tuple[int, int]]
    equity_start: int
    fee_bps: str

    @property
    def symbols(self) -> list[str]:
        """The symbols that had a price, in order of their names."""
        return sorted(symbol for symbol, (first, _) in self.closes.items() if first > 0)

    @property
    def ratio(self) -> str | None:
        """Change of the market, 0.01 being one percent; None without a price."""
        found = [self._change(symbol) for symbol in self.symbols]
        return _text(sum(found, Fraction()) / len(found)) if found else None

    @property
    def equity(self) -> int | None:
        """Equity at the end of buy-and-hold, rounded down; None without a price."""
        symbols = self.symbols
        if not symbols or self.equity_start <= 0:
            return None
        part = self.equity_start // len(symbols)
        value = self.equity_start - part * len(symbols)
        for symbol in symbols:
            first, last = self.closes[symbol]
            value += self._bought(part) * last // first
        return value

    @property
    def fees(self) -> int | None:
        """Fees that buy-and-hold pays, rounded up; None without a price."""
        symbols = self.symbols
        if not symbols or self.equity_start <= 0:
            return None
        part = self.equity_start // len(symbols)
        return (part - self._bought(part)) * len(symbols)

    def to_json(self) -> JsonObject:
        """Return the market of the span; money and ratios as decimal strings."""
        return {
            "change": self.ratio,
            "symbols": [
                {
                    "symbol": symbol,
                    "first_close": amount_text(self.closes[symbol][0]),
                    "last_close": amount_text(self.closes[symbol][1]),
                    "change": _text(self._change(symbol)),
                }
                for symbol in self.symbols
            ],
            "buy_and_hold": self._held(),
        }

    def _held(self) -> JsonObject:
        equity, fees = self.equity, self.fees
        if equity is None or fees is None:
            return {"equity": None, "fees": None, "pnl": None, "return": None}
        pnl = equity - self.equity_start
        return {
            "equity": amount_text(equity),
            "fees": amount_text(fees),
            "pnl": amount_text(pnl),
            "return": _text(Fraction(pnl, self.equity_start)),
        }

    def rule(self) -> str:
        """Return the rule of buy-and-hold as a sentence."""
        what = "the symbol" if len(self.symbols) == 1 else "every symbol, in equal parts,"
        return (
            f"Buy and hold: all of the starting equity buys {what} at its first close, pays the "
            f"taker fee of {self.fee_bps} bps once, and is marked at the last close."
        )

    def _bought(self, part: int) -> int:
        """Return the quantity bought for a part of the money, its fee being paid of that part."""
        return part * RATE_UNIT // (RATE_UNIT + parse_rate(self.fee_bps))

    def _change(self, symbol: str) -> Fraction:
        first, last = self.closes[symbol]
        return Fraction(last - first, first)


def _text(ratio: Fraction) -> str:
    """Return a ratio with six places, rounded half to even."""
    return format_fixed(round(ratio * 10**RATIO_PLACES), RATIO_PLACES)
