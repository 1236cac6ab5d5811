"""Binance Spot as a venue of the port `exchanges.base`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from minibot.accounting.order_rules import TRADING
from minibot.exchanges.base import Dialect, Streams, Venue
from minibot.exchanges.binance.archive_files import MONTHLY_ONLY, archive_files, days_of
from minibot.exchanges.binance.book import BookKeeper
from minibot.exchanges.binance.filters import parse_instrument
from minibot.exchanges.binance.limits import CONNECTION_LIMITS, HOSTS, LIMITS
from minibot.exchanges.binance.messages import parse_frame, parse_snapshot, stream_names
from minibot.exchanges.binance.mini_tickers import MINI_TICKERS, parse_mini_tickers
from minibot.exchanges.binance.streams import (
    control_message,
    named_in_address,
    new_stream,
    reply_of,
)
from minibot.exchanges.venue_facts import Archive, Rules, SymbolMap, Tickers

if TYPE_CHECKING:
    from minibot.exchanges.binance.archive import ArchiveHost
    from minibot.exchanges.binance.rest import BinanceRest


# HTTP is loaded only for a request: a verb without a network needs none of it.
def new_rest(base_url: str, **limits: Any) -> BinanceRest:
    """Return requests to a host that are not connected yet; see `exchanges.base.NewRest`."""
    from minibot.exchanges.binance.rest import BinanceRest

    return BinanceRest(base_url, **limits)


def new_archive(base_url: str, **limits: Any) -> ArchiveHost:
    """Return a client for the files of the archive."""
    from minibot.exchanges.binance.archive import ArchiveHost

    return ArchiveHost(base_url, **limits)


BINANCE: Final = Venue(
    name=HOSTS.venue,
    dialect=Dialect(parse_frame, BookKeeper, parse_snapshot=parse_snapshot),
    rules=Rules(TRADING, frozenset({"HALT", "BREAK"}), frozenset(), parse_instrument),
    limits=LIMITS,
    hosts=HOSTS,
    new_rest=new_rest,
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
    archive=Archive(archive_files, days_of, MONTHLY_ONLY, new_archive),
)
