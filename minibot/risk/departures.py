"""The decision to leave a position: on a SELL signal, or because an exit of `risk.exits` is due.

Exits are allowed where entries are refused: no halt, lock, loss or notional limit keeps a position
open. What an exit needs is a position, a fresh touch, and no exit of the symbol in flight.
"""

from __future__ import annotations

from typing import Final

from minibot.events.messages import Message, SignalMessage
from minibot.events.model import SELL, Event
from minibot.events.money import PLACES, cost_up
from minibot.events.order_rules import MARKET, OrderRules
from minibot.events.reasons import (
    LEFT_TRADING,
    NO_POSITION,
    PENDING_ORDER,
    SIGNAL_EXIT,
    UNIVERSE_EXIT,
)
from minibot.risk.checks import IS_NOT, IS_SO, NOT_ASKED, Checklist, Gate, rows_of
from minibot.risk.drafts import BLOCK, EXIT, Cause, action, allow, stop
from minibot.risk.exits import Trigger
from minibot.risk.gates import (
    DECIDED_BEFORE,
    MARK,
    SIGNAL_AGE,
    STATUS,
    TICK_AGE,
    status_of,
    touch_of,
)
from minibot.risk.positions import Mark
from minibot.risk.situation import Situation

LEAVES_ON_SIGNAL: Final = Gate("signal_exit", SIGNAL_EXIT, words=IS_SO)
LOTS: Final = Gate("position_lots", NO_POSITION, is_least=True)
EXIT_PENDING: Final = Gate("exit_pending", PENDING_ORDER, words=IS_NOT)
EXIT_QTY: Final = Gate("exit_qty", places=PLACES, is_least=True)

CAN_SELL: Final[tuple[Gate, ...]] = (EXIT_PENDING, EXIT_QTY)
"""What every exit is asked at last."""
SELL_GATES: Final[tuple[Gate, ...]] = (
    *(SIGNAL_AGE, DECIDED_BEFORE, LEAVES_ON_SIGNAL, LOTS, STATUS, TICK_AGE, MARK),
    *CAN_SELL,
)
"""What a SELL signal is asked, where status and touch are as they should be."""


def on_sell(situation: Situation, signal: SignalMessage, cause: Cause) -> list[Message]:
    """Return EXIT with an intent, BLOCK, or STOP."""
    symbol, now, limits = signal.symbol, situation.now, situation.limits
    positions, stays = situation.positions, not situation.exits.rules.signal_exit
    age, age_max = now - signal.ts, limits.signal_age_ms_max
    if signal.horizon_ms < age_max:
        age_max = signal.horizon_ms
    is_known, lots = situation.decided.has(cause.ref), positions.portfolio.count_lots(symbol)
    rules, mark = positions.rules.get(symbol), positions.marks.get(symbol)
    status, touch = status_of(rules), touch_of(mark)
    tick_age = NOT_ASKED if mark is None else now - mark.ts
    no_touch = NOT_ASKED if touch is MARK else 1
    gates = SELL_GATES
    if status is not STATUS or touch is not MARK:
        gates = (SIGNAL_AGE, DECIDED_BEFORE, LEAVES_ON_SIGNAL, LOTS, status, TICK_AGE, touch)
    checks = rows_of(
        gates,
        [age, is_known, stays, 1, status is not STATUS, tick_age, no_touch],
        [age_max, 0, 0, lots, 0, limits.tick_age_ms_max, 0],
    )
    if checks.judge() and rules is not None and mark is not None:
        qty = judge_exit(situation, symbol, rules, mark, checks)
        if not checks.reason:
            situation.remember(cause.ref, cause.ts)
            return _exit(situation, SIGNAL_EXIT, symbol, qty, mark.bid, checks, cause, 0)
    left = situation.headroom(symbol)
    return [action(situation, BLOCK, checks.reason, symbol, checks, cause, left)]


def on_exit_position(situation: Situation, symbol: str, event: Event) -> list[Message]:
    """Return what an operator's wish to leave a symbol leads to, now or with the next tick."""
    cause = Cause.of_event(event)
    if symbol in situation.positions.values:
        situation.exits.ask(symbol)
        trigger = due(situation, symbol)
        return [] if trigger is None else leave(situation, symbol, trigger, cause, 0)
    checks = rows_of((LOTS,), [1], [0])
    checks.judge()
    left = situation.headroom(symbol)
    return [action(situation, BLOCK, NO_POSITION, symbol, checks, cause, left)]


def leave_all(situation: Situation, event: Event) -> list[Message]:
    """Return the exits that are due in any symbol; a STOP stands alone."""
    messages: list[Message] = []
    for symbol in situation.positions.portfolio.symbols():
        trigger = due(situation, symbol)
        if trigger is None:
            continue
        messages += leave(situation, symbol, trigger, Cause.of_event(event), len(messages))
        if situation.is_stopped:
            return messages[-1:]
    return messages


def leave_halted(situation: Situation, symbol: str) -> None:
    """Follow the policy for a position whose symbol left TRADING: it is left when it trades again.

    While it does not trade nothing can be sold; the wish stands until the venue takes orders.
    """
    positions, exits = situation.positions, situation.exits
    if positions.rules[symbol].is_trading or not exits.rules.leaves_halted:
        return
    if symbol in positions.values:
        exits.leave(symbol, LEFT_TRADING)


def leave_dropped(situation: Situation) -> None:
    """Follow the policy for positions whose symbols are in the universe no longer."""
    universe, exits = situation.universe, situation.exits
    if universe is None or not exits.rules.leaves_dropped:
        return
    for symbol in situation.positions.portfolio.symbols():
        if symbol in universe:
            exits.stay(symbol, UNIVERSE_EXIT)
        else:
            exits.leave(symbol, UNIVERSE_EXIT)


def due(situation: Situation, symbol: str) -> Trigger | None:
    """Return why a position is to be left now, if the last touch is fresh enough; None for not."""
    positions, exits = situation.positions, situation.exits.of(symbol)
    mark, rules, now = positions.marks.get(symbol), positions.rules.get(symbol), situation.now
    if mark is None or rules is None or not mark.is_fresh or not mark.has_mid:
        return None
    if now - mark.ts > situation.limits.tick_age_ms_max:
        return None
    if now < exits.retry_ts or positions.has_order(symbol, SELL):
        return None
    trigger = situation.exits.trigger(exits, positions.portfolio, rules, mark.bid, now)
    if trigger is None:
        exits.told = ""
    return trigger


def leave(
    situation: Situation, symbol: str, trigger: Trigger, because: Cause, ordinal: int
) -> list[Message]:
    """Return what comes of an exit that is due.

    Args:
        situation: The state.
        symbol: A symbol with an open position.
        trigger: Why it is left, as `due` found it.
        because: The tick, or the control event; what is said goes back to the touch judged.
        ordinal: How much this step said before.
    """
    positions, exits = situation.positions, situation.exits.of(symbol)
    mark, rules = positions.marks[symbol], positions.rules[symbol]
    gates = (trigger.gate, status_of(rules), *CAN_SELL)
    checks, cause = rows_of(gates, [], []), because.going_back_to(mark.seq)
    checks.judged(trigger.value, trigger.threshold, False)
    checks.judged(not rules.is_trading, 0, rules.is_trading)
    qty = judge_exit(situation, symbol, rules, mark, checks)
    if not checks.reason:
        exits.told = ""
        return _exit(situation, trigger.reason, symbol, qty, mark.bid, checks, cause, ordinal)
    if exits.told == checks.reason:
        return []
    exits.told = checks.reason  # Said once: with the next tick nothing has changed.
    left = situation.headroom(symbol)
    return [action(situation, BLOCK, checks.reason, symbol, checks, cause, left, ordinal)]


def judge_exit(
    situation: Situation, symbol: str, rules: OrderRules, mark: Mark, checks: Checklist
) -> int:
    """Judge `CAN_SELL`, whether what is held can be sold; return how much of it one order sells.

    That is whole steps of the position, up to what the venue takes at once.
    """
    positions = situation.positions
    start, is_pending = len(checks.lows), positions.has_order(symbol, SELL)
    qty = rules.qty_down(positions.free_qty(symbol), MARKET)
    checks.lows += [is_pending, rules.qty_min]
    checks.highs += [0, qty]
    notional = cost_up(qty, mark.bid)
    refusal = rules.value_refusal(notional, MARKET) or rules.qty_refusal(qty, MARKET)
    if is_pending or refusal is not None:  # Else both have passed.
        checks.judge(start)
        if refusal is not None:
            checks.fail_last(refusal)
    return qty


def _exit(
    situation: Situation,
    reason: str,
    symbol: str,
    qty: int,
    bid: int,
    checks: Checklist,
    cause: Cause,
    ordinal: int,
) -> list[Message]:
    """Return the action EXIT and its intent; STOP instead when the order rate is spent."""
    left = situation.headroom(symbol)
    rate = situation.limits.order_rate
    if left.orders + 1 > rate.hard:
        return [stop(situation, rate.breach(left.orders + 1, None), symbol, cause)]
    return allow(situation, EXIT, reason, symbol, SELL, qty, bid, checks, cause, left, ordinal)
