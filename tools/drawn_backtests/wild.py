"""Strategy that wishes for anything at any bar: what it does follows from a hash alone."""

from __future__ import annotations

from typing import Any, ClassVar

from minibot.strategies.protocol import (
    ClosedBar,
    Decision,
    Needs,
    Parameter,
    Settings,
    Strategy,
    View,
    adjust,
    buy,
    hold,
    sell,
    whole,
)

BPS = 10_000
BYTES = 11


class Wild(Strategy):
    """Purchases, sales and levels by a hash of symbol and bar."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        whole("kind", 0, low=0, high=10**9, what="begins the text that is hashed"),
        whole("often", 4, low=1, high=100, what="answers one in so many bars"),
    )

    def __init__(self, settings: Settings) -> None:
        """Take the parameters."""
        self.kind = settings.whole("kind")
        self.often = settings.whole("often")

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Return the profile's own interval, and no trades, so that bars can be rows."""
        return Needs(intervals=(settings.interval,), history=2, trades=False)

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        """Return the wish that is drawn for a bar, mostly none."""
        drawn = _drawn(f"{self.kind}:{view.symbol}:{bar.interval}:{bar.open_ts}")
        if not bar.is_live or not view.bid or drawn[0] % self.often:
            return None
        try:
            return (_buy, _buy, _sell, _adjust)[drawn[1] % 4](drawn, view.bid)
        except ValueError:
            return hold("a level is none at so low a price")


def _drawn(word: str) -> list[int]:
    """Return bytes that follow from a text, by the multiplication of FNV-1a."""
    state, found = 0xCBF29CE484222325, []
    for letter in word + " " * BYTES:
        state = (state ^ ord(letter)) * 0x100000001B3 % (1 << 64)
        found.append(state >> 33 & 0xFF)
    return found[-BYTES:]


def _buy(drawn: list[int], bid: float) -> Decision:
    wish: dict[str, Any] = {}
    if drawn[2] & 1:
        wish["notional"] = str(20 + 3 * drawn[3])
    elif drawn[2] & 2:
        wish["share_bps"] = 1 + 30 * drawn[3]
    if drawn[2] & 4:
        wish["stop"] = _price(bid, -1 - drawn[4] / 4)
    if drawn[2] & 8:
        wish["target"] = _price(bid, 3 + drawn[5] / 4)
    if drawn[2] & 16:
        trails = {
            "trail_bps": str(1 + drawn[6] / 4),
            "trail_atr": f"{0.2 + drawn[6] / 50:.2f}",
            "trail": f"{bid * (1 + drawn[6]) / 40_000:.2f}",
        }
        name = sorted(trails)[drawn[7] % len(trails)]
        wish[name] = trails[name]
    if drawn[2] & 32:
        wish["limit"] = _price(bid, -0.2 - drawn[8] % 30 / 5)
    if drawn[2] & 64:
        wish["valid_ms"] = 1_000 + 2_000 * drawn[9]
    return buy("drawn", confidence=drawn[10] % 101, **wish)


def _sell(drawn: list[int], bid: float) -> Decision:
    if drawn[2] & 1:
        return sell("drawn", share_bps=1 + 39 * drawn[3])
    if drawn[2] & 4:
        return sell("drawn", notional=str(5 + drawn[3]))
    return sell("drawn", qty=f"{(1 + drawn[3]) / 10_000:.4f}" if drawn[2] & 2 else None)


def _adjust(drawn: list[int], bid: float) -> Decision:
    wish: dict[str, Any] = {}
    if drawn[2] & 1:
        wish["stop"] = _price(bid, -drawn[3] / 8)
    if drawn[2] & 2:
        wish["target"] = _price(bid, drawn[4] / 8)
    if drawn[2] & 4 or not wish:
        wish["trail_bps"] = str(1 + drawn[5] / 4)
    return adjust("drawn", **wish)


def _price(bid: float, bps: float) -> str:
    return f"{bid * (1 + bps / BPS):.2f}"
