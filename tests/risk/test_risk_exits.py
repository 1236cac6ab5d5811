"""Exits: each fires at its level and not a step before."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from minibot.cores.event_id import named
from minibot.events.model import Event, ExitPosition, Gap, OrderCancel, RiskAction, RunEnding
from minibot.events.money import UNIT
from minibot.events.reasons import REASONS
from minibot.kernel.canonical import encode
from minibot.risk.distances import exact_atr, share_distance, whole_distance
from minibot.risk.drafts import Verdict, new_verdict
from minibot.risk.exit_decision import forget_request, leave, request_rows
from tests.risk.desk import (
    OTHER,
    SYMBOL,
    Desk,
    actions,
    check_of,
    config,
    fills,
    intents,
    of,
    opening,
    results,
)
from tests.risk.row_world import NOW, World

ATR: dict[str, Any] = {"risk__stop_atr_mult": "3.0", "risk__take_profit_atr_mult": "4.0"}
LOT = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}


def holder(**changes: Any) -> Desk:
    """Ten coins bought at 100 with an ATR of two, touch 100 to 100."""
    made = Desk(config(**changes))
    made.instrument()
    for _ in range(2):
        made.bar("100", "101", "99", "100")
    made.tick("100", "100")
    made.buy()
    assert fills(made.events("fills"))[0].price == "100.00"
    return made


@pytest.mark.parametrize("is_restarted", [False, True])
def test_smallest_price_step_has_its_stop_in_atrs_too(*, is_restarted: bool) -> None:
    """Prices of many coins move by a hundred-millionth: three ATR of two below 100 stays 94."""
    made = Desk(config(**ATR), first=opening("10000", (LOT,)))
    made.instrument(price_increment="0.00000001")
    for _ in range(2):
        made.bar("100", "101", "99", "100")
    if is_restarted:
        made.restarted()

    calm, events = made.tick("94.00000001", "95"), made.tick("94", "95")

    assert calm == []
    assert actions(events) == [("EXIT", "stop_loss")]


@pytest.mark.row("U-20", "B-17")
@pytest.mark.parametrize(
    ("bid", "said"),
    [
        ("94.01", []),
        ("94.00", [("EXIT", "stop_loss")]),
        ("93.00", [("EXIT", "stop_loss")]),
        ("107.99", []),
        ("108.00", [("EXIT", "take_profit")]),
    ],
)
def test_stop_and_target_fire_at_their_atr_multiple_and_not_a_step_before(
    bid: str, said: list[tuple[str, str]]
) -> None:
    """Stop and target fire at three ATR below and four above, judged at the bid."""
    made = holder(**ATR)

    events = made.tick(bid, "200")

    assert actions(events) == said
    if said:
        assert [(i.side, i.qty, i.order_type, i.purpose) for i in intents(events)] == [
            ("SELL", "10.000", "MARKET", "EXIT")
        ]
        sold = fills(made.tick(bid, "200"))
        assert [(fill.side, fill.price) for fill in sold] == [("SELL", bid)]
        assert made.risk.facts()["open_positions"] == []


def test_stop_by_the_atr_stands_in_the_smallest_price_steps() -> None:
    """Stop three ATR below 100 is 94 to the last digit, where prices move by 0.00000001."""
    made = Desk(config(**ATR))
    made.instrument(price_increment="0.00000001")
    for _ in range(2):
        made.bar("100", "101", "99", "100")
    made.tick("100", "100")
    made.buy()

    assert actions(made.tick("94.00000001", "200")) == []
    assert actions(made.tick("94", "200")) == [("EXIT", "stop_loss")]


@pytest.mark.parametrize(
    ("off", "bid", "other", "said"),
    [
        ("stop_atr_mult", "1.00", "108.00", [("EXIT", "take_profit")]),
        ("take_profit_atr_mult", "999.00", "94.00", [("EXIT", "stop_loss")]),
    ],
)
def test_null_turns_stop_or_target_off_and_leaves_the_other(
    off: str, bid: str, other: str, said: list[tuple[str, str]]
) -> None:
    """However far the price goes the one does not fire; the other does at its level."""
    made = holder(**{**ATR, f"risk__{off}": None})

    assert actions(made.tick(bid, bid)) == []
    assert actions(made.tick(other, other)) == said


def test_position_without_stop_and_target_waits_for_no_atr_and_leaves_on_a_signal() -> None:
    """No bar is needed to enter; a SELL and the end of the run still sell."""
    made = Desk(config(risk__stop_atr_mult=None, risk__take_profit_atr_mult=None))
    made.instrument()
    made.tick("100", "100")
    made.buy()

    assert actions(made.tick("1", "1")) == []
    assert actions(made.signal("SELL")) == [("EXIT", "signal_exit")]


BPS: dict[str, Any] = {"risk__stop_bps": "100", "risk__take_profit_bps": "250"}


@pytest.mark.parametrize(
    ("bid", "said"),
    [
        ("99.01", []),
        ("99.00", [("EXIT", "stop_loss")]),
        ("102.49", []),
        ("102.50", [("EXIT", "take_profit")]),
    ],
)
def test_distances_in_basis_points_are_shares_of_the_entry_price_and_wait_for_no_bar(
    bid: str, said: list[tuple[str, str]]
) -> None:
    """One percent below 100, two and a half above; an ATR of the profile stands back."""
    made = Desk(config(**ATR, **BPS))
    made.instrument()
    made.tick("100", "100")
    made.buy()

    assert actions(made.tick(bid, bid)) == said


def test_stop_in_basis_points_follows_the_average_entry_price() -> None:
    """Ten bought at 100 and five at 200: one percent of 133.33, rounded up, below it."""
    made = Desk(config(risk__stop_bps="100"))
    made.instrument()
    made.tick("100", "100")
    made.buy()
    made.tick("200", "200")
    made.buy()

    assert actions(made.tick("132.01", "132.01")) == []
    assert actions(made.tick("132.00", "132.00")) == [("EXIT", "stop_loss")]


def test_stop_in_basis_points_and_target_in_atrs_stand_beside_each_other() -> None:
    """Each at its own distance."""
    for bid, reason in (("99.00", "stop_loss"), ("108.00", "take_profit")):
        made = holder(**{**ATR, "risk__stop_bps": "100"})
        assert actions(made.tick("99.01", "99.01")) == actions(made.tick("107.99", "107.99")) == []

        assert actions(made.tick(bid, bid)) == [("EXIT", reason)]


def test_carried_lot_has_its_stop_in_basis_points_with_the_first_tick() -> None:
    """The price that was paid is enough."""
    made = Desk(config(**ATR, **BPS), first=opening("9000", (LOT,)))
    made.instrument()

    assert actions(made.tick("99", "99")) == [("EXIT", "stop_loss")]


@pytest.mark.parametrize(
    ("price", "share", "step", "distance"),
    [
        (100 * UNIT, 1_000_000, UNIT // 100, UNIT),
        (100 * UNIT, 1, UNIT // 100, UNIT // 100),
        (6_181_357 * UNIT // 100, 500_000, UNIT // 100, 30_907 * UNIT // 100),
        (UNIT // 1_000, 9_999, UNIT // 10_000, UNIT // 10_000),
    ],
)
def test_share_of_a_price_is_rounded_up_to_whole_steps_and_never_nothing(
    price: int, share: int, step: int, distance: int
) -> None:
    """A share is rounded as a distance in ATRs is; one percent, and less than a step."""
    assert share_distance(price, share, step) == distance


@pytest.mark.parametrize("distance", [ATR, BPS])
def test_look_at_the_facts_changes_no_state(distance: dict[str, Any]) -> None:
    """Heartbeats come by wall-clock time: a look before the first tick may not move a decision."""
    made = Desk(config(**{**ATR, **distance}), first=opening("9000", (LOT,)))
    made.instrument()
    made.bar("100", "101", "99", "100")
    before = encode(made.risk.state())

    made.risk.facts()

    assert encode(made.risk.state()) == before


def test_facts_name_stop_target_and_time_of_an_open_position_alone() -> None:
    """The live table shows the very levels at which the exits fire; to look changes nothing."""
    made = holder(**ATR, risk__time_exit_ms=60_000)
    before = encode(made.risk.state())

    levels = made.risk.facts()["exits"]

    assert set(levels) == {SYMBOL}
    assert (levels[SYMBOL]["stop"], levels[SYMBOL]["target"]) == ("94.00000000", "108.00000000")
    assert levels[SYMBOL]["until_ts"] == made.events("fills")[0].ts + 60_000
    assert encode(made.risk.state()) == before
    for _ in range(2):
        made.tick("94", "94")
    assert made.risk.facts()["exits"] == {}


@pytest.mark.row("U-20")
def test_exit_intent_names_its_action_and_the_tick_that_caused_it() -> None:
    """An exit intent names its action and the tick that caused it."""
    made = holder(**ATR)

    action, intent, _ = made.tick("94", "94")

    tick = made.events("market_ticks")[-1]
    assert action.cause_ids == (tick.id,)
    assert intent.cause_ids == (action.id, tick.id)
    assert action.tick_seq == intent.tick_seq == made.seqs["market_ticks"]
    check = check_of(action, "stop_price")
    assert (check["value"], check["threshold"]) == ("94.00000000", "94.00000000")


def test_stop_does_not_move_with_the_atr_of_later_bars() -> None:
    """The stop distance stays as it was at the opening of the position."""
    made = holder(**ATR)
    for _ in range(10):
        made.bar("100", "110", "95", "100")
    made.tick("94.01", "94.01")
    assert made.events("risk_actions")[-1].payload.action == "ALLOW"  # type: ignore[attr-defined]

    assert actions(made.tick("94", "94")) == [("EXIT", "stop_loss")]


def test_bar_that_comes_twice_counts_once() -> None:
    """A repeated bar counts once, so the ATR is not ready too early."""
    made = Desk(config(**ATR), first=opening("9000", (LOT,)))
    made.instrument()
    made.bar("90", "91", "89", "90")
    made.take("market_ticks", made.events("market_ticks")[-1])

    assert actions(made.tick("90", "90")) == []
    made.bar("90", "91", "89", "90")
    assert actions(made.tick("90", "90")) == [("EXIT", "stop_loss")]


def test_carried_lot_is_guarded_as_soon_as_the_atr_is_known() -> None:
    """A carried lot gets its stop as soon as the ATR is known."""
    made = Desk(config(**ATR), first=opening("9000", (LOT,)))
    made.instrument()
    made.tick("90", "90")
    assert made.events("risk_actions") == []
    for _ in range(2):
        made.bar("90", "91", "89", "90")

    assert actions(made.tick("90", "90")) == [("EXIT", "stop_loss")]


@pytest.mark.parametrize(
    ("atr", "multiple", "step", "distance"),
    [
        (2.0, 30_000, UNIT // 100, 6 * UNIT),
        (0.001, 30_000, UNIT // 100, UNIT // 100),
        (0.0, 30_000, UNIT // 100, UNIT // 100),
        (0.0034, 30_000, UNIT // 100, 2 * UNIT // 100),
        (1.0 / 3.0, 15_000, UNIT // 100, 50 * UNIT // 100),
    ],
)
def test_distance_is_rounded_up_to_whole_steps_and_never_nothing(
    atr: float, multiple: int, step: int, distance: int
) -> None:
    """The distance is rounded up to whole price increments, at least one."""
    assert whole_distance(exact_atr(atr), multiple, step) == distance


def test_refused_sale_is_tried_again_ever_later_up_to_thirty_seconds() -> None:
    """At once, then after 1, 2, 4, 8 and 16 s, and after 30 s from then on; an end resets it."""
    made = holder()
    exits, now = made.risk._state.exits.of(SYMBOL), made.ts
    waits = []
    for _ in range(20):
        exits.on_order_ended(True, now)
        waits.append(exits.retry_ts - now)
    exits.on_order_ended(False, now)

    assert waits == [0, 1_000, 2_000, 4_000, 8_000, 16_000, *[30_000] * 14]
    assert exits.retry_ts == 0


@pytest.mark.row("D-03")
def test_no_time_exit_by_default_and_with_one_it_fires_at_its_time() -> None:
    """A time exit is off by default, and fires at its age when set."""
    calm = holder()
    calm.tick(after_ms=30 * 3_600_000)
    assert [action for action, _ in actions(calm.events("risk_actions"))] == ["ALLOW"]

    made = holder(risk__time_exit_ms=60_000)
    assert actions(made.tick(after_ms=59_999)) == []
    assert actions(made.tick(after_ms=1)) == [("EXIT", "time_exit")]


def test_time_exit_of_a_later_position_counts_from_its_own_purchase() -> None:
    """A position behind a closed one of the same symbol has its whole time."""
    made = holder(risk__time_exit_ms=60_000)
    made.signal("SELL")
    made.tick()
    made.tick(after_ms=50_000)
    made.signal("BUY")
    made.tick()

    assert actions(made.tick(after_ms=59_999)) == []
    assert actions(made.tick(after_ms=1)) == [("EXIT", "time_exit")]


def test_sell_signal_exits_the_whole_position() -> None:
    """A SELL signal exits the whole position."""
    made = holder()

    events = made.signal("SELL")

    assert actions(events) == [("EXIT", "signal_exit")]
    assert intents(events)[0].qty == "10.000"


def test_signal_exit_can_be_switched_off() -> None:
    """With the signal exit off, a SELL is refused with its reason."""
    made = holder(risk__signal_exit=False)

    assert actions(made.signal("SELL")) == [("BLOCK", "signal_exit")]


def test_exit_in_flight_is_not_doubled() -> None:
    """One exit in flight blocks another one from tick, signal and operator."""
    made = holder(**ATR)
    made.tick("94", "94")

    events = made.tick("93", "93", after_ms=10)
    events += made.signal("SELL")
    events += made.put("control", ExitPosition("operator", "out", SYMBOL))

    assert actions(events) == [("BLOCK", "pending_order")]
    assert sum(intent.side == "SELL" for intent in intents(made.events("order_intents"))) == 1


def test_exit_that_expires_is_tried_again_on_the_next_tick() -> None:
    """The rest of an expired exit is tried again on the next tick."""
    made = holder(**ATR)
    made.tick("94", "94", bid_qty="4")
    # Four coins are shown after the latency; then the touch is unchanged for five seconds.
    made.tick("94", "94", bid_qty="3")
    expired = made.beat(after_ms=4900)
    assert results(expired) == [("EXPIRED", "expired")]

    again = made.tick("94", "94", bid_qty="100")

    assert actions(again) == [("EXIT", "stop_loss")]
    assert intents(again)[0].qty == "7.000"
    assert [fill.qty for fill in fills(made.tick("94", "94", bid_qty="100"))] == ["7.000"]


def test_stop_of_two_lots_sells_the_rest_of_an_expired_exit() -> None:
    """The lots that a part of a stop-loss leaves are the cheaper ones: the stop stays."""
    made = Desk(config(risk__stop_bps="500", risk__order_notional="900")).ready()
    made.buy()
    for bid, ask in (("96.99", "97.00"), ("95.99", "96.00")):
        made.tick(bid, ask)
    made.buy()
    stop = made.risk.facts()["exits"]
    made.tick("93.05", "93.06", bid_qty="9")
    made.tick("93.05", "93.06", bid_qty="8")
    assert results(made.beat(after_ms=4900)) == [("EXPIRED", "expired")]
    assert made.risk.facts()["exits"] == stop

    made.restarted()
    again = made.tick("93.05", "93.06", bid_qty="100")

    assert actions(again) == [("EXIT", "stop_loss")]


def test_refusal_is_told_alike_by_a_core_that_was_restored() -> None:
    """A restart between two refusals of an exit changes nothing that is told."""
    kept, restored = (
        Desk(config(risk__stop_bps="500", risk__order_notional="900")).ready() for _ in range(2)
    )
    answers = []
    for made in (kept, restored):
        made.buy()
        made.instrument(notional_min="1000")
        for bid in ("99.50", "94.00"):
            made.tick(bid, bid)
        if made is restored:
            made.restarted()
        answers.append(
            [actions(made.tick(bid, bid)) for bid in ("97.00", "94.00", "94.00", "97.00")]
        )

    assert answers[0] == answers[1]
    assert kept.log_bytes() == restored.log_bytes()


@pytest.mark.parametrize("was_dust", [False, True])
def test_exit_that_is_rejected_is_tried_again_at_once_then_ever_more_slowly(
    *, was_dust: bool
) -> None:
    """A rejected exit is retried on the next tick, then after 1 s, 2 s and 4 s.

    So is that of coins that could not be sold by the rules of a while ago.
    """
    made = holder(**ATR, execution__fee_asset="base")
    if was_dust:
        made.instrument(qty_min="50")
    made.execution._touches.clear()
    made.instrument()
    attempts: list[int] = []
    for _ in range(100):
        made.execution._rules.clear()  # This executor refuses everything.
        if "EXIT" in [action for action, _ in actions(made.tick("94", "94"))]:
            attempts.append(made.ts)

    waits = [later - earlier for earlier, later in pairwise(attempts)]
    assert waits == [100, 1000, 2000, 4000]


def test_exit_that_an_operator_asks_for_is_tried_as_if_none_had_been_refused() -> None:
    """At once, on the next tick and after a second, whatever its own refusals had come to."""
    made = holder(**ATR)
    made.execution._touches.clear()
    made.instrument()
    made.execution._rules.clear()  # This executor refuses everything.
    for _ in range(50):
        made.tick("94", "94")
    asked, attempts = made.ts, list[int]()

    first = made.put("control", ExitPosition("operator", "out", SYMBOL))
    for _ in range(20):
        made.execution._rules.clear()
        if "EXIT" in [action for action, _ in actions(made.tick("94", "94"))]:
            attempts.append(made.ts - asked)

    assert actions(first) == [("EXIT", "operator_exit")]
    assert attempts == [100, 1100]


def test_signal_that_comes_twice_sells_once() -> None:
    """A repeated SELL is a duplicate while its first order is on its way, and afterwards."""
    made = holder()
    first = made.signal("SELL")
    name = made.events("signals")[-1].id
    made.tick()
    made.buy()
    made.signal("SELL")
    made.tick()
    made.buy()

    again = made.signal("SELL", event_id=name)

    assert actions(first) == [("EXIT", "signal_exit")]
    assert actions(again) == [("BLOCK", "duplicate")]


@pytest.mark.row("U-20", "U-23")
def test_run_ending_closes_what_is_open_at_once_when_the_mark_is_fresh() -> None:
    """`run_ending` closes positions at once if the mark is fresh; the exit names event and tick."""
    made = holder()

    events = made.put("control", RunEnding("launcher", "duration", made.ts + 10_000))

    assert actions(events) == [("EXIT", "end_exit")]
    control = made.events("control")[-1]
    action, intent = events[0], events[1]
    assert action.cause_ids == (control.id,)
    assert intent.cause_ids == (action.id, control.id)
    assert intent.tick_seq == made.seqs["market_ticks"]
    assert len(fills(made.tick())) == 1
    assert made.risk.facts()["open_positions"] == []


def test_run_ending_waits_for_the_next_tick_when_the_mark_is_stale_or_missing() -> None:
    """`run_ending` waits for the next tick if the mark is stale or missing."""
    made = holder()
    made.put("market_ticks", Gap(SYMBOL, "trade", made.ts, made.ts, "reconnect"))
    assert made.put("control", RunEnding("launcher", "duration", made.ts + 10_000)) == []
    assert actions(made.tick()) == [("EXIT", "end_exit")]

    made = holder()
    made.ts += 5001
    assert made.put("control", RunEnding("launcher", "duration", made.ts + 10_000)) == []
    assert actions(made.tick()) == [("EXIT", "end_exit")]


def test_run_ending_closes_every_symbol_with_its_own_intent() -> None:
    """`run_ending` closes each symbol with its own action and intent."""
    made = holder()
    made.instrument(OTHER)
    made.tick("100", "100", symbol=OTHER)
    made.signal("BUY", symbol=OTHER)
    made.tick("100", "100", symbol=OTHER)

    events = made.put("control", RunEnding("launcher", "duration", made.ts + 10_000))

    pairs: list[tuple[Event, Event]] = []
    sent = [event for event in events if event.type == "order_intent"]
    fields = {event.id: event for event in events if isinstance(event.payload, RiskAction)}
    for event in sent:
        assert event.cause_ids is not None
        pairs.append((fields[event.cause_ids[0]], event))
    assert [
        (action.to_json()["payload"]["symbol"], event.to_json()["payload"]["symbol"])
        for action, event in pairs
    ] == [(SYMBOL, SYMBOL), (OTHER, OTHER)]
    assert len({intent.client_order_id for intent in intents(events)}) == 2


def test_run_ending_carries_positions_when_the_profile_says_so() -> None:
    """With `carry` the end sells nothing; a stop still works."""
    made = holder(portfolio__at_end="carry", **ATR)
    assert made.put("control", RunEnding("launcher", "duration", made.ts + 10_000)) == []
    assert made.tick() == []

    assert actions(made.tick("94", "94")) == [("EXIT", "stop_loss")]


def test_no_exit_is_sent_at_or_after_the_end() -> None:
    """No exit is sent at or after `until_ts`."""
    made = holder()
    made.ts += 5001
    until = made.ts + 200
    made.put("control", RunEnding("launcher", "duration", until))

    assert made.tick(after_ms=200) == []


def test_operator_exit_leaves_the_position_now_or_with_the_next_tick() -> None:
    """`exit_position` is remembered until the position is closed."""
    made = holder()
    made.ts += 5001
    assert made.put("control", ExitPosition("operator", "out", SYMBOL)) == []

    assert actions(made.tick()) == [("EXIT", "operator_exit")]
    made.tick()
    made.buy()
    assert actions(made.tick()) == []

    events = made.put("control", ExitPosition("operator", "out", SYMBOL))
    assert actions(events) == [("EXIT", "operator_exit")]


def test_operator_exit_without_a_position_is_answered() -> None:
    """`exit_position` without a position is answered with a refusal."""
    made = Desk().ready()

    events = made.put("control", ExitPosition("operator", "out", SYMBOL))

    assert actions(events) == [("BLOCK", "no_position")]


@pytest.mark.parametrize("latency_ms", [50, 900])
@pytest.mark.parametrize("ask_qty", ["1000", "4", "0"])
@pytest.mark.parametrize("exits_at", ["role", "venue"])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_operator_leaves_a_symbol_whose_entry_is_on_its_way(
    latency_ms: int, ask_qty: str, exits_at: str, *, is_restarted: bool
) -> None:
    """The entry is withdrawn, what it buys all the same is sold, and the next entry is allowed."""
    keys = {"risk__exits_at": exits_at, "execution__latency_market_ms": latency_ms}
    made = Desk(config(**keys, risk__stop_bps="500")).ready()
    made.signal("BUY")
    if latency_ms == 900:
        made.tick(after_ms=850)

    events = made.put("control", ExitPosition("operator", "out", SYMBOL))
    if is_restarted:
        made.restarted()
    for _ in range(24):
        made.tick(ask_qty=ask_qty)

    assert actions(events) == [("WITHDRAW", "operator_exit")]
    assert len(of(events, OrderCancel)) == 1
    assert made.risk.facts()["open_positions"] == []
    assert made.risk.facts()["open_orders"] == 0
    assert actions(made.signal("BUY")) == [("ALLOW", "allowed")]


def test_exits_go_on_where_losses_refuse_entries() -> None:
    """Exits work beyond the soft loss, which blocks entries."""
    made = holder(risk__night_loss_soft="10", **ATR)

    events = made.tick("94", "94")

    assert actions(events) == [("EXIT", "stop_loss")]
    made.tick("94", "94")
    assert actions(made.signal("BUY")) == [("BLOCK", "night_loss")]


def test_stale_tick_sells_nothing_and_a_fresh_one_does() -> None:
    """A stale tick causes no exit, a fresh one does."""
    made = holder(**ATR)
    made.lag_ms = 5001
    assert made.tick("94", "94") == []

    made.lag_ms = 5000
    assert actions(made.tick("94", "94")) == [("EXIT", "stop_loss")]


def test_stop_sells_in_a_market_that_is_quieter_than_an_order_lives() -> None:
    """Ticks six seconds apart met no order that lives five: no stop was ever executed."""
    made = holder(risk__stop_bps="500")
    events = made.tick("90", "91", after_ms=6_000)
    for _ in range(5):
        events += made.beat()
    events += made.tick("90", "91", after_ms=1_000)

    assert actions(events) == [("EXIT", "stop_loss")]
    assert [fill.price for fill in fills(events)] == ["90.00"]
    assert made.risk.facts()["open_positions"] == []


def test_position_too_small_to_sell_is_told_once_and_not_on_every_tick() -> None:
    """A position below the venue's minimum gives one refusal, silence, then the sale."""
    lot = {"symbol": SYMBOL, "qty": "0.15", "price": "100", "ts": 1}
    made = Desk(config(risk__time_exit_ms=1), first=opening("9000", (lot,)))
    made.instrument()

    first = made.tick("60", "60")
    more = made.tick("61", "61") + made.tick("62", "62")
    sold = made.tick("67", "67")

    assert actions(first) == [("BLOCK", "min_notional")]
    assert more == []
    assert actions(sold) == [("EXIT", "time_exit")]


def left_over(**changes: Any) -> Desk:
    """Return a desk that holds 0.05 coins, as its operator's exit sold only 9.95 of ten."""
    made = holder(**changes)
    made.tick(bid_qty="9.95")
    made.put("control", ExitPosition("operator", "out", SYMBOL))
    made.tick(bid_qty="9.95")
    made.tick(after_ms=5_000)
    assert made.risk.facts()["open_positions"][0]["qty"] == "0.05000000"
    assert actions(made.tick()) == [("BLOCK", "min_notional")]
    return made


@pytest.mark.parametrize("restarts", [False, True])
def test_request_to_leave_ends_with_what_is_too_little_to_sell(restarts: bool) -> None:
    """The refusal is its answer: the symbol may be entered again, and all of it is kept then."""
    made = left_over()
    if restarts:
        made.restarted()

    assert actions(made.signal("BUY")) == [("ALLOW", "allowed")]
    assert actions(made.tick() + made.tick()) == []
    assert made.risk.facts()["open_positions"][0]["qty"] == "10.05000000"


@pytest.mark.parametrize(
    "keys",
    [
        {"risk__hard_stop_bps": "500", "risk__stop_bps": "500", "risk__time_exit_ms": 60_000},
        {"risk__stop_bps": "500", "risk__time_exit_ms": 60_000},
    ],
)
@pytest.mark.parametrize("restarts", [False, True])
def test_purchase_beside_what_is_too_little_to_sell_has_levels_of_its_own(
    keys: dict[str, Any], restarts: bool
) -> None:
    """A stop above the bid, and the time of 0.05 coins left, would sell all at once."""
    made = left_over(**keys)
    made.ts += 60_000
    made.tick("90", "90")

    assert actions(made.signal("BUY")) == [("ALLOW", "allowed")]
    made.tick("90", "90")
    if restarts:
        made.restarted()

    # 11.111 coins at 90 and 0.05 at 100: a stop five percent below 90.05, in whole cents.
    assert actions(made.tick("85.55", "85.55")) == []
    assert actions(made.tick("85.54", "85.54")) == [("EXIT", "stop_loss")]


def test_purchase_beside_what_is_too_little_to_sell_is_held_as_long_as_any() -> None:
    """Its time counts from its own fill."""
    made = left_over(risk__time_exit_ms=60_000)
    made.ts += 60_000
    made.tick()
    made.buy()

    assert actions(made.tick(after_ms=59_999)) == []
    assert actions(made.tick(after_ms=1)) == [("EXIT", "time_exit")]


@pytest.mark.parametrize(("notional", "said"), [("11.10", "BLOCK"), ("11.11", "ALLOW")])
def test_purchase_beside_what_is_too_little_to_sell_is_worth_its_own_sale(
    notional: str, said: str
) -> None:
    """Ten USDT of 0.111 coins are left five percent below a stop at 95, of 0.110 they are not."""
    first = opening("9000", ({"symbol": SYMBOL, "qty": "0.001", "price": "100", "ts": 1},))
    made = Desk(config(risk__hard_stop_bps="500", risk__order_notional=notional), first=first)
    made.ready()

    assert actions(made.signal("BUY"))[0][0] == said


def test_mark_to_leave_a_symbol_that_halted_ends_with_what_is_too_little_to_sell() -> None:
    """A position of five USDT would else keep its symbol from entries for good."""
    lot = {"symbol": SYMBOL, "qty": "0.05", "price": "100", "ts": 1}
    made = Desk(config(risk__left_trading="close"), first=opening("9000", (lot,)))
    for status in ("TRADING", "HALT", "TRADING"):
        made.instrument(status=status)
        made.tick("100", "100")

    assert actions(made.signal("BUY")) == [("ALLOW", "allowed")]


def test_request_to_leave_stands_while_a_purchase_may_make_it_possible() -> None:
    """The purchase of an entry on its way is sold too, as the operator asked."""
    lot = {"symbol": SYMBOL, "qty": "0.05", "price": "100", "ts": 1}
    made = Desk(config(), first=opening("9000", (lot,)))
    made.instrument()
    made.tick("100", "100")
    made.signal("BUY")
    refused = made.put("control", ExitPosition("operator", "out", SYMBOL))
    made.tick()

    assert actions(refused) == [("BLOCK", "min_notional")]
    assert actions(made.tick() + made.tick()) == [("EXIT", "operator_exit")]
    assert made.risk.facts()["open_positions"] == []


def test_exit_refused_right_behind_its_entry_is_told_again_once_it_is_due_again() -> None:
    """An exit that becomes due again after a recovery is refused again on record."""
    made = Desk(config(**ATR))
    made.instrument()
    for _ in range(2):
        made.bar("100", "101", "99", "100")
    made.tick("100", "100")
    made.signal("BUY")
    made.instrument(notional_min="950")
    made.tick()

    first = made.tick("94", "94")
    more = made.tick("93", "93") + made.tick("96", "96")
    again = made.tick("94", "94")

    assert actions(first) == [("BLOCK", "min_notional")]
    assert more == []
    assert actions(again) == [("BLOCK", "min_notional")]


def test_order_rate_spent_by_exits_stops_the_run_and_sends_none_of_them() -> None:
    """A spent order rate at the exits is one STOP, without a part of the exits."""
    made = Desk(config(risk__orders_per_minute_soft=2, risk__orders_per_minute_hard=3))
    for symbol in (SYMBOL, OTHER):
        made.instrument(symbol)
        made.tick("100", "100", symbol=symbol)
        made.signal("BUY", symbol=symbol)
        made.tick("100", "100", symbol=symbol)
    assert len(made.events("order_intents")) == 2

    events = made.put("control", RunEnding("launcher", "duration", made.ts + 10_000))

    assert actions(events) == [("STOP", "RISK_LIMIT")]
    assert intents(events) == []


def test_exit_beyond_the_hard_rate_stops_the_run_also_as_the_only_one() -> None:
    """The purchase has used the one order of the minute; the end of the run has none to sell by."""
    made = Desk(config(risk__orders_per_minute_soft=1, risk__orders_per_minute_hard=1)).ready()
    made.buy()

    events = made.put("control", RunEnding("launcher", "duration", made.ts + 10_000))

    assert actions(events) == [("STOP", "RISK_LIMIT")]
    assert intents(events) == []


def test_refused_sale_shows_no_check_of_its_size() -> None:
    """A signal that is too old is refused before anything is sized."""
    made = holder()

    (event,) = made.signal("SELL", age_ms=3_001)

    names = [check["name"] for check in event.to_json()["payload"]["checks"]]
    assert actions([event]) == [("BLOCK", "stale_signal")]
    assert "exit_qty" not in names
    assert names[-1] == "tick_age_ms"


def test_reason_codes_of_risk_and_execution_stand_in_the_closed_list() -> None:
    """Every reason code of these tests is on the closed list."""
    made = holder(**ATR)
    made.tick("94", "94")
    made.tick("94", "94")

    for event in made.events("risk_actions") + made.events("order_results"):
        assert event.to_json()["payload"]["reason_code"] in REASONS


@pytest.mark.row("B-53")
def test_position_worth_more_than_one_order_may_be_is_sold_by_several() -> None:
    """Each exit sells what the venue's largest notional lets one order sell, until none is left."""
    made = holder(**ATR)
    made.instrument(notional_max="650")

    sold = [fill for _ in range(5) for fill in fills(made.tick("94.00", "200"))]

    assert [fill.qty for fill in sold] == ["6.914", "3.086"]
    assert made.risk.facts()["open_positions"] == []


@pytest.mark.row("U-20", "B-17")
@pytest.mark.parametrize("exits_at", ["role", "venue"])
@pytest.mark.parametrize("asked", ["operator", "stop", "signal"])
def test_whole_exit_cancels_an_entry_that_still_buys(exits_at: str, asked: str) -> None:
    """An exit of a half-filled entry cancels the rest of it, so that nothing is bought behind."""
    desk = Desk(config(risk__hard_stop_bps="500", risk__exits_at=exits_at))
    desk.ready()
    desk.signal("BUY")
    assert [fill.qty for fill in fills(desk.tick(ask_qty="3"))] == ["3.000"]

    if asked == "operator":
        derived = desk.put("control", ExitPosition(who="operator", why="get me out", symbol=SYMBOL))
    elif asked == "stop":
        derived = desk.tick("94.00", "94.02", ask_qty="0")
    else:
        derived = desk.signal("SELL")
    is_by_venue = (asked, exits_at) == ("stop", "venue")  # It sells what is bought until it acts.
    assert is_by_venue or [action for action, _ in actions(derived)] == ["EXIT"]
    behind = [desk.tick(after_ms=after_ms) for after_ms in (100, 1_000, 6_000)]

    assert is_by_venue or {one.side for events in behind for one in fills(events)} == {"SELL"}
    assert desk.execution.open_positions() == []
    assert desk.risk.facts()["open_orders"] == 0


@pytest.mark.row("B-17")
def test_position_whose_rules_are_not_told_yet_is_left_as_soon_as_they_are() -> None:
    """An operator's request waits for the venue's steps."""
    made = Desk(config(), first=opening("9000", (LOT,)))
    made.tick("100", "100")

    events = made.put("control", ExitPosition(symbol=SYMBOL, who="operator", why="a test"))
    again = made.tick("100", "100")
    made.instrument()
    sold = made.tick("100", "100")

    assert events == again == []
    assert actions(sold) == [("EXIT", "operator_exit")]
    assert [intent.qty for intent in intents(sold)] == ["10.000"]


def test_exit_without_the_venues_rules_sends_nothing_and_is_told_once() -> None:
    """Without a step no quantity can be sold, whoever asks for the sale."""
    world = World()
    world.hold(5 * UNIT)
    world.exits.is_exit_requested = True
    world.market.rules = None
    (trigger, *_) = request_rows(world.state, world.exits)
    answers = []
    for number in range(2):
        verdict = new_verdict(world.state, named(f"tick {number}"), NOW, 5, SYMBOL)
        answers += leave(world.state, world.market, trigger, verdict)

    (message,) = answers
    assert isinstance(message, Verdict)
    assert (message.action, message.reason_code) == ("BLOCK", "no_instrument")
    assert world.positions.has_order(SYMBOL) is False


@pytest.mark.parametrize(
    ("is_held", "is_asked", "is_entering", "is_forgotten"),
    [
        (False, True, False, True),
        (True, True, False, False),
        (False, True, True, False),
        (False, False, False, False),
    ],
)
def test_request_to_leave_is_forgotten_where_nothing_is_held_or_on_its_way(
    is_held: bool, is_asked: bool, is_entering: bool, is_forgotten: bool
) -> None:
    """An entry of later was not asked to be left; one that is on its way was."""
    world = World()
    if is_held:
        world.hold(UNIT)
    if is_entering:
        world.order("BUY", UNIT)
    world.exits.is_exit_requested, world.exits.policy_exit = is_asked, "left_trading"

    forget_request(world.state, world.market)

    assert world.exits.is_exit_requested is (is_asked and not is_forgotten)
    assert (world.exits.policy_exit == "") is is_forgotten


def test_stop_at_the_second_exit_stands_alone() -> None:
    """STOP alone is written where the order rate allows one of two exits at the end of a run."""
    lots = [{"symbol": each, "qty": "10", "price": "100", "ts": 1} for each in (OTHER, SYMBOL)]
    keys = {"risk__orders_per_minute_soft": 1, "risk__orders_per_minute_hard": 1}
    one = Desk(config(**keys), first=opening("8000", lots))
    for symbol in (OTHER, SYMBOL):
        one.instrument(symbol)
        one.tick(symbol=symbol)

    events = one.put("control", RunEnding(who="launcher", why="duration", until_ts=one.ts + 1000))

    assert actions(events) == [("STOP", "RISK_LIMIT")]
    assert intents(events) == []
