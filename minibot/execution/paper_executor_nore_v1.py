"""The paper executor of the NORE night: intents in, results and fills out, no real orders.

It keeps its own portfolio and ledger from `run_opening` and its fills, judges every intent again,
and fills orders as its fill model assumes (`execution.fills`). The table in `execution.orders`
gives the results; a fill comes before the result that counts it. It returns messages and cannot
reach an exchange.

Invariants: quantities of an order add up; cash and positions never fall below zero; an intent ends
in exactly one terminal result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from minibot.accounting.ledger import Ledger
from minibot.accounting.order_rules import MARKET, OrderRules, mid_down
from minibot.accounting.portfolio import Portfolio
from minibot.accounting.references import References
from minibot.accounting.resting_orders import with_dust, with_resting
from minibot.cores.core_profile import AT_VENUE, CoreProfile
from minibot.cores.event_id import EventId, RecentIds, derived, named
from minibot.cores.messages import (
    INTENTS,
    CancelMessage,
    IntentMessage,
    Message,
    ResultMessage,
)
from minibot.cores.protocol import Core, Input
from minibot.cores.scaled_tick import ANY_TOUCH, QuietRange, ScaledTick
from minibot.events.decimals import round_down
from minibot.events.model import (
    BUY,
    ENTRY,
    AveragePrice,
    Beat,
    Book,
    Event,
    Gap,
    Instrument,
    JsonObject,
    MarketTick,
    OrderCancel,
    OrderIntent,
    PriceMark,
    RunEnding,
    RunOpening,
)
from minibot.events.money import amount_text, cost_up, parse_amount, qty_for
from minibot.events.reasons import (
    ACCEPTED,
    DUPLICATE,
    EXPIRED,
    FILLED,
    INSUFFICIENT_CASH,
    INVARIANT_BROKEN,
    LATE_FILL,
    LEFT_TRADING,
    NO_INSTRUMENT,
    NO_MARK,
    NOT_TRADING,
    ORDER_ENDED,
    ORDER_TRIGGERED,
    PARTIAL,
    REPLACED,
    RUN_ENDING,
    STALE_TICK,
    STOP_TRIGGERED,
    SYMBOL_UNKNOWN,
    TARGET_TRIGGERED,
    WITHDRAWN,
    WOULD_TAKE,
)
from minibot.execution.execution_reports import (
    CancelRefused,
    IntentRefused,
    fill_of,
    move_of,
    triggered_by,
)
from minibot.execution.fees import TAKER, FeeRates
from minibot.execution.fill_models import fill_model_of
from minibot.execution.fills import FillModel, Touch
from minibot.execution.funds import balances_of, funds_refusal
from minibot.execution.intake import (
    SIDE_OF_PURPOSE,
    count_refusal,
    field_refusal,
    is_quoted_pair,
    require_lineage,
    side_refusal,
    trigger_refusal,
)
from minibot.execution.latency import Latency
from minibot.execution.orders import (
    FOK,
    ORDER_ROLE,
    UNFILLED,
    Order,
    OrderState,
    is_late_first,
    order_of,
)
from minibot.kernel.errors import InvariantError

LAST_LOOK_MS: Final = 1_500
"""How long before its end an order at the market meets the current touch: a beat and a half."""


class PaperExecutorNoreV1(Core):
    """The core of `execution_role`; see the module.

    Attributes:
        orders: Open orders, oldest first, read-only. Without open orders a tick causes no message.
    """

    TAKES: ClassVar[frozenset[int]] = frozenset({INTENTS})
    TAKES_BARS: ClassVar[bool] = False
    TAKES_MARKS: ClassVar[bool] = False

    __slots__ = (
        *("_cancels_halted", "_clients", "_ending_until", "_fees", "_fill_model", "_instruments"),
        *(
            "_is_ended",
            "_keeps_last",
            "_latency",
            "_ledger",
            "_lists_balances",
            "_campaigns",
            "_marks",
            "_order_ttl_ms",
            "_portfolio",
        ),
        *("_quote_asset", "_reason", "_references", "_rules", "_symbol", "_tick"),
        *("_tick_age_ms_max", "_touch", "_touches", "_trading", "orders"),
    )

    def __init__(self, config: JsonObject) -> None:
        """Take latency, fees and limits from the resolved configuration; nothing is open."""
        profile = CoreProfile.of(config)
        execution = profile.execution
        self._latency: Latency = Latency(execution, config.get("seed", 0))
        self._tick_age_ms_max: int = execution.tick_age_ms_max
        self._order_ttl_ms: int = execution.order_ttl_market_ms
        # Whether orders rest here, so that the price of the last trade is needed.
        self._keeps_last: bool = profile.risk.exits_at == AT_VENUE
        self._cancels_halted: bool = execution.left_trading == "cancel"
        self._fees: FeeRates = FeeRates.of(execution)
        self._lists_balances: bool = execution.fee_asset is not None
        self._fill_model: FillModel = fill_model_of(execution.fill_model)
        self._quote_asset: str = profile.portfolio.quote_asset
        self._portfolio: Portfolio | None = None
        self._ledger: Ledger = Ledger({})
        self._instruments: dict[str, Instrument] = {}
        self._rules: dict[str, OrderRules] = {}
        self._touches: dict[str, Touch] = {}
        self._tick: ScaledTick = ScaledTick()
        # Ticks of one symbol often follow each other, so the last touch and rules are kept. The
        # rules are None for a symbol that does not trade.
        self._symbol: str = ""
        self._touch: Touch | None = None
        self._trading: OrderRules | None = None
        # Last prices of symbols without a usable touch.
        self._marks: dict[str, int] = {}
        self._references: References = References()
        self.orders: list[Order] = []
        # The campaign of each symbol's last entry, for the list of open positions.
        self._campaigns: dict[str, str] = {}
        self._clients: RecentIds = RecentIds()
        self._ending_until: int | None = None
        self._is_ended: bool = False
        self._reason: str = ""

    # --- one step -----------------------------------------------------------------------------

    def process(self, item: Input, seq: int, now: int) -> list[Message] | None:
        """Process one input at market time `now`; return results and fills as messages.

        Raises:
            InvariantError: `run_opening` came twice, or an order passed all other checks before
                it, or the state became impossible.
            ContractError: SOURCE_FORBIDDEN, an event of `order_intents` names fewer than two
                causes. Messages of risk's core are not checked for that.
            TypeError: The item is not an input of the executor.
        """
        if isinstance(item, ScaledTick):
            return self._on_tick(item, seq, now)
        if isinstance(item, IntentMessage):
            return self._on_intent(item, now)
        if isinstance(item, CancelMessage):
            return [self._on_cancel(item)]
        if isinstance(item, Event):
            return self._on_event(item, seq, now)
        raise TypeError(f"{type(item).__name__} is not an input of the executor")

    def _on_event(self, event: Event, seq: int, now: int) -> list[Message] | None:
        payload = event.payload
        if isinstance(payload, MarketTick):
            self._tick.fill(payload, event)
            return self._on_tick(self._tick, seq, now)
        if isinstance(payload, OrderIntent):
            require_lineage(event)
            return self._on_intent(IntentMessage.of(payload, event), now)
        if isinstance(payload, OrderCancel):
            require_lineage(event)
            return [self._on_cancel(CancelMessage.of(payload, event))]
        if isinstance(payload, Beat):
            return self._on_beat(seq, event, now)
        if isinstance(payload, Book):
            self._fill_model.on_book(payload)
        elif isinstance(payload, Instrument):
            self._instruments[payload.symbol] = payload
            self._rules[payload.symbol] = OrderRules.of(payload)
            self._touch = None
            return self._on_status(payload.symbol, seq, event)
        elif isinstance(payload, Gap):
            self._distrust(payload.symbol)
        elif isinstance(payload, PriceMark):
            self._distrust(payload.symbol)
            self._marks[payload.symbol] = parse_amount(payload.price)
        elif isinstance(payload, AveragePrice):
            self._references.take(payload, event.ts)
        elif isinstance(payload, RunOpening):
            if self._portfolio is not None:
                detail = "run_opening: expected one, found two"
                raise InvariantError("execution", INVARIANT_BROKEN, detail)
            self._portfolio = Portfolio.from_opening(payload)
            self._ledger = Ledger.from_opening(payload)
            for plan in payload.plans or ():
                if "campaign" in plan:
                    self._campaigns[plan["symbol"]] = plan["campaign"]["id"]
        elif isinstance(payload, RunEnding):
            self._ending_until = payload.until_ts
        return None

    def _distrust(self, symbol: str) -> None:
        """Stop trading at the last touch of a symbol, which may be out of date."""
        touch = self._touches.get(symbol)
        if touch is not None:
            if touch.mark:
                self._marks[symbol] = touch.mark
            touch.distrust()
        self._fill_model.on_gap(symbol)

    def marks(self) -> dict[str, int]:
        """Return the mark of each symbol: the mid of its touch, else its last mark."""
        marks = dict(self._marks)
        for symbol, touch in self._touches.items():
            if touch.mark:
                marks[symbol] = touch.mark
        return marks

    @property
    def is_opened(self) -> bool:
        """True once `run_opening` was processed."""
        return self._portfolio is not None

    @property
    def portfolio(self) -> Portfolio:
        """Portfolio as it is now.

        Raises:
            InvariantError: The run has not been opened.
        """
        if self._portfolio is None:
            raise _unopened()
        return self._portfolio

    @property
    def ledger(self) -> Ledger:
        """The cash ledger of the run so far."""
        return self._ledger

    # --- intents ------------------------------------------------------------------------------

    def _on_intent(self, intent: IntentMessage, now: int) -> list[Message]:
        """Take an intent whose lineage is checked; return its first result.

        The checks have a fixed order, and the first failure gives the reason. An intent that comes
        after it expires, or after the run's end, is EXPIRED; any other refusal is REJECTED; else it
        becomes an open order. An order that it replaces ends first, and only if the intent becomes
        an order.
        """
        ts, symbol, side = intent.ts, intent.symbol, intent.side
        expires_ts = ts + self._order_ttl_ms
        if intent.expires_ts is not None and intent.expires_ts < expires_ts:
            expires_ts = intent.expires_ts
        # An id is remembered until its intent expires, even if its order rests for longer: the same
        # intent, repeated later, is too late.
        is_new = self._clients.admit(intent.client, expires_ts, now + 1)
        refusal = field_refusal(intent)
        if refusal is not None:
            return self._refuse(intent, refusal)
        if side != SIDE_OF_PURPOSE.get(intent.purpose):
            return self._refuse(intent, side_refusal(intent))
        if not is_new:
            return self._refuse(intent, DUPLICATE)
        if now >= expires_ts:
            return self._refuse(intent, EXPIRED, OrderState.EXPIRED)
        if is_late_first(intent, now + 1):
            return self._refuse(intent, LATE_FILL)
        if self._ending_until is not None:
            if self._is_ended:
                return self._refuse(intent, RUN_ENDING, OrderState.EXPIRED)
            if intent.purpose == ENTRY:
                return self._refuse(intent, RUN_ENDING)
        if self._touch is None or symbol != self._symbol:
            self._select(symbol)
        rules, touch = self._trading, self._touch
        if rules is None:
            return self._refuse(intent, self._untraded(symbol))
        if touch is None or not touch.is_usable:
            return self._refuse(intent, NO_MARK)
        if now - touch.ts > self._tick_age_ms_max:
            return self._refuse(intent, STALE_TICK)
        former, others = None, self.orders
        if intent.replaces is not None:
            former = self._open(intent.replaces, symbol)
            if former is None or former.is_triggered:
                return self._refuse(intent, ORDER_ENDED if former is None else ORDER_TRIGGERED)
            others = [order for order in others if order is not former]
        qty, limit = intent.qty, intent.limit
        least = intent.target if intent.stop is None else intent.stop
        if limit is not None:
            bounds, price = rules.limit_bounds, limit
        else:
            # A triggered resting order trades at the market.
            bounds, price = rules.market_bounds, touch.ask if side == BUY else touch.bid
            price = price if least is None else least
        refusal = bounds.qty_refusal(qty)
        if least is not None and refusal is None:
            refusal = trigger_refusal(intent, rules, touch.last)
        if refusal is None and intent.order_type != MARKET:
            refusal = count_refusal(intent, others, rules)
        if limit is not None and refusal is None:
            mid = mid_down(touch.bid, touch.ask)
            reference = self._references.price(symbol, now, mid)
            refusal = rules.limit_refusal(side, limit, reference)
            if refusal is None and intent.target is not None and is_quoted_pair(intent):
                # The target is a limit too.
                refusal = rules.limit_refusal(side, intent.target, reference)
                refusal = refusal or bounds.value_refusal(cost_up(qty, intent.target))
        if refusal is None:
            portfolio, notional = self._portfolio, cost_up(qty, price)
            if portfolio is None:
                raise _unopened()
            worth = notional
            if intent.order_type == MARKET:
                # The venue values it so; it is still paid for at the touch.
                worth = cost_up(qty, self._references.price(symbol, now, price))
            refusal = bounds.value_refusal(worth) or funds_refusal(
                portfolio, others, self._fees, rules, side, qty, notional
            )
        if refusal is not None:
            return self._refuse(intent, refusal)
        order = order_of(intent, rules, price, ts + self._latency.of(intent), expires_ts)
        messages: list[Message] = []
        if former is not None:
            order.take_over(former)
            former.move(OrderState.CANCELLED)
            messages.append(move_of(former, REPLACED, ts, intent.tick_seq, intent.ref(), 0))
            self._fill_model.keep(others)
        if intent.campaign is not None and side == BUY:
            self._campaigns[symbol] = intent.campaign.text
        others.append(order)
        self.orders = others
        self._reason = ACCEPTED
        messages.append(move_of(order, ACCEPTED, ts, intent.tick_seq, None, len(messages)))
        return messages

    def _on_cancel(self, cancel: CancelMessage) -> ResultMessage:
        """Take a cancel whose lineage is checked; return the result for its order."""
        order = self._open(cancel.client, cancel.symbol)
        if order is None or order.is_triggered:
            self._reason = ORDER_ENDED if order is None else ORDER_TRIGGERED
            known = derived(ORDER_ROLE, cancel.ref(), 0) if order is None else order.order
            return CancelRefused(cancel, known, self._reason)
        order.move(OrderState.CANCELLED)
        self.orders = [other for other in self.orders if other is not order]
        self._fill_model.keep(self.orders)
        self._reason = WITHDRAWN
        return move_of(order, WITHDRAWN, cancel.ts, cancel.tick_seq, cancel.ref(), 0)

    def _open(self, client: EventId, symbol: str) -> Order | None:
        """Return the symbol's open order with risk's id; None without one."""
        for order in self.orders:
            if order.client is client or order.client.is_same(client):
                return order if order.symbol == symbol else None
        return None

    def _untraded(self, symbol: str) -> str:
        """Return the reason code for a symbol that does not trade.

        NO_INSTRUMENT needs a mark; a touch that was never usable has none.
        """
        if symbol in self._rules:
            return NOT_TRADING
        return NO_INSTRUMENT if symbol in self.marks() else SYMBOL_UNKNOWN

    def _refuse(
        self, intent: IntentMessage, reason: str, state: OrderState = OrderState.REJECTED
    ) -> list[Message]:
        """Return the result of an intent that becomes no order."""
        self._reason = reason
        order = derived(ORDER_ROLE, intent.ref(), 0)
        return [IntentRefused(intent, order, state, reason, field_refusal(intent) is None)]

    # --- the market ---------------------------------------------------------------------------

    def _on_tick(self, tick: ScaledTick, seq: int, now: int) -> list[Message] | None:
        """Take one tick at market time `now`; return the messages that follow, or None."""
        symbol, touch = tick.symbol, self._touch
        if touch is None or symbol != self._symbol:
            touch = self._touch_of(symbol)
        touch.take(tick, seq)
        if self._keeps_last:
            touch.last = tick.last()
        if not self.orders:
            return None
        messages: list[Message] = []
        ts = tick.ts
        has_queues = self._fill_model.has_queues
        if has_queues:
            self._fill_model.begin(tick, seq)
        rules = self._trading
        if not touch.is_usable or now - ts > self._tick_age_ms_max:
            rules = None  # No trade on such a touch.
        still_open: list[Order] = []
        for order in self.orders:
            if order.symbol == symbol:
                if order.rests and order.is_waiting:
                    self._trigger(order, seq, tick, messages)
                if now >= order.expires_ts:
                    self._expire(order, order.end_reason, seq, ts, tick.ref(seq), messages)
                    continue
                if (
                    rules is not None
                    and ts >= order.due_ts
                    and (order.stop_limit is not None or not (order.rests and order.is_waiting))
                    and self._meet(order, rules, touch, seq, tick, messages)
                ):
                    continue
            still_open.append(order)
        if messages:
            self.orders = still_open
            if has_queues:
                self._fill_model.keep(still_open)
        return messages

    def quiet_range(self, symbol: str, now: int) -> QuietRange | None:
        """Return the range of all touches if no order is open; else None."""
        return None if self.orders else ANY_TOUCH

    def quiet_ticks(self, symbol: str, now: int) -> QuietRange | None:
        """Return the range of all touches if no order of the symbol is open; else None.

        A model with queues gets every tick while any order is open.
        """
        orders = self.orders
        if orders and self._fill_model.has_queues:
            return None
        for order in orders:
            if order.symbol == symbol:
                return None
        return ANY_TOUCH

    def skip_to(
        self, tick: ScaledTick, seq: int, now: int, is_bid_new: bool, is_ask_new: bool
    ) -> None:
        """Take the last of several ticks in a row without open orders; see `Core.skip_to`.

        A side that has changed has its whole size available again.
        """
        touch = self._touch
        if touch is None or tick.symbol != self._symbol:
            touch = self._touch_of(tick.symbol)
        if is_bid_new:
            touch.bid_taken = 0
        if is_ask_new:
            touch.ask_taken = 0
        touch.take(tick, seq)
        if self._keeps_last:
            touch.last = tick.last()

    def _select(self, symbol: str) -> None:
        """Make a symbol the current one, with its touch and rules."""
        rules = self._rules.get(symbol)
        self._symbol, self._touch = symbol, self._touches.get(symbol)
        self._trading = rules if rules is not None and rules.is_trading else None

    def _touch_of(self, symbol: str) -> Touch:
        """Make a symbol the current one and return its touch, which may be new."""
        self._select(symbol)
        if self._touch is None:
            self._touch = self._touches[symbol] = Touch()
        return self._touch

    def _on_status(self, symbol: str, seq: int, event: Event) -> list[Message]:
        """Cancel the open orders of a symbol that left TRADING, if the profile says so."""
        messages: list[Message] = []
        if self._rules[symbol].is_trading or not self._cancels_halted:
            return messages
        still_open: list[Order] = []
        for order in self.orders:
            if order.symbol != symbol:
                still_open.append(order)
                continue
            order.move(OrderState.CANCELLED)
            ts = max(order.intent_ts, event.ts)
            self._reason = LEFT_TRADING
            because = named(event.id, event.run_id)
            messages.append(move_of(order, LEFT_TRADING, ts, seq, because, len(messages)))
        self.orders = still_open
        self._fill_model.keep(still_open)
        return messages

    def _on_beat(self, seq: int, event: Event, now: int) -> list[Message]:
        """Take a beat, line `seq` of `market_ticks`; return what becomes of orders with it."""
        ts = event.ts
        until = self._ending_until
        if until is not None and ts >= until:
            self._is_ended = True
        messages: list[Message] = []
        if not self.orders:
            return messages
        ref = named(event.id, event.run_id)
        still_open: list[Order] = []
        for order in self.orders:
            if self._is_ended or now >= order.expires_ts:
                reason = RUN_ENDING if self._is_ended else order.end_reason
                self._expire(order, reason, seq, ts, ref, messages)
            elif not self._meet_standing(order, seq, event, now, messages):
                still_open.append(order)
        self.orders = still_open
        self._fill_model.keep(still_open)
        return messages

    def _meet_standing(
        self, order: Order, seq: int, event: Event, now: int, messages: list[Message]
    ) -> bool:
        """Let an order at the market, which no tick has met in time, meet the current touch.

        It is asked at the last beat or two before the order expires: the venue fills such an order
        however long its market is quiet.

        Returns:
            Whether the order has ended.
        """
        if order.limit is not None or order.has_met_market or order.expires_ts > now + LAST_LOOK_MS:
            return False
        if self._touch is None or order.symbol != self._symbol:
            self._select(order.symbol)
        rules, touch = self._trading, self._touch
        if rules is None or touch is None or not touch.is_usable or event.ts < order.due_ts:
            return False
        if now - touch.ts > self._tick_age_ms_max:
            return False
        beat = ScaledTick(order.symbol, None, event.run_id)
        beat.id, beat.ts = event.id, event.ts
        return self._meet(order, rules, touch, seq, beat, messages)

    def _trigger(self, order: Order, seq: int, tick: ScaledTick, messages: list[Message]) -> None:
        """Trigger a resting order if the tick is a trade at its stop or target.

        The first tick after its latency triggers it too, if the last trade was such a trade. Age
        and touch of the tick matter only for fills.
        """
        rules, price = self._trading, tick.last()
        if rules is None:
            return
        if tick.ts < order.due_ts:
            if not tick.is_trade():
                return
            if not order.is_reached_early(price, tick.ts):
                order.was_reached = order.is_reached(price)
                return
            # At the venue the former order is still there and would sell now.
            order.due_ts = max(order.intent_ts, tick.ts)
        was_reached, order.was_reached = order.was_reached, False
        if not order.is_reached(price):
            if order.trail is not None and tick.is_trade():
                order.follow(price, rules.price_step)
            return
        if not was_reached and not tick.is_trade():
            return
        self._trigger_at(order, price, rules, seq, tick, messages)

    def _trigger_at(
        self,
        order: Order,
        price: int,
        rules: OrderRules,
        seq: int,
        tick: ScaledTick,
        messages: list[Message],
    ) -> None:
        """Trigger a resting order by a trade at its stop or target, and append the result."""
        is_stop = order.stop is not None and price <= order.stop
        order.trigger(is_stop)
        self._reason = STOP_TRIGGERED if is_stop else TARGET_TRIGGERED
        ref, n = tick.ref(seq), len(messages)
        messages.append(triggered_by(order, self._reason, price, rules, tick.ts, seq, ref, n))

    def _meet(
        self,
        order: Order,
        rules: OrderRules,
        touch: Touch,
        seq: int,
        tick: ScaledTick,
        messages: list[Message],
    ) -> bool:
        """Fill as much as touch and cash allow; return whether the order has ended."""
        portfolio, found = self._portfolio, self._fill_model
        if portfolio is None:
            raise _unopened()
        if order.limit is not None and order.would_take(touch.price(order.side)):
            self._expire(order, WOULD_TAKE, seq, tick.ts, tick.ref(seq), messages)
            return True
        is_short = False
        if order.side == BUY and order.time_in_force == FOK:
            # Cash has to cover all levels.
            parts = [cost_up(qty, price) for qty, price in found.parts(order, touch)]
            needed = sum([self._fees.with_fee(notional, TAKER) for notional in parts])
            is_short = needed > portfolio.balances.get(rules.quote_asset, 0)
        while not is_short and found.match(order, touch, rules.price_step):
            qty, price, liquidity = found.qty, found.price, found.liquidity
            notional, is_buy = cost_up(qty, price), order.side == BUY
            is_in_base = is_buy and self._fees.is_in_base
            fee = self._fees.fee(qty if is_in_base else notional, liquidity)
            if is_buy:
                cash = portfolio.balances.get(rules.quote_asset, 0)
                if notional + (0 if is_in_base else fee) > cash:
                    # As much as the cash covers, in whole steps.
                    is_short = True
                    paid = qty_for(self._fees.affordable(cash, liquidity), price)
                    qty = found.qty = round_down(paid, order.qty_step)
                    fee = self._fees.fee(qty if is_in_base else cost_up(qty, price), liquidity)
                if is_in_base and fee >= qty:
                    qty = 0  # The fee, rounded up, would consume the whole purchase.
            if qty and not (is_short and order.time_in_force == FOK):
                if order.stop_limit is not None:
                    # The sale by its target's quote is the trade at the target.
                    self._trigger_at(order, price, rules, seq, tick, messages)
                # A due order's tick is never older than its intent.
                ref, ts, n = tick.ref(seq), tick.ts, len(messages)
                paying = rules.base_asset if is_in_base else rules.quote_asset
                fill = fill_of(order, found, fee, paying, rules, touch, ts, seq, ref, n)
                if found.has_depth or not found.is_displayed:
                    found.on_fill()
                if found.is_displayed:
                    if is_buy:
                        touch.ask_taken += qty
                    else:
                        touch.bid_taken += qty
                is_whole = order.fill(qty)
                self._ledger.append(portfolio.book(fill, ts), portfolio)
                reason = self._reason = FILLED if is_whole else PARTIAL
                messages += (fill, move_of(order, reason, ts, seq, ref, n + 1))
                if is_whole:
                    return True
            if is_short or not qty or not found.has_depth:
                break
        order.has_met_market = True
        why = INSUFFICIENT_CASH if is_short else UNFILLED.get(order.time_in_force)
        if why is None:
            return False
        self._expire(order, why, seq, tick.ts, tick.ref(seq), messages)
        return True

    def _expire(
        self,
        order: Order,
        reason: str,
        seq: int,
        tick_ts: int,
        cause: EventId,
        messages: list[Message],
    ) -> None:
        """Expire an open order, and append its result."""
        order.move(OrderState.EXPIRED)
        ts = max(order.intent_ts, tick_ts)
        self._reason = reason
        messages.append(move_of(order, reason, ts, seq, cause, len(messages)))

    # --- queries ------------------------------------------------------------------------------

    def open_positions(self) -> list[dict[str, str]]:
        """Return the open positions, each with the newest order that rests for it."""
        listed = self.portfolio.open_positions()
        for place, position in enumerate(listed):
            rules = self._rules.get(position["symbol"])
            if self._lists_balances and rules is not None:
                listed[place] = position = with_dust(position, rules)
            for order in self.orders:
                if order.is_waiting and order.symbol == position["symbol"]:
                    qty, stop, target = order.remaining, order.stop, order.target
                    listed[place] = with_resting(position, qty, stop, target)
            campaign = self._campaigns.get(position["symbol"])
            if campaign is not None and "dust_qty" not in position:
                listed[place] = listed[place] | {"campaign_id": campaign}
        return listed

    def balances(self) -> dict[str, dict[str, str]] | None:
        """Return the free and reserved balance by asset; None where the profile lists none."""
        if not self._lists_balances:
            return None
        found = balances_of(self.portfolio, self.orders, self._fees, self._rules)
        return {
            asset: {"free": amount_text(free), "reserved": amount_text(reserved)}
            for asset, (free, reserved) in found.items()
        }

    def facts(self) -> JsonObject:
        """Return cash, equity, open orders and positions, for health and the live table."""
        if self._portfolio is None:
            return {"open_orders": 0, "open_positions": []}
        portfolio = self._portfolio
        lots = [lot for symbol in portfolio.symbols() for lot in portfolio.lots(symbol)]
        balances = self.balances()
        return {
            **({} if balances is None else {"balances": balances}),
            "cash": amount_text(portfolio.cash(self._quote_asset)),
            "equity": amount_text(portfolio.equity(self._quote_asset, self.marks())),
            "realised_pnl": amount_text(portfolio.realised_pnl),
            "fees": amount_text(portfolio.fees),
            "fills": portfolio.fills,
            "open_orders": len(self.orders),
            "open_positions": self.open_positions(),
            "opened_ts": max((lot.ts for lot in lots), default=None),
            "reason": self._reason,
        }

    def state(self) -> JsonObject:
        """Return the whole state as canonical JSON values."""
        return {
            "portfolio": None if self._portfolio is None else self._portfolio.to_json(),
            "ledger": self._ledger.to_json(),
            "instruments": {name: item.to_json() for name, item in self._instruments.items()},
            "touches": {name: touch.to_json() for name, touch in self._touches.items()},
            "marks": {name: amount_text(mark) for name, mark in self.marks().items()},
            "references": self._references.to_json(),
            "orders": [order.to_json() for order in self.orders],
            "fill_model": self._fill_model.to_json(),
            **({"campaigns": dict(self._campaigns)} if self._campaigns else {}),
            "client_order_ids": self._clients.state(),
            "ending_until": self._ending_until,
            "is_ended": self._is_ended,
            "reason": self._reason,
        }

    @classmethod
    def from_state(cls, config: JsonObject, state: Mapping[str, Any]) -> PaperExecutorNoreV1:
        """Return the executor that `state` described."""
        core = cls(config)
        if state["portfolio"] is not None:
            core._portfolio = Portfolio.from_json(state["portfolio"])
        core._ledger = Ledger.from_json(state["ledger"])
        for name, data in state["instruments"].items():
            instrument = core._instruments[name] = Instrument(**data)
            core._rules[name] = OrderRules.of(instrument)
        core._touches = {name: Touch.from_json(data) for name, data in state["touches"].items()}
        core._marks = {name: parse_amount(text) for name, text in state["marks"].items()}
        core._references = References.from_json(state.get("references", {}))
        core._fill_model.restore(state["fill_model"])
        core.orders = [Order.from_json(data) for data in state["orders"]]
        core._campaigns = dict(state.get("campaigns", {}))
        core._clients = RecentIds.from_state(state["client_order_ids"])
        core._ending_until = state["ending_until"]
        core._is_ended = state["is_ended"]
        core._reason = state["reason"]
        return core


def _unopened() -> InvariantError:
    return InvariantError("execution", INVARIANT_BROKEN, "no run_opening before this input")
