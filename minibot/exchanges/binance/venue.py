"""Binance Spot as a venue of the port `exchanges.base`."""

from __future__ import annotations

from typing import Final

from minibot.accounting.order_rules import TRADING
from minibot.exchanges.base import Dialect, Streams, Venue
from minibot.exchanges.binance.archive import ARCHIVE
from minibot.exchanges.binance.book import BookKeeper
from minibot.exchanges.binance.filters import parse_instrument
from minibot.exchanges.binance.limits import CONNECTION_LIMITS, HOSTS, LIMITS
from minibot.exchanges.binance.messages import parse_frame, parse_snapshot, stream_names
from minibot.exchanges.binance.mini_tickers import MINI_TICKERS, parse_mini_tickers
from minibot.exchanges.binance.rest import BinanceRest
from minibot.exchanges.binance.streams import (
    control_message,
    named_in_address,
    new_stream,
    reply_of,
)
from minibot.exchanges.venue_facts import Rules, SymbolMap, Tickers

BINANCE: Final = Venue(
    name=HOSTS.venue,
    dialect=Dialect(parse_frame, BookKeeper, parse_snapshot=parse_snapshot),
    rules=Rules(TRADING, frozenset({"HALT", "BREAK"}), frozenset(), parse_instrument),
    limits=LIMITS,
    hosts=HOSTS,
    new_rest=BinanceRest,
    streams=Streams(
        names=lambda symbol: tuple(stream_names((symbol,))),
        new=new_stream,
        named_in_address=named_in_address,
        control=control_message,
        reply_of=reply_of,
        shutdown=b"serverShutdown",
        market_wide=b'{"stream":"!',
        limits=CONNECTION_LIMITS,
    ),
    tickers=Tickers(MINI_TICKERS, parse_mini_tickers),
    # Events carry the venue's own names.
    symbols=SymbolMap(str, str),
    archive=ARCHIVE,
)
