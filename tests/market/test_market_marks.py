"""Marks from mini tickers: given while a symbol's own streams are silent."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from minibot.events.model import MarketTick, PriceMark
from minibot.exchanges.binance.mini_tickers import parse_mini_tickers
from minibot.exchanges.binance.venue import BINANCE
from minibot.market.feed import Feed
from minibot.market.marks import Marks
from minibot.market.symbol import FeedConfig
from tests.instruments import instrument
from tests.market.market_desk import Desk
from tests.market.test_market_reference_refresh import MARKET, running, universe
from tests.waiting import wait_until

pytestmark = pytest.mark.row("B-62")

START = 1_700_000_000_000
SYMBOL = "BTCUSDT"


class World:
    """Feed of one symbol and its mini tickers; times are ms since the start."""

    def __init__(self, skew_ms: int = 0) -> None:
        self.feed = Feed(FeedConfig((SYMBOL,), ("1s", "1m"), START), START, BINANCE.dialect)
        self.feed.skew_ms = skew_ms
        self.marks = Marks()
        self._trade_id = 0

    def trade(self, at_ms: int, price: str) -> None:
        self._trade_id += 1
        at = START + at_ms + self.feed.skew_ms
        self._frame(
            at_ms,
            {
                **{"e": "trade", "E": at, "s": SYMBOL, "t": self._trade_id, "p": price},
                **{"q": "1", "T": at, "m": False},
            },
        )

    def quote(self, at_ms: int, bid: str, ask: str) -> None:
        self._trade_id += 1
        row = {"u": self._trade_id, "s": SYMBOL, "b": bid, "B": "1", "a": ask, "A": "1"}
        self._frame(at_ms, row)

    def _frame(self, at_ms: int, row: dict[str, object]) -> None:
        self.feed.on_frame(orjson.dumps(row), START + at_ms, 1)

    def ticker(self, at_ms: int, price: str, symbol: str = SYMBOL, late_ms: int = 0) -> list[str]:
        """Send a ticker, received `late_ms` later; return the prices that it marked."""
        self.feed.take()
        self.hear(at_ms, price, symbol, late_ms)
        marked = [one for one, _ in self.feed.take() if isinstance(one, PriceMark)]
        assert all(one.symbol == symbol and one.stream == "miniTicker" for one in marked)
        return [one.price for one in marked]

    def hear(self, at_ms: int, price: str, symbol: str = SYMBOL, late_ms: int = 0) -> None:
        row = {"e": "24hrMiniTicker", "E": START + at_ms + self.feed.skew_ms, "s": symbol}
        frame = orjson.dumps([{**row, "c": price}])
        self.marks.take(parse_mini_tickers(frame), self.feed, START + at_ms + late_ms)


def world(skew_ms: int = 0) -> World:
    """Symbol that traded at 100, was quoted around it, and had tickers at 100."""
    made = World(skew_ms)
    made.trade(0, "100")
    made.quote(0, "99.9", "100.1")
    assert made.ticker(500, "100") == []
    return made


@pytest.mark.parametrize("skew_ms", [0, 1_270, -1_270])
def test_price_that_moves_while_own_streams_are_silent_marks_once(skew_ms: int) -> None:
    """A new price after a second of silence is marked once."""
    made = world(skew_ms)

    assert made.ticker(1_500, "101") == ["101"]
    assert made.ticker(2_500, "101") == []
    assert made.ticker(3_500, "102") == ["102"]
    assert made.marks.written == 2


def test_own_trade_or_quote_ends_the_mark_and_outranks_the_ticker() -> None:
    """An own trade or quote outranks a ticker and ends the mark."""
    made = world()
    assert made.ticker(1_500, "101") == ["101"]

    made.quote(2_000, "101", "101.2")
    assert made.ticker(2_500, "101.1") == []
    made.trade(2_900, "101.1")
    assert made.ticker(3_500, "101.1") == []
    assert made.ticker(9_500, "101.1") == []


def test_quiet_market_is_not_marked_by_its_old_last_trade() -> None:
    """A quiet market is not marked by a ticker that repeats its last trade."""
    made = world()
    made.quote(1_000, "104", "105")

    assert made.ticker(30_000, "100") == []


def test_first_ticker_of_a_followed_symbol_may_be_old() -> None:
    """A first ticker marks nothing, as its price may be old; the next change does."""
    made = World()
    made.trade(0, "100")
    made.quote(0, "99.9", "100.1")

    assert made.ticker(60_000, "97") == []
    assert made.ticker(61_000, "98") == ["98"]


def test_ticker_that_comes_late_tells_of_its_own_time() -> None:
    """A ticker that arrives late, but was made before the last trade, marks nothing."""
    made = world()
    made.trade(3_000, "103")

    assert made.ticker(2_500, "102", late_ms=4_500) == []


def test_older_ticker_of_a_connection_that_is_replaced_takes_no_mark_back() -> None:
    """An older ticker from a replaced connection changes no mark."""
    made = world()
    made.ticker(2_500, "101")
    made.ticker(3_500, "102")

    assert made.ticker(2_500, "101", late_ms=1_500) == []
    assert made.ticker(9_000_000, "103", late_ms=-8_995_500) == ["103"]
    assert made.ticker(4_600, "104") == ["104"]


def test_quote_held_under_overload_stands_before_the_mark_that_is_newer() -> None:
    """A quote held back under overload is written before a newer mark."""
    made = world()
    made.feed.take()
    made.feed.is_coalescing = True
    made.quote(600, "99.8", "100.2")
    made.hear(2_500, "101")

    kinds = [type(payload) for payload, _ in made.feed.take()]
    assert kinds[-1] is PriceMark
    assert len(kinds) == 2


def test_symbol_without_any_own_data_is_marked_by_any_price() -> None:
    """A held symbol without any own data is marked by any price."""
    made = World()

    assert made.ticker(500, "100") == ["100"]
    assert made.ticker(1_500, "100") == []
    assert made.ticker(2_500, "101") == ["101"]


@pytest.mark.parametrize("price", ["0", "0.00000000", "79", "121"])
def test_price_that_no_own_stream_might_bring_marks_nothing(price: str) -> None:
    """Zero, and a price outside the plausible band, mark nothing."""
    made = world()

    assert made.ticker(5_500, price) == []


@pytest.mark.parametrize(
    ("statuses", "marked"),
    [(["TRADING"], []), (["TRADING", "BREAK"], ["75"]), (["BREAK", "TRADING"], ["75"])],
)
def test_symbol_that_comes_back_from_a_halt_is_marked_by_any_price(
    statuses: list[str], marked: list[str]
) -> None:
    """A price far off marks a symbol whose streams are silent only after a halt."""
    made = world()
    for status in statuses:
        made.feed.on_instruments([instrument(status=status)], START + 600)

    assert made.ticker(5_500, "75") == marked


def test_symbol_that_is_not_followed_is_not_marked() -> None:
    """A symbol that is not followed is not marked."""
    assert world().ticker(5_000, "3000", "ETHUSDT") == []


@pytest.mark.process
def test_mini_tickers_of_the_simulator_mark_a_symbol_whose_streams_fall_silent(
    tmp_path: Path,
) -> None:
    """Mini tickers of the simulator mark a symbol whose own streams fall silent."""
    config = universe(mode="static", symbols=("BTCUSDT", "ETHUSDT"))
    with running(tmp_path, config, source=MARKET) as (venue, desk):
        monitor, clock = desk.session.upkeep.monitor, desk.session.clock
        wait_until(lambda: monitor.heard(["ETHUSDT"], clock.now_ms()), "a ticker")
        for stream in ("trade", "bookTicker", "depth"):
            venue.fault("stream_silent", stream=stream, symbol="ETHUSDT", ms=60_000)
        wait_until(lambda: len(_marked_beside_own_data(desk)) > 3, "marks")

    assert set(_marked_beside_own_data(desk)) == {"ETHUSDT"}
    assert desk.session.upkeep.marks.written == len(desk.world.of("price_mark"))


def _marked_beside_own_data(desk: Desk) -> list[str]:
    """Return the symbol of each mark, except those before the symbol's own first tick."""
    seen: set[str] = set()
    marked: list[str] = []
    for payload, _ in list(desk.world.lines):
        if isinstance(payload, MarketTick):
            seen.add(payload.symbol)
        elif isinstance(payload, PriceMark) and payload.symbol in seen:
            marked.append(payload.symbol)
    return marked


@pytest.mark.parametrize("is_lost", [False, True])
def test_price_of_the_last_own_trade_is_no_news_until_another_was_marked(*, is_lost: bool) -> None:
    """The last own trade's price is no news, unless another price was marked since."""
    made = World()
    made.quote(0, "99.9", "100.1")
    made.trade(0, "100")
    made.quote(0, "99.9", "100.1")
    assert made.ticker(200, "99") == []
    if is_lost:
        made.feed.on_disconnected(START + 300, "connection lost")

    assert made.ticker(1_700, "100") == []
    assert made.ticker(2_700, "102") == ["102"]
    assert made.ticker(3_700, "100") == ["100"]
    assert made.ticker(4_700, "100") == []


def test_price_that_was_marked_before_an_own_trade_is_marked_again_after_it() -> None:
    """A price marked before an own trade is marked again after it."""
    made = world()
    assert made.ticker(1_500, "101") == ["101"]
    made.trade(2_000, "100")

    assert made.ticker(3_100, "100") == []
    assert made.ticker(4_500, "101") == ["101"]
