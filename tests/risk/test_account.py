"""Account: tiers from the high-water mark with hysteresis, weeks, and what does not load."""

from __future__ import annotations

import json
import random

import pytest
from msgspec.structs import replace

from minibot.cores.scaled_tick import QuietRange
from minibot.events.model import JsonObject, RiskAction, RiskStanding
from minibot.events.money import UNIT, parse_amount
from minibot.kernel.errors import ConfigError, InvariantError
from minibot.risk.account import Account
from minibot.risk.limits import Limits
from minibot.runtime.configuration.config import load_config
from tests.risk.desk import (
    OTHER,
    PROJECT,
    START,
    SYMBOL,
    Desk,
    actions,
    check_of,
    config,
    intents,
    of,
    opening,
)

TIERS: list[JsonObject] = [
    {"state": "REDUCING", "drawdown_bps": 1000, "back_bps": 800, "entry_percent": 50},
    {"state": "REDUCING", "drawdown_bps": 1500, "back_bps": 1200, "entry_percent": 25},
    {"state": "HALTED", "drawdown_bps": 2000, "back_bps": 1700},
]
RISKED: JsonObject = {"sizing": "risk", "stop_bps": "200", "risk_per_trade_bps": 50}
WEEK_MS = 7 * 86_400_000


def account(mark: int) -> Account:
    """Return an account with the three tiers and a mark."""
    found = Account(
        Limits(config(risk__drawdown_tiers=TIERS, risk__account_drawdown_bps_hard=2500))
    )
    found.open(mark * UNIT, 0)
    return found


@pytest.mark.row("D-38")
@pytest.mark.row("B-46")
def test_tiers_begin_beyond_their_bound_and_end_at_their_lower_one() -> None:
    """Each move of the table happens one smallest unit past its bound, and not at it."""
    one, found = account(1000), []
    for equity in (
        900 * UNIT,  # A fall of 1000 bps is not above it.
        900 * UNIT - 1,
        920 * UNIT - 1,  # Above 800 bps it lasts.
        920 * UNIT,
        800 * UNIT - 1,  # Past two tiers at once.
        830 * UNIT - 1,
        830 * UNIT,
        800 * UNIT - 1,  # From the tier before the last.
        830 * UNIT,
        880 * UNIT,
        1001 * UNIT,
    ):
        one.on_equity(equity)
        found.append((one.state_name, one.tier, one.entry_percent))

    assert found == [
        ("ACTIVE", 0, 100),
        ("REDUCING", 1, 50),
        ("REDUCING", 1, 50),
        ("ACTIVE", 0, 100),
        ("HALTED", 3, 0),
        ("HALTED", 3, 0),
        ("REDUCING", 2, 25),
        ("HALTED", 3, 0),
        ("REDUCING", 2, 25),
        ("REDUCING", 1, 50),
        ("ACTIVE", 0, 100),
    ]
    assert one.high_water_mark == 1001 * UNIT


def test_equity_above_the_mark_is_no_drawdown() -> None:
    """An entry may be judged before the equity of now has raised the mark."""
    assert account(1000).drawdown(1100 * UNIT) == 0


@pytest.mark.parametrize("equity", [-1, 0, 1])
def test_account_without_a_mark_has_no_drawdown(equity: int) -> None:
    """Drawdown is a share of the mark: below a mark of 0 there is none."""
    assert account(0).drawdown(equity) == 0


@pytest.mark.slow
def test_equities_between_the_bounds_change_nothing() -> None:
    """Within `low` and `high` neither mark nor tier moves; one unit beyond either of them does."""
    chance = random.Random(7)
    one = account(1000)
    for _ in range(500):
        one.on_equity(chance.randrange(700, 1100) * UNIT + chance.randrange(UNIT))
        for equity, is_same in (
            *((one.low, True), (one.high, True)),
            *((one.low - 1, one.tier == 3), (one.high + 1, False)),
        ):
            other = account(1000)
            other.open(one.high_water_mark, one.tier)
            other.low, other.high = 1, 0  # Asks the table, whatever the bounds are.
            other.on_equity(equity)
            assert (
                (other.high_water_mark, other.tier) == (one.high_water_mark, one.tier)
            ) == is_same


@pytest.mark.parametrize(("unpriced", "equity", "mark"), [(50, 980, 1030), (-50, 1040, 1000)])
def test_carried_mark_rises_to_equity_with_its_unpriced_lots(
    unpriced: int, equity: int, mark: int
) -> None:
    """Lots without a price yet count at the prices of the run that set the mark."""
    one = account(1)
    one.carry({"high_water_mark": "1000", "tier": 0})
    one.set_unpriced(unpriced * UNIT)

    one.on_equity(equity * UNIT)

    assert one.high_water_mark == mark * UNIT


@pytest.mark.parametrize("mark", ["0", "-1", "-0.00000001"])
def test_carried_mark_that_is_not_above_zero_stops_the_run_and_changes_nothing(mark: str) -> None:
    """A drawdown needs a mark: without one the tiers would never begin."""
    one = account(1000)

    with pytest.raises(InvariantError, match=f"high_water_mark {mark}, expected above 0"):
        one.carry({"high_water_mark": mark, "tier": 2})

    assert (one.high_water_mark, one.tier, one.is_carried) == (1000 * UNIT, 0, False)


@pytest.mark.parametrize(("tier", "place"), [(0, 0), (2, 2), (3, 3), (9, 3)])
def test_carried_tier_that_this_profile_has_not_is_its_deepest(tier: int, place: int) -> None:
    """A profile with fewer tiers begins in its last one, not in none."""
    one = account(1000)

    one.carry({"high_water_mark": "2000", "tier": tier})

    assert (one.high_water_mark, one.tier, one.is_carried) == (2000 * UNIT, place, True)


@pytest.mark.parametrize("largest", ["9000", "0"])
def test_tier_halves_an_order_also_where_the_venue_names_no_largest_quantity(largest: str) -> None:
    """Zero means no limit at the venue, and is none of the limits that cut an entry."""
    profile = config(risk__drawdown_tiers=TIERS, risk__account_drawdown_bps_hard=2500)
    desk = Desk(profile).ready()
    desk.instrument(qty_max=largest)
    desk.buy()
    desk.risk._state.budgets.account.open(11_200 * UNIT, 0)
    desk.tick("99.98", "100.00")

    half = desk.signal("BUY")

    assert actions(half) == [("REDUCE", "reduced")]
    assert intents(half)[0].qty == "5.000"
    assert check_of(half[0], "tier_notional")["threshold"] == "500.00000000"


@pytest.mark.row("D-35")
@pytest.mark.row("D-27")
def test_entries_shrink_then_halt_and_exits_stay() -> None:
    """In REDUCING half an order enters, in HALTED none; the position can still be sold."""
    profile = config(risk__drawdown_tiers=TIERS, risk__account_drawdown_bps_hard=2500)
    desk = Desk(profile).ready()
    desk.buy()
    desk.risk._state.budgets.account.open(11_200 * UNIT, 0)
    desk.tick("99.98", "100.00")

    half = desk.signal("BUY")
    desk.tick("99.98", "100.00")
    desk.risk._state.budgets.account.open(12_600 * UNIT, 0)
    desk.tick("99.99", "100.00")
    none = desk.signal("BUY")
    sold = desk.signal("SELL")

    assert actions(half) == [("REDUCE", "reduced")]
    assert check_of(half[0], "tier_notional")["threshold"] == "500.00000000"
    assert actions(none) == [("BLOCK", "account_drawdown")]
    assert check_of(none[0], "account_drawdown_bps")["threshold"] == "1700.0000"
    assert actions(sold) == [("EXIT", "signal_exit")]


def test_facts_tell_how_far_the_account_has_fallen_and_how_far_it_may() -> None:
    """A carried mark is far above the night's own, and its hard limit can end the run."""
    profile = config(risk__account_drawdown_bps_hard=1000, risk__drawdown_bps_soft=300)
    carried = {"high_water_mark": "10000", "tier": 0}
    desk = Desk(profile, first=replace(opening("9020"), account=carried)).ready()
    before = desk.risk.facts()
    desk.buy()
    desk.tick("98.10", "98.10")

    fallen = desk.risk.facts()

    assert before["account_high_water_mark"] == "10000.00000000"
    assert before["account_drawdown_bps"] == "980.0000"
    assert before["headroom"]["account_drawdown_bps"] == "20.0000"
    assert fallen["equity"] == "9000.90191000"
    assert fallen["account_drawdown_bps"] == "999.0981"
    assert fallen["headroom"]["account_drawdown_bps"] == "0.9019"
    assert parse_amount(fallen["drawdown_bps"]) < parse_amount("50")
    assert actions(desk.tick("90", "90")) == [("STOP", "RISK_LIMIT")]


def test_facts_tell_what_is_left_before_the_account_is_halted() -> None:
    """A tier that refuses entries is a limit; while it holds, less than nothing is left."""
    desk = Desk(config(risk__drawdown_tiers=TIERS)).ready()
    desk.tick("100", "100")
    whole = desk.risk.facts()
    desk.risk._state.budgets.account.open(12_600 * UNIT, 3)

    halted = desk.risk.facts()

    assert whole["headroom"]["account_drawdown_bps"] == "2000.0000"
    assert halted["account"] == "HALTED"
    over = parse_amount("1700") - parse_amount(halted["account_drawdown_bps"])
    assert parse_amount(halted["headroom"]["account_drawdown_bps"]) == over < 0


def test_facts_of_a_profile_without_limits_of_the_account_tell_none() -> None:
    """A figure that nothing limits is left out."""
    fields = Desk(config()).ready().risk.facts()

    assert not {"account", "account_drawdown_bps", "account_high_water_mark"} & fields.keys()
    assert "account_drawdown_bps" not in fields["headroom"]


@pytest.mark.row("D-27")
def test_entry_that_sizing_made_small_shrinks_in_reducing_too() -> None:
    """Half of what the entry wants enters, not half of the amount of the profile."""
    keys = {"risk__sizing": "risk", "risk__stop_bps": "500", "risk__risk_per_trade_bps": 10}
    tiers = {"risk__drawdown_tiers": TIERS, "risk__account_drawdown_bps_hard": 2500}
    desk = Desk(config(**keys, **tiers)).ready()
    desk.tick("99.98", "100.00")
    whole = desk.signal("BUY")
    desk = Desk(config(**keys, **tiers)).ready()
    desk.risk._state.budgets.account.open(11_200 * UNIT, 1)
    desk.tick("99.98", "100.00")

    half = desk.signal("BUY")

    wanted = parse_amount(check_of(whole[0], "cash_with_fee")["value"])
    limit = parse_amount(check_of(half[0], "tier_notional")["threshold"])
    assert actions(whole) == [("ALLOW", "allowed")]
    assert actions(half) == [("REDUCE", "reduced")]
    assert 0 <= limit - wanted // 2 < UNIT  # The order is in whole steps, the limit is not.


@pytest.mark.row("D-27")
@pytest.mark.parametrize(
    ("keys", "rules", "cash"),
    [
        ({"position_notional_max": "400"}, {}, 10_000),
        ({"exposure_ratio_max_bps": 400}, {}, 10_000),
        ({"night_notional_soft": "400"}, {}, 10_000),
        ({}, {}, 400),
        ({**RISKED, "position_notional_max": "400"}, {}, 10_000),
        ({**RISKED, "symbol_notional_max": {SYMBOL: "400"}}, {}, 10_000),
        ({}, {"market_qty_max": "4"}, 10_000),
        ({}, {"position_max": "4"}, 10_000),
    ],
)
def test_entry_that_a_limit_made_small_shrinks_in_reducing_too(
    keys: JsonObject, rules: dict[str, str], cash: int
) -> None:
    """Two coins enter in REDUCING of the four that any limit leaves in ACTIVE."""
    profile = config(risk__drawdown_tiers=TIERS, risk__account_drawdown_bps_hard=2500)
    profile["risk"] |= keys
    bought = []
    for percent, place in ((100, 0), (112, 1)):
        desk = Desk(profile, first=opening(str(cash)))
        desk.instrument(**rules)
        desk.risk._state.budgets.account.open(cash * UNIT * percent // 100, place)
        desk.tick("99.98", "100.00")
        (intent,) = intents(desk.signal("BUY"))
        bought.append(intent.qty)

    assert bought == ["4.000", "2.000"]


def test_position_counts_against_the_venues_largest_one_in_reducing_too() -> None:
    """Two coins enter in REDUCING of the four that the venue takes beside the two that are held."""
    profile = config(risk__drawdown_tiers=TIERS, risk__account_drawdown_bps_hard=2500)
    lot = {"symbol": SYMBOL, "qty": "2", "price": "100", "ts": 1}
    bought = []
    for percent, place in ((100, 0), (112, 1)):
        desk = Desk(profile, first=opening("9800", (lot,)))
        desk.instrument(position_max="6")
        desk.risk._state.budgets.account.open(10_000 * UNIT * percent // 100, place)
        desk.tick("99.98", "100.00")
        (intent,) = intents(desk.signal("BUY"))
        bought.append(intent.qty)

    assert bought == ["4.000", "2.000"]


def test_full_position_is_the_reason_in_reducing_too_where_no_value_is_too_small() -> None:
    """A venue without a least value leaves the tier nothing to halve; its largest position does."""
    profile = config(risk__drawdown_tiers=TIERS, risk__account_drawdown_bps_hard=2500)
    lot = {"symbol": SYMBOL, "qty": "2", "price": "100", "ts": 1}
    desk = Desk(profile, first=opening("9800", (lot,)))
    desk.instrument(position_max="2", notional_min="0")
    desk.risk._state.budgets.account.open(11_200 * UNIT, 1)
    desk.tick("99.98", "100.00")

    assert actions(desk.signal("BUY")) == [("BLOCK", "position_max")]


def test_least_entry_that_a_limit_leaves_is_halved_in_reducing_and_so_refused() -> None:
    """Half of ten, the least that the venue takes, is too small, though more was wanted."""
    profile = config(risk__drawdown_tiers=TIERS, risk__account_drawdown_bps_hard=2500)
    profile["risk"] |= {"position_notional_max": "10"}
    answers = []
    for percent, place in ((100, 0), (112, 1)):
        desk = Desk(profile)
        desk.instrument()
        desk.risk._state.budgets.account.open(10_000 * UNIT * percent // 100, place)
        desk.tick("99.98", "100.00")
        answers.append(actions(desk.signal("BUY")))

    assert answers == [[("REDUCE", "reduced")], [("BLOCK", "drawdown_tier")]]


@pytest.mark.row("D-27")
def test_spent_budget_is_the_reason_in_reducing_too() -> None:
    """A limit that leaves too little for any order is the reason, and not the tier."""
    tiers = {"risk__drawdown_tiers": TIERS, "risk__account_drawdown_bps_hard": 2500}
    for limit in ("0.01", "9.99"):
        desk = Desk(config(risk__night_notional_soft=limit, **tiers)).ready()
        desk.risk._state.budgets.account.open(11_200 * UNIT, 1)
        desk.tick("99.98", "100.00")

        assert actions(desk.signal("BUY")) == [("BLOCK", "night_notional")]


@pytest.mark.row("D-27")
def test_hard_drawdown_of_the_account_stops_the_run() -> None:
    """A fall beyond the hard value from the account's mark is a STOP, however young the night."""
    desk = Desk(config(risk__account_drawdown_bps_hard=1000)).ready()
    desk.buy()
    desk.risk._state.budgets.account.open(11_100 * UNIT, 0)
    within = desk.tick("99.03", "99.05")  # Equity is a little above 9,990.
    beyond = desk.tick("98.90", "98.92")

    assert actions(within) == []
    assert actions(beyond) == [("STOP", "RISK_LIMIT")]
    assert check_of(beyond[0], "account_drawdown_bps_hard")["threshold"] == "1000.0000"


def test_account_carried_beyond_its_hard_drawdown_buys_nothing_without_tiers() -> None:
    """At the limit a purchase passes; a unit beyond it refuses it, before a fill ends the run."""
    answers = []
    for cash in ("9000.00000000", "8999.99999999"):
        first = replace(opening(cash), account={"high_water_mark": "10000", "tier": 0})
        desk = Desk(config(risk__account_drawdown_bps_hard=1000), first=first).ready()
        answers.append(desk.signal("BUY"))

    within, beyond = answers
    assert actions(within) == [("ALLOW", "allowed")]
    assert actions(beyond) == [("BLOCK", "account_drawdown")]
    assert check_of(beyond[0], "account_drawdown_bps")["threshold"] == "1000.0000"
    (allowed,) = of(within, RiskAction)
    assert "account_drawdown_bps" not in [check.name for check in allowed.checks]


@pytest.mark.row("D-27")
@pytest.mark.parametrize("carried", [False, True])
def test_old_loss_of_a_carried_lot_counts_against_a_carried_mark_alone(carried: bool) -> None:
    """A lot at half its cost draws no fresh account down; a carried mark is the account's own."""
    profile = config(risk__drawdown_tiers=TIERS, risk__account_drawdown_bps_hard=2500)
    lots = [{"symbol": SYMBOL, "qty": "50", "price": "100", "ts": START - 1, "fill_id": "f"}]
    first = opening("5000", lots)
    if carried:
        first = replace(first, account={"high_water_mark": "10000", "tier": 0})
    desk = Desk(profile, first=first)
    desk.instrument()

    events = desk.tick("50.00", "50.00")
    desk.restarted()
    events += desk.tick("43.00", "43.00")  # 350 below 7,500, which is 467 bps.

    found = desk.risk._state.budgets.account
    if carried:
        assert actions(events) == [("STOP", "RISK_LIMIT")]
    else:
        assert actions(events) == []
        assert (found.high_water_mark, found.state_name) == (7500 * UNIT, "ACTIVE")


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize(
    ("cost", "last", "prices", "mark", "fallen"),
    [
        # Equity at cost would be 9,500, a STOP at 952 bps.
        ("80", "120", ("100.00", "120.00"), 10_500, "0.0000"),
        # Equity at cost would be 10,500, a mark that never was.
        ("120", "80", ("100.00", "80.00"), 10_000, "500.0000"),
    ],
)
def test_carried_lot_without_a_price_counts_at_the_mark_of_the_run_before(
    cost: str, last: str, prices: tuple[str, str], mark: int, fallen: str, is_restarted: bool
) -> None:
    """At the first price of one of two lots the account has the other at its last one."""
    profile = config(risk__account_drawdown_bps_hard=900)
    lots = [
        {"symbol": SYMBOL, "qty": "25", "price": "100", "ts": START - 1, "fill_id": "f"},
        {"symbol": OTHER, "qty": "25", "price": cost, "ts": START - 1, "fill_id": "g"},
    ]
    former = {"high_water_mark": str(mark), "tier": 0}
    marks = {SYMBOL: "100", OTHER: last}
    desk = Desk(profile, first=replace(opening("5000", lots), account=former, marks=marks))
    desk.instrument()
    desk.instrument(OTHER)

    events = desk.tick(prices[0], prices[0])
    early = desk.risk.facts()["account"], standing(desk)
    if is_restarted:
        desk.restarted()
    events += desk.tick(prices[1], prices[1], symbol=OTHER)

    assert actions(events) == []
    assert early == ("ACTIVE", (f"{mark}.00000000", fallen))
    assert standing(desk) == (f"{mark}.00000000", fallen)


def test_carried_lot_without_a_price_moves_the_bound_of_the_others() -> None:
    """The price at which the account's hard drawdown is passed counts the lot that waits."""
    profile = config(risk__account_drawdown_bps_hard=900, risk__stop_bps="9000")
    lots = [
        {"symbol": SYMBOL, "qty": "25", "price": "100", "ts": START - 1, "fill_id": "f"},
        {"symbol": OTHER, "qty": "25", "price": "80", "ts": START - 1, "fill_id": "g"},
    ]
    former = {"high_water_mark": "10000", "tier": 0}
    marks = {SYMBOL: "100", OTHER: "100"}
    desk = Desk(profile, first=replace(opening("5000", lots), account=former, marks=marks))
    desk.instrument()
    desk.instrument(OTHER)
    desk.tick("100.00", "100.00")
    desk.tick("99.00", "99.00")
    desk.beat()

    quiet = desk.risk.quiet_range(SYMBOL, desk.ts)
    within = desk.tick("64.00", "64.00")
    beyond = desk.tick("63.99", "63.99")

    assert isinstance(quiet, QuietRange)
    assert (quiet.least, quiet.most) == (128 * UNIT, 200 * UNIT + 1)
    assert actions(within) == []
    assert actions(beyond) == [("STOP", "RISK_LIMIT")]


def standing(desk: Desk) -> tuple[str, str]:
    """Return the account's mark and drawdown that the next minute's beat tells."""
    (answer,) = of(desk.beat(60_000), RiskStanding)
    return answer.high_water_mark, answer.drawdown_bps


def test_beat_tells_a_mark_or_a_tier_that_changed_within_its_minute() -> None:
    """A higher mark in the same tier, and a tier below the same mark, are each told once."""
    lot = {"symbol": SYMBOL, "qty": "90", "price": "100", "ts": 1}
    keys = {"risk__drawdown_tiers": TIERS, "risk__account_drawdown_bps_hard": 2500}
    desk = Desk(config(**keys), first=opening("1000", (lot,))).ready()
    told = [len(of(desk.beat(), RiskStanding)) for _ in range(2)]
    for price in ("102", "90"):
        desk.tick(price, price)
        told += [len(of(desk.beat(), RiskStanding)) for _ in range(2)]

    assert told == [1, 0, 1, 0, 1, 0]


def test_mark_of_a_fresh_account_follows_the_lot_that_is_marked_behind_a_snapshot() -> None:
    """A core restored before the first mark of a carried lot moves the account's mark as well."""
    profile = config(risk__drawdown_tiers=TIERS, risk__account_drawdown_bps_hard=2500)
    lots = [{"symbol": SYMBOL, "qty": "50", "price": "100", "ts": START - 1, "fill_id": "f"}]
    for account_of, mark in ((None, 7500), ({"high_water_mark": "9000", "tier": 0}, 9000)):
        desk = Desk(profile, first=replace(opening("5000", lots), account=account_of))
        desk.instrument()
        desk.restarted()

        desk.tick("50.00", "50.00")

        assert desk.risk._state.budgets.account.high_water_mark == mark * UNIT


@pytest.mark.row("B-09")
def test_week_counts_over_days_and_begins_anew_on_monday() -> None:
    """Entries of two days share a week's budget; on Monday the whole budget is there again."""
    profile = config(risk__week_notional_soft="1500", risk__week_notional_hard="9000")
    desk = Desk(profile).ready()
    desk.buy()
    desk.ts += 86_400_000
    desk.tick()
    less = desk.signal("BUY")
    desk.tick()
    none = desk.signal("BUY")
    desk.restarted()
    monday = (START // WEEK_MS * WEEK_MS) + 4 * 86_400_000
    desk.ts = monday + (0 if monday > desk.ts else WEEK_MS)
    desk.tick(after_ms=0)
    whole = desk.signal("BUY")

    assert actions(less) == [("REDUCE", "reduced")]
    assert actions(none) == [("BLOCK", "week_notional")]
    assert actions(whole) == [("ALLOW", "allowed")]


@pytest.mark.row("B-09")
def test_week_loss_of_earlier_runs_refuses_the_first_entry() -> None:
    """Losses of earlier runs in the week count: one unit beyond the limit nothing enters."""
    profile = config(risk__week_loss_soft="50", risk__week_loss_hard="500")
    outcomes = []
    for used in ("50", "50.00000001"):
        desk = Desk(profile, first=opening(week_loss=used)).ready()
        outcomes.append(actions(desk.signal("BUY"))[0])

    assert outcomes == [("ALLOW", "allowed"), ("BLOCK", "week_loss")]


def test_quiet_range_ends_where_a_tier_begins() -> None:
    """Risk is told of the tick that changes a tier, and of none before it that could."""
    profile = config(
        risk__drawdown_tiers=TIERS, risk__account_drawdown_bps_hard=2500, risk__stop_bps="9000"
    )
    desk = Desk(profile).ready()
    for _ in range(9):
        desk.buy()
    state = desk.risk._state
    desk.tick("99.98", "100.00")
    quiet = desk.risk.quiet_range(SYMBOL, desk.ts)
    assert isinstance(quiet, QuietRange)
    least = quiet.least

    desk.tick(f"{least // 2 / UNIT:.8f}", f"{(least - least // 2) / UNIT:.8f}")
    before = state.budgets.account.tier
    cent = UNIT // 100
    desk.tick(f"{(least // 2 - cent) / UNIT:.8f}", f"{(least - least // 2 - cent) / UNIT:.8f}")

    assert (before, state.budgets.account.tier) == (0, 1)


@pytest.mark.row("D-38")
@pytest.mark.row("D-07")
@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ({"drawdown_tiers": [{"drawdown_bps": 100, "back_bps": 50}]}, "state"),
        ({"drawdown_tiers": [TIERS[2] | {"state": "SLOW"}]}, "state"),
        ({"drawdown_tiers": TIERS, "account_drawdown_bps_hard": 2000}, "hard (2000)"),
        ({"drawdown_tiers": TIERS}, "account_drawdown_bps_hard"),
        ({"drawdown_tiers": [TIERS[1], TIERS[0]]}, "above the tier before"),
        ({"drawdown_tiers": [TIERS[2], TIERS[2] | {"drawdown_bps": 2100}]}, "back_bps"),
        ({"drawdown_tiers": [TIERS[0] | {"back_bps": 1000}]}, "below drawdown_bps"),
        ({"drawdown_tiers": [TIERS[2] | {"entry_percent": 5}]}, "entry_percent"),
        ({"drawdown_tiers": [{**TIERS[2], "state": "REDUCING"}]}, "entry_percent"),
        ({"week_loss_soft": "5"}, "week_loss_hard"),
        ({"week_loss_soft": "5", "week_loss_hard": "4"}, "at most"),
        ({"week_notional_soft": "0", "week_notional_hard": "4"}, "above zero"),
    ],
)
def test_unmapped_or_contradictory_limits_are_refused(sets: JsonObject, words: str) -> None:
    """A tier without a state, beyond the hard drawdown or out of order does not load."""
    if "drawdown_tiers" in sets and words != "account_drawdown_bps_hard":
        sets = {"account_drawdown_bps_hard": 2500} | sets
    texts = [f"risk.{key}={json.dumps(value)}" for key, value in sets.items()]

    with pytest.raises(ConfigError) as refused:
        load_config(PROJECT / "config" / "nore.v1.json", texts)

    assert [line for line in refused.value.violations if words in line]
