"""Bad input of each kind in a running session: a counter, an incident, and an end.

One message of a kind is refused and reported, and the market goes on. Too many of them end the run
with their reason. None reaches `market_ticks`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from minibot.exchanges.base import Stream
from minibot.exchanges.binance.mini_tickers import MINI_TICKERS
from tests.market.exchange_process import ExchangeProcess
from tests.market.market_desk import Desk, link_limits, session_config
from tests.waiting import wait_until

pytestmark = [pytest.mark.row("B-49"), pytest.mark.campaign, pytest.mark.process]

SPEED = "20"
INVALID_MAX = 20
SYMBOL = "BTCUSDT"


class Injected:
    """Connection of a session, with messages of the test among the venue's."""

    def __init__(self, stream: Stream, box: list[bytes]) -> None:
        self._stream = stream
        self._box = box
        self._lock = threading.Lock()

    def recv_all(self) -> tuple[int, list[bytes]]:
        """Return the venue's messages after those that the test has left."""
        recv_mono_ns, messages = self._stream.recv_all()
        with self._lock:
            messages = [*self._box, *messages]
            self._box.clear()
        return recv_mono_ns, messages

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def running(tmp_path: Path, **limits: int) -> Iterator[tuple[ExchangeProcess, Desk, list[bytes]]]:
    """Run a session, with a box for additional messages."""
    box: list[bytes] = []

    def wrap(streams: Sequence[str], stream: Stream) -> Stream:
        return Injected(stream, box)

    with ExchangeProcess(tmp_path, "generator:1", SPEED, "--rate", "60") as venue:
        values = {"feed_invalid_max": INVALID_MAX, "backoff_max_ms": 1_000, **limits}
        link = link_limits(**values)
        config = session_config(venue.symbols, venue.origin_ms, link=link)
        desk = Desk(tmp_path, config, venue.port, speed=SPEED, wrap=wrap)
        desk.start()
        desk.start_clock()
        wait_until(lambda: is_whole(desk, 20) or desk.has_ended, "ticks and a book")
        yield venue, desk, box
        if not desk.has_ended:
            desk.drain()


def is_whole(desk: Desk, ticks: int) -> bool:
    """Return whether enough ticks exist and the book is valid."""
    valid = all(feed.depth.is_valid for feed in desk.session.feed.symbols.values())
    return valid and len(desk.world.of("market_tick")) > ticks


def message(stream: str, **data: Any) -> bytes:
    return orjson.dumps({"stream": f"{SYMBOL.lower()}@{stream}", "data": data})


def trade(desk: Desk, **changes: Any) -> bytes:
    """Return the next trade, with changes; None removes a field."""
    symbol = desk.session.feed.symbols[SYMBOL]
    at = desk.clock.now_ms() + desk.session.feed.skew_ms
    fields: dict[str, Any] = {
        **{"e": "trade", "E": at, "s": SYMBOL, "t": (symbol.order.last_id or 0) + 1, "T": at},
        **{"p": symbol.ticks.last_price, "q": "1.00000000", "m": True},
    }
    return message("trade", **{k: v for k, v in (fields | changes).items() if v is not None})


def quote(desk: Desk, **changes: Any) -> bytes:
    """Return the next quote, with changes."""
    last = desk.session.feed.symbols[SYMBOL].ticks.quote
    assert last is not None
    fields = {"u": last.update_id + 1, "s": SYMBOL, "b": last.bid, "B": "1", "a": last.ask}
    return message("bookTicker", **(fields | {"A": "1"} | changes))


def diff(desk: Desk, **changes: Any) -> bytes:
    """Return an update that continues the book after any others, with changes."""
    book = desk.session.feed.symbols[SYMBOL].depth.keeper.book
    book_id = 1 if book is None else book.book_id
    fields: dict[str, Any] = {"e": "depthUpdate", "E": 1, "s": SYMBOL, "U": book_id}
    fields["u"] = book_id + 1_000_000
    return message("depth@100ms", **(fields | {"b": [], "a": []} | changes))


def far_bid(desk: Desk) -> list[list[str]]:
    """Return a bid far above every ask."""
    last = desk.session.feed.symbols[SYMBOL].ticks.quote
    assert last is not None
    return [[f"{int(float(last.ask)) * 2}.00000000", "1.00000000"]]


MESSAGES: dict[str, Callable[[Desk], bytes]] = {
    "garbage": lambda desk: b"not json at all",
    "torn JSON": lambda desk: trade(desk)[:-9],
    "an empty frame": lambda desk: b"",
    "an array": lambda desk: b"[1,2,3]",
    "too deep": lambda desk: b"[" * 3000 + b"]" * 3000,
    "broken UTF-8": lambda desk: trade(desk).replace(b"BTCUSDT", b"BTC\xff\xfeUSDT"),
    "60 kB of nonsense": lambda desk: b'{"e":"trade","s":"' + b"x" * 60_000 + b'"}',
    "a trade without its price": lambda desk: trade(desk, p=None),
    "a trade without its id": lambda desk: trade(desk, t=None),
    "a price that is a number": lambda desk: trade(desk, p=61000.5),
    "an id that is a text": lambda desk: trade(desk, t="7"),
    "a flag that is a number": lambda desk: trade(desk, m=1),
    "a negative price": lambda desk: trade(desk, p="-1.00000000"),
    "a price of zero": lambda desk: trade(desk, p="0.00000000"),
    "a negative quantity": lambda desk: trade(desk, q="-1.00000000"),
    "a quantity of zero": lambda desk: trade(desk, q="0.00000000"),
    "a price that is no number": lambda desk: trade(desk, p="NaN"),
    "a trade of a symbol that nobody asked for": lambda desk: trade(desk, s="NOPEUSDT"),
    "a trade of tomorrow": lambda desk: trade(desk, T=desk.clock.now_ms() + 86_400_000),
    "a negative bid": lambda desk: quote(desk, b="-1.00000000"),
    "a bid of zero": lambda desk: quote(desk, b="0.00000000"),
    "a crossed quote": lambda desk: quote(desk, b=far_bid(desk)[0][0]),
    "a quote without its ask": lambda desk: message("bookTicker", u=1, s=SYMBOL, b="1", B="1"),
    "updates in the wrong order": lambda desk: diff(desk, U=9, u=8),
    "a book that crosses": lambda desk: diff(desk, b=far_bid(desk)),
    "a level that is none": lambda desk: diff(desk, b=[["1.00000000"]]),
    "a level that is an object": lambda desk: diff(
        desk, a=[{"99999.00000000": 0, "1.00000000": 0}]
    ),
    "a level that is a text": lambda desk: diff(desk, b=["12"]),
    "a level of a negative quantity": lambda desk: diff(desk, a=[["99999.00000000", "-1"]]),
    "a negative level": lambda desk: diff(desk, a=[["-1.00000000", "1.00000000"]]),
    "mini tickers that are none": lambda desk: (
        b'{"stream":"' + MINI_TICKERS.encode() + b'","data":[{"e":"24hrMiniTicker"}]}'
    ),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, list[bytes]]]:
    """One session for all kinds, as it survives each of them."""
    folder = tmp_path_factory.mktemp("bad-input")
    with running(folder, feed_invalid_max=1_000) as (_, desk, box):
        yield desk, box


@pytest.mark.row("F109")
@pytest.mark.parametrize("kind", MESSAGES)
def test_message_of_each_bad_kind_is_refused_counted_and_told(
    shared: tuple[Desk, list[bytes]], kind: str
) -> None:
    """A bad message costs itself, or its symbol's book; the market goes on without it."""
    desk, box = shared
    counters, told = desk.session.feed.figures, {"frame_invalid", "book_lost"}
    wait_until(lambda: is_whole(desk, 0) or desk.has_ended, "a book")
    before, incidents = counters()["frames_invalid"], count_of(desk, told)

    box.append(MESSAGES[kind](desk))

    wait_for_refused(desk, before + 1)
    wait_until(lambda: count_of(desk, told) > incidents or desk.has_ended, "told")
    wait_for_market(desk)
    assert not desk.has_ended, desk.stopped
    assert counters()["frames_invalid"] == before + 1
    assert_sane(desk)


def wait_for_refused(desk: Desk, count: int) -> None:
    """Wait until the given number of frames was refused."""
    figures = desk.session.feed.figures
    wait_until(lambda: figures()["frames_invalid"] >= count or desk.has_ended, "one is refused")


def wait_for_lost(desk: Desk, count: int) -> None:
    """Wait until the given number of connections was lost."""
    wait_until(lambda: desk.session.link.reconnects >= count or desk.has_ended, "one is lost")


def wait_for_market(desk: Desk) -> None:
    """Wait until the market has gone on for a while, with its book."""
    ticks = len(desk.world.of("market_tick")) + 20
    wait_until(lambda: is_whole(desk, ticks) or desk.has_ended, "the market goes on")


def count_of(desk: Desk, kinds: set[str]) -> int:
    """Return the number of incidents of these kinds, gathered ones included."""
    return sum(notice.count or 1 for notice in desk.world.notices if notice.kind in kinds)


def assert_sane(desk: Desk) -> None:
    """Assert that nothing refused stands in `market_ticks`."""
    ticks = desk.world.of("market_tick")
    assert all(0 < float(tick.bid) < float(tick.ask) for tick in ticks)
    assert all(float(tick.price) > 0 for tick in ticks)
    assert {tick.symbol for tick in ticks} == {SYMBOL}


@pytest.mark.row("F109")
@pytest.mark.parametrize(
    "kind",
    [
        *("garbage", "a negative price", "a crossed quote", "a book that crosses"),
        "mini tickers that are none",
    ],
)
def test_too_many_bad_messages_end_the_run_with_their_reason(tmp_path: Path, kind: str) -> None:
    """Too many bad messages of any stream within the window are FEED_INVALID."""
    with running(tmp_path) as (_, desk, box):
        for number in range(INVALID_MAX + 1):
            wait_until(lambda: is_whole(desk, 0) or desk.has_ended, "a book")
            box.append(MESSAGES[kind](desk))
            wait_for_refused(desk, number + 1)
        desk.join()

    assert desk.stopped is not None
    assert desk.stopped.reason_code == "FEED_INVALID"
    assert_sane(desk)


@pytest.mark.row("F110")
@pytest.mark.parametrize("kind", ["masked", "compressed", "huge", "wrong_opcode"])
def test_frame_against_the_protocol_costs_its_connection_and_too_many_end_the_run(
    tmp_path: Path, kind: str
) -> None:
    """A frame against the protocol costs its connection, and too many end the run."""
    with running(tmp_path, reconnects_max=4) as (venue, desk, _):
        for lost in (1, 2, 3):
            venue.fault("garbage", kind=kind)
            wait_for_lost(desk, lost)
            wait_for_market(desk)
        venue.fault("garbage", kind=kind)
        desk.join()

    assert desk.stopped is not None
    assert desk.stopped.reason_code == "EXCHANGE_ERROR_RATE"
    assert desk.world.kinds().count("connection_lost") >= 3


def test_unknown_fields_and_a_whole_line_of_60_kb_are_taken(tmp_path: Path) -> None:
    """Unknown fields and a valid line of 60 kB are accepted."""
    with running(tmp_path) as (_, desk, box):
        levels = [[f"{price}.00000000", "1.00000000"] for price in range(1, 2_500)]
        long = diff(desk, b=levels, a=[], zz={"new": [1, 2, 3]})
        assert len(long) > 60_000
        ids = {tick.trade_id for tick in desk.world.of("market_tick")}
        box.append(trade(desk, zz="new", yy=None, X=[1]))
        wait_until(lambda: ids < {t.trade_id for t in desk.world.of("market_tick")}, "the trade")
        box.append(long)
        ticks = len(desk.world.of("market_tick"))
        wait_until(lambda: len(desk.world.of("market_tick")) > ticks + 20, "the market goes on")

    assert desk.session.feed.figures()["frames_invalid"] == 0
    assert desk.session.link.reconnects == 0


@pytest.mark.row("F116")
def test_trades_twice_and_out_of_order_are_dropped_counted_and_told(tmp_path: Path) -> None:
    """Repeated and unordered trades appear once and in place; repeats are one incident."""
    with running(tmp_path) as (_, desk, box):
        last = desk.world.of("market_tick")
        ids = [tick.trade_id for tick in last if tick.kind == "trade"]
        box += [trade(desk, t=ids[-1]), trade(desk, t=ids[0]), trade(desk, t=ids[-1])] * 10
        wait_until(lambda: "trades_repeated" in desk.world.kinds(), "told")

    assert desk.session.feed.figures()["duplicate_trades"] >= 30
    assert desk.world.kinds().count("trades_repeated") == 1
    assert desk.exit_code == 0
    ids = [tick.trade_id for tick in desk.world.of("market_tick") if tick.kind == "trade"]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
