"""Fills by hand, as the executor would report them."""

from __future__ import annotations

from minibot.events.model import Fill

ORDER = "00000000-0000-4000-8000-000000000000"


def fill(side: str, qty: str, price: str, fee: str = "0", symbol: str = "BTCUSDT") -> Fill:
    """Return a fill of one order, its fee in USDT."""
    return Fill(
        order_id=ORDER,
        client_order_id=ORDER,
        symbol=symbol,
        side=side,
        qty=qty,
        price=price,
        fee=fee,
        fee_asset="USDT",
        liquidity="TAKER",
    )
