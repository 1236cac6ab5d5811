"""Limits on both sides of their boundary: at the limit passes, beyond it does not."""

from __future__ import annotations

from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from minibot.events.model import Event, RiskAction, RunOpening
from minibot.events.money import UNIT, parse_amount
from minibot.events.unit_sizes import BPS, DAY_MS
from minibot.kernel.canonical import encode
from minibot.kernel.errors import InvariantError
from minibot.risk.core import core_from_state
from minibot.risk.limits import Limits
from tests.risk.desk import (
    HASH,
    OTHER,
    RUN_ID,
    SYMBOL,
    Desk,
    actions,
    check_of,
    check_text,
    config,
    fills,
    intents,
    of,
    opening,
)

LOT = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}
FLAT: dict[str, Any] = {"bid": "100", "ask": "100"}


def desk(first: RunOpening | None = None, **changes: Any) -> Desk:
    """Return a desk at a touch of 100 to 100, so an order of 1,000 is exactly ten coins."""
    made = Desk(config(**changes), first=first)
    made.instrument()
    made.tick(**FLAT)
    return made


def holder(**changes: Any) -> Desk:
    """Return a desk that came with ten coins at 100 and 9,000 in cash: equity 10,000."""
    return desk(opening("9000", (LOT,)), **changes)


# --- what bounds the size ---------------------------------------------------------------------


@pytest.mark.row("D-02", "D-34", "N-64", "D-35")
@pytest.mark.parametrize(
    ("changes", "outcome", "qty"),
    [
        ({"risk__position_notional_max": "1000"}, ("ALLOW", "allowed"), "10.000"),
        ({"risk__position_notional_max": "999.99"}, ("REDUCE", "reduced"), "9.999"),
        ({"risk__position_notional_max": "10"}, ("REDUCE", "reduced"), "0.100"),
        ({"risk__position_notional_max": "9.99"}, ("BLOCK", "position_limit"), None),
        ({"risk__exposure_ratio_max_bps": 1000}, ("ALLOW", "allowed"), "10.000"),
        ({"risk__exposure_ratio_max_bps": 999}, ("REDUCE", "reduced"), "9.990"),
        ({"risk__exposure_ratio_max_bps": 9}, ("BLOCK", "exposure_limit"), None),
        ({"risk__night_notional_soft": "1000"}, ("ALLOW", "allowed"), "10.000"),
        ({"risk__night_notional_soft": "999.9"}, ("REDUCE", "reduced"), "9.999"),
        ({"risk__night_notional_soft": "5"}, ("BLOCK", "night_notional"), None),
        ({"risk__day_notional_soft": "500"}, ("REDUCE", "reduced"), "5.000"),
        ({"risk__day_notional_soft": "5"}, ("BLOCK", "day_notional"), None),
        ({"risk__order_notional": "10"}, ("ALLOW", "allowed"), "0.100"),
        ({"risk__order_notional": "9.99"}, ("BLOCK", "min_notional"), None),
        ({"risk__order_notional": "1234.56"}, ("ALLOW", "allowed"), "12.345"),
    ],
)
def test_entry_is_sized_by_what_every_limit_leaves(
    changes: dict[str, Any], outcome: tuple[str, str], qty: str | None
) -> None:
    """An entry at a limit passes whole, beyond it shrinks, below the minimum is blocked."""
    events = desk(**changes).signal("BUY")

    assert actions(events) == [outcome]
    assert [intent.qty for intent in intents(events)] == ([] if qty is None else [qty])
    checks = events[0].to_json()["payload"]["checks"]
    assert all(check["passed"] for check in checks) == (outcome[0] == "ALLOW")


@pytest.mark.parametrize(
    ("changes", "least", "wanted"),
    [
        # 10 / (0.95 x 0.95), with a fee in coins of 1 % over 0.99, and a step; 10 / (0.99 x 0.95).
        ({"risk__hard_stop_bps": "500"}, "11.1", "11.08033241"),
        ({"risk__stop_bps": "100"}, "10.7", "10.63264222"),
        ({"risk__hard_stop_bps": "500", "risk__stop_bps": "100"}, "11.1", "11.08033241"),
        (
            {
                "risk__hard_stop_bps": "500",
                "execution__fee_asset": "base",
                "execution__taker_fee_bps": "100",
            },
            "11.3",
            "11.29225496",
        ),
    ],
)
def test_least_entry_can_still_be_sold_beyond_its_stop(
    changes: dict[str, Any], least: str, wanted: str
) -> None:
    """An entry at the venue's minimum is blocked; the least one is sold where a gap passes a stop.

    Below that the venue would refuse the sale, and the position would keep its slot.
    """
    fields = {}
    for order in ("10", str(Decimal(least) - Decimal("0.1")), least):
        made = desk(risk__order_notional=order, **changes)
        made.bar("100", "100", "100", "100")
        made.tick(**FLAT)
        fields[order] = made.signal("BUY")
    made.tick(**FLAT)
    stop = "95" if "risk__hard_stop_bps" in changes else "99"
    sold = made.tick(f"{Decimal(stop) * Decimal('0.955'):.2f}", "100")

    *blocked, allowed = fields.values()
    assert [actions(each) for each in blocked] == [[("BLOCK", "min_notional")]] * 2
    assert check_of(blocked[0][0], "order_notional")["threshold"] == wanted
    assert actions(allowed) == [("ALLOW", "allowed")]
    assert check_of(allowed[0], "order_notional")["threshold"] == "10.00000000"
    assert [intent.side for intent in intents(sold)] == ["SELL"]


def test_entry_of_exactly_what_can_be_sold_beyond_its_stop_is_allowed() -> None:
    """A coin for 100 at a stop of 99 with its reserve sells for 94.05; a tenth for 9.405."""
    made = desk(risk__order_notional="10", risk__stop_bps="100")
    made.instrument(notional_min="9.405")
    made.bar("100", "100", "100", "100")
    made.tick(**FLAT)

    assert actions(made.signal("BUY")) == [("ALLOW", "allowed")]


def test_entry_beside_a_position_needs_no_more_than_the_venue_takes() -> None:
    """Position and entry are sold together."""
    made = holder(risk__order_notional="10", risk__hard_stop_bps="500")
    made.bar("100", "100", "100", "100")
    made.tick(**FLAT)

    assert actions(made.signal("BUY")) == [("ALLOW", "allowed")]


@pytest.mark.row("D-02", "D-34")
@pytest.mark.parametrize(
    ("cash", "outcome", "qty"),
    [
        ("1001", ("ALLOW", "allowed"), "10.000"),
        ("1000.99", ("REDUCE", "reduced"), "9.999"),
        ("10.01", ("REDUCE", "reduced"), "0.100"),
        ("10", ("BLOCK", "insufficient_cash"), None),
        ("0", ("BLOCK", "insufficient_cash"), None),
    ],
)
def test_entry_costs_no_more_than_the_cash_with_its_fee(
    cash: str, outcome: tuple[str, str], qty: str | None
) -> None:
    """Ten coins and a fee of ten bps cost 1,001; with a cent less a step less is bought."""
    events = desk(opening(cash), execution__taker_fee_bps="10").signal("BUY")

    assert actions(events) == [outcome]
    assert [intent.qty for intent in intents(events)] == ([] if qty is None else [qty])


def test_position_at_its_limit_blocks_further_entries_by_name() -> None:
    """A position at its limit blocks a BUY with position_limit and its figures."""
    made = desk(risk__position_notional_max="1000")
    made.buy()

    events = made.signal("BUY")

    assert actions(events) == [("BLOCK", "position_limit")]
    check = check_of(events[0], "position_notional")
    assert check["value"] == "2000.00000000"
    assert check["threshold"] == "1000.00000000"
    assert check["passed"] is False


@pytest.mark.row("D-35")
def test_orders_in_flight_use_exposure_cash_and_notional() -> None:
    """Open orders use exposure, cash and notional, so a second symbol gets only the rest."""
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"risk__exposure_ratio_max_bps": 1500}, "10000", "exposure"),
        ({"risk__night_notional_soft": "1500"}, "10000", "night_notional"),
        ({}, "1500", "cash_with_fee"),
    ]
    for change, cash, reason in cases:
        made = desk(opening(cash), **change)
        made.instrument(OTHER)
        made.tick(**FLAT, symbol=OTHER)
        first = made.signal("BUY")
        second = made.signal("BUY", symbol=OTHER)

        assert intents(first)[0].qty == "10.000"
        assert [(intent.symbol, intent.qty) for intent in intents(second)] == [(OTHER, "5.000")]
        assert check_of(second[0], reason)["passed"] is False


@pytest.mark.parametrize(("most", "action"), [(2, "ALLOW"), (1, "BLOCK")])
def test_positions_max_counts_held_and_ordered_symbols(most: int, action: str) -> None:
    """A symbol that is only ordered counts as a position."""
    made = desk(risk__positions_max=most)
    made.instrument(OTHER)
    made.tick(**FLAT, symbol=OTHER)
    made.signal("BUY")

    assert actions(made.signal("BUY", symbol=OTHER))[0][0] == action


@pytest.mark.parametrize(("qty", "action"), [("0.099", "ALLOW"), ("0.100", "BLOCK")])
def test_position_worth_less_than_the_least_order_takes_no_slot(qty: str, action: str) -> None:
    """A slot of what is below 10 USDT, and cannot be sold, would be lost from night to night."""
    lot = {"symbol": OTHER, "qty": qty, "price": "100", "ts": 1}
    made = desk(opening("9991", (lot,)), risk__positions_max=1)
    made.instrument(OTHER)

    assert actions(made.signal("BUY"))[0][0] == action


def test_position_too_small_for_a_slot_takes_one_while_it_is_bought() -> None:
    """A purchase beside what is too little to sell is on its way to be a position."""
    lot = {"symbol": OTHER, "qty": "0.099", "price": "100", "ts": 1}
    made = desk(opening("9991", (lot,)), risk__positions_max=1)
    made.instrument(OTHER)
    made.tick(**FLAT, symbol=OTHER)
    made.signal("BUY", symbol=OTHER)

    assert actions(made.signal("BUY")) == [("BLOCK", "positions_max")]


# --- night and day notional -------------------------------------------------------------------


@pytest.mark.row("N-64", "N-67", "N-32")
@pytest.mark.parametrize("name", ["night_notional", "day_notional"])
@pytest.mark.parametrize("soft", [None, "400", "500"])
def test_notional_limit_below_one_order_is_breached_by_the_first_intent(
    name: str, soft: str | None
) -> None:
    """A hard notional limit without a soft one is a STOP at the first larger intent."""
    changes: dict[str, Any] = {f"risk__{name}_soft": soft, f"risk__{name}_hard": "400"}
    made = desk(**changes)

    events = made.signal("BUY")

    assert actions(events) == [("STOP", "RISK_LIMIT")]
    assert intents(events) == []
    check = check_of(events[0], f"{name}_hard")
    assert (check["value"], check["threshold"]) == ("1000.00000000", "400.00000000")


@pytest.mark.row("N-64")
def test_notional_at_a_limit_that_is_hard_at_once_passes() -> None:
    """An order as large as a hard limit passes; the next one does not."""
    made = desk(risk__night_notional_soft=None, risk__night_notional_hard="1000")

    assert actions(made.buy()) == [("ALLOW", "allowed")]
    assert actions(made.signal("BUY")) == [("STOP", "RISK_LIMIT")]


@pytest.mark.row("N-64", "N-67")
def test_nothing_follows_a_stop() -> None:
    """Risk is silent after its STOP."""
    made = desk(risk__night_notional_soft=None, risk__night_notional_hard="400")
    made.signal("BUY")

    events = made.signal("BUY") + made.signal("SELL") + made.tick() + made.beat()

    assert events == []


@pytest.mark.row("N-64")
def test_night_notional_counts_entries_and_not_exits() -> None:
    """Exits do not use the night's notional: of 1,500, 500 are left after 1,000 bought and sold."""
    made = desk(risk__night_notional_soft="1500")
    made.buy()
    made.signal("SELL")
    made.tick()

    events = made.signal("BUY")

    assert intents(events)[0].qty == "5.000"


def test_week_counts_each_purchase_once() -> None:
    """Three purchases of a thousand use three thousand, and the fourth is beyond them."""
    made = Desk(config(risk__week_notional_soft="3000", risk__week_notional_hard="9000"))
    made.instrument()
    made.tick(**FLAT)

    left = []
    for _ in range(3):
        made.signal("BUY")
        made.tick(**FLAT)
        left.append(made.risk.facts()["headroom"]["week_notional"])

    assert left == ["2000.00000000", "1000.00000000", "0.00000000"]
    assert actions(made.signal("BUY")) == [("BLOCK", "week_notional")]

    made.tick(after_ms=7 * DAY_MS)
    assert made.risk.facts()["headroom"]["week_notional"] == "3000.00000000"


def billions(**changes: Any) -> Desk:
    """Return a desk with a hundred billion of a small currency, that buys for fifteen at once."""
    sections = [f"{span}_{what}" for span in ("night", "day") for what in ("notional", "loss")]
    wide = {f"risk__{name}_{kind}": "50000000000" for name in sections for kind in ("soft", "hard")}
    wide |= {"risk__order_notional": "15000000000", "risk__position_notional_max": "40000000000"}
    made = Desk(config(**(wide | changes)), first=opening("100000000000"))
    made.instrument(qty_max="900000000", market_qty_max="900000000")
    made.tick(**FLAT, ask_qty="900000000")
    made.signal("BUY")
    made.tick(**FLAT, ask_qty="900000000")
    return made


def test_limit_that_a_profile_lacks_holds_for_no_amount() -> None:
    """Without limits of the week nothing but cash bounds what it buys, and it may lose all that."""
    made = billions()
    bought = actions(made.signal("BUY"))
    made.tick(**FLAT, ask_qty="900000000")
    lost = made.tick("50", "50")

    assert [fill.qty for fill in fills(made.events("fills"))] == ["150000000.000"] * 2
    assert (bought, actions(lost)) == ([("ALLOW", "allowed")], [])
    assert "week_loss" not in made.risk.facts()["headroom"]


def test_limit_of_any_amount_holds() -> None:
    """A limit above a dozen billions is shown, and ends the run, as any other."""
    made = billions(risk__week_loss_hard="14000000000", risk__week_loss_soft="13000000000")
    left = made.risk.facts()["headroom"]["week_loss"]
    said = [actions(made.tick(price, price)) for price in ("10", "6.67", "6.66")]

    assert left == "13000000000.00000000"
    assert said == [[], [], [("STOP", "RISK_LIMIT")]]


PACED: dict[str, Any] = {"risk__night_notional_soft": "10000", "risk__night_notional_pace": 10}
HOUR_MS = 3_600_000


def paced(first: RunOpening | None = None) -> Desk:
    """A desk whose night of ten hours may buy for 10,000, a tenth of it at once."""
    profile = config(**PACED) | {"duration_ms": 10 * HOUR_MS}
    made = Desk(profile, first=first)
    made.instrument()
    made.tick(**FLAT)
    return made


def asked(made: Desk, ts: int) -> tuple[str, str]:
    """Return risk's answer to an entry at a market time."""
    made.tick(**FLAT, after_ms=ts - made.ts)
    (pair,) = actions(made.signal("BUY"))
    made.tick(**FLAT)
    return pair


def test_pace_gives_the_nights_notional_with_its_time() -> None:
    """The head start buys once; each further entry waits for another tenth of the night."""
    made = paced(opening("50000"))
    began = made.ts - 100
    waiting = ("BLOCK", "night_notional_pace")

    assert asked(made, began + 200) == ("ALLOW", "allowed")
    assert asked(made, began + HOUR_MS - 1) == waiting
    assert asked(made, began + HOUR_MS) == ("ALLOW", "allowed")
    assert asked(made, began + HOUR_MS + 1) == waiting
    # What was not used is not lost; beyond nine tenths only the limit itself speaks.
    late = [asked(made, began + 9 * HOUR_MS + 1000 * n) for n in range(9)]
    assert late == [("ALLOW", "allowed")] * 8 + [("BLOCK", "night_notional")]


def test_pace_counts_a_wish_at_its_own_size() -> None:
    """Two entries of 500 use the head start of a thousand; a third one waits."""
    made = paced(opening("50000"))

    said = []
    for _ in range(3):
        made.tick(**FLAT)
        said += actions(made.signal("BUY", notional="500"))

    assert said == [("ALLOW", "allowed")] * 2 + [("BLOCK", "night_notional_pace")]


def test_exposure_has_no_room_below_zero() -> None:
    """Without equity nothing may be held, not even a hundred-millionth."""
    made = paced()
    state = made.risk._state
    state.budgets.equity = 0

    assert state.headroom(None).exposure_max() == 0


def test_entry_of_a_symbol_without_rules_is_refused_under_a_pace_too() -> None:
    """The pace needs no rules of the venue to be judged."""
    made = paced()
    made.tick(**FLAT, symbol=OTHER)

    (event,) = made.signal("BUY", symbol=OTHER)

    assert actions([event]) == [("BLOCK", "no_instrument")]


def test_pace_counts_what_earlier_runs_of_the_night_used() -> None:
    """A restart is not a second head start, and its own planned time counts from its opening."""
    made = paced(opening(night_notional="1000"))
    began = made.ts - 100

    assert asked(made, began + HOUR_MS - 1) == ("BLOCK", "night_notional_pace")
    assert asked(made, began + HOUR_MS) == ("ALLOW", "allowed")


def test_pace_is_the_same_after_a_restart_from_a_snapshot() -> None:
    """The night began when it began; a profile without the key keeps nothing of it."""
    made, plain = paced(), desk()
    began, state = made.ts - 100, made.risk.state()
    made.risk = core_from_state(made.profile, state)

    assert made.risk.state() == state
    assert "night_from" not in plain.risk.state()["budgets"]
    assert asked(made, began + 200) == ("ALLOW", "allowed")
    assert asked(made, began + HOUR_MS - 1) == ("BLOCK", "night_notional_pace")


def test_entry_beside_a_pace_that_is_off_has_no_check_of_it() -> None:
    """Recorded nights keep their bytes."""
    without, beside = desk().signal("BUY")[0], paced().signal("BUY")[0]

    assert "night_notional_paced" not in str(without.to_json())
    assert check_of(beside, "night_notional_paced")["threshold"] == "1000.02777777"


@pytest.mark.row("N-64", "B-09")
def test_day_notional_starts_anew_at_midnight_and_night_notional_does_not() -> None:
    """The day's notional starts again at midnight UTC of market time; the night's does not."""
    made = desk(risk__day_notional_soft="1000")
    made.buy()
    assert actions(made.signal("BUY")) == [("BLOCK", "day_notional")]
    midnight = (made.ts // DAY_MS + 1) * DAY_MS

    made.tick(**FLAT, after_ms=midnight - 1 - made.ts)
    before = actions(made.signal("BUY"))
    made.tick(**FLAT, after_ms=1)
    after = actions(made.signal("BUY"))

    assert before == [("BLOCK", "day_notional")]
    assert after == [("ALLOW", "allowed")]
    headroom = made.risk.facts()["headroom"]
    assert headroom["night_notional"] == "999000.00000000"


def test_day_begins_with_a_signal_that_comes_at_midnight() -> None:
    """A signal at midnight has the new day's budget, though no tick of that day came before it."""
    made = desk(risk__day_notional_soft="1000")
    made.buy()
    midnight = (made.ts // DAY_MS + 1) * DAY_MS
    made.tick(**FLAT, after_ms=midnight - 1 - made.ts)
    before = actions(made.signal("BUY"))
    made.ts = midnight

    assert before == [("BLOCK", "day_notional")]
    assert actions(made.signal("BUY")) == [("ALLOW", "allowed")]


def test_budgets_used_by_earlier_runs_count_and_the_day_part_ends_with_its_day() -> None:
    """Budgets used by earlier runs count; the day's part ends with its day."""
    made = desk(opening(day_notional="700"), risk__day_notional_soft="1000")

    first = made.signal("BUY")
    made.tick(**FLAT)
    made.ts = (made.ts // DAY_MS + 1) * DAY_MS
    made.tick(**FLAT)
    next_day = made.signal("BUY")

    assert intents(first)[0].qty == "3.000"
    assert intents(next_day)[0].qty == "10.000"


@pytest.mark.parametrize(
    "used",
    [{"weekly_loss": "1"}, {"night_loss": "-1"}, {"day_notional": "-0.00000001"}],
)
def test_unknown_or_negative_budget_in_the_opening_is_refused(used: dict[str, str]) -> None:
    """An unknown budget is refused, and a negative one where no gain can stand."""
    with pytest.raises(InvariantError):
        Desk(config(), first=RunOpening({"USDT": "10000"}, (), used))


# --- losses and drawdown ----------------------------------------------------------------------

LOSS = [
    ("night_loss", {"risk__night_loss_soft": "50", "risk__night_loss_hard": "100"}),
    ("day_loss", {"risk__day_loss_soft": "50", "risk__day_loss_hard": "100"}),
    ("drawdown", {"risk__drawdown_bps_soft": 50, "risk__drawdown_bps_hard": 100}),
]


@pytest.mark.row("N-64", "N-65", "N-67", "D-35", "N-85", "B-09")
@pytest.mark.parametrize(("reason", "changes"), LOSS)
@pytest.mark.parametrize(
    ("price", "entry", "stops"),
    [
        ("95", ("ALLOW", "allowed"), False),  # lost 50 of 10,000: at the soft value
        ("94.99", ("BLOCK", ""), False),
        ("90", ("BLOCK", ""), False),  # lost 100: at the hard value
        ("89.99", None, True),
    ],
)
def test_loss_at_soft_value_still_enters_and_beyond_hard_value_stops(
    reason: str, changes: dict[str, Any], price: str, entry: tuple[str, str] | None, stops: bool
) -> None:
    """A loss of the soft value still enters, beyond it entries end, beyond the hard one the run."""
    made = holder(**changes)

    fallen = made.tick(price, price)

    assert actions(fallen) == ([("STOP", "RISK_LIMIT")] if stops else [])
    if entry is not None:
        action, code = entry
        assert actions(made.signal("BUY")) == [(action, code or reason)]
    if stops:
        assert intents(fallen) == []
        assert made.risk.facts()["open_positions"] == [
            {"symbol": SYMBOL, "qty": "10.00000000", "entry_price_avg": "100.00000000"}
        ]


@pytest.mark.row("N-65")
def test_falling_tape_stops_exactly_at_the_drawdown_and_not_later() -> None:
    """The first tick with a drawdown beyond the limit ends the run, the one before does not."""
    made = holder(risk__drawdown_bps_soft=None, risk__drawdown_bps_hard=500)
    made.tick("110", "110")  # high-water mark 10,100; 5 % of it are 505
    stopped_at = None
    for cents in range(11000, 4000, -1):
        price = f"{cents // 100}.{cents % 100:02d}"
        if actions(made.tick(price, price)):
            stopped_at = price
            break

    # 10,100 - 505 = 9,595 = 9,000 + 10 * 59.50: at 59.50 the drawdown is at its limit.
    assert stopped_at == "59.49"
    check = check_of(made.events("risk_actions")[-1], "drawdown_bps_hard")
    assert check["threshold"] == "500.0000"
    assert check["value"] == "500.0991"


@pytest.mark.row("N-65")
def test_stop_names_every_hard_limit_that_one_tick_exceeds() -> None:
    """Two losses and the drawdown are exceeded at once: the STOP shows them, and no other limit."""
    made = holder(
        risk__night_loss_soft="50",
        risk__night_loss_hard="100",
        risk__day_loss_soft="50",
        risk__day_loss_hard="100",
        risk__drawdown_bps_soft=50,
        risk__drawdown_bps_hard=100,
    )

    (stopped,) = made.tick("89", "89")

    checks = stopped.to_json()["payload"]["checks"]
    assert actions([stopped]) == [("STOP", "RISK_LIMIT")]
    assert [(each["name"], each["value"], each["passed"]) for each in checks] == [
        ("night_loss_hard", "110.00000000", False),
        ("day_loss_hard", "110.00000000", False),
        ("drawdown_bps_hard", "110.0000", False),
    ]


@pytest.mark.row("N-65", "D-27")
def test_drawdown_is_counted_from_the_highest_equity_of_the_night() -> None:
    """Drawdown counts from the night's highest equity, gains included."""
    made = holder(risk__drawdown_bps_hard=500, risk__drawdown_bps_soft=400)
    made.tick("200", "200")

    assert actions(made.tick("145", "145")) == []
    assert actions(made.tick("144.99", "144.99")) == [("STOP", "RISK_LIMIT")]


@pytest.mark.row("N-65")
def test_drawdown_of_a_carried_lot_is_counted_from_its_first_mark() -> None:
    """Drawdown of a carried lot counts from its first mark."""
    made = Desk(
        config(risk__drawdown_bps_soft=None, risk__drawdown_bps_hard=100),
        first=opening("9000", (LOT,)),
    )
    made.instrument()

    assert actions(made.tick("50", "50")) == []
    assert actions(made.tick("40.50", "40.50")) == []
    assert actions(made.tick("40.49", "40.49")) == [("STOP", "RISK_LIMIT")]


def test_rules_that_leave_dust_stop_the_run_if_they_exceed_the_drawdown() -> None:
    """A fall of 375 is 3.75 % of 10,000 in all, and 6.98 % of the 5,375 beside what is dust now."""
    limits = {"risk__drawdown_bps_soft": 400, "risk__drawdown_bps_hard": 500}
    one = Desk(config(**limits, risk__order_notional="5000", execution__fee_asset="base")).ready()
    one.buy()
    assert actions(one.tick("92.50", "92.52")) == []

    (stop,) = one.instrument(qty_min="1000")

    assert actions([stop]) == [("STOP", "RISK_LIMIT")]
    assert check_text(stop, "drawdown_bps_hard") == "697.6096 / 500.0000"
    assert one.tick() == one.beat() == one.signal("BUY") == []


def test_fee_of_a_fill_counts_as_loss_and_can_stop_the_run() -> None:
    """A fill's fee alone can exceed a loss limit."""
    changes: dict[str, Any] = {"risk__night_loss_soft": "0.5", "execution__taker_fee_bps": "10"}
    assert actions(desk(risk__night_loss_hard="1", **changes).buy()) == [("ALLOW", "allowed")]

    events = desk(risk__night_loss_hard="0.99", **changes).buy()

    assert actions(events) == [("ALLOW", "allowed"), ("STOP", "RISK_LIMIT")]


def test_loss_of_a_carried_lot_before_this_night_is_not_this_nights_loss() -> None:
    """A carried lot's loss before this night does not count."""
    made = Desk(
        config(risk__night_loss_soft="50", risk__night_loss_hard="100"),
        first=opening("9000", (LOT,)),
    )
    made.instrument()

    assert actions(made.tick("50", "50")) == []
    assert actions(made.tick("40", "40")) == []
    assert actions(made.tick("39.99", "39.99")) == [("STOP", "RISK_LIMIT")]


@pytest.mark.row("B-09")
def test_move_of_a_carried_lot_since_the_run_before_is_the_days_not_the_nights() -> None:
    """From the carried mark on day and week count, the night from its own first mark."""
    week = {"risk__week_loss_soft": "50", "risk__week_loss_hard": "100000"}
    profile = config(risk__day_loss_soft="50", risk__day_loss_hard="100", **week)
    for mark, last, left, night in (("57", "50", -20, 0), ("45", "42", 20, 80)):
        made = Desk(profile, first=replace(opening("9000", (LOT,)), marks={SYMBOL: mark}))
        made.instrument()
        made.tick("50", "50")
        made.tick(last, last)
        headroom = made.risk.facts()["headroom"]

        assert parse_amount(headroom["day_loss"]) == left * UNIT
        assert parse_amount(headroom["week_loss"]) == left * UNIT
        assert parse_amount(headroom["night_loss"]) == (100_000 - night) * UNIT


@pytest.mark.parametrize("marks", [{OTHER: "1"}, {SYMBOL: "0"}, {SYMBOL: "-1"}])
def test_carried_mark_that_is_no_held_symbols_price_is_a_stop(marks: dict[str, str]) -> None:
    """A mark of a symbol without a lot, or one that is no price, is no opening."""
    with pytest.raises(InvariantError, match="mark"):
        Desk(config(), first=replace(opening("9000", (LOT,)), marks=marks))


def test_day_loss_starts_anew_at_midnight_and_night_loss_does_not() -> None:
    """The day's loss starts again at midnight; the night's does not."""
    made = holder(risk__day_loss_soft="50", risk__day_loss_hard="100")
    made.tick("94", "94")
    assert actions(made.signal("BUY")) == [("BLOCK", "day_loss")]

    made.ts = (made.ts // DAY_MS + 1) * DAY_MS
    made.tick("94", "94")

    assert actions(made.signal("BUY")) == [("ALLOW", "allowed")]
    headroom = made.risk.facts()["headroom"]
    assert headroom["day_loss"] == "50.00000000"
    assert headroom["night_loss"] == "99940.00000000"


# --- order rate -------------------------------------------------------------------------------


@pytest.mark.row("N-66")
def test_signal_burst_never_exceeds_the_soft_order_rate() -> None:
    """Ten signals a second for two minutes never exceed three orders a minute."""
    made = desk(risk__orders_per_minute_soft=3, risk__orders_per_minute_hard=20)
    for _ in range(1200):
        made.signal("BUY")
        made.tick(**FLAT)

    times = [event.ts for event in made.events("order_intents")]
    assert len(times) >= 6
    assert max(sum(1 for t in times if at - 60_000 < t <= at) for at in times) == 3
    assert ("BLOCK", "order_rate") in actions(made.events("risk_actions"))


@pytest.mark.row("N-66")
@pytest.mark.parametrize(
    ("after_ms", "outcome"), [(59_999, ("BLOCK", "order_rate")), (60_000, ("ALLOW", "allowed"))]
)
def test_order_counts_for_exactly_a_minute(after_ms: int, outcome: tuple[str, str]) -> None:
    """An order counts for exactly sixty seconds of market time."""
    made = desk(risk__orders_per_minute_soft=1)
    made.signal("BUY")
    made.tick(**FLAT, after_ms=after_ms)

    assert actions(made.signal("BUY")) == [outcome]


@pytest.mark.row("N-66", "N-67")
def test_order_rate_that_is_hard_at_once_stops_the_run_before_the_order() -> None:
    """A hard order rate stops the run at the third signal, before its order."""
    made = desk(risk__orders_per_minute_soft=None, risk__orders_per_minute_hard=2)
    made.buy()
    made.buy()

    events = made.signal("BUY")

    assert actions(events) == [("STOP", "RISK_LIMIT")]
    assert check_of(events[0], "orders_per_minute_hard")["value"] == "3"
    assert len(made.events("order_intents")) == 2


@pytest.mark.row("N-66")
def test_exits_pass_the_soft_order_rate() -> None:
    """Exits pass the soft order rate, which blocks entries."""
    made = desk(risk__orders_per_minute_soft=1, risk__orders_per_minute_hard=2)
    made.buy()

    assert actions(made.signal("SELL")) == [("EXIT", "signal_exit")]


# --- what every action shows ------------------------------------------------------------------


@pytest.mark.row("X-22", "N-32")
def test_every_action_has_checks_profile_and_headroom_and_stop_shows_failed_ones_alone() -> None:
    """Every action shows checks, profile and headroom; a STOP shows failed checks alone."""
    made = holder(risk__night_loss_soft="5", risk__night_loss_hard="10")
    made.signal("BUY")
    made.tick(**FLAT)
    made.signal("SELL")
    made.tick(**FLAT)
    made.signal("SELL")
    made.signal("BUY")
    made.tick(**FLAT)
    made.tick("90", "90")

    events: list[Event] = made.events("risk_actions")
    assert [action for action, _ in actions(events)] == ["ALLOW", "EXIT", "BLOCK", "ALLOW", "STOP"]
    for event in events:
        payload = event.payload
        assert isinstance(payload, RiskAction)
        assert payload.checks
        assert payload.profile == "nore-v1"
        assert payload.headroom
        failed = [check for check in payload.checks if not check["passed"]]
        assert bool(failed) == (payload.action in ("BLOCK", "STOP"))
        if payload.action == "STOP":
            assert len(failed) == len(payload.checks)
    assert fills(made.events("fills"))


@pytest.mark.row("D-45")
def test_each_decision_tells_version_and_hash_of_a_governed_profile() -> None:
    """A risk action names policy and hash of its section; without a policy neither is written."""
    profile = config(risk__policy_version=1)
    plain, governed = Desk().ready().signal("BUY"), Desk(profile).ready().signal("BUY")

    (action,) = of(governed, RiskAction)
    assert action.policy_version == 1
    assert action.profile_sha256 == sha256(encode(profile["risk"])).hexdigest()
    assert "profile_sha256" not in plain[0].to_json()["payload"]
    assert "policy_version" not in plain[0].to_json()["payload"]


def test_limits_read_each_key_of_their_own() -> None:
    """Each limit reads its own key: every key has a value of its own."""
    ages = {"signal_age_ms_max": 11, "tick_age_ms_max": 12, "intent_ttl_ms": 13}
    counts = {"positions_max": 14, "exposure_ratio_max_bps": 15, "reference_deviation_bps_max": 16}
    money = {"order_notional": "17", "position_notional_max": "18"}
    values = ages | counts | money

    limits = Limits(config(**{f"risk__{key}": value for key, value in values.items()}))

    assert {key: getattr(limits, key) for key in ages} == ages
    assert (limits.positions_max, limits.exposure_bps_max) == (14, 15)
    assert limits.deviation_max == 16 * BPS
    assert limits.order_notional == parse_amount("17")
    assert limits.position_notional_max == parse_amount("18")


def test_second_run_opening_stops_the_run_and_gives_no_budget_back() -> None:
    """An opening is the first event of its run: another one would forget what is used and held."""
    made = holder(risk__night_notional_soft="1000")
    made.signal("BUY")
    before = made.risk._state.budgets.state()
    second = Event(made.ts, "0" * 32, "watchdog_role", RUN_ID, HASH, opening("1000000"))

    with pytest.raises(InvariantError, match="found two"):
        made.risk.process(second, 2, made.ts)

    assert made.risk._state.budgets.state() == before
    assert made.risk.facts()["open_positions"] != []


@pytest.mark.parametrize("kind", ["beat", "bar", "tick"])
def test_first_input_of_a_day_gives_it_its_budgets(kind: str) -> None:
    """At 00:00 UTC exactly, and not a millisecond before, the day has used nothing."""
    made = desk(risk__day_notional_soft="1000")
    made.buy()
    midnight = (made.ts // DAY_MS + 1) * DAY_MS
    made.tick(**FLAT, after_ms=midnight - 1_001 - made.ts)
    made.beat(after_ms=1_000)
    before = made.risk.facts()["headroom"]["day_notional"]
    made.ts = midnight - (1_000 if kind == "bar" else 0)

    if kind == "beat":
        made.beat(after_ms=0)
    elif kind == "bar":
        made.bar("100", "100", "100", "100")
    else:
        made.tick(**FLAT, after_ms=0)

    assert made.ts == midnight
    assert before == "0.00000000"
    assert made.risk.facts()["headroom"]["day_notional"] == "1000.00000000"


def test_headroom_of_a_position_is_told_of_the_symbol_that_is_decided_on() -> None:
    """Ten coins at 100 leave 500 of 1,500; the account as a whole has no such room."""
    made = holder(risk__position_notional_max="1500")

    (event, *_) = made.signal("BUY")

    assert event.to_json()["payload"]["headroom"]["position_notional"] == "500.00000000"
    assert "position_notional" not in made.risk.facts()["headroom"]


SIX = tuple(f"{name}USDT" for name in ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF"))


@pytest.mark.row("B-40")
@given(
    most=st.integers(1, 4),
    deeds=st.lists(
        st.tuples(st.sampled_from(SIX), st.sampled_from(["BUY", "BUY", "SELL", "tick", "hurry"])),
        max_size=40,
    ),
)
@settings(max_examples=25, deadline=None)
def test_positions_held_and_on_their_way_never_exceed_their_number(
    most: int, deeds: list[tuple[str, str]]
) -> None:
    """Whatever is asked of six symbols, in whatever order, before or after the fills."""
    made = Desk(config(risk__positions_max=most))
    for symbol in SIX:
        made.instrument(symbol)
        made.tick("100", "100", symbol=symbol)
    seen = 0
    for symbol, deed in deeds:
        if deed in ("BUY", "SELL"):
            made.signal(deed, symbol=symbol)
        else:
            made.tick("100", "100", symbol=symbol, after_ms=100 if deed == "tick" else 10)
        facts = made.risk.facts()
        held = {position["symbol"] for position in facts["open_positions"]}
        bought = {order.symbol for order in made.execution.orders if order.side == "BUY"}
        seen = max(seen, len(held | bought))
        assert len(held | bought) <= most
    asked = {symbol for symbol, deed in deeds if deed == "BUY"}
    assert seen == min(most, len(asked)) or any(deed == "SELL" for _, deed in deeds)
