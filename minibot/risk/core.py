"""The core of `risk_role`: signals in, judged actions and allowed intents out.

It alone writes `order_intents`. Each intent follows the `risk_action` that allows it, in the same
step. Entries pass gates and are then sized; exits are allowed even where entries are refused. A
hard limit ends the run: one `risk_action` STOP, no intent in that step, and nothing after it.

Invariants: no intent without ALLOW, REDUCE, EXIT or PROTECT before it; no quantity is offered for
sale twice; never more orders in a minute than the hard limit, not counting cancels; no entry beyond
cash, position, exposure or notional limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from minibot.accounting.portfolio import Portfolio
from minibot.cores.closed_bar import BarInput, ClosedBar
from minibot.cores.event_id import EventId, named
from minibot.cores.messages import (
    FILLS,
    RESULTS,
    SIGNALS,
    FillMessage,
    Message,
    ReportMessage,
    ResultMessage,
    SignalMessage,
)
from minibot.cores.protocol import Core, Input
from minibot.cores.scaled_tick import QuietRange, ScaledTick
from minibot.events.decimals import format_fixed
from minibot.events.model import (
    ADJUST,
    BUY,
    CAUSED_BY_AI,
    SELL,
    AveragePrice,
    Bar,
    Beat,
    Book,
    Event,
    ExitPosition,
    Fill,
    Gap,
    Halt,
    Instrument,
    JsonObject,
    LockSymbol,
    MarketRegime,
    MarketScan,
    MarketTick,
    OrderResult,
    Payload,
    PriceMark,
    Resume,
    RunEnding,
    RunOpening,
    Signal,
    Universe,
)
from minibot.events.money import amount_text, parse_amount
from minibot.events.reasons import INVARIANT_BROKEN, RECOVERY_EXIT
from minibot.kernel.errors import InvariantError
from minibot.risk.adjusting import on_adjust
from minibot.risk.budgets import drawdown_of
from minibot.risk.campaign_steps import adopt, on_flat, recover
from minibot.risk.checks import Checklist
from minibot.risk.drafts import Verdict, new_verdict, stop, verdict_for_event, verdict_for_tick
from minibot.risk.entry_decision import on_buy
from minibot.risk.exit_decision import (
    due,
    forget_request,
    is_entering,
    leave,
    leave_all,
    mark_bought_for_exit,
    mark_dropped_for_exit,
    mark_halted_for_exit,
    on_exit_position,
    on_sell,
)
from minibot.risk.limits import DRAWDOWN_PLACES
from minibot.risk.plan_reports import PlanReports
from minibot.risk.positions import NO_PRICE, Market, is_scrap
from minibot.risk.requoting import on_quote_ended, on_sell_signal, review_all_quotes, review_quotes
from minibot.risk.resting_exits import REJECTED, on_answer, protect
from minibot.risk.risk_state import RiskState
from minibot.risk.standing import Standing
from minibot.risk.watch import RiskWatch


class RiskCore(Core):
    """The decisions of risk over one run; see the module."""

    TAKES: ClassVar[frozenset[int]] = frozenset({FILLS, RESULTS, SIGNALS})

    __slots__ = (
        *("_plans", "_quiet_flat", "_quiet_held", "_quiet_part", "_standing", "_state", "_tick"),
    )

    def __init__(self, config: JsonObject) -> None:
        """Take limits and exits from the resolved configuration; the run is not open yet."""
        self._state: RiskState = RiskState(config)
        self._standing: Standing = Standing(self._state)
        self._plans: PlanReports = PlanReports(self._state)
        self._tick: ScaledTick = ScaledTick()
        # Reused by each `quiet_range`: one for a symbol that is not held, one for a held one.
        self._quiet_flat: QuietRange = QuietRange()
        self._quiet_held: QuietRange = QuietRange()
        self._quiet_part: QuietRange = QuietRange()

    def process(self, item: Input, seq: int, now: int) -> list[Message] | None:
        """Process one input at market time `now`; return the messages that follow, or None.

        The messages are actions, intents, cancels, plans and account reports. After a STOP the
        answer to every input is None.

        Raises:
            InvariantError: The input came before `run_opening`, or contradicts the state.
            TypeError: The item is not an input of risk.
        """
        if isinstance(item, ScaledTick):
            return self._on_tick(item, seq, now)
        if isinstance(item, BarInput):
            self._on_bar(item.symbol, item.bar, item.close_units, item.ts, now)
            return None
        if isinstance(item, SignalMessage):
            return self._on_signal(item, now)
        if isinstance(item, FillMessage):
            return self._on_fill(item, now)
        if isinstance(item, ResultMessage):
            return self._on_result(item, now)
        if isinstance(item, Event):
            return self._on_event(item, seq, now)
        if isinstance(item, ReportMessage):
            if isinstance(item.report, MarketRegime):
                self._state.regimes.regime = item.report.name
            return None
        raise TypeError(f"{type(item).__name__} is not an input of risk")

    def _on_event(self, event: Event, seq: int, now: int) -> list[Message] | None:
        payload = event.payload
        if isinstance(payload, MarketTick):
            self._tick.fill(payload, event)
            return self._on_tick(self._tick, seq, now)
        if isinstance(payload, Beat):
            return self._on_beat(event, seq, now)
        if isinstance(payload, Bar):
            bar, close_units = ClosedBar.of_event(payload), parse_amount(payload.close)
            self._on_bar(payload.symbol, bar, close_units, event.ts, now)
            return None
        if isinstance(payload, Signal):
            return self._on_signal(SignalMessage.of(payload, event), now)
        if isinstance(payload, Fill):
            return self._on_fill(FillMessage.of(payload, event), now)
        if isinstance(payload, OrderResult):
            return self._on_result(ResultMessage.of(payload, event), now)
        state = self._state
        if isinstance(payload, MarketRegime):
            state.regimes.regime = payload.name
            return None
        if state.is_stopped or isinstance(payload, MarketScan) or type(payload) in CAUSED_BY_AI:
            return None
        state.now = now
        if isinstance(payload, RunOpening):
            self._open(payload, now)
            if state.exits.rules.campaign.is_on:
                self._open_campaigns(payload, named(event.id, event.run_id))
            return None
        if now >= state.budgets.midnight:
            self._begin(event.type, now)
        if isinstance(payload, RunEnding):
            state.exits.ending_until = payload.until_ts
            state.exits.invalidate_quiet_range()
            return self._with_quotes(event, leave_all(state, event))
        if isinstance(payload, ExitPosition):
            return self._with_quotes(event, on_exit_position(state, payload.symbol, event))
        if isinstance(payload, PriceMark):
            rebased = state.positions.on_price(payload.symbol, parse_amount(payload.price))
            if rebased is None:
                return None
            positions = state.positions
            breaches = state.budgets.on_equity(
                positions.equity, positions.unpriced, rebased, positions.moved
            )
            return None if breaches is None else [self._stop(breaches, event, payload.symbol, seq)]
        if isinstance(payload, Instrument):
            market = state.positions.of(payload.symbol)
            is_campaign = state.exits.rules.campaign.is_on
            if is_campaign:
                state.campaign_of(market)  # Ends a finished campaign: former dust begins a new one.
            breaches = self._on_instrument(payload, market)
            if breaches is not None:
                return [self._stop(breaches, event, payload.symbol, seq)]
            if is_campaign:
                adopt(state, market, named(event.id, event.run_id), 0)
        else:
            self._take(payload, event.ts)
        is_of_market = isinstance(payload, Instrument | Universe | Gap)
        return self._with_quotes(event, [], seq if is_of_market else None)

    def _with_quotes(
        self, event: Event, messages: list[Message], tick_seq: int | None = None
    ) -> list[Message] | None:
        """Return the messages of an event, followed by those about quotes."""
        state = self._state
        if state.quotes.open and not state.is_stopped:
            messages += review_all_quotes(state, event, tick_seq, len(messages))
        return self._alone(messages)

    def _alone(self, messages: list[Message]) -> list[Message] | None:
        """Return the messages of a step; after a STOP only that, which is the last of them."""
        return (messages[-1:] if self._state.is_stopped else messages) or None

    def _open(self, opening: RunOpening, now: int) -> None:
        """Start the run with its portfolio and with the used budgets and locks of earlier runs.

        Raises:
            InvariantError: The opening contradicts itself, for example a plan of a symbol that is
                not held.
        """
        state = self._state
        positions, budgets = state.positions, state.budgets
        positions.open(Portfolio.from_opening(opening), opening.marks or {})
        if state.sizing.trades is not None:
            rate = state.limits.taker_rate
            state.sizing.trades.open(positions.portfolio, rate, opening.trades)
        budgets.open(opening.budgets_used, positions.equity, now)
        if budgets.account.is_on and opening.account is not None:
            budgets.account.carry(opening.account)
            budgets.account.set_unpriced(positions.unpriced)
        if budgets.account.is_on and not positions.held:
            budgets.account.on_equity(positions.equity)
        if state.protections.is_on:
            state.protections.open(positions.portfolio, positions.equity, opening.memory, now)
        for plan in opening.plans or ():
            if plan["symbol"] not in positions.held:
                detail = f"run_opening: plan of {plan['symbol']}, expected a held symbol"
                raise InvariantError("risk", INVARIANT_BROKEN, detail)
            state.exits.carry(plan["symbol"], plan)
        if state.exits.rules.plan.silent_ms is not None:
            for symbol in positions.held:
                state.exits.on_data(symbol, now)

    def _open_campaigns(self, opening: RunOpening, cause: EventId) -> None:
        """Continue the campaigns of earlier runs; a position without one begins its own."""
        state = self._state
        rules = state.exits.rules.campaign
        for plan in opening.plans or ():
            campaign, exits = plan.get("campaign"), state.exits.of(plan["symbol"])
            if campaign is None or exits.campaign is None:
                continue
            market = state.positions.of(plan["symbol"])
            exits.campaign.carry(named(campaign["id"]), rules, campaign, market.qty)
            untold = market.qty - parse_amount(plan["qty"])
            if untold > 0 and market.holding is not None:
                # A run that a STOP ends reports no plan after its last fills.
                exits.campaign.add(rules, untold, market.holding.cost_of_newest(untold))
            if exits.campaign.leaves(rules):
                state.exits.mark_for_exit(plan["symbol"], RECOVERY_EXIT)
        for number, symbol in enumerate(sorted(state.positions.held)):
            adopt(state, state.positions.of(symbol), cause, number)

    def _on_instrument(self, instrument: Instrument, market: Market) -> Checklist | None:
        """Take the rules of a symbol; return the hard limits that are exceeded, or None.

        A holding that becomes dust has no value any more, so that the drawdown is a larger share.
        """
        state = self._state
        positions, was_held = state.positions, market.holding is not None
        breaches: Checklist | None = None
        rebased = positions.on_instrument(instrument)
        if rebased:
            breaches = state.budgets.on_equity(positions.equity, positions.unpriced, rebased)
        if state.depth.is_on:
            state.depth.on_instrument(instrument)
        if state.vadr.is_on:
            state.vadr.on_instrument(instrument)
        state.exits.invalidate_quiet_range()
        exits = state.exits.find(instrument.symbol)
        if exits is not None and was_held and market.holding is None:
            # Too little to sell by the new rules is no position; an open entry stays.
            is_asked = exits.is_exit_requested and is_entering(state, market)
            exits.forget()
            exits.is_exit_requested = is_asked
            if exits.campaign is not None:
                on_flat(state, market)
        mark_halted_for_exit(state, instrument.symbol)
        return breaches

    def _stop(self, breaches: Checklist, event: Event, symbol: str, seq: int) -> Verdict:
        """Return the STOP that an event of a symbol causes, line `seq` of its queue."""
        verdict = verdict_for_event(self._state, event, symbol)
        verdict.tick_seq = seq
        return stop(self._state, breaches, verdict)

    def _take(self, payload: Payload, ts: int) -> None:
        """Apply an event that changes the state without a decision; ignore any other type.

        Args:
            payload: Payload of the event.
            ts: Time of the event.
        """
        state = self._state
        if isinstance(payload, Universe):
            state.universe = frozenset(payload.traded)
            mark_dropped_for_exit(state)
        elif isinstance(payload, Gap):
            state.positions.on_gap(payload.symbol)
            state.depth.on_gap(payload.symbol)
            # The last tick may be later than the start of the gap.
            last_ts = state.positions.of(payload.symbol).ts
            state.exits.on_gap(payload.symbol, max(payload.from_ts, last_ts))
        elif isinstance(payload, Halt | Resume | LockSymbol):
            state.halts.take(payload)
            if isinstance(payload, Resume):
                state.stops.on_resume()
        elif isinstance(payload, AveragePrice):
            state.references.take(payload, ts)
        elif isinstance(payload, Book) and state.depth.is_on:
            state.depth.on_book(payload, ts)

    def _begin(self, what: str, now: int) -> bool:
        """Begin a step at or after `midnight`: roll the budgets; return False after a STOP.

        Before `midnight` the run is open and not stopped, and its day has begun.

        Raises:
            InvariantError: The input came before `run_opening`.
        """
        state = self._state
        if state.is_stopped:
            return False
        if not state.positions.is_open:
            raise InvariantError("risk", INVARIANT_BROKEN, f"{what} before run_opening")
        state.budgets.roll(now)
        return True

    def _on_signal(self, signal: SignalMessage, now: int) -> list[Message] | None:
        """Take a signal; return the action on it and the intents that it allows; None for HOLD.

        Raises:
            InvariantError: The signal came before `run_opening`.
        """
        state = self._state
        if now >= state.budgets.midnight and not self._begin("signal", now):
            return None
        state.now = now
        positions, side = state.positions, signal.side
        market = positions.market
        if signal.symbol != market.symbol:
            market = positions.of(signal.symbol)
        if side == BUY:
            return on_buy(state, market, signal)
        if side == SELL:
            messages = on_sell(state, market, signal)
            if state.quotes.open and not state.is_stopped:
                messages += on_sell_signal(state, market, signal, len(messages))
            return messages
        return on_adjust(state, market, signal) if side == ADJUST else None

    def _on_tick(self, tick: ScaledTick, seq: int, now: int) -> list[Message] | None:
        """Take one tick at market time `now`; return an exit, an order to rest, a STOP, or None.

        Raises:
            InvariantError: The tick came before `run_opening`.
        """
        state = self._state
        positions, budgets = state.positions, state.budgets
        if now >= budgets.midnight and not self._begin("market_tick", now):
            return None
        state.now = now
        market = positions.market
        if tick.symbol != market.symbol:
            market = positions.of(tick.symbol)
        rules, before = state.exits.rules, market.ts
        rebased = positions.on_tick(market, tick, seq)
        if rebased is not None:
            breaches = budgets.on_equity(
                positions.equity, positions.unpriced, rebased, positions.moved
            )
            if breaches is not None:
                return [stop(state, breaches, verdict_for_tick(state, tick, seq))]
        if rules.rests:
            market.last = tick.last()
        if rules.plan.silent_ms is not None and market.qty:
            exits = state.exits_of(market)
            state.exits.on_held_tick(exits, before, tick.ts)
        if state.quotes.open and market.symbol in state.quotes.open:
            return self._on_quoted_tick(market, tick, seq)
        if not market.qty:
            return None
        exits = state.exits_of(market)
        if now < exits.quiet_until and exits.quiet_above < tick.bid < exits.quiet_below:
            return None
        return self._on_held_tick(market, tick, seq)

    def _on_held_tick(self, market: Market, tick: ScaledTick, seq: int) -> list[Message] | None:
        """Return the exit that is due for a position, or the order that is to rest for it.

        If the tick reaches a recovery row, its report comes first, then the exit that it causes.
        """
        state = self._state
        if state.exits.rules.campaign.rows:
            message = recover(state, market, tick.ref(seq), tick.ts, seq)
            if message is not None:
                return self._alone([message, *(self._leave(market, tick, seq, 1) or ())])
        return self._leave(market, tick, seq, 0)

    def _leave(
        self, market: Market, tick: ScaledTick, seq: int, ordinal: int
    ) -> list[Message] | None:
        """Return the exit that is due, or the order to rest, from message `ordinal` of the step."""
        state = self._state
        if state.exits.rules.rests:
            return protect(state, market, tick.ref(seq), tick.ts, seq, ordinal)
        trigger = due(state, market)
        if trigger is None:
            return None
        verdict = verdict_for_tick(state, tick, seq)
        verdict.ordinal = ordinal
        return leave(state, market, trigger, verdict)

    def _on_quoted_tick(self, market: Market, tick: ScaledTick, seq: int) -> list[Message] | None:
        """Return the messages of a tick while an entry is quoted: exits first, then quotes."""
        state = self._state
        messages = (self._on_held_tick(market, tick, seq) if market.qty else None) or []
        if not state.is_stopped:
            messages += review_quotes(state, market, tick.ref(seq), tick.ts, seq, len(messages))
        return self._alone(messages)

    def quiet_range(self, symbol: str, now: int) -> QuietRange | None:
        """Return the range of touches in which a symbol's ticks cause no message; None without one.

        Processing only the last of several such ticks leaves the core in the same state as
        processing all: price and equity are those of the last, and no high-water mark rises. The
        caller may lower `until`, which the next call sets anew.
        """
        state = self._state
        positions, budgets = state.positions, state.budgets
        market = positions.market
        if symbol != market.symbol:
            market = positions.of(symbol)
        if now >= budgets.midnight or market.is_unmarked or symbol in state.quotes.open:
            return None
        until, standing = budgets.midnight, self._standing
        if standing.is_on:
            if standing.is_due(state, now):
                return None
            until = min(until, standing.next_ts)
        if self._plans.is_on and self._plans.is_due(state):
            return None
        if not market.qty:
            quiet = self._quiet_flat
            quiet.until = until
            return quiet
        quiet = self._quiet_held
        if not self._bound_exits(market, now, quiet):
            return None
        beside = positions.equity - market.value
        if state.exits.rules.horizon.is_on:
            quiet.is_lasting = False  # Each bar moves the horizon.
        if until < quiet.until:
            quiet.until = until
        return quiet if budgets.bound(beside, market.qty, quiet) else None

    def quiet_ticks(self, symbol: str, now: int) -> QuietRange | None:
        """Return the range for a caller that passes every bar and beat; None while quoted.

        A held position is part of equity, which the ticks of other positions move too: the range
        limits how far all of them together may move equity.
        """
        state = self._state
        positions = state.positions
        market = positions.of(symbol)
        if now >= state.budgets.midnight or market.is_unmarked or symbol in state.quotes.open:
            return None
        if not market.qty:
            quiet = self._quiet_flat
            quiet.until = state.budgets.midnight
            return quiet
        quiet = self._quiet_part
        if not self._bound_exits(market, now, quiet):
            return None
        quiet.until = min(quiet.until, state.budgets.midnight)
        quiet.qty, quiet.value = market.qty, market.value
        quiet.fall, quiet.rise = state.budgets.room()
        return quiet

    def _bound_exits(self, market: Market, now: int, quiet: QuietRange) -> bool:
        """Bound bid and time by the exits of a held market; return whether they are known."""
        state, exits = self._state, market.exits
        if market.price == NO_PRICE or exits is None or not exits.bound(now, quiet):
            return False
        longest = state.exits.rules.plan.silent_ms
        if longest is not None:
            # No tick before that time can end a silence that is too long.
            quiet.until = min(quiet.until, state.exits.heard_ts(exits, market.ts) + longest)
        return now < quiet.until

    def _on_bar(self, symbol: str, bar: ClosedBar, close_units: int, ts: int, now: int) -> None:
        """Take a closed bar, live or of history; ignore one whose interval nothing uses.

        Args:
            symbol: The market.
            bar: The bar in floats, for indicators.
            close_units: Its close in hundred-millionths.
            ts: Time of its event.
            now: Market time.

        Raises:
            InvariantError: The bar came before `run_opening`.
        """
        state = self._state
        if now >= state.budgets.midnight and not self._begin("bar", now):
            return
        state.now = now
        exits = state.exits
        rules = exits.rules
        if bar.interval == rules.bar_interval:
            exits.on_bar(symbol, bar.open_ts, bar.high, bar.low, bar.close, close_units)
            if rules.plan.silent_ms is not None and bar.is_live and bar.volume > 0:
                # A bar without a trade closes by the clock, which is not a sign of data.
                exits.on_data(symbol, ts)
            if state.returns.is_on:
                state.returns.on_bar(symbol, bar.open_ts, close_units)
                if rules.horizon.is_on:
                    exits.on_ratio(symbol, state.returns.horizon_ratio(symbol))
        if state.late.is_on:
            state.late.on_bar(symbol, bar)
        if state.vadr.is_on and bar.interval == state.vadr.bar_interval:
            state.vadr.on_bar(symbol, bar)

    def _on_beat(self, event: Event, seq: int, now: int) -> list[Message] | None:
        """Take a beat at market time `now`; return plans that moved, and the account if due.

        Raises:
            InvariantError: The beat came before `run_opening`.
        """
        state = self._state
        if now >= state.budgets.midnight and not self._begin("beat", now):
            return None
        state.now = now
        standing, plans = self._standing, self._plans
        is_due = standing.is_on and standing.is_due(state, now)
        if not is_due and not plans.is_on and not state.quotes.open:
            return None
        cause = named(event.id, event.run_id)
        messages = plans.on_beat(state, cause, event.ts, seq) if plans.is_on else []
        if is_due:
            messages.append(
                standing.report(state, cause, event.ts, seq, len(messages), has_memory=False)
            )
        messages += review_all_quotes(state, event, seq, len(messages))
        return self._alone(messages)

    def _on_fill(self, fill: FillMessage, now: int) -> list[Message] | None:
        """Take a fill; return the STOP of a hard limit, else the messages that the profile has on.

        These are the order to rest, or an exit that is already due; the plan; the account.

        Raises:
            InvariantError: The fill came before `run_opening`, or risk sent no such order.
        """
        state = self._state
        positions, budgets = state.positions, state.budgets
        if now >= budgets.midnight and not self._begin("fill", now):
            return None
        state.now = now
        bought = positions.find(fill.client) if state.quotes.open else None
        sized: int | None = None
        if fill.side == BUY:
            sized = self._on_bought(fill)
        else:
            self._before_sale(fill)
        market = positions.on_fill(fill)
        exits = state.exits_of(market)
        if exits.campaign is not None and exits.campaign.is_open:
            exits.campaign.on_fill(fill)
            exits.campaign.on_held(market.qty)
        trades = state.sizing.trades
        is_closed = positions.closes(market, fill)
        if trades is not None:
            trades.on_fill(fill, is_closed)
        if fill.side == BUY:
            budgets.on_bought(positions.portfolio)
        if state.protections.is_on:
            order = positions.find(fill.client) if state.exits.rules.rests else None
            is_unreported = order is not None and order.is_trigger_unknown
            unreported = fill.client.text if is_unreported else ""
            state.protections.on_fill(fill, is_closed, unreported)
        breaches = budgets.on_equity(positions.equity, positions.unpriced)
        holding, rules = market.holding, market.rules
        if holding is None:
            if fill.side == SELL:  # The first fill of a purchase may be dust by itself.
                exits.forget()
                if exits.campaign is not None:
                    on_flat(state, market)
            else:
                forget_request(state, market)
        elif rules is not None:
            if fill.side == BUY:
                mark_bought_for_exit(state, market.symbol)
                exits.after_purchase(holding)
            state.exits.on_fill(exits, holding, rules, sized)
        if breaches is None:
            messages: list[Message] | None = None
            if state.exits.rules.rests and holding is not None:
                exits.quiet_until = 0
                messages = protect(state, market, fill.ref(), fill.ts, fill.tick_seq)
            if bought is not None and not state.is_stopped:
                messages = messages or []
                messages += on_quote_ended(
                    state, bought, fill.ref(), fill.ts, fill.tick_seq, len(messages)
                )
                if state.is_stopped:
                    return self._alone(messages)
            if self._plans.is_on and not state.is_stopped:
                messages = messages or []
                plan = self._plans.on_fill(
                    *(state, market, fill.ref(), fill.ts, fill.tick_seq, len(messages))
                )
                if plan is not None:
                    messages.append(plan)
            if self._standing.is_on and not state.is_stopped:
                messages = messages or []
                messages.append(
                    self._standing.report(
                        *(state, fill.ref(), fill.ts, fill.tick_seq, len(messages)), has_memory=True
                    )
                )
            return messages
        verdict = new_verdict(state, fill.ref(), fill.ts, fill.tick_seq, market.symbol)
        return [stop(state, breaches, verdict)]

    def _before_sale(self, fill: FillMessage) -> None:
        """Keep entry price and opening time of a position before a sale is booked."""
        market = self._state.positions.of(fill.symbol)
        if market.holding is not None:
            self._state.exits_of(market).before_sale(market.holding)

    def _on_bought(self, fill: FillMessage) -> int | None:
        """Set the levels that an entry's strategy wants at its first fill, before it is booked.

        So does a later one behind the sale of all that the entry had bought. A purchase beside what
        is too little to sell has levels of its own.

        Returns:
            The ATR by which the entry was sized; None if it was not, or at a later fill.
        """
        state = self._state
        order = state.positions.find(fill.client)
        if order is None or (order.booked and order.market.holding is not None):
            return None
        market, quote = order.market, state.quotes.of(order)
        exits = state.exits_of(market)
        if market.holding is not None and exits.campaign is None and is_scrap(market):
            exits.begin_anew(fill.ts)
        if quote is None or not quote.is_pinned:
            exits.set_entry_levels(is_flat=market.holding is None)
        elif quote.signal.wish is not None:
            peak = min(quote.limit, market.bid)
            exits.on_bought(exits.wished_by(quote.signal.wish, peak))
        return order.atr

    def _on_result(self, result: ResultMessage, now: int) -> list[Message] | None:
        """Take an order result; return the messages that follow from it, or None.

        Raises:
            InvariantError: The result came before `run_opening`.
        """
        state = self._state
        if now >= state.budgets.midnight and not self._begin("order_result", now):
            return None
        state.now = now
        order = state.positions.find(result.client)
        if order is None:
            return None
        # An order begins with ACCEPTED. An end before that is a refusal too, such as EXPIRED for an
        # intent that came too late.
        was_refused = result.result == REJECTED or order.order is None
        is_ended = state.positions.on_result(order, result)
        if is_ended and order.side == BUY:
            forget_request(state, order.market)
        messages: list[Message] | None = None
        if state.exits.rules.rests:
            messages = on_answer(state, order, result, is_ended, is_ended and was_refused)
        elif is_ended and order.side == SELL:
            exits = state.exits_of(order.market)
            exits.on_order_ended(was_refused, now)
        if is_ended and state.quotes.open and not state.is_stopped:
            ref, seq = result.ref(), result.tick_seq
            messages = messages or []
            messages += on_quote_ended(
                state, order, ref, result.ts, seq, len(messages), was_refused
            )
            return self._alone(messages)
        return messages

    # --- queries ------------------------------------------------------------------------------

    @property
    def bar_intervals(self) -> set[str]:
        """Intervals of the closed bars that risk uses."""
        state = self._state
        found = {state.exits.rules.bar_interval, *state.late.intervals()}
        return found | {state.vadr.bar_interval} if state.vadr.is_on else found

    @property
    def watch(self) -> RiskWatch:
        """Levels and open orders of risk, for a market made from bars."""
        return RiskWatch(self._state)

    def facts(self) -> JsonObject:
        """Return equity, drawdown, orders, positions, headroom and locks, for health and screen.

        Before `run_opening` there is neither an order nor a position, and no other value.
        """
        state = self._state
        if not state.positions.is_open:
            return {"open_orders": 0, "open_positions": []}
        portfolio, budgets = state.positions.portfolio, state.budgets
        protections, headroom = state.protections, state.headroom(None)
        return {
            "cash": amount_text(portfolio.cash(state.limits.quote_asset)),
            "equity": amount_text(budgets.equity),
            "high_water_mark": amount_text(budgets.high_water_mark),
            "drawdown": amount_text(budgets.high_water_mark - budgets.equity),
            "drawdown_bps": format_fixed(
                drawdown_of(budgets.high_water_mark, budgets.equity), DRAWDOWN_PLACES
            ),
            "realised_pnl": amount_text(portfolio.realised_pnl),
            "fees": amount_text(portfolio.fees),
            "open_orders": len(state.positions.orders),
            "open_positions": state.positions.listed(),
            "exits": state.exit_levels(),
            **({"quotes": state.quotes.listed()} if state.quotes.open else {}),
            "orders_per_minute": budgets.orders(state.now),
            "headroom": {**headroom.texts(), **budgets.account.left_texts(budgets.equity)},
            "exposure": amount_text(headroom.exposure),
            **({"account": budgets.account.state_name} if self._standing.is_on else {}),
            **budgets.account.texts(budgets.equity),
            **({"locks": protections.listed(state.now)} if protections.is_on else {}),
            "operator_locks": state.halts.listed(state.now),
            "is_halted": state.halts.is_halted,
            "entry_stops": state.stops.to_json(),
            "reason": state.reason,
        }

    def state(self) -> JsonObject:
        """Return the whole state as canonical JSON values."""
        state = self._state.state()
        if self._standing.is_on:
            state["standing"] = self._standing.state()
        if self._plans.is_on:
            state["plans"] = self._plans.state()
        return state

    @classmethod
    def from_state(cls, config: JsonObject, state: Mapping[str, Any]) -> RiskCore:
        """Return the core that `state` described."""
        core = cls(config)
        core._state.restore(config, state)
        if core._standing.is_on:
            core._standing.restore(state["standing"])
        if core._plans.is_on:
            core._plans.restore(state["plans"])
        return core


def core_from_config(config: JsonObject) -> RiskCore:
    """Return a fresh core from the whole resolved configuration."""
    return RiskCore(config)


def core_from_state(config: JsonObject, state: JsonObject) -> RiskCore:
    """Return the core that a `state()` described."""
    return RiskCore.from_state(config, state)
