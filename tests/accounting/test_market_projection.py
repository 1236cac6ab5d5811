"""Market projection: the fold over a run's market, the same for every reader."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from minibot.accounting.market_projection import MarketProjection, by_tick
from minibot.accounting.performance import Look, Performance
from minibot.events.model import (
    Beat,
    Event,
    Fill,
    MarketTick,
    Payload,
    PriceMark,
    RunOpening,
    Universe,
)

COIN, OTHER = "BTCUSDT", "ETHUSDT"


def event(ts: int, payload: Payload, tick_seq: int | None = None) -> Event:
    return Event(ts, f"id {ts}", "role", "run", "hash", payload, None, tick_seq)


def tick(ts: int, bid: str, symbol: str = COIN) -> Event:
    quote = MarketTick(
        symbol=symbol, kind="quote", price=bid, bid=bid, bid_qty="1", ask=bid, ask_qty="1",
        recv_mono_ns=1,
    )  # fmt: skip
    return event(ts, quote)


def fill(ts: int, tick_seq: int | None, side: str, price: str) -> Event:
    done = Fill("order", "client", COIN, side, "1", price, "0", "USDT", "TAKER")
    return event(ts, done, tick_seq)


def opened() -> Performance:
    return Performance(RunOpening({"USDT": "1000"}, (), {}), "USDT")


MARKET = [
    tick(10, "100"),
    tick(20, "5", OTHER),
    tick(30, "110"),
    event(40, Beat(1, {})),
    event(50, PriceMark(COIN, "130", "miniTicker", 50)),
    tick(60, "120"),
    tick(70, "90"),
]
FILLS = [fill(10, 1, "BUY", "100"), fill(60, 6, "SELL", "120")]


def take_all(market: MarketProjection, first_seq: int, events: Sequence[Event]) -> None:
    """Fold events in a row."""
    market.take_all(first_seq, [one.ts for one in events], [one.payload for one in events])


def equities(row: Sequence[Payload], looks: Sequence[Look]) -> list[int]:
    """Return the equity behind each event of a row."""
    return [
        next(look.equity for look in reversed(looks) if look.place <= place)
        for place in range(len(row))
    ]


@pytest.mark.row("N-77", "N-80")
@pytest.mark.parametrize("pieces", [[1] * 7, [7], [4, 3], [1, 6]])
def test_fill_counts_behind_its_tick_and_before_the_next(pieces: list[int]) -> None:
    """A fill counts after its tick: bought at the first, marked at later ones, sold at the last."""
    fills = iter(FILLS)
    seen: list[tuple[int, str, int]] = []
    market = MarketProjection(
        opened(),
        lambda: next(fills, None),
        lambda times, row, looks: seen.extend(
            (ts, one.TYPE, equity // 10**8)
            for ts, one, equity in zip(times, row, equities(row, looks), strict=True)
        ),
        lambda done: seen.append((done.ts, done.type, market.performance.equity // 10**8)),
    )

    done = 0
    for count in pieces:
        take_all(market, done + 1, MARKET[done : done + count])
        done += count

    assert seen == [
        (10, "market_tick", 1000),
        (10, "fill", 1000),
        (20, "market_tick", 1000),
        (30, "market_tick", 1010),
        (50, "price_mark", 1030),
        (60, "market_tick", 1020),
        (60, "fill", 1020),
        (70, "market_tick", 1020),
    ]


def test_counts_and_times_are_those_of_the_market_alone() -> None:
    """Market events are counted by type with first and last time; fills are none."""
    market = MarketProjection(opened())
    assert (market.seq, market.first_ts, market.last_ts) == (0, 0, 0)

    take_all(market, 1, MARKET)
    market.on_fill(fill(80, 7, "BUY", "90"))

    assert (market.seq, market.first_ts, market.last_ts) == (7, 10, 70)
    assert market.figures()["market_ticks"] == {"beat": 1, "market_tick": 5, "price_mark": 1}
    assert market.figures()["performance"] == market.performance.to_json()


@pytest.mark.parametrize("pieces", [[1] * 4, [4], [2, 2]])
def test_age_of_prices_counts_from_the_last_price_and_no_beat(pieces: list[int]) -> None:
    """A minute of beats in an outage moves the market's time and not that of its prices."""
    beat = Beat(1, {})
    events = [event(5, beat), tick(10, "100"), event(40_010, beat), event(60_010, beat)]
    market = MarketProjection(opened())
    assert market.price_ts == 0
    done = 0
    for count in pieces:
        take_all(market, done + 1, events[done : done + count])
        done += count

    assert (market.price_ts, market.last_ts) == (10, 60_010)
    market.take(5, event(60_020, PriceMark(COIN, "130", "miniTicker", 50)))
    assert market.price_ts == 60_020


@pytest.mark.parametrize("pieces", [[1] * 4, [4], [3, 1]])
def test_traded_symbols_are_those_of_the_last_universe(pieces: list[int]) -> None:
    """One that left is none of them, though its ticks were counted."""
    both, one = (
        Universe("dynamic", "USDT", names, (), (), (), {}, {}, 1)
        for names in ((COIN, OTHER), (OTHER,))
    )
    events = [event(5, both), tick(10, "100"), event(20, both), event(20, one)]
    market = MarketProjection(opened())
    assert market.traded is None
    done = 0
    for count in pieces:
        take_all(market, done + 1, events[done : done + count])
        done += count

    assert market.traded == (OTHER,)


def first_of(events: list[Event]) -> Callable[[], Event | None]:
    """Return a function that takes the first of the events; None without one."""
    return lambda: events.pop(0) if events else None


@pytest.mark.row("N-77")
def test_projection_is_the_same_in_whatever_pieces_it_is_fed() -> None:
    """The projection is the same singly, live with late fills, or in rows between fills."""
    rng = random.Random(7)
    events = [tick(at, str(rng.randint(80, 120))) for at in range(1, 200)]
    fills = [fill(at, at, ("BUY", "SELL")[n % 2], "100") for n, at in enumerate(range(5, 195, 9))]
    found = []
    for cuts in ([], [50], [1, 2, 3, 150], list(range(1, 199))):
        arrived: list[Event] = []
        market = MarketProjection(opened(), first_of(arrived))
        done = 0
        for cut in (*cuts, len(events)):
            arrived += [one for one in fills if done < (one.tick_seq or 0) <= cut]
            for at in range(done, cut):
                market.take(at + 1, events[at])
            done = cut
        market.book_before(None)
        found.append(market.figures())
    rows = MarketProjection(opened(), first_of(list(fills)))
    take_all(rows, 1, events)

    assert [each for each in found if each != rows.figures()] == []
    assert rows.figures()["performance"]["round_trips"] == len(fills) // 2


def test_fills_by_tick_come_in_the_order_of_their_ticks() -> None:
    """Fills keep the order of their ticks, and their own order within one; others are left out."""
    late, early, second = (fill(ts, seq, "BUY", "1") for ts, seq in ((1, 9), (2, 3), (3, 3)))
    following = by_tick([late, tick(1, "1"), early, second, fill(4, None, "BUY", "1")])

    assert [following() for _ in range(4)] == [early, second, late, None]
