"""Figures of each symbol as a trader looks at them: price, spread, position and its P&L.

They are read from a run's `Performance` on demand, so the live table keeps no books.
"""

from __future__ import annotations

from minibot.accounting.performance import Performance, SymbolResult
from minibot.events.model import JsonObject
from minibot.events.money import amount_text, parse_amount, proceeds_down

NO_RESULT = SymbolResult()


def symbol_figures(performance: Performance) -> JsonObject:
    """Return the figures of each symbol by its name; amounts are decimal strings, None for none.

    Keys: `price` of the last trade, `bid`, `ask`, `spread`, `mark`, `qty` held (`0.00000000` for
    nothing), `entry` (average price), `opened_ts` of the last purchase, `unrealised` P&L at the
    mark over the cost of what is held, before fees, `realised` P&L of the run after fees, `wins`
    and `losses` of closed round trips. For a carried position `unrealised` has its gain before its
    first mark too, which `realised` and `result_figures` leave out.
    """
    return {symbol: _figures(performance, symbol) for symbol in performance.symbols()}


def result_figures(performance: Performance) -> JsonObject:
    """Return the run's result, and the parts of it: `unrealised` before, `realised` after fees.

    A carried position counts from its first mark in both, as it does in the result.
    """
    portfolio = performance.portfolio
    gains = [performance.gain_before(symbol) for symbol in performance.carried]
    realised = portfolio.realised_pnl - portfolio.fees - sum(closed for closed, _ in gains)
    unrealised = sum(_unrealised(performance, symbol) for symbol in portfolio.symbols())
    unrealised -= sum(unsold for _, unsold in gains)
    results = performance.results.values()
    return {
        "pnl": amount_text(performance.equity - performance.equity_start),
        "unrealised": amount_text(unrealised),
        "realised": amount_text(realised),
        "fees": amount_text(portfolio.fees),
        "trades": len(performance.trips),
        "wins": sum(result.wins for result in results),
        "losses": sum(result.losses for result in results),
    }


def _figures(performance: Performance, symbol: str) -> JsonObject:
    portfolio, tick = performance.portfolio, performance.market(symbol)
    mark, qty = performance.mark(symbol), portfolio.position_qty(symbol)
    result = performance.results.get(symbol, NO_RESULT)
    spread = None if tick is None else parse_amount(tick.ask) - parse_amount(tick.bid)
    return {
        "price": None if tick is None else tick.price,
        "bid": None if tick is None else tick.bid,
        "ask": None if tick is None else tick.ask,
        "spread": None if spread is None else amount_text(spread),
        "mark": None if mark is None else amount_text(mark),
        "qty": amount_text(qty),
        "entry": amount_text(portfolio.entry_price_avg(symbol)) if qty else None,
        "opened_ts": max((lot.ts for lot in portfolio.lots(symbol)), default=None),
        "unrealised": amount_text(_unrealised(performance, symbol)) if qty else None,
        "realised": amount_text(result.realised - performance.gain_before(symbol)[0]),
        "wins": result.wins,
        "losses": result.losses,
    }


def _unrealised(performance: Performance, symbol: str) -> int:
    """Return a held symbol's value at its mark less its cost; 0 before its first mark."""
    portfolio, mark = performance.portfolio, performance.mark(symbol)
    if mark is None:
        return 0
    worth = proceeds_down(portfolio.position_qty(symbol), mark)
    return worth - portfolio.position_cost(symbol)
