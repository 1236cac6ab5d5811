"""Trades: results, reasons of entry and exit, groups and periods."""

from __future__ import annotations

import pytest

from minibot.accounting.performance import Performance
from minibot.backtest.report.exposure import exposure_of
from minibot.backtest.report.groups import grouped
from minibot.backtest.report.trades import trades_of
from minibot.events.model import BUY, SELL, RunOpening
from tests.backtest.results import DAY, HOUR, MINUTE, START, ResultMaker, Trip, made, many, reviewed

WON = Trip(HOUR, 2 * HOUR, "100", "150")
LOST = Trip(3 * HOUR, 4 * HOUR, "150", "130", entry="reversion_oversold", exit="stop_loss")


def test_trade_knows_its_reasons_and_its_exact_result() -> None:
    """A trade has the signal's reason, the exit's reason, and a result net of both fees."""
    won, lost = trades_of(made([WON, LOST]))

    assert (won.number, won.entry_reason, won.exit_reason) == (1, "momentum_up", "take_profit")
    assert (lost.entry_reason, lost.exit_reason) == ("reversion_oversold", "stop_loss")
    # 0.01 at 100 and 150, twice 0.1 of fees: 0.5 - 0.2.
    assert won.to_json()["net"] == "0.30000000"
    assert lost.to_json()["net"] == "-0.40000000"
    assert won.to_json()["return"] == "0.300000"
    assert won.held_ms == HOUR


def test_open_trade_has_no_result_and_counts_nowhere() -> None:
    """An open trade is listed as open, and enters no figure of closed trades."""
    review = reviewed([WON, Trip(5 * HOUR, None, "100", "0")])

    assert review.trades[1].exit_reason == "open"
    assert review.trades[1].to_json()["net"] is None
    assert review.figures["trades"] == 1
    assert [group.name for group in review.by_exit()] == ["take_profit"]


def test_position_carried_in_is_a_trade_from_its_first_mark_to_its_sale() -> None:
    """A carried position counts from its first mark; earlier gains belong to the night before."""
    maker = ResultMaker()
    lot = {"symbol": "BTCUSDT", "qty": "0.01", "price": "100", "cost": "1", "ts": START - HOUR}
    opening = RunOpening(cash={"USDT": "99"}, lots=(lot,), budgets_used={})
    result = maker.result
    result.performance = Performance(opening, "USDT")
    result.from_ts, result.to_ts = START, START + 4 * HOUR
    maker.tick("BTCUSDT", "110", START)
    maker.order(Trip(0, 0, "0", "130"), START + HOUR, SELL)
    maker.tick("BTCUSDT", "150", START + 4 * HOUR)

    (trade,) = trades_of(result)
    assert (trade.entry_reason, trade.exit_reason) == ("carried_in", "take_profit")
    assert trade.to_json()["entry_price"] == "110.00000000"
    # 0.01 from 110 to 130, less 0.1 of fees: all that this night earned.
    figures = result.performance.to_json()
    assert (trade.to_json()["net"], figures["pnl"]) == ("0.10000000", "0.10000000")
    assert result.performance.trips == [trade.net]
    exposure = exposure_of(result)
    assert exposure.time_ratio == 0.25
    assert exposure.ratio_max == pytest.approx(1.1 / 100.1)


def test_trade_of_two_entries_is_one_with_the_first_reason() -> None:
    """A trade of two entries is one trip, with the reason of the first."""
    maker = ResultMaker()
    maker.order(Trip(0, 0, "100", "0", entry="first"), START, BUY)
    maker.order(Trip(0, 0, "110", "0", entry="second"), START + HOUR, BUY)
    maker.order(Trip(0, 0, "0", "120", qty="0.02"), START + 2 * HOUR, SELL)

    (trade,) = trades_of(maker.result)
    assert trade.entry_reason == "first"
    assert trade.to_json()["entry_price"] == "105.00000000"
    assert trade.to_json()["fills"] == 3


def test_trades_and_performance_agree_on_every_result() -> None:
    """The trade table and the exact figures of a night have the same trips."""
    result = many(200, 20)

    nets = sorted(trade.net for trade in trades_of(result) if trade.is_closed)
    assert nets == sorted(result.performance.trips)


def test_losses_in_a_row_are_counted_as_the_trades_close() -> None:
    """Six losses one after another are six, also with a gain that was entered among them."""
    losses = [Trip(at * HOUR, at * HOUR + 1, "100", "90") for at in (1, 2, 3, 5, 6, 7)]
    gain = Trip(4 * HOUR, 8 * HOUR, "100", "150", symbol="ETHUSDT")

    review = reviewed([*losses, gain])

    assert [trade.net > 0 for trade in review.trades].index(True) == 3
    assert review.figures["losses_in_a_row_max"] == 6


def test_trade_that_earns_nothing_ends_losses_in_a_row() -> None:
    """Losses on both sides of an even trade are two rows of their own."""
    sold = ("90", "90", "100", "90")
    trips = [Trip(at * HOUR, at * HOUR + 1, "100", price, fee="0") for at, price in enumerate(sold)]

    figures = reviewed(trips).figures

    assert (figures["losses"], figures["losses_in_a_row_max"]) == (3, 2)


@pytest.mark.parametrize("name", ["by_symbol", "by_entry", "by_exit"])
def test_groups_add_up_to_the_whole(name: str) -> None:
    """Every closed trade is in exactly one group."""
    review = reviewed([WON, LOST, WON._replace(opened=5 * HOUR, closed=6 * HOUR, symbol="ETHUSDT")])
    groups = getattr(review, name)()

    assert sum(len(group.trades) for group in groups) == len(review.closed) == 3
    assert sum(group.net for group in groups) == sum(trade.net for trade in review.closed)
    assert [group.net for group in groups] == sorted((g.net for g in groups), reverse=True)


def test_group_figures_by_hand() -> None:
    """Group figures by hand: two wins of 0.3 and a loss of 0.4."""
    again = WON._replace(opened=5 * HOUR, closed=5 * HOUR + 3 * MINUTE)
    (group,) = grouped(trades_of(made([WON, LOST, again])), lambda trade: "all")
    shown = group.to_json()

    assert (shown["trades"], shown["wins"], shown["losses"]) == (3, 2, 1)
    assert shown["win_rate"] == "0.666667"
    assert shown["net"] == "0.20000000"
    assert shown["net_mean"] == "0.06666666"
    assert (shown["net_max"], shown["net_min"]) == ("0.30000000", "-0.40000000")
    assert shown["profit_factor"] == "1.500000"
    assert shown["fees"] == "0.60000000"
    assert shown["held_ms_mean"] == (HOUR + HOUR + 3 * MINUTE) // 3


@pytest.mark.parametrize("kind", ["day", "week", "month"])
def test_breakdown_holds_every_trade_once_and_adds_up_to_the_result(kind: str) -> None:
    """Results of days, weeks or months add up to the whole; a trade counts where it closed."""
    review = reviewed([WON, LOST._replace(closed=DAY), Trip(DAY, 40 * DAY, "100", "90")], days=45)
    found = review.breakdown(kind)

    performance = review.result.performance
    assert sum(len(each.group.trades) for each in found) == 3
    assert sum(each.period.pnl for each in found) == performance.equity - performance.equity_start
    # A trade that closes as the day ends belongs to that day.
    if kind == "day":
        assert [len(each.group.trades) for each in found[:2]] == [2, 0]
