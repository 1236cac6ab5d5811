"""Average price of the last minutes: exact, from complete bars."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.events.model import AveragePrice, Bar
from minibot.exchanges.base import Candle, Trade
from minibot.exchanges.binance.venue import BINANCE
from minibot.market.average import MINUTES, AverageWindow, minutes_of
from minibot.market.feed import Feed
from minibot.market.symbol import FeedConfig
from tests.risk.desk import instrument

pytestmark = pytest.mark.row("B-53")

MINUTE = 60_000
START = 1_700_000_040_000  # Start of a whole minute.


def bar(number: int, volume: str, quote_volume: str | None, **changes: Any) -> Bar:
    values: dict[str, Any] = {
        **{"symbol": "BTCUSDT", "interval": "1m", "open_ts": START + number * MINUTE},
        **{"close_ts": START + (number + 1) * MINUTE - 1, "open": "9", "high": "9", "low": "9"},
        **{"close": "9", "volume": volume, "is_history": False, "quote_volume": quote_volume},
    }
    return Bar(**(values | changes))


def window(*intervals: str, minutes: int = MINUTES) -> AverageWindow:
    made = AverageWindow("BTCUSDT", intervals or ("1s", "1m"))
    made.use(minutes)
    return made


def test_average_is_what_was_paid_over_what_was_traded_rounded_down() -> None:
    """Five minutes average 10 at 1, 20 at 2 and three quiet ones; then the first is dropped."""
    made = window()
    made.take([bar(0, "10", "10"), bar(1, "20", "40"), *(bar(n, "0", "0") for n in (2, 3, 4))])

    assert made.due() == AveragePrice("BTCUSDT", "1.66666666", 5, START + 5 * MINUTE)
    assert made.due() is None

    made.take([bar(5, "0", "0")])
    assert made.due() == AveragePrice("BTCUSDT", "2.00000000", 5, START + 6 * MINUTE)


def test_average_without_any_trade_is_the_last_price() -> None:
    """Without any trade the average is the last price, in the venue's characters."""
    made = window()
    made.take([bar(n, "0", "0", close="61000.10") for n in range(5)])

    average = made.due()
    assert average is not None
    assert average.price == "61000.10"


@given(
    parts=st.lists(
        st.tuples(st.integers(0, 10**15), st.integers(1, 10**13)), min_size=5, max_size=5
    )
)
def test_average_is_exact_whatever_the_sizes(parts: list[tuple[int, int]]) -> None:
    """The average equals plain decimals of any size, never rounded up."""
    texts = [
        (f"{Decimal(qty) / 10**8:.8f}", f"{Decimal(qty * price) / 10**16:.16f}")
        for qty, price in parts
    ]
    made = window()
    made.take([bar(n, *text) for n, text in enumerate(texts)])
    average = made.due()

    volume = sum(qty for qty, _ in parts)
    exact = sum(qty * price for qty, price in parts) // volume if volume else 9 * 10**8
    assert average is not None
    assert Decimal(average.price) == (Decimal(exact) / 10**8).quantize(Decimal("1e-8"), ROUND_DOWN)


def test_no_average_while_a_minute_is_missing() -> None:
    """A missing minute gives no average until five whole ones follow."""
    made = window()
    made.take([bar(n, "1", "1") for n in (0, 1, 2, 4, 5, 6, 7)])
    assert made.due() is None

    made.take([bar(8, "1", "3")])
    average = made.due()
    assert average is not None
    assert (average.price, average.to_ts) == ("1.40000000", START + 9 * MINUTE)

    made.take([bar(9, "1", None)])
    assert made.due() is None


@pytest.mark.parametrize(
    ("intervals", "minutes", "taken"),
    [
        (("1s", "1m"), 5, "1m"),
        (("1s",), 5, "1s"),
        (("5m", "1h"), 5, "5m"),
        (("3m", "1h"), 5, ""),
        (("1s", "1m"), 0, ""),
    ],
)
def test_average_takes_the_longest_bars_that_make_whole_minutes(
    intervals: tuple[str, ...], minutes: int, taken: str
) -> None:
    """The average uses the longest bars that divide a minute, and none where none fit."""
    assert window(*intervals, minutes=minutes).interval == taken


@pytest.mark.parametrize(
    ("changes", "minutes"),
    [
        ({}, 0),
        ({"bid_percent_up": "5", "ask_percent_down": "0.2", "percent_minutes": 3}, 3),
        ({"bid_percent_up": "5", "percent_minutes": 0}, 0),
        ({"bid_percent_up": "5"}, MINUTES),
        ({"bid_percent_up": "0", "ask_percent_up": "0.000", "percent_minutes": 3}, 0),
    ],
)
def test_only_rules_with_a_band_want_an_average(changes: dict[str, Any], minutes: int) -> None:
    """Only rules with a price band need an average; older rules mean the venue's five minutes."""
    assert minutes_of(instrument(**changes)) == minutes


def test_feed_tells_the_average_of_history_and_of_live_trades_about_once_a_minute() -> None:
    """Four klines and one minute of trades give an average, then one event a minute."""
    now = START
    feed = Feed(FeedConfig(("BTCUSDT",), ("1s", "1m"), now), now, BINANCE.dialect)
    feed.on_instruments([instrument(bid_percent_up="5", percent_minutes=5)], now)
    candles = [
        Candle(now - n * MINUTE, now - (n - 1) * MINUTE - 1, *("9",) * 4, "1", "9", 1, "0")
        for n in (4, 3, 2, 1)
    ]
    feed.on_history("BTCUSDT", "1m", candles, now)
    feed.on_connected(now)
    for second in range(200):
        at = now + second * 1000
        trade = Trade("BTCUSDT", second, "19", 19 * 10**8, "1", 10**8, at, "BUY")
        feed.symbols["BTCUSDT"].on_trade(trade, 1, at, at)
        feed.advance(at)

    told = [(one, ts) for one, ts in feed.take() if isinstance(one, AveragePrice)]
    # Sixty coins at 19 and four at 9; then two more minutes of sixty at 19 each.
    prices = [Decimal(4 * 9 + 60 * 19) / 64, Decimal(3 * 9 + 120 * 19) / 123]
    prices.append(Decimal(2 * 9 + 180 * 19) / 182)
    assert [Decimal(one.price) for one, _ in told] == [
        price.quantize(Decimal("1e-8"), ROUND_DOWN) for price in prices
    ]
    assert [one.to_ts - now for one, _ in told] == [MINUTE, 2 * MINUTE, 3 * MINUTE]
    assert all(one.to_ts <= ts <= one.to_ts + 2_000 for one, ts in told)
