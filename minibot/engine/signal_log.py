"""Signal log: counts and values of a run's signals and orders for a report, without events."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import compress
from typing import Final, NamedTuple

from minibot.events.model import HOLD, OrderResult, Signal

NUMBER_STARTS: Final = frozenset("+-.0123456789")
LARGEST: Final = 1e15
ORDER: Final = "ORDER"
"""By whom more was not done, beside HOLD of the strategy and BLOCK of risk."""
KEPT_MAX: Final = 4_096
"""Signals of a symbol whose values are kept, of HOLDs and of all others: a picture shows 800."""
# Results of an order that ended without all of its quantity; none of a cancel that risk sent.
UNFILLED: Final = frozenset({"EXPIRED", "REJECTED"})


class Named(NamedTuple):
    """One named value of the strategy at a signal, with the signal's side."""

    ts: int
    value: float
    side: str


class SignalTimes:
    """Time and side of the kept signals of one symbol, in order, and their values by name.

    Of each kind, HOLDs and all others, every signal is kept at first. Before there are more than
    `KEPT_MAX`, every second is dropped, and from then on every second of those that come is kept.

    Attributes:
        ts: Times, Unix ms.
        sides: Sides.
        named: Values by name, including those without a number so far.
    """

    __slots__ = ("_came", "_steps", "named", "sides", "ts")

    def __init__(self) -> None:
        self.ts = array("q")
        self.sides: list[str] = []
        self.named: dict[str, NamedValues] = {}
        # By kind, HOLDs second: how many came, and of how many one is kept.
        self._came = [0, 0]
        self._steps = [1, 1]

    def keep(self, side: str, ts: int) -> bool:
        """Take the next signal; return whether its values are kept."""
        kind = int(side == HOLD)
        number, step = self._came[kind], self._steps[kind]
        self._came[kind] = number + 1
        if number % step:
            return False
        if number == KEPT_MAX * step:
            self._drop(is_hold=side == HOLD)
            self._steps[kind] = 2 * step
        self.ts.append(ts)
        self.sides.append(side)
        return True

    def _drop(self, *, is_hold: bool) -> None:
        """Drop every second signal of a kind."""
        kind = [at for at, side in enumerate(self.sides) if (side == HOLD) is is_hold]
        dropped = set(kind[1::2])
        left = [at for at in range(len(self.sides)) if at not in dropped]
        places = {at: place for place, at in enumerate(left)}
        self.ts = array("q", [self.ts[at] for at in left])
        self.sides = [self.sides[at] for at in left]
        for values in self.named.values():
            values.move(places)


class NamedValues:
    """The values of one name at the signals of one symbol, in order.

    Args:
        signals: Time and side of the kept signals of the symbol.

    Attributes:
        values: The values that are numbers.
        at: For each value the index of its signal.
        text, value: The last text, and its number: most texts repeat the signal before.
    """

    __slots__ = ("at", "signals", "text", "value", "values")

    def __init__(self, signals: SignalTimes) -> None:
        self.signals = signals
        self.values = array("d")
        self.at = array("q")
        self.text = ""
        self.value: float | None = None

    def move(self, places: Mapping[int, int]) -> None:
        """Keep the values of some signals, whose places are others now."""
        kept = [at in places for at in self.at]
        self.values = array("d", compress(self.values, kept))
        self.at = array("q", [places[at] for at in compress(self.at, kept)])

    def chosen(self, places: range | list[int]) -> Iterator[Named]:
        """Yield the values at some indices."""
        times, sides = self.signals.ts, self.signals.sides
        for place in places:
            at = self.at[place]
            yield Named(times[at], self.values[place], sides[at])

    def places(self, *, is_hold: bool) -> list[int]:
        """Return the indices of the values of holds, or of all other signals."""
        sides = self.signals.sides
        return [place for place, at in enumerate(self.at) if (sides[at] == HOLD) is is_hold]


class SignalLog:
    """Counts of a run's signals and unfilled orders, and the named values of the signals.

    Args:
        has_values: Whether the values are kept as well, for pictures.

    Attributes:
        sides: Number of signals by side.
        holds: Number of holds by reason code.
        blocks: Number of signals that risk refused, by reason code.
        orders: Number of orders that expired or were rejected, by reason code.
        named: Values by symbol and name, in the strategy's order.
    """

    def __init__(self, *, has_values: bool) -> None:
        self._has_values = has_values
        self.sides: Counter[str] = Counter()
        self.holds: Counter[str] = Counter()
        self.blocks: Counter[str] = Counter()
        self.orders: Counter[str] = Counter()
        self.named: dict[str, dict[str, NamedValues]] = {}
        self._signals: dict[str, SignalTimes] = {}

    def add(self, signal: Signal, ts: int) -> None:
        """Take the next signal."""
        side = signal.side
        self.sides[side] += 1
        if side == HOLD:
            self.holds[signal.reason_code] += 1
        if not self._has_values:
            return
        signals = self._signals.get(signal.symbol)
        if signals is None:
            signals = self._signals[signal.symbol] = SignalTimes()
        if not signals.keep(side, ts):
            return
        at, named = len(signals.sides) - 1, signals.named
        for check in signal.checks:
            name, text = check.name, check.value
            found = named.get(name)
            if found is None:
                found = named[name] = NamedValues(signals)
            if text != found.text:
                found.text, found.value = text, _number(text)
            if found.value is not None:
                if not found.values:
                    self.named.setdefault(signal.symbol, {})[name] = found
                found.values.append(found.value)
                found.at.append(at)

    def add_block(self, reason_code: str) -> None:
        """Take the next refusal of risk."""
        self.blocks[reason_code] += 1

    def add_result(self, result: OrderResult) -> None:
        """Take the next result of an order; count it if the order ended unfilled."""
        if result.result in UNFILLED and result.reason_code is not None:
            self.orders[result.reason_code] += 1


def _number(text: str) -> float | None:
    # The first letter reveals most texts, which is cheaper than a failed conversion.
    if text[:1] not in NUMBER_STARTS:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < LARGEST else None
