"""Protections: closed trades lock entries as freqtrade's own code does, and as computed by hand."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from minibot.accounting.lots import Lot
from minibot.accounting.portfolio import Portfolio
from minibot.accounting.round_trips import RoundTrip
from minibot.cores.core_profile import TRADES_KEPT
from minibot.cores.messages import FillMessage
from minibot.events.field_types import MS_MAX
from minibot.events.model import (
    ALL_SYMBOLS,
    Event,
    Fill,
    JsonObject,
    LockSymbol,
    RiskAction,
    RiskStanding,
)
from minibot.events.money import UNIT
from minibot.events.reasons import COOLDOWN_PERIOD
from minibot.events.unit_sizes import DAY_MS
from minibot.execution.core import core_from_config as execution_from_config
from minibot.kernel.canonical import encode
from minibot.kernel.errors import ConfigError, InvariantError
from minibot.risk.core import core_from_config as risk_from_config
from minibot.risk.protections import LINE_BYTES, OPEN_BYTES, TRADE_BYTES, Protections
from minibot.risk.risk_state import RiskState
from minibot.risk.standing import StandingMessage
from minibot.runtime.configuration.config import load_config
from tests.risk.desk import (
    OTHER,
    PROJECT,
    START,
    SYMBOL,
    Desk,
    actions,
    codec,
    config,
    intents,
    of,
    opening,
    results,
)
from tests.risk.freqtrade_locks import BEGAN, CASES, Case, Closed

MINUTE = 60_000


def protected(*protections: JsonObject, **changes: Any) -> JsonObject:
    """Return a profile with protections; its bars are of a second."""
    return config(risk__protections=list(protections), **changes)


def trade(
    profit: str,
    closed_ts: int = BEGAN,
    *,
    symbol: str = SYMBOL,
    reason: str = "stop_loss",
    spent: str = "100",
) -> RoundTrip:
    """Return a closed trade."""
    found = RoundTrip(symbol, closed_ts - MINUTE, int(Decimal(spent) * UNIT))
    found.received = found.spent + int(Decimal(profit) * UNIT)
    found.closed_ts, found.reason = closed_ts, reason
    return found


def opened(profile: JsonObject, *symbols: str) -> Desk:
    """Return a desk that knows the rules of symbols."""
    desk = Desk(profile)
    for symbol in symbols or (SYMBOL,):
        desk.instrument(symbol)
    return desk


def bought_and_sold(desk: Desk, ask: str, bid: str, symbol: str = SYMBOL) -> None:
    """Buy at an ask and sell at a bid on a signal; the trade is closed behind it."""
    desk.tick(str(Decimal(ask) - 1), ask, symbol=symbol)
    desk.signal("BUY", symbol=symbol)
    desk.tick(str(Decimal(ask) - 1), ask, symbol=symbol)
    desk.tick(bid, str(Decimal(bid) + 1), symbol=symbol)
    desk.signal("SELL", symbol=symbol)
    desk.tick(bid, str(Decimal(bid) + 1), symbol=symbol)
    assert not desk.risk.facts()["open_positions"]


def entry(desk: Desk, symbol: str = SYMBOL) -> RiskAction:
    """Return risk's answer to a purchase at 100."""
    desk.tick("99.99", "100.01", symbol=symbol)
    payload = desk.signal("BUY", symbol=symbol)[0].payload
    assert isinstance(payload, RiskAction)
    return payload


def check_of(said: RiskAction, name: str) -> tuple[str, str, bool]:
    """Return value, limit and outcome of a check."""
    return next((c.value, c.threshold, c.passed) for c in said.checks or () if c.name == name)


# --- as freqtrade ---------------------------------------------------------------------------------


def as_trade(closed: Closed) -> RoundTrip:
    """Return a trade of the table, whose cost follows from its ratio and its profit."""
    ratio, profit = Decimal(closed.ratio), Decimal(closed.profit)
    spent = profit / ratio if ratio else Decimal(100)
    found = trade(
        closed.profit,
        BEGAN + closed.second * 1000,
        symbol=closed.symbol,
        reason=closed.reason,
        spent=str(spent),
    )
    assert found.ratio == int(ratio * UNIT)
    return found


@pytest.mark.row("B-10", "B-46")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_closed_trades_lock_what_freqtrade_locks(case: Case) -> None:
    """After each closed trade every symbol is locked exactly as long as by freqtrade's own code."""
    profile = protected(*case.protections, strategy__bar_interval=case.interval)
    protections = Protections(profile)
    protections.start = 1000 * UNIT
    symbols = sorted({closed.symbol for closed in case.trades})

    for closed in case.trades:
        protections.on_trade(as_trade(closed))
        now = BEGAN + closed.second * 1000
        locked = [
            max((protections.left(code, symbol, now) for code in protections.locks), default=0)
            for symbol in symbols
        ]

        wanted = [max(0, BEGAN + 1000 * end - now) for end in closed.locked]
        assert locked == wanted, closed


# --- by hand --------------------------------------------------------------------------------------


def test_cooldown_refuses_its_symbol_until_the_bar_behind_it_ends() -> None:
    """After a close the symbol waits a minute and to the bar's end; the check counts it down."""
    desk = opened(protected({"method": "CooldownPeriod", "stop_duration": 1}), SYMBOL, OTHER)
    bought_and_sold(desk, "100", "101")
    closed_ts = next(e.ts for _, e in reversed(desk.log) if e.type == "fill")
    ends = (closed_ts + MINUTE) // 1000 * 1000 + 1000  # Bars of this profile last a second.

    refused, other = entry(desk), entry(desk, OTHER)

    assert (refused.action, refused.reason_code) == ("BLOCK", "cooldown_period")
    at = desk.ts - 100  # A tick of the other symbol came behind the refusal.
    assert check_of(refused, "cooldown_period_ms") == (str(ends - at), "0", False)
    assert other.action == "ALLOW"
    assert check_of(other, "cooldown_period_ms") == ("0", "0", True)
    desk.ts = ends - 101
    assert entry(desk).reason_code == "cooldown_period"
    desk.ts = ends - 100
    assert entry(desk).action == "ALLOW"


def test_stoploss_guard_counts_stops_alone_and_locks_all() -> None:
    """Two trades that a stop ended with a loss lock every symbol; a sale on a signal counts not."""
    profile = protected(
        {"method": "StoplossGuard", "lookback_period": 5, "trade_limit": 2, "stop_duration": 3},
        risk__stop_bps="100",
    )
    desk = opened(profile, SYMBOL, OTHER)
    bought_and_sold(desk, "100", "99.5")
    for symbol in (SYMBOL, OTHER):
        assert entry(desk, symbol).action == "ALLOW"
        desk.tick("99.99", "100.01", symbol=symbol)
        desk.tick("90", "90.02", symbol=symbol)  # Below the stop at 99.00.
        desk.tick("90", "90.02", symbol=symbol)
    closed_ts = next(e.ts for _, e in reversed(desk.log) if e.type == "fill")

    refused = entry(desk)

    assert refused.reason_code == "stoploss_guard"
    left = (closed_ts + 3 * MINUTE) // 1000 * 1000 + 1000 - desk.ts
    assert check_of(refused, "stoploss_guard_ms") == (str(left), "0", False)
    lock = {"scope": "*", "reason_code": "stoploss_guard", "until_ts": desk.ts + left}
    assert desk.risk.facts()["locks"] == [lock]


def test_lock_of_an_operator_that_ends_now_frees_nothing_that_a_limit_locks() -> None:
    """A lock that ends now lifts the operator's lock of a symbol; the cooldown's goes on."""
    desk = opened(protected({"method": "CooldownPeriod", "stop_duration": 1}))
    bought_and_sold(desk, "100", "101")
    desk.put("control", LockSymbol("operator", "thin", SYMBOL))
    listed = desk.risk.facts()["operator_locks"]
    locked = entry(desk)
    desk.put("control", LockSymbol("operator", "back", SYMBOL, desk.ts))
    freed = entry(desk)

    assert (locked.reason_code, freed.reason_code) == ("symbol_locked", "cooldown_period")
    assert listed == [{"reason_code": "symbol_locked", "scope": SYMBOL, "until_ts": None}]
    assert desk.risk.facts()["operator_locks"] == []


def test_max_drawdown_allows_its_limit_and_locks_a_hundred_millionth_beyond() -> None:
    """Ratios of +2 % and -5 % are a drawdown of 5 %: allowed at the limit, locked beyond it."""
    rule = {"method": "MaxDrawdown", "lookback_period": 60, "trade_limit": 2, "stop_duration": 10}
    found = []
    for most in ("0.05", "0.04999999"):
        protections = Protections(protected(rule | {"max_allowed_drawdown": most}))
        protections.on_trade(trade("2", reason="take_profit"))
        protections.on_trade(trade("-5", BEGAN + 1))
        found.append(protections.left("max_drawdown", OTHER, BEGAN + 1))

    assert found == [0, 10 * MINUTE + 999]


def test_low_profit_locks_below_the_required_sum_and_not_at_it() -> None:
    """Ratios of 1 % and 1 % reach 2 %; with a hundred-millionth less the symbol is locked."""
    rule = {"method": "LowProfitPairs", "lookback_period": 60, "trade_limit": 2}
    found = []
    for second in ("1", "0.999999"):
        rules = protected({**rule, "required_profit": "0.02", "stop_duration": 10})
        protections = Protections(rules)
        protections.on_trade(trade("1"))
        protections.on_trade(trade(second, BEGAN + 1))
        found.append([protections.left("low_profit_pairs", s, BEGAN) for s in (SYMBOL, OTHER)])

    assert found == [[0, 0], [10 * MINUTE + 1000, 0]]


def test_losses_in_row_lock_at_the_limit_and_again_until_a_trade_wins() -> None:
    """Two losses lock, a third locks again, break-even changes nothing, a win begins anew.

    A hundred-millionth lost is a loss like any other.
    """
    rule = {"method": "LossesInRow", "trade_limit": 2, "stop_duration": 1}
    protections = Protections(protected(rule))
    locked = []
    for n, profit in enumerate(("-1", "0", "-0.00000001", "0", "-1", "2", "-1", "-0.00000001")):
        now = BEGAN + n * 10 * MINUTE
        symbol = (SYMBOL, OTHER)[n % 2]
        protections.on_trade(trade(profit, now, symbol=symbol, reason="signal_exit"))
        locked.append(protections.left("losses_in_row", SYMBOL, now) > 0)

    assert locked == [False, False, True, False, True, False, False, True]


def test_trade_that_breaks_even_is_no_loss_in_a_row() -> None:
    """Two losses around it are two, not the three that lock."""
    rule = {"method": "LossesInRow", "trade_limit": 3, "stop_duration": 1}
    protections = Protections(protected(rule))
    for n, profit in enumerate(("-1", "0", "-1")):
        protections.on_trade(trade(profit, BEGAN + n * MINUTE, reason="signal_exit"))

    assert protections.left("losses_in_row", SYMBOL, BEGAN + 2 * MINUTE) == 0


def test_trade_is_a_position_from_flat_to_flat_after_all_fees() -> None:
    """Fees of both sides lower the ratio, and two purchases are one trade."""
    rule = {"method": "CooldownPeriod", "stop_duration": 1}
    desk = opened(protected(rule, execution__taker_fee_bps="10"), SYMBOL)
    for _ in range(2):
        desk.tick("99", "100")
        desk.signal("BUY")
        desk.tick("99", "100")
    desk.tick("110", "111")
    desk.signal("SELL")
    desk.tick("110", "111")

    (found,) = desk.risk.state()["protections"]["trades"]

    # 20 coins at 100 and 110, a thousandth of each as fee: 2002 and 2197.8.
    assert (found["spent"], found["received"]) == ("2002.00000000", "2197.80000000")
    assert found["reason"] == "signal_exit"


def test_snapshot_between_trades_locks_as_without_it() -> None:
    """A core restored in mid-trade says and remembers the same as the one that went on."""
    rule = {"method": "StoplossGuard", "lookback_period": 60, "trade_limit": 1, "stop_duration": 9}
    profile = protected(
        rule,
        {"method": "LossesInRow", "trade_limit": 1, "unlock_at": "23:00"},
        risk__stop_bps="150",
    )
    desk = opened(profile, SYMBOL)
    bought_and_sold(desk, "100", "99.5")
    desk.ts += 86_400_000
    entry(desk)
    desk.tick("99.99", "100.01")
    desk.restarted()
    desk.tick("90", "90.02")
    desk.tick("90", "90.02")
    before = desk.risk.state()
    desk.restarted()

    assert desk.risk.state() == before
    assert entry(desk).reason_code == "stoploss_guard"
    assert desk.risk.state()["protections"]["streaks"] == {ALL_SYMBOLS: 2, SYMBOL: 2}


@pytest.mark.parametrize(("profit", "locks"), [("0.00000001", 0), ("0", 1)])
def test_smallest_profit_ends_a_row_of_losses(profit: str, locks: int) -> None:
    """A trade that breaks even stands between two losses and changes nothing."""
    one = Protections(protected({"method": "LossesInRow", "trade_limit": 2, "stop_duration": 60}))
    for number, each in enumerate(("-1", profit, "-1")):
        one.on_trade(trade(each, BEGAN + number))

    assert len(one.listed(BEGAN + 2)) == locks


def test_standing_read_later_is_that_of_its_moment() -> None:
    """A standing lists the locks of its own time, although it is formatted after later trades."""
    rule = {"method": "CooldownPeriod", "stop_duration": 600}
    state = RiskState(protected(rule))
    state.protections.on_trade(trade("1"))
    state.now = BEGAN
    message = StandingMessage()
    message.take(state, has_memory=True)
    state.protections.on_trade(trade("1", symbol=OTHER))
    state.now = BEGAN + DAY_MS

    told = message.payload()

    assert isinstance(told, RiskStanding)
    assert [lock["scope"] for lock in told.locks or ()] == [SYMBOL]
    assert told.memory is not None
    assert list(told.memory["locks"]["cooldown_period"]) == [SYMBOL]


def test_absent_key_leaves_no_check_and_no_state() -> None:
    """Without the key neither checks nor state know of protections."""
    desk = opened(config())

    names = [check.name for check in entry(desk).checks or ()]

    assert not [name for name in names if name.endswith(("guard_ms", "period_ms", "row_ms"))]
    assert "protections" not in desk.risk.state()


@pytest.mark.row("D-07")
@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"method": "StoplossGuard", "stop_duration": 5, "lookback_period": 5}, "trade_limit"),
        ({"method": "CooldownPeriod"}, "one of stop_duration"),
        ({"method": "CooldownPeriod", "stop_duration": 0}, "stop_duration"),
        ({"method": "CooldownPeriod", "stop_duration": 5, "unlock_at": "10:00"}, "one of"),
        ({"method": "CooldownPeriod", "stop_duration": 5, "trade_limit": 2}, "does not read"),
        ({"method": "CooldownPeriod", "unlock_at": "24:00"}, "unlock_at"),
        ({"method": "CooldownPeriod", "stop_duration": 5, "lookback_period": 5}, "none of"),
        ({"method": "LossesInRow", "trade_limit": -1, "stop_duration": 5}, "trade_limit"),
        (
            {
                "method": "StoplossGuard",
                "trade_limit": TRADES_KEPT + 1,
                "lookback_period": 5,
                "stop_duration": 5,
            },
            "trade_limit",
        ),
        ({"method": "Hope", "stop_duration": 5}, "method"),
        ({"stop_duration": 5}, "method"),
        (
            {
                "method": "MaxDrawdown",
                "trade_limit": 1,
                "lookback_period": 5,
                "stop_duration": 5,
                "max_allowed_drawdown": "-0.1",
            },
            "max_allowed_drawdown",
        ),
    ],
)
def test_contradictory_or_missing_parameters_are_refused(item: JsonObject, words: str) -> None:
    """A protection that contradicts itself, lacks a key or has a foreign one does not load."""
    with pytest.raises(ConfigError) as refused:
        load_config(PROJECT / "config" / "nore.v1.json", [f"risk.protections={json.dumps([item])}"])

    assert [line for line in refused.value.violations if words in line]


# --- stops at the venue ---------------------------------------------------------------------------

GUARD = {"method": "StoplossGuard", "lookback_period": 60, "trade_limit": 2, "stop_duration": 3}


def at_venue(first: str, *protections: JsonObject) -> Desk:
    """Return a desk whose stop of one percent rests, and which reads a queue before all others."""
    desk = Desk(protected(*protections, risk__exits_at="venue", risk__stop_bps="100"))
    desk.first = first
    for symbol in (SYMBOL, OTHER):
        desk.instrument(symbol)
    return desk


def held_at_venue(desk: Desk, symbol: str = SYMBOL) -> None:
    """Buy ten coins at 100, whose stop rests at 99."""
    desk.tick("99.99", "100.00", symbol=symbol, trade="100.00")
    desk.signal("BUY", symbol=symbol)
    desk.tick(symbol=symbol)
    desk.tick(symbol=symbol)


def stopped_out(desk: Desk, symbol: str = SYMBOL, bid_qty: str = "1000") -> None:
    """Buy, and let a trade trigger the stop, in as many fills as the bid is small."""
    held_at_venue(desk, symbol)
    for price in ("98", "97", "96"):
        desk.tick(price, f"{price}.01", symbol=symbol, trade=price, bid_qty=bid_qty)
    assert not desk.risk.facts()["open_positions"]


@pytest.mark.row("B-10", "B-46")
@pytest.mark.parametrize("bid_qty", ["1000", "4"])
def test_stops_at_the_venue_lock_alike_whatever_queue_is_read_first(bid_qty: str) -> None:
    """Two stops in a row lock all, one does not; the trade is said to have ended by its stop."""
    answers = []
    for first in ("fills", "order_results"):
        desk = at_venue(first, GUARD)
        stopped_out(desk, bid_qty=bid_qty)
        held = entry(desk, OTHER).action
        desk.tick(symbol=OTHER)
        desk.tick("98", "98.01", symbol=OTHER, trade="98")

        found = desk.risk.state()["protections"]
        answers.append((held, entry(desk).reason_code, found))
        assert [one["reason"] for one in found["trades"]] == ["stop_loss"] * 2

    assert [(one, two) for one, two, _ in answers] == [("ALLOW", "stoploss_guard")] * 2
    assert answers[0] == answers[1]


@pytest.mark.parametrize("first", ["fills", "order_results"])
def test_stop_at_the_venue_leaves_its_reason_to_no_later_trade(first: str) -> None:
    """A sale on a signal behind a stop is no stop, and its memory names no reason any more."""
    desk = at_venue(first, GUARD)
    stopped_out(desk)
    held_at_venue(desk)
    desk.tick("99.50", "99.51")
    desk.signal("SELL")
    desk.tick("99.50", "99.51")

    found = desk.risk.state()["protections"]

    assert [one["reason"] for one in found["trades"]] == ["stop_loss", "signal_exit"]
    assert found["left"] == {}
    assert entry(desk).action == "ALLOW"


@pytest.mark.parametrize("fee_asset", [None, "base"])
@pytest.mark.parametrize("first", ["fills", "order_results"])
def test_stop_beside_a_refused_sale_closes_its_trade(first: str, fee_asset: str | None) -> None:
    """A stop sells all in the tick that ends the time; the sale for that, refused, opens none."""
    profile = protected(
        GUARD,
        risk__exits_at="venue",
        risk__stop_bps="100",
        risk__time_exit_ms=10_000,
        execution__latency_market_ms=0,
        execution__taker_fee_bps="10",
        **({"execution__fee_asset": fee_asset} if fee_asset else {}),
    )
    desk = opened(profile)
    desk.first = first
    held_at_venue(desk)

    events = desk.tick("98.90", "98.91", trade="98.90", after_ms=10_000)

    found = desk.risk.state()["protections"]
    assert actions(events) == [("EXIT", "time_exit"), ("EXIT", "stop_loss")]
    assert results(events)[-1] == ("REJECTED", "order_ended")
    assert [one["reason"] for one in found["trades"]] == ["stop_loss"]
    assert found["trips"] == []


def filled(symbol: str, side: str, price: str, ts: int, order: str) -> FillMessage:
    """Return a fill of a coin, free of fees."""
    fill = Fill("x" * 16, order, symbol, side, "1", price, "0", "USDT", "TAKER")
    return FillMessage.read(fill, ts)


@pytest.mark.row("B-46")
def test_locks_are_the_same_however_fills_and_triggers_are_interleaved() -> None:
    """Trades of several symbols are judged in the order of their closes, also over snapshots."""
    profile = protected(
        *(GUARD, {"method": "LossesInRow", "trade_limit": 2, "stop_duration": 2}),
        {"method": "CooldownPeriod", "stop_duration": 1},
        risk__exits_at="venue",
    )
    chance = random.Random(11)
    symbols, closes = (SYMBOL, OTHER, "BNBUSDT"), []
    for _ in range(60):
        symbol, price = chance.choice(symbols), chance.choice(("98", "99", "103"))
        closes.append((symbol, price, chance.choice(("stop_loss", "take_profit", ""))))

    def judged(share: int) -> JsonObject:
        """Return the state behind all trades, while a share of ten steps reads fills first."""
        found, results, told = Protections(profile), list(range(60)), set[int]()
        fills, flat = list(range(60)), set[int]()
        while fills or results:
            if fills and (not results or chance.randrange(10) < share):
                n = fills.pop(0)
                symbol, price, reason = closes[n]
                ts, order = BEGAN + n * 20_000, f"order{n:08d}"
                found.on_fill(filled(symbol, "BUY", "100", ts, f"entry{n:08d}"), False)
                if not reason:
                    found.on_exit(symbol, "signal_exit")
                untold = order if reason and n not in told else ""
                found.on_fill(filled(symbol, "SELL", price, ts + 1, order), True, untold)
                flat.add(n)
            else:
                n = results[0]
                symbol, _, reason = closes[n]
                if [m for m in range(n) if closes[m][0] == symbol and m not in flat]:
                    continue  # Of a position that is not bought yet.
                results.pop(0)
                told.add(n)
                if reason:
                    found.on_trigger(symbol, f"order{n:08d}", reason)
            found = Protections.from_state(profile, json.loads(json.dumps(found.state())))
        return found.state()

    wanted = judged(10)

    assert "waiting" not in wanted
    assert any(wanted["locks"].values())
    for share in (1, 3, 5, 7, 9):
        assert judged(share) == wanted


# --- told and carried -----------------------------------------------------------------------------


def standings(events: list[Event]) -> list[RiskStanding]:
    """Return the standings that risk told."""
    return of(events, RiskStanding)


def begin_anew(desk: Desk, memory: Any) -> None:
    """Open another run on the same desk, with cash and what the last run remembered."""
    desk.risk = risk_from_config(desk.profile)
    desk.execution = execution_from_config(desk.profile)
    desk.put("control", replace(opening(), memory=memory))


def test_standing_is_told_after_fills_and_once_a_minute() -> None:
    """A fill tells the standing with its memory, a new minute's first beat tells it without."""
    desk = opened(protected({"method": "CooldownPeriod", "stop_duration": 1}))
    first, second = desk.beat(), desk.beat()
    desk.tick("99.99", "100.01")
    bought = desk.signal("BUY") + desk.tick()
    desk.ts = (desk.ts // MINUTE + 1) * MINUTE - 1000
    minute, behind = desk.beat(), desk.beat()

    assert [len(standings(events)) for events in (first, second, minute, behind)] == [1, 0, 1, 0]
    (standing,) = standings(bought)
    assert standing.memory is not None
    assert standings(minute)[0].memory is None


def test_standing_is_absent_while_nothing_asks_for_it() -> None:
    """A profile without protections, tiers and week budgets tells no standing."""
    desk = opened(config())
    desk.beat()
    bought_and_sold(desk, "100", "101")
    desk.beat(MINUTE)

    assert not standings([event for _, event in desk.log])


def test_lock_for_good_ends_at_the_last_time_that_an_event_can_hold() -> None:
    """The longest duration in weekly bars is told, in a standing and its memory, and it locks."""
    forever = {"method": "LossesInRow", "trade_limit": 1, "stop_duration_candles": 100_000}
    desk = opened(protected(forever, strategy__bar_interval="1w"))

    bought_and_sold(desk, "100", "90")

    standing = standings(desk.events("risk_actions"))[-1]
    lock = {"reason_code": "losses_in_row", "scope": ALL_SYMBOLS, "until_ts": MS_MAX}
    assert list(standing.locks or ()) == [lock]
    begin_anew(desk, standing.memory)
    desk.instrument()
    assert entry(desk).reason_code == "losses_in_row"


@pytest.mark.row("B-10", "B-46")
def test_carried_memory_locks_as_if_the_run_had_gone_on() -> None:
    """A run that opens with the last one's memory refuses for the same lock, until its end."""
    profile = protected({"method": "CooldownPeriod", "stop_duration": 30})
    desk = opened(profile)
    bought_and_sold(desk, "100", "101")
    standing = standings(desk.events("risk_actions"))[-1]
    (lock,) = standing.locks or ()

    begin_anew(desk, standing.memory)
    desk.instrument()
    refused = entry(desk)
    desk.ts = lock["until_ts"] - 100

    assert refused.reason_code == "cooldown_period"
    assert entry(desk).action == "ALLOW"


@pytest.mark.parametrize("change", ["trades", "closed_ts", "spent", "received", "locks"])
def test_carried_memory_that_contradicts_itself_is_a_stop(change: str) -> None:
    """A lock without a trade, a trade of the future or without a cost, a wrong type: no run."""
    profile = protected({"method": "CooldownPeriod", "stop_duration": 30})
    desk = opened(profile)
    bought_and_sold(desk, "100", "101")
    memory = desk.risk.state()["protections"]
    if change == "trades":
        memory["trades"] = []
    elif change == "locks":
        memory["locks"] = []
    else:
        wrong = {"closed_ts": desk.ts + 10**9, "spent": "0", "received": "-0.00000001"}
        memory["trades"][0][change] = wrong[change]

    with pytest.raises(InvariantError):
        begin_anew(desk, memory)


def test_carried_trade_that_brought_nothing_is_a_loss_and_no_contradiction() -> None:
    """Coins sold for less than the fee of their sale brought 0: the next run opens with them."""
    desk = opened(protected({"method": "CooldownPeriod", "stop_duration": 30}))
    bought_and_sold(desk, "100", "101")
    memory = desk.risk.state()["protections"]
    memory["trades"][0]["received"] = "0"

    begin_anew(desk, memory)
    desk.instrument()

    assert entry(desk).reason_code == "cooldown_period"


@pytest.mark.parametrize("number", [None, "1", -1, True])
@pytest.mark.parametrize("place", ["lock", "streak", "closed_ts", "opened_ts", "open", "waiting"])
def test_carried_time_or_count_that_is_no_number_is_a_stop(place: str, number: Any) -> None:
    """An edited memory is told when the run opens, by its code, and by no error of Python later."""
    with pytest.raises(InvariantError, match="expected a whole number"):
        opened_with(place, number)
    opened_with(place, 1)


@pytest.mark.parametrize("name", [None, 1, ["BTCUSDT"]])
@pytest.mark.parametrize("place", ["left", "symbol", "reason"])
def test_carried_symbol_or_reason_that_is_no_text_is_a_stop(place: str, name: Any) -> None:
    """An edited name is told when the run opens, too."""
    with pytest.raises(InvariantError, match="expected a text"):
        opened_with(place, name)
    opened_with(place, SYMBOL)


def opened_with(place: str, value: Any) -> None:
    """Open a run with the memory of a run, changed in one place; nothing in it is locked."""
    profile = protected({"method": "CooldownPeriod", "stop_duration": 30})
    desk = opened(profile)
    bought_and_sold(desk, "100", "99")
    memory = desk.risk.state()["protections"]
    trade: JsonObject = memory["trades"][0]
    memory["locks"] = {COOLDOWN_PERIOD: {SYMBOL: value if place == "lock" else 1}}
    memory["streaks"][SYMBOL] = value if place == "streak" else 1
    memory["left"][OTHER] = value if place == "left" else ""
    other = {"opened_ts": value if place == "open" else 1, "closed_ts": 0, "symbol": SYMBOL}
    memory["trips"] = [trade | other]
    late = trade | {"closed_ts": value if place == "waiting" else 1}
    memory["waiting"] = [{"trade": late, "orders": []}]
    if place in trade:
        memory["trades"] = [trade | {place: value}]
    lot = {"symbol": SYMBOL, "qty": "1", "price": "100", "cost": "100", "ts": START}
    portfolio = Portfolio.from_opening(opening(lots=[lot]))

    Protections(profile).open(portfolio, 0, memory, desk.ts)


def test_memory_of_many_trades_fits_a_line() -> None:
    """The newest of 3,000 trades in the look-back are told, and the next run opens with them."""
    guard = {"method": "StoplossGuard", "lookback_period": 1440, "stop_duration": 1}
    profile = protected(guard | {"trade_limit": 2, "required_profit": "-0.5"})
    desk = opened(profile)
    for second in range(3000):
        closed_ts = desk.ts - (3000 - second) * 1000
        desk.risk._state.protections.on_trade(trade("-1", closed_ts))

    bought_and_sold(desk, "100", "101")
    (*_, event) = [one for one in desk.events("risk_actions") if standings([one])]
    memory = standings([event])[0].memory
    begin_anew(desk, memory)

    assert len(codec().encode("risk_actions", event)) < profile["queues"]["line_bytes_max"]
    assert desk.risk.state()["protections"] == memory


def test_newest_trade_stays_however_little_fits_a_line() -> None:
    """The trades before it go; the next run begins with it."""
    guard = {"method": "StoplossGuard", "lookback_period": 1440, "stop_duration": 1}
    desk = opened(protected(guard | {"trade_limit": 9}))
    protections = desk.risk._state.protections
    protections._bytes_max = 0
    closed = [desk.ts - 3_000, desk.ts - 2_000, desk.ts - 1_000]

    for closed_ts in closed:
        protections.on_trade(trade("-1", closed_ts))

    assert [one.closed_ts for one in protections.trades] == closed[-1:]


def test_no_more_trades_are_forgotten_than_have_to_be() -> None:
    """The oldest trade alone is forgotten where all others fit a line to the byte."""
    guard = {"method": "StoplossGuard", "lookback_period": 1440, "stop_duration": 1}
    desk, roomy = (opened(protected(guard | {"trade_limit": 9})) for _ in range(2))
    first, *others = [trade("-1", desk.ts - second) for second in (3_000, 2_000, 1_000)]
    for one in others:
        roomy.risk._state.protections.on_trade(one)
    kept = roomy.risk.state()["protections"]
    counted = {key: kept[key] for key in ("locks", "streaks", "trades")}
    fitting = encode({"told": [], **counted})  # No lock is told.
    protections = desk.risk._state.protections
    protections._bytes_max = len(fitting)

    for one in (first, *others):
        protections.on_trade(one)

    assert protections.trades == others


def test_memory_of_many_streaks_leaves_room_for_fewer_trades() -> None:
    """Three trades would fit alone, but not beside the streaks of a thousand symbols."""
    guard = {"method": "StoplossGuard", "lookback_period": 1440, "stop_duration": 1}
    desk = opened(protected(guard | {"trade_limit": 9}))
    protections = desk.risk._state.protections
    protections._bytes_max = 4 * TRADE_BYTES
    protections.streaks = {f"S{number}USDT": 1 for number in range(1000)}

    for second in (3_000, 2_000, 1_000):
        protections.on_trade(trade("-1", desk.ts - second))

    assert [one.closed_ts for one in protections.trades] == [desk.ts - 1_000]


def test_memory_of_many_trades_and_locks_fits_a_line() -> None:
    """Day's locks of 399 symbols leave room for fewer trades, and the next run opens with them."""
    lock = {"stop_duration": 1440}
    guard = {"method": "StoplossGuard", "lookback_period": 1440, "trade_limit": 1, **lock}
    cooldown = {"method": "CooldownPeriod", **lock}
    profile = protected(guard | {"only_per_pair": True, "required_profit": "0"}, cooldown)
    desk = opened(profile, SYMBOL, OTHER)
    protections, closed_ts = desk.risk._state.protections, desk.ts - 1400_000
    for number in range(399):
        protections.on_trade(trade("-1", closed_ts + number * 1000, symbol=f"SYMBOL{number}USDT"))
    for number in range(399, 1399):
        protections.on_trade(trade("-1", closed_ts + number * 1000))

    bought_and_sold(desk, "100", "101", OTHER)
    (*_, event) = [one for one in desk.events("risk_actions") if standings([one])]
    memory = standings([event])[0].memory
    assert memory is not None
    begin_anew(desk, memory)

    assert len(codec().encode("risk_actions", event)) < profile["queues"]["line_bytes_max"]
    assert desk.risk.state()["protections"] == memory
    assert len({lock["scope"] for lock in standings([event])[0].locks or ()}) == 401
    newest = [one["closed_ts"] for one in memory["trades"] if one["symbol"] == SYMBOL]
    assert newest == [closed_ts + number * 1000 for number in range(1399 - len(newest), 1399)]
    assert len(newest) > 400


def test_protection_counts_as_many_trades_as_are_kept() -> None:
    """A guard with the highest trade limit locks at that trade, and not at the one before."""
    guard = {"method": "StoplossGuard", "lookback_period": 1440, "stop_duration": 1}
    protections = Protections(protected(guard | {"trade_limit": TRADES_KEPT}))
    locked = []
    for second in range(TRADES_KEPT + 9):
        protections.on_trade(trade("-1", BEGAN + second * 1000))
        locked.append(protections.left("stoploss_guard", SYMBOL, BEGAN + second * 1000) > 0)

    assert locked == [False] * (TRADES_KEPT - 1) + [True] * 10
    assert len(protections.trades) == TRADES_KEPT


def test_trade_is_remembered_for_as_long_as_it_counts() -> None:
    """A guard that looks a day back forgets a trade when it is a day old, and not before."""
    guard = {"method": "StoplossGuard", "lookback_period": 1440, "stop_duration": 1}
    protections = Protections(protected(guard | {"trade_limit": 9}))
    protections.on_trade(trade("-1"))
    counted = []
    for age in (DAY_MS - 1, DAY_MS):
        protections.on_trade(trade("-1", BEGAN + age, symbol=OTHER))
        counted.append(len(protections.trades))

    assert counted == [2, 2]


@pytest.mark.parametrize(("age_ms", "kept"), [(999, 2), (1_000, 1)])
def test_trade_is_remembered_for_as_long_as_its_lock_would_last(age_ms: int, kept: int) -> None:
    """A lock lasts to the end of the bar, of a second, in which its time is over."""
    protections = Protections(protected({"method": "CooldownPeriod", "stop_duration": 30}))
    protections.on_trade(trade("-1"))
    protections.on_trade(trade("-1", BEGAN + 30 * MINUTE + age_ms))

    assert len(protections.trades) == kept


def test_memory_leaves_room_for_the_open_trades_of_all_positions() -> None:
    """The more positions a profile allows, the fewer closed trades it tells."""
    lock = {"stop_duration": 1440}
    guard = {"method": "StoplossGuard", "lookback_period": 1440, "trade_limit": 1, **lock}
    both = guard | {"only_per_pair": True, "required_profit": "0"}, {"method": "CooldownPeriod"}
    sizes = []
    for positions in (1, 41):
        profile = protected(both[0], both[1] | lock, risk__positions_max=positions)
        protections = Protections(profile)
        for number in range(1400):
            symbol = f"SYMBOL{min(number, 399)}USDT"
            protections.on_trade(trade("-1", BEGAN + number * 1000, symbol=symbol))
        sizes.append(len(encode(protections.state())))
        assert sizes[-1] <= LINE_BYTES - positions * OPEN_BYTES

    assert sizes[0] - sizes[1] > 39 * OPEN_BYTES


def test_trade_behind_a_lasting_lock_is_kept_beyond_the_newest() -> None:
    """A day's lock of one symbol outlasts the trades of another one, and the memory opens."""
    first, later = (
        Protections(protected({"method": "CooldownPeriod", "stop_duration": 1440}))
        for _ in range(2)
    )
    first.on_trade(trade("-1", symbol=OTHER))
    now = BEGAN
    for _ in range(TRADES_KEPT + 9):
        now += 1000
        first.on_trade(trade("-1", now))

    later.open(Portfolio({}, ()), 0, first.state(), now)

    assert [one.symbol for one in first.trades] == [OTHER, *[SYMBOL] * TRADES_KEPT]
    assert later.left("cooldown_period", OTHER, now) > 0


def test_longer_lock_of_an_earlier_profile_keeps_its_trade() -> None:
    """A lock of a day outlives profiles with one of an hour, and no later run is barred by it."""
    day, hour = (protected({"method": "CooldownPeriod", "stop_duration": n}) for n in (1440, 60))
    first, second, third = Protections(day), Protections(hour), Protections(hour)
    flat, now = Portfolio({}, ()), BEGAN + 120 * MINUTE
    first.on_trade(trade("-1"))
    second.open(flat, 0, first.state(), BEGAN)
    second.on_trade(trade("-1", now, symbol=OTHER))

    third.open(flat, 0, second.state(), now)
    third.on_trade(trade("-1", BEGAN + 1443 * MINUTE, symbol=OTHER))

    assert second.left("cooldown_period", SYMBOL, now) == 1320 * MINUTE + 1000
    assert third.left("cooldown_period", SYMBOL, now) == 0
    assert [one.symbol for one in third.trades] == [OTHER]


def test_longer_lock_of_all_symbols_keeps_the_last_trade_behind_it() -> None:
    """Memory keeps the last of three losses, which locked all symbols for a day."""
    day, hour = (
        protected({"method": "LossesInRow", "trade_limit": 3, "stop_duration": n})
        for n in (1440, 60)
    )
    first, second, now = Protections(day), Protections(hour), BEGAN + 120 * MINUTE
    for number in range(3):
        first.on_trade(trade("-1", BEGAN + number * 1000))

    second.open(Portfolio({}, ()), 0, first.state(), BEGAN + 3000)
    second.on_trade(trade("1", now, symbol=OTHER))

    assert [one.closed_ts for one in second.trades] == [BEGAN + 2000, now]
    assert second.left("losses_in_row", SYMBOL, now) > 0


LOCKS_ALL: JsonObject = {"method": "LossesInRow", "trade_limit": 1}
LOCK_ONE: list[JsonObject] = [
    {"method": "CooldownPeriod"},
    {
        "method": "LowProfitPairs",
        "trade_limit": 1,
        "required_profit": "1",
        "lookback_period": 20,
    },
]


@pytest.mark.parametrize("of_one", LOCK_ONE, ids=lambda row: row["method"])
def test_memory_of_any_trades_opens_the_next_run_with_each_of_its_locks(of_one: JsonObject) -> None:
    """Profiles with locks of a day and of minutes take turns: none bars the next, or drops a lock.

    Beyond the trades that count, no more are remembered than locks last.
    """
    chance, flat = random.Random(7), Portfolio({}, ())
    profiles = [
        protected(*(row | {"stop_duration": n} for row in (LOCKS_ALL, of_one))) for n in (1440, 20)
    ]
    old_max = 0
    for _ in range(100):
        now, one = BEGAN, Protections(profiles[0])
        for number in range(1, 25):
            now += chance.choice((0, 1, 10, 30, 500)) * MINUTE
            if not number % 4:
                later = Protections(profiles[number // 4 % 2])
                later.open(flat, 0, one.state(), now)
                assert later.listed(now) == one.listed(now)
                one = later
            symbol = chance.choice((SYMBOL, OTHER, "SOLUSDT", "XRPUSDT"))
            one.on_trade(trade(chance.choice(("-1", "1")), now, symbol=symbol))
            counts_from = now - (1440 if number // 4 % 2 == 0 else 20) * MINUTE - 1000
            old = sum(each.closed_ts <= counts_from for each in one.trades)
            assert old <= len(one.listed(now))
            old_max = max(old_max, old)

    assert old_max > 2


# --- trades that wait -----------------------------------------------------------------------------


def lot(symbol: str, ts: int = 7) -> Lot:
    """Return a coin bought at 100."""
    return Lot.from_json({"symbol": symbol, "qty": "1", "price": "100", "ts": ts})


def waiting() -> Protections:
    """Return protections with two trades that wait for their triggers, one in two fills."""
    found = Protections(protected(GUARD, {"method": "CooldownPeriod", "stop_duration": 1}))
    for n, symbol in enumerate((SYMBOL, OTHER)):
        ts = BEGAN + n * 1000
        for number in range(2):
            found.on_fill(filled(symbol, "BUY", "100", ts, f"entry{number}"), False)
        found.on_fill(filled(symbol, "SELL", "98", ts, f"order{n}"), False, f"order{n}")
        found.on_fill(filled(symbol, "SELL", "98", ts, f"order{n}"), True, f"order{n}")
    return found


def test_trade_waits_for_the_trigger_of_its_order_and_for_those_closed_before_it() -> None:
    """The trigger of the second trade judges none; that of the first judges both, in order."""
    found = waiting()
    before = len(found.trades)
    found.on_trigger(OTHER, "order1", "stop_loss")
    between = len(found.trades)
    found.on_trigger(SYMBOL, "order0", "take_profit")

    assert (before, between) == (0, 0)
    assert [(one.symbol, one.reason) for one in found.trades] == [
        (SYMBOL, "take_profit"),
        (OTHER, "stop_loss"),
    ]
    assert found.waiting == []


def test_order_that_sold_in_two_fills_is_waited_for_once() -> None:
    """One result tells of its trigger: a second place in the list would wait for ever."""
    assert [one.orders for one in waiting().waiting] == [["order0"], ["order1"]]


def test_trades_that_waited_at_the_end_of_a_run_are_judged_by_the_next() -> None:
    """No order outlives its run: nothing more is told of them, and they lock from their close."""
    memory = waiting().state()
    memory["untold"] = {SYMBOL: ["order9"]}
    later = Protections(protected(GUARD, {"method": "CooldownPeriod", "stop_duration": 1}))

    later.open(Portfolio({}, ()), 0, memory, BEGAN + 2000)

    assert [one.symbol for one in later.trades] == [SYMBOL, OTHER]
    assert later.left("cooldown_period", SYMBOL, BEGAN + 2000) > 0
    assert not {"waiting", "untold"} & later.state().keys()


def test_carried_position_is_a_trade_from_its_own_purchase() -> None:
    """Without a memory its trade begins with its oldest lot and has its cost."""
    found = Protections(protected({"method": "CooldownPeriod", "stop_duration": 1}))
    found.open(Portfolio({}, [lot(SYMBOL), lot(SYMBOL, 9)]), 0, None, BEGAN)
    for is_flat in (False, True):
        found.on_fill(filled(SYMBOL, "SELL", "101", BEGAN, "sale"), is_flat)

    (closed,) = found.trades
    assert (closed.opened_ts, closed.spent, closed.profit) == (7, 200 * UNIT, 2 * UNIT)


def test_carried_dust_of_a_closed_trade_is_no_part_of_the_next_one() -> None:
    """With a memory: the trade that left it has paid for it, in whichever run that was."""
    row = protected({"method": "CooldownPeriod", "stop_duration": 1})
    first, later = Protections(row), Protections(row)
    first.on_fill(filled(SYMBOL, "BUY", "100", BEGAN, "entry"), False)
    first.on_fill(filled(SYMBOL, "SELL", "101", BEGAN, "sale"), True)

    later.open(Portfolio({}, [lot(SYMBOL)]), 0, first.state(), BEGAN)
    later.on_fill(filled(SYMBOL, "BUY", "100", BEGAN, "entry"), False)
    later.on_fill(filled(SYMBOL, "SELL", "101", BEGAN, "sale"), True)

    assert [one.profit for one in later.trades] == [UNIT, UNIT]


def test_open_trade_of_which_nothing_is_held_stops_the_run() -> None:
    """A memory that tells of a position which the lots have not is of another account."""
    first = Protections(protected(GUARD))
    first.on_fill(filled(SYMBOL, "BUY", "100", BEGAN, "entry"), False)
    later = Protections(protected(GUARD))

    later.open(Portfolio({}, [lot(SYMBOL)]), 0, first.state(), BEGAN)
    with pytest.raises(InvariantError, match="an open trade of BTCUSDT"):
        Protections(protected(GUARD)).open(Portfolio({}, [lot(OTHER)]), 0, first.state(), BEGAN)


def test_sale_of_dust_that_no_trade_bought_is_no_trade() -> None:
    """Its profit would be all that it brings, and its return is not defined."""
    found = Protections(protected({"method": "CooldownPeriod", "stop_duration": 1}))
    before = found.state()

    found.on_fill(filled(SYMBOL, "SELL", "100", BEGAN, "sale"), True)

    assert found.state() == before
    assert found.left("cooldown_period", SYMBOL, BEGAN) == 0


def test_trade_that_leaves_dust_is_closed_whatever_another_symbol_buys() -> None:
    """An order for less of another coin than the dust is not part of the sale that left it."""
    rule = {"method": "CooldownPeriod", "stop_duration": 1}
    held = {"symbol": SYMBOL, "qty": "1.0009", "price": "100", "ts": 1}
    profile = protected(rule, risk__order_notional="0.05", execution__fee_asset="quote")
    desk = Desk(profile, first=opening("9000", (held,)))
    desk.instrument()
    desk.instrument(OTHER, qty_increment="0.0001", qty_min="0.0001", notional_min="0")
    for symbol in (SYMBOL, OTHER):
        desk.tick("100", "100", symbol=symbol)
    bought = intents(desk.signal("BUY", symbol=OTHER))
    sold = intents(desk.signal("SELL"))

    desk.tick("100", "100")

    assert ([each.qty for each in bought], [each.qty for each in sold]) == (["0.0005"], ["1.000"])
    assert desk.risk.facts()["open_orders"] == 1
    (closed,) = desk.risk.state()["protections"]["trades"]
    assert closed["symbol"] == SYMBOL


def test_lock_that_ends_with_the_next_trade_is_not_kept() -> None:
    """A lock bars nothing at its end, so that no memory holds it from then on."""
    one = Protections(protected({"method": "CooldownPeriod", "stop_duration": 1}))
    one.on_trade(trade("-1"))
    (first,) = one.listed(BEGAN)

    one.on_trade(trade("-1", first["until_ts"], symbol=OTHER))

    assert list(one.state()["locks"]["cooldown_period"]) == [OTHER]


def test_locks_of_all_and_of_one_symbol_keep_a_trade_each() -> None:
    """Two locks of a day by two trades outlive a profile with locks of an hour, with both."""
    pairs = {"method": "LowProfitPairs", "required_profit": "1", "trade_limit": 1}
    rows = {"method": "LossesInRow", "trade_limit": 1}, pairs | {"lookback_period": 60}
    day, hour = (protected(*(row | {"stop_duration": n} for row in rows)) for n in (1440, 60))
    first, second, now = Protections(day), Protections(hour), BEGAN + 120 * MINUTE
    first.on_trade(trade("1", symbol=OTHER))
    first.on_trade(trade("-1"))
    second.open(Portfolio({}, ()), 0, first.state(), BEGAN)

    second.on_trade(trade("1", now, symbol="SOLUSDT"))

    assert [one.symbol for one in second.trades] == [OTHER, SYMBOL, "SOLUSDT"]


def test_lasting_lock_of_all_symbols_keeps_the_last_trade_before_it() -> None:
    """A day's lock of all outlives a profile with one of an hour, and no later run is barred."""
    row = {"method": "LossesInRow", "trade_limit": 1}
    day, hour = (protected(row | {"stop_duration": n}) for n in (1440, 60))
    first, second, third = Protections(day), Protections(hour), Protections(hour)
    flat, now = Portfolio({}, ()), BEGAN + 120 * MINUTE
    first.on_trade(trade("1", symbol=OTHER))
    first.on_trade(trade("-1"))
    second.open(flat, 0, first.state(), BEGAN)
    second.on_trade(trade("1", now, symbol=OTHER))

    third.open(flat, 0, second.state(), now)

    assert [(one.symbol, one.closed_ts) for one in second.trades] == [(SYMBOL, BEGAN), (OTHER, now)]
    assert third.left("losses_in_row", OTHER, now) == 1320 * MINUTE + 1000
