"""Review of a backtest: everything that its report shows, computed once from the result.

Tables, page and kept files all read from here, so they cannot contradict each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from minibot.backtest.report.exposure import Exposure, exposure_of
from minibot.backtest.report.groups import Group, Stretch, grouped, stretches
from minibot.backtest.report.returns import BREAKDOWNS, HOUR, Period, basis, periods, underwaters
from minibot.backtest.report.statistics import figures_of, market_figures, market_of
from minibot.backtest.report.trades import Trade, trades_of
from minibot.engine.run_result import BacktestResult
from minibot.engine.signal_log import ORDER
from minibot.events.model import BLOCK, HOLD, JsonObject, OrderIntent
from minibot.events.money import amount_text
from minibot.report.market_change import MarketChange


@dataclass(frozen=True, slots=True)
class Review:
    """Review of one result: its trades, periods and key figures.

    Attributes:
        figures: Key figures by name (`statistics`).
        market: Market of the span, and buy-and-hold in it.
        series: Periods by kind: hour, day, week, month.
        signals: Number of signals by side.
        refusals: Reasons of the strategy's holds, of risk's refusals, and of orders that ended
            unfilled, each with its number.
        has_limit_orders: True if an intent has a limit price, so its order may have rested.
    """

    result: BacktestResult
    trades: tuple[Trade, ...]
    series: dict[str, tuple[Period, ...]]
    exposure: Exposure
    figures: JsonObject
    market: MarketChange
    signals: dict[str, int]
    refusals: dict[str, dict[str, int]]
    has_limit_orders: bool

    @classmethod
    def of(cls, result: BacktestResult) -> Review:
        """Return the review of a result."""
        trades = tuple(trades_of(result))
        start, from_ts = result.equity_start, result.from_ts
        equity = result.equity_columns
        series = {
            kind: tuple(periods(equity, start, from_ts, kind)) for kind in (HOUR, *BREAKDOWNS)
        }
        kind = basis(from_ts, result.to_ts)
        exposure = exposure_of(result)
        falls = underwaters(equity, start, from_ts)
        yearly = series[kind] if kind is not None else ()
        market = market_of(result)
        figures = figures_of(result, trades, yearly, kind, exposure, falls)
        figures |= market_figures(market)
        return cls(
            *(result, trades, series, exposure, figures, market),
            *(dict(sorted(result.log.sides.items())), _refusals(result), _has_limit_orders(result)),
        )

    def under(self, config: JsonObject) -> Review:
        """Return the review of the same decisions under another profile, without their events."""
        return replace(self, result=self.result.under(config))

    @property
    def quote_asset(self) -> str:
        """The quote asset, in which money is counted."""
        return str(self.result.config["portfolio"]["quote_asset"])

    @property
    def profile(self) -> str:
        """The name of the profile."""
        return str(self.result.config["profile"])

    @property
    def closed(self) -> list[Trade]:
        """Closed trades, in the order of their entries."""
        return [trade for trade in self.trades if trade.is_closed]

    def by_symbol(self) -> list[Group]:
        """Return the closed trades by symbol."""
        return grouped(self.trades, lambda trade: trade.symbol)

    def by_entry(self) -> list[Group]:
        """Return the closed trades by entry reason."""
        return grouped(self.trades, lambda trade: trade.entry_reason)

    def by_exit(self) -> list[Group]:
        """Return the closed trades by exit reason."""
        return grouped(self.trades, lambda trade: trade.exit_reason)

    def breakdown(self, kind: str) -> list[Stretch]:
        """Return the days, weeks or months with the trades closed in each."""
        return stretches(self.series[kind], self.trades, kind)

    def to_json(self) -> JsonObject:
        """Return the whole review as one JSON object, without a float."""
        result = self.result
        return {
            "profile": self.profile,
            "quote_asset": self.quote_asset,
            "sources": list(result.sources),
            "symbols": sorted(result.prices),
            "from_ts": result.from_ts,
            "to_ts": result.to_ts,
            "inputs": dict(result.inputs),
            "signals": dict(self.signals),
            "refusals": {by: dict(counts) for by, counts in self.refusals.items()},
            "assumptions": list(result.assumptions),
            **({"entered_at_low": result.entered_at_low} if result.entered_at_low else {}),
            "stop": result.stop or None,
            "digest": result.digest,
            "figures": dict(self.figures),
            "market": {**self.market.to_json(), "rule": self.market.rule()},
            "by_symbol": [group.to_json() for group in self.by_symbol()],
            "by_entry_reason": [group.to_json() for group in self.by_entry()],
            "by_exit_reason": [group.to_json() for group in self.by_exit()],
            "breakdown": {
                kind: [stretch.to_json() for stretch in self.breakdown(kind)] for kind in BREAKDOWNS
            },
            "returns": [
                {"ts": period.ts, "pnl": amount_text(period.pnl)} for period in self.series[HOUR]
            ],
            "trades": [trade.to_json() for trade in self.trades],
        }


def _refusals(result: BacktestResult) -> dict[str, dict[str, int]]:
    """Return holds of the strategy, refusals by risk and unfilled orders, counted by reason."""
    log = result.log
    orders = {ORDER: dict(log.orders)} if log.orders else {}
    return {HOLD: dict(log.holds), BLOCK: dict(log.blocks), **orders}


def _has_limit_orders(result: BacktestResult) -> bool:
    return any(
        isinstance(event.payload, OrderIntent) and event.payload.limit_price is not None
        for event in result.of("order_intents")
    )
