"""NautilusTrader's backtest of a case: `python -m tools.fill_oracle.nautilus_script CASE`.

Run in NautilusTrader's own environment. Each entry is a bracket: a market order, a stop at the
market and a limit, sent on the close of its bar. Bars run as its engine runs them by default.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,no-untyped-call"

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, RiskEngineConfig
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide, OrderType
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

VENUE = Venue("SIM")
INSTRUMENT = InstrumentId(Symbol("BTCUSDT"), VENUE)
MS = 1_000_000
SIDES = {OrderType.STOP_MARKET: "stop", OrderType.LIMIT: "target"}


class ToldEntries(Strategy):
    """Brackets on the closes that are told."""

    def __init__(self, case: dict[str, Any], bar_type: Any, places: int) -> None:
        super().__init__()
        self.case, self.bar_type, self.places = case, bar_type, places
        self.entries = {at: (stop, target) for at, stop, target in case["entries"]}
        self.number = -1
        self.fills: list[tuple[Any, int, str]] = []

    def on_start(self) -> None:
        """Subscribe to the bars."""
        self.instrument = self.cache.instrument(INSTRUMENT)
        self.subscribe_bars(self.bar_type)

    def on_bar(self, bar: Any) -> None:
        """Send the bracket of a bar that is told."""
        self.number += 1
        levels = self.entries.get(self.number)
        if levels is None:
            return
        stop, target = (Price(Decimal(text), self.places) for text in levels)
        self.submit_order_list(
            self.order_factory.bracket(
                instrument_id=INSTRUMENT,
                order_side=OrderSide.BUY,
                quantity=self.instrument.make_qty(Decimal(self.case["qty"])),
                sl_trigger_price=stop,
                tp_price=target,
                tp_post_only=False,
            )
        )

    def on_order_filled(self, event: Any) -> None:
        """Keep the fill."""
        self.fills.append((event.order_type, event.ts_event // MS, str(event.last_px)))


def main() -> None:
    """Run the backtest and print its trades as one line of JSON."""
    case = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    length, unit = int(case["length_ms"]), str(case["interval"])[-1]
    kind = {"m": "MINUTE", "h": "HOUR", "d": "DAY"}[unit]
    bar_type = BarType.from_str(f"{INSTRUMENT}-{case['interval'][:-1]}-{kind}-LAST-EXTERNAL")
    places, qty_places = (_places(case[name]) for name in ("step", "qty_step"))
    engine = BacktestEngine(
        BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True),
            risk_engine=RiskEngineConfig(bypass=True),
            run_analysis=False,
        )
    )
    money = [Money(1_000_000, USDT), Money(0, BTC)]
    engine.add_venue(VENUE, OmsType.NETTING, AccountType.CASH, money)
    step, qty_step = (Decimal(case[name]).normalize() for name in ("step", "qty_step"))
    fee = Decimal(case["fee"])
    engine.add_instrument(
        CurrencyPair(
            *(INSTRUMENT, Symbol("BTCUSDT"), BTC, USDT, places, qty_places),
            *(Price(step, places), Quantity(qty_step, qty_places), 0, 0),
            maker_fee=fee,
            taker_fee=fee,
        )
    )
    engine.add_data([_bar(bar_type, row, places, qty_places, length) for row in case["bars"]])
    strategy = ToldEntries(case, bar_type, places)
    engine.add_strategy(strategy)
    engine.run()
    print("RESULT", json.dumps(_trades(strategy.fills, length)), flush=True)


def _places(step: str) -> int:
    return max(0, -int(Decimal(step).normalize().as_tuple().exponent))


def _bar(bar_type: Any, row: list[Any], places: int, qty_places: int, length: int) -> Any:
    closed = (row[0] + length) * MS
    prices = (Price(Decimal(text), places) for text in row[1:5])
    return Bar(bar_type, *prices, Quantity(Decimal(row[5]), qty_places), closed, closed)


def _trades(fills: list[tuple[Any, int, str]], length: int) -> list[list[Any]]:
    """Return purchases and sales in pairs; a bar acts at its end, so a sale is of the bar before.

    Raises:
        ValueError: Fills are no pairs of a purchase and a sale.
    """
    trades = []
    for bought, sold in zip(fills[::2], fills[1::2], strict=True):
        if bought[0] != OrderType.MARKET or sold[0] not in SIDES:
            raise ValueError(f"no purchase and sale: {bought} {sold}")
        trades.append([bought[1], bought[2], sold[1] - length, sold[2], SIDES[sold[0]]])
    return trades


if __name__ == "__main__":
    main()
