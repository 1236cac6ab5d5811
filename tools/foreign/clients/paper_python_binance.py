"""python-binance as a trader, against `--paper-account`. Setting needed: its `API_URL`.

python-binance uses the machine's clock, so the market is moved to now.
"""

from __future__ import annotations

import sys
from decimal import Decimal

from binance import Client  # type: ignore[import-not-found]
from binance.exceptions import BinanceAPIException  # type: ignore[import-not-found]

from tools.foreign.evidence import Evidence, arguments

SYMBOL = "BTCUSDT"


def main() -> int:
    """Buy, sell, place, cancel and be refused; return the exit code."""
    options = arguments()
    evidence = Evidence("python-binance (paper account)", "python-binance", None)
    client = Client("minibot-paper-key", "minibot-paper-secret", ping=False)
    client.API_URL = f"http://{options.host}:{options.port}/api"
    evidence.same("tests", client.create_test_order(**_market("BUY", "0.01")), {})
    spent = Decimal(0)
    for side, qty in (("BUY", "0.02"), ("SELL", "0.01"), ("BUY", "0.01")):
        order = client.create_order(**_market(side, qty))
        evidence.same("filled", order["status"], "FILLED")
        total = sum(Decimal(fill["price"]) * Decimal(fill["qty"]) for fill in order["fills"])
        evidence.same("filled", total, Decimal(order["cummulativeQuoteQty"]))
        fee = sum(Decimal(fill["commission"]) for fill in order["fills"])
        spent += total if side == "BUY" else fee - total
    free = Decimal(client.get_asset_balance(asset="USDT")["free"])
    evidence.same("money", free, Decimal(10_000) - spent)
    _check_resting(evidence, client)
    for fields, code in (
        (_market("BUY", "100"), -2010),
        (_market("BUY", "0.0000001"), -1013),
        ({**_market("BUY", "1"), "type": "HOPE"}, -1116),
        ({**_market("BUY", "1"), "symbol": "NOSUCH"}, -1121),
    ):
        try:
            client.create_order(**fields)
        except BinanceAPIException as error:
            evidence.same("refusals", error.code, code)
        else:
            evidence.same("refusals", "taken", code)
    wrong = Client("minibot-paper-key", "another secret", ping=False)
    wrong.API_URL = client.API_URL
    try:
        wrong.get_account()
    except BinanceAPIException as error:
        evidence.same("refusals", error.code, -1022)
    evidence.same("orders", len(client.get_all_orders(symbol=SYMBOL)), 4)
    return evidence.finish("tests", "filled", "money", "resting", "refusals", "orders")


def _market(side: str, qty: str) -> dict[str, str]:
    return {"symbol": SYMBOL, "side": side, "type": "MARKET", "quantity": qty}


def _check_resting(evidence: Evidence, client: Client) -> None:
    last = Decimal(client.get_symbol_ticker(symbol=SYMBOL)["price"])
    price = str((last * Decimal("1.05")).quantize(Decimal("0.01")))
    order = client.order_limit_sell(symbol=SYMBOL, quantity="0.01", price=price)
    evidence.same("resting", order["status"], "NEW")
    waiting = client.get_open_orders(symbol=SYMBOL)
    evidence.same("resting", [each["orderId"] for each in waiting], [order["orderId"]])
    locked = client.get_asset_balance(asset="BTC")["locked"]
    evidence.same("resting", locked, "0.01000000")
    gone = client.cancel_order(symbol=SYMBOL, orderId=order["orderId"])
    evidence.same("resting", gone["status"], "CANCELED")


if __name__ == "__main__":
    sys.exit(main())
