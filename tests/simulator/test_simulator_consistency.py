"""Consistency of the endpoints: all agree with the streamed trades and diffs.

The recomputation uses plain `Decimal` and dictionaries, and shares no code with the venue.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.exchanges.tapes.clock import PlayClock
from minibot.exchanges.tapes.frames import BOOK_TICKER, DEPTH, TRADE, Frame, Source, SourceFacts
from minibot.exchanges.tapes.kline_bars import INTERVALS
from minibot.simulator.server.parameters import Parameters
from minibot.simulator.server.rest import ENDPOINTS
from minibot.simulator.sources.sources import open_source
from minibot.simulator.venue.instruments import symbol_infos
from minibot.simulator.venue.venue import Venue
from tests.simulator.embedded_exchange import ORIGIN_MS, Exchange, messages
from tests.waiting import wait_until

pytestmark = pytest.mark.campaign

EIGHT = Decimal("0.00000001")
LENGTHS_MS = {"1s": 1_000, "1m": 60_000, "3m": 180_000, "5m": 300_000, "1h": 3_600_000}
Streamed = dict[str, Any]


class Played:
    """Venue that has played a source up to a moment, and everything that it streamed."""

    def __init__(self, source: Source) -> None:
        self.facts = source.facts
        self._frames = source.frames()
        self._next = next(self._frames, None)
        self.clock = PlayClock(self.facts.origin_ms, Fraction(1))
        infos = symbol_infos(self.facts.symbols, self.facts.symbol_infos, self.facts.samples)
        self.venue = Venue(source, infos, self.clock, {})
        self.trades: dict[str, dict[int, Streamed]] = {name: {} for name in self.facts.symbols}
        self.diffs: dict[str, list[Streamed]] = {name: [] for name in self.facts.symbols}
        self.quotes: dict[str, Streamed] = {}

    def to(self, at_ms: int) -> bool:
        """Play up to a moment of the receive clock; return whether the source continues."""
        while self._next is not None and self._next.at_ns <= at_ms * 1_000_000:
            frame = self._next
            self.venue.take(frame)
            data = orjson.loads(frame.data) if frame.kind in (TRADE, DEPTH, BOOK_TICKER) else {}
            if frame.kind == TRADE:
                self.trades[frame.symbol].setdefault(data["t"], data | {"at_ns": frame.at_ns})
            elif frame.kind == DEPTH:
                self.diffs[frame.symbol].append(data)
            elif frame.kind == BOOK_TICKER:
                self.quotes[frame.symbol] = data
            self._next = next(self._frames, None)
        self.clock.market_origin_ms = at_ms  # Time of a clock that never started.
        return self._next is not None

    @property
    def now_ms(self) -> int:
        return self.venue.now_ms()

    def ask(self, path: str, **query: object) -> Any:
        """Return an endpoint's answer, as sent."""
        endpoint = ENDPOINTS[path]
        sent = [(name, str(value)) for name, value in query.items()]
        answer = endpoint.answer(self.venue, Parameters(sent, endpoint.allowed))
        return orjson.loads(orjson.dumps(answer))

    def in_order(self, symbol: str) -> list[Streamed]:
        return [self.trades[symbol][key] for key in sorted(self.trades[symbol])]


def text(number: Decimal) -> str:
    """Return a number in the venue's form: eight places, cut."""
    return f"{number.quantize(EIGHT, rounding='ROUND_DOWN'):f}"


def amounts(trades: list[Streamed]) -> tuple[Decimal, Decimal]:
    """Return (base, quote) volume."""
    base = sum((Decimal(t["q"]) for t in trades), Decimal(0))
    return base, sum((Decimal(t["q"]) * Decimal(t["p"]) for t in trades), Decimal(0))


def kline(open_ms: int, length_ms: int, trades: list[Streamed], before: str) -> list[Any]:
    """Return the kline row of some trades, flat at the former price without any."""
    prices = [Decimal(t["p"]) for t in trades] or [Decimal(before)]
    taken = [t for t in trades if not t["m"]]
    (base, quote), (taken_base, taken_quote) = amounts(trades), amounts(taken)
    return [
        open_ms,
        *(text(price) for price in (prices[0], max(prices), min(prices), prices[-1])),
        text(base),
        open_ms + length_ms - 1,
        text(quote),
        len(trades),
        text(taken_base),
        text(taken_quote),
        "0",
    ]


def klines(trades: list[Streamed], length_ms: int, shift_ms: int, now_ms: int) -> list[list[Any]]:
    """Return all bars from the first trade's to the open one."""
    rows: list[list[Any]] = []

    def open_of(time_ms: int) -> int:
        return (time_ms + shift_ms) // length_ms * length_ms - shift_ms

    by_open: dict[int, list[Streamed]] = {}
    for trade in trades:
        by_open.setdefault(open_of(trade["T"]), []).append(trade)
    open_ms = min(by_open)
    while open_ms <= open_of(now_ms):
        before = rows[-1][4] if rows else "0"
        rows.append(kline(open_ms, length_ms, by_open.get(open_ms, []), before))
        open_ms += length_ms
    return rows


def aggregated(trades: list[Streamed]) -> list[Streamed]:
    """Return the aggregates of consecutive trades with the same time, price and side."""
    groups: list[list[Streamed]] = []
    for trade in trades:
        is_same = groups and all(groups[-1][0][key] == trade[key] for key in ("T", "p", "m"))
        if is_same and trade["at_ns"] - groups[-1][0]["at_ns"] < 5_000_000:
            groups[-1].append(trade)
        else:
            groups.append([trade])
    return [
        {"p": text(Decimal(rows[0]["p"])), "q": text(amounts(rows)[0]), "f": rows[0]["t"]}
        | {"l": rows[-1]["t"], "T": rows[0]["T"], "m": rows[0]["m"], "M": True}
        for rows in groups
    ]


def book_of(opening: Any, diffs: list[Streamed]) -> tuple[int, dict[str, dict[Decimal, str]]]:
    """Return (last update id, sides) by the documented rule."""
    sides = {
        side: {Decimal(price): qty for price, qty in opening[name]}
        for side, name in (("b", "bids"), ("a", "asks"))
    }
    book_id: int = opening["lastUpdateId"]
    for diff in diffs:
        if diff["u"] <= book_id:
            continue
        assert diff["U"] <= book_id + 1
        for side in ("b", "a"):
            for price, qty in diff[side]:
                sides[side][Decimal(price)] = qty
                if Decimal(qty) == 0:
                    del sides[side][Decimal(price)]
        book_id = diff["u"]
    return book_id, sides


def levels(side: dict[Decimal, str], count: int, *, best_first: bool) -> list[tuple[Decimal, str]]:
    return [(price, side[price]) for price in sorted(side, reverse=best_first)[:count]]


def instants(played: Played, step_ms: int, count: int) -> Iterator[int]:
    """Play on and stop at a number of odd moments; yield each."""
    for number in range(1, count + 1):
        at_ms = played.facts.origin_ms + number * step_ms + 137 * number
        goes_on = played.to(at_ms)
        yield played.now_ms
        if not goes_on:
            return


SOURCES = ["tape:demo", "generator:7:BTCUSDT,ETHUSDT", "generator:11", "klines"]


def ten_bars(folder: Path) -> str:
    """Return a source of ten minutes of bars with trades."""
    path = folder / "BTCUSDT-1m.jsonl"
    with path.open("w") as file:
        for number in range(10):
            open_ms = 1_700_000_040_000 + number * 60_000
            prices = [f"{100 + number + step}.00" for step in (0, 2, -1, 1)]
            row = [open_ms, *prices, "7.12345", open_ms + 59_999, "700", 60, "3", "300", "0"]
            file.write(json.dumps(row) + "\n")
    return f"klines:{path}"


@pytest.fixture(scope="module", params=SOURCES)
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Venue at an odd moment of its eighth minute, or at its end."""
    word = request.param
    source = ten_bars(tmp_path_factory.mktemp("bars")) if word == "klines" else word
    venue = Played(open_source(source, 60))
    for _ in instants(venue, 61_000, 7):
        check_all(venue)
    return venue


def check_all(played: Played) -> None:
    """Compare every endpoint with everything streamed up to this moment."""
    for symbol in played.facts.symbols:
        check_trades(played, symbol)
        check_klines(played, symbol)
        check_windows(played, symbol)
        check_book(played, symbol)


def check_trades(played: Played, symbol: str) -> None:
    trades = played.in_order(symbol)
    answered = played.ask("trades", symbol=symbol, limit=1000)
    expected = [
        {
            "id": t["t"],
            "price": text(Decimal(t["p"])),
            "qty": text(Decimal(t["q"])),
            "quoteQty": text(Decimal(t["p"]) * Decimal(t["q"])),
            "time": t["T"],
            "isBuyerMaker": t["m"],
            "isBestMatch": True,
        }
        for t in trades
    ]
    assert answered == expected[-1000:]
    middle = trades[len(trades) // 2]["t"]
    older = played.ask("historicalTrades", symbol=symbol, fromId=middle, limit=7)
    assert older == [row for row in expected if row["id"] >= middle][:7]

    groups = aggregated(trades)
    rows = played.ask("aggTrades", symbol=symbol, limit=1000)
    records = [{key: row[key] for key in row if key != "a"} for row in rows]
    # The last aggregate may still grow, and is sent only once it cannot.
    assert records in (groups[-1000:], groups[:-1][-1000:])
    ids = [row["a"] for row in rows]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    half = rows[len(rows) // 2]
    assert (
        played.ask("aggTrades", symbol=symbol, fromId=half["a"], limit=3)
        == [row for row in rows if row["a"] >= half["a"]][:3]
    )
    start_ms = next(row["T"] for row in rows if row["T"] > rows[0]["T"])
    end_ms = half["T"]
    window = [row for row in rows if start_ms <= row["T"] <= end_ms]
    bounds = {"startTime": start_ms, "endTime": end_ms}
    assert played.ask("aggTrades", symbol=symbol, **bounds, limit=5) == window[:5]
    until_end = [row for row in rows if row["T"] <= end_ms][-5:]
    assert played.ask("aggTrades", symbol=symbol, endTime=end_ms, limit=5) == until_end


def check_klines(played: Played, symbol: str) -> None:
    trades = played.in_order(symbol)
    has_past = bool(played.venue.source.past_bars(symbol, "1m"))
    # Earlier bars are the source's history; a bar across the origin contains both.
    floor_ms = played.facts.origin_ms if has_past else 0

    def check(interval: str, length_ms: int, zone: str, zone_ms: int) -> None:
        expected = klines(trades, length_ms, zone_ms, played.now_ms)
        expected = [row for row in expected if row[0] >= floor_ms][-1000:]
        query = {"symbol": symbol, "interval": interval, "limit": 1000, "timeZone": zone}
        answered = played.ask("klines", **query)
        assert [row for row in answered if row[0] >= floor_ms] == expected, interval
        assert played.ask("uiKlines", **query) == answered

    for interval, length_ms in LENGTHS_MS.items():
        check(interval, length_ms, "0", 0)
    check("1h", 3_600_000, "05:45", 20_700_000)
    check("4h", 14_400_000, "-3", -10_800_000)


def test_bars_of_every_length_and_zone_hold_the_same_trades(played: Played) -> None:
    """Bars of every length and zone hold the same trades, history included."""
    for symbol in played.facts.symbols:
        day = played.ask("ticker", symbol=symbol, windowSize="7d")
        for interval in INTERVALS.keys() - {"1s"}:  # One answer cannot hold all seconds.
            for zone in ("0", "05:45", "-3"):
                query = {"symbol": symbol, "interval": interval, "timeZone": zone}
                rows = played.ask("klines", **query, limit=1000)
                told = sum(row[8] for row in rows), sum(Decimal(row[5]) for row in rows)

                assert told == (day["count"], Decimal(day["volume"])), (interval, zone)


def statistics(trades: list[Streamed], open_ms: int) -> Streamed:
    """Return the tickers' statistics over the trades from a moment on."""
    inside = [t for t in trades if t["T"] >= open_ms]
    prices = [Decimal(t["p"]) for t in inside]
    base, quote = amounts(inside)
    return {
        "openPrice": text(prices[0]),
        "highPrice": text(max(prices)),
        "lowPrice": text(min(prices)),
        "lastPrice": text(prices[-1]),
        "volume": text(base),
        "quoteVolume": text(quote),
        "firstId": inside[0]["t"],
        "lastId": inside[-1]["t"],
        "count": len(inside),
        "priceChange": text(prices[-1] - prices[0]),
        "weightedAvgPrice": text(quote / base),
    }


def check_windows(played: Played, symbol: str) -> None:
    trades = played.in_order(symbol)
    now_ms = played.now_ms
    for window, minutes in (("1m", 1), ("2m", 2), ("3m", 3)):
        open_ms = (now_ms - minutes * 60_000) // 60_000 * 60_000
        if open_ms < played.facts.origin_ms:
            continue
        answer = played.ask("ticker", symbol=symbol, windowSize=window)
        expected = statistics(trades, open_ms)
        assert {key: answer[key] for key in expected} == expected
        assert (answer["openTime"], answer["closeTime"]) == (open_ms, now_ms)
        mini = played.ask("ticker", symbols=f'["{symbol}"]', windowSize=window, type="MINI")
        assert mini[0].items() <= answer.items()
    if now_ms - 300_000 >= played.facts.origin_ms:
        inside = [t for t in trades if t["T"] >= now_ms - 300_000]
        base, quote = amounts(inside)
        answer = played.ask("avgPrice", symbol=symbol)
        assert answer == {"mins": 5, "price": text(quote / base), "closeTime": trades[-1]["T"]}
    if not played.venue.source.past_bars(symbol, "1m"):
        answer = played.ask("ticker/24hr", symbol=symbol)
        expected = statistics(trades, now_ms - 86_400_000)
        assert {key: answer[key] for key in expected} == expected
        assert answer["closeTime"] - answer["openTime"] == 86_400_000
        midnight_ms = now_ms // 86_400_000 * 86_400_000
        expected = statistics(trades, midnight_ms)
        day = played.ask("ticker/tradingDay", symbol=symbol)
        assert {key: day[key] for key in expected} == expected
        assert (day["openTime"], day["closeTime"]) == (midnight_ms, midnight_ms + 86_399_999)
    last = played.ask("ticker/price", symbol=symbol)
    assert last == {"symbol": symbol, "price": text(Decimal(trades[-1]["p"]))}


def check_book(played: Played, symbol: str) -> None:
    if not played.facts.has_depth:
        return
    opening = played.facts.opening_books[symbol]
    book_id, sides = book_of(opening, played.diffs[symbol])
    answered = played.ask("depth", symbol=symbol, limit=50)
    bids = levels(sides["b"], 50, best_first=True)
    asks = levels(sides["a"], 50, best_first=False)
    assert answered["lastUpdateId"] == book_id
    assert [(Decimal(p), q) for p, q in answered["bids"]] == bids
    assert [(Decimal(p), q) for p, q in answered["asks"]] == asks
    quote = played.quotes[symbol]
    answer = played.ask("ticker/bookTicker", symbol=symbol)
    if quote["u"] >= book_id:
        expected = (quote["b"], quote["B"], quote["a"], quote["A"])
        assert (
            answer["bidPrice"],
            answer["bidQty"],
            answer["askPrice"],
            answer["askQty"],
        ) == expected
    else:
        assert (Decimal(answer["bidPrice"]), answer["bidQty"]) == bids[0]
        assert (Decimal(answer["askPrice"]), answer["askQty"]) == asks[0]


def test_every_endpoint_tells_what_streamed(played: Played) -> None:
    """Trades, aggregates, klines, windows, book and touch agree at seven odd moments."""
    assert all(len(played.trades[symbol]) > 100 for symbol in played.facts.symbols)
    check_all(played)


def test_window_rolls_over_trades_that_are_no_longer_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window over a truncated log counts its first minute whole."""
    monkeypatch.setattr("minibot.simulator.venue.logs.KEPT_ALL_MAX", 100)
    monkeypatch.setattr("minibot.simulator.venue.logs.KEPT_MIN", 100)
    played = Played(open_source("generator:5", 60))
    played.to(played.facts.origin_ms + 400_137)
    trades = played.in_order("BTCUSDT")
    answer = played.ask("avgPrice", symbol="BTCUSDT")
    whole = [t for t in trades if t["T"] >= (played.now_ms - 300_000) // 60_000 * 60_000]
    base, quote = amounts(whole)

    assert len(played.venue.symbols["BTCUSDT"].trades) < 200
    assert answer["price"] == text(quote / base)


class Made:
    """Source of given trades alone."""

    def __init__(self, trades: list[Streamed]) -> None:
        self.facts = SourceFacts(
            name="made",
            origin_ms=ORIGIN_MS,
            end_ms=None,
            symbols=("BTCUSDT",),
            has_depth=False,
            streams=frozenset({"btcusdt@trade"}),
            samples={"BTCUSDT": {"p": "100.00", "q": "0.001"}},
        )
        self._trades = trades

    def frames(self) -> Iterator[Frame]:
        """Yield the trades in order of arrival."""
        for trade in self._trades:
            data = orjson.dumps({key: trade[key] for key in trade if key != "at_ms"})
            yield Frame(trade["at_ms"] * 10**6, "BTCUSDT", TRADE, "btcusdt@trade", data)

    def past_bars(self, symbol: str, interval: str) -> list[Any]:
        """Return no history."""
        return []


GAPS_MS = st.one_of(st.integers(0, 40), st.integers(0, 3_000), st.integers(0, 200_000))


@st.composite
def trades_that_came(draw: st.DrawFn) -> list[Streamed]:
    """Return trades in order of arrival: some late, some repeated, some together."""
    at_ms, trades = ORIGIN_MS, []
    for number in range(1, draw(st.integers(2, 60))):
        at_ms += draw(GAPS_MS)
        late_ms = draw(st.sampled_from([0, 0, 0, 1, 900, 70_000]))
        price, qty = draw(st.integers(9_000, 11_000)), draw(st.integers(1, 5_000))
        trade = {"e": "trade", "E": at_ms, "s": "BTCUSDT", "t": number, "T": at_ms - late_ms}
        trade |= {"p": f"{price // 100}.{price % 100:02d}000000", "q": f"0.{qty:08d}"}
        trade |= {"m": draw(st.booleans()), "M": True, "at_ms": at_ms}
        trades += [trade] * draw(st.sampled_from([1, 1, 1, 2]))
    return trades


@settings(max_examples=60, deadline=None)
@given(trades=trades_that_came(), later_ms=st.integers(0, 400_000))
def test_any_trades_make_the_bars_and_the_windows(trades: list[Streamed], later_ms: int) -> None:
    """Late and repeated trades make right bars and windows: each counts once."""
    played = Played(Made(trades))
    played.to(trades[-1]["at_ms"] + later_ms)
    known = played.in_order("BTCUSDT")
    now_ms = played.now_ms

    for interval in ("1s", "1m", "5m", "1h"):
        length_ms = LENGTHS_MS[interval]
        result = played.ask("klines", symbol="BTCUSDT", interval=interval, limit=1000)
        for row in result:
            inside = [t for t in known if t["T"] // length_ms * length_ms == row[0]]
            # Equal times go by arrival, which here is the order of ids.
            last = max(inside, key=lambda t: (t["T"], t["t"]), default=None)
            prices = [Decimal(t["p"]) for t in inside]
            base, quote = amounts(inside)
            assert [row[5], row[7], row[8]] == [text(base), text(quote), len(inside)]
            if last is not None:
                assert row[2:5] == [text(max(prices)), text(min(prices)), text(Decimal(last["p"]))]
                assert row[1] == text(Decimal(inside[0]["p"]))
    for window_ms, answer in (
        (86_400_000, played.ask("ticker/24hr", symbol="BTCUSDT")),
        (120_000, played.ask("ticker", symbol="BTCUSDT", windowSize="2m")),
    ):
        assert answer["openTime"] <= now_ms - window_ms
        inside = [t for t in known if t["T"] >= answer["openTime"]]
        base, quote = amounts(inside)
        assert answer["count"] == len(inside)
        assert (answer["volume"], answer["quoteVolume"]) == (text(base), text(quote))
    inside = [t for t in known if t["T"] >= now_ms - 300_000]
    base, quote = amounts(inside)
    average = played.ask("avgPrice", symbol="BTCUSDT")["price"]
    if inside:
        assert average == text(quote / base)


@pytest.mark.process
@pytest.mark.parametrize("source", ["tape:demo", "generator:3:BTCUSDT,ETHUSDT"])
def test_streams_and_rest_agree_over_the_wire_at_speed(source: str) -> None:
    """A client that reads all streams finds the same in REST, while the market runs."""
    names = ["btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@kline_1s", "btcusdt@aggTrade"]
    with Exchange(source, "--rate", "40", speed="10") as exchange:
        opening = exchange.json("depth", symbol="BTCUSDT", limit=5000)
        socket = exchange.stream(*names)
        trades: dict[int, Streamed] = {}
        aggregates: dict[int, Streamed] = {}
        diffs: list[Streamed] = []
        closed: dict[int, Streamed] = {}
        reader = messages(socket)

        def read_to(update_id: int, trade_id: int) -> None:
            while not (
                diffs and diffs[-1]["u"] >= update_id and trades and max(trades) >= trade_id
            ):
                message = next(reader)
                kind, data = message["stream"].partition("@")[2], message["data"]
                if kind == "trade":
                    trades[data["t"]] = data
                elif kind == "aggTrade":
                    aggregates[data["a"]] = data
                elif kind == "depth@100ms":
                    diffs.append(data)
                elif data["k"]["x"]:
                    closed[data["k"]["t"]] = data["k"]

        for _ in range(3):
            count = len(closed)
            while len(closed) < count + 5:
                read_to(diffs[-1]["u"] + 1 if diffs else 0, 0)
            book = exchange.json("depth", symbol="BTCUSDT", limit=20)
            rows = exchange.json("trades", symbol="BTCUSDT", limit=200)
            bars = exchange.json("klines", symbol="BTCUSDT", interval="1s", limit=1000)
            groups = exchange.json("aggTrades", symbol="BTCUSDT", limit=50)
            read_to(book["lastUpdateId"], rows[-1]["id"])

            before = [diff for diff in diffs if diff["u"] <= book["lastUpdateId"]]
            book_id, sides = book_of(opening, before)
            assert book_id == book["lastUpdateId"]
            for side, name in (("b", "bids"), ("a", "asks")):
                expected = levels(sides[side], 20, best_first=side == "b")
                assert [(Decimal(p), q) for p, q in book[name]] == expected
            first = min(trades)
            assert all(row["price"] == trades[row["id"]]["p"] for row in rows if row["id"] >= first)
            by_open = {row[0]: row for row in bars}
            held = [open_ms for open_ms in closed if open_ms >= bars[0][0]]
            assert held  # A slow client has read more than one answer holds.
            for open_ms in held:
                row, fields = by_open[open_ms], closed[open_ms]
                assert [row[1], row[4], row[5], row[8]] == [
                    *(fields[key] for key in ("o", "c", "v")),
                    fields["n"],
                ]
            for group in groups:
                if group["a"] in aggregates:
                    streamed = aggregates[group["a"]]
                    assert group == {key: streamed[key] for key in group}
        wait_until(lambda: exchange.status()["order_calls"] == 0, "no order call")
