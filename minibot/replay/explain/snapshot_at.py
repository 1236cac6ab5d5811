"""Snapshot of one second: data, holdings and decisions of the bot, even if it did nothing.

The strategy's core is fed the recorded inputs up to the end of that second, so there is an answer
for every second, even if nothing was recorded in it; positions come from the fills.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from minibot.accounting.portfolio import Portfolio
from minibot.cores.input_order import LoggedStep
from minibot.cores.protocol import Core
from minibot.engine.portfolio_at import portfolio_after
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import Counting, RoleReplay, Window, replay_role
from minibot.events.decimals import unpadded
from minibot.events.model import (
    HOLD,
    Bar,
    Event,
    Fill,
    Halt,
    JsonObject,
    LockSymbol,
    OrderIntent,
    OrderResult,
    PositionPlan,
    Resume,
    RiskAction,
    Signal,
    StopJournal,
)
from minibot.events.money import amount_text
from minibot.events.names import STRATEGY_ROLE
from minibot.events.reasons import INVARIANT_BROKEN, REASONS
from minibot.kernel.errors import InvariantError
from minibot.replay.explain.causes import Explainer
from minibot.replay.explain.checks import check_line
from minibot.replay.explain.explanation import Step
from minibot.replay.explain.lines import event_text, levels_text, plain
from minibot.replay.time_arguments import Span
from minibot.strategies.core import NO_ANSWER, StrategyCore
from minibot.strategies.view import View

BARS_SHOWN: Final = 3
NO_TRADE: Final = "no trade: "
AHEAD: Final = "which was ahead of this run's"
UNITS: Final = {60_000: "minute", 1_000: "second", 1: "millisecond"}
OPEN_RESULTS: Final = frozenset({"ACCEPTED", "TRIGGERED", "PARTIALLY_FILLED"})


@dataclass(frozen=True, slots=True)
class SymbolSnapshot:
    """State of one symbol at the end of the second.

    `verdict` sums it up in one sentence: the fills of the second, if any, then the last decision.
    """

    symbol: str
    verdict: str
    saw: JsonObject
    held: JsonObject
    decided: JsonObject | None

    def to_json(self) -> JsonObject:
        """Return it as one JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SecondSnapshot:
    """Snapshot of each symbol and of the portfolio, with the events recorded in that second."""

    from_ms: int
    to_ms: int
    symbols: tuple[SymbolSnapshot, ...]
    cash: dict[str, str]
    steps: tuple[Step, ...]
    notes: tuple[str, ...]

    def to_json(self) -> JsonObject:
        """Return it as one JSON object."""
        return {
            "from_ms": self.from_ms,
            "to_ms": self.to_ms,
            "cash": self.cash,
            "symbols": [symbol.to_json() for symbol in self.symbols],
            "events": [step.to_json() for step in self.steps],
            "notes": list(self.notes),
        }


class Watching:
    """Recorder of the strategy's last view during its replay; a hook of `replay_role`."""

    def __init__(self) -> None:
        self.core: StrategyCore | None = None
        self.bars: dict[str, dict[str, deque[Bar]]] = {}

    def on_step(self, step: LoggedStep, core: Core, events: Sequence[tuple[str, Event]]) -> None:
        """Note an input."""
        if not isinstance(core, StrategyCore):
            raise InvariantError("replay", INVARIANT_BROKEN, "no strategy's core")
        self.core = core
        payload = step.taken.event.payload
        if isinstance(payload, Bar):
            kept = self.bars.setdefault(payload.symbol, {})
            kept.setdefault(payload.interval, deque(maxlen=BARS_SHOWN)).append(payload)


def snapshot_of_second(
    recorded: Recorded,
    explainer: Explainer,
    span: Span,
    at: tuple[int, int],
    symbols: Sequence[str],
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> SecondSnapshot:
    """Return a snapshot of the bot's data, holdings and decisions in a span of the run.

    Args:
        recorded: The run.
        explainer: The explainer of the same run.
        span: The span of the same run; formats times.
        at: From and to, Unix ms; states are those at the end.
        symbols: Only these symbols; all of them if empty.
        progress: Called now and then with the inputs processed and their total.

    Raises:
        IntegrityError: The time is not before the damage.
    """
    from_ms, to_ms = at
    before = explainer.until(to_ms)
    watching = Watching()
    result = RoleReplay(STRATEGY_ROLE)
    replay_role(
        recorded,
        STRATEGY_ROLE,
        on_step=watching.on_step,
        on_taken=Counting(recorded, (STRATEGY_ROLE,), progress),
        window=Window(to_ms=to_ms),
        result=result,
        is_compared=False,
    )
    portfolio = portfolio_after(recorded, (step.event for step in before))
    core = watching.core
    found = [
        _symbol(name, core, watching, portfolio, at, span, before)
        for name in (symbols or _known(recorded, core, portfolio))
        if core is not None
    ]
    return SecondSnapshot(
        from_ms=from_ms,
        to_ms=to_ms,
        symbols=tuple(found),
        cash=portfolio.opening_cash(),
        steps=tuple(
            step for step in before if step.event.ts >= from_ms and _is_about(step.event, symbols)
        ),
        notes=(
            *_stop_note(explainer.stop_until(to_ms), span),
            *_standing_orders(before, to_ms, span),
            *explainer.behind(),
        ),
    )


def _known(recorded: Recorded, core: StrategyCore | None, portfolio: Portfolio) -> list[str]:
    """Return the symbols of the profile, those whose ticks came, and those that are held."""
    watched = {} if core is None else core.watched
    ticked = sorted(name for name, each in watched.items() if each.view.tick.ts >= 0)
    return list(dict.fromkeys((*recorded.manifest.symbols, *ticked, *portfolio.symbols())))


def _symbol(
    name: str,
    core: StrategyCore | None,
    watching: Watching,
    portfolio: Portfolio,
    at: tuple[int, int],
    span: Span,
    before: Sequence[Step],
) -> SymbolSnapshot:
    from_ms, to_ms = at
    held: JsonObject = {
        "qty": amount_text(portfolio.position_qty(name)),
        "entry_price_avg": amount_text(portfolio.entry_price_avg(name)),
        "orders": _open_orders(name, before),
        "levels": _levels(name, before),
    }
    if core is None or name not in core.watched:
        return SymbolSnapshot(name, "no market data yet", {}, held, None)
    watched = core.watched[name]
    view, decision, decided_ts = watched.view, watched.decision, watched.decided_ts
    decided: JsonObject | None = None
    if decision is not None:
        decided = {
            "ts": decided_ts,
            "at": span.clock(decided_ts),
            "side": decision.side,
            "score": decision.score,
            "confidence": decision.confidence,
            "reason_code": decision.reason_code,
            "reason": decision.reason,
            "checks": [check.to_json() for check in decision.checks],
        }
    verdict = _verdict(decided, name, before)
    # Risk may exit while the strategy says HOLD, and a fill comes later than its order.
    if fills := _fills_in(before, name, from_ms):
        verdict = f"traded: {', '.join(fills)}; last decision: {verdict.removeprefix(NO_TRADE)}"
    return SymbolSnapshot(
        name, verdict, _saw(view, watching.bars.get(name, {}), to_ms), held, decided
    )


def _saw(view: View, bars: dict[str, deque[Bar]], to_ms: int) -> JsonObject:
    if view.tick_ts < 0:
        return {"touch": None, "bars": _bars(bars)}
    return {
        "touch": {
            "bid": repr(view.bid),
            "bid_qty": repr(view.bid_qty),
            "ask": repr(view.ask),
            "ask_qty": repr(view.ask_qty),
        },
        "price": repr(view.price),
        "tick_ts": view.tick_ts,
        "age_ms": to_ms - view.tick_ts,
        "book_usable": not view.is_book_broken,
        "status": view.status or None,
        "run_ending": view.is_ending,
        "bars": _bars(bars),
    }


def _bars(bars: dict[str, deque[Bar]]) -> JsonObject:
    return {interval: [bar.to_json() for bar in kept] for interval, kept in sorted(bars.items())}


def _verdict(decided: JsonObject | None, symbol: str, before: Sequence[Step]) -> str:
    """Return the outcome of the last decision, in one sentence."""
    if decided is None:
        return f"{NO_TRADE}{NO_ANSWER}"
    reason = str(decided["reason"])
    if decided["side"] == HOLD:
        return f"{NO_TRADE}{reason.removeprefix('HOLD: ')}"
    signal = next(
        (
            step.event
            for step in reversed(before)
            if isinstance(step.event.payload, Signal)
            and step.event.payload.symbol == symbol
            and step.event.payload.side == decided["side"]
        ),
        None,
    )
    action = None if signal is None else _action_on(signal, before)
    if action is None:
        return f"{reason}; risk had not answered"
    if action.action == "BLOCK":
        meaning = REASONS.get(action.reason_code)
        why = action.reason_code if meaning is None else meaning.meaning
        return f"{NO_TRADE}the strategy decided {decided['side']}, risk refused: {why}"
    return f"{reason}; risk: {action.action} {action.reason_code}"


def _fills_in(before: Sequence[Step], symbol: str, from_ms: int) -> list[str]:
    """Return the fills of a symbol from a moment on, each in a few words."""
    return [
        f"{fill.side} {fill.qty} at {fill.price}"
        for step in before
        if step.event.ts >= from_ms
        and isinstance(fill := step.event.payload, Fill)
        and fill.symbol == symbol
    ]


def _action_on(signal: Event, before: Sequence[Step]) -> RiskAction | None:
    for step in reversed(before):
        payload = step.event.payload
        if isinstance(payload, RiskAction) and payload.signal_id == signal.id:
            return payload
    return None


def _open_orders(symbol: str, before: Sequence[Step]) -> list[str]:
    """Return the orders that were open, each in words."""
    is_open: dict[str, bool] = {}
    words: dict[str, str] = {}
    for step in before:
        payload = step.event.payload
        if isinstance(payload, OrderIntent) and payload.symbol == symbol:
            words[payload.client_order_id] = event_text(step.event)
        elif isinstance(payload, OrderResult) and payload.symbol == symbol:
            is_open[payload.client_order_id] = payload.result in OPEN_RESULTS
    return [words.get(name, name) for name, still in is_open.items() if still]


def _levels(symbol: str, before: Sequence[Step]) -> JsonObject | None:
    """Return the levels of a position that risk last reported; None without position or plan."""
    for step in reversed(before):
        plan = step.event.payload
        if isinstance(plan, PositionPlan) and plan.symbol == symbol:
            is_open = plan.original_qty is not None
            return {"ts": step.event.ts, **plan.to_json()} if is_open else None
    return None


def _stop_note(stop: Event | None, span: Span) -> list[str]:
    """Return since when a STOP was in force; empty before it."""
    if stop is None or not isinstance(stop.payload, StopJournal):
        return []
    record = stop.payload
    since = f"STOPPED since {span.clock(stop.ts)}, no order passes: {record.reason_code}"
    return [plain(f"{since} by {record.component}: {record.detail}")]


def _standing_orders(before: Sequence[Step], to_ms: int, span: Span) -> list[str]:
    """Return the operator's orders that were in force by then, such as a halt."""
    halted = ""
    locked: dict[str, str] = {}
    for step in before:
        event, payload = step.event, step.event.payload
        if isinstance(payload, Halt):
            halted = f"entries were halted since {span.clock(event.ts)} by {payload.who}"
            halted += f": {payload.why}"
        elif isinstance(payload, Resume):
            halted = ""
        elif isinstance(payload, LockSymbol):
            until, symbol = payload.until_ts, payload.symbol
            locked.pop(symbol, None)  # The last order about a symbol counts.
            if until is None or until > to_ms:
                locked[symbol] = f"{symbol} was locked by {payload.who}: {payload.why}"
    return [plain(note) for note in (halted, *locked.values()) if note]


def _is_about(event: Event, symbols: Sequence[str]) -> bool:
    symbol = event.payload.to_json().get("symbol")
    return not symbols or symbol is None or symbol in symbols


# --- words ------------------------------------------------------------------------------------


def snapshot_lines(second: SecondSnapshot, span: Span) -> list[str]:
    """Return a second for people: the verdict of each symbol, then its grounds."""
    lines = [f"at {span.clock(second.to_ms)}"]
    for item in second.symbols:
        lines += ["", f"{item.symbol}: {item.verdict}", *_saw_lines(item.saw, span, second.to_ms)]
        lines.append(_held_line(item.held))
        if levels := item.held["levels"]:
            sentence = span.clock(levels["ts"])
            lines.append(f"            left at: {levels_text(levels)}; so since {sentence}")
        lines += [f"    open order: {order}" for order in item.held["orders"]]
        lines += _decided_lines(item.decided, second.to_ms)
    cash = ", ".join(
        f"{text.rstrip('0').rstrip('.')} {asset}" for asset, text in second.cash.items()
    )
    lines += ["", f"cash {cash}", *second.notes]
    unit = UNITS.get(second.to_ms + 1 - second.from_ms, "time")
    if not second.steps:
        return [*lines, f"nothing new was recorded in this {unit}"]
    lines.append(f"recorded in this {unit}:")
    for step in second.steps:
        lines.append(f"  {step.place}  {span.clock(step.event.ts)}  {step.event.type}")
        lines.append(f"    {event_text(step.event)}")
    return lines


def _saw_lines(saw: JsonObject, span: Span, to_ms: int) -> list[str]:
    touch = saw.get("touch")
    if not touch:
        return ["  saw       no tick yet"]
    lines = [
        f"  saw       bid {touch['bid']} x {touch['bid_qty']}, ask {touch['ask']} x "
        f"{touch['ask_qty']}; last price {saw['price']}; tick {saw['age_ms']} ms old"
    ]
    for interval, bars in saw["bars"].items():
        bar: dict[str, Any] = bars[-1]
        # A bar ends by the exchange's clock, which may be ahead: this is no look-ahead.
        whose = f" by the exchange's clock, {AHEAD}" if bar["close_ts"] > to_ms else ""
        lines.append(
            f"            {interval} bar closed {span.clock(bar['close_ts'])}{whose}: "
            f"open {unpadded(bar['open'])} high {unpadded(bar['high'])} low {unpadded(bar['low'])} "
            f"close {unpadded(bar['close'])} volume {unpadded(bar['volume'])}"
        )
    if not saw["book_usable"]:
        lines.append("            the book was not usable")
    return lines


def _held_line(held: JsonObject) -> str:
    if held["qty"].strip("0.") == "":
        return "  held      nothing"
    average = unpadded(held["entry_price_avg"])
    return f"  held      {unpadded(held['qty'])} bought at {average} on average"


def _decided_lines(decided: JsonObject | None, to_ms: int) -> list[str]:
    if decided is None:
        return ["  decided   nothing yet"]
    line = f"  decided   {decided['side']} at {decided['at']} ({decided['reason_code']})"
    if (late_ms := decided["ts"] - to_ms) > 0:
        line += f", {late_ms / 1000:,.1f} s behind: the strategy was that late"
    if decided["score"] or decided["confidence"]:
        line += f", score {decided['score']}, confidence {decided['confidence']}"
    return [line] + [f"            {check_line(check)}" for check in decided["checks"]]
