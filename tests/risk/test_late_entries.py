"""Late entries: confidence, freshness and fatigue, each at its limit and beyond."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from minibot.events.model import Bar, Event, Gap
from minibot.events.unit_sizes import BPS, HOUR_MS, SECOND_MS
from minibot.risk.checks import SKIPPED, first_failure
from minibot.risk.late_entries import FatigueBars, LateEntries, LateReading, LateRules, late_rows
from tests.risk.desk import START, SYMBOL, Desk, actions, check_text, config

BAR_MS = 4 * HOUR_MS
ALLOWED = ("ALLOW", "allowed")
TIRED: dict[str, Any] = {
    "risk__fatigue_bar_interval": "4h",
    "risk__fatigue_change_bps_max": 1_200,
    "risk__fatigue_rsi_max": 81,
    "risk__fatigue_acceleration_bps_min": 200,
}
# Fifteen closes: 13 % up in the last six bars; gains of 13 beside losses of 3, an RSI of 81.25. The
# last bar rose by 4 of 109, the one before by 4 of 105: 13.98 basis points less.
SLOW = ("103", *["100"] * 11, "105", "109", "113")
# The same rise, but for the last bars: 7 of 106 behind 1 of 105, which is 565.14 basis points more.
FAST = (*SLOW[:-2], "106", "113")


def desk(**changes: Any) -> Desk:
    """Return a desk at a touch of 113 to 113 whose clock stands at a border of four hours."""
    made = Desk(config(**changes))
    made.ts = START // BAR_MS * BAR_MS + 20 * BAR_MS
    made.instrument()
    made.tick("113", "113")
    return made


def bar(made: Desk, interval: str, length_ms: int, open_ts: int, close: str) -> None:
    """Tell a closed bar of history that did not move."""
    made.put(
        "market_ticks",
        Bar(
            symbol=SYMBOL,
            interval=interval,
            open_ts=open_ts,
            close_ts=open_ts + length_ms - 1,
            open=close,
            high=close,
            low=close,
            close=close,
            volume="1",
            is_history=True,
        ),
    )


def history(made: Desk, closes: Iterable[str], *, older: int = 0) -> Desk:
    """Tell bars of four hours, the last of which closed just now or some bars ago."""
    lines = list(closes)
    begin = made.ts // BAR_MS * BAR_MS - (len(lines) + older) * BAR_MS
    for place, close in enumerate(lines):
        bar(made, "4h", BAR_MS, begin + place * BAR_MS, close)
    return made


def entry(made: Desk, **fields: Any) -> Event:
    """Return the action on a BUY."""
    return made.signal("BUY", **fields)[0]


def shown(action: Event, *names: str) -> list[str]:
    """Return which checks of these names an action has."""
    checks = action.to_json()["payload"]["checks"]
    return [check["name"] for check in checks if check["name"] in names]


# --- confidence -----------------------------------------------------------------------------------


@pytest.mark.row("B-42")
def test_signal_of_too_little_confidence_is_refused_with_value_and_limit() -> None:
    """A confidence of 71 passes a limit of 71; one of 70 does not."""
    passing = entry(desk(risk__confidence_min=71), confidence=71)
    failing = entry(desk(risk__confidence_min=71), confidence=70)

    assert actions([passing])[0] == ALLOWED
    assert actions([failing])[0] == ("BLOCK", "low_confidence")
    assert check_text(failing, "signal_confidence") == "70 / 71"


def test_all_limits_but_those_of_fatigue_are_judged_together() -> None:
    """A profile that has each of the three limits, and no fatigue, has its gates on."""
    limits = {"bars_late_max": 1, "confidence_min": 71, "price_move_atr_max": "100"}

    failing = entry(desk(**{f"risk__{key}": limit for key, limit in limits.items()}), confidence=70)

    assert actions([failing])[0][0] == "BLOCK"
    assert check_text(failing, "signal_confidence") == "70 / 71"


def test_bars_from_the_beginning_of_time_count() -> None:
    """A bar that opened at 0 is a bar."""
    bars = FatigueBars(BAR_MS)

    bars.on_bar(0, 100.0)

    assert bars.known(BAR_MS) == 1


def test_bar_seen_twice_counts_once() -> None:
    """A second bar that comes again neither counts anew nor begins the figures anew."""
    bars = FatigueBars(BAR_MS)
    for open_ts in (0, BAR_MS, BAR_MS):
        bars.on_bar(open_ts, 100.0)

    assert bars.known(2 * BAR_MS) == 2


def test_bars_count_until_the_newest_is_too_old() -> None:
    """Bars count to the last millisecond of two bars after the newest has closed."""
    bars = FatigueBars(BAR_MS)
    bars.on_bar(0, 100.0)

    assert [bars.known(3 * BAR_MS + late) for late in (0, 1)] == [1, 0]


# --- freshness ------------------------------------------------------------------------------------


@pytest.mark.row("C-18")
def test_entry_on_an_old_bar_is_refused_with_its_age() -> None:
    """A bar that closed two bars ago passes a limit of two; one that closed three ago does not."""
    outcomes = []
    for bars_ago in (2, 3):
        made = desk(risk__bars_late_max=2)
        closed_ts = made.ts // SECOND_MS * SECOND_MS - bars_ago * SECOND_MS
        bar(made, "1s", SECOND_MS, closed_ts - SECOND_MS, "113")
        event = entry(made)
        outcomes.append((actions([event])[0], check_text(event, "bars_late")))

    assert outcomes == [(ALLOWED, "2 / 2"), (("BLOCK", "stale_bar"), "3 / 2")]


def test_entry_without_any_bar_is_refused() -> None:
    """Missing data blocks: no closed bar has come yet."""
    event = entry(desk(risk__bars_late_max=2))

    assert actions([event])[0] == ("BLOCK", "stale_bar")
    assert check_text(event, "closed_bar") == "none / some"


@pytest.mark.row("C-18")
@pytest.mark.parametrize("close", ["110", "116"])
def test_entry_far_from_the_last_close_is_refused_up_and_down(close: str) -> None:
    """Bars of 110 to 112 have an ATR of 2; a mid 3 away from the close is 1.5 ATRs away."""
    outcomes = []
    for limit in ("1.5", "1.4999"):
        made = desk(risk__price_move_atr_max=limit, risk__reference_deviation_bps_max=1_000)
        for _ in range(14):
            low = str(int(close) - 1)
            made.bar(close, str(int(close) + 1), low, close)
        made.tick("113", "113", after_ms=0)
        event = entry(made)
        outcomes.append((actions([event])[0], check_text(event, "price_move_atr")))

    assert outcomes == [
        (ALLOWED, "1.5000 / 1.5000"),
        (("BLOCK", "price_moved"), "1.5000 / 1.4999"),
    ]


def test_move_of_one_hundred_millionth_is_one_atr_where_bars_move_no_more() -> None:
    """The least ATR that a price can have is taken as it is, for the cheapest coins."""
    made = desk(risk__price_move_atr_max="0.9999", risk__reference_deviation_bps_max=1_000)
    for _ in range(14):
        made.bar("113", "113.00000001", "113", "113")
    made.tick("113", "113.00000002", after_ms=0)

    assert check_text(entry(made), "price_move_atr") == "1.0000 / 0.9999"


@pytest.mark.parametrize("happens", ["gap", "crossed"])
def test_move_is_not_judged_without_a_usable_touch(happens: str) -> None:
    """A price that nobody may trade at is far from nothing; the entry is refused for the touch."""
    made = desk(risk__price_move_atr_max="1.5", risk__reference_deviation_bps_max=1_000)
    for _ in range(14):
        made.bar("110", "111", "109", "110")
    made.tick("113", "113", after_ms=0)
    shown_before = shown(entry(made), "price_move_atr")
    if happens == "gap":
        made.put("market_ticks", Gap(SYMBOL, "bookTicker", made.ts, made.ts, "reconnect"))
    else:
        made.tick("114", "113", after_ms=0)

    event = entry(made)

    assert shown_before == ["price_move_atr"]
    assert shown(event, "price_move_atr") == []
    assert actions([event])[0][0] == "BLOCK"


def test_entry_before_the_atr_is_known_is_refused_where_the_move_is_judged() -> None:
    """Without an ATR nobody knows how far is too far."""
    event = entry(
        desk(
            risk__price_move_atr_max="1.5",
            risk__stop_atr_mult=None,
            risk__take_profit_atr_mult=None,
            risk__time_exit_ms=60_000,
        )
    )

    assert actions([event])[0] == ("BLOCK", "warmup")


# --- fatigue --------------------------------------------------------------------------------------


@pytest.mark.row("C-20")
def test_symbol_that_rose_far_is_high_and_slows_down_is_refused() -> None:
    """All three figures stand in the refusal, each beside its limit."""
    event = entry(history(desk(**TIRED), SLOW))

    assert actions([event])[0] == ("BLOCK", "fatigue")
    assert check_text(event, "day_change_bps") == "1300.0000 / 1200.0000"
    assert check_text(event, "fatigue_rsi") == "81.2500 / 81.0000"
    assert check_text(event, "acceleration_bps") == "-13.9800 / 200.0000"


@pytest.mark.parametrize(
    ("changes", "closes", "excuse"),
    [
        ({"risk__fatigue_change_bps_max": 1_300}, SLOW, "day_change_bps"),
        ({"risk__fatigue_rsi_max": 82}, SLOW, "fatigue_rsi"),
        ({}, FAST, "acceleration_bps"),
    ],
)
def test_one_excuse_lets_a_symbol_in_and_is_shown(
    changes: dict[str, Any], closes: tuple[str, ...], excuse: str
) -> None:
    """A rise, an RSI or an acceleration within its limit is enough, and the check says which."""
    event = entry(history(desk(**{**TIRED, **changes}), closes))

    assert actions([event])[0] == ALLOWED
    assert shown(event, "day_change_bps", "fatigue_rsi", "acceleration_bps") == [excuse]


@pytest.mark.parametrize(
    ("name", "bound", "beyond"),
    [("change", 1_200 * BPS, 1), ("rsi", 81 * BPS, 1), ("acceleration", 200 * BPS, -1)],
)
def test_each_figure_at_its_bound_excuses(name: str, bound: int, beyond: int) -> None:
    """At its bound a figure lets a symbol in whose others are tired, a part beyond it does not."""
    found = []
    for value in (bound, bound + beyond):
        reading = LateReading()
        reading.change, reading.rsi, reading.acceleration = 1_300 * BPS, 82 * BPS, 199 * BPS
        setattr(reading, name, value)
        row = first_failure(late_rows(reading, LateRules(config(**TIRED)), True))
        found.append(row and row[0].reason)

    assert found == [None, "fatigue"]


def test_no_acceleration_excuses_where_its_key_is_missing() -> None:
    """Without the key a fast rise is as tired as a slow one."""
    keys = {**TIRED, "risk__fatigue_acceleration_bps_min": None}
    event = entry(history(desk(**keys), FAST))

    assert actions([event])[0] == ("BLOCK", "fatigue")
    assert shown(event, "acceleration_bps") == []


@pytest.mark.parametrize(
    ("closes", "older", "counted"),
    [((), 0, 0), (SLOW[1:], 0, 14), (SLOW, 2, 0), (("90", *FAST), 1, 15)],
    ids=["none", "too few", "too old", "enough"],
)
def test_missing_bars_block(closes: tuple[str, ...], older: int, counted: int) -> None:
    """Fifteen bars are needed, the newest at most two bars late."""
    keys = {**TIRED, "risk__fatigue_change_bps_max": 10_000}
    event = entry(history(desk(**keys), closes, older=older))

    expected = ALLOWED if counted == 15 else ("BLOCK", "warmup")
    assert actions([event])[0] == expected
    assert check_text(event, "fatigue_bars") == f"{counted} / 15"


def test_hole_begins_the_figures_anew() -> None:
    """Fifteen bars behind a hole are needed again; a bar that is told twice counts once."""
    made = history(desk(**TIRED), SLOW, older=2)
    newest = made.ts // BAR_MS * BAR_MS - BAR_MS
    for _ in range(2):
        bar(made, "4h", BAR_MS, newest, "113")

    assert check_text(entry(made), "fatigue_bars") == "1 / 15"


# --- all of them ----------------------------------------------------------------------------------


def all_gates(closes: tuple[str, ...]) -> Desk:
    """Return a desk with every gate of this page, behind its history."""
    keys = {
        **TIRED,
        "risk__confidence_min": 50,
        "risk__bars_late_max": 2,
        "risk__price_move_atr_max": "1.5",
    }
    made = history(desk(**keys), closes)
    for second in range(14, 0, -1):
        bar(made, "1s", SECOND_MS, made.ts // SECOND_MS * SECOND_MS - second * SECOND_MS, "113")
    return made


def test_entry_passes_all_gates_in_the_first_minute_after_history() -> None:
    """Bars from before the start are enough: nothing waits for bars of its own."""
    event = entry(all_gates(FAST))

    assert actions([event])[0] == ALLOWED
    assert check_text(event, "price_move_atr") == "0.0000 / 1.5000"


def test_restart_at_any_bar_changes_nothing() -> None:
    """Risk made anew from its state decides to the byte as one that went on."""
    logs = []
    for is_restarted in (False, True):
        made = desk(**TIRED)
        begin = made.ts // BAR_MS * BAR_MS - len(SLOW) * BAR_MS
        for place, close in enumerate(SLOW):
            bar(made, "4h", BAR_MS, begin + place * BAR_MS, close)
            if is_restarted:
                made.restarted()
        entry(made)
        logs.append(made.log_bytes())

    assert logs[0] == logs[1]


def test_gates_are_absent_from_checks_without_their_keys() -> None:
    """A profile without the keys writes what it always wrote."""
    event = entry(history(desk(), SLOW))

    names = "signal_confidence", "closed_bar", "bars_late", "price_move_atr", "fatigue_bars"
    assert actions([event])[0] == ALLOWED
    assert shown(event, *names, "day_change_bps", "fatigue_rsi", "acceleration_bps") == []


def test_figures_of_fatigue_are_unknown_before_their_bars() -> None:
    """Fifteen bars are needed: a change over a day before a seventh, two steps before a third."""
    bars = FatigueBars(BAR_MS)
    found = []
    for place in range(bars.warmup):
        found.append((bars.change(), bars.acceleration(), bars.rsi()))
        bars.on_bar(place * BAR_MS, 100.0 + place)

    assert bars.warmup == 15
    assert [change == SKIPPED for change, _, _ in found] == [place < 7 for place in range(15)]
    assert [step == SKIPPED for _, step, _ in found] == [place < 3 for place in range(15)]
    assert [rsi == SKIPPED for _, _, rsi in found] == [True] * 15
    assert bars.rsi() == 100 * 10_000
    assert bars.change() == 6 * 100_000_000 // 108


def test_bars_of_fatigue_alone_are_asked_for_beside_the_strategys() -> None:
    """Without the gate no further interval is read."""
    assert LateEntries(config()).intervals() == ()
    assert LateEntries(config(**TIRED)).intervals() == ("4h",)
