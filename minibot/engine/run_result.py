"""Result of a backtest: every decision, and the data for its figures and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableSequence, Sequence
from copy import copy
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Final, NamedTuple

from minibot.accounting.performance import Performance
from minibot.engine.decisions import DecisionDigest
from minibot.engine.lazy_list import LazyList
from minibot.engine.signal_log import SignalLog
from minibot.events.model import BLOCK, Event, JsonObject, OrderResult, RiskAction, Signal

# These events come from no process, but every event needs the field.
NO_CMDLINE: Final = "0" * 64
WITHHELD: Final = "performance"
"""Field of a result that is not sent to another process."""


class Derived(NamedTuple):
    """One event that a core derived, with its queue and its number there."""

    queue: str
    seq: int
    event: Event


class EquityPoint(NamedTuple):
    """Equity at a candle's beginning or at the end of the run; hundred-millionths of quote."""

    ts: int
    equity: int


class EquityColumns(NamedTuple):
    """Equity points as two columns, in order of time."""

    ts: list[int]
    amounts: list[int]


class EquityList(LazyList[EquityPoint]):
    """List of equity points, one per candle, computed when it is first read.

    It is read and pickled as two columns: a year of minutes is half a million points, which as
    objects take a second to pickle and another to read.

    Args:
        make: Returns the columns; called at most once.
    """

    def __init__(self, make: Callable[[], EquityColumns]) -> None:
        given = self._given = cache(make)
        super().__init__(lambda: list(map(EquityPoint, *given())))

    @property
    def columns(self) -> EquityColumns:
        """The points as columns."""
        if self._made is not None:
            return _columns_of(self._made)
        columns = self._given()
        for ts, amount in self._more:
            columns.ts.append(ts)
            columns.amounts.append(amount)
        self._more = []
        return columns

    def __reduce__(self) -> tuple[Any, ...]:
        """Reduce the list to two columns and the function that restores it from them."""
        return _equity_of, (self.columns,)


def _equity_of(columns: EquityColumns) -> EquityList:
    return EquityList(lambda: columns)


def _columns_of(points: Sequence[EquityPoint]) -> EquityColumns:
    return EquityColumns([point.ts for point in points], [point.equity for point in points])


@dataclass(slots=True)
class PriceBar:
    """One candle of a symbol for the chart (`drawing`); floats, as it is only drawn."""

    ts: int
    open: float
    high: float
    low: float
    close: float


@dataclass(slots=True)
class BacktestResult:
    """One pass of the cores over a source.

    Attributes:
        config: The resolved profile.
        sources: Names of the sources.
        from_ts, to_ts: Market time of the first and the last market event, Unix ms.
        inputs: Number of market events taken, by type.
        derived: Every signal, risk action, intent, result and fill, in order of derivation; after a
            pass with a `DecisionRecord` only those that trades are made of.
        equity: Equity at the beginning of each candle but the first, and at the end of the run.
        prices: Candles for the chart, by symbol.
        closes: By symbol, the close of the span's first bar and that of its last bar that ended by
            `to_ts`, both of the first bar if none has; hundred-millionths of quote. For ticks the
            first and the last price.
        performance: Exact equity, drawdown and round trips, as in a night; missing in a copy and
            in a result from another process.
        lines: Lines that the strategy plotted, with their times, by symbol and name; empty without
            a page.
        stop: Reason code if risk stopped the run, else empty.
        assumptions: Facts that the sources had to assume, one sentence each, for every report.
        entered_at_low: Number of positions that a resting order opened at the low of a modelled
            bar: of the two possible paths, the one with the high before that low counts.
        elapsed_s: Machine time of the walk through the market.
    """

    config: JsonObject
    sources: tuple[str, ...]
    performance: Performance
    from_ts: int = 0
    to_ts: int = 0
    inputs: dict[str, int] = field(default_factory=dict)
    derived: MutableSequence[Derived] = field(default_factory=list)
    equity: MutableSequence[EquityPoint] = field(default_factory=list)
    prices: dict[str, MutableSequence[PriceBar]] = field(default_factory=dict)
    closes: dict[str, tuple[int, int]] = field(default_factory=dict)
    lines: dict[str, dict[str, Sequence[tuple[int, float]]]] = field(default_factory=dict)
    stop: str = ""
    assumptions: tuple[str, ...] = ()
    entered_at_low: int = 0
    elapsed_s: float = 0.0
    _start: int | None = field(default=None, init=False, repr=False, compare=False)
    _digest: str = field(default="", init=False, repr=False, compare=False)
    _log: SignalLog | None = field(default=None, init=False, repr=False, compare=False)

    def __getstate__(self) -> JsonObject:
        """Return the fields for a copy or another process: all but `performance`.

        Where modules are compiled, its object can be neither copied nor restored elsewhere.
        """
        state = {one.name: getattr(self, one.name) for one in fields(self) if one.name != WITHHELD}
        return state | {"_start": self.equity_start}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Set the fields that `__getstate__` returned; `performance` stays missing."""
        for name, value in state.items():
            setattr(self, name, value)

    @property
    def equity_start(self) -> int:
        """Equity at the start, hundred-millionths of quote."""
        return self.performance.equity_start if self._start is None else self._start

    @property
    def equity_columns(self) -> EquityColumns:
        """The points of `equity` as columns."""
        equity = self.equity
        return equity.columns if isinstance(equity, EquityList) else _columns_of(equity)

    @property
    def digest(self) -> str:
        """The decision digest, computed when it is first read after the run."""
        if not self._digest:
            digest = DecisionDigest()
            for item in self.derived:
                digest.add(*item)
            self._digest = digest.hex
        return self._digest

    @digest.setter
    def digest(self, hex_digest: str) -> None:
        """Set a digest that was computed during the run."""
        self._digest = hex_digest

    @property
    def log(self) -> SignalLog:
        """Counts of signals and unfilled orders, computed when they are first read."""
        if self._log is None:
            log = SignalLog(has_values=True)
            for event in self.of("signals"):
                if isinstance(event.payload, Signal):
                    log.add(event.payload, event.ts)
            for event in self.of("risk_actions"):
                if isinstance(event.payload, RiskAction) and event.payload.action == BLOCK:
                    log.add_block(event.payload.reason_code)
            for event in self.of("order_results"):
                if isinstance(event.payload, OrderResult):
                    log.add_result(event.payload)
            self._log = log
        return self._log

    @log.setter
    def log(self, log: SignalLog) -> None:
        """Set the log of signals that was collected during the run."""
        self._log = log

    def under(self, config: JsonObject) -> BacktestResult:
        """Return the same result for another profile with the same decisions, without events.

        Its `log` is empty unless this result's log was read or set before. It is a copy, and has no
        `performance`.
        """
        digest = self.digest
        other = copy(self)
        other.config, other.derived, other._digest = config, [], digest
        return other

    def forget_events(self) -> str:
        """Compute and return the digest, then drop the derived events and the log of signals."""
        digest = self.digest
        self.derived = []
        self._log = None
        return digest

    def of(self, queue: str) -> list[Event]:
        """Return the derived events of one queue, in order."""
        return [item.event for item in self.derived if item.queue == queue]
