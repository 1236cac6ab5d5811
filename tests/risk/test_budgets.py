"""Budgets: nights that follow each other, and how far equity may move before anything changes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from minibot.cores.scaled_tick import QuietRange
from minibot.events.model import JsonObject, PriceMark
from minibot.events.money import UNIT
from minibot.events.unit_sizes import DAY_MS
from minibot.kernel.canonical import decode, encode
from minibot.risk.budgets import BUDGETS, Budgets, drawdown_of, week_of
from minibot.risk.core import core_from_state
from minibot.risk.limits import Limits
from tests.risk.desk import START, SYMBOL, Desk, actions, config, opening, results

HOUR_MS = 3_600_000
FLAT: dict[str, Any] = {"bid": "100", "ask": "100"}
TIERS: list[JsonObject] = [
    {"state": "REDUCING", "drawdown_bps": 1000, "back_bps": 800, "entry_percent": 50},
    {"state": "HALTED", "drawdown_bps": 2000, "back_bps": 1700},
]


def nights(night_ms: int = HOUR_MS, **changes: Any) -> Desk:
    """Return a desk whose run holds several nights, at a touch of 100 to 100."""
    desk = Desk(config(**changes) | {"backtest": {"night_ms": night_ms}}, first=opening("50000"))
    desk.instrument()
    desk.tick(**FLAT)
    return desk


def asked(desk: Desk, ts: int) -> list[tuple[str, str]]:
    """Return risk's answer to an entry at a market time, which is filled if it is allowed."""
    desk.tick(**FLAT, after_ms=ts - desk.ts)
    events = desk.signal("BUY")
    desk.tick(**FLAT)
    return actions(events)


# --- nights that follow each other ----------------------------------------------------------------


@pytest.mark.row("B-09")
def test_each_night_of_a_run_begins_with_its_whole_notional() -> None:
    """A thousand is bought once a night; the next night begins at its millisecond, not before."""
    desk = nights(risk__night_notional_soft="1000")
    began = START
    spent, whole = [("BLOCK", "night_notional")], [("ALLOW", "allowed")]

    assert asked(desk, began + 1000) == whole
    assert asked(desk, began + HOUR_MS - 1) == spent
    assert asked(desk, began + HOUR_MS + 200) == whole
    # Two nights without an input pass at once, and the one of now is the fourth.
    assert asked(desk, began + 3 * HOUR_MS + 1000) == whole
    assert asked(desk, began + 4 * HOUR_MS - 1) == spent
    assert asked(desk, began + 4 * HOUR_MS + 200) == whole
    assert desk.risk.facts()["headroom"]["night_notional"] == "0.00000000"


@pytest.mark.parametrize("after", [0, 1])
def test_night_begins_at_the_end_of_the_one_before(after: int) -> None:
    """At the end itself what earlier nights bought is forgotten, a millisecond before it counts."""
    desk = nights(risk__night_notional_soft="1000")
    asked(desk, START + 1000)

    desk.tick(**FLAT, after_ms=START + HOUR_MS - 1 + after - desk.ts)

    assert actions(desk.signal("BUY")) == [
        ("ALLOW", "allowed") if after else ("BLOCK", "night_notional")
    ]


def test_first_night_counts_what_earlier_runs_used() -> None:
    """A night that had used 400 of its thousand has 600 left; the next one has all of it."""
    profile = config(risk__night_notional_soft="1000") | {"backtest": {"night_ms": HOUR_MS}}
    desk = Desk(profile, first=opening("50000", night_notional="400"))
    desk.instrument()

    desk.tick(**FLAT)
    first = desk.risk.facts()["headroom"]["night_notional"]
    desk.tick(**FLAT, after_ms=HOUR_MS)

    assert first == "600.00000000"
    assert desk.risk.facts()["headroom"]["night_notional"] == "1000.00000000"


def test_night_counts_loss_and_drawdown_from_its_own_beginning() -> None:
    """Ten coins that fell from 100 to 95 lose 50; the next night counts from 95, mark and all."""
    desk = nights(risk__night_loss_soft="49", risk__night_loss_hard="1000")
    asked(desk, START + 1000)
    desk.tick("95", "95")
    lost = actions(desk.signal("BUY"))
    before = desk.risk._state.budgets.high_water_mark

    desk.tick("95", "95", after_ms=HOUR_MS)
    budgets = desk.risk._state.budgets
    next_night = actions(desk.signal("BUY"))

    assert lost == [("BLOCK", "night_loss")]
    assert next_night == [("ALLOW", "allowed")]
    assert (before, budgets.high_water_mark) == (50_000 * UNIT, 49_950 * UNIT)
    assert budgets.day_level == 50_000 * UNIT  # The day is the same: its loss stands.


def test_nights_pace_runs_over_each_night_anew() -> None:
    """Half an hour into the third night six tenths may be used: a tenth at once, half by time."""
    desk = nights(risk__night_notional_soft="10000", risk__night_notional_pace=10)
    asked(desk, START + 2 * HOUR_MS + HOUR_MS // 2)
    budgets = desk.risk._state.budgets

    assert budgets.paced(START + 2 * HOUR_MS) == 1000 * UNIT
    assert budgets.paced(START + 2 * HOUR_MS + HOUR_MS // 2) == 6000 * UNIT
    assert budgets.paced(START + 3 * HOUR_MS) == 10_000 * UNIT


def test_night_beyond_midnight_leaves_the_day_its_own_beginning() -> None:
    """The day ends at midnight UTC though the night goes on, and the night at its own end."""
    desk = nights(2 * DAY_MS, risk__day_notional_soft="1000", risk__night_notional_soft="2000")
    midnight = (START // DAY_MS + 1) * DAY_MS
    spent, whole = [("BLOCK", "day_notional")], [("ALLOW", "allowed")]

    assert asked(desk, START + 1000) == whole
    assert asked(desk, midnight - 1) == spent
    assert asked(desk, midnight + 200) == whole
    assert asked(desk, midnight + DAY_MS + 200) == [("BLOCK", "night_notional")]
    assert asked(desk, START + 2 * DAY_MS + 200) == whole


def test_order_result_of_the_first_millisecond_begins_the_day() -> None:
    """A result that is the first input at midnight sharp ends the day before, and its order."""
    midnight = (START // DAY_MS + 1) * DAY_MS
    desk = Desk(config(), ts=midnight - 5_100).ready()
    desk.signal("BUY")
    desk.with_risk = False
    (expired,) = desk.beat(after_ms=5_000)
    assert (desk.ts, results([expired])) == (midnight, [("EXPIRED", "expired")])

    desk.risk.process(expired, 99, midnight)

    assert desk.risk.state()["budgets"]["day"] == midnight // DAY_MS
    assert desk.risk.facts()["open_orders"] == 0


def test_price_mark_of_the_first_millisecond_begins_the_day() -> None:
    """A mark that is the first input at midnight sharp counts in the new day."""
    midnight = (START // DAY_MS + 1) * DAY_MS
    desk = Desk(config(), ts=midnight - 5_000).ready()
    desk.ts = midnight

    desk.put("market_ticks", PriceMark(SYMBOL, "100", "miniTicker", midnight))

    assert desk.risk.state()["budgets"]["day"] == midnight // DAY_MS


def test_restart_within_a_later_night_changes_no_byte_and_no_answer() -> None:
    """Purchases of earlier nights are remembered: none of them counts in the night of now."""
    desk = nights(risk__night_notional_soft="1000", risk__night_notional_pace=100)
    asked(desk, START + 1000)
    asked(desk, START + HOUR_MS + 1000)
    state = desk.risk.state()

    desk.risk = core_from_state(desk.profile, decode(encode(state)))

    assert desk.risk.state() == state
    assert state["budgets"]["bought_before"] == "1000.00000000"
    assert state["budgets"]["night_ends"] == START + 2 * HOUR_MS
    assert asked(desk, START + HOUR_MS + 3000) == [("BLOCK", "night_notional")]
    assert asked(desk, START + 2 * HOUR_MS + 200) == [("ALLOW", "allowed")]
    assert "night_ends" not in Desk(config()).risk.state()["budgets"]


def test_week_begins_on_monday() -> None:
    """1970-01-04 was a Sunday, and so was 2023-11-19."""
    for sunday in (3, 19_680):
        weeks = [week_of(sunday + days) for days in (-6, 0, 1, 7, 8)]

        assert [week - weeks[0] for week in weeks] == [0, 0, 1, 1, 2]


# --- what may move unseen -------------------------------------------------------------------------

PROFILES: dict[str, dict[str, Any]] = {
    "night_loss": {"risk__night_loss_soft": "50", "risk__night_loss_hard": "100"},
    "day_loss": {"risk__day_loss_soft": "50", "risk__day_loss_hard": "90"},
    "week_loss": {"risk__week_loss_soft": "50", "risk__week_loss_hard": "80"},
    "drawdown": {"risk__drawdown_bps_soft": 300, "risk__drawdown_bps_hard": 700},
    "tiers": {"risk__drawdown_tiers": TIERS, "risk__account_drawdown_bps_hard": 2500},
    "all": {
        "risk__night_loss_hard": "300",
        "risk__drawdown_tiers": TIERS,
        "risk__account_drawdown_bps_hard": 2500,
    },
}


def budgets_at(equity: int, **changes: Any) -> Budgets:
    """Return the budgets of a run that began with 1,000 and has an equity now."""
    budgets = Budgets(Limits(config(**changes)))
    budgets.open({}, 1000 * UNIT, START)
    budgets.roll(START)
    budgets.on_equity(equity, 0)
    return budgets


def noted(budgets: Budgets) -> tuple[int, int, int]:
    """Return the two marks and the tier."""
    return budgets.high_water_mark, budgets.account.high_water_mark, budgets.account.tier


@pytest.mark.parametrize("name", PROFILES)
def test_equity_within_the_room_changes_nothing_and_a_unit_beyond_does(name: str) -> None:
    """Within it no limit is exceeded and no mark or tier moves; both bounds are the last such."""
    chance = random.Random(name)
    for _ in range(40):
        least = 760 if "risk__drawdown_tiers" in PROFILES[name] else 940
        equity = chance.randrange(least * UNIT, 1000 * UNIT)
        fall, rise = budgets_at(equity, **PROFILES[name]).room()
        assert fall >= 0
        assert rise >= 0
        assert budgets_at(equity - fall, **PROFILES[name]).room()[0] == 0
        for moved, is_same in ((-fall, True), (-fall - 1, False), (rise, True), (rise + 1, False)):
            budgets = budgets_at(equity, **PROFILES[name])
            before = noted(budgets)
            exceeded = budgets.on_equity(equity + moved, 0)
            assert (exceeded is None and noted(budgets) == before) == is_same


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize(
    ("rest", "qty"), [(400, 5 * UNIT + 1), (0, UNIT // 7), (990, UNIT // 1000)]
)
def test_bounds_of_a_touch_are_those_of_the_equity_that_it_makes(
    name: str, rest: int, qty: int
) -> None:
    """The least and the highest bid plus ask keep every limit and mark; one beyond either not."""
    budgets = budgets_at(990 * UNIT, **PROFILES[name])
    (fall, rise), quiet = budgets.room(), QuietRange()

    assert budgets.bound(rest * UNIT, qty, quiet)

    def moved(both: int) -> int:
        return rest * UNIT + qty * (both // 2) // UNIT - 990 * UNIT

    assert moved(quiet.most) <= rise < moved(quiet.most + 1)
    if quiet.least:
        assert moved(quiet.least - 1) < -fall <= moved(quiet.least)
    else:
        assert rest * UNIT >= 990 * UNIT - fall


def test_nothing_used_so_far_is_a_valid_opening_and_no_mark_is_no_drawdown() -> None:
    """A budget of exactly zero is not a negative one."""
    budgets = Budgets(Limits(config()))

    budgets.open(dict.fromkeys(BUDGETS, "0"), 1000 * UNIT, START)

    assert budgets.night_notional == budgets.day_notional == budgets.week_notional == 0
    assert drawdown_of(0, -UNIT) == drawdown_of(0, 0) == 0


def test_each_amount_of_earlier_runs_counts_against_its_own_budget() -> None:
    """No budget is charged with what another one has used."""
    used = {name: str(number) for number, name in enumerate(BUDGETS, 1)}
    budgets = Budgets(Limits(config()))

    budgets.open(used, 1000 * UNIT, START)

    charged = {
        "night_notional": budgets.night_notional,
        "day_notional": budgets.day_notional,
        "week_notional": budgets.week_notional,
        "night_loss": budgets.night_level - 1000 * UNIT,
        "day_loss": budgets.day_level - 1000 * UNIT,
        "week_loss": budgets.week_level - 1000 * UNIT,
    }
    assert charged == {name: int(amount) * UNIT for name, amount in used.items()}


@pytest.mark.parametrize("name", ["night_notional", "day_notional", "week_notional"])
def test_notional_of_one_budget_beyond_its_hard_limit_is_told(name: str) -> None:
    """Each budget stops the run by itself, whatever is left of the two others."""
    keys = {f"risk__{each}_hard": "5000" for each in BUDGETS if each.endswith("notional")}
    outcomes = []
    for used in ("5000", "5000.00000001"):
        budgets = Budgets(Limits(config(**keys, risk__week_notional_soft="5000")))
        budgets.open({name: used}, 1000 * UNIT, START)
        exceeded = budgets.on_equity(1000 * UNIT, 0)
        outcomes.append((exceeded is not None, budgets.room() == (-1, -1)))

    assert outcomes == [(False, False), (True, True)]


def test_lack_of_a_lot_without_a_price_moves_the_floor_of_equity_at_once() -> None:
    """A carried lot without a price counts at its last mark, so its absence is no fall."""
    budgets = budgets_at(1000 * UNIT, risk__account_drawdown_bps_hard=1000)
    budgets.account.carry({"high_water_mark": "1100", "tier": 0})
    budgets.on_equity(1000 * UNIT, 0)
    before, _ = budgets.room()

    budgets.on_equity(1000 * UNIT, 20 * UNIT)

    assert (before, budgets.room()[0]) == (10 * UNIT, 30 * UNIT)


def test_room_is_unknown_before_the_first_equity_and_once_a_budget_is_spent() -> None:
    """No tick may pass unseen then, whatever it says."""
    fresh = Budgets(Limits(config()))
    fresh.open({}, 1000 * UNIT, START)
    spent = Budgets(Limits(config()))
    spent.open({"night_notional": "2000000.00000001"}, 1000 * UNIT, START)
    spent.on_equity(1000 * UNIT, 0)

    for budgets in (fresh, spent):
        assert budgets.room() == (-1, -1)
        assert not budgets.bound(0, UNIT, QuietRange())


def test_mark_that_is_set_behind_the_last_equity_leaves_no_room_until_the_next() -> None:
    """The tier of a mark that was carried in is known with the next equity alone."""
    budgets = budgets_at(1000 * UNIT, **PROFILES["tiers"])
    budgets.account.open(1200 * UNIT, 0)

    assert budgets.room() == (-1, -1)
    assert not budgets.bound(0, UNIT, QuietRange())
    budgets.on_equity(1000 * UNIT, 0)
    assert budgets.account.tier == 1
    assert budgets.room() != (-1, -1)
    assert budgets.bound(0, UNIT, QuietRange())


@pytest.mark.parametrize("entries", [1, 2])
def test_purchase_beyond_a_hard_notional_leaves_no_room(entries: int) -> None:
    """A fill that spends more than the night's hard value is judged with the next equity.

    So is one beside a position, whose equity has been known to be far from all limits.
    """
    keys = {"risk__night_notional_soft": "1000", "risk__night_notional_hard": "1000.05"}
    desk = Desk(config(**keys, risk__order_notional=str(1000 // entries)))
    desk.instrument()
    for _ in range(entries - 1):
        desk.tick("99.99", "100")
        desk.signal("BUY")
    desk.tick("99.99", "100")
    events = desk.signal("BUY")

    stopped = desk.tick("100.01", "100.02")

    assert actions(events) == [("ALLOW", "allowed")]
    assert actions(stopped) == [("STOP", "RISK_LIMIT")]
    assert desk.risk.quiet_range(SYMBOL, desk.ts) is None


def test_orders_of_more_than_a_minute_ago_are_forgotten() -> None:
    """A night of many orders keeps the times of one minute, in its state as well."""
    budgets = budgets_at(1000 * UNIT)
    times = [START + 20_000 * number for number in range(30)]
    for now in times:
        budgets.on_order(now, budgets.orders(now))

    assert budgets.state()["order_times"] == times[-3:]
