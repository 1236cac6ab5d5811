"""Markets of the backtest bench: seeded, the same for minibot and for its peers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from minibot.events.model import Bar, Beat, Instrument, Payload

SEED: Final = 20240101
T0_NS: Final = 1_704_067_200_000_000_000  # 2024-01-01T00:00:00Z
SYMBOL: Final = "BTCUSDT"
CENT: Final = 10**6  # In hundred-millionths.
LOT: Final = 10**5
SHOWN: Final = 10 * 10**8
Array = Any


class Ticks(NamedTuple):
    """Trades: nanoseconds, prices in cents, quantities in thousandths, 1 for a buyer as taker."""

    ts: Array
    price: Array
    qty: Array
    side: Array

    @property
    def sha256(self) -> str:
        """sha256 over all four arrays, in order."""
        digest = hashlib.sha256()
        for values in self:
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()


def ticks(count: int, seed: int = SEED) -> Ticks:
    """Return a random walk of trades, 50 a second: the workload W1 for a million."""
    chance = np.random.Generator(np.random.PCG64(seed))
    gaps = np.maximum(1000, (chance.standard_exponential(count) * 20e6).astype(np.int64))
    steps = np.array([-2, -1, 0, 1, 2])
    moves = chance.choice(steps, size=count, p=[0.03, 0.17, 0.60, 0.17, 0.03])
    qty = chance.integers(1000, 3000, count)
    side = chance.integers(0, 2, count).astype(np.int8)
    price = (10_000 + np.cumsum(moves)).astype(np.int64)
    return Ticks(T0_NS + np.cumsum(gaps), price, qty.astype(np.int64), side)


def columns(made: Ticks) -> dict[str, Array]:
    """Return trades as minibot's columns of ticks, both sides of the touch at the trade's price."""
    price = np.maximum(made.price, 100) * CENT
    shown = np.full(len(price), SHOWN, dtype=np.int64)
    ts = made.ts // 10**6
    return {
        "ts": ts,
        "price": price,
        "qty": made.qty * LOT,
        "trade_id": np.arange(len(price), dtype=np.int64),
        "flags": np.where(made.side == 1, 5, 7).astype(np.int64),
        "bid": price,
        "bid_qty": shown,
        "ask": price,
        "ask_qty": shown,
        "exchange_ts": ts,
    }


class Beside(NamedTuple):
    """Event of the market role between two ticks: the row after it, its time, its payload."""

    row: int
    ts: int
    payload: Payload


def instrument() -> Instrument:
    """Return the rules of the synthetic symbol."""
    return Instrument(
        symbol=SYMBOL,
        base_asset="BTC",
        quote_asset="USDT",
        status="TRADING",
        price_increment="0.01",
        qty_increment="0.001",
        qty_min="0.001",
        qty_max="9000",
        notional_min="1",
        origin="table",
    )


def beside(table: dict[str, Array]) -> list[Beside]:
    """Return bars of a second and of a minute, and a beat a second, as a market role writes them.

    A bar closes with the end of its interval; one without a trade is flat.
    """
    found: list[Beside] = []
    for interval, length_ms in (("1s", 1000), ("1m", 60_000)):
        found += _bars(table, interval, length_ms)
    ts = table["ts"]
    seconds = np.arange(int(ts[0]) // 1000 + 1, int(ts[-1]) // 1000 + 1) * 1000
    rows = np.searchsorted(ts, seconds)
    found += [
        Beside(int(row), int(at), Beat(n=n, data_age_ms={SYMBOL: 0}))
        for n, (row, at) in enumerate(zip(rows, seconds, strict=True), 1)
    ]
    return sorted(found, key=lambda one: (one.ts, one.row))


def _bars(table: dict[str, Array], interval: str, length_ms: int) -> list[Beside]:
    ts, price = table["ts"], table["price"]
    first = int(ts[0]) // length_ms
    opens = np.arange(first, int(ts[-1]) // length_ms)  # The last bar is still open.
    rows = np.searchsorted(ts, opens * length_ms)
    ends = np.searchsorted(ts, (opens + 1) * length_ms)
    found = []
    close = int(price[0])
    for number, start, end in zip(opens.tolist(), rows.tolist(), ends.tolist(), strict=True):
        part = price[start:end]
        opened, high, low = close, close, close
        if len(part):
            opened, high, low = int(part[0]), int(part.max()), int(part.min())
            close = int(part[-1])
        end_ts = (number + 1) * length_ms
        payload = Bar(
            symbol=SYMBOL,
            interval=interval,
            open_ts=number * length_ms,
            close_ts=end_ts - 1,
            open=_text(opened),
            high=_text(high),
            low=_text(low),
            close=_text(close),
            volume="1",
            is_history=False,
        )
        found.append(Beside(end, end_ts, payload))
    return found


def history(ts: int, count: int = 60) -> list[Bar]:
    """Return bars of a second before `ts`, so that a position's guards are known at once."""
    start = ts // 1000 - count
    made = []
    for number in range(start, start + count):
        prices = ("99.00", "101.00", "99.00", "100.00")
        span = (number * 1000, number * 1000 + 999)
        made.append(Bar(SYMBOL, "1s", *span, *prices, volume="1", is_history=True))
    return made


def _text(units: int) -> str:
    return f"{units // 10**8}.{units % 10**8 // CENT:02d}"


def save(made: Ticks, path: Path) -> None:
    """Write trades in the form that the peers' scripts load."""
    np.savez(path, a0=made.ts, a1=made.price, a2=made.qty, a3=made.side)


def bars(count: int) -> tuple[Array, ...]:
    """Return one-minute bars: opening time, open, high, low, close, volume; the workload W2."""
    chance = np.random.Generator(np.random.PCG64(SEED + 1))
    close = np.round(10_000 * np.exp(np.cumsum(chance.standard_normal(count) * 5e-4)), 2)
    opened = np.concatenate(([10_000.0], close[:-1]))
    above = np.round(np.abs(chance.standard_normal(count)) * 2.0, 2)
    below = np.round(np.abs(chance.standard_normal(count)) * 2.0, 2)
    high = np.round(np.maximum(opened, close) + above, 2)
    low = np.round(np.minimum(opened, close) - below, 2)
    volume = np.round(chance.uniform(10, 100, count), 3)
    ts = T0_NS + np.arange(count, dtype=np.int64) * 60_000_000_000
    return ts, opened, high, low, close, volume


def save_bars(made: tuple[Array, ...], path: Path) -> None:
    """Write bars in the form that the peers' scripts load."""
    np.savez(path, **{f"a{n}": values for n, values in enumerate(made)})
