"""Result of a backtest: every decision, and the data to judge and to draw it."""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from minibot.accounting.performance import Performance
from minibot.engine.decisions import DecisionDigest
from minibot.engine.lazy_list import LazyList
from minibot.engine.signal_log import SignalLog
from minibot.events.model import BLOCK, Event, JsonObject, OrderResult, RiskAction, Signal

# No process has made these events; the field is part of every event.
NO_CMDLINE: Final = "0" * 64


class Derived(NamedTuple):
    """One event that a core derived: the queue it belongs to, and its number there."""

    queue: str
    seq: int
    event: Event


class EquityPoint(NamedTuple):
    """Equity as a candle begins, or at the end of the run; hundred-millionths of quote."""

    ts: int
    equity: int


class EquityList(LazyList[EquityPoint]):
    """List of equity points, one per candle, made when it is first read.

    It is pickled as two columns: a year of minutes is half a million points, which as objects take
    a second to pickle and another to read.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """Reduce the list to two columns and the function that makes an equal one of them."""
        return _equity_of, ([point.ts for point in self], [point.equity for point in self])


def _equity_of(times: list[int], amounts: list[int]) -> EquityList:
    return EquityList(lambda: list(map(EquityPoint, times, amounts)))


@dataclass(slots=True)
class PriceBar:
    """One candle of a symbol for the chart (`drawing`); floats, as it is for the eye."""

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
        sources: Their names.
        from_ts, to_ts: Market time of the first and the last market event, Unix ms.
        inputs: How many market events were taken, by type.
        derived: Every signal, risk action, intent, result and fill, in the order they were made;
            of a pass with a `DecisionRecord` without holds and order results.
        equity: Equity as each candle but the first begins, and at the end of the run.
        prices: By symbol, for the chart.
        closes: By symbol, the first and the last close of the span, hundred-millionths of quote;
            of ticks the first and the last price.
        performance: Exact equity, drawdown and round trips, as in a night.
        lines: By symbol and name, what the strategy plotted, with its times; empty where no page
            is drawn.
        stop: Reason code where risk stopped the run, else empty.
        assumptions: What the sources had to make up, one sentence each; stands in every report.
        entered_at_low: How many positions a resting order opened at the low of a modelled bar: of
            its two possible paths, the one with the high before that low counts.
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
    _digest: str = field(default="", init=False, repr=False, compare=False)
    _log: SignalLog | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """The decision digest, reckoned when it is first read: of a run that is over."""
        if not self._digest:
            digest = DecisionDigest()
            for item in self.derived:
                digest.add(*item)
            self._digest = digest.hex
        return self._digest

    @digest.setter
    def digest(self, hex_digest: str) -> None:
        """Take a digest that was reckoned during the run."""
        self._digest = hex_digest

    @property
    def log(self) -> SignalLog:
        """Counts of signals and unfilled orders, gathered when they are first read."""
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
        """Take the log of signals that was gathered during the run."""
        self._log = log

    def under(self, config: JsonObject) -> BacktestResult:
        """Return the same result under another profile that decides the same, without events.

        Its `log` is empty unless this one's was read or set before.
        """
        other = replace(self, config=config, derived=[])
        other._digest = self.digest
        other._log = self._log
        return other

    def forget_events(self) -> str:
        """Drop the derived events and the log of signals; return the digest, reckoned before."""
        digest = self.digest
        self.derived = []
        self._log = None
        return digest

    def of(self, queue: str) -> list[Event]:
        """Return the derived events of one queue, in order."""
        return [item.event for item in self.derived if item.queue == queue]
