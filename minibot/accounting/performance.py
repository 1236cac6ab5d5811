"""Performance of a run, exact: result and risk, from its opening, ticks and fills.

One definition for the live metrics and the morning report. Equity is cash plus open quantity at the
mid of the last touch, or at a newer price mark. It is computed after every tick; a fill counts
right after the tick that it names. A round trip goes from flat to flat in one symbol and is net of
its fees. A position carried in counts as bought at its first mark, as it does in equity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from minibot.accounting.lots import is_dust_left
from minibot.accounting.portfolio import Portfolio
from minibot.cores.messages import FillMessage
from minibot.events.cells import CELL, int_at
from minibot.events.decimals import format_fixed, mul_div_up
from minibot.events.model import (
    BUY,
    Event,
    Fill,
    JsonObject,
    MarketTick,
    Payload,
    PriceMark,
    RunOpening,
)
from minibot.events.money import amount_text, parse_amount, proceeds_down
from minibot.events.unit_sizes import BPS

if TYPE_CHECKING:
    from mypy_extensions import i64

# A separate script has to reproduce the ratios to 1e-9.
RATIO_PLACES: Final = 10
BPS_UNIT: Final[int] = BPS * 10**RATIO_PLACES

_symbol_of: Final = attrgetter("symbol")


def ratio_text(numerator: int, denominator: int) -> str | None:
    """Return a ratio with ten places, rounded down, or None without a denominator."""
    if denominator == 0:
        return None
    return format_fixed(numerator * 10**RATIO_PLACES // denominator, RATIO_PLACES)


def mid_of(tick: MarketTick) -> int | None:
    """Return the mid of a tick's touch, rounded down; None where there is none."""
    bid, ask = parse_amount(tick.bid), parse_amount(tick.ask)
    return None if bid <= 0 or ask < bid else (bid + ask) // 2


class Carried(NamedTuple):
    """Carried position in a symbol at the run's start: quantity and value, hundred-millionths.

    `ts` is when its oldest lot was bought, Unix ms.
    """

    qty: int
    value: int
    ts: int


class Look(NamedTuple):
    """Equity and its high-water mark, in hundred-millionths, from a place among events on.

    Of two in a row with the same place the second one holds after the event.

    `equity_start` is the equity at the start as it is known there: the first marks of carried
    positions move it.
    """

    place: int
    equity: int
    high_water_mark: int
    equity_start: int


class SymbolResult:
    """Result of one symbol so far: realised P&L after fees, hundred-millionths, and round trips.

    A round trip that breaks even is neither won nor lost.
    """

    __slots__ = ("losses", "realised", "wins")

    def __init__(self) -> None:
        self.realised: int = 0
        self.wins: int = 0
        self.losses: int = 0


class Performance:
    """Equity, drawdown and round trips of one run; feed it in the order of the module's rule.

    Attributes:
        carried: Positions at the start, by symbol; their round trips begin at their value.
        results: The result of each symbol that had a fill.
    """

    def __init__(self, opening: RunOpening, quote_asset: str) -> None:
        self.portfolio = Portfolio.from_opening(opening)
        self.quote_asset = quote_asset
        self._marks: dict[str, int] = {}
        self.trips: list[int] = []
        # Symbols with a purchase that paid its fee in coins, so that a sale may leave dust; of a
        # carried position the run before may have paid so.
        self._paid_in_base = set(self.portfolio.symbols())
        self.results: dict[str, SymbolResult] = {}
        # A carried position counts at its first mark: losses before that belong to the run before.
        self.equity_start = self.equity = self.high_water_mark = self._equity()
        held = self.portfolio
        self._held = set(held.symbols())
        self.carried = {
            symbol: Carried(
                held.position_qty(symbol), held.position_cost(symbol), held.lots(symbol)[0].ts
            )
            for symbol in held.symbols()
        }
        # Of each: its cost, its first mark, and how much of it no sale of this run has taken yet.
        self._carried_cost = {symbol: carried.value for symbol, carried in self.carried.items()}
        self._first_marks: dict[str, int] = {}
        self._carried_left = {symbol: carried.qty for symbol, carried in self.carried.items()}
        self._trip = {symbol: -carried.value for symbol, carried in self.carried.items()}
        self._unmarked = set(self._held)
        self._last: dict[str, MarketTick] = {}
        self.drawdown_max = 0
        self.drawdown_bps_max = 0
        # The deepest drawdown since a carried position's first mark last moved the high-water mark;
        # as that only rises otherwise, a smaller drawdown is smaller in bps too.
        self._deepest = -1

    def begin_at(self, marks: Mapping[str, str]) -> None:
        """Take the run before's last prices as first marks, so that what moved since counts."""
        for symbol, price in marks.items():
            self._value(symbol, parse_amount(price))
        self._look()

    def take_first_mark(self, symbol: str, market: Iterable[Event]) -> None:
        """Read the market up to the first mark of a symbol, if it was carried and has none yet.

        For what needs only `carried`, before the symbol's first fill is counted.

        Args:
            symbol: The symbol.
            market: The run's market events from the first one on, read no further than needed.
        """
        if symbol not in self._unmarked:
            return
        for event in market:
            self.on_market([event.payload])
            if symbol not in self._unmarked:
                return

    def on_tick(self, tick: MarketTick) -> None:
        """Mark the symbol at its mid and update equity; a held one without a mid keeps its mark."""
        symbol = tick.symbol
        self._last[symbol] = tick
        # A symbol that is not held has no part in equity: its mid is read when it is bought, of its
        # last tick alone. The market role writes no tick without a mid.
        if symbol in self._held and self._mark(symbol):
            self._look()

    def on_mark(self, mark: PriceMark) -> None:
        """Mark the symbol at a price that is newer than its last tick, and update equity."""
        symbol = mark.symbol
        self._last.pop(symbol, None)
        if self._value(symbol, parse_amount(mark.price)) and symbol in self._held:
            self._look()

    def on_market(self, payloads: Sequence[Payload]) -> list[Look]:
        """Process market events in order; of a symbol that is not held only the last one counts.

        Returns:
            Equity as they begin, at place 0, and after each event that changed it.
        """
        held, last = self._held, self._last
        equity, high = self.equity, self.high_water_mark
        looks = [Look(0, equity, high, self.equity_start)]
        if not held and set(map(type, payloads)) == {MarketTick}:
            ticks = cast("Sequence[MarketTick]", payloads)
            last.update(zip(map(_symbol_of, ticks), ticks, strict=True))
            return looks
        for place, payload in enumerate(payloads):
            if isinstance(payload, MarketTick):
                if payload.symbol not in held:
                    last[payload.symbol] = payload
                    continue
                self.on_tick(payload)
            elif isinstance(payload, PriceMark):
                self.on_mark(payload)
            if self.equity != equity or self.high_water_mark != high:
                equity, high = self.equity, self.high_water_mark
                looks.append(Look(place, equity, high, self.equity_start))
        return looks

    def on_mids(self, symbol: str, mids: bytes) -> None:
        """Process consecutive mids as `on_tick` would each tick; for runs that opened flat.

        Equity never falls where the mid rises, so only the dips after a high matter.

        Args:
            symbol: The market.
            mids: At least one mid, in hundred-millionths, as cells that `events.cells` reads.
        """
        size: i64 = len(mids)
        last = int_at(mids, size - CELL)
        if size == CELL or symbol not in self._held:
            self.on_mid(symbol, last)
            return
        mark = self._marks.get(symbol)
        top: i64 = int_at(mids, 0) if mark is None else mark
        low: i64 = top
        at: i64 = 0
        while at < size:
            mid = int_at(mids, at)
            if mid > top:
                if low < top:
                    self.on_mid(symbol, top)
                    self.on_mid(symbol, low)
                top = low = mid
            elif mid < low:
                low = mid
            at += CELL
        self.on_mid(symbol, top)
        self.on_mid(symbol, low)
        self.on_mid(symbol, last)

    def on_mid(self, symbol: str, mid: int) -> None:
        """Process a mid, in hundred-millionths, as `on_mids` would one alone."""
        held, mark = self.portfolio.holding(symbol), self._marks.get(symbol)
        self._marks[symbol] = mid
        if held is None:  # A symbol that is not held has no part in equity.
            return
        if mark is None:
            self._look()
        elif mark != mid:
            moved = proceeds_down(held.qty, mid) - proceeds_down(held.qty, mark)
            self._take(self.equity + moved)

    def _mark(self, symbol: str) -> bool:
        """Take the mid of the last tick as the mark; return whether the mark changed."""
        tick = self._last.get(symbol)
        mid = None if tick is None else mid_of(tick)
        return mid is not None and self._value(symbol, mid)

    def _value(self, symbol: str, price: int) -> bool:
        """Value the symbol at a price; return whether the mark changed."""
        if self._marks.get(symbol) == price:
            return False
        before = self._equity()
        self._marks[symbol] = price
        if symbol in self._unmarked:
            self._unmarked.discard(symbol)
            self._first_marks[symbol] = price
            difference = self._equity() - before
            self.equity_start += difference
            self.high_water_mark += difference
            self._trip[symbol] -= difference
            carried = self.carried[symbol]
            self.carried[symbol] = carried._replace(value=carried.value + difference)
            self._deepest = -1
        return True

    def on_fill(self, fill: Fill, ts: int) -> None:
        """Book a fill; a sale that leaves the symbol flat ends its round trip."""
        self.book(FillMessage.read(fill), ts)

    def on_message(self, fill: FillMessage) -> None:
        """Book a fill given as a core's message; see `on_fill`."""
        self.book(fill, fill.ts)

    def book(self, fill: FillMessage, ts: int) -> None:
        """Book a fill given in numbers; see `on_fill`."""
        symbol = fill.symbol
        self._mark(symbol)
        booking = self.portfolio.book(fill, ts)
        result = self.results.get(symbol)
        if result is None:
            result = self.results[symbol] = SymbolResult()
        result.realised -= booking.pnl + booking.fee
        if fill.side != BUY and symbol in self._carried_left:
            self._carried_left[symbol] = max(0, self._carried_left[symbol] - fill.qty)
        self._trip[symbol] = self._trip.get(symbol, 0) + booking.cash
        self._held.add(symbol)
        if fill.pays_in_base:
            self._paid_in_base.add(symbol)
        is_flat = not self.portfolio.has_lots(symbol)
        if is_flat:
            self._held.discard(symbol)
        if is_flat or (symbol in self._paid_in_base and self._left_dust(fill)):
            trip = self._trip.pop(symbol)
            self._unmarked.discard(symbol)  # Sold before any mark, it counts at its cost.
            self.trips.append(trip)
            result.wins += trip > 0
            result.losses += trip < 0
        self._look()

    def _left_dust(self, fill: FillMessage) -> bool:
        """Return whether a fill left dust, so that its round trip is over all the same."""
        payload = fill.payload()
        left = self.portfolio.position_qty(fill.symbol)
        return isinstance(payload, Fill) and is_dust_left(payload, left)

    def symbols(self) -> list[str]:
        """Return the symbols that have a price, a position or a result, sorted."""
        return sorted({*self._last, *self._marks, *self._held, *self.results})

    def market(self, symbol: str) -> MarketTick | None:
        """Return the last tick of a symbol; None before the first, and once a mark is newer."""
        return self._last.get(symbol)

    def mark(self, symbol: str) -> int | None:
        """Return the price at which a symbol is valued, or would be; None before there is one.

        Of a symbol that is not held a last tick without a mid hides the mids before it.
        """
        tick = None if symbol in self._held else self._last.get(symbol)
        mid = None if tick is None else mid_of(tick)
        return self._marks.get(symbol) if mid is None else mid

    def gain_before(self, symbol: str) -> tuple[int, int]:
        """Return the gain of a carried position before its first mark: realised since, and open.

        Both are in what the lots gain over their cost, and neither is a part of the run's result.
        """
        price = self._first_marks.get(symbol)
        if price is None:
            return 0, 0
        gain = self.carried[symbol].value - self._carried_cost[symbol]
        held, left = self.portfolio.holding(symbol), self._carried_left[symbol]
        if held is None or not left:
            return gain, 0
        # A sale takes from the oldest lot, so that the newest were bought in this run.
        cost = held.cost - held.cost_of_newest(held.qty - left)
        unsold = proceeds_down(left, price) - cost
        return gain - unsold, unsold

    def _equity(self) -> int:
        return self.portfolio.equity(self.quote_asset, self._marks)

    def _look(self) -> None:
        self._take(self._equity())

    def _take(self, equity: int) -> None:
        """Take a new equity, its high-water mark and its drawdown."""
        self.equity = equity
        self.high_water_mark = max(self.high_water_mark, self.equity)
        drawdown = self.high_water_mark - self.equity
        if drawdown <= self._deepest:
            return
        self._deepest = drawdown
        self.drawdown_max = max(self.drawdown_max, drawdown)
        if self.high_water_mark > 0:
            bps = mul_div_up(drawdown, BPS_UNIT, self.high_water_mark)
            self.drawdown_bps_max = max(self.drawdown_bps_max, bps)

    def to_json(self) -> JsonObject:
        """Return the figures: money and ratios as decimal strings, None where nothing closed."""
        wins = [trip for trip in self.trips if trip > 0]
        losses = [-trip for trip in self.trips if trip < 0]
        mean_win = sum(wins) * len(losses)
        mean_loss = sum(losses) * len(wins)
        return {
            "equity_start": amount_text(self.equity_start),
            "equity": amount_text(self.equity),
            "cash": amount_text(self.portfolio.cash(self.quote_asset)),
            "pnl": amount_text(self.equity - self.equity_start),
            "realised_pnl": amount_text(self.portfolio.realised_pnl),
            "fees": amount_text(self.portfolio.fees),
            "drawdown_max": amount_text(self.drawdown_max),
            "drawdown_bps_max": format_fixed(self.drawdown_bps_max, RATIO_PLACES),
            "round_trips": len(self.trips),
            "wins": len(wins),
            "losses": len(losses),
            "win_rate": ratio_text(len(wins), len(self.trips)),
            "reward_risk": ratio_text(mean_win, mean_loss) if wins and losses else None,
            "open_positions": self.portfolio.open_positions(),
        }
