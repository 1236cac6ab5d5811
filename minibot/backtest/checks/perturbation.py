"""Perturbation of a market: its data is cut, shuffled or replaced after a moment.

Data that is known at the moment stays as it is. A recorded message is known once it has arrived. A
bar is known once it has closed. Of an unfinished bar two things are known and kept: the prices that
the market has shown by then, and that it has met no level that it would have met by then.

Alteration comes first: feed, aggregated bars and the model of prices inside a bar work on altered
data, so look-ahead in any of them shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final, TypeVar

from msgspec import structs

from minibot.backtest.sources.bars import BarSource
from minibot.backtest.sources.feeds import Fed
from minibot.backtest.sources.frame_source import FrameSource
from minibot.backtest.sources.portfolio import Merged
from minibot.backtest.sources.recorded_run import RunSource
from minibot.backtest.sources.span import Part
from minibot.backtest.sources.ticks import TickSource
from minibot.engine.intrabar import Candle
from minibot.engine.market_source import NOBODY, MarketSource, Root, Watch
from minibot.events.model import MarketTick
from minibot.events.money import parse_amount
from minibot.events.unit_sizes import BPS, NS_PER_MS
from minibot.exchanges.tapes.frames import Frame, Source, SourceFacts
from minibot.exchanges.tapes.kline_bars import Bar

Record = TypeVar("Record")
Timed = tuple[MarketTick, int]
"""A tick and its market time, Unix ms."""

CUT: Final = "cut"
SHUFFLE: Final = "shuffle"
REPLACE: Final = "replace"
KINDS: Final = (CUT, SHUFFLE, REPLACE)

# Records in a shuffled group: all data after the moment is shuffled, group by group; their times
# stay in place.
DECK: Final = 64
# Largest change of a price, or of a tick's quantity, by one draw: two percent, either way. A bar's
# high and low are drawn from its altered open, so they may lie farther from the true ones.
CHANGE_BPS_MAX: Final = 200
# Price increments added to the distance drawn between a hidden price and a seen one.
STEPS_MIN: Final = 3
# Keys of prices and quantities in the venue's messages.
_AMOUNTS: Final = frozenset("pqbBaA")
_LEVELS: Final = frozenset(("b", "a", "bids", "asks"))


@dataclass(frozen=True, slots=True)
class Seen:
    """Prices of an unfinished bar that the cores have already seen.

    Attributes:
        prices: Prices of the bar's modelled ticks so far, each the tick's bid. With the first of
            them the bar's open is known.
        is_low, is_high: True when the bar's low or high is among them.
        is_close: True when the last of them is the bar's close.
        way: Direction of the next price, 1 or -1, if a level lies ahead and half of the time to the
            price is over: a level that is met shows a tick by then. Else 0.
    """

    prices: tuple[int, ...] = ()
    is_low: bool = False
    is_high: bool = False
    is_close: bool = False
    way: int = 0


@dataclass(frozen=True, slots=True)
class Perturbation:
    """Alteration of a market's data after `ts` (market time, Unix ms).

    Attributes:
        kind: One of `KINDS`.
        seed: The seed of all random values.
        seen: By symbol, the prices seen of the bar unfinished at `ts`; a missing symbol has none.
    """

    ts: int
    kind: str
    seed: int = 0
    seen: Mapping[str, Seen] = field(default_factory=dict)

    def candles(self, symbol: str, step: int, candles: Iterable[Candle]) -> Iterator[Candle]:
        """Yield the bars of a symbol, altered after the moment; `step` is its price increment.

        The bar unfinished at the moment is replaced by a random one, whatever the kind.
        """
        random = Random(f"{self.seed} {symbol} {self.ts}")
        later: list[Candle] = []
        for candle in candles:
            if candle.end_ts <= self.ts:
                yield candle
            elif candle.open_ts <= self.ts:
                yield _hidden(candle, self.seen.get(symbol, Seen()), step, random)
            elif self.kind == REPLACE:
                yield _hidden(candle, Seen(), step, random)
            elif self.kind == SHUFFLE:
                later.append(candle)
                if len(later) == DECK:
                    yield from _dealt_candles(later, random)
                    later = []
        yield from _dealt_candles(later, random)

    def frames(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield recorded messages, altered after the moment."""

        def ts_of(frame: Frame) -> int:
            return frame.at_ns // NS_PER_MS

        return self._records(frames, ts_of, _moved_frame, _other_frame)

    def ticks(self, ticks: Iterable[Timed]) -> Iterator[Timed]:
        """Yield ticks with their times, altered after the moment."""
        return self._records(ticks, lambda timed: timed[1], _moved_tick, _other_tick)

    def _records(
        self,
        records: Iterable[Record],
        ts_of: Callable[[Record], int],
        moved: Callable[[Record, Record], Record],
        other: Callable[[Record, Random], Record],
    ) -> Iterator[Record]:
        random = Random(f"{self.seed} {self.ts}")
        later: list[Record] = []
        for record in records:
            if ts_of(record) <= self.ts:
                yield record
            elif self.kind == REPLACE:
                yield other(record, random)
            elif self.kind == SHUFFLE:
                later.append(record)
                if len(later) == DECK:
                    yield from map(moved, later, random.sample(later, DECK))
                    later = []
            else:
                break
        yield from map(moved, later, random.sample(later, len(later)))


def perturbed(source: MarketSource, change: Perturbation) -> MarketSource:
    """Return the source over altered data.

    A recorded run brings finished events, so it is cut, whatever the kind of alteration.
    """
    if isinstance(source, Merged):
        return Merged([perturbed(part, change) for part in source.sources])
    if isinstance(source, BarSource):
        series, step = source.series, parse_amount(source.series.price_increment)
        return source.over(
            replace(series, candles=lambda: change.candles(series.symbol, step, series.candles()))
        )
    twin = copy(source)
    if isinstance(twin, Part):
        twin.source = perturbed(twin.source, change)
    elif isinstance(twin, Fed):
        # Values of feeds stay as they are, and those up to the moment come in any case.
        twin.source, twin.until_ts = perturbed(twin.source, change), change.ts
    elif isinstance(twin, FrameSource):
        twin.source = _AlteredFrames(twin.source, change)
    elif isinstance(twin, TickSource):
        return _AlteredTicks(twin, change)
    elif isinstance(twin, RunSource):
        return _CutRoots(source, change.ts)
    return twin


class _AlteredFrames:
    """A source of frames over altered data."""

    def __init__(self, source: Source, change: Perturbation) -> None:
        self.facts: SourceFacts = source.facts
        self._source = source
        self._change = change

    def frames(self) -> Iterator[Frame]:
        return self._change.frames(self._source.frames())

    def past_bars(self, symbol: str, interval: str) -> list[Bar]:
        return self._source.past_bars(symbol, interval)


class _AlteredTicks(TickSource):
    """Columns of ticks over altered data, with the clock skew of the unaltered data."""

    def __init__(self, source: TickSource, change: Perturbation) -> None:
        self.__dict__.update(vars(source))
        self._skew = source._skew_ms()
        self._change = change

    def _ticks(self) -> Iterator[Timed]:
        return self._change.ticks(super()._ticks())

    def stretches(self) -> None:
        """Offer no rows: altered data are fed to the cores tick by tick."""

    def _skew_ms(self) -> int:
        return self._skew


class _CutRoots:
    """A recorded run that ends at a moment."""

    def __init__(self, source: MarketSource, ts: int) -> None:
        self.name, self.symbols = source.name, source.symbols
        self.origin_ms, self.end_ms = source.origin_ms, source.end_ms
        self.interval_ms, self.assumptions = source.interval_ms, source.assumptions
        self._source = source
        self._ts = ts

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        for root in self._source.roots(watch):
            if root.ts > self._ts:
                return
            yield root


def _hidden(candle: Candle, seen: Seen, step: int, random: Random) -> Candle:
    """Return a random bar that keeps the seen prices, but no other price."""

    def beyond(price: int, sign: int) -> int:
        # Beyond the seen price by more than a spread, so that this bar passes it too.
        bps = random.randint(CHANGE_BPS_MAX // 10, CHANGE_BPS_MAX)
        moved = price * (BPS + sign * bps) // BPS // step * step + sign * STEPS_MIN * step
        return max(step, moved)

    def nearer(price: int, passed: int) -> int:
        # A shorter way: it meets no level that the true one does not meet.
        spread = 2 * (candle.open - seen.prices[0]) + step
        first, last = (price, passed) if seen.way < 0 else (passed + spread, price)
        count = (last - first) // step - 1
        return first + random.randint(1, count) * step if count > 0 else price

    opened = candle.open if seen.prices else beyond(candle.open, random.choice((-1, 1)))
    lowest, highest = min((opened, *seen.prices)), max((opened, *seen.prices))
    low, high = candle.low, candle.high
    if not seen.is_low:
        low = nearer(low, lowest) if seen.way < 0 else beyond(lowest, -1)
    if not seen.is_high:
        high = nearer(high, highest) if seen.way > 0 else beyond(highest, 1)
    # Mostly on the other side of the open, where any dependence on the bar's close shows.
    falls = (candle.close >= candle.open) == (random.randint(1, 4) > 1)
    lowest, highest = (low, opened) if falls else (opened, high)
    if seen.is_low and seen.is_high and min(seen.prices) < seen.prices[-1] < max(seen.prices):
        # A level was met on the way to the close, so this close lies beyond it too.
        rises = candle.close > seen.prices[-1]
        lowest, highest = (candle.close, high) if rises else (low, candle.close)
    close = lowest + random.randint(0, max(0, highest - lowest) // step) * step
    if seen.is_low and seen.is_high and seen.way:
        close = nearer(candle.close, seen.prices[-1])
    close = candle.close if seen.is_close else close
    volume = max(1, candle.volume * random.randint(1, 3 * BPS) // BPS)
    return candle._replace(open=opened, high=high, low=low, close=close, volume=volume)


def _dealt_candles(candles: list[Candle], random: Random) -> Iterator[Candle]:
    dealt = random.sample(candles, len(candles))
    for place, candle in zip(candles, dealt, strict=True):
        yield candle._replace(open_ts=place.open_ts, end_ts=place.end_ts)


def _moved_frame(place: Frame, frame: Frame) -> Frame:
    return replace(frame, at_ns=place.at_ns)


def _other_frame(frame: Frame, random: Random) -> Frame:
    """Return a message with other prices and quantities, as if the market had moved differently."""
    try:
        data = json.loads(frame.data)
    except ValueError:
        return frame
    text = json.dumps(_scaled(data, _other_bps(random)), separators=(",", ":")).encode()
    return replace(frame, data=text, text=None)


def _moved_tick(place: Timed, timed: Timed) -> Timed:
    where, tick = place[0], timed[0]
    times = {"recv_mono_ns": where.recv_mono_ns, "exchange_ts": where.exchange_ts}
    return structs.replace(tick, **times), place[1]


def _other_tick(timed: Timed, random: Random) -> Timed:
    tick, bps = timed[0], _other_bps(random)
    names = ("price", "qty", "bid", "bid_qty", "ask", "ask_qty")
    amounts = {name: _scaled_amount(getattr(tick, name), bps) for name in names}
    return structs.replace(tick, **amounts), timed[1]


def _other_bps(random: Random) -> int:
    return BPS + random.choice((-1, 1)) * random.randint(1, CHANGE_BPS_MAX)


def _scaled(value: Any, bps: int) -> Any:
    if isinstance(value, dict):
        return {
            name: _scaled_amount(item, bps)
            if name in _AMOUNTS and isinstance(item, str)
            else _scaled_levels(item, bps)
            if name in _LEVELS and isinstance(item, list)
            else item
            for name, item in value.items()
        }
    return value


def _scaled_levels(levels: list[Any], bps: int) -> list[Any]:
    return [[_scaled_amount(item, bps) for item in level] for level in levels]


def _scaled_amount(text: Any, bps: int) -> Any:
    """Return a decimal text of about the same value, with the same number of decimals."""
    whole, point, places = str(text).partition(".")
    if not (whole + places).isdigit():
        return text
    digits = str(int(whole + places) * bps // BPS).rjust(len(places) + 1, "0")
    return f"{digits[: -len(places)]}{point}{digits[-len(places) :]}" if places else digits
