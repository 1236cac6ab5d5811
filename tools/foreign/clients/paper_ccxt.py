"""ccxt as a trader, against `--paper-account`. Settings needed: the two addresses of the API.

ccxt uses the machine's clock, so the market is moved to now. `fetchCurrencies` and `fetchMargins`
are off because they call `/sapi`, another product of the venue.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any

import ccxt  # type: ignore[import-not-found]

from tools.foreign.evidence import Evidence, arguments, exact

SYMBOL = "BTC/USDT"
RATE = Decimal("0.001")


def main() -> int:
    """Buy, sell, place, cancel and be refused; return the exit code."""
    options = arguments()
    evidence = Evidence("ccxt (paper account)", "ccxt", None)
    api = f"http://{options.host}:{options.port}/api/v3"
    exchange = ccxt.binance(
        {
            "apiKey": "minibot-paper-key",
            "secret": "minibot-paper-secret",
            "urls": {"api": {"public": api, "private": api}},
            "options": {
                "fetchMarkets": {"types": ["spot"]},
                "fetchCurrencies": False,
                "fetchMargins": False,
            },
        }
    )
    exchange.load_markets()
    before = _total(exchange)
    bought = exchange.create_order(SYMBOL, "market", "buy", 0.02)
    sold = exchange.create_order(SYMBOL, "market", "sell", 0.01)
    for order, side in ((bought, "buy"), (sold, "sell")):
        evidence.same("filled", (order["status"], order["side"]), ("closed", side))
    trades = exchange.fetch_my_trades(SYMBOL)
    _check_money(evidence, before, _total(exchange), trades)
    _check_resting(evidence, exchange)
    _check_refusals(evidence, exchange)
    evidence.same("orders", len(exchange.fetch_orders(SYMBOL)), 4)
    return evidence.finish("filled", "money", "fees", "resting", "refusals", "orders")


def _total(exchange: ccxt.binance) -> dict[str, Decimal]:
    totals = exchange.fetch_balance()["total"]
    return {asset: exact(totals[asset]) for asset in ("BTC", "USDT")}


def _check_money(
    evidence: Evidence,
    before: dict[str, Decimal],
    after: dict[str, Decimal],
    trades: list[dict[str, Any]],
) -> None:
    """Check the balances against trades and fees, in the asset that was received."""
    moved = {"BTC": Decimal(0), "USDT": Decimal(0)}
    for trade in trades:
        sign = 1 if trade["side"] == "buy" else -1
        qty, cost = exact(trade["amount"]), exact(trade["price"]) * exact(trade["amount"])
        moved["BTC"] += sign * qty
        moved["USDT"] -= sign * cost
        received, amount = ("BTC", qty) if sign > 0 else ("USDT", cost)
        fee = exact(trade["fee"]["cost"])
        moved[received] -= fee
        is_right = trade["fee"]["currency"] == received and abs(fee - amount * RATE) < 1e-8
        evidence.same("fees", is_right, True)
    for asset, amount in moved.items():
        evidence.same("money", abs(after[asset] - before[asset] - amount) < 1e-7, True)


def _check_resting(evidence: Evidence, exchange: ccxt.binance) -> None:
    price = exchange.price_to_precision(SYMBOL, exchange.fetch_ticker(SYMBOL)["last"] * 0.97)
    order = exchange.create_order(SYMBOL, "limit", "buy", 0.01, float(price))
    evidence.same("resting", order["status"], "open")
    waiting = [each["id"] for each in exchange.fetch_open_orders(SYMBOL)]
    evidence.same("resting", waiting, [order["id"]])
    evidence.same("resting", exchange.cancel_order(order["id"], SYMBOL)["status"], "canceled")
    evidence.same("resting", exchange.fetch_order(order["id"], SYMBOL)["status"], "canceled")
    maker = exchange.create_order(
        SYMBOL, "limit", "buy", 0.01, float(price), params={"postOnly": True}
    )
    evidence.same("resting", len(exchange.cancel_all_orders(SYMBOL)), 1)
    evidence.same("resting", maker["id"] != order["id"], True)


def _check_refusals(evidence: Evidence, exchange: ccxt.binance) -> None:
    """Check that the venue's error messages become ccxt's own exceptions."""
    last = exchange.fetch_ticker(SYMBOL)["last"]
    for qty, price, expected in (
        (1.0, last * 0.9, ccxt.InsufficientFunds),
        (0.00001, last, ccxt.ExchangeError),
        (0.01, last * 9, ccxt.ExchangeError),
    ):
        limit = float(exchange.price_to_precision(SYMBOL, price))
        try:
            exchange.create_order(SYMBOL, "limit", "buy", qty, limit)
        except ccxt.BaseError as error:
            evidence.same("refusals", isinstance(error, expected), True)
        else:
            evidence.same("refusals", "taken", "refused")
    try:
        exchange.cancel_order("4711", SYMBOL)
    except ccxt.BaseError as error:
        evidence.same("refusals", isinstance(error, ccxt.OrderNotFound), True)


if __name__ == "__main__":
    sys.exit(main())
