"""The decision to leave a position: on a SELL signal, or because an exit of `risk.exits` is due.

Exits are allowed where entries are refused: no halt, lock, loss or notional limit keeps a position
open. What an exit needs is a position, a fresh touch, and no exit of the symbol in flight.
"""

from __future__ import annotations

from typing import Final

from minibot.events.messages import Message, SignalMessage
from minibot.events.model import SELL, Event
from minibot.events.money import PLACES, cost_up
from minibot.events.order_rules import TRADING, OrderRules
from minibot.events.reasons import (
    LEFT_TRADING,
    NO_POSITION,
    PENDING_ORDER,
    SIGNAL_EXIT,
    UNIVERSE_EXIT,
)
from minibot.risk.checks import IS_NOT, IS_SO, NOT_ASKED, Checklist, Gate, rows_of
from minibot.risk.drafts import BLOCK, EXIT, Verdict, action, allow, because, because_of_event, stop
from minibot.risk.exits import Trigger
from minibot.risk.gates import (
    DECIDED_BEFORE,
    SIGNAL_AGE,
    STATUS,
    TICK_AGE,
    status_of,
    touch_of,
)
from minibot.risk.headroom import headroom_of
from minibot.risk.positions import UNSEEN, Market, Positions
from minibot.risk.situation import Situation

LEAVES_ON_SIGNAL: Final = Gate("signal_exit", SIGNAL_EXIT, words=IS_SO)
LOTS: Final = Gate("position_lots", NO_POSITION, is_least=True)
EXIT_PENDING: Final = Gate("exit_pending", PENDING_ORDER, words=IS_NOT)
EXIT_QTY: Final = Gate("exit_qty", places=PLACES, is_least=True)

CAN_SELL: Final[tuple[Gate, ...]] = (EXIT_PENDING, EXIT_QTY)
"""What every exit is asked at last."""
SELL_GATES: Final[tuple[Gate, ...]] = (
    *(SIGNAL_AGE, DECIDED_BEFORE, LEAVES_ON_SIGNAL, LOTS, STATUS, TICK_AGE),
    *CAN_SELL,
)
"""What a SELL signal is asked, where status and touch are as they should be."""


def on_sell(situation: Situation, market: Market, signal: SignalMessage) -> list[Message]:
    """Return EXIT with an intent, BLOCK, or STOP."""
    ref, symbol, ts = signal.ref(), signal.symbol, signal.ts
    verdict = because(ref, ts, signal.tick_seq, symbol, ref)
    positions, limits, now = situation.positions, situation.limits, situation.now
    rules, age_max = market.rules, limits.signal_age_ms_max
    if signal.horizon_ms < age_max:
        age_max = signal.horizon_ms
    stays, is_known = not situation.exits.rules.signal_exit, situation.decided.has(ref)
    has_touch = market.is_fresh and market.has_mid
    is_trading = rules is not None and rules.status == TRADING
    lots = 0 if market.holding is None else len(market.holding.lots)
    tick_age = NOT_ASKED if market.ts == UNSEEN else now - market.ts
    checks = verdict.checks = rows_of(
        SELL_GATES,
        [now - ts, is_known, stays, 1, not is_trading, tick_age],
        [age_max, 0, 0, lots, 0, limits.tick_age_ms_max],
    )
    if not is_trading or not has_touch:
        status, touch = status_of(rules), touch_of(market)
        of_signal = (SIGNAL_AGE, DECIDED_BEFORE, LEAVES_ON_SIGNAL, LOTS)
        checks.gates = (*of_signal, status, TICK_AGE, touch, *CAN_SELL)
        checks.lows.append(NOT_ASKED if has_touch else 1)
        checks.highs.append(0)
    if checks.judge() and rules is not None:
        qty = judge_exit(positions, market, rules, checks)
        if not checks.reason:
            situation.decided.note(ref, ts, now - limits.signal_age_ms_max)
            return _exit(situation, SIGNAL_EXIT, market, rules, qty, verdict)
    verdict.left = headroom_of(market, positions, situation.budgets, now)
    return [action(situation, BLOCK, checks.reason, verdict)]


def on_exit_position(situation: Situation, symbol: str, event: Event) -> list[Message]:
    """Return what an operator's wish to leave a symbol leads to, now or with the next tick."""
    verdict = because_of_event(event, symbol)
    market = situation.positions.held.get(symbol)
    if market is not None:
        situation.exits.ask(symbol)
        trigger = due(situation, market)
        return [] if trigger is None else leave(situation, market, trigger, verdict)
    verdict.checks, verdict.left = rows_of((LOTS,), [1], [0]), situation.headroom(symbol)
    verdict.checks.judge()
    return [action(situation, BLOCK, NO_POSITION, verdict)]


def leave_all(situation: Situation, event: Event) -> list[Message]:
    """Return the exits that are due in any symbol; a STOP stands alone."""
    messages: list[Message] = []
    for symbol in situation.positions.portfolio.symbols():
        market = situation.positions.of(symbol)
        trigger = due(situation, market)
        if trigger is None:
            continue
        verdict = because_of_event(event, symbol)
        verdict.ordinal = len(messages)
        messages += leave(situation, market, trigger, verdict)
        if situation.is_stopped:
            return messages[-1:]
    return messages


def leave_halted(situation: Situation, symbol: str) -> None:
    """Follow the policy for a position whose symbol left TRADING: it is left when it trades again.

    While it does not trade nothing can be sold; the wish stands until the venue takes orders.
    """
    positions, exits = situation.positions, situation.exits
    rules = positions.of(symbol).rules
    if rules is None or rules.is_trading or not exits.rules.leaves_halted:
        return
    if symbol in positions.held:
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


def due(situation: Situation, market: Market) -> Trigger | None:
    """Return why a position is to be left now, if the last touch is fresh enough; None for not."""
    exits, now = market.exits or situation.exits_of(market), situation.now
    rules, holding = market.rules, market.holding
    if rules is None or holding is None or not market.is_fresh or not market.has_mid:
        return None
    if now - market.ts > situation.limits.tick_age_ms_max:
        return None
    if now < exits.retry_ts or situation.positions.has_order(market.symbol, SELL):
        return None
    trigger = situation.exits.trigger(exits, holding, rules.price_step, market.bid, now)
    if trigger is None:
        exits.told = ""
    return trigger


def leave(
    situation: Situation, market: Market, trigger: Trigger, verdict: Verdict
) -> list[Message]:
    """Return what comes of an exit that is due.

    Args:
        situation: The state.
        market: That of an open position.
        trigger: Why it is left, as `due` found it.
        verdict: Because of the tick, or the control event, with its place in this step; it goes
            back to the touch judged.
    """
    exits, rules = market.exits or situation.exits_of(market), market.rules
    is_trading = rules is not None and rules.status == TRADING
    verdict.tick_seq = market.seq
    checks = verdict.checks = rows_of((trigger.gate, status_of(rules), *CAN_SELL), [], [])
    checks.judged(trigger.value, trigger.threshold, False)
    checks.judged(not is_trading, 0, is_trading)
    if rules is not None:
        qty = judge_exit(situation.positions, market, rules, checks)
        if not checks.reason:
            exits.told = ""
            return _exit(situation, trigger.reason, market, rules, qty, verdict)
    if exits.told == checks.reason:
        return []
    exits.told = checks.reason  # Said once: with the next tick nothing has changed.
    verdict.left = situation.headroom(market.symbol)
    return [action(situation, BLOCK, checks.reason, verdict)]


def judge_exit(positions: Positions, market: Market, rules: OrderRules, checks: Checklist) -> int:
    """Judge `CAN_SELL`, whether what is held can be sold; return how much of it one order sells.

    That is whole steps of the position, up to what the venue takes at once.
    """
    is_pending, free = False, market.qty
    if positions.orders:
        is_pending, free = positions.has_order(market.symbol, SELL), positions.free_qty(market)
    bounds = rules.market_bounds
    qty = bounds.qty_down(free)
    lows, highs = checks.lows, checks.highs
    start = len(lows)
    lows.append(is_pending)
    highs.append(0)
    lows.append(rules.qty_min)
    highs.append(qty)
    notional = cost_up(qty, market.bid)
    refusal = bounds.value_refusal(notional) or bounds.qty_refusal(qty)
    if is_pending or refusal is not None:  # Else both have passed.
        checks.judge(start)
        if refusal is not None:
            checks.fail_last(refusal)
    return qty


def _exit(
    situation: Situation,
    reason: str,
    market: Market,
    rules: OrderRules,
    qty: int,
    verdict: Verdict,
) -> list[Message]:
    """Return the action EXIT and its intent; STOP instead when the order rate is spent."""
    left = headroom_of(market, situation.positions, situation.budgets, situation.now)
    verdict.left, rate = left, situation.limits.order_rate
    if left.orders + 1 > rate.hard:
        return [stop(situation, rate.breach(left.orders + 1, None), verdict)]
    return allow(situation, EXIT, reason, SELL, qty, market, rules, verdict)
