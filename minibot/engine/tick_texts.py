"""Tick events of rows of columns, for messages that must name their cause."""

from __future__ import annotations

from collections.abc import Mapping

from minibot.cores.event_id import place_id
from minibot.events.model import BUY, SELL, Event, MarketTick
from minibot.events.names import MARKET_ROLE
from minibot.events.unit_sizes import NS_PER_MS
from minibot.exchanges.tapes.decimals import to_text

IS_TRADE, IS_TAKER_SELL, HAS_EXCHANGE_TS = 1, 2, 4


def tick_event(
    symbol: str, row: Mapping[str, int], seq: int, run_id: str, cmdline_hash: str
) -> Event:
    """Return the `market_tick` of a row, as line `seq` of `market_ticks`.

    Args:
        symbol: The market.
        row: Values by the names of `minibot.data.ticks.TICK_COLUMNS`.
        seq: The line that it would have; also its id.
        run_id: Field of the event.
        cmdline_hash: Field of the event.
    """
    flags = row["flags"]
    is_trade = flags & IS_TRADE
    payload = MarketTick(
        symbol=symbol,
        price=to_text(row["price"]),
        kind="trade" if is_trade else "quote",
        bid=to_text(row["bid"]),
        bid_qty=to_text(row["bid_qty"]),
        ask=to_text(row["ask"]),
        ask_qty=to_text(row["ask_qty"]),
        recv_mono_ns=row["ts"] * NS_PER_MS,
        exchange_ts=row["exchange_ts"] if flags & HAS_EXCHANGE_TS else None,
        qty=to_text(row["qty"]) if is_trade else None,
        taker_side=(SELL if flags & IS_TAKER_SELL else BUY) if is_trade else None,
        trade_id=row["trade_id"] if is_trade else None,
    )
    return Event(row["ts"], place_id(seq), MARKET_ROLE, run_id, cmdline_hash, payload)
