"""Depth of the book in a whole backtest: of a market with books, and of bars, which have none."""

from __future__ import annotations

from collections import Counter

import pytest

from minibot.backtest.driver import run_backtest
from minibot.backtest.sources.bars import BarSource
from minibot.backtest.sources.source_spec import open_market
from minibot.engine.run_result import BacktestResult
from minibot.events.model import Book, RiskAction
from minibot.runtime.configuration.config import load_config
from tests.backtest.markets import PROFILE, bar_profile, series, walk

pytestmark = pytest.mark.campaign

EASY = (
    *("strategy.momentum_bps_min=0.5", "strategy.cost_gate=false"),
    *("risk.orders_per_minute_soft=50", "risk.orders_per_minute_hard=60"),
)


def reasons(result: BacktestResult) -> Counter[str]:
    """Return how often each reason stands in the actions of risk."""
    payloads = [event.payload for event in result.of("risk_actions")]
    return Counter(each.reason_code for each in payloads if isinstance(each, RiskAction))


def judged(*sets: str) -> tuple[Counter[str], tuple[str, ...], list[Book]]:
    """Return the reasons of a synthetic market's actions, its intents' ids, and its books."""
    config = load_config(PROFILE, [*EASY, "duration_ms=300000", *sets])
    books = [root.payload for root in open_market(["generator:1"], config).roots()]
    result = run_backtest(open_market(["generator:1"], config), config)
    return (
        reasons(result),
        tuple(event.id for event in result.of("order_intents")),
        [book for book in books if isinstance(book, Book)],
    )


@pytest.mark.row("C-86", "B-42", "C-19")
def test_market_with_books_is_entered_where_it_is_deep_and_blocked_where_it_is_thin() -> None:
    """Depth that is there changes no order; depth that is not there blocks every entry."""
    plain, orders, _ = judged()
    deep, same, books = judged("market.book_depth=true", "risk.depth_min=1000")
    thin, none, _ = judged("market.book_depth=true", "risk.depth_min=100000000")

    assert (deep, same) == (plain, orders)
    assert deep["allowed"]
    assert set(thin) == {"thin_book"}
    assert none == ()
    assert {book.venue for book in books} == {"binance"}
    assert all(book.bid_depth and book.ask_depth for book in books)


def test_bars_have_no_book_so_that_nothing_enters() -> None:
    """A gate without its data blocks: a backtest of bars says so instead of passing it over."""
    config = bar_profile(*EASY, "market.book_depth=true", "risk.depth_min=1")
    result = run_backtest(BarSource(series(walk(600)), config), config)

    assert set(reasons(result)) == {"no_book"}
    assert not result.of("fills")
