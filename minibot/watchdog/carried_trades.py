"""Carried trades: the run's own and those of its opening, for the next run's sizing kelly.

They are made from the run's own fills, whatever its sizing was, so that a first night of kelly may
begin with the trades of the night before. A position carried into a run that was handed no trades
counts from its cost and a fee at the taker's rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minibot.accounting.portfolio import Portfolio
from minibot.accounting.round_trips import RoundTrips
from minibot.cores.core_profile import TRADES_CARRIED
from minibot.events.model import JsonObject, RunOpening
from minibot.events.money import amount_text, fee_up, parse_rate
from minibot.watchdog.carried_memory import Read, fills_behind


def carried_trades(
    opening: RunOpening, config: JsonObject, since_ts: int, read: Read
) -> Mapping[str, Any]:
    """Return the trades that a run leaves, as the field `trades` of the next `run_opening`.

    Args:
        opening: Of the run.
        config: Its resolved profile.
        since_ts: Trades that closed at or before this time are left out, Unix ms.
        read: Reads its queues.
    """
    first: Mapping[str, Any] = opening.trades or {"closed": [], "open": []}
    trips, portfolio = RoundTrips.from_state(first["open"]), Portfolio.from_opening(opening)
    rate = parse_rate(config["execution"]["taker_fee_bps"])
    # Behind a run that handed its trades on, what is held without one is the dust of a closed one.
    for symbol in portfolio.symbols() if opening.trades is None else ():
        cost = portfolio.position_cost(symbol)
        trips.carry(symbol, portfolio.lots(symbol)[0].ts, cost + fee_up(cost, rate))
    closed = [list(each) for each in first["closed"]]
    for fill, is_flat in fills_behind(opening, config, "", read):
        trade = trips.on_fill(fill, is_flat, "")
        if trade is not None and trade.spent > 0:
            closed.append([trade.closed_ts, amount_text(trade.ratio)])
    counted = sorted((each for each in closed if each[0] > since_ts), key=lambda each: each[0])
    return {"closed": counted[-TRADES_CARRIED:], "open": trips.state()}
