"""Key figures of a result by name, and how each is shown; docs/BACKTEST.md has the formulas.

Money and counts are exact; ratios have six decimals. A figure that cannot be computed is None,
never a zero that would look like a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from minibot.backtest.report import ratios
from minibot.backtest.report.exposure import Exposure
from minibot.backtest.report.returns import PERIODS_PER_YEAR, Period, Underwater
from minibot.backtest.report.trades import Trade, traded_notional
from minibot.events.model import Fill, JsonObject
from minibot.events.money import amount_text, parse_amount
from minibot.events.unit_sizes import BPS
from minibot.report.figures import NONE, date_clock, decimal, long_duration, money, share, signed
from minibot.report.market_change import MarketChange

if TYPE_CHECKING:
    from minibot.engine.run_result import BacktestResult


class Shown(NamedTuple):
    """Figure as it is shown: its key in the document, its label, and its format.

    `better` is 1 if a trader prefers the larger of two, -1 for the smaller, 0 for no preference.
    """

    key: str
    label: str
    kind: str
    better: int = 0


GROUPS: Final[tuple[tuple[str, tuple[Shown, ...]], ...]] = (
    (
        "Result",
        (
            Shown("pnl", "result", "signed", 1),
            Shown("return", "return", "percent", 1),
            Shown("pnl_before_fees", "before fees", "signed", 1),
            Shown("fees", "fees", "money", -1),
            Shown("equity_start", "equity at the start", "money"),
            Shown("equity", "equity at the end", "money", 1),
            Shown("cagr", "CAGR", "percent", 1),
            Shown("market_change", "market change", "percent"),
            Shown("hold_pnl", "buy and hold", "signed"),
            Shown("hold_return", "buy and hold, return", "percent"),
        ),
    ),
    (
        "Risk",
        (
            Shown("drawdown_max", "max drawdown", "money", -1),
            Shown("drawdown_ratio_max", "max drawdown, of equity", "percent", -1),
            Shown("drawdown_ratio_closes", "the same, by closes", "percent", -1),
            Shown("underwater_ms_max", "longest below a high", "duration", -1),
            Shown("volatility", "volatility a year", "percent", -1),
            Shown("sharpe", "Sharpe", "ratio", 1),
            Shown("sortino", "Sortino", "ratio", 1),
            Shown("calmar", "Calmar", "ratio", 1),
        ),
    ),
    (
        "Trades",
        (
            Shown("trades", "trades", "count"),
            Shown("win_rate", "win rate", "percent", 1),
            Shown("reward_risk", "R:R", "ratio", 1),
            Shown("profit_factor", "profit factor", "ratio", 1),
            Shown("expectancy", "expectancy a trade", "signed", 1),
            Shown("expectancy_ratio", "expectancy ratio", "ratio", 1),
            Shown("net_max", "best trade", "signed", 1),
            Shown("net_min", "worst trade", "signed", 1),
            Shown("losses_in_a_row_max", "losses in a row", "count", -1),
            Shown("held_ms_mean", "held on average", "duration"),
        ),
    ),
    (
        "Activity",
        (
            Shown("fills", "fills", "count"),
            Shown("maker_ratio", "maker share of fills", "percent"),
            Shown("notional", "bought and sold", "money"),
            Shown("turnover", "turnover, times equity", "ratio"),
            Shown("fees_bps", "fee rate, bps", "ratio", -1),
            Shown("time_in_market", "time in the market", "percent"),
            Shown("exposure_mean", "exposure, mean", "percent"),
            Shown("exposure_max", "exposure, largest", "percent"),
        ),
    ),
)
KEY_FIGURES: Final = tuple(shown for _, group in GROUPS for shown in group)
SORTABLE: Final = tuple(shown.key for shown in KEY_FIGURES if shown.better)


def figure_text(kind: str, value: str | int | None) -> str:
    """Return a figure as text for people."""
    if value is None:
        return NONE
    if kind == "count":
        return f"{value:,}"
    if kind == "duration":
        return long_duration(int(value))
    if kind == "time":
        return date_clock(int(value))
    amount = str(value)
    shown = {"money": money, "signed": signed, "percent": share, "ratio": decimal}[kind]
    return shown(amount)


def figures_of(
    result: BacktestResult,
    trades: Sequence[Trade],
    series: Sequence[Period],
    kind: str | None,
    exposure: Exposure,
    falls: Sequence[Underwater],
) -> JsonObject:
    """Return the key figures of a result by name, without those of `market_figures`.

    Args:
        result: The result of the backtest.
        trades: Its round trips.
        series: Its periods whose returns are annualised; empty where `kind` is None.
        kind: Their kind, day or hour; None where the span is too short to be annualised.
        exposure: Its exposure.
        falls: Its drawdown periods.
    """
    returned = [period.ratio for period in series]
    return {
        **_money(result),
        **_yearly(returned, kind),
        **_falls(result, returned, falls),
        **_trades([trade for trade in trades if trade.is_closed]),
        **_activity(result, exposure),
    }


def market_of(result: BacktestResult) -> MarketChange:
    """Return the market change over a result's span, with buy-and-hold of its starting equity."""
    fee_bps = str(result.config["execution"]["taker_fee_bps"])
    return MarketChange(result.closes, result.equity_start, fee_bps)


def market_figures(market: MarketChange) -> JsonObject:
    """Return the figures of market and buy-and-hold; None where nothing had a price."""
    found = market.to_json()
    held = found["buy_and_hold"]
    return {
        "market_change": found["change"],
        "hold_pnl": held["pnl"],
        "hold_return": held["return"],
    }


def _money(result: BacktestResult) -> JsonObject:
    figures = result.performance.to_json()
    start = result.equity_start
    before = Decimal(figures["pnl"]) + Decimal(figures["fees"])
    return {
        "pnl": figures["pnl"],
        "return": ratios.text((result.performance.equity / start - 1) if start else None),
        "pnl_before_fees": f"{before:f}",
        "fees": figures["fees"],
        "equity_start": figures["equity_start"],
        "equity": figures["equity"],
        "realised_pnl": figures["realised_pnl"],
        "open_positions": figures["open_positions"],
    }


def _yearly(returned: Sequence[float], kind: str | None) -> JsonObject:
    """Return the annualised figures; all None where the span is too short."""
    if kind is None:
        names = ("cagr", "volatility", "sharpe", "sortino", "calmar")
        return {"returns_of": None, "returns": 0, **dict.fromkeys(names)}
    per_year = PERIODS_PER_YEAR[kind]
    return {
        "returns_of": kind,
        "returns": len(returned),
        "cagr": ratios.text(ratios.cagr(returned, per_year)),
        "volatility": ratios.text(ratios.volatility(returned, per_year)),
        "sharpe": ratios.text(ratios.sharpe(returned, per_year)),
        "sortino": ratios.text(ratios.sortino(returned, per_year)),
        "calmar": ratios.text(ratios.calmar(returned, per_year)),
    }


def _falls(
    result: BacktestResult, returned: Sequence[float], falls: Sequence[Underwater]
) -> JsonObject:
    """Return the maximum drawdown by every mark and by the ends of periods, and the longest."""
    deepest = max(falls, key=lambda fall: fall.ratio, default=None)
    lengths = [(fall.until_ts or result.to_ts) - fall.from_ts for fall in falls]
    figures = result.performance.to_json()
    return {
        "drawdown_max": figures["drawdown_max"],
        "drawdown_ratio_max": ratios.text(float(figures["drawdown_bps_max"]) / BPS),
        "drawdown_ratio_closes": ratios.text(ratios.drawdown(returned)) if returned else None,
        "drawdown_from_ts": None if deepest is None else deepest.from_ts,
        "drawdown_low_ts": None if deepest is None else deepest.low_ts,
        "drawdown_until_ts": None if deepest is None else deepest.until_ts,
        "underwater_ms_max": max(lengths, default=None),
    }


def _trades(closed: Sequence[Trade]) -> JsonObject:
    results = [trade.net for trade in closed]
    held = sum(trade.held_ms for trade in closed)
    # A trade's result is known once it has closed; trades come in order of their entries.
    as_closed = [trade.net for trade in sorted(closed, key=lambda trade: trade.trip.closed_ts)]
    return {
        "trades": len(closed),
        "wins": sum(result > 0 for result in results),
        "losses": sum(result < 0 for result in results),
        "win_rate": ratios.text(ratios.win_rate(results)),
        "reward_risk": ratios.text(ratios.reward_risk(results)),
        "profit_factor": ratios.text(ratios.profit_factor(results)),
        "expectancy": amount_text(sum(results) // len(results)) if results else None,
        "expectancy_ratio": ratios.text(ratios.expectancy_ratio(results)),
        "net_max": amount_text(max(results)) if results else None,
        "net_min": amount_text(min(results)) if results else None,
        "losses_in_a_row_max": _longest_loss(as_closed),
        "held_ms_mean": held // len(closed) if closed else None,
    }


def _longest_loss(results: Sequence[int]) -> int:
    longest = now = 0
    for result in results:
        now = now + 1 if result < 0 else 0
        longest = max(longest, now)
    return longest


def _activity(result: BacktestResult, exposure: Exposure) -> JsonObject:
    fills = result.of("fills")
    made = [event.payload for event in fills if isinstance(event.payload, Fill)]
    makers = sum(fill.liquidity == "MAKER" for fill in made)
    notional = traded_notional(fills)
    fees = parse_amount(result.performance.to_json()["fees"])
    equity = ratios.mean([float(amount) for amount in result.equity_columns.amounts])
    return {
        "fills": len(made),
        "maker_ratio": ratios.text(makers / len(made)) if made else None,
        "notional": amount_text(notional),
        "turnover": ratios.text(notional / equity) if equity else None,
        "fees_bps": ratios.text(fees / notional * BPS) if notional else None,
        "time_in_market": ratios.text(exposure.time_ratio),
        "exposure_mean": ratios.text(exposure.ratio_mean),
        "exposure_max": ratios.text(exposure.ratio_max),
    }
