"""HTML report: the whole night, nothing from outside, nothing that runs."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from html import escape
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibot.events.money import UNIT, parse_amount
from minibot.events.reasons import REASONS
from minibot.report.figures import change
from minibot.report.html import INCIDENTS_SHOWN, page
from minibot.report.night import Night
from minibot.report.price_chart import Marked
from minibot.report.trade_reasons import TradeReasons
from minibot.report.trade_sections import trips_table
from minibot.report.trades import RoundTrip, TradeLog
from tests.accounting.fills import fill
from tests.report.markup import Balance
from tests.report.nights import opened, with_incident, with_stop
from tests.report.test_report_performance import event
from tests.runs import ShortRun, verb


@pytest.fixture
def night(short_run: ShortRun) -> Night:
    """The short run, opened anew for each test, which may change it."""
    return opened(short_run)


def test_page_is_whole_and_needs_nothing_beside_itself(night: Night) -> None:
    """The page has no script and no external address, and every tag is closed."""
    text = page(night)
    parsed = Balance(text)

    assert parsed.stack == []
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    names = {name for name, _ in parsed.attributes}
    assert not {"src", "href", "srcset", "onclick", "onload", "style"} & names
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_page_counts_a_stop_apart_from_incidents_as_the_report_does(night: Night) -> None:
    """A STOP is no incident: the report says `incidents none` beside it."""
    night.count.incidents.clear()

    assert "no incident, 1 STOP, proof" in page(with_stop(night, "RISK_LIMIT"))


def test_page_shows_result_curve_trades_roles_incidents_and_root(night: Night) -> None:
    """The page has result, curve, trades, roles, incidents and root."""
    with_incident(night, "connection_lost", "closed by the server: 1008")
    text = page(night)
    figures = night.count.performance.to_json()

    assert "<svg" in text
    assert str(night.seal["root"]) in text
    assert night.manifest.config_sha256 in text
    assert "simulated, not a real night" in text
    assert "connection_lost" in text
    equity = text.split("<h2>Equity</h2>")[1].split("</section>")[0]
    assert equity.count("<circle") == figures["round_trips"]
    trips = text.split("<h2>Round trips</h2>")[1].split("</section>")[0]
    assert trips.count("<tr>") == len(night.count.trades.trips) + 1
    for role in night.manifest.processes:
        assert role in text


def test_page_says_how_many_incidents_it_leaves_out(night: Night) -> None:
    """The last ones are shown, and each stays countable."""
    before = len(night.incidents)
    for number in range(INCIDENTS_SHOWN + 7 - before):
        with_incident(night, "connection_lost", f"number {number}")

    shown = page(night).split("<h2>Incidents</h2>")[1].split("</section>")[0]

    assert shown.count("connection_lost") == INCIDENTS_SHOWN
    assert "The first 7 are left out here." in shown


def test_price_chart_marks_entries_and_exits_with_their_reasons(night: Night) -> None:
    """A triangle for each end of a round trip; a tip and the table say why."""
    text = page(night)
    trips = night.count.trades.trips
    closed = [trip for trip in trips if trip.is_closed]
    chart = text.split("<h2>Price with entries and exits</h2>")[1].split("</section>")[0]
    wide = chart.split("</svg>")[0]

    assert len(closed) >= 2
    assert _triangles(wide, "entry") == len(trips)
    assert _triangles(wide, "won") + _triangles(wide, "lost") == len(closed)
    assert wide.count('class="tip"') == len(closed)
    for number, trip in enumerate(trips, start=1):
        entered, left = (
            night.count.reasons.entered_because(trip),
            night.count.reasons.left_because(trip),
        )
        assert entered in REASONS
        if trip.is_closed:
            assert f"{number}: {entered} " in wide
            assert escape(left) in wide
    assert "Exits: " in chart


def test_trip_that_is_open_was_left_for_no_reason(night: Night) -> None:
    """The sale of a part has its exit, and does not end the trip that the table calls open."""
    reasons = night.count.reasons
    closed = next(trip for trip in night.count.trades.trips if trip.is_closed)
    sold_in_part = replace(closed, closed_ts=0)

    assert reasons.exit_of(sold_in_part) == reasons.exit_of(closed)
    assert (bool(reasons.left_because(closed)), reasons.left_because(sold_in_part)) == (True, "")


def test_market_and_buy_and_hold_stand_beside_the_result(night: Night) -> None:
    """The first tiles say whether it was the bot or the market."""
    ((symbol, (first, last)),) = night.count.closes().items()
    text = page(night)
    tiles = re.findall(r'<div class="tile"><b class="\w*">(.*?)</b><span>(.*?)</span>', text)

    assert symbol in text
    names = [name for _, name in tiles]
    assert names[:4] == ["result, USDT", "return", "market change", "buy and hold, USDT"]
    assert tiles[2][0] == change(str(Decimal(last) / first - 1))
    assert "pays the taker fee of 10 bps once" in text


def test_page_of_a_night_without_a_market_says_so(night: Night) -> None:
    """A run that ended before its first tick has a page all the same."""
    night.count.prices.clear()
    night.count.curve.points.clear()

    assert "No market data came." in page(night)


def _triangles(chart: str, kind: str) -> int:
    return sum(path.count("M") for path in re.findall(rf'class="{kind}" d="([^"]*)"', chart))


def test_page_of_a_stopped_night_says_so_first(night: Night) -> None:
    """A stopped night has its code in the head of the page."""
    text = page(with_stop(night, "RISK_LIMIT"))

    assert "STOP RISK_LIMIT" in text.split("<section>")[0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(detail=st.text(max_size=200))
def test_page_shows_whatever_an_exchange_said_as_text(detail: str, night: Night) -> None:
    """Foreign words can open no tag."""
    night.count.incidents.clear()
    tags = Balance(page(with_incident(night, "frame_invalid", "x"))).tags
    night.count.incidents.clear()

    parsed = Balance(page(with_incident(night, "frame_invalid", f"<script>{detail}</b>")))

    assert parsed.tags == tags
    assert any("<script>" in text for text in parsed.text)


def test_report_verb_writes_the_page_beside_the_seal_and_verify_stays_clean(
    short_run: ShortRun,
) -> None:
    """The report lies beside the seal, and verify stays clean."""
    done = verb(short_run.var, "report", "--html", "--json")

    path = short_run.run_dir / "report" / "report.html"
    assert done.document["html"] == str(path)
    assert re.match(r"<!DOCTYPE html>", path.read_text(encoding="utf-8"))
    assert verb(short_run.var, "verify").code == 0


@pytest.mark.parametrize("flag", ["--full", "--html", "--json"])
def test_report_verb_names_each_page_that_it_wrote(
    flag: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """A page that no line names may be looked for in the run's folder."""
    done = verb(short_run.var, "report", "--html", "--out", str(tmp_path / "mine.html"), flag)

    assert "mine.html" in done.out
    assert "report.html" in done.out


def test_trips_of_a_cheap_coin_have_their_prices_in_full() -> None:
    """Two decimals would tell purchase and sale at one price."""
    trip = RoundTrip("DOGEUSDT", 1, 2, bought_qty=UNIT, sold_qty=UNIT)
    trip.paid, trip.received = parse_amount("0.0871"), parse_amount("0.0934")

    table = trips_table([Marked(1, trip, "", "sold")])

    assert all(f">{price}<" in table for price in ("0.0871", "0.0934"))


def test_trip_sold_in_parts_has_a_row_for_each_order() -> None:
    """One row for the trade, and its orders below it, those filled in pieces as one."""
    log, reasons = TradeLog({}), TradeReasons()
    for number, (side, qty, price) in enumerate(
        [("BUY", "2", "100"), ("BUY", "1", "103"), ("SELL", "2", "110"), ("SELL", "1", "99")]
    ):
        order = "entry" if side == "BUY" else f"exit {number}"
        filled = msgspec.structs.replace(fill(side, qty, price), client_order_id=order)
        log.on_fill(event(number, filled))
    (trip,) = log.trips
    alone = RoundTrip("BTCUSDT", 1, 2, bought_qty=UNIT, sold_qty=UNIT)

    table = trips_table([Marked(1, trip, "", "sold", reasons.steps_of(trip))])

    assert "Steps of 1 trade in parts" in table
    assert [table.count(f">{price}<") for price in ("101.00", "110.00", "99.00")] == [2, 1, 1]
    assert "Steps" not in trips_table([Marked(1, alone, "", "sold", reasons.steps_of(alone))])
