"""Trading rules of a symbol for tests: a cent, a hundred-thousandth of a coin, five USDT."""

from __future__ import annotations

from typing import Any

from minibot.events.model import Instrument
from minibot.exchanges.binance.filters import parse_instrument


def instrument(symbol: str = "BTCUSDT", **changes: Any) -> Instrument:
    """Return a symbol's rules, with the given fields changed."""
    values: dict[str, Any] = {
        "symbol": symbol,
        "base_asset": symbol.removesuffix("USDT"),
        "quote_asset": "USDT",
        "status": "TRADING",
        "price_increment": "0.01",
        "qty_increment": "0.00001",
        "qty_min": "0.00001",
        "qty_max": "9000",
        "notional_min": "5",
        "origin": "exchange",
    }
    return Instrument(**(values | changes))


def of_filters(symbol: str, *filters: dict[str, Any]) -> Instrument:
    """Return the rules of a symbol with filters as Binance gives them."""
    return parse_instrument(
        {
            "symbol": symbol,
            "status": "TRADING",
            "baseAsset": symbol.removesuffix("USDT"),
            "quoteAsset": "USDT",
            "permissionSets": [["SPOT"]],
            "filters": list(filters),
        }
    )
