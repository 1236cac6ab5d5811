"""Listings of the venue and their daily volumes: the answers that a universe is resolved from.

From exchangeInfo only the fields needed for the choice are read here; the rules of a chosen symbol
come from the same entry through `filters.parse_instrument`. A name that no event may carry
(testnets list some on purpose) is counted and left out. Source: rest-api.md, exchangeInfo and
ticker/24hr.
"""

from __future__ import annotations

import re
from typing import Any, Final

from minibot.exchanges.base import FrameInvalid
from minibot.exchanges.binance.filters import ASSET, is_spot, parse_instrument
from minibot.exchanges.units import not_negative
from minibot.exchanges.venue_facts import Listing, Listings

_SYMBOL: Final = re.compile(r"[A-Z0-9]{2,20}")


def parse_listings(body: Any, quote_asset: str | None = None) -> Listings:
    """Return all listings of an exchangeInfo answer, or only those of one quote asset.

    Most of a venue's symbols have another quote asset, and are then not parsed any further.

    Raises:
        FrameInvalid: The answer is not an exchangeInfo at all.
    """
    infos = body.get("symbols") if isinstance(body, dict) else None
    if not isinstance(infos, list):
        raise FrameInvalid("exchangeInfo: no list of symbols")
    found: dict[str, Listing] = {}
    unreadable = 0
    for info in infos:
        if quote_asset is not None and _quote_of(info) != quote_asset:
            continue
        listing = _listing(info)
        if listing is None:
            unreadable += 1
        else:
            found[listing.symbol] = listing
    return Listings(found, unreadable)


def _quote_of(info: Any) -> Any:
    return info.get("quoteAsset") if isinstance(info, dict) else None


def _listing(info: Any) -> Listing | None:
    if not isinstance(info, dict):
        return None
    symbol, base, quote = (info.get(key) for key in ("symbol", "baseAsset", "quoteAsset"))
    if not (_matches(_SYMBOL, symbol) and _matches(ASSET, base) and _matches(ASSET, quote)):
        return None
    try:
        spot = is_spot(info)
        instrument = parse_instrument(info) if spot else None
    except (FrameInvalid, TypeError):
        spot, instrument = info.get("isSpotTradingAllowed") is not False, None
    return Listing(str(symbol), str(base), str(quote), str(info.get("status")), spot, instrument)


def _matches(pattern: re.Pattern[str], text: Any) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None


def parse_day_volumes(body: Any) -> dict[str, str]:
    """Return the quote volume of 24 hours by symbol, as the venue wrote it.

    An unreadable row is left out: its symbol then has no volume, and is not chosen.

    Raises:
        FrameInvalid: The answer is not a list of tickers.
    """
    if not isinstance(body, list):
        raise FrameInvalid("ticker/24hr: no list")
    volumes: dict[str, str] = {}
    for row in body:
        if not isinstance(row, dict) or not _matches(_SYMBOL, row.get("symbol")):
            continue
        try:
            not_negative(row["quoteVolume"])
        except (KeyError, TypeError, ValueError):
            continue
        volumes[row["symbol"]] = row["quoteVolume"]
    return volumes
