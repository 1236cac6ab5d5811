"""Words of the summary for each kind of night."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from minibot.accounting.performance import Performance
from minibot.events.model import Fill, Incident, RunOpening
from minibot.events.unit_sizes import HOUR_MS, MINUTE_MS
from minibot.report.html import page
from minibot.report.morning_screen import morning_screen
from minibot.report.night import Night
from minibot.report.records import read_record
from minibot.report.summary import Row, summary_json, summary_rows
from tests.report.nights import opened, sealed, tally, with_config, with_incident, with_stop
from tests.runs import ShortRun, raw_events


@pytest.fixture
def night(short_run: ShortRun) -> Night:
    """The short run, opened anew for each test, which may change it."""
    return opened(short_run)


def row(night: Night, label: str) -> str:
    """Return the text beside a label."""
    return next(item.text for item in summary_rows(night) if item.label == label)


def words(night: Night) -> str:
    """Return the whole summary."""
    return "\n".join(f"{item.label}: {item.text}" for item in summary_rows(night))


def traded(
    night: Night, *trades: tuple[str, str, str], held: str = "0", held_price: str = "100"
) -> Night:
    """Return the night with other trades: (bought at, sold at, fee of each side), a coin each."""
    performance = Performance(RunOpening({"USDT": "100000"}, (), {}), "USDT")
    number = 0

    def book(side: str, price: str, fee: str, qty: str = "1") -> None:
        nonlocal number
        number += 1
        fill = Fill(f"o{number}", f"c{number}", "BTCUSDT", side, qty, price, fee, "USDT", "TAKER")
        performance.on_fill(fill, number)

    for bought, sold, fee in trades:
        book("BUY", bought, fee)
        book("SELL", sold, fee)
    if held != "0":
        book("BUY", held_price, "0", held)
    night.count.performance = performance
    night.count.lines["fills"] = number
    return night


@pytest.mark.parametrize(
    ("trades", "said"),
    [
        ([("100", "101", "1")], "It only lost its fees: before 2.00 of fees it made 1.00."),
        ([("100", "100", "1")], "It only lost its fees: before 2.00 of fees it made nothing."),
        (
            [("100", "99.5", "1")],
            "Nearly all of the loss is fees: it paid 2.00; before fees it lost 0.50.",
        ),
    ],
)
def test_summary_of_a_loss_by_fees_says_so_in_a_sentence(
    trades: list[tuple[str, str, str]], said: str, night: Night
) -> None:
    """A loss caused by fees is called so in a sentence."""
    assert said in words(traded(night, *trades))


@pytest.mark.parametrize("trade", [("100", "90", "1"), ("100", "110", "1")])
def test_summary_of_a_real_loss_or_a_gain_blames_no_fees(
    trade: tuple[str, str, str], night: Night
) -> None:
    """A loss of ten before two of fees is not blamed on fees."""
    text = words(traded(night, trade))

    assert "lost its fees" not in text
    assert "Nearly all" not in text


def test_summary_adds_up(night: Night) -> None:
    """Result, gross result and fees are one sum, as printed."""
    text = row(traded(night, ("100", "108", "1"), ("100", "95", "1")), "result")

    assert text == "-1.00: +3.00 before fees, 4.00 paid in fees"
    assert "2 round trips: 1 won, 1 lost; win rate 50 %, R:R 0.86" in words(night)


def test_run_whose_clock_was_set_back_took_as_long_as_it_did(night: Night) -> None:
    """After STOP(CLOCK_JUMP) two readings of the wall clock tell nothing; one that passed does."""
    ended_ms, took_ms = night.sealed["ended_ms"], night.sealed["took_ms"]
    set_back = sealed(night, ended_ms=ended_ms - HOUR_MS)
    record = replace(read_record(night.recorded.run_dir), seal=set_back.seal)

    assert set_back.wall_ms == record.wall_ms == took_ms
    assert abs(took_ms - (ended_ms - night.manifest.started_ms)) < MINUTE_MS


def test_summary_lists_what_is_still_open(night: Night) -> None:
    """Open positions are listed."""
    assert row(night, "still open") == "nothing"

    text = row(traded(night, held="0.5"), "still open")

    assert "0.50000000 BTCUSDT bought at 100.00" in text


def test_summary_tells_the_price_of_a_cheap_coin_in_full(night: Night) -> None:
    """Two decimals would tell another price."""
    text = row(traded(night, held="5", held_price="0.0871"), "still open")

    assert "5.00000000 BTCUSDT bought at 0.0871 " in text


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ({}, "It did not trade. The strategy held, most often (7 times): "),
        ({"halted": 3}, "It did not trade. Risk refused its signals, most often (3 times): "),
    ],
)
def test_summary_of_a_night_without_a_trade_says_what_kept_it(
    blocks: dict[str, int], said: str, night: Night
) -> None:
    """A night without a trade names risk's refusal before the strategy's hold."""
    traded(night)
    night.count.hold_reasons = Counter({"warmup": 7, "no_setup": 2})
    night.count.block_reasons = Counter(blocks)

    assert said in words(night)


def killed(night: Night) -> Night:
    """Return the night with a launcher that was killed, as its roles noticed."""
    return sealed(with_stop(night, "WATCHDOG_LOST"), state="interrupted")


def without_end(night: Night) -> Night:
    """Return the night without a STOP or END on record."""
    night.count.stops.clear()
    return night


@pytest.mark.parametrize(
    ("change", "label", "said"),
    [
        (lambda night: with_stop(night, "RISK_LIMIT"), "STOPPED by", "RISK_LIMIT: "),
        (lambda night: sealed(night, state="interrupted"), "ended by", "DURATION_REACHED: "),
        (lambda night: sealed(without_end(night), state="interrupted"), "ended by", "nothing: "),
        (killed, "STOPPED by", "WATCHDOG_LOST: "),
        (lambda night: with_incident(night, "AI_OFF", "ai_role is hung"), "AI", "off: ai_role"),
    ],
)
def test_summary_says_how_it_ended_and_what_went_off(
    change: Callable[[Night], Night], label: str, said: str, night: Night
) -> None:
    """Each fact about the end and each problem has its own marked row."""
    changed = change(night)

    assert said in row(changed, label)
    tone = next(item.tone for item in summary_rows(changed) if item.label == label)
    assert tone == "bad"


def test_summary_of_a_night_without_a_seal_tells_no_sync(night: Night) -> None:
    """The seal alone has the time of a disk sync, and a dash is none."""
    assert "five disk syncs of " in words(night)
    assert "disk syncs of" not in words(replace(night, seal={}))


def test_summary_gathers_incidents_by_kind_and_counts_them(night: Night) -> None:
    """Incidents are one row for each kind, with a count."""
    for _ in range(100):
        with_incident(night, "connection_lost", "closed\x1b[2J by the server")

    text = words(night)

    assert (
        "connection_lost (100 times), watchdog_role, the last: closed\\x1b[2J by the server" in text
    )
    assert "\x1b" not in text


def test_summary_counts_the_restarts_of_each_role(night: Night) -> None:
    """Restarts are counted by role."""
    for _ in range(2):
        with_incident(night, "ROLE_RESTARTED", "risk_role ended with exit code -9; restarted")

    rows = [item for item in summary_rows(night) if item.text.startswith("risk_role ")]

    assert "2 restarts" in rows[0].text
    assert rows[0].tone == "bad"


def test_summary_of_an_exchange_that_never_answered_shows_no_latency(night: Night) -> None:
    """Without a measurement the summary shows no latency."""
    night.count.tally = tally([], errors=4)

    assert row(night, "exchange") == "never answered; 4 health checks failed"


def test_summary_of_real_data_names_the_host_and_not_the_simulation(night: Night) -> None:
    """A night on real data names its host and no simulation."""
    assert "never counts as a real night" in row(night, "data")
    config = copy.deepcopy(night.manifest.config)
    config["embedded"] = None
    facts: dict[str, Any] = {"simulated": False, "hosts": ("https://host.example",)}
    manifest = replace(night.manifest, config=config, **facts)
    night = replace(night, recorded=replace(night.recorded, manifest=manifest))

    assert row(night, "data") == "BTCUSDT, live from https://host.example"


def test_summary_as_json_has_the_figures_that_the_words_show(night: Night) -> None:
    """The JSON summary has the figures of the text."""
    document = summary_json(night)

    assert document["metrics"]["performance"] == night.count.performance.to_json()
    nets = [Decimal(trip["net"]) for trip in document["trips"]]
    pnl = Decimal(document["metrics"]["performance"]["pnl"])
    assert sum(nets) == pnl
    assert document["root"] == night.seal["root"]
    assert isinstance(summary_rows(night)[0], Row)


def test_report_of_a_universe_names_the_symbols_that_it_followed(night: Night) -> None:
    """The profile's list is where a live night looks first; the universe may have chosen others."""
    manifest = replace(night.manifest, symbols=("LISTEDUSDT",))
    listed_alone = replace(night, recorded=replace(night.recorded, manifest=manifest))
    chosen = with_config(listed_alone, "universe", mode="dynamic")

    assert row(listed_alone, "data").startswith("LISTEDUSDT, ")
    assert row(chosen, "data").startswith("BTCUSDT, ")
    screen = "\n".join(line.text for line in morning_screen(chosen))
    for text in (row(chosen, "data"), screen, page(chosen)):
        assert "LISTEDUSDT" not in text
        assert "BTCUSDT" in text


def test_summary_says_that_bars_from_before_the_start_are_missing_where_none_came(
    night: Night,
) -> None:
    """A generator makes two hours of its past by itself, though its profile names no history."""
    words = "without bars from before its start"
    assert night.manifest.config["embedded"]["history"] is None

    assert words not in row(night, "data")
    night.count.has_history = False
    assert words in row(night, "data")


def test_market_that_is_played_without_history_lists_no_incident_of_it(night: Night) -> None:
    """A healthy demo has none; the same words of a live market, and other gaps, are incidents."""
    night.count.incidents[:] = [
        (1, Incident("market_role", "bars_missing", "BTCUSDT 1m: 0 of 60 bars of history"))
    ]
    played = with_config(night, "embedded", history=None)
    given = with_config(night, "embedded", history="klines:x")

    assert row(played, "incidents") == "none"
    assert "0 of 60 bars of history" in row(given, "incident")
    assert summary_json(played)["incidents"] != []
    night.count.incidents[:] = [
        (1, Incident("market_role", "bars_missing", "BTCUSDT 1m: 3 of 5 bars of a gap"))
    ]
    assert "3 of 5 bars" in row(with_config(night, "embedded", history=None), "incident")


@pytest.mark.row("U-21", "N-79")
def test_share_of_stop_is_told_in_minutes_of_the_plan(night: Night) -> None:
    """The share lost to a STOP is given in minutes of the plan; without a STOP it is zero."""
    minute_ms = 60_000
    night.manifest.config["duration_ms"] = 420 * minute_ms
    night.count.market.last_ts = night.manifest.clock_origin_ms + 400 * minute_ms
    stopped = with_stop(night, "RISK_LIMIT")

    assert (
        row(stopped, "STOP share")
        == "20 of the 420 minutes that the profile plans were lost to a STOP; a recording may be "
        "shorter"
    )
    assert summary_json(stopped)["stopped_ms"] == 20 * minute_ms
    night.count.stops.clear()
    assert row(night, "STOP share") == "no time was lost to a STOP"


@pytest.mark.parametrize(("intents", "said"), [(0, "no order, so nothing"), (2, "2 orders")])
def test_orders_whose_latency_nobody_measured_are_not_denied(
    intents: int, said: str, night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night that decides on bars orders, although none of its orders follows from a tick."""
    found = night.count.tally.to_json() | {"decision": {"tick_to_result_n": 0}}
    monkeypatch.setattr(night.count.tally, "to_json", lambda: found)
    night.count.intents = intents

    assert said in row(night, "latency")
    assert ("no order" in row(night, "latency")) is (not intents)


def test_summary_counts_decisions_and_no_other_events_of_their_queues(night: Night) -> None:
    """Scans, the state of risk, plans and cancels are no signal, no decision and no order."""
    texts = [row(night, label) for label in ("signals", "risk", "paper orders", "latency")]
    for queue in ("signals", "risk_actions", "order_intents"):
        night.count.lines[queue] += 400

    lines = [row(night, label) for label in ("signals", "risk", "paper orders", "latency")]

    assert lines == texts
    # A cancel may stand among them: at the end, of an entry whose fill has no result yet.
    asked = raw_events(night.recorded.run_dir, "order_intents")
    assert night.count.intents == len([each for each in asked if each["type"] == "order_intent"])
