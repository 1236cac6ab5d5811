"""The strategy's core: events in, signals out; pure and deterministic.

It keeps a view of each symbol up to date and asks the strategy at each closed live bar of
`strategy.bar_interval` (with `strategy.bars_from_ticks`: at each such bar that the trades
themselves close; then live `bar` events are left out). BUY and SELL become signals at once. A HOLD
becomes a signal only when its reason code differs from the last one written, at most once a second
of market time per symbol; `facts` shows the current reason with its values always.

Bars of history feed indicators and nothing else. The position is known from `run_opening` and
`fills`, which the strategy therefore declares as inputs.
"""

from __future__ import annotations

from typing import Final, Protocol

from minibot.events.model import (
    HOLD,
    Bar,
    Book,
    Draft,
    Event,
    Fill,
    Gap,
    Instrument,
    JsonObject,
    MarketTick,
    RunEnding,
    RunOpening,
    Signal,
)
from minibot.events.reasons import WARMUP
from minibot.kernel.errors import RunStop
from minibot.strategies import nore_strategy_v1
from minibot.strategies.nore_strategy_v1 import Decision, NoreStrategyV1
from minibot.strategies.parameters import StrategyParameters
from minibot.strategies.symbol_view import SymbolView

SIGNALS: Final = "signals"
HOLD_INTERVAL_MS: Final = 1_000
WAITING: Final = "HOLD: waits for the first bar"


class Strategy(Protocol):
    """What a strategy has to offer; it keeps no state of its own."""

    def decide(self, view: SymbolView, now: int, *, is_ending: bool) -> Decision:
        """Return the decision about one symbol at market time `now` (ms)."""
        ...


class StrategyCore:
    """State plus one function from an event to drafts of signals."""

    def __init__(self, parameters: StrategyParameters) -> None:
        """Start before the first event.

        Raises:
            RunStop: CONFIG_INVALID, for a strategy that does not exist.
        """
        self.parameters: StrategyParameters = parameters
        self._strategy: Strategy = _strategy(parameters)
        self._views: dict[str, SymbolView] = {}
        self._is_ending: bool = False
        self._signals: int = 0
        self._said: JsonObject = {}

    def step(self, queue: str, seq: int, event: Event, now: int) -> list[Draft]:
        """Take one event at market time `now` (ms); return the signals that follow from it."""
        payload = event.payload
        if isinstance(payload, MarketTick):
            view = self._view(payload.symbol)
            view.on_touch(payload, event.ts)
            if (
                self.parameters.bars_from_ticks
                and payload.kind == "trade"
                and view.on_trade(payload, event.ts)
            ):
                return self._decide(view, seq, event, now)
        elif isinstance(payload, Bar):
            if self.parameters.bars_from_ticks and not payload.is_history:
                return []
            view = self._view(payload.symbol)
            if view.on_bar(payload) and not payload.is_history:
                return self._decide(view, seq, event, now)
        else:
            self._take_rare(event, now)
        return []

    def _take_rare(self, event: Event, now: int) -> None:
        payload = event.payload
        if isinstance(payload, Book):
            self._view(payload.symbol).on_book(payload)
        elif isinstance(payload, Gap):
            self._take_gap(payload, now)
        elif isinstance(payload, Instrument):
            self._view(payload.symbol).on_instrument(payload)
        elif isinstance(payload, Fill):
            self._view(payload.symbol).on_fill(payload, now)
        elif isinstance(payload, RunOpening):
            for lot in payload.lots:
                self._view(lot["symbol"]).position.add_lot(lot["qty"])
        elif isinstance(payload, RunEnding):
            self._is_ending = True

    def _take_gap(self, gap: Gap, now: int) -> None:
        view = self._view(gap.symbol)
        if not view.on_gap(gap, bars_from_ticks=self.parameters.bars_from_ticks):
            return
        # Until the next bar nobody decides, and the reason of the last one is no longer true.
        self._said[gap.symbol] = {
            "checks": {},
            "confidence": 0,
            "reason": f"HOLD: waits for fresh bars after a gap of {gap.to_ts - gap.from_ts} ms",
            "reason_code": WARMUP,
            "score": 0,
            "side": HOLD,
            "ts": now,
        }

    def _view(self, symbol: str) -> SymbolView:
        view = self._views.get(symbol)
        if view is None:
            view = self._views[symbol] = SymbolView(symbol, self.parameters)
        return view

    def _decide(self, view: SymbolView, seq: int, event: Event, now: int) -> list[Draft]:
        decision = self._strategy.decide(view, now, is_ending=self._is_ending)
        self._said[view.symbol] = {
            "checks": {check.name: check.value for check in decision.checks},
            "confidence": decision.confidence,
            "reason": decision.reason,
            "reason_code": decision.reason_code,
            "score": decision.score,
            "side": decision.side,
            "ts": now,
        }
        if decision.side == HOLD and (
            decision.reason_code == view.said_code or now - view.said_hold_ts < HOLD_INTERVAL_MS
        ):
            return []
        view.on_said(decision.side, decision.reason_code, now)
        self._signals += 1
        signal = Signal(
            symbol=view.symbol,
            side=decision.side,
            score=decision.score,
            confidence=decision.confidence,
            horizon_ms=self.parameters.horizon_ms,
            reason=decision.reason,
            reason_code=decision.reason_code,
            checks=decision.checks,
            strategy=self.parameters.name,
            params_hash=self.parameters.params_hash,
        )
        return [Draft(SIGNALS, signal, event.ts, (event.id,), seq)]

    def state(self) -> JsonObject:
        """Return the whole state as canonical JSON values."""
        return {
            "is_ending": self._is_ending,
            "said": {symbol: dict(said) for symbol, said in sorted(self._said.items())},
            "signals": self._signals,
            "views": {symbol: view.state() for symbol, view in sorted(self._views.items())},
        }

    def restore(self, state: JsonObject) -> None:
        """Take over what `state` described."""
        self._is_ending = state["is_ending"]
        self._signals = state["signals"]
        self._said = {symbol: dict(said) for symbol, said in state["said"].items()}
        self._views = {}
        for symbol, view_state in state["views"].items():
            self._view(symbol).restore(view_state)

    def facts(self) -> JsonObject:
        """Return the current reason (of the symbol decided on last) and all symbols' values.

        Keys: `reason`, `reason_code`, `signals` (written so far), `decisions` by symbol: side,
        score, confidence, reason, reason_code, ts and `checks` (name to value).
        """
        last: JsonObject = {"reason": WAITING, "reason_code": WARMUP, "ts": -1}
        for symbol in sorted(self._said):
            if self._said[symbol]["ts"] > last["ts"]:
                last = self._said[symbol]
        return {
            "decisions": {symbol: dict(said) for symbol, said in sorted(self._said.items())},
            "reason": last["reason"],
            "reason_code": last["reason_code"],
            "signals": self._signals,
        }


def core_from_config(config: JsonObject) -> StrategyCore:
    """Return the core of a resolved config, before its first event.

    Raises:
        RunStop: CONFIG_INVALID, for an unknown strategy or contradicting parameters.
    """
    return StrategyCore(StrategyParameters.from_config(config))


def core_from_state(config: JsonObject, state: JsonObject) -> StrategyCore:
    """Return the core that `StrategyCore.state` described, under the same config."""
    core = core_from_config(config)
    core.restore(state)
    return core


def _strategy(parameters: StrategyParameters) -> Strategy:
    if parameters.name == nore_strategy_v1.NAME:
        return NoreStrategyV1(parameters)
    raise RunStop(
        "strategy_role",
        "CONFIG_INVALID",
        f"strategy.name: expected {nore_strategy_v1.NAME}, found {parameters.name}",
    )
