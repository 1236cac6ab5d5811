"""Reader of a run for notebooks and scripts: its fills, trades, bars and equity as tables.

    import minibot.read
    run = minibot.read.run("latest")        # an id, a run's folder, or latest
    equity = run.equity                     # a pandas DataFrame (extra `frames`)
    equity.astype({"equity": float}).plot(x="time", y="equity")
    run.rows.trades                         # the same as a list of dicts, without pandas

Times are in UTC, amounts exact (`decimal.Decimal`). Figures come from the same fold of the record
as the report's (`accounting.market_projection`); nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from minibot.accounting.market_projection import MarketProjection
from minibot.accounting.performance import Performance
from minibot.engine.recorded_run import Recorded
from minibot.events.model import Bar, Event, Fill, JsonObject, RunOpening
from minibot.events.money import amount_text
from minibot.events.names import TICKS
from minibot.kernel.errors import Refusal
from minibot.report.trades import RoundTrip, TradeLog
from minibot.runtime.paths import Var, resolve
from minibot.runtime.runfiles import LATEST, is_run_folder, own_runs

if TYPE_CHECKING:
    import pandas

__all__ = ["Rows", "Run", "run"]

Row = dict[str, Any]
_FILL: Final = ("qty", "price", "fee", "bid", "ask", "displayed_qty")
_TRADE: Final = ("qty", "entry_price", "exit_price", "fees", "net")
_BAR: Final = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume")


def run(name: str | Path = LATEST, var: str | Path = "var") -> Run:
    """Return a run, sealed or not, by id, folder or `latest`.

    Args:
        name: The run.
        var: Where runs live, for an id or `latest`.

    Raises:
        Refusal: There is no such run.
        RunStop: Its manifest is damaged.
    """
    runs = Var(resolve(var)).runs
    if name == LATEST:
        found = [folder for folder, _ in islice(own_runs(runs), 1)]
    else:
        found = [path for path in (runs / name, Path(name)) if is_run_folder(path)]
    if not found:
        raise Refusal(
            f"{name} is not a run id under {runs} and no run's folder.", "See: minibot runs"
        )
    return Run(Rows(Recorded.open(found[0].resolve())))


class Rows:
    """Tables of one run as lists of dicts; each is read when it is asked for, and then kept.

    Raises:
        RunStop: A queue is damaged; `minibot verify` names the place.
    """

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self._recorded.manifest.run_id

    @cached_property
    def fills(self) -> list[Row]:
        """Fills in their order: time, symbol, side, qty, price, fee, fee_asset, ids, the touch."""
        return [
            {"time": _time(event.ts), "id": event.id, **_exact(event.payload.to_json(), _FILL)}
            for _, event in self._recorded.events("fills")
            if isinstance(event.payload, Fill)
        ]

    @property
    def trades(self) -> list[Row]:
        """Round trips from flat to flat: symbol, opened, closed, qty, prices, fees, net."""
        return self._folded[0]

    @property
    def equity(self) -> list[Row]:
        """Equity after each tick, mark or fill that changed it: time, equity, drawdown."""
        return self._folded[1]

    def bars(self, symbol: str, interval: str | None = None) -> list[Row]:
        """Return the closed bars of a symbol in their order, of one length or of all.

        Each has time (its first millisecond), interval, the prices, the volumes and is_history,
        true for those from before the run.
        """
        return [
            {"time": _time(bar.open_ts), **_exact(bar.to_json(), _BAR)}
            for _, event in self._recorded.events(TICKS)
            if isinstance(bar := event.payload, Bar)
            and bar.symbol == symbol
            and interval in (None, bar.interval)
        ]

    @cached_property
    def _folded(self) -> tuple[list[Row], list[Row]]:
        """Trades and equity, from one walk over the market with its fills."""
        opening = next(self._recorded.events("control"), None)
        if opening is None or not isinstance(opening[1].payload, RunOpening):
            return [], []
        performance = Performance(opening[1].payload, self._recorded.quote_asset)
        log = TradeLog(performance.carried)
        points = [(opening[1].ts, performance.equity, performance.high_water_mark)]

        start = performance.equity_start

        def look(ts: int) -> None:
            nonlocal start
            if moved := performance.equity_start - start:
                # A carried position has its first mark: what came before counts by it as well.
                start += moved
                points[:] = [(at, equity + moved, high + moved) for at, equity, high in points]
            now = performance.equity, performance.high_water_mark
            if now != points[-1][1:]:
                points.append((max(ts, market.last_ts), *now))

        def on_fill(event: Event) -> None:
            log.on_fill(event)
            look(event.ts)

        fills = (event for _, event in self._recorded.events("fills"))
        market = MarketProjection(
            performance,
            lambda: next(fills, None),
            lambda times, *_: look(times[0]),  # Each is taken alone.
            on_fill,
        )
        for seq, event in self._recorded.events(TICKS):
            market.take(seq, event)
        market.book_before(None)
        trades = [_trade(trip.to_json()) for trip in log.trips]
        return trades, [_point(ts, equity, high) for ts, equity, high in points]


class Run:
    """Run whose tables are pandas DataFrames.

    Attributes:
        rows: The same tables as lists of dicts.

    Raises:
        ImportError: pandas is not installed; the message names the command.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self.rows.run_id

    @property
    def fills(self) -> pandas.DataFrame:
        """Fills; see `Rows.fills`."""
        return _frame(self.rows.fills, ("time", "id", *Fill.__struct_fields__))

    @property
    def trades(self) -> pandas.DataFrame:
        """Round trips; see `Rows.trades`."""
        return _frame(self.rows.trades, _trade(RoundTrip("", 0).to_json()))

    @property
    def equity(self) -> pandas.DataFrame:
        """Equity; see `Rows.equity`."""
        return _frame(self.rows.equity, _point(0, 0, 0))

    def bars(self, symbol: str, interval: str | None = None) -> pandas.DataFrame:
        """Return the closed bars of a symbol; see `Rows.bars`."""
        return _frame(self.rows.bars(symbol, interval), ("time", *Bar.__struct_fields__))

    def __repr__(self) -> str:
        return f"<run {self.run_id}: fills, trades, bars(SYMBOL), equity, rows>"


def _frame(rows: list[Row], names: Iterable[str]) -> pandas.DataFrame:
    """Return a table; one without rows has the named columns all the same."""
    try:
        import pandas
    except ImportError as error:
        text = (
            "tables need pandas: pip install '.[frames]' in the project (lists of dicts: run.rows)"
        )
        raise ImportError(text) from error
    return pandas.DataFrame(rows, columns=None if rows else list(names))


def _point(ts: int, equity: int, high: int) -> Row:
    return {
        "time": _time(ts),
        "equity": Decimal(amount_text(equity)),
        "drawdown": Decimal(amount_text(high - equity)),
    }


def _exact(values: JsonObject, amounts: tuple[str, ...]) -> Row:
    """Return an object with the named amounts as decimals."""
    return {
        name: Decimal(value) if name in amounts and value is not None else value
        for name, value in values.items()
    }


def _trade(trip: JsonObject) -> Row:
    opened, closed = trip.pop("opened_ts"), trip.pop("closed_ts")
    times = {"opened": _time(opened), "closed": None if closed is None else _time(closed)}
    return {**times, **_exact(trip, _TRADE)}


def _time(ts: int) -> datetime:
    return datetime.fromtimestamp(ts // 1000, UTC).replace(microsecond=ts % 1000 * 1000)
