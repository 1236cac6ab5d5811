"""The strategy's core: market in, signals out; pure and deterministic.

It keeps a view of each symbol up to date and passes ticks and closed bars to the strategy of that
symbol. BUY, SELL and ADJUST become signals at once. A HOLD becomes a signal only when its reason
code differs from the last one written, at most once a second of market time per symbol; `facts`
always shows the current reason with its values. With `strategy.bars_from_ticks` trades close the
bars, and live `bar` events reach only the scanner; of several answers to one trade a SELL counts,
else the last order at its bars, else the trade's own.

A tick comes as an event, from which the symbol's `Tick` is filled, or as that `Tick`, filled from
columns. A strategy that answers trades by price alone gets the prices of columns many at once
(`Prices`), at half the cost of a tick (docs/DECISIONS.md, own-price).

Bars of history only reach the strategy. Besides the market, its inputs are `run_opening` and
`fills`, which give the position, and `risk_actions`, risk's answers to its signals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, final

from minibot.cores.closed_bar import BarInput, ClosedBar
from minibot.cores.core_profile import CoreProfile
from minibot.cores.event_id import EventId, derived, named
from minibot.cores.messages import (
    ACTIONS,
    FILLS,
    SIGNALS,
    WRITERS,
    ActionMessage,
    FillMessage,
    Message,
    ReportMessage,
)
from minibot.cores.protocol import Core, Input
from minibot.events.cells import CELL, float_at
from minibot.events.model import (
    BUY,
    HOLD,
    SELL,
    Bar,
    Beat,
    Book,
    Event,
    FeedValue,
    Fill,
    Gap,
    Halt,
    Instrument,
    JsonObject,
    LockSymbol,
    MarketTick,
    Payload,
    PositionPlan,
    Resume,
    RiskAction,
    RunEnding,
    RunOpening,
    Universe,
)
from minibot.events.reasons import WARMUP
from minibot.strategies.decision import Decision, decision_of
from minibot.strategies.own import failure, wrong_answer
from minibot.strategies.plots import Plots
from minibot.strategies.prices import Prices
from minibot.strategies.scanner.scans import Scans, scans_of
from minibot.strategies.selection import ChosenStrategy, choose, is_written
from minibot.strategies.signals import DecidedSignal
from minibot.strategies.symbol_state import SymbolState
from minibot.strategies.tick import Tick
from minibot.strategies.view import FOR_EVER, View

HOLD_INTERVAL_MS: Final = 1_000
RANKED_SHOWN: Final = 5
"""Number of best ranked symbols on a screen."""
NO_ANSWER: Final = "the strategy has answered nothing yet"


@final
class StrategyCore(Core):
    """State plus one function from an input to signals.

    Attributes:
        chosen: The strategy with its values.
        takes_prices: Whether trades may come as prices only, many at once (`Prices`).
    """

    TAKES: ClassVar[frozenset[int]] = frozenset({FILLS, ACTIONS})

    __slots__ = (
        *("_bars_from_ticks", "_feeds", "_found", "_is_ending", "_is_halted", "_is_shown"),
        *("_plots", "_scans", "_signals", "_symbol", "_views", "_wants_trades", "_watched"),
        *("chosen", "takes_prices"),
    )

    def __init__(self, chosen: ChosenStrategy, scans: Scans | None = None) -> None:
        """Start before the first event; `scans` ranks all symbols, None means no ranking."""
        self.chosen: ChosenStrategy = chosen
        self._scans: Scans | None = scans
        self._bars_from_ticks: bool = chosen.bars_from_ticks
        self._wants_trades: bool = chosen.needs.trades
        is_by_tick, is_by_price = (
            is_written(chosen.cls, "on_tick"),
            is_written(chosen.cls, "on_price"),
        )
        self._is_shown: bool = self._wants_trades and (is_by_tick or is_by_price)
        self.takes_prices: bool = self._is_shown and not (is_by_tick or self._bars_from_ticks)
        # Events of one symbol often follow each other, so the last one found is kept.
        self._symbol: str = ""
        self._found: SymbolState | None = None
        self._watched: dict[str, SymbolState] = {}
        self._views: dict[str, View] = {}
        # The newest value of each feed that the strategy reads.
        self._feeds: dict[str, FeedValue | None] = dict.fromkeys(chosen.needs.feeds)
        self._is_ending: bool = False
        self._is_halted: bool = False
        self._signals: int = 0
        self._plots: Plots | None = None

    # --- one input ----------------------------------------------------------------------------

    def process(self, item: Input, seq: int, now: int) -> list[Message] | None:
        """Process one input at market time `now` (ms); return the messages that follow, if any.

        These are the events of a scan, which only a bar or a beat causes, then at most one signal.

        Args:
            item: An event, a fill, a risk action, a closed bar, or the core's own filled tick of a
                symbol (`view(symbol).tick`), which stays the symbol's last until filled again. If
                it `takes_prices`, also consecutive trades by price, up to the first one that causes
                a signal.
            seq: The number of its line.
            now: Market time, which never goes back.

        Raises:
            RunStop: The strategy failed, or its answer is no decision; the code is that of
                `own.failure`. NONDETERMINISM, if a fill sells more than is held.
            ValueError: The tick is not the core's own.
            TypeError: The item is none of these inputs.
        """
        if isinstance(item, Tick):
            watched = item.owner
            if watched is None:
                raise ValueError(f"a tick of {item.symbol} that is not the core's own")
            view, is_trade = watched.view, item.is_trade
            view._now = now
            barred = self._build(watched, item) if is_trade and watched.builders else None
            decision: Decision | None = None
            if self._wants_trades or not is_trade:
                try:
                    decision = watched.strategy.on_tick(item, view)
                except Exception as error:  # Stops the run: the same tick would raise it again.
                    raise failure(error, self.chosen.path, view) from error
            if decision is None and barred is None:  # The usual case.
                return None
            return self._answer(watched, item, seq, decision, barred)
        if isinstance(item, Prices):
            return self._on_prices(item)
        if isinstance(item, BarInput):
            return self._on_bar(item, item.symbol, item.bar, seq, now)
        if isinstance(item, FillMessage):
            self._on_fill(item, now)
        elif isinstance(item, ActionMessage):
            self._on_action(item)
        elif isinstance(item, Event):
            return self._on_event(item, seq, now)
        elif not isinstance(item, ReportMessage):
            raise TypeError(f"{type(item).__name__} is not an input of the strategy")
        elif isinstance(item.report, PositionPlan):
            self._find(item.report.symbol).view.take_plan(item.report)
        return None

    def _on_prices(self, prices: Prices) -> list[Message] | None:
        """Show consecutive trades by price; return the signal of the last one taken, if any."""
        tick = prices.tick
        watched = tick.owner
        if watched is None:
            raise ValueError(f"a tick of {tick.symbol} that is not the core's own")
        view, strategy = watched.view, watched.strategy
        view.show_prices(prices)
        cells = prices.cells
        messages: list[Message] | None = None
        while messages is None and prices.first < prices.last:
            decision: Decision | None = None
            try:
                for at in range(prices.first, prices.last, CELL):
                    prices.at = at  # The view reads time and tick from here.
                    decision = strategy.on_price(float_at(cells, at), view)
                    if decision is not None:
                        break
            except Exception as error:  # Stops the run: the same price would raise it again.
                raise failure(error, self.chosen.path, view) from error
            prices.first = prices.at + CELL
            prices.fill_tick()
            view._now = prices.ts
            if decision is not None:
                messages = self._answer(watched, tick, prices.line, decision, None)
        view.show_prices(None)
        return messages

    def _on_event(self, event: Event, seq: int, now: int) -> list[Message] | None:
        payload = event.payload
        if isinstance(payload, MarketTick):
            symbol = payload.symbol
            watched = self._found
            if watched is None or symbol != self._symbol:
                watched = self._find(symbol)
            tick = watched.view.tick
            tick.fill(payload, event.ts)
            tick.event = event
            answered = self.process(tick, seq, now)
            tick.event = None
            return answered
        if isinstance(payload, Bar):
            return self._on_bar(event, payload.symbol, ClosedBar.of_event(payload), seq, now)
        if not isinstance(payload, Beat):
            self._take_rare(event, now)
        elif self._scans is not None:  # A strategy gets no beats.
            return _scan_messages(self._scans.on_beat(now), event, seq)
        return None

    def _answer(
        self,
        watched: SymbolState,
        tick: Tick,
        seq: int,
        decision: Decision | None,
        barred: Decision | None,
    ) -> list[Message] | None:
        """Return the signal of a tick, line `seq`, unless it is a hold that is not new.

        Args:
            watched: State of the tick's symbol.
            tick: The tick.
            seq: The number of its line.
            decision: The strategy's answer to the tick.
            barred: Its answer to the bars that the tick closed.
        """
        if decision is None:
            decision = barred
        elif barred is not None and barred.side != HOLD:
            self._require_decision(watched, decision)
            decision = _weightier(barred, decision)
        if decision is not None:
            decision = self._weighed(watched, decision, watched.view.now)
        if decision is None:
            return None
        return [self._signal(tick.symbol, decision, tick.ts, tick.ref(seq), seq)]

    def _on_bar(
        self, item: Event | BarInput, symbol: str, bar: ClosedBar, seq: int, now: int
    ) -> list[Message] | None:
        """Take a closed bar; return the scan that was due before it, and its signal, if any.

        With `strategy.bars_from_ticks` the strategy gets no live bars, as trades make its own.

        Args:
            item: The input with the bar.
            symbol: The market.
            bar: The bar.
            seq: The number of its line.
            now: Market time.
        """
        messages: list[Message] | None = None
        scans = self._scans
        if scans is not None:
            messages = _scan_messages(scans.on_bar(symbol, bar, now), item, seq)
            if scans.is_for_ranks_alone(symbol, bar):
                return messages
        if self._bars_from_ticks and bar.is_live:
            return messages
        watched = self._found
        if watched is None or symbol != self._symbol:
            # One look-up: with bars of many symbols, caching this one would not help.
            watched = self._watched.get(symbol) or self._find(symbol)
        watched.view._now = now
        decision = self._hand_bar(watched, bar)
        if decision is not None:
            decision = self._weighed(watched, decision, now)
        if decision is None:
            return messages
        signal = self._signal(symbol, decision, item.ts, _id_of(item, seq), seq)
        if messages is None:
            return [signal]
        signal.ordinal = len(messages)
        signal._ref = derived(WRITERS[SIGNALS], signal.cause, signal.ordinal)
        return [*messages, signal]

    def _on_fill(self, fill: FillMessage, now: int) -> None:
        watched = self._found
        if watched is None or fill.symbol != self._symbol:
            watched = self._find(fill.symbol)
        view = watched.view
        view.held.apply(fill, view.base_asset)
        if fill.side != BUY:  # Any sale starts the cooldown, also one without a signal.
            view.sell_ts = now

    def _on_action(self, action: ActionMessage) -> None:
        """Take a risk action on a symbol."""
        symbol = action.symbol
        if symbol is None:
            return
        watched = self._found
        if watched is None or symbol != self._symbol:
            watched = self._find(symbol)
        watched.view.take_risk_action(action)

    def _signal(
        self, symbol: str, decision: Decision, ts: int, cause: EventId, seq: int
    ) -> DecidedSignal:
        """Return the signal of a decision.

        Args:
            symbol: The market.
            decision: The strategy's decision.
            ts: Time of the event that caused it.
            cause: Id of that event.
            seq: Line of that event in `market_ticks`.
        """
        chosen = self.chosen
        signal = DecidedSignal()
        signal.place = SIGNALS
        signal.ts = ts
        signal.tick_seq = seq
        signal.cause = cause
        signal._ref = derived(WRITERS[SIGNALS], cause, 0)  # Risk needs its id.
        signal.symbol = symbol
        signal.side = decision.side
        signal.confidence = decision.confidence
        signal.horizon_ms = decision.valid_ms or chosen.horizon_ms
        signal.wish = decision.wish
        signal.chosen = chosen
        signal.decision = decision
        return signal

    # --- queries ------------------------------------------------------------------------------

    def view(self, symbol: str) -> View:
        """Return the view for the strategy of a symbol."""
        return self._find(symbol).view

    def keep_plots(self, plots: Plots) -> None:
        """Keep the lines that the strategy plots, for a page; called before the first input."""
        self._plots = plots
        for view in self._views.values():
            view.keep_plots(plots)

    @property
    def is_scanning(self) -> bool:
        """True if it ranks all symbols, for which it needs every bar and beat."""
        return self._scans is not None

    @property
    def is_deaf_to_trades(self) -> bool:
        """True if a trade has no effect on the core except its tick."""
        return not (self._is_shown or self._bars_from_ticks)

    @property
    def watched(self) -> Mapping[str, SymbolState]:
        """State of each known symbol, read-only."""
        return self._watched

    def _find(self, symbol: str) -> SymbolState:
        watched = self._watched.get(symbol)
        if watched is None:
            watched = self._watched[symbol] = SymbolState(
                symbol, self.chosen, self._views, self._feeds
            )
            watched.view.is_ending = self._is_ending
            watched.view.is_halted = self._is_halted
            if self._scans is not None:
                watched.view.ranks = self._scans.ranks
            if self._plots is not None:
                watched.view.keep_plots(self._plots)
        self._symbol, self._found = symbol, watched
        return watched

    def _build(self, watched: SymbolState, tick: Tick) -> Decision | None:
        """Add a trade to the bars being made; return the answer to closed bars, if one counts."""
        decision: Decision | None = None
        for builder in watched.builders:
            for bar in builder.add(tick.exchange_ts, tick.price, tick.qty):
                answer = self._hand_bar(watched, bar)
                if answer is not None:
                    self._require_decision(watched, answer)
                    decision = answer if decision is None else _weightier(answer, decision)
        return decision

    def _hand_bar(self, watched: SymbolState, bar: ClosedBar) -> Decision | None:
        if not watched.view.take_bar(bar):
            return None
        try:
            decision = watched.strategy.on_bar(bar, watched.view)
        except Exception as error:  # Stops the run: the same bar would raise it again.
            raise failure(error, self.chosen.path, watched.view) from error
        return decision if bar.is_live else None

    def _weighed(self, watched: SymbolState, decision: Decision, now: int) -> Decision | None:
        """Note a decision; return it unless it is a hold with nothing new."""
        self._require_decision(watched, decision)
        watched.decision = decision
        watched.decided_ts = now
        side, code = decision.side, decision.reason_code
        if side == BUY:
            view = watched.view
            view.buy_ts = now
            view.entry_code = code
        elif side == SELL:
            watched.view.sell_ts = now
        elif side == HOLD:
            if code == watched.journaled_code or now - watched.hold_journaled_ts < HOLD_INTERVAL_MS:
                return None
            watched.hold_journaled_ts = now
        watched.journaled_code = code
        self._signals += 1
        return decision

    def _require_decision(self, watched: SymbolState, decision: Decision) -> None:
        """Raise a STOP for an answer that is not a decision, or that no replay could repeat."""
        if not isinstance(decision, Decision):
            found = repr(decision) if isinstance(decision, str) else type(decision).__name__
            what = f"expected a Decision of buy, sell, adjust or hold, or None, found {found}"
            raise wrong_answer(watched.strategy, what, self.chosen.path, watched.view)
        if decision.holds_address:
            what = f"the reason {decision.reason!r} holds an address, another in each process"
            raise wrong_answer(watched.strategy, what, self.chosen.path, watched.view)

    def _take_rare(self, event: Event, now: int) -> None:
        payload = event.payload
        if isinstance(payload, Book):
            if payload.bids and payload.asks:
                self._find(payload.symbol).view.is_book_broken = False
        elif isinstance(payload, Gap):
            self._take_gap(payload, now)
        elif isinstance(payload, FeedValue):
            if payload.feed in self._feeds:
                self._feeds[payload.feed] = payload
            if self._scans is not None:
                self._scans.on_feed(payload)
        elif isinstance(payload, Universe):
            if self._scans is not None:
                self._scans.on_universe(payload)
        elif isinstance(payload, Instrument):
            self._find(payload.symbol).view.take_instrument(payload)
        elif isinstance(payload, Fill):
            self._on_fill(FillMessage.of(payload, event), now)
        elif isinstance(payload, RunOpening):
            for lot in payload.lots:
                self._find(lot["symbol"]).view.held.add_lot(lot)
        elif isinstance(payload, RiskAction):
            self._on_action(ActionMessage.of(payload, event))
        elif isinstance(payload, PositionPlan):
            self._find(payload.symbol).view.take_plan(payload)
        elif isinstance(payload, LockSymbol):
            until_ts = payload.until_ts
            view = self._find(payload.symbol).view
            view.locked_until_ts = FOR_EVER if until_ts is None else until_ts
        elif isinstance(payload, RunEnding | Halt | Resume):
            self._is_ending = self._is_ending or isinstance(payload, RunEnding)
            self._is_halted = isinstance(payload, Halt) or (
                self._is_halted and not isinstance(payload, Resume)
            )
            for view in self._views.values():
                view.is_ending = self._is_ending
                view.is_halted = self._is_halted

    def _take_gap(self, gap: Gap, now: int) -> None:
        """Take a gap; one in the depth stream only makes the book unusable until the next book.

        Any other gap is passed to the strategy. If trades are missing while bars are made from
        them, neither the open bar of the deciding interval nor the one in which the gap ends is
        made. Any other interval loses its bars only to a gap that is at least as long as a bar.
        `facts` then names what the strategy waits for: bars, or trades if it takes no bars; it
        keeps the last reason of a strategy of quotes alone.
        """
        watched = self._find(gap.symbol)
        watched.view._now = now
        if "depth" in gap.stream:
            watched.view.is_book_broken = True
            return
        try:
            watched.strategy.on_gap(gap, watched.view)
        except Exception as error:  # Stops the run: the same gap would raise it again.
            raise failure(error, self.chosen.path, watched.view) from error
        if "bookTicker" in gap.stream:
            return
        for builder in watched.builders:
            is_deciding = builder.interval == self.chosen.needs.intervals[0]
            if is_deciding or gap.to_ts - gap.from_ts >= builder.length_ms:
                builder.reset(gap.to_ts)
        needs = self.chosen.needs
        awaited = "bars" if needs.intervals else "trades" if needs.trades else ""
        if not awaited or (needs.symbols and gap.symbol not in needs.symbols):
            return
        # There is no decision until one comes, and the last reason is no longer true.
        reason = f"HOLD: waits for fresh {awaited} after a gap of {gap.to_ts - gap.from_ts} ms"
        watched.decision = decision_of(HOLD, 0, 0, WARMUP, reason, ())
        watched.decided_ts = now

    # --- state --------------------------------------------------------------------------------

    def state(self) -> JsonObject:
        """Return the whole state as canonical JSON values."""
        feeds = {name: one.to_json() for name, one in self._feeds.items() if one is not None}
        return {
            **({"feeds": feeds} if feeds else {}),
            **({} if self._scans is None else {"scans": self._scans.state()}),
            "is_ending": self._is_ending,
            "is_halted": self._is_halted,
            "signals": self._signals,
            "symbols": {
                symbol: watched.state() for symbol, watched in sorted(self._watched.items())
            },
        }

    def restore(self, state: JsonObject) -> None:
        """Take over what `state` described."""
        self._is_ending = state["is_ending"]
        self._is_halted = state["is_halted"]
        self._signals = state["signals"]
        if self._scans is not None:
            self._scans.restore(state["scans"])
        self._watched = {}
        self._views = {}
        self._feeds = dict.fromkeys(self.chosen.needs.feeds)
        for name, value in state.get("feeds", {}).items():
            self._feeds[name] = FeedValue(value["feed"], value["value"], value["value_ts"])
        self._found = None
        for symbol, watched_state in state["symbols"].items():
            self._find(symbol).restore(watched_state)

    def facts(self) -> JsonObject:
        """Return the reason of the last decision and the values of all symbols.

        Keys: `reason`, `reason_code`, `signals` (written so far), `decisions` by symbol: side,
        score, confidence, reason, reason_code, ts, `checks` (name to value) and `against`, the
        first check that failed. With a scanner
        also `ranked`: the best symbols of the last scan, the first one first.
        """
        last: JsonObject = {"reason": f"{HOLD}: {NO_ANSWER}", "reason_code": WARMUP, "ts": -1}
        decisions: JsonObject = {}
        for symbol, watched in sorted(self._watched.items()):
            if watched.decision is not None:
                decisions[symbol] = _decision_facts(watched.decision, watched.decided_ts)
                if watched.decided_ts > last["ts"]:
                    last = decisions[symbol]
        return {
            "decisions": decisions,
            "reason": last["reason"],
            "reason_code": last["reason_code"],
            "signals": self._signals,
            **({} if self._scans is None else {"ranked": self._scans.best(RANKED_SHOWN)}),
        }


def core_from_config(config: JsonObject) -> StrategyCore:
    """Return the core of a resolved config, before its first event.

    Raises:
        RunStop: CONFIG_INVALID, for an unknown strategy or contradicting parameters; else that of
            `own.failure`, if its `needs` fails.
    """
    return StrategyCore(choose(config), scans_of(CoreProfile.of(config).scanner))


def core_from_state(config: JsonObject, state: JsonObject) -> StrategyCore:
    """Return the core that `StrategyCore.state` described, under the same config."""
    core = core_from_config(config)
    core.restore(state)
    return core


def _weightier(one: Decision, other: Decision) -> Decision:
    """Return the answer to a trade that counts: a SELL, else an order, else the first."""
    if one.side == SELL or other.side == HOLD:
        return one
    return other if other.side == SELL or one.side == HOLD else one


def _id_of(item: Event | BarInput, seq: int) -> EventId:
    """Return the id of an input, line `seq` of `market_ticks`."""
    return item.ref(seq) if isinstance(item, BarInput) else named(item.id, item.run_id)


def _scan_messages(
    payloads: list[Payload], item: Event | BarInput, seq: int
) -> list[Message] | None:
    """Return the messages of a scan caused by an input; None without a scan."""
    if not payloads:
        return None
    cause, ts = _id_of(item, seq), item.ts
    return [
        ReportMessage.caused_by(cause, ts, seq, ordinal, payload, SIGNALS)
        for ordinal, payload in enumerate(payloads)
    ]


def _decision_facts(decision: Decision, ts: int) -> JsonObject:
    failed = next((check for check in decision.checks if check.passed is False), None)
    return {
        "against": None
        if failed is None
        else {"name": failed.name, "value": failed.value, "threshold": failed.threshold},
        "checks": {check.name: check.value for check in decision.checks},
        "confidence": decision.confidence,
        "reason": decision.reason,
        "reason_code": decision.reason_code,
        "score": decision.score,
        "side": decision.side,
        "ts": ts,
    }
