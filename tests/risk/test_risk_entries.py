"""Entry checks: each refuses with its reason, and passes at its limit."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from minibot.events.model import (
    Fill,
    Gap,
    Halt,
    LockSymbol,
    OrderResult,
    Resume,
    RunEnding,
)
from minibot.kernel.errors import InvariantError
from minibot.risk.core import core_from_config
from tests.risk.desk import (
    OTHER,
    SYMBOL,
    Desk,
    actions,
    check_of,
    config,
    intents,
    of,
)


def desk(**changes: Any) -> Desk:
    return Desk(config(**changes)).ready()


@pytest.mark.row("N-32", "U-01", "N-04", "B-20", "B-79")
def test_three_crafted_signals_give_three_matching_actions_and_one_intent() -> None:
    """Three signals give three actions (allowed, refused, breached) and one order."""
    made = desk(risk__orders_per_minute_soft=None, risk__orders_per_minute_hard=1)

    allowed = made.signal("BUY")
    made.tick()
    refused = made.signal("BUY", age_ms=3001)
    breached = made.signal("BUY")

    pairs = [actions(events)[0] for events in (allowed, refused, breached)]
    assert pairs == [("ALLOW", "allowed"), ("BLOCK", "stale_signal"), ("STOP", "RISK_LIMIT")]
    signals = [event.id for event in made.events("signals")]
    judged = [event.to_json()["payload"].get("signal_id") for event in made.events("risk_actions")]
    assert judged == signals
    assert len(made.events("order_intents")) == 1


@pytest.mark.row("U-01", "N-04")
def test_intent_follows_its_action_in_the_same_step_and_names_it_then_the_signal() -> None:
    """An intent follows its action in the same step, and names action and signal."""
    made = desk()

    action, intent, _ = made.signal("BUY")

    signal = made.events("signals")[-1]
    assert (action.type, intent.type) == ("risk_action", "order_intent")
    assert action.cause_ids == (signal.id,)
    assert intent.cause_ids == (action.id, signal.id)
    assert action.ts == intent.ts == signal.ts
    assert action.tick_seq == intent.tick_seq == signal.tick_seq


def test_hold_leads_to_no_action() -> None:
    """HOLD causes no action."""
    assert desk().signal("HOLD") == []


@pytest.mark.row("N-32", "F121")
@pytest.mark.parametrize(
    ("age_ms", "horizon_ms", "outcome"),
    [
        (3000, 60_000, ("ALLOW", "allowed")),
        (3001, 60_000, ("BLOCK", "stale_signal")),
        (1000, 1000, ("ALLOW", "allowed")),
        (1001, 1000, ("BLOCK", "stale_signal")),
    ],
)
def test_signal_older_than_limit_or_horizon_is_blocked(
    age_ms: int, horizon_ms: int, outcome: tuple[str, str]
) -> None:
    """The smaller of the profile's age limit and the signal's horizon counts (F121)."""
    assert actions(desk().signal("BUY", age_ms=age_ms, horizon_ms=horizon_ms)) == [outcome]


@pytest.mark.row("F74")
def test_backlog_after_a_restart_is_old_and_treated_as_old() -> None:
    """A signal's age counts up to its processing, so a backlog is stale (F74)."""
    made = desk()
    made.lag_ms = 3001

    assert actions(made.signal("BUY"))[0] == ("BLOCK", "stale_signal")


@pytest.mark.parametrize(
    ("age_ms", "outcome"), [(5000, ("ALLOW", "allowed")), (5001, ("BLOCK", "stale_tick"))]
)
def test_tick_at_its_age_limit_passes_and_older_blocks(
    age_ms: int, outcome: tuple[str, str]
) -> None:
    """A tick at its age limit passes, an older one blocks."""
    made = desk(execution__tick_age_ms_max=60000)
    made.ts += age_ms

    assert actions(made.signal("BUY")) == [outcome]


def test_gap_blocks_entries_until_the_next_tick() -> None:
    """A gap blocks entries until the next tick."""
    made = desk()
    made.put("market_ticks", Gap(SYMBOL, "trade", made.ts, made.ts, "reconnect"))
    blocked = made.signal("BUY")
    made.tick()

    assert actions(blocked) == [("BLOCK", "stale_tick")]
    assert actions(made.signal("BUY")) == [("ALLOW", "allowed")]


@pytest.mark.parametrize(("bid", "ask"), [("100.02", "100.01"), ("0", "100"), ("100", "0")])
def test_touch_that_is_crossed_or_missing_blocks(bid: str, ask: str) -> None:
    """A crossed touch, or one without a side, blocks."""
    made = desk()
    made.tick(bid, ask)

    assert actions(made.signal("BUY")) == [("BLOCK", "no_mark")]


def test_symbol_without_rules_or_tick_is_blocked() -> None:
    """A symbol without rules or tick is blocked."""
    made = Desk()
    made.tick()
    assert actions(made.signal("BUY")) == [("BLOCK", "no_instrument")]

    made = Desk()
    made.instrument()
    made.instrument(OTHER)
    assert actions(made.signal("BUY", symbol=OTHER)) == [("BLOCK", "no_mark")]


def test_instrument_that_does_not_trade_is_blocked() -> None:
    """An instrument that does not trade is blocked, also by a change at night."""
    made = desk()
    made.instrument(status="HALT")

    assert actions(made.signal("BUY")) == [("BLOCK", "not_trading")]


def test_halt_blocks_entries_until_resume_and_lets_exits_through() -> None:
    """A halt blocks entries and lets exits through until `resume`."""
    made = desk()
    made.buy()
    made.put("control", Halt(who="operator", why="news"))
    assert actions(made.signal("BUY")) == [("BLOCK", "halted")]
    assert actions(made.signal("SELL")) == [("EXIT", "signal_exit")]
    made.tick()
    made.put("control", Resume(who="operator", why="calm"))

    assert actions(made.signal("BUY")) == [("ALLOW", "allowed")]


def test_entries_refused_by_a_halt_are_forgotten_when_it_ends() -> None:
    """The screen says what refuses entries now, and since when."""
    made = desk()
    made.put("control", Halt(who="operator", why="news"))
    made.signal("BUY")
    refused = made.risk.state()["entry_stops"]
    made.put("control", Halt(who="operator", why="still news"))
    again = made.risk.state()["entry_stops"]
    made.put("control", Resume(who="operator", why="calm"))

    assert refused == again == {"since_ts": made.ts, "reason_code": "halted", "refused": 1}
    assert made.risk.state()["entry_stops"] is None


@pytest.mark.parametrize(
    ("after_ms", "outcome"), [(999, ("BLOCK", "symbol_locked")), (1000, ("ALLOW", "allowed"))]
)
def test_locked_symbol_is_blocked_until_its_time_and_others_are_not(
    after_ms: int, outcome: tuple[str, str]
) -> None:
    """A lock blocks one symbol until `until_ts`."""
    made = desk()
    made.instrument(OTHER)
    made.tick(symbol=OTHER)
    made.put("control", LockSymbol("operator", "odd prints", SYMBOL, made.ts + 1000))
    assert actions(made.signal("BUY", symbol=OTHER)) == [("ALLOW", "allowed")]

    made.ts += after_ms

    assert actions(made.signal("BUY")) == [outcome]


def test_lock_without_a_time_lasts_for_the_run() -> None:
    """A lock without `until_ts` lasts for the run."""
    made = desk()
    made.put("control", LockSymbol("operator", "delisting", SYMBOL))
    made.tick(after_ms=3_600_000)

    assert actions(made.signal("BUY")) == [("BLOCK", "symbol_locked")]


@pytest.mark.row("U-23")
def test_no_entry_once_the_run_is_ending() -> None:
    """No entry is allowed from `run_ending` on."""
    made = desk()
    made.put("control", RunEnding("launcher", "duration", made.ts + 10_000))

    assert actions(made.signal("BUY")) == [("BLOCK", "run_ending")]


def test_second_entry_waits_while_the_first_is_open() -> None:
    """A second entry of a symbol waits until the first order is booked."""
    made = desk()
    made.signal("BUY")

    assert actions(made.signal("BUY")) == [("BLOCK", "pending_order")]
    made.tick()
    assert actions(made.signal("BUY")) == [("ALLOW", "allowed")]


@pytest.mark.row("D-42")
def test_same_signal_twice_gives_one_order() -> None:
    """A repeated signal is a duplicate, even after its order has ended."""
    made = desk()
    made.buy()
    first = made.events("signals")[-1].id

    again = made.signal("BUY", event_id=first)

    assert actions(again) == [("BLOCK", "duplicate")]
    assert len(made.events("order_intents")) == 1


SMALLEST = "0.00000001"


def coins(**changes: Any) -> Desk:
    """Return a desk in a market whose price step is the smallest there is."""
    made = Desk(config(risk__order_notional="20", **changes))
    most = {"qty_max": "90000000000", "market_qty_max": "90000000000", "price_max": "1"}
    least = {"price_min": SMALLEST, "qty_increment": "1", "qty_min": "1", "notional_min": "1"}
    made.instrument(price_increment=SMALLEST, **least, **most)
    return made


def touch(made: Desk, price: str) -> None:
    """Show a touch of one price, with billions of coins at it."""
    made.tick(price, price, bid_qty="1000000000000", ask_qty="1000000000000")


def test_deviation_counts_in_prices_of_a_few_steps() -> None:
    """One step above a close of eight is an eighth of it, beyond a percent."""
    made = coins(risk__reference_deviation_bps_max=100)
    made.bar(*["0.00000008"] * 4)
    touch(made, "0.00000009")

    assert actions(made.signal("BUY")) == [("BLOCK", "reference_deviation")]


@pytest.mark.parametrize(
    ("price", "kinds"), [(SMALLEST, ["BLOCK"]), ("0.00000002", ["ALLOW"])], ids=["one", "two"]
)
def test_entry_whose_hard_stop_would_be_at_zero_is_refused(price: str, kinds: list[str]) -> None:
    """A stop is at least one step below: at a price of one step nothing could trigger it."""
    made, resting = [coins(risk__hard_stop_bps="1000") for _ in "ab"]
    for each in (made, resting):
        each.tells_marks = True  # No order is large enough.
        each.bar(*["0.00000003"] * 4)
    touch(made, price)
    touch(resting, "0.00000003")

    said = [made.signal("BUY"), resting.signal("BUY", horizon_ms=5_000, limit_price=price)]

    assert [[kind for kind, _ in actions(each)] for each in said] == [kinds, kinds]
    if kinds == ["BLOCK"]:
        assert {reason for each in said for _, reason in actions(each)} == {"min_notional"}


def test_stop_of_an_older_profile_that_would_be_at_zero_bounds_no_entry() -> None:
    """Without a hard stop such a stop is off, as it always was, and its sale asks no size."""
    made = coins(risk__stop_bps="1000")
    made.bar(*[SMALLEST] * 4)
    touch(made, SMALLEST)

    assert actions(made.signal("BUY")) == [("ALLOW", "allowed")]


def test_memory_of_signals_does_not_outlast_their_age_limit() -> None:
    """Remembered signals are dropped at the age limit, so the state does not grow."""
    made = desk()
    for _ in range(5):
        made.buy()
        made.ts += 3001
        made.tick()
    made.buy()

    assert len(made.risk.state()["decided"]) == 1


@pytest.mark.parametrize(
    ("ask", "outcome"),
    [("102", ("ALLOW", "allowed")), ("102.01", ("BLOCK", "reference_deviation"))],
)
def test_price_at_the_allowed_deviation_passes_and_beyond_is_blocked(
    ask: str, outcome: tuple[str, str]
) -> None:
    """A mid a hundred bps from the last close passes, one tick more is blocked."""
    made = desk(risk__reference_deviation_bps_max=100)
    made.bar("100", "100", "100", "100")
    made.tick("100", ask)

    assert actions(made.signal("BUY")) == [outcome]


def test_entry_beside_a_close_of_zero_is_blocked_by_the_deviation() -> None:
    """A close of 0 is no price to be near to: the entry is blocked under the widest limit."""
    made = desk(risk__reference_deviation_bps_max=10_000)
    made.tells_marks = True  # No deviation is as large.
    made.bar("100", "100", "0", "0")
    made.tick("100", "100.01")

    assert actions(made.signal("BUY")) == [("BLOCK", "reference_deviation")]


@pytest.mark.parametrize(
    "governed",
    [{"hard_stop_bps": "1000"}, {"policy_version": 1}],
)
def test_governed_entry_without_a_closed_bar_is_blocked(governed: dict[str, Any]) -> None:
    """Without a close there is nothing to be near to; the first bar that closes is enough."""
    profile = config()
    profile["risk"] |= governed
    made = Desk(profile)
    made.instrument()
    made.tick()
    blocked = made.signal("BUY")
    made.bar("100", "100", "100", "100")
    made.tick()

    assert actions(blocked) == [("BLOCK", "warmup")]
    check = check_of(blocked[0], "reference_bars")
    assert (check["value"], check["threshold"]) == ("0", "1")
    assert actions(made.signal("BUY")) == [("ALLOW", "allowed")]


def test_plain_entry_without_a_closed_bar_passes_without_a_check() -> None:
    """Profiles without policy and hard stop enter as they always did."""
    events = desk().signal("BUY")

    assert actions(events) == [("ALLOW", "allowed")]
    names = [check["name"] for check in events[0].to_json()["payload"]["checks"]]
    assert not {"reference_bars", "reference_deviation_bps"} & set(names)


@pytest.mark.row("B-42", "C-19")
def test_spread_at_its_limit_passes_and_a_wider_one_is_blocked() -> None:
    """A touch of 99.99 to 100.01 is two bps wide; a cent more is too wide for two."""
    outcomes = []
    for ask in ("100.01", "100.02"):
        made = desk(risk__entry_spread_bps_max=2)
        made.tick(bid="99.99", ask=ask)
        outcomes.append(actions(made.signal("BUY"))[0])

    assert outcomes == [("ALLOW", "allowed"), ("BLOCK", "spread_limit")]


HARD: dict[str, Any] = {"risk__hard_stop_bps": "500"}


def at(bid: str, **changes: Any) -> Desk:
    """Return a desk with an ATR of two and a touch of so much to 100."""
    made = Desk(config(**changes))
    made.instrument()
    for _ in range(2):
        made.bar("100", "101", "99", "100")
    made.tick(bid, "100")
    return made


@pytest.mark.parametrize(
    ("changes", "stop"),
    [
        (HARD, "95.00"),
        (HARD | {"risk__stop_bps": "300"}, "97.00"),
        (HARD | {"risk__stop_atr_mult": "3.0"}, "95.00"),
        ({"risk__stop_atr_mult": "3.0"}, "94.00"),
        (HARD | {"risk__trail_bps": "200"}, "98.00"),
        (HARD | {"risk__trail_atr_mult": "0.5"}, "99.00"),
    ],
)
@pytest.mark.parametrize("wish", [{}, {"notional": "500"}], ids=["plain", "wish"])
def test_purchase_whose_stop_the_bid_has_reached_is_blocked(
    changes: dict[str, Any], stop: str, wish: dict[str, Any]
) -> None:
    """It would be sold with the next tick, for the spread and two fees."""
    above = f"{float(stop) + 0.01:.2f}"

    events = at(stop, **changes).signal("BUY", **wish)

    assert actions(events) == [("BLOCK", "spread_limit")]
    assert check_of(events[0], "stop_at_ask")["value"] == f"{stop}000000"
    assert actions(at(above, **changes).signal("BUY")) == [("ALLOW", "allowed")]


def test_purchase_is_the_first_one_where_a_venue_takes_any_value() -> None:
    """Without a least value nothing held is no position either: the stop at the ask counts."""
    made = at("95", **HARD)
    made.instrument(notional_min="0")

    assert actions(made.signal("BUY")) == [("BLOCK", "spread_limit")]


@pytest.mark.parametrize(
    ("changes", "wish"),
    [
        ({}, {}),
        (HARD | {"risk__trail_bps": "200", "risk__trail_from_bps": "100"}, {}),
        (HARD | {"risk__trail_bps": "200"}, {"limit_price": "98"}),
        (
            HARD
            | {
                "risk__trail_bps": "200",
                "risk__entry": "maker",
                "risk__maker_patience_market_ms": 1_000,
                "risk__maker_requotes": 2,
                "risk__maker_end": "give_up",
            },
            {},
        ),
    ],
)
def test_purchase_without_a_stop_at_its_ask_is_allowed_at_a_wide_spread(
    changes: dict[str, Any], wish: dict[str, Any]
) -> None:
    """No stop, a trail that begins later, and a purchase that rests at its own side have none."""
    assert len(intents(at("97", **changes).signal("BUY", **wish))) == 1


def test_purchase_beside_a_position_asks_for_no_stop_at_its_ask() -> None:
    """The stop of a position is that of its average price."""
    made = at("99", **HARD, risk__trail_bps="300")
    made.buy()
    made.tick("97.01", "100.01")

    assert actions(made.signal("BUY")) == [("ALLOW", "allowed")]


def test_entry_without_the_atr_for_its_stop_is_blocked_with_the_count() -> None:
    """An entry without ATR for its stop is blocked, with the number of bars."""
    made = desk(risk__stop_atr_mult="3.0", strategy__atr_period=2)
    made.bar("100", "101", "99", "100")
    made.tick()
    blocked = made.signal("BUY")
    made.bar("100", "101", "99", "100")
    made.tick()

    assert actions(blocked) == [("BLOCK", "warmup")]
    check = check_of(blocked[0], "atr_bars")
    assert (check["value"], check["threshold"]) == ("1", "2")
    assert actions(made.signal("BUY")) == [("ALLOW", "allowed")]


@pytest.mark.row("U-22")
def test_sell_without_a_position_is_blocked_and_never_ordered() -> None:
    """A SELL without position is blocked."""
    events = desk().signal("SELL")

    assert actions(events) == [("BLOCK", "no_position")]
    assert intents(events) == []


def test_refusal_names_everything_that_spoke_against_the_entry() -> None:
    """A refusal's reason is the first failed check; all others stand beside it."""
    made = desk()
    made.put("control", Halt(who="operator", why="news"))
    made.ts += 6000

    (event,) = made.signal("BUY", age_ms=4000)

    failed = [
        check["name"] for check in event.to_json()["payload"]["checks"] if not check["passed"]
    ]
    assert failed == ["halted", "signal_age_ms", "tick_age_ms"]
    assert actions([event]) == [("BLOCK", "halted")]


def test_fill_of_an_order_that_risk_did_not_send_is_a_broken_invariant() -> None:
    """A fill of an unknown order breaks an invariant and ends the run."""
    made = desk()
    made.buy()
    stranger = made.events("fills")[-1]

    with pytest.raises(InvariantError):
        made.risk.process(stranger, 2, made.ts)


@pytest.mark.parametrize(
    "changes", [{"symbol": "ETHUSDT"}, {"side": "SELL"}, {"qty": "1000"}], ids=str
)
def test_fill_that_is_not_of_its_order_is_a_broken_invariant(changes: dict[str, str]) -> None:
    """A fill of another symbol, side or quantity than its order ends the run."""
    made = desk()
    made.signal("BUY")
    made.with_risk = False
    made.tick()
    fill = made.events("fills")[-1]
    assert isinstance(fill.payload, Fill)
    before = made.risk.facts()

    with pytest.raises(InvariantError, match="which risk did not send"):
        made.risk.process(replace(fill, payload=replace(fill.payload, **changes)), 1, made.ts)
    assert made.risk.facts() == before


def test_order_that_ends_before_its_fill_is_read_stays_open_until_it_is_booked() -> None:
    """A result read before its fill leaves the order open, so nothing is ordered twice."""
    made = desk()
    made.signal("BUY")
    made.with_risk = False  # Execution continues; risk reads its answers in another order.
    made.tick()
    fill, result = made.events("fills")[-1], made.events("order_results")[-1]
    made.with_risk = True

    made.risk.process(result, 2, made.ts)
    assert made.risk.facts()["open_orders"] == 1
    made.risk.process(fill, 1, made.ts)

    assert made.risk.facts()["open_orders"] == 0
    assert made.risk.facts()["open_positions"] != []


def test_order_stays_open_until_its_last_unit_is_booked() -> None:
    """A result read before two fills leaves the order open for the second, a smallest unit."""
    made = desk()
    made.instrument(qty_increment="0.00000001", qty_min="0.00000001")
    made.signal("BUY")
    made.with_risk = False
    made.tick(ask_qty="9.99900008")
    made.tick()
    (first, last), result = made.events("fills"), made.events("order_results")[-1]
    made.with_risk = True

    made.risk.process(result, 3, made.ts)
    made.risk.process(first, 1, made.ts)
    assert made.risk.facts()["open_orders"] == 1
    made.risk.process(last, 2, made.ts)

    assert isinstance(last.payload, Fill)
    assert last.payload.qty == "0.00000001"
    assert made.risk.facts()["open_orders"] == 0


def test_refused_entry_frees_what_it_had_reserved() -> None:
    """A rejected entry frees its reserved budget."""
    made = desk(risk__exposure_ratio_max_bps=1000)
    made.execution._distrust("BTCUSDT")  # The executor lacked the touch, risk had it.
    refused = made.signal("BUY")

    assert [result.result for result in of(refused, OrderResult)] == ["REJECTED"]
    made.tick()
    assert actions(made.signal("BUY")) == [("ALLOW", "allowed")]


def test_nothing_is_judged_before_run_opening() -> None:
    """Inputs before `run_opening` raise, as there is no equity."""
    made = desk()
    signal = [event for event in made.log if event[0] == "market_ticks"][-1][1]

    with pytest.raises(InvariantError):
        core_from_config(config()).process(signal, 1, made.ts)
