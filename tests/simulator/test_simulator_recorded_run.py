"""Recorded run as a source: its queue becomes the original messages."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from minibot.events.model import Bar, Beat, Book, Instrument, MarketTick, Payload
from minibot.exchanges.binance.filters import parse_instrument
from minibot.exchanges.tapes.frames import BOOK_TICKER, DEPTH, TRADE
from minibot.kernel.canonical import encode
from minibot.kernel.errors import Refusal
from minibot.simulator.sources.rebase import Rebased
from minibot.simulator.sources.recorded_run import RecordedRun
from tests.simulator.embedded_exchange import Exchange, take
from tests.simulator.test_simulator_book import Client, venue_of

START_MS = 1_700_000_000_000
SKEW_MS = 250
INSTRUMENT = Instrument(
    *("BTCUSDT", "BTC", "USDT", "TRADING", "0.01000000", "0.00001000"),
    *("0.00001000", "9000.00000000", "5.00000000", "exchange"),
)


def tick(kind: str, number: int, **changes: Any) -> MarketTick:
    fields: dict[str, Any] = {
        **{"symbol": "BTCUSDT", "price": f"{100 + number}.00", "kind": kind},
        **{"bid": "99.00", "bid_qty": "1.0", "ask": "101.00", "ask_qty": f"{number + 1}.0"},
        **{"recv_mono_ns": 5, "exchange_ts": START_MS + number * 100 + SKEW_MS},
    }
    if kind == "trade":
        fields |= {"qty": "0.5", "taker_side": "SELL" if number % 2 else "BUY", "trade_id": number}
    return MarketTick(**{**fields, **changes})


def book(number: int) -> Book:
    bids = (("99.00", f"{number + 1}.0"), (f"{90 - number}.00", "2.0"))
    return Book("BTCUSDT", bids, (("101.00", "3.0"),), 500 + number, "interval")


def recorded(count: int = 20) -> list[tuple[int, Payload]]:
    past = [
        Bar("BTCUSDT", "1m", START_MS - n, START_MS - n + 59_999, *("1", "2", "1", "2", "5"), True)
        for n in (120_000 + 20_000, 60_000 + 20_000)
    ]
    events: list[tuple[int, Payload]] = [(START_MS - 9, INSTRUMENT)]
    events += [(START_MS - 8, bar) for bar in past]
    for number in range(count):
        at_ms = START_MS + number * 100
        events.append((at_ms, tick("quote", number)))
        events.append((at_ms + 1, tick("trade", number)))
        if number % 5 == 0:
            events.append((at_ms + 2, book(number)))
            events.append((at_ms + 3, Beat(number, {"BTCUSDT": 0})))
    return events


def write_run(folder: Path, parts: list[list[tuple[int, Payload]]]) -> Path:
    """Write a run's market_ticks: all parts but the last as sealed segments."""
    queue = folder / "queues" / "market_ticks"
    queue.mkdir(parents=True)
    for number, events in enumerate(parts, 1):
        lines = []
        for at_ms, payload in events:
            body = encode({"ts": at_ms, "type": payload.TYPE, "payload": payload.to_json()})
            lines.append(b"sha256:%s:%s\n" % (hashlib.sha256(body).hexdigest().encode(), body))
        is_last = number == len(parts)
        name = "inbox.jsonl" if is_last else f"inbox.{number:06d}.jsonl"
        (queue / name).write_bytes(b"".join(lines))
    return folder


def test_recorded_run_says_what_it_is(tmp_path: Path) -> None:
    """Origin, end, skew and rules of a recorded run are its own."""
    events = recorded()
    facts = RecordedRun(write_run(tmp_path / "run", [events[:9], events[9:]]), "run").facts

    assert facts.origin_ms == START_MS
    assert facts.end_ms == events[-1][0]
    assert facts.skew_ms == pytest.approx(SKEW_MS, abs=1)
    assert facts.symbols == ("BTCUSDT",)
    assert facts.has_depth
    assert facts.symbol_infos["BTCUSDT"]["origin"] == "exchange"


def test_symbol_that_joined_later_is_played(tmp_path: Path) -> None:
    """A symbol whose rules were recorded long after the start is listed and played from there."""
    at_ms = START_MS + 50_000
    events = recorded(300)
    joined = [(at_ms, msgspec.structs.replace(INSTRUMENT, symbol="ETHUSDT", base_asset="ETH"))]
    traded = [(at_ms + n, tick("trade", n, symbol="ETHUSDT")) for n in range(20)]

    source = RecordedRun(write_run(tmp_path / "run", [events, [*joined, *traded]]), "run")

    assert source.facts.symbols == ("BTCUSDT", "ETHUSDT")
    assert source.facts.symbol_infos["ETHUSDT"]["baseAsset"] == "ETH"
    assert "ethusdt@trade" in source.facts.streams
    assert [frame.symbol for frame in source.frames()].count("ETHUSDT") == 20


def test_rules_of_a_recorded_run_come_back_whole(tmp_path: Path) -> None:
    """Every rule that the exchange gave for a symbol is that of the exchangeInfo played."""
    rules: dict[str, Any] = {
        **{"market_qty_max": "80.0", "market_qty_min": "0.1", "market_qty_increment": "0.01"},
        **{"notional_max": "9000.0", "market_notional_min": "0", "market_notional_max": "9000.0"},
        **{"bid_percent_up": "1.2", "bid_percent_down": "0.8", "percent_minutes": 1},
        **{"ask_percent_up": "1.3", "ask_percent_down": "0.7"},
        **{"price_min": "0.5", "price_max": "9999999", "position_max": "0.5"},
        **{"orders_max": 200, "algo_orders_max": 5, "order_lists_max": 20},
        **{"trailing_sell_min": 10, "trailing_sell_max": 2000},
    }
    instrument = msgspec.structs.replace(INSTRUMENT, **rules)
    events = [(START_MS - 9, instrument), *recorded()[1:]]

    infos = RecordedRun(write_run(tmp_path / "run", [events]), "run").facts.symbol_infos

    assert parse_instrument(infos["BTCUSDT"]) == instrument


def test_limit_of_zero_in_a_recorded_run_forbids_nothing(tmp_path: Path) -> None:
    """A limit of zero, which means no limit, is not played as a filter that refuses all orders."""
    instrument = msgspec.structs.replace(INSTRUMENT, position_max="0.00000000", orders_max=0)
    events = [(START_MS - 9, instrument), *recorded()[1:]]

    infos = RecordedRun(write_run(tmp_path / "run", [events]), "run").facts.symbol_infos

    found = parse_instrument(infos["BTCUSDT"])
    assert (found.position_max, found.orders_max) == (None, None)


def test_warm_up_of_a_recorded_run_is_closed_at_its_origin(tmp_path: Path) -> None:
    """A warm-up bar that closed before the origin stays closed, despite slow messages."""
    start_ms = START_MS + 40_000  # Start of a whole minute.
    bar = Bar(*("BTCUSDT", "1m", start_ms - 60_000, start_ms - 1, "1", "2", "1", "2", "5"), True)
    ticks = [tick("quote", n, exchange_ts=start_ms + n * 100 - 40 - n) for n in range(9)]
    events: list[tuple[int, Payload]] = [(start_ms, bar)]
    events += [(start_ms + n * 100, payload) for n, payload in enumerate(ticks)]

    source = RecordedRun(write_run(tmp_path / "run", [events]), "run")
    bars = venue_of(source).bars("BTCUSDT", "1m", None, None, 10)

    assert source.facts.skew_ms == 0
    assert [bar.open_ms for bar in bars] == [start_ms - 60_000]


def test_warm_up_of_any_length_moves_with_a_rebased_run(tmp_path: Path) -> None:
    """A run that was warmed up with bars of five minutes has them on the new clock too."""
    open_ms = START_MS // 300_000 * 300_000 - 600_000
    past = [
        Bar("BTCUSDT", "5m", at, at + 299_999, *("1", "2", "1", "2", "5"), True)
        for at in (open_ms, open_ms + 300_000)
    ]
    events: list[tuple[int, Payload]] = [(START_MS - 8, bar) for bar in past]
    source = RecordedRun(write_run(tmp_path / "run", [[*events, *recorded()[3:]]]), "run")
    moved = Rebased(source, START_MS + 86_400_000 + 90_000)

    bars = moved.past_bars("BTCUSDT", "5m")
    assert [bar.open_ms % 300_000 for bar in bars] == [0, 0]
    assert [bar.volume for bar in bars] == [bar.volume for bar in source.past_bars("BTCUSDT", "5m")]
    assert moved.facts.origin_ms - 600_000 < bars[-1].end_ms <= moved.facts.origin_ms
    assert moved.past_bars("BTCUSDT", "1M") == []


def test_bar_that_filled_a_hole_of_a_recorded_run_is_no_warm_up(tmp_path: Path) -> None:
    """A history bar of the first, partial minute is played by its trades and moves no clock."""
    minute_ms = START_MS + 40_000  # Start of a whole minute.
    warm_up, filled = (
        Bar("BTCUSDT", "1m", open_ms, open_ms + 59_999, *("1", "2", "1", "2", "5"), True)
        for open_ms in (minute_ms - 60_000, minute_ms)
    )
    quotes: list[tuple[int, Payload]] = [
        (at_ms, tick("quote", n, exchange_ts=at_ms + SKEW_MS))
        for n, at_ms in enumerate(range(minute_ms + 40_000, minute_ms + 90_000, 1_000))
    ]
    events: list[tuple[int, Payload]] = [(minute_ms + 39_000, INSTRUMENT)]
    events += [(minute_ms + 39_000, warm_up), *quotes[:21]]
    events += [(minute_ms + 61_000, filled), *quotes[21:]]

    source = RecordedRun(write_run(tmp_path / "run", [events]), "run")

    assert source.facts.skew_ms == SKEW_MS
    assert [bar.open_ms for bar in source.past_bars("BTCUSDT", "1m")] == [minute_ms - 60_000]


def test_recorded_ticks_come_back_in_order_and_unchanged(tmp_path: Path) -> None:
    """Each trade and quote is the message of its tick, at the tick's time."""
    events = recorded()
    source = RecordedRun(write_run(tmp_path / "run", [events[:9], events[9:]]), "run")

    frames = [frame for frame in source.frames() if frame.kind in (TRADE, BOOK_TICKER)]
    ticks = [(at_ms, payload) for at_ms, payload in events if isinstance(payload, MarketTick)]

    assert len(frames) == len(ticks) == 40
    for frame, (at_ms, payload) in zip(frames, ticks, strict=True):
        data = json.loads(frame.data)
        assert frame.at_ns == at_ms * 10**6
        if frame.kind == TRADE:
            assert (data["p"], data["q"], data["t"]) == (
                *(payload.price, payload.qty),
                payload.trade_id,
            )
            assert data["m"] == (payload.taker_side == "SELL")
            assert data["T"] == payload.exchange_ts
        else:
            assert (data["b"], data["B"], data["a"], data["A"]) == (
                *(payload.bid, payload.bid_qty, payload.ask),
                payload.ask_qty,
            )


def test_recorded_books_become_diffs_that_bridge(tmp_path: Path) -> None:
    """Recorded books become diffs that lead a client to the last book."""
    source = RecordedRun(write_run(tmp_path / "run", [recorded()]), "run")
    venue = venue_of(source)
    client = Client(venue.depth("BTCUSDT", 100))
    quotes: dict[int, Any] = {}
    for frame in source.frames():
        venue.take(frame)
        data = json.loads(frame.data)
        if frame.kind == BOOK_TICKER:
            quotes[data["u"]] = data
        if frame.kind == DEPTH:
            client.apply(data)
            # A diff's top is the newest quote's, so it never lags.
            quote = quotes[max(quotes)]
            assert client.best() == (quote["b"], quote["a"])
            assert client.sides["asks"][quote["a"]] == quote["A"]

    # Levels of the last book, sizes of the last quote.
    assert client.sides["bids"] == {"99.00": "1.0", "75.00": "2.0"}
    assert client.sides["asks"] == {"101.00": "20.0"}
    assert client.sides == Client(venue.depth("BTCUSDT", 100)).sides


@pytest.mark.process
def test_recorded_run_plays_and_answers_for_its_past(tmp_path: Path) -> None:
    """The bars of its warm-up are the klines before the origin."""
    run = write_run(tmp_path / "run", [recorded()])

    with Exchange(f"run:{run}", speed="50") as exchange:
        bars = exchange.json("klines", symbol="BTCUSDT", interval="1m")
        messages = take(exchange.stream("btcusdt@trade"), 20)

    assert len(bars) == 2
    assert bars[0][1:6] == [f"{n}.00000000" for n in (1, 2, 1, 2, 5)]
    assert [message["data"]["t"] for message in messages] == list(range(20))


@pytest.mark.parametrize("kind", ["empty_folder", "no_ticks", "flipped"])
def test_unusable_run_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    """A folder without run or data, and a line with a wrong hash, are refused by name."""
    folder = tmp_path / "some_run"
    if kind == "empty_folder":
        folder.mkdir()
    else:
        write_run(folder, [recorded(20 if kind == "flipped" else 0)])
    if kind == "flipped":
        path = folder / "queues" / "market_ticks" / "inbox.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"99.00"', b'"98.00"', 1))

    with pytest.raises(Refusal) as refusal:
        RecordedRun(folder, "run")

    assert "some_run" in str(refusal.value)
