"""The decision to leave a position: on a SELL signal, or because an exit of `risk.exits` is due.

Exits are allowed where entries are refused: no halt, lock, loss or notional limit keeps a position
open. What an exit needs is a position, a fresh touch, and no exit of the symbol in flight.
"""

from __future__ import annotations

from minibot.events.messages import Message, SignalMessage
from minibot.events.model import SELL, Event
from minibot.events.money import PLACES
from minibot.events.order_rules import MARKET, TRADING, OrderRules
from minibot.events.reasons import (
    LEFT_TRADING,
    NO_POSITION,
    NOT_TRADING,
    PENDING_ORDER,
    QTY_INVALID,
    SIGNAL_EXIT,
    UNIVERSE_EXIT,
)
from minibot.risk.checks import NO, YES, Checklist
from minibot.risk.drafts import (
    BLOCK,
    EXIT,
    Cause,
    action,
    intent,
    new_order,
    rate_breaches,
    stop,
)
from minibot.risk.gates import judge_market, judge_signal
from minibot.risk.positions import Mark
from minibot.risk.situation import Situation


def on_sell(situation: Situation, signal: SignalMessage) -> list[Message]:
    """Return EXIT with an intent, BLOCK, or STOP."""
    symbol, checks, cause = signal.symbol, Checklist(), Cause.of_signal(signal)
    positions, now = situation.positions, situation.now
    is_known = situation.decided.has(signal.ref)
    judge_signal(checks, signal, now, situation.limits, is_known)
    wanted = situation.exits.rules.signal_exit
    checks.add("signal_exit", YES if wanted else NO, YES, wanted, SIGNAL_EXIT)
    lots = positions.portfolio.count_lots(symbol)
    checks.at_least("position_lots", lots, 1, NO_POSITION)
    rules, mark = positions.rules.get(symbol), positions.marks.get(symbol)
    judge_market(checks, rules, mark, now, situation.limits)
    if checks.passed and rules is not None and mark is not None:
        judge_exit(situation, symbol, rules, mark, checks)
        if checks.passed:
            situation.remember(signal.ref, signal.ts)
            return _exit(situation, SIGNAL_EXIT, symbol, checks, cause, 0)
    return [action(situation, BLOCK, checks.reason, symbol, checks.items, cause)]


def on_exit_position(situation: Situation, symbol: str, event: Event) -> list[Message]:
    """Return what an operator's wish to leave a symbol leads to, now or with the next tick."""
    cause = Cause.of_event(event)
    if situation.positions.portfolio.has_lots(symbol):
        situation.exits.ask(symbol)
        return leave_when_due(situation, symbol, cause, 0)
    checks = Checklist()
    checks.at_least("position_lots", 0, 1, NO_POSITION)
    return [action(situation, BLOCK, NO_POSITION, symbol, checks.items, cause)]


def leave_all(situation: Situation, event: Event) -> list[Message]:
    """Return the exits that are due in any symbol; a STOP stands alone."""
    messages: list[Message] = []
    for symbol in situation.positions.portfolio.symbols():
        messages += leave_when_due(situation, symbol, Cause.of_event(event), len(messages))
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
    if positions.held is not None and positions.held.has_lots(symbol):
        exits.leave(symbol, LEFT_TRADING)


def leave_dropped(situation: Situation) -> None:
    """Follow the policy for positions whose symbols are in the universe no longer."""
    universe, exits = situation.universe, situation.exits
    held = situation.positions.held
    if universe is None or held is None or not exits.rules.leaves_dropped:
        return
    for symbol in held.symbols():
        if symbol in universe:
            exits.stay(symbol, UNIVERSE_EXIT)
        else:
            exits.leave(symbol, UNIVERSE_EXIT)


def leave_when_due(
    situation: Situation, symbol: str, because: Cause, ordinal: int
) -> list[Message]:
    """Leave a position for which an exit is due, if the last touch is fresh enough.

    Args:
        situation: The state.
        symbol: A symbol with an open position.
        because: The tick, or the control event; what is said goes back to the touch judged.
        ordinal: How much this step said before.
    """
    positions, exits = situation.positions, situation.exits.of(symbol)
    mark, rules = positions.marks.get(symbol), positions.rules.get(symbol)
    if mark is None or rules is None or not _is_fresh(situation, mark):
        return []
    if positions.has_order(symbol, SELL) or situation.now < exits.retry_ts:
        return []
    trigger = situation.exits.trigger(symbol, positions.portfolio, rules, mark.bid, situation.now)
    if trigger is None:
        exits.told = ""
        return []
    checks, cause = Checklist(), because.going_back_to(mark.seq)
    checks.items.append(trigger.judged)
    checks.add("instrument_status", rules.status, TRADING, rules.is_trading, NOT_TRADING)
    refusal = judge_exit(situation, symbol, rules, mark, checks)
    if not refusal:
        exits.told = ""
        return _exit(situation, trigger.reason, symbol, checks, cause, ordinal)
    if exits.told == refusal:
        return []
    exits.told = refusal  # Said once: with the next tick nothing has changed.
    return [action(situation, BLOCK, refusal, symbol, checks.items, cause, ordinal)]


def judge_exit(
    situation: Situation, symbol: str, rules: OrderRules, mark: Mark, checks: Checklist
) -> str:
    """Judge whether what is held can be sold; return the reason against it, empty if none."""
    positions = situation.positions
    is_pending = positions.has_order(symbol, SELL)
    checks.fact("exit_pending", is_pending, False, PENDING_ORDER)
    qty = exit_qty(situation, symbol, rules)
    refusal = rules.notional_refusal(qty, mark.bid, MARKET) or rules.qty_refusal(qty, MARKET)
    reason = refusal or QTY_INVALID
    checks.number("exit_qty", qty, rules.qty_min, refusal is None, reason, PLACES)
    return checks.reason


def exit_qty(situation: Situation, symbol: str, rules: OrderRules) -> int:
    """Return what one exit order can sell: whole steps of the position, up to the maximum."""
    return rules.qty_down(situation.positions.free_qty(symbol), MARKET)


def _exit(
    situation: Situation,
    reason: str,
    symbol: str,
    checks: Checklist,
    cause: Cause,
    ordinal: int,
) -> list[Message]:
    """Return the action EXIT and its intent; STOP instead when the order rate is spent."""
    breaches = rate_breaches(situation)
    if breaches:
        return [stop(situation, breaches, symbol, cause)]
    rules, mark = situation.positions.rules[symbol], situation.positions.marks[symbol]
    qty = exit_qty(situation, symbol, rules)
    order = new_order(cause, ordinal, symbol, SELL, qty, mark.bid)
    allowed = action(situation, EXIT, reason, symbol, checks.items, cause, ordinal)
    return [allowed, intent(situation, order, EXIT, cause, allowed)]


def _is_fresh(situation: Situation, mark: Mark) -> bool:
    return mark.is_usable and situation.now - mark.ts <= situation.limits.tick_age_ms_max
