"""Lines of a result add up exactly, by hand and on a recorded night, hour by hour and in all."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.accounting.performance import Performance
from minibot.engine.recorded_run import Recorded
from minibot.events.model import Fill, Gap, Incident, RunOpening
from minibot.events.unit_sizes import HOUR_MS
from minibot.market.notices import BARS_MISSING
from minibot.report.html import page
from minibot.report.night import Night
from minibot.report.night_hours import HOURS_HEAD, HourTally, hour_rows
from minibot.report.outages import outages_of
from minibot.report.recount import Recount
from minibot.report.result_lines import CostTally, ResultLines, result_lines, slippage_of
from minibot.report.run_kind import has_no_history
from tests.report.made_run import made_run, read_fixture
from tests.report.nights import opened, with_stop
from tests.runs import ShortRun, raw_events

AMOUNTS = st.integers(-(10**18), 10**18)


@pytest.fixture
def night(short_run: ShortRun) -> Night:
    """The short run, opened anew for each test, which may change it."""
    return opened(short_run)


def fill(side: str, price: str, bid: str | None, ask: str | None, fee: str = "1") -> Fill:
    """Return a fill of two coins."""
    return Fill("o", "c", "BTCUSDT", side, "2", price, fee, "USDT", "TAKER", bid=bid, ask=ask)


def test_line_of_nothing_has_no_sign_however_many_places() -> None:
    """Fees of nothing are no gain, also where another line needs all of its places."""
    lines = ResultLines.of(-10_773, 0, CostTally())

    assert [text for _, text in lines.shown()] == [
        *("-0.00010773", "0.00000000", "0.00000000", "-0.00010773"),
    ]


@pytest.mark.parametrize(("slippage", "spec"), [("-1", "+0.00400000"), ("-1.004", "+0.00800000")])
def test_result_at_the_mid_never_reads_as_nothing(slippage: str, spec: str) -> None:
    """The line that is reckoned from the others has all of its places where it would read as 0."""
    tally = CostTally()
    tally.slippage = Decimal(slippage)
    lines = ResultLines.of(-199_600_000, 100_000_000, tally)

    shown = [text for _, text in lines.shown()]

    assert shown[0] == spec
    assert sum(map(Decimal, shown[:3])) == Decimal(shown[3])


def test_column_of_an_hours_fills_is_named_by_what_it_counts(night: Night) -> None:
    """An order that is filled in parts has several fills."""
    cells = [row.cells() for row in hour_rows(night.count, night.incidents)]

    counted = sum(int(each[HOURS_HEAD.index("paper fills")].replace(",", "")) for each in cells)
    assert counted == night.count.lines["fills"]


@pytest.mark.row("C-105")
@pytest.mark.parametrize(
    ("one", "slippage"),
    [
        (fill("BUY", "101", "99", "101"), "-2"),
        (fill("SELL", "108", "108", "112"), "-4"),
        (fill("BUY", "99", "99", "101"), "2"),
        (fill("SELL", "100.5", "100", "101"), "0"),
        (fill("BUY", "100.00000001", "100", "100.00000001"), "-0.00000001"),
    ],
)
def test_slippage_is_the_way_from_the_mid_times_the_quantity(one: Fill, slippage: str) -> None:
    """By hand: bought at 101 with a mid of 100, two coins, costs 2."""
    assert slippage_of(one) == Decimal(slippage)


def test_fill_without_a_quote_is_counted_and_costs_no_slippage() -> None:
    """Old runs name no quote in a fill; the report says how many."""
    tally = CostTally()

    tally.add(fill("BUY", "101", None, None))

    assert tally.unquoted == 1
    assert tally.slippage == 0


@pytest.mark.row("C-105")
def test_lines_of_a_trade_are_those_reckoned_by_hand() -> None:
    """Bought two at 101 (mid 100), sold at 108 (mid 110), a fee of 1 each: 20 - 6 - 2 = 12."""
    performance, tally = Performance(RunOpening({"USDT": "1000"}, (), {}), "USDT"), CostTally()
    for one in (fill("BUY", "101", "99", "101"), fill("SELL", "108", "108", "112")):
        performance.on_fill(one, 1)
        tally.add(one)

    lines = result_lines(performance, tally)

    assert lines == (Decimal(20), Decimal(-6), Decimal(-2), Decimal(12))
    assert [text for _, text in lines.shown()] == ["+20.00", "-6.00", "-2.00", "+12.00"]


@given(raw=AMOUNTS, fees=st.integers(0, 10**16), slippage=AMOUNTS)
def test_lines_add_up_exactly_and_as_printed(raw: int, fees: int, slippage: int) -> None:
    """No rounding of a line breaks the sum, in the amounts or in their texts."""
    tally = CostTally()
    tally.slippage = Decimal(slippage).scaleb(-17)
    lines = ResultLines.of(raw, fees, tally)

    spec, slipped, paid, result = (Decimal(text.replace(",", "")) for _, text in lines.shown())

    assert lines.spec + lines.slippage + lines.fees == lines.raw
    assert spec + slipped + paid == result
    assert abs(result - lines.raw) <= Decimal("0.005")


@pytest.mark.row("C-105")
def test_hours_of_a_night_add_up_to_its_result_and_costs(short_run: ShortRun, night: Night) -> None:
    """A second count from the raw lines: fees and slippage of all fills."""
    rows = hour_rows(night.count, night.incidents)
    whole = result_lines(night.count.performance, night.count.costs)
    fills = [event["payload"] for event in raw_events(short_run.run_dir, "fills")]
    slipped = sum(
        (Decimal(each["bid"]) + Decimal(each["ask"]) - 2 * Decimal(each["price"]))
        * Decimal(each["qty"])
        * (1 if each["side"] == "BUY" else -1)
        for each in fills
    )

    assert sum(row.lines.raw for row in rows) == whole.raw
    assert sum(row.lines.fees for row in rows) == whole.fees
    assert abs(whole.slippage - Decimal(slipped) / 2) <= Decimal("1e-8")
    assert whole.fees == -sum(Decimal(each["fee"]) for each in fills)
    assert sum(row.fills for row in rows) == len(fills) > 0
    assert sum(row.trades for row in rows) == night.count.performance.to_json()["round_trips"]
    assert sum(row.refused for row in rows) == night.count.block_reasons.total()


def test_hours_of_a_long_run_are_those_counted_by_hand(tmp_path: Path) -> None:
    """Each fill, trade, refusal and incident stands in its own hour; equity is the hour's last.

    An hour in which risk refused and no market data came is an hour of the run.
    """
    data = read_fixture()
    refusal = {"symbol": "BTCUSDT", "action": "BLOCK", "reason_code": "bucket_limit", "checks": []}
    data["minutes"].append(800)
    for prices in data["prices"].values():
        prices.append(None)
    data["events"].append(
        {"queue": "risk_actions", "type": "risk_action", "minute": 800, "payload": refusal}
    )
    count = Recount(Recorded.open(made_run(tmp_path / "var", data)))

    rows = hour_rows(count, count.incidents)

    assert [row.from_ts for row in rows] == [data["from_ts"] + n * HOUR_MS for n in range(14)]
    assert [row.fills for row in rows] == [3, 2, 0, 0, 0, 1, 1, 1, *[0] * 6]
    assert [row.trades for row in rows] == [0, 1, 0, 0, 0, 0, 0, 1, *[0] * 6]
    assert [row.refused for row in rows] == [*[0] * 13, 1]
    assert [row.incidents for row in rows] == [*[0] * 2, 1, *[0] * 5, 1, *[0] * 5]
    assert [Decimal(row.equity).scaleb(-8) for row in rows] == equity_by_hour(data, 14)
    shown = dict(zip(HOURS_HEAD, rows[6].cells(), strict=True))
    assert shown["hour, UTC"] == "04:00"
    assert (shown["slippage"], shown["fees"]) == ("-0.10", "-1.00")
    assert shown["result"] == f"{Decimal(rows[6].equity - rows[5].equity).scaleb(-8):+,.2f}"


def test_hour_with_an_incident_alone_is_an_hour_of_the_run(tmp_path: Path) -> None:
    """A night whose link is gone for good has its incidents in the hours without market data."""
    count = Recount(Recorded.open(made_run(tmp_path / "var")))
    lost = Incident("market_role", "connection_lost", "closed by the exchange")
    late_ts = count.market.last_ts + 2 * HOUR_MS

    rows = hour_rows(count, [*count.incidents, (late_ts, lost)])

    assert rows[-1].from_ts == late_ts // HOUR_MS * HOUR_MS
    assert sum(row.incidents for row in rows) == len(count.incidents) + 1
    assert rows[-1].equity == count.performance.equity
    assert sum(row.lines.raw for row in rows) == result_lines(count.performance, count.costs).raw


def equity_by_hour(data: dict[str, Any], hours: int) -> list[Decimal]:
    """Return equity at each hour's end, from the data alone: cash, and what is held at its mid."""
    cash, held, mids, found = Decimal(data["cash"]), Counter[str](), dict[str, Decimal](), []
    for hour in range(hours):
        for at, minute in enumerate(data["minutes"]):
            if minute // 60 != hour:
                continue
            for each in data["events"]:
                if each["minute"] == minute and each["type"] == "fill":
                    made = each["payload"]
                    sign = 1 if made["side"] == "BUY" else -1
                    qty, price = Decimal(made["qty"]), Decimal(made["price"])
                    cash -= sign * qty * price + Decimal(made["fee"])
                    held[made["symbol"]] += sign * qty  # type: ignore[assignment]
            mids |= {name: Decimal(each[at]) for name, each in data["prices"].items() if each[at]}
        found.append(cash + sum((qty * mids[name] for name, qty in held.items()), Decimal(0)))
    return found


def test_equity_that_stands_for_hours_is_that_of_each_of_them() -> None:
    """Looks of one equity count in every hour that had one; a carried position's mark in all."""
    tally = HourTally()

    tally.add_equity((1, HOUR_MS, 3 * HOUR_MS), 5)
    tally.add_equity((3 * HOUR_MS + 1,), 6)
    tally.shift(10)

    assert tally.equity == {0: 15, 1: 15, 3: 16}


def test_hours_show_an_outage_in_each_hour_that_it_took(night: Night) -> None:
    """An outage over a full hour is split at it."""
    hour = night.count.market.last_ts // HOUR_MS
    begin = hour * HOUR_MS
    night.count.hours.equity[hour - 1] = night.count.performance.equity_start
    night.count.gaps[:] = [Gap("BTCUSDT", "trade", begin - 60_000, begin + 30_000, "x")]

    rows = {row.from_ts: row for row in hour_rows(night.count, night.incidents)}

    assert rows[begin - HOUR_MS].outage_ms == 60_000
    assert rows[begin].outage_ms == 30_000


def test_outages_that_overlap_or_touch_are_one() -> None:
    """A gap within another one ends no outage; each outage names every symbol that it took."""
    gaps = [
        Gap("AUSDT", "trade", 0, 100, "first"),
        Gap("BUSDT", "trade", 10, 50, "within"),
        Gap("CUSDT", "quote", 100, 120, "touches"),
        Gap("AUSDT", "trade", 121, 130, "later"),
    ]

    found = outages_of(reversed(gaps))

    assert [(each.from_ts, each.to_ts, each.why) for each in found] == [
        (0, 120, "first"),
        (121, 130, "later"),
    ]
    assert [sorted(each.symbols) for each in found] == [["AUSDT", "BUSDT", "CUSDT"], ["AUSDT"]]


def test_hours_count_the_incidents_that_the_page_lists(night: Night) -> None:
    """Missing history counts for nothing where the profile itself plays a market without one."""
    ts = night.count.market.last_ts
    expected = Incident("market_role", BARS_MISSING, "BTCUSDT 1s: 0 of 60 bars of history")
    other = Incident("market_role", "connection_lost", "closed by the exchange")
    before = len(night.incidents)
    assert has_no_history(night.manifest)
    night.count.incidents += [(ts, expected), (ts, other)]

    hours = page(night).split("<h2>Hour by hour</h2>")[1].split("</section>")[0]
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in hours.split("<tr>")[2:]]
    numbers = [int(row[HOURS_HEAD.index("incidents")]) for row in rows]
    assert sum(numbers) == len(night.incidents) == before + 1
    # A real gap of the same kind is told, also when the expected one came after it.
    real = Incident("market_role", BARS_MISSING, "BTCUSDT 1m: 2 bars without klines")
    night.count.incidents += [(ts, real), (ts, expected)]
    assert (real, 1) in night.incident_counts()


def test_page_says_the_verdict_before_all_else(night: Night) -> None:
    """The first element of the page is the verdict with its cause."""
    body = page(with_stop(night, "RISK_LIMIT")).split("<main>\n")[1]

    assert body.startswith('<p class="verdict"><b class="bad">STOPPED</b> RISK_LIMIT, raised by ')
    assert "A hard risk limit was exceeded" in body.split("<h1>")[0]


@pytest.mark.row("C-105")
def test_page_has_the_lines_with_a_box_each_to_hide_fees_and_slippage(night: Night) -> None:
    """Four lines that add up, two of which have a box; no script is needed."""
    text = page(night)
    lines = re.findall(r'<tr class="(\w*)"><td>[^<]*</td><td class="n r">([^<]*)</td>', text)

    assert [kind for kind, _ in lines] == ["", "slippage", "fees", "total"]
    spec, slippage, fees, result = (Decimal(each.replace(",", "")) for _, each in lines)
    assert spec + slippage + fees == result
    for kind in ("slippage", "fees"):
        assert f'<input type="checkbox" id="no-{kind}">' in text
        assert f"#no-{kind}:checked ~ table .{kind}" in text


def test_page_has_hours_exits_and_reasons_that_held_it_back(night: Night) -> None:
    """Each exit's reason with its trades, each refusal and hold with its meaning, each hour."""
    text = page(night)
    parts = {
        name: text.split(f"<h2>{name}</h2>")[1].split("</section>")[0]
        for name in ("Hour by hour", "Exits by reason", "Why it did not trade")
    }

    assert parts["Hour by hour"].count("<tr>") == len(hour_rows(night.count, night.incidents)) + 1
    closed = [trip for trip in night.count.trades.trips if trip.is_closed]
    codes = {action.reason_code for trip in closed if (action := night.count.reasons.exit_of(trip))}
    assert codes
    assert all(code in parts["Exits by reason"] for code in codes)
    assert all(code in parts["Why it did not trade"] for code in night.count.hold_reasons)
