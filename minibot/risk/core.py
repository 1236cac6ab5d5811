"""The core of `risk_role`: signals in, judged actions and allowed intents out.

It alone writes `order_intents`, each in the same step as the `risk_action` that allows it and after
it. Entries pass gates, then are sized; exits are allowed even where entries are refused. A hard
limit ends the run: one `risk_action` STOP, no intent in that step, and nothing after it.

Invariants: no intent without ALLOW, REDUCE or EXIT before it; no exit is sent twice while one is in
flight; never more orders in a minute than the hard limit; no entry beyond cash, position, exposure
or notional limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from minibot.events.exact_tick import Calm, ExactTick
from minibot.events.messages import (
    FillMessage,
    Message,
    ResultMessage,
    SignalMessage,
    drafts_of,
)
from minibot.events.model import (
    BUY,
    SELL,
    Bar,
    Beat,
    Draft,
    Event,
    ExitPosition,
    Fill,
    Gap,
    Halt,
    Instrument,
    JsonObject,
    LockSymbol,
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
from minibot.events.portfolio import Portfolio
from minibot.events.reasons import INVARIANT_BROKEN
from minibot.kernel.errors import InvariantError
from minibot.risk.budgets import drawdown_of
from minibot.risk.checks import scaled_text
from minibot.risk.departures import (
    due,
    leave,
    leave_all,
    leave_dropped,
    leave_halted,
    on_exit_position,
    on_sell,
)
from minibot.risk.drafts import because, because_of_event, because_of_tick, stop
from minibot.risk.entries import on_buy
from minibot.risk.limits import DRAWDOWN_PLACES
from minibot.risk.positions import NO_PRICE
from minibot.risk.situation import Situation

REJECTED: Final = "REJECTED"


class RiskCore:
    """The decisions of risk over one run; see the module."""

    __slots__ = ("_calm_of_flat", "_calm_of_held", "_situation", "_tick")

    def __init__(self, config: JsonObject) -> None:
        """Take limits and exits from the resolved configuration; nothing is known of the world."""
        self._situation: Situation = Situation(config)
        self._tick: ExactTick = ExactTick()
        # Said again by the next question: of a symbol of which nothing is held, and of one held.
        self._calm_of_flat: Calm = Calm()
        self._calm_of_held: Calm = Calm()

    def step(self, queue: str, seq: int, event: Event, now: int) -> list[Draft]:
        """Return actions and intents because of one event; see `hear`."""
        return drafts_of(self.hear(queue, seq, event, now))

    def hear(self, queue: str, seq: int, event: Event, now: int) -> list[Message]:
        """Take one event at market time `now`; return actions and intents, not yet written out.

        Nothing more comes after a STOP.

        Raises:
            InvariantError: Something came before `run_opening`, or a state that cannot be.
        """
        payload = event.payload
        if isinstance(payload, MarketTick):
            self._tick.fill(payload, event)
            return self.on_tick(self._tick, seq, now) or []
        if isinstance(payload, Beat):
            self.on_beat(now)
            return []
        if isinstance(payload, Bar):
            self.on_bar(
                payload.symbol,
                payload.interval,
                payload.open_ts,
                float(payload.high),
                float(payload.low),
                float(payload.close),
                parse_amount(payload.close),
                now,
            )
            return []
        if isinstance(payload, Signal):
            return self.on_signal(SignalMessage.of(payload, event), now) or []
        if isinstance(payload, Fill):
            return self.on_fill(FillMessage.of(payload, event), now) or []
        if isinstance(payload, OrderResult):
            self.on_result(ResultMessage.of(payload, event), now)
            return []
        situation = self._situation
        if situation.is_stopped:
            return []
        situation.now = now
        if isinstance(payload, RunOpening):
            situation.positions.open(Portfolio.from_opening(payload))
            situation.budgets.open(payload.budgets_used, situation.positions.equity, now)
            return []
        if now >= situation.budgets.midnight:
            self._begin(event.type, now)
        if isinstance(payload, RunEnding):
            situation.exits.ending_until = payload.until_ts
            situation.exits.rouse()
            return leave_all(situation, event)
        if isinstance(payload, ExitPosition):
            return on_exit_position(situation, payload.symbol, event)
        if isinstance(payload, PriceMark):
            rebased = situation.positions.on_price(payload.symbol, parse_amount(payload.price))
            if rebased is None:
                return []
            breaches = situation.budgets.on_equity(situation.positions.equity, rebased)
            if breaches is None:
                return []
            verdict = because_of_event(event, payload.symbol)
            verdict.tick_seq = seq
            return [stop(situation, breaches, verdict)]
        self._take(payload)
        return []

    def _take(self, payload: Payload) -> None:
        """Take what changes the situation and asks for no decision."""
        situation = self._situation
        if isinstance(payload, Instrument):
            situation.positions.on_instrument(payload)
            situation.exits.rouse()
            leave_halted(situation, payload.symbol)
        elif isinstance(payload, Universe):
            situation.universe = frozenset(payload.traded)
            leave_dropped(situation)
        elif isinstance(payload, Gap):
            situation.positions.on_gap(payload.symbol)
        elif isinstance(payload, Halt):
            situation.locks.is_halted = True
        elif isinstance(payload, Resume):
            situation.locks.is_halted = False
        elif isinstance(payload, LockSymbol):
            situation.locks.lock(payload)

    def _begin(self, what: str, now: int) -> bool:
        """Begin a step that is not before `midnight`; return whether anything may still be said.

        Every other step is one of a run that is open and not stopped, on a day that has begun.
        """
        situation = self._situation
        if situation.is_stopped:
            return False
        if not situation.positions.is_open:
            raise InvariantError("risk", INVARIANT_BROKEN, f"{what} before run_opening")
        situation.budgets.roll(now)
        return True

    def on_signal(self, signal: SignalMessage, now: int) -> list[Message] | None:
        """Take a signal; return the action on it and, where it allows, the intent.

        None is that nothing follows, here and wherever something is taken.

        Raises:
            InvariantError: It came before `run_opening`.
        """
        situation = self._situation
        if now >= situation.budgets.midnight and not self._begin("signal", now):
            return None
        situation.now = now
        positions, side = situation.positions, signal.side
        market = positions.market
        if signal.symbol != market.symbol:
            market = positions.of(signal.symbol)
        if side == BUY:
            return on_buy(situation, market, signal)
        if side == SELL:
            return on_sell(situation, market, signal)
        return None

    def on_tick(self, tick: ExactTick, seq: int, now: int) -> list[Message] | None:
        """Take one tick at market time `now`; return what follows.

        `step` calls it with the tick of an event, a backtest with one filled from columns.

        Raises:
            InvariantError: It came before `run_opening`.
        """
        situation = self._situation
        positions, budgets = situation.positions, situation.budgets
        if now >= budgets.midnight and not self._begin("market_tick", now):
            return None
        situation.now = now
        market = positions.market
        if tick.symbol != market.symbol:
            market = positions.of(tick.symbol)
        rebased = positions.on_tick(market, tick, seq)
        if rebased is not None:
            breaches = budgets.on_equity(positions.equity, rebased)
            if breaches is not None:
                return [stop(situation, breaches, because_of_tick(tick, seq))]
        if not market.qty:
            return None
        exits = market.exits or situation.exits_of(market)
        if now < exits.quiet_until and exits.quiet_above < tick.bid < exits.quiet_below:
            return None
        trigger = due(situation, market)
        if trigger is None:
            return None
        return leave(situation, market, trigger, because_of_tick(tick, seq))

    def calm(self, symbol: str, now: int) -> Calm | None:
        """Return within which touches of a symbol nothing follows from its ticks; None for none.

        Then `on_tick` with the last of such ticks leaves the core as all of them do: marks and
        equity are those of the last, and the high-water mark is not reached. What is returned holds
        until the next question; who asked may narrow it.
        """
        situation = self._situation
        positions, budgets = situation.positions, situation.budgets
        market = positions.market
        if symbol != market.symbol:
            market = positions.of(symbol)
        if now >= budgets.midnight or market.is_unmarked:
            return None
        if not market.qty:
            calm = self._calm_of_flat
            calm.until = budgets.midnight
            return calm
        calm, exits = self._calm_of_held, market.exits
        if market.price == NO_PRICE or exits is None or not exits.calm(now, calm):
            return None
        beside = positions.equity - market.value
        return calm if budgets.calm(beside, market.qty, calm) else None

    def on_bar(
        self,
        symbol: str,
        interval: str,
        open_ts: int,
        high: float,
        low: float,
        close: float,
        units: int,
        now: int,
    ) -> None:
        """Take a closed bar at market time `now`, live or of history.

        `step` calls it with the bar of an event, a backtest with one from columns.

        Args:
            symbol: The market.
            interval: As the profile writes it, such as `1m`.
            open_ts: When it opened, Unix ms.
            high: Its highest price, as indicators take prices.
            low: Its lowest price.
            close: Its last price.
            units: The close in hundred-millionths.
            now: Market time.

        Raises:
            InvariantError: It came before `run_opening`.
        """
        situation = self._situation
        if now >= situation.budgets.midnight and not self._begin("bar", now):
            return
        situation.now = now
        if interval == situation.exits.rules.bar_interval:
            situation.exits.on_bar(symbol, open_ts, high, low, close, units)

    def on_beat(self, now: int) -> None:
        """Take that market time `now` has come.

        Raises:
            InvariantError: It came before `run_opening`.
        """
        situation = self._situation
        if now < situation.budgets.midnight or self._begin("beat", now):
            situation.now = now

    def on_fill(self, fill: FillMessage, now: int) -> list[Message] | None:
        """Take a fill; return a STOP where it exceeds a hard limit.

        Raises:
            InvariantError: It came before `run_opening`, or risk sent no such order.
        """
        situation = self._situation
        positions, budgets = situation.positions, situation.budgets
        if now >= budgets.midnight and not self._begin("fill", now):
            return None
        situation.now = now
        market = positions.on_fill(fill)
        if fill.side == BUY:
            budgets.on_bought(positions.portfolio)
        breaches = budgets.on_equity(positions.equity)
        exits = market.exits or situation.exits_of(market)
        holding, rules = market.holding, market.rules
        if holding is None:
            exits.forget()
        elif rules is not None:
            situation.exits.on_fill(exits, holding, rules.price_step)
        if breaches is None:
            return None
        verdict = because(fill.ref(), fill.ts, fill.tick_seq, market.symbol)
        return [stop(situation, breaches, verdict)]

    def on_result(self, result: ResultMessage, now: int) -> None:
        """Take a move of an order.

        Raises:
            InvariantError: It came before `run_opening`.
        """
        situation = self._situation
        if now >= situation.budgets.midnight and not self._begin("order_result", now):
            return
        situation.now = now
        order = situation.positions.on_result(result)
        if order is not None and order.side == SELL:
            exits = order.market.exits or situation.exits_of(order.market)
            exits.on_order_ended(result.result == REJECTED, now)

    # --- what others see ----------------------------------------------------------------------

    def has_order(self, symbol: str) -> bool:
        """Return whether an order of the symbol is not settled."""
        return self._situation.positions.has_order(symbol)

    def exit_levels(self, symbol: str) -> tuple[int, ...]:
        """Return the bids at which the open position is left: stop and target, as far as set."""
        situation = self._situation
        market = situation.positions.held.get(symbol)
        if market is None or market.holding is None or market.rules is None:
            return ()
        exits = market.exits or situation.exits_of(market)
        return situation.exits.levels(exits, market.holding, market.rules.price_step)

    def facts(self) -> JsonObject:
        """Return equity, drawdown, what is open and what is left, for health and the live table."""
        situation = self._situation
        if not situation.positions.is_open:
            return {"open_orders": 0, "open_positions": []}
        portfolio, budgets = situation.positions.portfolio, situation.budgets
        return {
            "cash": amount_text(portfolio.cash(situation.limits.quote_asset)),
            "equity": amount_text(budgets.equity),
            "high_water_mark": amount_text(budgets.high_water_mark),
            "drawdown": amount_text(budgets.high_water_mark - budgets.equity),
            "drawdown_bps": scaled_text(
                drawdown_of(budgets.high_water_mark, budgets.equity), DRAWDOWN_PLACES
            ),
            "realised_pnl": amount_text(portfolio.realised_pnl),
            "fees": amount_text(portfolio.fees),
            "open_orders": len(situation.positions.orders),
            "open_positions": portfolio.open_positions(),
            "orders_per_minute": budgets.orders(situation.now),
            "headroom": situation.headroom(None).texts(),
            "is_halted": situation.locks.is_halted,
            "reason": situation.reason,
        }

    def state(self) -> JsonObject:
        """Return the whole state as canonical JSON values."""
        return self._situation.state()

    @classmethod
    def from_state(cls, config: JsonObject, state: Mapping[str, Any]) -> RiskCore:
        """Return the core that `state` described."""
        core = cls(config)
        core._situation = Situation.from_state(config, state)
        return core


def core_from_config(config: JsonObject) -> RiskCore:
    """Return a fresh core from the whole resolved configuration."""
    return RiskCore(config)


def core_from_state(config: JsonObject, state: JsonObject) -> RiskCore:
    """Return the core whose `state()` this is."""
    return RiskCore.from_state(config, state)
