"""The paper executor of the NORE night: intents in, results and fills out, no order anywhere else.

It keeps its own portfolio and ledger from `run_opening` and its own fills, judges every intent
again, and meets the market as its fill model assumes (`execution.fills`). Results come in the
order of the table in `execution.orders`; a fill stands before the result that tells of it. Nothing
here can reach an exchange: it returns drafts.

Invariants: quantities of an order add up; cash and positions never fall below zero; an intent ends
in exactly one terminal result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from minibot.events.exact_tick import ExactTick
from minibot.events.ids import derive_id
from minibot.events.ledger import Ledger
from minibot.events.model import (
    BUY,
    Beat,
    Book,
    Draft,
    Event,
    Fill,
    Gap,
    Instrument,
    JsonObject,
    MarketTick,
    OrderIntent,
    OrderResult,
    RunEnding,
    RunOpening,
)
from minibot.events.money import amount_text, cost_up, parse_amount, qty_for
from minibot.events.numbers import round_down
from minibot.events.order_rules import OrderRules, mid_down
from minibot.events.portfolio import Portfolio
from minibot.events.reasons import (
    ACCEPTED,
    DUPLICATE,
    EXPIRED,
    FILLED,
    INSUFFICIENT_CASH,
    INVARIANT_BROKEN,
    LEFT_TRADING,
    PARTIAL,
    RUN_ENDING,
    UNFILLED_FOK,
    UNFILLED_IOC,
)
from minibot.execution.fees import FeeRates
from minibot.execution.fill_models import fill_model_of
from minibot.execution.fills import Match, Touch
from minibot.execution.funds import funds_refusal
from minibot.execution.intake import (
    ENTRY,
    Wish,
    filter_refusal,
    market_refusal,
    read_wish,
    require_lineage,
    side_refusal,
)
from minibot.execution.orders import FOK, IOC, Order, OrderState
from minibot.kernel.errors import InvariantError

FILLS = "fills"
ORDER_RESULTS = "order_results"
ORDER_ROLE = "paper_executor_nore_v1"
"""Stands where ids of drafts name a role, so that no order id equals an event's id."""


class PaperExecutorNoreV1:
    """The core of `execution_role`; see the module."""

    def __init__(self, config: JsonObject) -> None:
        """Take latency, fees and limits from the resolved configuration; nothing is open."""
        execution = config["execution"]
        self._latency_ms: int = execution["latency_market_ms"]
        self._tick_age_ms_max: int = execution["tick_age_ms_max"]
        self._order_ttl_ms: int = execution["order_ttl_market_ms"]
        # Runs from before the policy held their orders.
        self._cancels_halted: bool = execution.get("left_trading", "hold") == "cancel"
        self._fees = FeeRates.of(execution)
        self._fill_model = fill_model_of(execution)
        self._quote_asset: str = config["portfolio"]["quote_asset"]
        self._portfolio: Portfolio | None = None
        self._ledger = Ledger({})
        self._instruments: dict[str, Instrument] = {}
        self._rules: dict[str, OrderRules] = {}
        self._touches: dict[str, Touch] = {}
        # Ticks of one symbol come in rows: the last touch found is most often the next one.
        self._tick: ExactTick = ExactTick()
        self._symbol: str = ""
        self._touch: Touch | None = None
        self._marks: dict[str, int] = {}
        self._orders: list[Order] = []
        self._client_order_ids: dict[str, int] = {}
        self._ending_until: int | None = None
        self._is_ended = False
        self._reason = ""

    # --- one step -----------------------------------------------------------------------------

    def step(self, queue: str, seq: int, event: Event, now: int) -> list[Draft]:
        """Return results and fills because of one event.

        Raises:
            InvariantError: Something came before `run_opening`, or a state that cannot be.
            ContractError: An intent that names no allowing risk_action: SOURCE_FORBIDDEN.
        """
        payload = event.payload
        if isinstance(payload, MarketTick):
            self._tick.fill(payload, event)
            return self.on_tick(self._tick, seq, now) or []
        if isinstance(payload, OrderIntent):
            return self._on_intent(payload, event, now)
        if isinstance(payload, Beat):
            return self._on_beat(seq, event, now)
        if isinstance(payload, Book):
            self._fill_model.on_book(payload)
        elif isinstance(payload, Instrument):
            self._instruments[payload.symbol] = payload
            self._rules[payload.symbol] = OrderRules.of(payload)
            return self._on_status(payload.symbol, seq, event)
        elif isinstance(payload, Gap):
            # What the touch was before the gap says nothing; the next tick of the symbol does.
            self._touches.pop(payload.symbol, None)
            self._touch = None
            self._fill_model.on_gap(payload.symbol)
        elif isinstance(payload, RunOpening):
            self._portfolio = Portfolio.from_opening(payload)
            self._ledger = Ledger.from_opening(payload)
        elif isinstance(payload, RunEnding):
            self._ending_until = payload.until_ts
        return []

    @property
    def is_opened(self) -> bool:
        """Whether `run_opening` was taken."""
        return self._portfolio is not None

    @property
    def portfolio(self) -> Portfolio:
        """What is held now.

        Raises:
            InvariantError: The run has not been opened.
        """
        if self._portfolio is None:
            raise InvariantError("execution", INVARIANT_BROKEN, "no run_opening was taken")
        return self._portfolio

    @property
    def ledger(self) -> Ledger:
        """The cash ledger of the run so far."""
        return self._ledger

    # --- intents ------------------------------------------------------------------------------

    def _on_intent(self, intent: OrderIntent, event: Event, now: int) -> list[Draft]:
        require_lineage(event)
        expires_ts = event.ts + self._order_ttl_ms
        if intent.expires_ts is not None:
            expires_ts = min(expires_ts, intent.expires_ts)
        wish = read_wish(intent)
        state, reason = self._judge(intent, wish, now, expires_ts)
        order_id = derive_id(event.run_id, ORDER_ROLE, event.id, 0)
        self._client_order_ids.setdefault(intent.client_order_id, expires_ts)
        if state is not OrderState.ACCEPTED or isinstance(wish, str):
            return [self._refusal(intent, wish, event, order_id, state, reason)]
        order = self._order(intent, wish, event, order_id, expires_ts)
        order.move(OrderState.ACCEPTED)
        self._orders.append(order)
        return [self._result(order, ACCEPTED, (event.id,), event.ts, event.tick_seq)]

    def _judge(
        self, intent: OrderIntent, wish: Wish | str, now: int, expires_ts: int
    ) -> tuple[OrderState, str]:
        """Return the first state of an intent and why, most telling reason first."""
        self._forget_client_order_ids(now)
        if isinstance(wish, str):
            return OrderState.REJECTED, wish
        refusal = side_refusal(intent)
        if refusal is not None:
            return OrderState.REJECTED, refusal
        if intent.client_order_id in self._client_order_ids:
            return OrderState.REJECTED, DUPLICATE
        if now >= expires_ts:
            return OrderState.EXPIRED, EXPIRED
        if self._is_ended:
            return OrderState.EXPIRED, RUN_ENDING
        if self._ending_until is not None and intent.purpose == ENTRY:
            return OrderState.REJECTED, RUN_ENDING
        rules, touch = self._rules.get(intent.symbol), self._touches.get(intent.symbol)
        refusal = market_refusal(
            rules,
            touch,
            symbol_is_known=rules is not None or intent.symbol in self._marks,
            tick_age_ms=0 if touch is None else now - touch.ts,
            tick_age_ms_max=self._tick_age_ms_max,
        )
        if refusal is None and rules is not None and touch is not None:
            refusal = filter_refusal(intent, wish, rules, touch)
            if refusal is None:
                price = touch.price(intent.side) if wish.limit is None else wish.limit
                refusal = funds_refusal(
                    self.portfolio, self._orders, self._fees, rules, intent.side, wish.qty, price
                )
        if refusal is not None:
            return OrderState.REJECTED, refusal
        return OrderState.ACCEPTED, ACCEPTED

    def _order(
        self, intent: OrderIntent, wish: Wish, event: Event, order_id: str, expires_ts: int
    ) -> Order:
        rules = self._rules[intent.symbol]
        price = self._touches[intent.symbol].price(intent.side)
        return Order(
            intent_id=event.id,
            intent_ts=event.ts,
            order_id=order_id,
            client_order_id=intent.client_order_id,
            symbol=intent.symbol,
            side=intent.side,
            qty=wish.qty,
            qty_places=rules.qty_places,
            qty_step=rules.qty_step,
            reserve_price=price if wish.limit is None else wish.limit,
            limit=wish.limit,
            time_in_force=wish.time_in_force,
            due_ts=event.ts + self._latency_ms,
            expires_ts=expires_ts,
        )

    def _forget_client_order_ids(self, now: int) -> None:
        # An intent that says the same id later than this is expired anyway.
        kept = {name: ts for name, ts in self._client_order_ids.items() if now < ts}
        if len(kept) < len(self._client_order_ids):
            self._client_order_ids = kept

    def _refusal(
        self,
        intent: OrderIntent,
        wish: Wish | str,
        event: Event,
        order_id: str,
        state: OrderState,
        reason: str,
    ) -> Draft:
        self._reason = reason
        payload = OrderResult(
            client_order_id=intent.client_order_id,
            order_id=order_id,
            result=state.value,
            symbol=intent.symbol,
            reason_code=reason,
            filled_qty="0",
            remaining_qty=None if isinstance(wish, str) else intent.qty,
        )
        return Draft(ORDER_RESULTS, payload, event.ts, (event.id,), event.tick_seq)

    # --- the market ---------------------------------------------------------------------------

    def on_tick(self, tick: ExactTick, seq: int, now: int) -> list[Draft] | None:
        """Take one tick at market time `now`; return what follows, None for nothing.

        `step` calls it with the tick of an event, a backtest with one filled from columns.
        """
        touch = self._touch
        if touch is None or tick.symbol != self._symbol:
            touch = self._find(tick.symbol)
        if touch.take(tick, seq) and 0 < touch.bid <= touch.ask:
            self._marks[tick.symbol] = mid_down(touch.bid, touch.ask)
        if not self._orders:
            return None
        return self._on_market(touch, seq, tick.event(seq), now)

    def _find(self, symbol: str) -> Touch:
        touch = self._touches.get(symbol)
        if touch is None:
            touch = self._touches[symbol] = Touch()
        self._symbol = symbol
        self._touch = touch
        return touch

    def _on_market(self, touch: Touch, seq: int, event: Event, now: int) -> list[Draft]:
        """Let the open orders of a symbol meet its tick."""
        tick = event.payload
        if not isinstance(tick, MarketTick):
            raise InvariantError("execution", INVARIANT_BROKEN, f"{event.type} is no tick")
        drafts: list[Draft] = []
        self._fill_model.begin(tick)
        is_fresh = (
            touch.is_usable
            and now - event.ts <= self._tick_age_ms_max
            and self._trades(tick.symbol)
        )
        for order in self._orders:
            if order.symbol != tick.symbol:
                continue
            if now >= order.expires_ts:
                drafts.append(self._expire(order, EXPIRED, seq, event))
            elif is_fresh and event.ts >= order.due_ts:
                drafts += self._meet(order, touch, seq, event)
        self._drop_closed()
        return drafts

    def _trades(self, symbol: str) -> bool:
        rules = self._rules.get(symbol)
        return rules is not None and rules.is_trading

    def _on_status(self, symbol: str, seq: int, event: Event) -> list[Draft]:
        """End the open orders of a symbol that left TRADING, where the profile says so."""
        if self._rules[symbol].is_trading or not self._cancels_halted:
            return []
        drafts: list[Draft] = []
        for order in self._orders:
            if order.symbol == symbol:
                order.move(OrderState.CANCELLED)
                ts = max(order.intent_ts, event.ts)
                drafts.append(
                    self._result(order, LEFT_TRADING, (order.intent_id, event.id), ts, seq)
                )
        self._drop_closed()
        return drafts

    def _on_beat(self, seq: int, event: Event, now: int) -> list[Draft]:
        until = self._ending_until
        if until is not None and event.ts >= until:
            self._is_ended = True
        drafts: list[Draft] = []
        for order in self._orders:
            if self._is_ended:
                drafts.append(self._expire(order, RUN_ENDING, seq, event))
            elif now >= order.expires_ts:
                drafts.append(self._expire(order, EXPIRED, seq, event))
        self._drop_closed()
        return drafts

    def _meet(self, order: Order, touch: Touch, seq: int, event: Event) -> list[Draft]:
        """Fill what the touch and the cash allow; end what may not wait."""
        drafts: list[Draft] = []
        found = self._fill_model.match(order, touch, self._rules[order.symbol].price_step)
        is_short = False
        if found is not None:
            qty = self._paid_qty(order, found)
            is_short = qty < found.qty
            if qty and not (is_short and order.time_in_force == FOK):
                drafts = self._fill(order, touch, replace(found, qty=qty), seq, event)
        order.has_met_market = True
        if order.is_open and is_short:
            drafts.append(self._expire(order, INSUFFICIENT_CASH, seq, event))
        elif order.is_open and order.time_in_force == IOC:
            drafts.append(self._expire(order, UNFILLED_IOC, seq, event))
        elif order.is_open and order.time_in_force == FOK:
            drafts.append(self._expire(order, UNFILLED_FOK, seq, event))
        return drafts

    def _paid_qty(self, order: Order, found: Match) -> int:
        """Return how much of a match the cash pays, in whole steps; a sale needs none."""
        if order.side != BUY:
            return found.qty
        cash = self.portfolio.cash(self._rules[order.symbol].quote_asset)
        qty = qty_for(self._fees.affordable(cash, found.liquidity), found.price)
        return found.qty if qty >= found.qty else round_down(qty, order.qty_step)

    def _fill(
        self, order: Order, touch: Touch, found: Match, seq: int, event: Event
    ) -> list[Draft]:
        rules = self._rules[order.symbol]
        notional = cost_up(found.qty, found.price)
        payload = Fill(
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            qty=amount_text(found.qty, order.qty_places),
            price=rules.price_text(found.price),
            fee=amount_text(self._fees.fee(notional, found.liquidity)),
            fee_asset=rules.quote_asset,
            liquidity=found.liquidity,
            bid=rules.price_text(touch.bid),
            ask=rules.price_text(touch.ask),
            displayed_qty=rules.qty_text(touch.displayed(order.side)),
            latency_market_ms=self._latency_ms,
        )
        self._fill_model.on_fill(order, touch, found)
        order.fill(found.qty)
        ts = max(order.intent_ts, event.ts)
        self._ledger.append(self.portfolio.apply(payload, ts))
        self._ledger.check(self.portfolio)
        causes = (order.intent_id, event.id)
        reason = FILLED if order.state is OrderState.FILLED else PARTIAL
        return [
            Draft(FILLS, payload, ts, causes, seq),
            self._result(order, reason, causes, ts, seq),
        ]

    def _expire(self, order: Order, reason: str, seq: int, event: Event) -> Draft:
        order.move(OrderState.EXPIRED)
        ts = max(order.intent_ts, event.ts)
        return self._result(order, reason, (order.intent_id, event.id), ts, seq)

    def _result(
        self, order: Order, reason: str, causes: tuple[str, ...], ts: int, tick_seq: int | None
    ) -> Draft:
        self._reason = reason
        payload = OrderResult(
            client_order_id=order.client_order_id,
            order_id=order.order_id,
            result=order.state.value,
            symbol=order.symbol,
            reason_code=reason,
            filled_qty=amount_text(order.filled, order.qty_places),
            remaining_qty=amount_text(order.remaining, order.qty_places),
        )
        return Draft(ORDER_RESULTS, payload, ts, causes, tick_seq)

    def _drop_closed(self) -> None:
        self._orders = [order for order in self._orders if order.is_open]
        self._fill_model.keep(self._orders)

    # --- what others see ----------------------------------------------------------------------

    def facts(self) -> JsonObject:
        """Return cash, equity and what is open, for health and the live table."""
        if self._portfolio is None:
            return {"open_orders": 0, "open_positions": []}
        portfolio = self._portfolio
        return {
            "cash": amount_text(portfolio.cash(self._quote_asset)),
            "equity": amount_text(portfolio.equity(self._quote_asset, self._marks)),
            "realised_pnl": amount_text(portfolio.realised_pnl),
            "fees": amount_text(portfolio.fees),
            "fills": portfolio.fills,
            "open_orders": len(self._orders),
            "open_positions": portfolio.open_positions(),
            "reason": self._reason,
        }

    def state(self) -> JsonObject:
        """Return the whole state as canonical JSON values."""
        return {
            "portfolio": None if self._portfolio is None else self._portfolio.to_json(),
            "ledger": self._ledger.to_json(),
            "instruments": {name: item.to_json() for name, item in self._instruments.items()},
            "touches": {name: touch.to_json() for name, touch in self._touches.items()},
            "marks": {name: amount_text(mark) for name, mark in self._marks.items()},
            "orders": [order.to_json() for order in self._orders],
            "fill_model": self._fill_model.to_json(),
            "client_order_ids": dict(self._client_order_ids),
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
        core._fill_model.restore(state["fill_model"])
        core._orders = [Order.from_json(data) for data in state["orders"]]
        core._client_order_ids = dict(state["client_order_ids"])
        core._ending_until = state["ending_until"]
        core._is_ended = state["is_ended"]
        core._reason = state["reason"]
        return core
