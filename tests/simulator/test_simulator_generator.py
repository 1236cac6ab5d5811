"""Synthetic markets: the same bytes everywhere, consistent, with enough moves to trade."""

from __future__ import annotations

import hashlib
import itertools
import json
import statistics
import tracemalloc
from fractions import Fraction

import pytest

from minibot.exchanges.tapes.clock import PlayClock
from minibot.exchanges.tapes.frames import BOOK_TICKER, TRADE
from minibot.simulator.sources.generator import ORIGIN_MS, Generator
from minibot.simulator.sources.random_market import RandomSymbol
from minibot.simulator.venue.venue import Venue

pytestmark = pytest.mark.campaign

NIGHT_S = 7 * 3600
FRAMES = 60_000


def digest(seed: int, count: int, *, symbols: tuple[str, ...] = ("BTCUSDT",)) -> str:
    """Return the sha256 of the first frames, times included."""
    total = hashlib.sha256()
    for frame in itertools.islice(Generator(seed, symbols, 20).frames(), count):
        total.update(b"%d %s %s\n" % (frame.at_ns, frame.stream.encode(), frame.data))
    return total.hexdigest()


def test_same_seed_gives_the_same_bytes_on_every_machine() -> None:
    """A digest of a seed holds on all systems and versions of Python."""
    assert digest(1, 5000) == "b358cd0dc7449499df4d53937b82366253feb458f3c33f5c5848f83f63e3a43b"


def test_same_seed_repeats_over_the_length_of_a_rotation_and_others_differ() -> None:
    """Fifty minutes made twice are equal, and another seed differs."""
    assert digest(3, FRAMES) == digest(3, FRAMES)
    assert digest(3, 500) != digest(4, 500)
    assert digest(3, 500, symbols=("ETHUSDT",)) != digest(3, 500)


def test_night_of_frames_needs_no_more_memory_than_a_minute() -> None:
    """Frames are made on demand, so a night needs no more memory than a minute."""
    frames = Generator(1, ("BTCUSDT",), 20).frames()
    for _ in itertools.islice(frames, 2000):
        pass
    tracemalloc.start()
    for _ in itertools.islice(frames, 20_000):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 300_000


@pytest.mark.parametrize("rate", [1, 3, 20, 200])
def test_rate_is_messages_per_second_of_market_time(rate: int) -> None:
    """The rate is messages a second of market time, within a tenth."""
    seconds = 200
    frames = Generator(2, ("BTCUSDT",), rate).frames()
    end_ns = (ORIGIN_MS + seconds * 1000) * 10**6

    count = sum(1 for _ in itertools.takewhile(lambda frame: frame.at_ns < end_ns, frames))

    assert 0.85 * rate * seconds <= count <= 1.05 * rate * seconds


def test_frames_are_in_order_and_ids_have_no_hole() -> None:
    """Time never goes back across symbols, and trade ids step by one."""
    last_ns = 0
    trade_ids: dict[str, int] = {}
    for frame in itertools.islice(Generator(9, ("BTCUSDT", "ETHUSDT"), 30).frames(), 20_000):
        assert frame.at_ns >= last_ns
        last_ns = frame.at_ns
        if frame.kind == TRADE:
            number = json.loads(frame.data)["t"]
            assert number == trade_ids.get(frame.symbol, number - 1) + 1
            trade_ids[frame.symbol] = number

    assert len(trade_ids) == 2


def test_trades_happen_at_the_touch_and_are_no_larger_than_it() -> None:
    """Trades happen at the touch and are no larger than its size."""
    touch: dict[str, str] | None = None
    checked = 0
    for frame in itertools.islice(Generator(9, ("BTCUSDT",), 20).frames(), 20_000):
        data = json.loads(frame.data)
        if frame.kind == BOOK_TICKER:
            assert float(data["b"]) < float(data["a"])
            touch = data
        elif frame.kind == TRADE and touch is not None:
            side = ("b", "B") if data["m"] else ("a", "A")
            assert data["p"] == touch[side[0]]
            assert 0 < float(data["q"]) <= float(touch[side[1]])
            checked += 1

    assert checked > 3000


def test_own_past_is_what_the_same_market_would_have_traded() -> None:
    """Bars of the history aggregate across intervals and end where the market begins."""
    source = Generator(6, ("BTCUSDT",), 20)
    clock = PlayClock(source.facts.origin_ms, Fraction(1))
    venue = Venue(source, {"BTCUSDT": {"status": "TRADING"}}, clock, {})

    seconds = venue.bars("BTCUSDT", "1s", None, None, 1000)
    minutes = venue.bars("BTCUSDT", "1m", None, None, 1000)

    assert len(minutes) == 120
    assert minutes[-1].end_ms == ORIGIN_MS
    last = [bar for bar in seconds if bar.open_ms >= minutes[-1].open_ms]
    assert minutes[-1].volume == sum(bar.volume for bar in last)
    assert minutes[-1].high == max(bar.high for bar in last)
    first_quote = next(frame for frame in source.frames() if frame.kind == BOOK_TICKER)
    price = float(json.loads(first_quote.data)["b"])
    assert price == pytest.approx(minutes[-1].close / 10**8, rel=0.001)


@pytest.mark.parametrize("seed", [1, 2, 7, 12345])
def test_night_has_moves_worth_trading_and_both_directions(seed: int) -> None:
    """A minute moves by some bps, half hours go both ways, the price stays near its base."""
    market = RandomSymbol("BTCUSDT", seed, 20)
    first = ORIGIN_MS // 1000
    mids = [market._mid(first + second) for second in range(0, NIGHT_S, 60)]
    minutes = [(b / a - 1) * 10_000 for a, b in itertools.pairwise(mids)]
    halves = [(b / a - 1) * 10_000 for a, b in itertools.pairwise(mids[::30])]

    assert 5 < statistics.pstdev(minutes) < 25
    assert max(halves) > 20
    assert min(halves) < -20
    assert 0.9 < min(mids) / mids[0] < max(mids) / mids[0] < 1.1
