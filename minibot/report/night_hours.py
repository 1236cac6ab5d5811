"""Hours of a run: what each hour of market time brought, cost and refused; they add up to the run.

So every incident of the report has its hour, also where no market data came.

The recount fills `HourTally` while it reads; `hour_rows` joins it with round trips, incidents and
outages once all is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from minibot.events.model import Fill, Incident
from minibot.events.money import amount_text
from minibot.events.unit_sizes import HOUR_MS
from minibot.report.figures import clock, date_clock, duration, signed
from minibot.report.outages import outages_of
from minibot.report.result_lines import CostTally, ResultLines

if TYPE_CHECKING:
    from minibot.report.recount import Recount

HOURS_HEAD: Final = (
    *("hour, UTC", "result", "at the mid", "slippage", "fees", "equity at its end"),
    *("paper fills", "trades closed", "refused", "incidents", "outage"),
)


class HourTally:
    """Tally by hour, each named by its number since 1970.

    Attributes:
        equity: The last equity of each hour with a tick, price mark or fill, hundred-millionths.
        costs: Slippage of its fills.
        fees: Fees of its fills, hundred-millionths of quote.
        fills: How many fills it had.
        refused: How many signals risk refused in it.
    """

    __slots__ = ("costs", "equity", "fees", "fills", "refused")

    def __init__(self) -> None:
        self.equity: dict[int, int] = {}
        self.costs: dict[int, CostTally] = {}
        self.fees: Counter[int] = Counter()
        self.fills: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()

    def on_fill(self, fill: Fill, ts: int, fee: int) -> None:
        """Add a fill with its fee in hundred-millionths of quote."""
        hour = ts // HOUR_MS
        self.costs.setdefault(hour, CostTally()).add(fill)
        self.fees[hour] += fee
        self.fills[hour] += 1

    def add_equity(self, times: Sequence[int], equity: int) -> None:
        """Add the same equity at one or more market times."""
        first, last = min(times) // HOUR_MS, max(times) // HOUR_MS
        hours = {ts // HOUR_MS for ts in times} if first < last else {first}
        self.equity.update(dict.fromkeys(hours, equity))

    def shift(self, moved: int) -> None:
        """Add the same to the equity of every hour."""
        for hour in self.equity:
            self.equity[hour] += moved


class HourRow(NamedTuple):
    """One hour of a run; `equity` is the equity at its end."""

    from_ts: int
    lines: ResultLines
    equity: int
    fills: int
    trades: int
    refused: int
    incidents: int
    outage_ms: int

    def cells(self, *, is_dated: bool = False) -> tuple[str, ...]:
        """Return the hour as a row of the table of `HOURS_HEAD`."""
        shown = dict(self.lines.shown())
        spec, slippage, fees, raw = (shown[name] for name, _ in self.lines.named())
        at = date_clock(self.from_ts) if is_dated else clock(self.from_ts)
        return (
            *(at[:-3], raw, spec, slippage, fees),
            signed(amount_text(self.equity)).lstrip("+"),
            *(f"{self.fills:,}", f"{self.trades:,}", f"{self.refused:,}", f"{self.incidents:,}"),
            duration(self.outage_ms) if self.outage_ms else "-",
        )


def hour_rows(count: Recount, incidents: Iterable[tuple[int, Incident]]) -> list[HourRow]:
    """Return the hours that a run touched, oldest first; their results add up to the run's.

    Args:
        count: The recount of the run.
        incidents: Incidents of the report, each with its time in Unix milliseconds.
    """
    tally, equity = count.hours, count.performance.equity_start
    trades = Counter(trip.closed_ts // HOUR_MS for trip in count.trades.trips if trip.is_closed)
    incidents_by_hour = Counter(ts // HOUR_MS for ts, _ in incidents)
    lost = outages_of(count.gaps)
    touched = {*tally.equity, *tally.fills, *tally.refused, *incidents_by_hour}
    rows = []
    for hour in range(min(touched, default=0), max(touched, default=-1) + 1):
        before, equity = equity, tally.equity.get(hour, equity)
        begin = hour * HOUR_MS
        costs = tally.costs.get(hour, CostTally())
        rows.append(
            HourRow(
                *(begin, ResultLines.of(equity - before, tally.fees[hour], costs), equity),
                *(tally.fills[hour], trades[hour], tally.refused[hour], incidents_by_hour[hour]),
                sum(each.within(begin, begin + HOUR_MS) for each in lost),
            )
        )
    return rows
