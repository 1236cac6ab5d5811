"""Trades far off the quote beside them: counted, and reported when they continue."""

from __future__ import annotations

import orjson
import pytest

from minibot.exchanges.base import Quote, Trade
from minibot.exchanges.binance.venue import BINANCE
from minibot.market.drift import IN_ROW, PrintDrift
from minibot.market.feed import Feed
from minibot.market.notices import PRINTS_OFF_TOUCH
from minibot.market.symbol import FeedConfig

T0 = 1_700_000_000_000
UNIT = 10**8
QUOTE = Quote("BTCUSDT", 1, "", 1000 * UNIT, "1", "", 1001 * UNIT, "1", None)


def trade(units: int) -> Trade:
    return Trade("BTCUSDT", 1, "", units, "1", UNIT, T0, "BUY")


@pytest.mark.parametrize(
    ("units", "is_off"),
    [
        (1000 * UNIT, False),
        (1001 * UNIT, False),
        # Fifty basis points of the price, and one hundred-millionth more.
        (99_502_487_563, False),
        (99_502_487_562, True),
        (100_603_015_075, False),
        (100_603_015_076, True),
    ],
)
def test_print_is_off_beyond_fifty_basis_points(units: int, is_off: bool) -> None:
    """A trade is off beyond fifty basis points of the touch, on either side."""
    drift = PrintDrift()
    drift.is_due(trade(units), QUOTE)

    assert drift.off == is_off


def test_prints_off_in_a_row_are_told_once_until_one_is_good_again() -> None:
    """The fifth trade off in a row is reported once, and the fifth after a good one again."""
    drift, far, good = PrintDrift(), trade(900 * UNIT), trade(1000 * UNIT)
    prints = [*[far] * (IN_ROW + 2), good, *[far] * (IN_ROW - 1), good, *[far] * IN_ROW]

    numbers = [number for number, each in enumerate(prints) if drift.is_due(each, QUOTE)]

    assert numbers == [IN_ROW - 1, len(prints) - 1]
    assert drift.off == 3 * IN_ROW + 1


@pytest.mark.row("C-89")
def test_quotes_that_stay_behind_the_trades_are_an_incident_and_a_figure() -> None:
    """Quotes that lag behind the trades are an incident and a figure."""
    feed = Feed(FeedConfig(("BTCUSDT",), ("1s",), T0), T0, BINANCE.dialect)
    feed.on_connected(T0)
    quote = {"u": 1, "s": "BTCUSDT", "b": "100.0", "B": "1.0", "a": "100.1", "A": "1.0"}
    feed.on_frame(orjson.dumps(quote), T0, 1)
    for number in range(1, 8):
        data = {"e": "trade", "s": "BTCUSDT", "t": number, "p": "101.0", "q": "1.0", "T": T0}
        feed.on_frame(orjson.dumps({**data, "m": True}), T0 + number, 2)

    kinds = [notice.kind for notice in feed.board.take(T0)]
    assert kinds == [PRINTS_OFF_TOUCH]
    assert feed.figures()["trades_off_touch"] == 7
