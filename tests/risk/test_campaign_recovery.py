"""Recovery of a campaign: its rows, told once, and the sales that they cause."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.events.ids import position_id
from minibot.events.model import (
    Event,
    ExitPosition,
    Gap,
    PositionPlan,
    RecoveryIntent,
    RunOpening,
)
from minibot.events.money import amount_text, parse_amount
from minibot.kernel.canonical import encode
from minibot.risk.campaign_steps import part_left
from tests.risk.desk import (
    RUN_ID,
    SYMBOL,
    Desk,
    actions,
    config,
    fills,
    instrument,
    intents,
    of,
    opening,
)
from tests.risk.test_campaign import CAMPAIGN, RUNGS, desk, steps, traded

ROWS: dict[str, Any] = {
    "risk__recovery": [["300", "hold"], ["500", "de-risk"], ["700", "exit"]],
    "risk__recovery_part_percent": 50,
}


def holder(**changes: Any) -> Desk:
    """Return a desk that holds ten coins bought at 100, with all three rows."""
    one = desk(**ROWS | changes)
    one.buy()
    one.ts += 60_000
    return one


def walk(one: Desk, *bids: str) -> list[Event]:
    """Show each bid once, and return all that was said."""
    return [event for bid in bids for event in one.tick(bid, bid, trade=bid)]


@pytest.mark.row("D-47")
@pytest.mark.parametrize(
    ("bids", "said"),
    [
        (("97.01",), []),
        (("97.00", "97.00"), ["hold"]),
        (("97.00", "99.00", "97.00"), ["hold"]),
        (("95.00",), ["de-risk", "recovery_part"]),
        (("95.00", "95.00", "97.00", "95.00"), ["de-risk", "recovery_part"]),
        (("93.00",), ["exit", "recovery_exit"]),
        (("97.00", "93.00"), ["hold", "exit", "recovery_exit"]),
        (("90.00",), ["hard_stop"]),
    ],
)
def test_deepest_row_is_told_once_before_what_it_causes(
    bids: tuple[str, ...], said: list[str]
) -> None:
    """The deepest of several rows reached at once counts; at the stop itself none does."""
    assert steps(walk(holder(), *bids)) == said


def test_de_risk_sells_nothing_once_only_what_it_keeps_is_left() -> None:
    """The part to sell is then 0: neither a lot nor a hundred-millionth of a coin."""
    one = holder()
    state = one.risk._state
    market = state.positions.of(SYMBOL)
    campaign = state.exits_of(market).campaign
    assert campaign is not None
    assert market.rules is not None
    campaign.keep = state.positions.free_qty(market)

    assert part_left(state, market, market.rules, campaign) == 0


def test_row_is_not_reported_once_an_exit_is_requested() -> None:
    """An operator's exit waits for a fresh price; the row that it reaches changes nothing."""
    one = holder()
    one.put("market_ticks", Gap(SYMBOL, "trade", one.ts - 1_000, one.ts, "a test"))
    one.put("control", ExitPosition("operator", "a test", SYMBOL))

    assert steps(walk(one, "97.00")) == ["operator_exit"]


@pytest.mark.parametrize(("rate", "dust"), [("0", None), ("7.5", "0.00050000")])
def test_row_is_not_reported_while_all_that_can_be_sold_is_being_sold(
    rate: str, dust: str | None
) -> None:
    """A time exit is on its way; what a fee in base leaves as dust is no position to recover."""
    fees = {"execution__fee_asset": "base", "execution__taker_fee_bps": rate}
    one = holder(**fees, risk__time_exit_ms=60_000)
    assert steps(walk(one, "100")) == ["time_exit"]

    # The sale is due 50 ms after its intent.
    said = [event for bid in ("97", "95", "93") for event in one.tick(bid, bid, after_ms=10)]
    one.tick("99", "99")
    assert steps(said) == []
    (left,) = one.risk.facts()["open_positions"] or ({"dust_qty": None},)
    assert left["dust_qty"] == dust


@pytest.mark.row("D-47")
def test_recovery_intent_says_what_it_rests_on() -> None:
    """It names campaign, loss, row, entry and bid, and its cause is the tick."""
    one = holder()
    (event,) = [each for each in walk(one, "96.55", "94.99") if each.type == "recovery_intent"][1:]

    (tick,) = [each for each in one.events("market_ticks") if each.id in (event.cause_ids or ())]
    assert tick is one.events("market_ticks")[-1]
    first = next(each for each in one.events("risk_actions") if each.type == "risk_action")
    assert event.payload == RecoveryIntent(
        symbol=SYMBOL,
        campaign_id=first.id,
        choice="de-risk",
        row=2,
        loss_bps="501.0000",
        row_bps="500.0000",
        entry_price="100.00000000",
        bid="94.99000000",
    )


def test_reentry_lowers_the_rows_with_the_average_entry() -> None:
    """Ten at 100 and 10.308 at 97.01 cost 98.482 each; three percent below that is 95.52."""
    one = holder(risk__campaign_loss_max="400")
    walk(one, "97.01")
    one.buy()
    one.tick("97.01", "97.01")
    assert [fill.price for fill in fills(one.events("fills"))] == ["100.00", "97.01"]

    assert steps(walk(one, "95.53")) == []
    assert steps(walk(one, "95.52")) == ["hold"]


@pytest.mark.parametrize("at", ["role", "venue"])
def test_part_is_sold_once_and_the_rest_stays_covered(at: str) -> None:
    """Half is sold at five percent; what rests with the executor gives up that half first."""
    one = holder(risk__exits_at=at)

    pairs = actions(walk(one, "95"))
    assert pairs[-1] == ("EXIT", "recovery_part")
    walk(one, "95", "95")
    assert traded(one) == [("BUY", "10.000", "100.00"), ("SELL", "5.000", "95.00")]
    if at == "venue":
        assert [each.remaining // 100_000 for each in one.execution.orders] == [5_000]


def test_part_whose_remainder_is_too_small_for_the_limit_of_its_stop_sells_all() -> None:
    """The remainder of a de-risk is worth ten USDT at the stop, and less at its limit."""
    one = holder(risk__exits_at="venue", risk__stop_limit_bps="100", risk__order_notional="22.40")

    walk(one, "95", "95")

    assert [(side, price) for side, _, price in traded(one)] == [
        ("BUY", "100.00"),
        ("SELL", "95.00"),
    ]
    assert one.execution.orders == []


def test_part_that_the_book_fills_in_part_is_sold_to_its_end_and_no_further() -> None:
    """Two of five fill before the order expires; the other three are sold later, at any price."""
    one = holder()
    one.tick("95", "95", bid_qty="2")
    one.tick("95", "95", bid_qty="2")
    one.beat(after_ms=6_000)

    walk(one, "99", "99", "99")
    assert traded(one)[1:] == [("SELL", "2.000", "95.00"), ("SELL", "3.000", "99.00")]


def test_purchase_that_fills_beside_a_part_is_not_sold_with_it() -> None:
    """An entry on its way adds to what is kept: five of the first ten are sold, no more."""
    one = holder(
        risk__recovery=[["500", "de-risk"]],
        risk__campaign_loss_max="900",
        risk__order_notional="950",
    )
    held = one.risk._state.positions.of(SYMBOL).qty
    one.tick("96", "96")
    one.signal("BUY")
    assert steps(one.tick("95", "95", ask_qty="0", bid_qty="0")) == ["de-risk", "recovery_part"]
    walk(one, "95", "95", "95")

    bought = [qty for side, qty, _ in traded(one) if side == "BUY"]
    sold = [qty for side, qty, _ in traded(one) if side == "SELL"]
    assert len(bought) == 2
    assert [parse_amount(qty) for qty in sold] == [held // 2 // 100_000 * 100_000]


def test_row_waits_while_all_is_being_sold() -> None:
    """A whole sale on its way tells no row; once it has expired, the next tick does."""
    one = holder()
    one.tick("100", "100")
    one.signal("SELL")
    assert steps(one.tick("97", "97", bid_qty="0")) == []
    one.beat(after_ms=6_000)

    assert steps(walk(one, "97")) == ["hold"]


def test_late_tick_tells_no_row_and_the_next_one_does() -> None:
    """A tick older than the limit is judged by nobody."""
    one = holder()
    one.lag_ms = 5_001
    assert steps(walk(one, "97")) == []
    one.lag_ms = 5_000

    assert steps(walk(one, "97")) == ["hold"]


def test_row_waits_for_the_rules_of_the_venue() -> None:
    """A carried lot whose filters are unknown tells nothing until they come."""
    lot = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}
    one = Desk(config(**CAMPAIGN | ROWS), first=opening("9000", (lot,)))

    assert steps(walk(one, "97")) == []
    one.instrument()
    assert steps(walk(one, "97")) == ["hold"]


def test_row_that_is_reached_while_nothing_can_be_sold_is_sold_later() -> None:
    """A halted symbol tells the row at once and sells once it trades again."""
    one = holder(risk__left_trading="hold")
    one.put("market_ticks", instrument(status="HALT"))
    assert steps(walk(one, "95", "95")) == ["de-risk", "not_trading"]
    one.put("market_ticks", instrument())

    assert steps(walk(one, "96")) == ["recovery_part"]


def test_spent_order_rate_lets_a_part_wait_and_ends_no_run() -> None:
    """With two of three orders used the part waits a minute; the row is told at once."""
    rate = {"risk__orders_per_minute_soft": 2, "risk__orders_per_minute_hard": 3}
    one = holder(**rate)
    one.risk._state.budgets.on_order(one.ts, 0)
    one.risk._state.budgets.on_order(one.ts, 1)

    assert steps(walk(one, "95", "95")) == ["de-risk"]
    assert steps(one.tick("95", "95", after_ms=60_000)) == ["recovery_part"]


def test_exit_beyond_the_hard_order_rate_is_a_stop_that_stands_alone() -> None:
    """The row to leave ends the run where no order is left for it, and tells nothing else."""
    one = holder(risk__orders_per_minute_soft=1, risk__orders_per_minute_hard=1)
    one.risk._state.budgets.on_order(one.ts, 0)

    assert [each.type for each in walk(one, "93")] == ["risk_action"]
    assert actions(one.events("risk_actions"))[-1][0] == "STOP"


def test_stop_in_atrs_of_a_carried_position_comes_before_its_rows() -> None:
    """The ATR makes its stop 97 before any tick is judged by the rows: 94 is a stop hit."""
    lot = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}
    keys = CAMPAIGN | ROWS | {"risk__stop_atr_mult": "3"}
    one = Desk(config(**keys), first=opening("9000", (lot,)))
    one.instrument()
    one.tick("100", "100", trade="100")
    for _ in range(2):
        one.bar("100", "100.50", "99.50", "100")

    assert steps(walk(one, "94")) == ["stop_loss"]


def test_campaign_after_a_recovery_exit_begins_anew() -> None:
    """Once all is sold the next signal buys, and its rows are told again."""
    one = holder()
    walk(one, "93", "93")
    assert one.risk.facts()["open_positions"] == []

    assert steps(one.buy())[:1] == ["allowed"]
    # Bought at 93: three percent below is 90.21.
    assert steps(walk(one, "90.22")) == []
    assert steps(walk(one, "90.21")) == ["hold"]


def test_entry_is_refused_while_the_position_is_to_be_left() -> None:
    """Behind the row to leave no purchase is made, though the sale waits for its fill."""
    one = holder(risk__left_trading="hold")
    one.put("market_ticks", instrument(status="HALT"))
    walk(one, "93")
    one.put("market_ticks", instrument())

    assert steps(one.signal("BUY")) == ["recovery_exit"]


def test_policy_without_rows_tells_none() -> None:
    """A campaign without a recovery is left by its stop alone."""
    one = desk()
    one.buy()

    assert steps(walk(one, "97", "95", "93", "90.01")) == []


def test_keys_off_leave_events_and_state_as_they_were() -> None:
    """Without the policy nothing knows of a campaign."""
    ladder = {**RUNGS, "risk__exit_policy": "ladder", "risk__hard_stop_bps": "1000"}
    one = Desk(config(**ladder)).ready()
    one.buy()
    walk(one, "103", "103", "80", "80")

    text = f"{one.log_bytes()!r}{one.risk.state()}{one.execution.state()}"
    assert "campaign" not in text
    assert "recovery" not in text


# --- told and restarted ---------------------------------------------------------------------------


def plans(events: Iterable[Event]) -> list[PositionPlan]:
    """Return the plans that risk told."""
    return of(events, PositionPlan)


HORIZON: dict[str, Any] = {
    "risk__horizon_ms": 3_600_000,
    "risk__horizon_ms_min": 3_600_000,
    "risk__horizon_ms_max": 3_600_000,
    "risk__horizon_bars_short": 1,
    "risk__horizon_bars_long": 4,
}


@pytest.mark.parametrize("changes", [{}, HORIZON])
def test_plan_tells_entries_and_what_is_at_risk(changes: dict[str, Any]) -> None:
    """Each fill, entry and row tells the campaign with its loss at the stop in force."""
    one = holder(**changes)
    (opened,) = plans(one.events("risk_actions"))
    assert opened.campaign is not None
    assert opened.campaign["entries"] == 1
    assert opened.campaign["at_risk"] == "100.00000000"

    walk(one, "97")
    (told,) = plans(one.beat())
    assert told.moved == ("recovery",)
    assert told.campaign is not None
    assert told.campaign["row"] == 1
    assert not plans(one.beat())


@pytest.mark.row("B-57")
def test_open_positions_name_their_campaign() -> None:
    """The list of open positions has the id that the intent had."""
    one = holder()
    (held,) = one.execution.open_positions()

    assert held["campaign_id"] == intents(one.events("order_intents"))[0].campaign_id


def test_position_that_no_campaign_opened_is_one_entry_of_its_own() -> None:
    """A lot carried from a profile without campaigns has one entry and an id."""
    lot = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}
    one = Desk(config(**CAMPAIGN | ROWS), first=opening("9000", (lot,)))
    one.ready()

    assert steps(walk(one, "97")) == ["hold"]
    walk(one, "99")
    assert steps(one.buy())[:1] == ["allowed"]
    assert steps(one.buy())[:1] == ["campaign_full"]
    ids = {plan.campaign_id for plan in plans(one.events("risk_actions"))}
    assert len(ids) == 1
    assert None not in ids


STEPS = st.lists(
    st.tuples(st.integers(-250, 200), st.integers(1, 20_000), st.booleans()), max_size=40
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(moves=STEPS, at=st.sampled_from(["role", "venue"]), fee=st.sampled_from(["quote", "base"]))
def test_restart_at_any_moment_of_a_campaign_changes_nothing(
    moves: list[tuple[int, int, bool]], at: str, fee: str
) -> None:
    """Over any walk of prices a core that is restored at each step says the same bytes."""
    keys = {
        **CAMPAIGN,
        **ROWS,
        **RUNGS,
        "risk__campaign_entry_wait_market_ms": 3_000,
        "risk__trail_bps": "400",
        "risk__exits_at": at,
        "execution__fee_asset": fee,
        "execution__taker_fee_bps": "7.5",
    }
    one, cut = desk(**keys), desk(**keys)
    price = 10_000
    for move, after_ms, is_buy in moves:
        price = max(1_000, price + move)
        text = f"{price / 100:.2f}"
        for each in (one, cut):
            if is_buy:
                each.signal("BUY")
            each.tick(text, text, after_ms=after_ms, trade=text if move % 3 else None)
            if move % 5 == 0:
                each.beat()
        cut.restarted()
    assert one.log_bytes() == cut.log_bytes()


def test_restart_keeps_a_campaign_as_it_is_and_none_where_there_is_none() -> None:
    """A snapshot before, within and behind the first entry is the same bytes restored."""
    one, states = desk(**ROWS), []
    for step in (
        lambda: [],
        one.buy,
        lambda: walk(one, "95"),
    ):
        step()
        before = encode(one.risk.state())
        one.restarted()
        campaign = one.risk._state.exits.of(SYMBOL).campaign
        states.append(campaign is not None and campaign.is_open)
        assert encode(one.risk.state()) == before

    assert states == [False, True, True]


def continued(told: str, keep: str | None = None) -> Desk:
    """Return a desk that carries five coins, bought at 100 each, of which a plan told so many."""
    lot = {"symbol": SYMBOL, "qty": "5", "price": "100", "ts": 1}
    campaign: dict[str, Any] = {
        "id": position_id(RUN_ID, "risk_role", "risk_actions", 1),
        "entries": 1,
        "row": 2,
    }
    spent = amount_text(100 * parse_amount(told))
    campaign |= {"entries_max": 2, "loss_max": "210", "entered_ts": 1, "spent": spent}
    campaign |= {"received": "0", "qty": told} | ({} if keep is None else {"keep_qty": keep})
    plan: dict[str, Any] = {"symbol": SYMBOL, "qty": told, "original_qty": told}
    plan |= {"entry_price": "100", "opened_ts": 1, "age_row": 0, "stop_hard": "90"}
    plan |= {"campaign": campaign}
    first = RunOpening({"USDT": "9500"}, (lot,), {}, plans=(plan,))
    return Desk(config(**CAMPAIGN | ROWS), first=first).ready()


@pytest.mark.parametrize(("keep", "left"), [("2", "3.000"), (None, "5.000")])
def test_coins_that_no_plan_told_are_kept_beside_what_a_de_risk_leaves(
    keep: str | None, left: str
) -> None:
    """Four coins were told, of which a de-risk leaves two; one more was bought with the STOP."""
    one = continued("4", keep)

    walk(one, "98", "98", "98")

    (held,) = one.risk.facts()["open_positions"]
    found = one.risk._state.exits.of(SYMBOL).campaign
    assert found is not None
    assert held["qty"] == f"{left}00000"
    assert found.spent == parse_amount("500")
    assert not found.is_reducing


@pytest.mark.parametrize(("told", "spent"), [("6", "600"), ("5", "500"), ("4.99999999", "500")])
def test_campaign_continues_with_all_coins_held_and_all_that_was_paid(
    told: str, spent: str
) -> None:
    """Behind the last plan a coin was sold, nothing happened, or the least part was bought."""
    found = continued(told).risk._state.exits.of(SYMBOL).campaign

    assert found is not None
    assert (found.qty, found.spent) == (parse_amount("5"), parse_amount(spent))


def test_end_of_a_de_risk_is_told_as_a_move_of_the_recovery() -> None:
    """The sale at the second row leaves what the row keeps, which then bounds nothing more."""
    one = holder()
    for bid in ("97", "95", "95"):
        one.tick(bid, bid)
        one.beat()

    (*_, row, end) = plans(one.events("risk_actions"))

    assert row.campaign is not None
    assert end.campaign is not None
    assert (row.moved, row.campaign["keep_qty"]) == (("recovery",), "5.00000000")
    assert (end.moved, "keep_qty" in end.campaign) == (("qty", "recovery"), False)


def test_row_waits_while_the_touch_is_crossed() -> None:
    """A bid above the ask is no price to trade at; the next touch tells the row."""
    one = holder()
    assert steps(one.tick("97", "96")) == []

    assert steps(walk(one, "97")) == ["hold"]


@pytest.mark.parametrize("row", [0, 2])
def test_campaign_whose_coins_become_dust_ends(row: int) -> None:
    """Coins that the venue does not let be sold are no position; later they begin another campaign.

    Rows that the former had reached are not reached in the new one.
    """
    one = holder(execution__fee_asset="base")
    walk(one, *("97.00", "95.00")[:row], "99")
    one.beat()
    former = plans(one.events("risk_actions"))[-1]

    one.put("market_ticks", instrument(qty_min="50"))
    (held,) = one.risk.facts()["open_positions"]
    assert held["dust_qty"] == held["qty"]
    assert one.risk.facts()["exits"] == {}
    one.beat()
    one.put("market_ticks", instrument())
    one.tick("99", "99")
    one.beat()
    later = plans(one.events("risk_actions"))[-1]

    assert former.campaign is not None
    assert later.campaign is not None
    assert former.campaign["row"] == row
    assert (later.campaign["row"], later.campaign["entries"]) == (0, 1)
    assert later.campaign_id != former.campaign_id
