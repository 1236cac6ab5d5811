"""Late entries: gates against entries that come too late or with too little confidence.

Four gates, each off without its keys: the signal's confidence, the age of the newest closed bar,
the price move since that bar closed, and fatigue. A symbol is fatigued if it rose far in a day and
its RSI is high, unless the rise still accelerates. Where bars are missing or too old, no entry is
allowed. Fatigue begins anew after a hole; the ATR goes on over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import floor
from typing import Any, Final, final

from minibot.cores.closed_bar import ClosedBar
from minibot.cores.core_profile import FATIGUE_RSI_PERIOD, CoreProfile
from minibot.events.decimals import mul_div_up, parse_fixed
from minibot.events.intervals import INTERVAL_MS
from minibot.events.model import JsonObject
from minibot.events.native import mypyc_attr
from minibot.events.reasons import FATIGUE, LOW_CONFIDENCE, PRICE_MOVED, STALE_BAR, WARMUP
from minibot.events.unit_sizes import BPS, DAY_MS
from minibot.features.lossless import optional_from, optional_text
from minibot.features.rsi import WilderRsi
from minibot.features.span_change import SpanChange
from minibot.risk.checks import AT_LEAST, NONE, SKIPPED, Gate, Row
from minibot.risk.exits import UNKNOWN, SymbolExits
from minibot.risk.market_returns import AGE_BARS, PLACES_4

CONFIDENCE: Final = Gate("signal_confidence", LOW_CONFIDENCE, passes=AT_LEAST)
NO_BAR: Final = Gate("closed_bar", STALE_BAR, words=("some", NONE))
BARS_LATE: Final = Gate("bars_late", STALE_BAR)
MOVED: Final = Gate("price_move_atr", PRICE_MOVED, PLACES_4)
FATIGUE_BARS: Final = Gate("fatigue_bars", WARMUP, passes=AT_LEAST)
DAY_CHANGE: Final = Gate("day_change_bps", FATIGUE, PLACES_4)
DAY_RSI: Final = Gate("fatigue_rsi", FATIGUE, PLACES_4)
ACCELERATION: Final = Gate("acceleration_bps", FATIGUE, PLACES_4, passes=AT_LEAST)


@final
class LateRules:
    """The keys of late entries; a limit that is `SKIPPED` is off.

    Attributes:
        confidence_min: Lowest allowed confidence of a signal, 0 to 100.
        bars_late_max: Number of bars of the strategy's interval by which the newest may be late.
        bar_ms: Length of such a bar.
        move_max: Largest move since its close, in ten-thousandths of the ATR.
        fatigue_interval: Interval of the bars for fatigue; empty for none.
        change_max, acceleration_min: In ten-thousandths of a basis point.
        rsi_max: In ten-thousandths.
    """

    __slots__ = (
        "acceleration_min",
        "bar_ms",
        "bars_late_max",
        "change_max",
        "confidence_min",
        "fatigue_interval",
        "move_max",
        "rsi_max",
    )

    def __init__(self, config: JsonObject) -> None:
        """Take the keys of the whole resolved configuration."""
        profile = CoreProfile.of(config)
        risk = profile.risk
        self.confidence_min: int = _or_skipped(risk.confidence_min)
        self.bars_late_max: int = _or_skipped(risk.bars_late_max)
        self.bar_ms: int = INTERVAL_MS[profile.strategy.bar_interval]
        move = risk.price_move_atr_max
        self.move_max: int = SKIPPED if move is None else parse_fixed(move, PLACES_4)
        self.fatigue_interval: str = risk.fatigue_bar_interval or ""
        self.change_max: int = _or_skipped(risk.fatigue_change_bps_max, BPS)
        self.rsi_max: int = _or_skipped(risk.fatigue_rsi_max, BPS)
        self.acceleration_min: int = _or_skipped(risk.fatigue_acceleration_bps_min, BPS)

    @property
    def needs_atr(self) -> bool:
        """True if an entry cannot be judged before the ATR is known."""
        return self.move_max != SKIPPED

    @property
    def is_on(self) -> bool:
        """True if the profile has any of the gates."""
        asked = self.confidence_min, self.bars_late_max, self.move_max
        return self.fatigue_interval != "" or any([limit != SKIPPED for limit in asked])


def _or_skipped(limit: int | None, unit: int = 1) -> int:
    return SKIPPED if limit is None else limit * unit


@mypyc_attr(acyclic=True)
@final
class FatigueBars:
    """Fatigue of one symbol, from its closed bars; it restarts after a hole.

    Attributes:
        open_ts: When the newest bar opened; -1 before the first.
        count: Bars since the last hole.
        warmup: Bars until all figures are known: the more of RSI and a day.
    """

    __slots__ = ("_day", "_former", "_length_ms", "_rsi", "_step", "count", "open_ts", "warmup")

    def __init__(self, length_ms: int) -> None:
        """Start empty, for bars of a length."""
        self._length_ms: int = length_ms
        self.open_ts: int = -1
        self._begin()

    def _begin(self) -> None:
        self._rsi: WilderRsi = WilderRsi(FATIGUE_RSI_PERIOD)
        self._day: SpanChange = SpanChange(self._length_ms, DAY_MS)
        self._step: SpanChange = SpanChange(self._length_ms, self._length_ms)
        # The change over the second newest bar.
        self._former: float | None = None
        self.count: int = 0
        # This is more bars than acceleration needs.
        self.warmup: int = max(self._rsi.warmup, self._day.warmup)

    def on_bar(self, open_ts: int, close: float) -> None:
        """Take a closed bar; ignore one seen before."""
        if open_ts <= self.open_ts:
            return
        if self.open_ts >= 0 and open_ts != self.open_ts + self._length_ms:
            self._begin()
        self.open_ts = open_ts
        self.count += 1
        self._former = self._step.value
        self._rsi.update(close)
        self._day.update(open_ts, close)
        self._step.update(open_ts, close)

    def known(self, now: int) -> int:
        """Return the number of bars that count at market time `now`, up to `warmup`; 0 if stale."""
        if self.open_ts < 0 or now - self.open_ts > (1 + AGE_BARS) * self._length_ms:
            return 0
        return min(self.count, self.warmup)

    def change(self) -> int:
        """Return the change over a day, in ten-thousandths of a basis point, rounded down."""
        return _scaled(self._day.value)

    def rsi(self) -> int:
        """Return the relative strength index in ten-thousandths, rounded down."""
        value = self._rsi.value
        return SKIPPED if value is None else floor(value * BPS)

    def acceleration(self) -> int:
        """Return the change of the newest bar less that of the bar before, in units of `change`."""
        newest, former = self._step.value, self._former
        if newest is None or former is None:
            return SKIPPED
        return _scaled(newest - former)

    def state(self) -> JsonObject:
        """Return all of it as canonical JSON values."""
        return {
            "count": self.count,
            "day": self._day.state(),
            "former": optional_text(self._former),
            "open_ts": self.open_ts,
            "rsi": self._rsi.state(),
            "step": self._step.state(),
        }

    @staticmethod
    def from_state(length_ms: int, state: Mapping[str, Any]) -> FatigueBars:
        """Return the bars that `state` described."""
        bars = FatigueBars(length_ms)
        bars.open_ts, bars.count = state["open_ts"], state["count"]
        bars._day = SpanChange.from_state(state["day"])
        bars._step = SpanChange.from_state(state["step"])
        bars._rsi = WilderRsi.from_state(state["rsi"])
        bars._former = optional_from(state["former"])
        return bars


def _scaled(ratio: float | None) -> int:
    """Return a ratio in ten-thousandths of a basis point, rounded down."""
    return SKIPPED if ratio is None else floor(ratio * BPS * BPS)


@final
class LateEntries:
    """The four gates over all symbols of one run.

    Attributes:
        rules: The keys.
        is_on: Whether the profile has any of the gates.
    """

    __slots__ = ("_length_ms", "_symbols", "is_on", "rules")

    def __init__(self, config: JsonObject) -> None:
        """Start without bars."""
        self.rules: LateRules = LateRules(config)
        self.is_on: bool = self.rules.is_on
        interval = self.rules.fatigue_interval
        self._length_ms: int = INTERVAL_MS[interval] if interval else 0
        self._symbols: dict[str, FatigueBars] = {}

    def intervals(self) -> tuple[str, ...]:
        """Return the intervals of the bars needed in addition to the strategy's."""
        return (self.rules.fatigue_interval,) if self._length_ms else ()

    def on_bar(self, symbol: str, bar: ClosedBar) -> None:
        """Take a closed bar of fatigue's interval; ignore any other."""
        if bar.interval != self.rules.fatigue_interval:
            return
        found = self._symbols.get(symbol)
        if found is None:
            found = self._symbols[symbol] = FatigueBars(self._length_ms)
        found.on_bar(bar.open_ts, bar.close)

    def reading(
        self, symbol: str, confidence: int, price: int, exits: SymbolExits, now: int
    ) -> LateReading:
        """Return the figures by which an entry is judged.

        Args:
            symbol: The market.
            confidence: Confidence of the signal.
            price: The mid in hundred-millionths; without a usable touch nothing judges the move.
            exits: State of the symbol's exits, which has its newest bar and ATR.
            now: Market time.
        """
        rules, found = self.rules, LateReading()
        found.confidence = confidence
        if exits.close != UNKNOWN:
            closed_ts = exits.bar_open_ts + rules.bar_ms
            found.bars_late = max(0, now - closed_ts) // rules.bar_ms
            atr = exits.last_atr()
            if atr is not None:
                apart = price - exits.close
                # An ATR of 0 allows no move.
                scale = max(atr, 1)
                found.move = mul_div_up(abs(apart), BPS, scale)
        bars = self._symbols.get(symbol)
        if bars is not None:
            found.fatigue_bars, found.warmup = bars.known(now), bars.warmup
            if found.fatigue_bars == bars.warmup:
                found.change, found.rsi = bars.change(), bars.rsi()
                found.acceleration = bars.acceleration()
        elif rules.fatigue_interval:
            found.warmup = FatigueBars(self._length_ms).warmup
        return found

    def state(self) -> JsonObject:
        """Return the bars of all symbols as canonical JSON values."""
        return {symbol: bars.state() for symbol, bars in self._symbols.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        if self._length_ms:
            for symbol, data in state.items():
                self._symbols[symbol] = FatigueBars.from_state(self._length_ms, data)


@final
class LateReading:
    """Figures of one entry; see `LateEntries.reading`.

    Attributes:
        confidence: The signal's, 0 to 100.
        bars_late: Whole bars since the newest closed; `SKIPPED` without a bar.
        move: Move from its close to the mid in ten-thousandths of the ATR; `SKIPPED` if unknown.
        fatigue_bars, warmup: The bars that count, and those needed.
        change, rsi, acceleration: As in `FatigueBars`; `SKIPPED` without enough bars.
    """

    __slots__ = (
        "acceleration",
        "bars_late",
        "change",
        "confidence",
        "fatigue_bars",
        "move",
        "rsi",
        "warmup",
    )

    def __init__(self) -> None:
        """Start with nothing known."""
        self.confidence: int = 0
        self.bars_late: int = SKIPPED
        self.move: int = SKIPPED
        self.fatigue_bars: int = 0
        self.warmup: int = 0
        self.change: int = SKIPPED
        self.rsi: int = SKIPPED
        self.acceleration: int = SKIPPED


def late_rows(reading: LateReading, rules: LateRules, has_touch: bool) -> tuple[Row, ...]:
    """Return the checks of late entries; without a usable touch the move is not judged.

    One of change, RSI and acceleration is enough to pass: the first that passes is shown. If none
    passes, all three are shown as failed.
    """
    asks_bar, asks_move = rules.bars_late_max != SKIPPED, rules.move_max != SKIPPED
    asks_confidence = rules.confidence_min != SKIPPED
    is_known = reading.bars_late != SKIPPED
    change, rsi, acceleration = SKIPPED, SKIPPED, SKIPPED
    if reading.change != SKIPPED:
        has_risen, is_high = reading.change > rules.change_max, reading.rsi > rules.rsi_max
        asks_speed = rules.acceleration_min != SKIPPED
        is_slow = not asks_speed or reading.acceleration < rules.acceleration_min
        is_tired = has_risen and is_high and is_slow
        change = reading.change if is_tired or not has_risen else SKIPPED
        rsi = reading.rsi if is_tired or (has_risen and not is_high) else SKIPPED
        if asks_speed and has_risen and is_high:
            acceleration = reading.acceleration
    needed = reading.warmup
    return (
        (CONFIDENCE, reading.confidence if asks_confidence else SKIPPED, rules.confidence_min),
        (NO_BAR, True if asks_bar and not is_known else SKIPPED, False),
        (BARS_LATE, reading.bars_late if asks_bar else SKIPPED, rules.bars_late_max),
        (MOVED, reading.move if asks_move and has_touch else SKIPPED, rules.move_max),
        (FATIGUE_BARS, reading.fatigue_bars if rules.fatigue_interval else SKIPPED, needed),
        (DAY_CHANGE, change, rules.change_max),
        (DAY_RSI, rsi, rules.rsi_max),
        (ACCELERATION, acceleration, rules.acceleration_min),
    )
