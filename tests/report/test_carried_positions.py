"""Carried positions in reports: all that is told of a run counts from their first mark in it."""

from __future__ import annotations

import copy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from minibot.engine.recorded_run import Recorded
from minibot.events.money import UNIT, amount_text
from minibot.events.unit_sizes import HOUR_MS, MINUTE_MS
from minibot.ops.web.run_history import RunHistory
from minibot.read import Rows
from minibot.replay.explain.causes import Explainer
from minibot.report.closed_trades import closed_trades, read_trades
from minibot.report.headline import headline
from minibot.report.night_hours import hour_rows
from minibot.report.price_chart import Marked, price_chart
from minibot.report.recount import Recount
from tests.report.made_run import made_run, read_fixture

LOT = {"symbol": "BTCUSDT", "qty": "1", "price": "60000", "ts": 1, "fill_id": "before"}
SALE = {"side": "SELL", "qty": "1", "price": "61100", "bid": "61100", "ask": "61110"}


@pytest.fixture
def carried(tmp_path: Path) -> Path:
    """Return a run that was handed a coin bought at 60,000; its first mid, after an hour, 61,000.

    Another symbol ticks from the beginning, and the coin is sold at 61,100 at the end.
    """
    data: dict[str, Any] = copy.deepcopy(read_fixture())
    minutes = [0, 30, 70, 90]
    answer = next(each for each in data["events"] if each["type"] == "fill")
    sale = {**answer, "minute": 90, "payload": answer["payload"] | SALE | {"symbol": "BTCUSDT"}}
    data |= {
        "lots": [LOT],
        "cash": "10000",
        "minutes": minutes,
        "prices": {"ETHUSDT": ["2500"] * 4, "BTCUSDT": [None, None, "61000", "61000"]},
        "events": [sale],
    }
    return made_run(tmp_path / "var", data)


def test_nothing_moves_before_the_first_mark(carried: Path) -> None:
    """Hours, curve and table of equity begin at the equity by which the result is told."""
    count = Recount(Recorded.open(carried))
    start = count.performance.equity_start
    rows = hour_rows(count, ())

    assert start == 71_000 * UNIT
    assert [row.equity - start for row in rows] == [0, count.performance.equity - start]
    assert rows[0].from_ts % HOUR_MS == 0
    assert [count.curve.points[0].low, count.curve.points[0].last] == [start, start]
    assert Rows(Recorded.open(carried)).equity[0]["equity"] == Decimal(71_000)


def test_trade_is_the_same_without_the_market_of_the_run(carried: Path) -> None:
    """A trade of the queues alone counts from the first mark, as that of a report does."""
    recorded = Recorded.open(carried)
    count = Recount(recorded)

    read = read_trades(recorded)

    assert read == closed_trades(count.trades, count.reasons)
    assert 0 < Decimal(read[0].net) < 100


def test_page_of_a_run_has_the_trades_of_its_report(carried: Path) -> None:
    """Live and from the record, a carried trade of the page counts from the first mark."""
    count = Recount(Recorded.open(carried))
    live, kept = RunHistory(carried), RunHistory(carried)
    kept.take_record(count)
    trips = [live.look(), kept.look()]
    live.close()
    kept.close()

    assert trips == [count.trades.trips] * 2


def test_explanation_of_a_carried_trade_has_the_result_of_its_report(carried: Path) -> None:
    """A carried trade is explained by the result that report and `profit` give it."""
    recorded = Recorded.open(carried)
    (trip,) = Recount(recorded).trades.trips

    (story,) = Explainer(recorded).trade("1").trades

    assert story.is_carried
    assert (story.fees, story.net) == (amount_text(trip.fees), amount_text(trip.net))


def test_carried_trade_was_opened_when_its_lot_was_bought(carried: Path) -> None:
    """No purchase is told or drawn at the sale that ends what a run before bought."""
    recorded = Recorded.open(carried)
    count = Recount(recorded)
    (trip,) = count.trades.trips
    (story,) = Explainer(recorded).trade("1").trades
    marked = Marked(1, trip, "", "sold")
    span = trip.closed_ts - HOUR_MS, trip.closed_ts + HOUR_MS
    drawn = price_chart("BTCUSDT", count.prices["BTCUSDT"], [marked], *span)

    assert (trip.opened_ts, story.opened_ts) == (LOT["ts"], LOT["ts"])
    assert "0.0 s later" not in headline(story)
    assert 'class="won"' in drawn
    assert 'class="entry"' not in drawn
    assert "1970-01-01" in drawn


@pytest.mark.parametrize(("qty", "is_dust"), [("0.09", True), ("0.1", False)])
def test_purchase_beside_carried_dust_opens_its_own_trade(
    qty: str, is_dust: bool, tmp_path: Path
) -> None:
    """Less than a step of the coin, left by fees in coins, was no position to be bought into."""
    data = copy.deepcopy(read_fixture())
    answer = next(each for each in data["events"] if each["type"] == "fill")
    paid = {"symbol": "BTCUSDT", "qty": "1.0", "fee": "0.01", "fee_asset": "BTC"}
    purchase = {**answer, "minute": 2, "payload": answer["payload"] | paid | {"side": "BUY"}}
    data |= {"lots": [LOT | {"qty": qty}], "cash": "90000", "events": [purchase]}
    recorded = Recorded.open(made_run(tmp_path / "var", data))
    opened_ts = data["from_ts"] + 2 * MINUTE_MS if is_dust else LOT["ts"]

    (trip,) = Recount(recorded).trades.trips
    (story,) = Explainer(recorded).trade("1").trades

    assert (trip.opened_ts, story.opened_ts) == (opened_ts, opened_ts)


@pytest.mark.parametrize(("left", "is_closed"), [("0.09", True), ("0.1", False)])
def test_sale_of_a_carried_position_that_leaves_dust_ends_its_trade(
    left: str, is_closed: bool, tmp_path: Path
) -> None:
    """A carried purchase may have paid its fee in coins, so that less than a step stays."""
    data = copy.deepcopy(read_fixture())
    answer = next(each for each in data["events"] if each["type"] == "fill")
    sold = SALE | {"symbol": "BTCUSDT", "qty": "1.0"}
    sale = {**answer, "minute": 2, "payload": answer["payload"] | sold}
    data |= {"lots": [LOT | {"qty": str(1 + Decimal(left))}], "events": [sale]}
    recorded = Recorded.open(made_run(tmp_path / "var", data))
    count = Recount(recorded)

    (trip,) = count.trades.trips
    (story,) = Explainer(recorded).trade("1").trades

    assert trip.is_closed is (story.closed_ts is not None) is is_closed
    assert len(count.performance.trips) == is_closed


def test_explanation_pays_for_dust_once_as_the_report_does(tmp_path: Path) -> None:
    """Dust of a trade is paid for by it, though the next one sells it as the oldest lot."""
    data = copy.deepcopy(read_fixture())
    answer = next(each for each in data["events"] if each["type"] == "fill")
    paid = {"symbol": "BTCUSDT", "side": "BUY", "qty": "1.0", "fee": "0.01", "fee_asset": "BTC"}
    sold = SALE | {"symbol": "BTCUSDT", "qty": "0.9"}
    made = [paid | {"price": "60000"}, sold, paid | {"price": "50000"}, sold | {"qty": "1.0"}]
    data |= {
        "cash": "90000",
        "lots": [],
        "events": [
            {**answer, "minute": minute, "payload": answer["payload"] | fields}
            for minute, fields in enumerate(made, 2)
        ],
    }
    recorded = Recorded.open(made_run(tmp_path / "var", data))
    trips = Recount(recorded).trades.trips
    explainer = Explainer(recorded)

    stories = [explainer.trade(name).trades[0] for name in ("1", "2")]

    assert [story.net for story in stories] == [amount_text(trip.net) for trip in trips]
    lots = [note for step in explainer.lot("1").steps for note in step.notes if "lot" in note]
    assert lots[-1].startswith("opened lot 1: 0.99 BTCUSDT")
