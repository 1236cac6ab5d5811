"""Small market for the strategy's tests: events with ids and times, fed to a core in order."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from copy import deepcopy
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from minibot.cores.messages import drafts_of
from minibot.events.model import (
    Bar,
    Book,
    Draft,
    Event,
    Fill,
    Gap,
    Instrument,
    JsonObject,
    MarketTick,
    Payload,
    RunEnding,
    RunOpening,
    Signal,
    TickKind,
)
from minibot.kernel.canonical import encode
from minibot.runtime.configuration.config import load_config
from minibot.strategies.core import StrategyCore, core_from_config

PROJECT = Path(__file__).resolve().parents[2]
SYMBOL = "BTCUSDT"
START = 1_700_000_000_000
PRICE = 60_000.0

INSTRUMENT = Instrument(
    symbol=SYMBOL,
    base_asset="BTC",
    quote_asset="USDT",
    status="TRADING",
    price_increment="0.01000000",
    qty_increment="0.00001000",
    qty_min="0.00001000",
    qty_max="9000.00000000",
    notional_min="5.00000000",
    origin="exchange",
)
OPENING = RunOpening(cash={"USDT": "10000"}, lots=(), budgets_used={})


def config(**changes: Any) -> JsonObject:
    """Return the shipped demo profile with some values of `strategy` changed."""
    profile = deepcopy(demo_profile())
    unknown = changes.keys() - profile["strategy"].keys()
    assert not unknown, f"no such key in strategy: {unknown}"
    profile["strategy"].update(changes)
    return profile


@cache
def demo_profile() -> JsonObject:
    """Return the shipped demo profile, resolved."""
    return load_config(PROJECT / "config" / "nore-demo.v1.json").raw


def event(ts: int, number: int, payload: Payload, source: str = "market_role") -> Event:
    return Event(
        ts=ts,
        id=f"{number:08x}-0000-4000-8000-000000000000",
        source=source,
        run_id="20231114_221320",
        cmdline_hash="0" * 64,
        payload=payload,
    )


def draft_bytes(drafts: Sequence[Draft]) -> bytes:
    """Return a draft as canonical JSON, which equal runs must share."""
    return b"\n".join(
        encode(
            {
                "queue": draft.queue,
                "payload": draft.payload.to_json(),
                "ts": draft.ts,
                "cause_ids": list(draft.cause_ids),
                "tick_seq": draft.tick_seq,
            }
        )
        for draft in drafts
    )


def signals(drafts: Sequence[Draft]) -> list[Signal]:
    found = []
    for draft in drafts:
        assert isinstance(draft.payload, Signal)
        found.append(draft.payload)
    return found


class Feed:
    """Feed of one core; each bar advances time by a second, each method returns drafts."""

    def __init__(self, profile: JsonObject | None = None, *, is_opened: bool = True) -> None:
        self.core: StrategyCore = core_from_config(profile or config())
        self.ts = START
        self.seq = 0
        self.number = 0
        self.last = PRICE
        if is_opened:
            self.take(OPENING, queue="control")
            self.take(INSTRUMENT)

    def take(
        self, payload: Payload, *, queue: str = "market_ticks", age_ms: int = 0
    ) -> list[Draft]:
        """Feed one event now; with `age_ms` the event is that much older."""
        self.number += 1
        if queue == "market_ticks":
            self.seq += 1
        happened = event(self.ts - age_ms, self.number, payload)
        return drafts_of(self.core.process(happened, self.seq, self.ts) or [])

    def quote(
        self,
        *,
        bid: str | None = None,
        ask: str | None = None,
        bid_qty: str = "1",
        ask_qty: str = "1",
        age_ms: int = 0,
    ) -> list[Draft]:
        """Feed a quote, by default a cent wide around the last close, one coin a side."""
        tick = MarketTick(
            symbol=SYMBOL,
            price=f"{self.last:.2f}",
            kind="quote",
            bid=bid or f"{self.last:.2f}",
            bid_qty=bid_qty,
            ask=ask or f"{self.last + 0.01:.2f}",
            ask_qty=ask_qty,
            recv_mono_ns=self.number,
        )
        return self.take(tick, age_ms=age_ms)

    def trade(self, price: float, exchange_ts: int | None) -> list[Draft]:
        """Feed a trade with a touch around it."""
        self.last = price
        tick = MarketTick(
            symbol=SYMBOL,
            price=f"{price:.2f}",
            kind="trade",
            bid=f"{price:.2f}",
            bid_qty="1",
            ask=f"{price + 0.01:.2f}",
            ask_qty="1",
            recv_mono_ns=self.number,
            exchange_ts=exchange_ts,
            qty="0.01",
            taker_side="BUY",
            trade_id=self.number,
        )
        return self.take(tick)

    def bar(
        self, close: float, *, quoted: bool = True, is_history: bool = False, interval: str = "1s"
    ) -> list[Draft]:
        """Advance a second, quote, and feed the bar that closed with it."""
        self.ts += 1000
        self.last = close
        if quoted:
            self.quote()
        return self.bare_bar(close, is_history=is_history, interval=interval)

    def bare_bar(
        self, close: float, *, is_history: bool = False, interval: str = "1s", back: int = 0
    ) -> list[Draft]:
        """Feed the bar that ends now (or `back` ms ago), without a quote."""
        length = {"1s": 1000, "1m": 60_000}[interval]
        open_ts = self.ts - length - back
        text = f"{close:.2f}"
        return self.take(
            Bar(
                symbol=SYMBOL,
                interval=interval,
                open_ts=open_ts,
                close_ts=open_ts + length - 1,
                open=text,
                high=text,
                low=text,
                close=text,
                volume="1",
                is_history=is_history,
            )
        )

    def bars(self, closes: Sequence[float]) -> list[Draft]:
        """Feed bars in order; return all drafts."""
        drafts: list[Draft] = []
        for close in closes:
            drafts += self.bar(close)
        return drafts

    def fill(self, side: str, qty: str = "0.00800", fee: str = "0", asset: str = "USDT") -> None:
        """Feed a fill of the strategy's order."""
        filled = Fill(
            order_id=f"o{self.number}",
            client_order_id=f"c{self.number}",
            symbol=SYMBOL,
            side=side,
            qty=qty,
            price=f"{self.last:.2f}",
            fee=fee,
            fee_asset=asset,
            liquidity="TAKER",
        )
        assert self.take(filled, queue="fills") == []

    def take_lot(self, *quantities: str) -> None:
        """Carry lots over from a former run, as `run_opening` does."""
        lots = tuple(
            {"symbol": SYMBOL, "qty": qty, "price": "60000", "ts": START - 1} for qty in quantities
        )
        self.take(replace(OPENING, lots=lots), queue="control")

    def gap(self, stream: str = "trade", length_ms: int = 2_000) -> list[Draft]:
        return self.take(Gap(SYMBOL, stream, self.ts - length_ms, self.ts, "reconnect"))

    def book(self) -> list[Draft]:
        level = ((f"{self.last:.2f}", "1"),)
        return self.take(Book(SYMBOL, level, ((f"{self.last + 1:.2f}", "1"),), 7, "resync"))

    def ending(self) -> list[Draft]:
        return self.take(RunEnding("launcher", "DURATION_REACHED", self.ts), queue="control")

    def status(self, status: str) -> list[Draft]:
        return self.take(replace(INSTRUMENT, status=status))

    def buy(self) -> None:
        """Enter a position by a signal of the strategy and its fill, 20 s ago."""
        self.bars(flat(40))
        (signal,) = signals(self.bar(dip()))
        assert signal.side == "BUY"
        self.fill("BUY")
        self.bars(flat(20))


def flat(count: int, price: float = PRICE) -> list[float]:
    """Return bars a cent up and a cent down: RSI in the middle, no momentum."""
    return [price + 0.01 * (n % 2) for n in range(count)]


def dip(bps: float = 3.0, price: float = PRICE) -> float:
    """Return a close far below the flat price: oversold, momentum not yet down."""
    return price * (1.0 - bps / 10_000.0)


def jump(bps: float = 3.0, price: float = PRICE) -> float:
    """Return a close far above the flat price: overbought."""
    return price * (1.0 + bps / 10_000.0)


def stairs(count: int, up_bps: float, down_bps: float, price: float = PRICE) -> list[float]:
    """Return alternating steps up and down: momentum with an RSI of up / (up + down)."""
    closes = []
    for n in range(count):
        price *= 1.0 + (up_bps if n % 2 == 0 else -down_bps) / 10_000.0
        closes.append(price)
    return closes


def recorded(tape: Path, *, with_bars: bool = True, lines_max: int = 10**9) -> Iterator[Event]:
    """Return the events of a recorded tape, with bars closed by a trade of a later second."""
    number, bid, ask, last = 0, ("0", "0"), ("0", "0"), ""
    kind: TickKind
    open_bars: dict[str, list[Any]] = {}
    with gzip.open(tape, "rt", encoding="utf-8") as lines:
        for index, line in enumerate(lines):
            ts, message = int(line[:19]) // 1_000_000, json.loads(line[20:])
            if index == 0:
                yield event(ts, 1, OPENING, "watchdog_role")
                yield event(ts, 2, INSTRUMENT)
                number = 2
            if index >= lines_max:
                return
            data = message.get("data", {})
            if "A" in data and "B" in data and "u" in data:
                bid, ask = (data["b"], data["B"]), (data["a"], data["A"])
                kind, more = "quote", {}
            elif data.get("e") == "trade" and bid[0] != "0":
                last, kind = data["p"], "trade"
                for bar in _closed_bars(open_bars, data) if with_bars else ():
                    number += 1
                    yield event(ts, number, bar)
                more = {
                    "exchange_ts": data["T"],
                    "qty": data["q"],
                    "taker_side": "SELL" if data["m"] else "BUY",
                    "trade_id": data["t"],
                }
            else:
                continue
            number += 1
            tick = MarketTick(
                symbol=SYMBOL,
                price=last or bid[0],
                kind=kind,
                bid=bid[0],
                bid_qty=bid[1],
                ask=ask[0],
                ask_qty=ask[1],
                recv_mono_ns=number,
                **more,
            )
            yield event(ts, number, tick)


def _closed_bars(open_bars: dict[str, list[Any]], trade: JsonObject) -> Iterator[Bar]:
    price, moment = trade["p"], trade["T"]
    for interval, length in (("1s", 1000), ("1m", 60_000)):
        start = moment - moment % length
        bar = open_bars.get(interval)
        while bar is not None and bar[0] < start:
            start_ts, first, high, low, close = bar
            end_ts = start_ts + length - 1
            yield Bar(
                SYMBOL, interval, start_ts, end_ts, first, high, low, close, "1", is_history=False
            )
            bar = [bar[0] + length, bar[4], bar[4], bar[4], bar[4]]
        if bar is None:
            bar = [start, price, price, price, price]
        bar[2] = max(bar[2], price, key=Decimal)
        bar[3] = min(bar[3], price, key=Decimal)
        bar[4] = price
        open_bars[interval] = bar


def run_recorded(core: StrategyCore, events: Iterator[Event]) -> tuple[list[Draft], list[Fill]]:
    """Feed a recording; each fitting BUY or SELL fills at the next tick."""
    drafts: list[Draft] = []
    fills: list[Fill] = []
    wish, seq = "", 0
    for happened in events:
        payload = happened.payload
        is_control = isinstance(payload, RunOpening)
        seq += 0 if is_control else 1
        new = drafts_of(core.process(happened, seq, happened.ts) or [])
        drafts += new
        is_long = len(fills) % 2 == 1
        if wish and isinstance(payload, MarketTick):
            fill = _fill(wish, payload, len(fills))
            wish = ""
            fills.append(fill)
            done = event(happened.ts, 10_000_000 + len(fills), fill, "execution_role")
            drafts += drafts_of(core.process(done, len(fills), happened.ts) or [])
        for signal in signals(new):
            if signal.side == ("SELL" if is_long else "BUY"):
                wish = signal.side
    return drafts, fills


def _fill(side: str, tick: MarketTick, number: int) -> Fill:
    price = tick.ask if side == "BUY" else tick.bid
    name = f"n{number}"
    return Fill(name, name, SYMBOL, side, "0.00800", price, "0.49", "USDT", "TAKER")


def main(arguments: Sequence[str]) -> None:
    """Print the digest of all signals of a recording, in a separate process."""
    drafts, _ = run_recorded(core_from_config(config()), recorded(Path(arguments[0])))
    print(len(drafts), hashlib.sha256(draft_bytes(drafts)).hexdigest())


if __name__ == "__main__":
    main(sys.argv[1:])
