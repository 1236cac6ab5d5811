"""The touch: best bid and best ask, their mid, spread and notional."""

from __future__ import annotations


def mid(bid: float, ask: float) -> float:
    """Return the mean of bid and ask, in price."""
    return (bid + ask) / 2.0


def spread_bps(bid: float, ask: float) -> float | None:
    """Return ask minus bid in hundredths of a percent of the mid.

    None for an unusable touch: a side at or below zero, infinite or NaN, or a bid above the ask.
    Equal bid and ask (a locked touch) give zero.
    """
    if not 0.0 < bid <= ask < float("inf"):
        return None
    return (ask - bid) / mid(bid, ask) * 10_000.0


def touch_notional(price: float, qty: float) -> float:
    """Return the notional at one side of the touch, in quote."""
    return price * qty
