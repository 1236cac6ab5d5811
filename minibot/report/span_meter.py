"""Meter of a span of a run: earned, risked and invested between two market times.

The meter looks at equity after every tick and fill, as the recount does. So its figures of the
whole run are those of the run's summary.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Final

from minibot.accounting.market_projection import MarketProjection
from minibot.accounting.performance import Look, Performance
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import PROGRESS_EVERY
from minibot.events.model import Event, Fill, MarketTick, Payload, PriceMark
from minibot.events.names import FILLS, TICKS
from minibot.events.unit_sizes import BPS, HOUR_MS
from minibot.report.recount import Progress
from minibot.report.result_lines import DIGITS, CostTally, ResultLines

PERIODS_MIN: Final = 10
HOURS_PER_YEAR: Final = 365 * 24


def sharpe_ratio(levels: Sequence[int]) -> Decimal | None:
    """Return the annualised Sharpe ratio of equity levels an hour apart; the risk-free rate is 0.

    Formula:
        mean(r) / stdev(r) * sqrt(8760), with r[i] = levels[i] / levels[i - 1] - 1, stdev the sample
        deviation (n - 1), and 8760 the hours of 365 days, as such a market never closes.

    Returns:
        None below ten returns, for returns without any deviation, and where a level is not above 0.
    """
    if len(levels) <= PERIODS_MIN or min(levels) <= 0:
        return None
    with localcontext(prec=DIGITS):
        returns = [Decimal(level) / before - 1 for before, level in pairwise(levels)]
        mean = sum(returns, Decimal(0)) / len(returns)
        spread = sum(((each - mean) ** 2 for each in returns), Decimal(0)) / (len(returns) - 1)
        return None if not spread else mean / spread.sqrt() * Decimal(HOURS_PER_YEAR).sqrt()


class SpanMeter:
    """Meter of one span; amounts in hundred-millionths of quote.

    Attributes:
        levels: Equity as the span begins and after each full hour of it.
        drawdown_max: Deepest fall below the highest equity of the span.
        tally: Slippage of its fills.
        symbols: Symbols that had prices up to its end.

    Args:
        performance: Of the run, which takes each event first.
        from_ts: Beginning of the span, Unix ms.
        to_ts: Its last millisecond.
    """

    def __init__(self, performance: Performance, from_ts: int, to_ts: int) -> None:
        self._performance = performance
        self._from_ts, self._to_ts = from_ts, to_ts
        self._start = performance.equity_start
        self._equity, self._held = performance.equity, self._exposure()
        self._fees, self._trips = performance.portfolio.fees, len(performance.trips)
        self._at = from_ts
        self._area = 0
        self._high = 0
        self._fees_before = self._trips_before = 0
        self.levels: list[int] = []
        self.drawdown_max = 0
        # The deepest fall as a share: the fall, and the highest equity before it.
        self._deepest = (0, 1)
        self.tally = CostTally()
        self.symbols: set[str] = set()

    def look(self, ts: int, fill: Fill | None = None) -> None:
        """Take the state of the run at a market time.

        Args:
            ts: Unix ms; it never goes back.
            fill: The fill that led to this state, if one did.
        """
        if ts > self._to_ts:
            return
        performance = self._performance
        if performance.equity_start != self._start:
            self._shift(performance.equity_start - self._start)
        if ts >= self._from_ts:
            self._pass(ts)
            if fill is not None:
                self.tally.add(fill)
        self._equity, self._held = performance.equity, self._exposure()
        if fill is not None:
            self._fees, self._trips = performance.portfolio.fees, len(performance.trips)
        if self.levels:
            self._fall()

    def close(self, last_ts: int) -> None:
        """End the span, at its last millisecond or at the run's last market time before it."""
        self._pass(max(self._from_ts, min(last_ts, self._to_ts)), is_end=True)

    def _shift(self, difference: int) -> None:
        """Take over a carried position's first mark: what moved before belongs to another run."""
        self._start += difference
        self._equity += difference
        self._held += difference
        self._high += difference
        self.levels = [level + difference for level in self.levels]

    def _pass(self, ts: int, *, is_end: bool = False) -> None:
        """Let time pass up to an event, or to the end, at which a full hour counts too."""
        if not self.levels:
            self.levels.append(self._equity)
            self._high = self._equity
            self._fees_before, self._trips_before = self._fees, self._trips
        while (self._from_ts + len(self.levels) * HOUR_MS) <= ts + is_end:
            self.levels.append(self._equity)
        self._area += self._held * (ts - self._at)
        self._at = ts

    def _fall(self) -> None:
        self._high = max(self._high, self._equity)
        fall = self._high - self._equity
        if fall > self.drawdown_max:
            self.drawdown_max = fall
        below, high = self._deepest
        if self._high > 0 and fall * high > below * self._high:
            self._deepest = (fall, self._high)

    def _exposure(self) -> int:
        performance = self._performance
        return performance.equity - performance.portfolio.cash(performance.quote_asset)

    # --- figures ------------------------------------------------------------------------------

    @property
    def span_ms(self) -> int:
        """Market milliseconds from the span's beginning to its end so far."""
        return self._at - self._from_ts

    @property
    def lines(self) -> ResultLines:
        """The lines of the span's result."""
        before = self.levels[0] if self.levels else self._equity
        return ResultLines.of(self._equity - before, self._fees - self._fees_before, self.tally)

    @property
    def trips(self) -> list[int]:
        """Net P&L of each round trip that was closed in the span."""
        return self._performance.trips[self._trips_before : self._trips]

    @property
    def sharpe(self) -> Decimal | None:
        """Annualised Sharpe ratio of the span's full hours; see `sharpe_ratio`."""
        return sharpe_ratio(self.levels)

    @property
    def hit_rate(self) -> Decimal | None:
        """Round trips won over round trips closed; None for none."""
        trips = self.trips
        return Decimal(sum(trip > 0 for trip in trips)) / len(trips) if trips else None

    @property
    def drawdown_bps(self) -> Decimal:
        """The deepest fall in basis points of the highest equity before it."""
        fall, high = self._deepest
        return Decimal(fall) * BPS / high

    @property
    def exposure_mean(self) -> int:
        """Mean value of the holdings, weighted by time, rounded down."""
        return self._area // self.span_ms if self.span_ms else 0

    @property
    def exposure_weighted_return(self) -> Decimal | None:
        """Return on the invested value, not on the whole account; None while nothing was held.

        Formula:
            P&L after costs / ((1 / T) * sum(value held * how long it was held)), with T the length
            of the span: P&L over the mean exposure.
        """
        if self._area <= 0:
            return None
        with localcontext(prec=DIGITS):
            earned = self._equity - self.levels[0]
            return Decimal(earned) * self.span_ms / self._area


def measured_span(
    recorded: Recorded,
    from_ts: int,
    to_ts: int,
    progress: Progress = lambda lines: None,
) -> SpanMeter:
    """Return the meter of a span of a recorded run.

    Args:
        recorded: The run.
        from_ts: Beginning of the span, Unix ms.
        to_ts: Its last millisecond.
        progress: Called with the lines read so far.

    Raises:
        IntegrityError: A queue is damaged, or the run has no opening.
    """
    performance = Performance(recorded.opening()[1], recorded.quote_asset)
    meter = SpanMeter(performance, from_ts, to_ts)

    def on_fill(event: Event) -> None:
        if isinstance(event.payload, Fill):
            meter.look(max(event.ts, market.last_ts), event.payload)

    def on_mark(times: Sequence[int], payloads: Sequence[Payload], looks: Sequence[Look]) -> None:
        meter.look(max(times[0], market.last_ts))
        meter.symbols.update(
            one.symbol for one in payloads if isinstance(one, MarketTick | PriceMark)
        )

    fills = (event for _, event in recorded.events(FILLS))
    market = MarketProjection(performance, lambda: next(fills, None), on_mark, on_fill)
    end_ts: int | None = None
    for seq, event in recorded.events(TICKS):
        if event.ts > to_ts:
            end_ts = to_ts  # The run goes on after the span.
            break
        market.take(seq, event)
        if seq % PROGRESS_EVERY == 0:
            progress(seq)
    market.book_before(None)
    meter.close(market.last_ts if end_ts is None else end_ts)
    return meter
