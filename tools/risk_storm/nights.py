"""Inputs of a night in a storm: a wild market, a hostile strategy, an operator and the end.

They are drawn before the night begins, so that two desks take the same ones. All of a tick's
amounts are hundred-millionths.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from minibot.cores.messages import SignalMessage
from minibot.cores.scaled_tick import ScaledTick
from minibot.events.ids import position_id
from minibot.events.intervals import INTERVAL_MS, align
from minibot.events.model import (
    ADJUST,
    BUY,
    HOLD,
    SELL,
    AveragePrice,
    Bar,
    Beat,
    Book,
    Check,
    Event,
    ExitPosition,
    Gap,
    Halt,
    Instrument,
    JsonObject,
    LockSymbol,
    MarketTick,
    Payload,
    PriceMark,
    Resume,
    RunEnding,
    RunOpening,
    Signal,
)
from minibot.events.money import amount_text, parse_amount
from minibot.events.names import (
    CONTROL,
    MARKET_ROLE,
    SIGNALS,
    STRATEGY_ROLE,
    TICKS,
    WATCHDOG_ROLE,
)
from tools.risk_storm.profiles import DAYS_BARS

RUN_ID: Final = "20231114_221320"
START_MS: Final = 1_700_000_000_000
HASH: Final = "0" * 64
WRITERS: Final = {CONTROL: WATCHDOG_ROLE, TICKS: MARKET_ROLE, SIGNALS: STRATEGY_ROLE}
SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "DOGEUSDT")
PRICES: Final = {"BTCUSDT": "25000", "ETHUSDT": "100", "DOGEUSDT": "0.07312"}
STEPS: Final = {"BTCUSDT": ("0.01", "0.00001"), "ETHUSDT": ("0.01", "0.001")}
COARSE: Final = ("0.00001", "1")
PRICED: Final = "ETHUSDT"
"""Symbol by whose price levels of one that does not exist are drawn."""
FLOOD: Final = 12


class Given(NamedTuple):
    """One input: its queue, its line in it, and what the cores take."""

    queue: str
    seq: int
    item: Event | ScaledTick | SignalMessage


class _Maker:
    """Maker of the event that a tick would have been."""

    def __init__(self, payload: MarketTick, ts: int) -> None:
        self._payload, self._ts = payload, ts

    def event(self, seq: int) -> Event:
        """Return it, as line `seq` of `market_ticks`."""
        event_id = position_id(RUN_ID, MARKET_ROLE, TICKS, seq)
        return Event(self._ts, event_id, MARKET_ROLE, RUN_ID, HASH, self._payload)

    def last_price(self) -> int:
        """Return its price, in hundred-millionths."""
        return parse_amount(self._payload.price)

    def is_trade(self) -> bool:
        """Return whether it is a trade."""
        return self._payload.kind == "trade"


class Weather:
    """Drawer of a night's inputs.

    Args:
        config: The night's profile.
        rng: Chance.
        count: How many inputs are drawn, or a few more.
    """

    def __init__(self, config: JsonObject, rng: random.Random, count: int) -> None:
        self._config, self._rng, self._count = config, rng, count
        self._ts = START_MS
        self._seqs: dict[str, int] = {}
        self._symbols = rng.sample(SYMBOLS, rng.randint(1, len(SYMBOLS)))
        self._mid = {name: parse_amount(PRICES[name]) for name in SYMBOLS}
        self._status = dict.fromkeys(SYMBOLS, "TRADING")
        self._bar_ts = START_MS
        self._last_signal: SignalMessage | None = None
        self._quiet = rng.random() < 0.3
        """Whether this night's market moves little."""
        risk = config["risk"]
        asked = [risk.get(key) for key in ("vadr_bar_interval", "fatigue_bar_interval")]
        self._lengths = {name: INTERVAL_MS[name] for name in sorted({*filter(None, asked)})}
        """Lengths of the bars by which a day is judged, by name; empty where none is."""
        self._closed_ts = {name: align(START_MS, ms) for name, ms in self._lengths.items()}
        # Chance of its own, so that nights without such bars are as if there were none.
        self._days = random.Random(f"{self._quiet}:{self._symbols}")
        self._drift_bps = {name: self._days.choice((-30, 0, 0, 40)) for name in self._symbols}

    def inputs(self) -> Iterator[Given]:
        """Yield the night: its opening, rules, everything that happens, and its end."""
        portfolio = self._config["portfolio"]
        yield self._event(CONTROL, RunOpening({"USDT": portfolio["cash"]}, (), {}))
        for symbol in self._symbols:
            yield self._event(TICKS, self._rules(symbol))
        yield from self._past_days()
        ends = int(self._count * 0.95) if self._rng.random() < 0.7 else self._count
        for n in range(self._count):
            if n == ends:
                until = self._ts + 20_000
                yield self._event(CONTROL, RunEnding("storm", "planned", until))
            yield from self._next()

    def _next(self) -> Iterator[Given]:
        rng, symbol = self._rng, self._rng.choice(self._symbols)
        self._pass_time()
        draw = rng.random()
        if draw < 0.80:
            yield self._tick(symbol)
        elif draw < 0.90:
            for _ in range(FLOOD if rng.random() < 0.02 else 1):
                yield self._signal(symbol)
        elif draw < 0.95:
            yield from self._bars()
            yield from self._long_bars()
        elif draw < 0.96:
            yield self._event(TICKS, Gap(symbol, "trade", self._ts - 9_000, self._ts, "storm"))
        elif draw < 0.97:
            price = amount_text(self._mid[symbol])
            yield self._event(TICKS, PriceMark(symbol, price, "miniTicker", self._ts))
        elif draw < 0.975:
            price = amount_text(self._mid[symbol])
            yield self._event(TICKS, AveragePrice(symbol, price, 5, self._ts))
        elif draw < 0.985:
            yield self._event(TICKS, Beat(self._seqs.get(TICKS, 0) + 1, {symbol: 0}))
        elif draw < 0.99:
            yield self._event(TICKS, self._book(symbol))
        elif draw < 0.995:
            yield self._event(TICKS, self._rules(symbol, is_changed=True))
        else:
            yield self._event(CONTROL, self._order(symbol))

    def _pass_time(self) -> None:
        rng = self._rng
        self._ts += rng.choice((0, 1, 7, 50, 300, 1_100))
        if rng.random() < 0.003:  # The clock jumps, once in a while past midnight.
            self._ts += rng.choice((30_000, 600_000, 30_000_000))

    # --- the market ---------------------------------------------------------------------------

    def _tick(self, symbol: str) -> Given:
        rng, mid = self._rng, self._mid[symbol]
        step = parse_amount(_steps(symbol)[0])
        bps = rng.gauss(0, 1 if self._quiet else 6)
        if rng.random() < 0.02:
            bps = rng.choice((-1, 1)) * rng.uniform(50, 400)
        mid = self._mid[symbol] = max(step * 40, mid + int(mid * bps / 10_000))
        bid = mid // step * step
        ask = bid + step * rng.choice((0, 1, 1, 1, 3, 20))
        if rng.random() < 0.01:
            bid, ask = ask + step, bid  # Crossed.
        unit = parse_amount(_steps(symbol)[1])
        bid_qty, ask_qty = (unit * rng.choice((0, 1, 400, 10**6, 10**9)) for _ in range(2))
        # A late tick keeps its own, earlier time.
        ts = self._ts - (rng.randint(1, 4_000) if rng.random() < 0.02 else 0)
        is_trade = rng.random() < 0.5
        payload = MarketTick(
            symbol=symbol,
            price=amount_text(rng.choice((bid, ask))),
            kind="trade" if is_trade else "quote",
            qty=amount_text(unit * rng.randint(1, 10**6)) if is_trade else None,
            bid=amount_text(bid),
            bid_qty=amount_text(bid_qty),
            ask=amount_text(ask),
            ask_qty=amount_text(ask_qty),
            recv_mono_ns=ts,
        )
        tick = ScaledTick(symbol, _Maker(payload, ts), RUN_ID)
        tick.ts, tick.bid, tick.bid_qty, tick.ask, tick.ask_qty = ts, bid, bid_qty, ask, ask_qty
        return Given(TICKS, self._line(TICKS), tick)

    def _bars(self) -> Iterator[Given]:
        """Yield a bar of each symbol for each whole second since the last, at most of a minute."""
        close_ts = self._ts // 1_000 * 1_000
        first, self._bar_ts = max(self._bar_ts, close_ts - 60_000) + 1_000, close_ts
        for ts in range(first // 1_000 * 1_000, close_ts + 1, 1_000):
            yield from self._bars_of(ts)

    def _bars_of(self, close_ts: int) -> Iterator[Given]:
        for place, symbol in enumerate(self._symbols):
            # Seconds that passed without a bar move too, those of two symbols differently.
            mid = self._mid[symbol]
            mid += mid * (close_ts // 1_000 * (place + 3) % 7 - 3) // 10_000
            step = parse_amount(_steps(symbol)[0])
            low, high = (mid - mid // 2_000) // step * step, (mid + mid // 2_000) // step * step
            low_text, high_text, close = map(amount_text, (low, high, mid // step * step))
            yield self._event(
                TICKS,
                Bar(
                    symbol=symbol,
                    interval="1s",
                    open_ts=close_ts - 1_000,
                    close_ts=close_ts - 1,
                    open=low_text,
                    high=high_text,
                    low=low_text,
                    close=close,
                    volume="1",
                    is_history=False,
                ),
            )

    def _past_days(self) -> Iterator[Given]:
        """Yield the bars of the days before the night, as a start fetches them."""
        for name, length_ms in self._lengths.items():
            for symbol in self._symbols:
                for back in range(DAYS_BARS, 0, -1):
                    open_ts = self._closed_ts[name] - back * length_ms
                    yield self._long_bar(symbol, name, open_ts, back - 1, is_history=True)

    def _long_bars(self) -> Iterator[Given]:
        """Yield the bars of hours that closed since the last; now and then one is missing."""
        for name, length_ms in self._lengths.items():
            first, self._closed_ts[name] = self._closed_ts[name], align(self._ts, length_ms)
            for open_ts in range(first, self._closed_ts[name], length_ms):
                for symbol in self._symbols:
                    if self._days.random() > 0.02:
                        yield self._long_bar(symbol, name, open_ts, 0)

    def _long_bar(
        self, symbol: str, name: str, open_ts: int, back: int, *, is_history: bool = False
    ) -> Given:
        """Return a bar that ends so many bars before the price of now."""
        days, step = self._days, parse_amount(_steps(symbol)[0])
        mid = self._mid[symbol]
        mid -= mid * self._drift_bps[symbol] * back // 10_000
        width = mid * days.choice((1, 10, 40, 90)) // 10_000
        low, high = (max(step, price // step * step) for price in (mid - width, mid + width))
        close = days.choice((low, mid // step * step, high))
        bar = Bar(
            symbol=symbol,
            interval=name,
            open_ts=open_ts,
            close_ts=open_ts + self._lengths[name] - 1,
            open=amount_text(low),
            high=amount_text(high),
            low=amount_text(low),
            close=amount_text(max(step, close)),
            volume=str(days.choice((0, 1, 5, 80))),
            is_history=is_history,
        )
        return self._event(TICKS, bar)

    def _book(self, symbol: str) -> Book:
        mid, (price_step, unit) = self._mid[symbol], map(parse_amount, _steps(symbol))
        bid = mid // price_step * price_step
        bids, asks = (
            tuple(
                (amount_text(bid + sign * price_step * n), amount_text(unit * 10 ** (n % 6)))
                for n in range(1, 6)
            )
            for sign in (-1, 1)
        )
        seq = self._seqs.get(TICKS, 0) + 1
        if not self._config["market"].get("book_depth"):
            return Book(symbol, bids, asks, seq, "interval")
        # Deep enough or not, whole or not, and now and then of another venue.
        bid_depth, ask_depth = (str(1_000 + 500 * (seq // part % 5)) for part in (1, 5))
        whole, venue = seq % 3 > 0, "binance" if seq % 11 else "coingecko"
        return Book(
            *(symbol, bids, asks, seq, "interval"),
            bid_depth=bid_depth,
            is_bid_whole=whole,
            ask_depth=ask_depth,
            is_ask_whole=not whole,
            venue=venue,
        )

    def _rules(self, symbol: str, *, is_changed: bool = False) -> Instrument:
        rng, (price_step, qty_step) = self._rng, _steps(symbol)
        status, coarser = "TRADING", 1
        if is_changed:
            status = rng.choice(("TRADING", "TRADING", "TRADING", "HALT", "BREAK"))
            coarser = rng.choice((1, 1, 10))
        step = amount_text(parse_amount(qty_step) * coarser)
        self._status[symbol] = status
        return Instrument(
            symbol=symbol,
            base_asset=symbol.removesuffix("USDT"),
            quote_asset="USDT",
            status=status,
            price_increment=price_step,
            qty_increment=step,
            qty_min=step,
            qty_max=rng.choice(("0", "100000000")),
            notional_min=rng.choice(("5", "10")),
            origin="table",
            notional_max=rng.choice((None, None, "700", "3000")),
            orders_max=rng.choice((None, None, 1, 2)),
            order_lists_max=rng.choice((None, None, None, 1)),
        )

    # --- the strategy and the operator --------------------------------------------------------

    def _signal(self, symbol: str) -> Given:
        rng = self._rng
        if self._last_signal is not None and rng.random() < 0.05:
            return Given(SIGNALS, self._line(SIGNALS), self._last_signal)  # Told again.
        if rng.random() < 0.02:
            symbol = "NOSUCHUSDT"
        side = rng.choice((BUY, BUY, BUY, BUY, SELL, ADJUST, ADJUST, HOLD))
        seq = self._line(SIGNALS)
        ticks = max(1, self._seqs.get(TICKS, 1))
        signal = Signal(
            symbol=symbol,
            side=side,
            score=rng.choice((0, 50, 100)),
            confidence=rng.choice((0, 100)),
            horizon_ms=rng.choice((1_000, 60_000)),
            reason="a storm",
            reason_code="momentum_up",
            checks=(Check("momentum_bps", "2", "1", True),),
            **self._wish(side, symbol),
        )
        age_ms = rng.choice((0, 0, 0, 2_000, 10_000))
        event = Event(
            self._ts - age_ms,
            position_id(RUN_ID, STRATEGY_ROLE, SIGNALS, seq),
            STRATEGY_ROLE,
            RUN_ID,
            HASH,
            signal,
            (position_id(RUN_ID, MARKET_ROLE, TICKS, ticks),),
            ticks,
        )
        self._last_signal = SignalMessage.of(signal, event)
        return Given(SIGNALS, seq, self._last_signal)

    def _wish(self, side: str, symbol: str) -> dict[str, Any]:
        """Draw what a strategy wants beside its signal: in order, absurd, or nothing."""
        rng, wish = self._rng, dict[str, Any]()
        if side == HOLD or rng.random() < 0.3:
            return wish
        if side == SELL or rng.random() < 0.3:
            wish |= self._some({"share_bps": rng.choice((1, 50, 2_500, 5_000, 9_999, 10_000))})
        if side == SELL:
            wish |= self._some({"notional": rng.choice(("0.00000001", "7", "40", "1000000"))})
            return wish | self._some({"qty": amount_text(rng.choice((1, 10**4, 10**7, 10**12)))})
        if side == BUY:
            wish |= self._some({"notional": rng.choice(("0.00000001", "7", "40", "1000000"))})
            wish |= self._some({"limit_price": self._price(symbol, -40, 8)})
        wish |= self._some({"stop_price": self._price(symbol, -90, 3)})
        wish |= self._some({"target_price": self._price(symbol, -3, 90)})
        trail = rng.choice(("trail_distance", "trail_bps", "trail_atr"))
        if trail == "trail_distance":
            return wish | self._some(
                {trail: amount_text(self._mid.get(symbol, self._mid[PRICED]) // 300 + 1)}
            )
        return wish | self._some({trail: rng.choice(("0.0001", "1", "30", "5000"))})

    def _some(self, wish: dict[str, Any]) -> dict[str, Any]:
        return wish if self._rng.random() < 0.4 else {}

    def _price(self, symbol: str, low_bps: int, high_bps: int) -> str:
        """Draw a price by its distance from the middle; now and then one that makes no sense."""
        mid, rng = self._mid.get(symbol, self._mid[PRICED]), self._rng
        if rng.random() < 0.05:
            return amount_text(rng.choice((1, mid // 2, mid * 3)))
        return amount_text(mid + mid * rng.randint(low_bps, high_bps) // 10_000)

    def _order(self, symbol: str) -> Payload:
        draw = self._rng.random()
        if draw < 0.2:
            return Halt("storm", "why not")
        if draw < 0.6:
            return Resume("storm", "why not")
        if draw < 0.8:
            return ExitPosition("storm", "why not", symbol)
        return LockSymbol("storm", "why not", symbol, self._ts + 5_000)

    # --- as inputs ----------------------------------------------------------------------------

    def _event(self, queue: str, payload: Payload) -> Given:
        seq, writer = self._line(queue), WRITERS[queue]
        event_id = position_id(RUN_ID, writer, queue, seq)
        return Given(queue, seq, Event(self._ts, event_id, writer, RUN_ID, HASH, payload))

    def _line(self, queue: str) -> int:
        self._seqs[queue] = self._seqs.get(queue, 0) + 1
        return self._seqs[queue]


def _steps(symbol: str) -> tuple[str, str]:
    """Return the price step and the quantity step of a symbol, as text."""
    return STEPS.get(symbol, COARSE)
