"""Exposure: how much of equity was in the market, and for how long.

Exposure is the cost of all open lots over the equity last marked. It is computed at each fill and
holds until the next one, so a position of two seconds counts two seconds. Dust that a fee in coins
leaves is no position. Shares are floats, as they are statistics by which nothing is booked.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from minibot.accounting.lots import is_dust_left
from minibot.accounting.portfolio import pays_in_base
from minibot.events.model import BUY, Fill
from minibot.events.money import UNIT, parse_amount

if TYPE_CHECKING:
    from minibot.engine.run_result import BacktestResult


class Held(NamedTuple):
    """Position from `ts` on, as a share of equity; 0.05 is five percent."""

    ts: int
    ratio: float


@dataclass(frozen=True, slots=True)
class Exposure:
    """Exposure over time, and its totals.

    Attributes:
        steps: One at the start and one after each fill, in order of time.
        time_ratio: Share of the span with any position.
        ratio_mean, ratio_max: Position over equity: mean weighted by time, and largest.
    """

    steps: tuple[Held, ...]
    time_ratio: float
    ratio_mean: float
    ratio_max: float


def exposure_of(result: BacktestResult) -> Exposure:
    """Return the exposure over the span of a result."""
    steps = tuple(_steps(result))
    ends = [*(step.ts for step in steps[1:]), result.to_ts]
    stays = [max(0, end - step.ts) for step, end in zip(steps, ends, strict=True)]
    span = result.to_ts - result.from_ts
    if span <= 0:
        return Exposure(steps, 0.0, 0.0, max(step.ratio for step in steps))
    held = sum(stay for step, stay in zip(steps, stays, strict=True) if step.ratio)
    weighted = sum(step.ratio * stay for step, stay in zip(steps, stays, strict=True))
    largest = max(step.ratio for step in steps)
    return Exposure(steps, held / span, weighted / span, largest)


def stretched(exposure: Exposure, from_ts: int, to_ts: int, count: int) -> list[Held]:
    """Return the largest exposure in each of `count` equal stretches of time, for a picture."""
    width = max(1, -(-(to_ts - from_ts) // count))
    found = [0.0] * count
    steps: Sequence[Held] = exposure.steps
    for at, step in enumerate(steps):
        until = steps[at + 1].ts if at + 1 < len(steps) else to_ts
        first = min(count - 1, max(0, (step.ts - from_ts) // width))
        last = min(count - 1, max(first, (until - 1 - from_ts) // width))
        for index in range(first, last + 1):
            found[index] = max(found[index], step.ratio)
    return [Held(from_ts + index * width, ratio) for index, ratio in enumerate(found)]


def _steps(result: BacktestResult) -> Iterator[Held]:
    """Yield the exposure at the start and after each fill."""
    carried = result.performance.carried
    positions = {symbol: _Position(each.qty, each.value) for symbol, each in carried.items()}
    times, amounts = result.equity_columns
    at, equity = 0, result.equity_start
    cost = sum(position.cost for position in positions.values())
    yield Held(result.from_ts, cost / equity if equity > 0 else 0.0)
    for event in result.of("fills"):
        fill = event.payload
        if not isinstance(fill, Fill):
            continue
        at = bisect_right(times, event.ts, at)
        if at:
            equity = amounts[at - 1]
        position = positions.get(fill.symbol)
        if position is None:
            position = positions[fill.symbol] = _Position()
        cost -= position.cost
        position.take(fill)
        cost += position.cost
        yield Held(event.ts, cost / equity if equity > 0 else 0.0)


class _Position:
    """Open lots of a symbol, sold oldest first, as in the books (docs/accounting.md).

    Args:
        qty, cost: What the run began with, as one lot; hundred-millionths.
    """

    __slots__ = ("_has_base_fees", "_lots", "_qty", "cost")

    def __init__(self, qty: int = 0, cost: int = 0) -> None:
        self._qty, self.cost = qty, cost
        self._lots = deque([(qty, cost)] if qty else ())
        self._has_base_fees = False

    def take(self, fill: Fill) -> None:
        """Take the next fill; dust costs nothing."""
        qty = parse_amount(fill.qty)
        if fill.side == BUY:
            if pays_in_base(fill):
                qty -= parse_amount(fill.fee)
                self._has_base_fees = True
            cost = qty * parse_amount(fill.price) // UNIT
            self._lots.append((qty, cost))
            self._qty += qty
            self.cost += cost
            return
        self._sell(min(qty, self._qty))
        if self._has_base_fees and is_dust_left(fill, self._qty):
            self._lots = deque([(self._qty, 0)] if self._qty else ())
            self.cost = 0

    def _sell(self, qty: int) -> None:
        self._qty -= qty
        while qty:
            lot, cost = self._lots.popleft()
            sold = min(qty, lot)
            part = cost * sold // lot
            if sold < lot:
                self._lots.appendleft((lot - sold, cost - part))
            self.cost -= part
            qty -= sold
