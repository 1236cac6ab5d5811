"""Sides of a comparison: a run or a kept backtest, described in the same words and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from minibot.backtest.report import ratios
from minibot.backtest.report.documents import files_of
from minibot.backtest.report.kept_charts import Charts, read_charts
from minibot.backtest.report.store import Kept
from minibot.events.model import JsonObject
from minibot.events.money import UNIT
from minibot.events.unit_sizes import BPS
from minibot.kernel.errors import Refusal
from minibot.report.html import marked_of
from minibot.report.night import Night
from minibot.report.price_chart import Marked
from minibot.report.records import RunRecord, facts_of, performance_of, symbols_in
from minibot.report.run_facts import night_facts
from minibot.report.trades import RoundTrip
from minibot.runtime.paths import project_name, resolve

SAME_NAMES: Final = (
    *("pnl", "fees", "equity_start", "equity", "realised_pnl", "drawdown_max", "wins", "losses"),
    *("win_rate", "reward_risk", "open_positions"),
)
"""Figures that runs and backtests call by the same name."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a page of two.

    Attributes:
        document: The result in the words of a backtest's document (`kept_comparison`).
        marked: Its round trips.
        charts: Bars, lines and equity to draw; None where no readable charts are kept.
    """

    document: JsonObject
    marked: Sequence[Marked]
    charts: Charts | None


def run_document(record: RunRecord, facts: JsonObject | None = None) -> JsonObject:
    """Return a run in the words of a backtest's document, without its trades.

    The hash of a played file is that of the file as it is now, as a run records none; it is
    missing if the file is gone.

    Args:
        record: The run.
        facts: Facts of the run; by default the facts kept with its report.

    Raises:
        Refusal: The run's manifest cannot be read.
    """
    manifest = record.manifest
    if manifest is None:
        raise Refusal(f"{record.run_id}: {record.trouble}.", "minibot verify names the damage.")
    facts = facts or facts_of(record) or {}
    word = (manifest.config.get("embedded") or {}).get("source")
    own = {record.run_id: record.seal.get("root", "")}
    feeds: dict[str, str] = manifest.config["market"].get("feeds") or {}
    told = {
        f"market.feeds.{name}": {Path(path).name: manifest.pinned.get(_pinned_name(path), "")}
        for name, path in feeds.items()
    }
    return {
        "id": record.run_id,
        "kind": record.kind,
        "ended": f"{record.state} {record.reason_code}".strip(),
        "profile": manifest.profile,
        "quote_asset": manifest.config["portfolio"]["quote_asset"],
        "sources": [str(word) if word else ", ".join(manifest.hosts[:1])],
        "files": {str(word): files_of(str(word)), **told} if word else {record.run_id: own},
        "root": record.seal.get("root"),
        "symbols": symbols_in(manifest, facts),
        "from_ts": facts.get("from_ts", manifest.clock_origin_ms),
        "to_ts": facts.get("to_ts"),
        "digest": facts.get("digest"),
        "config": manifest.config,
        "figures": _figures(performance_of(record), facts.get("market")),
    }


def _pinned_name(path: str) -> str:
    return project_name(resolve(path).resolve())


def run_side(record: RunRecord, night: Night) -> Side:
    """Return a run as a side, with charts from its queues."""
    count = night.count
    document = run_document(record, facts_of(record) or night_facts(night))
    return Side(document, marked_of(night), Charts(count.prices, {}, count.curve.points))


def backtest_side(kept: Kept) -> Side:
    """Return a kept backtest as a side, with its kept charts."""
    return Side(kept.document, [_marked(each) for each in _trades(kept)], read_charts(kept.folder))


def _figures(performance: JsonObject | None, market: JsonObject | None) -> JsonObject:
    """Return the figures of a run by the names that they have in a backtest."""
    held = (market or {}).get("buy_and_hold", {})
    found: dict[str, Any] = {
        "market_change": (market or {}).get("change"),
        "hold_pnl": held.get("pnl"),
        "hold_return": held.get("return"),
    }
    if performance is None:
        return found
    start, pnl = Decimal(performance["equity_start"]), Decimal(performance["pnl"])
    return found | {
        **{name: performance[name] for name in SAME_NAMES},
        "trades": performance["round_trips"],
        "return": ratios.text(float(pnl / start)) if start else None,
        "pnl_before_fees": f"{pnl + Decimal(performance['fees']):f}",
        "drawdown_ratio_max": ratios.text(float(performance["drawdown_bps_max"]) / BPS),
    }


def _trades(kept: Kept) -> list[JsonObject]:
    found: list[JsonObject] = kept.document["trades"]
    return found


def _marked(trade: JsonObject) -> Marked:
    """Return a kept trade as a night's charts mark theirs."""
    left = trade.get("left_because") or trade["exit_reason"]
    return Marked(trade["number"], _trip(trade), trade["entry_reason"], left)


def _trip(trade: JsonObject) -> RoundTrip:
    """Return the round trip of a kept trade: its exact net P&L if closed, no sale if open."""
    qty, fees = _units(trade["qty"]), _units(trade["fees"])
    paid = _units(trade["entry_price"]) * qty // UNIT
    trip = RoundTrip(*(trade["symbol"], trade["opened_ts"]), bought_qty=qty, paid=paid, fees=fees)
    if trade["closed_ts"] is not None:
        trip.closed_ts = trade["closed_ts"]
        trip.sold_qty = qty
        trip.received = _units(trade["net"]) + paid + fees
    return trip


def _units(amount: str | None) -> int:
    return int(Decimal(amount or 0) * UNIT)
