"""Groups of trades: by a common name, such as the symbol, and by the period of their closing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from minibot.backtest.report import ratios
from minibot.backtest.report.returns import Period, next_start
from minibot.backtest.report.trades import Trade
from minibot.events.model import JsonObject
from minibot.events.money import amount_text


@dataclass(frozen=True, slots=True)
class Group:
    """Closed trades with one name in common; amounts in hundred-millionths of quote."""

    name: str
    trades: tuple[Trade, ...]

    @property
    def results(self) -> list[int]:
        """Net P&L of each trade, after fees."""
        return [trade.net for trade in self.trades]

    @property
    def net(self) -> int:
        """Net P&L of all trades together, after fees."""
        return sum(self.results)

    @property
    def fees(self) -> int:
        """Fees of all trades together."""
        return sum(trade.trip.fees for trade in self.trades)

    @property
    def held_ms_mean(self) -> int | None:
        """Mean time from entry to exit, ms; None without trades."""
        if not self.trades:
            return None
        return sum(trade.held_ms for trade in self.trades) // len(self.trades)

    def to_json(self) -> JsonObject:
        """Return the group as one JSON object."""
        results = self.results
        net = sum(results)
        return {
            "name": self.name,
            "trades": len(self.trades),
            "wins": sum(result > 0 for result in results),
            "losses": sum(result < 0 for result in results),
            "win_rate": ratios.text(ratios.win_rate(results)),
            "net": amount_text(net),
            "net_mean": amount_text(net // len(results)) if results else None,
            "net_max": amount_text(max(results)) if results else None,
            "net_min": amount_text(min(results)) if results else None,
            "profit_factor": ratios.text(ratios.profit_factor(results)),
            "fees": amount_text(self.fees),
            "held_ms_mean": self.held_ms_mean,
        }


def grouped(trades: Iterable[Trade], name_of: Callable[[Trade], str]) -> list[Group]:
    """Return the closed trades grouped by name, the largest net P&L first, ties by name."""
    found: dict[str, list[Trade]] = {}
    for trade in trades:
        if trade.is_closed:
            found.setdefault(name_of(trade), []).append(trade)
    groups = [Group(name, tuple(members)) for name, members in found.items()]
    return sorted(groups, key=lambda group: (-group.net, group.name))


@dataclass(frozen=True, slots=True)
class Stretch:
    """A day, week or month: its change of equity, and the trades that were closed in it."""

    period: Period
    group: Group

    def to_json(self) -> JsonObject:
        """Return the stretch as one JSON object."""
        shown = self.group.to_json()
        return {
            "ts": self.period.ts,
            "equity": amount_text(self.period.closing),
            "pnl": amount_text(self.period.pnl),
            "return": ratios.text(self.period.ratio),
            **{name: shown[name] for name in ("trades", "wins", "losses", "net", "fees")},
        }


def stretches(series: Sequence[Period], trades: Iterable[Trade], kind: str) -> list[Stretch]:
    """Return each period with its trades; one closed on a boundary belongs to the earlier."""
    closed = sorted(
        (trade for trade in trades if trade.is_closed), key=lambda trade: trade.trip.closed_ts
    )
    found: list[Stretch] = []
    at = 0
    for period in series:
        first, end = at, next_start(period.ts, kind)
        while at < len(closed) and closed[at].trip.closed_ts <= end:
            at += 1
        found.append(Stretch(period, Group("", tuple(closed[first:at]))))
    return found
