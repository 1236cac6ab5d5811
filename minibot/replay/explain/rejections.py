"""Rejections: how often each filter refused, and which one would have refused next.

Every decision of the strategy is recomputed, also a hold that was not recorded, and every answer of
risk is read. A decision lists all its checks: the first that failed refused it, and the next that
failed would have refused it had the first one passed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from minibot.cores.input_order import LoggedStep
from minibot.cores.protocol import Core
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import Counting, Window, replay_role
from minibot.events.model import (
    BLOCK,
    BUY,
    HOLD,
    SELL,
    Event,
    JsonObject,
    MarketTick,
    RiskAction,
    Signal,
)
from minibot.events.names import STRATEGY_ROLE
from minibot.events.reasons import (
    CONFLICTING,
    FEATURE_MISSING,
    INVARIANT_BROKEN,
    NO_INSTRUMENT,
    NO_POSITION,
    NO_SETUP,
    NOT_TRADING,
    OWN_HOLD,
    REASONS,
    WARMUP,
)
from minibot.kernel.errors import InvariantError
from minibot.replay.explain.checks import check_words, failed_checks
from minibot.replay.partial_run import PartialRun
from minibot.replay.time_arguments import Span
from minibot.risk.drafts import STOP
from minibot.strategies.core import StrategyCore
from minibot.strategies.decision import RELATIONS, Decision

SETUP: Final = "setup"
NOTHING: Final = "nothing else: it would have passed"
NO_RULE: Final = "no rule wanted to buy or sell"
NO_ANSWER: Final = "the strategy answered nothing in this time: no buy, no sell, no hold(...)"
UNREACHED: Final = "not known: later checks were not reached"
# Checks after these are not made: there is nothing to check them on.
UNASKED: Final = {
    **dict.fromkeys((NO_INSTRUMENT, NOT_TRADING, WARMUP, FEATURE_MISSING), UNREACHED),
    NO_SETUP: "next check not reached: no rule wanted to buy or sell",
    CONFLICTING: "next check not reached: the rules disagreed",
}
# Values that a rule reads; where one is not reached, the rule has no opinion: no refusal.
READINGS: Final = frozenset({"rsi", "momentum_bps", "return_bps", "reversion_bps", "atr_bps"})
# Side that a rule wants, by the threshold of its position check.
WISHES: Final = MappingProxyType({"flat": BUY, "long": SELL})
NEXT_SHOWN: Final = 4


@dataclass(slots=True)
class Rejections:
    """One reason to refuse: its count, its first and last time, and its last refusal in words.

    `following` counts the checks that would have refused next.
    """

    code: str
    count: int = 0
    first_ts: int = 0
    last_ts: int = 0
    example: str = ""
    following: Counter[str] = field(default_factory=Counter)

    def add(self, ts: int, example: str, following: str) -> None:
        """Count one."""
        self.count += 1
        self.first_ts = self.first_ts or ts
        self.last_ts = ts
        self.example = example
        self.following[following] += 1

    def to_json(self) -> JsonObject:
        """Return the reason as one JSON object."""
        meaning = REASONS.get(self.code)
        return {
            "reason_code": self.code,
            "meaning": None if meaning is None else meaning.meaning,
            "count": self.count,
            "first_ts": self.first_ts,
            "last_ts": self.last_ts,
            "last": self.example,
            "next": dict(self.following.most_common()),
        }


@dataclass(slots=True)
class WhyNot:
    """All refusals of a side in a window of the run."""

    side: str
    window: Window
    decisions: int = 0
    decided: int = 0
    other: Counter[str] = field(default_factory=Counter)
    strategy: dict[str, Rejections] = field(default_factory=dict)
    risk: dict[str, Rejections] = field(default_factory=dict)
    allowed: int = 0
    fills: int = 0

    def to_json(self) -> JsonObject:
        """Return the counts as one JSON object."""
        return {
            "side": self.side,
            "decisions": self.decisions,
            "decided": self.decided,
            "other_side": dict(self.other),
            "strategy": [item.to_json() for item in _ranked(self.strategy)],
            "risk": {
                "allowed": self.allowed,
                "refused": [item.to_json() for item in _ranked(self.risk)],
            },
            "fills": self.fills,
        }


class Asking:
    """Counter of every decision during the strategy's replay; a hook of `replay_role`."""

    def __init__(self, found: WhyNot, symbol: str | None) -> None:
        self._found = found
        self._symbol = symbol
        self._last: dict[str, tuple[Decision | None, int]] = {}

    def on_step(self, step: LoggedStep, core: Core, events: Sequence[tuple[str, Event]]) -> None:
        """Count the decision of the strategy on this input, if it made one."""
        if not isinstance(core, StrategyCore):
            raise InvariantError("replay", INVARIANT_BROKEN, "no strategy's core")
        payload = step.taken.event.payload
        symbol = payload.symbol if isinstance(payload, MarketTick) else None
        for name in sorted(core.watched) if symbol is None else (symbol,):
            watched = core.watched[name]
            answer = (watched.decision, watched.decided_ts)
            before = self._last.get(name)
            if before is None or answer[0] is not before[0]:
                self._last[name] = answer
                if answer[0] is not None and self._symbol in (None, name):
                    self._count(name, answer[0], step.taken.event.ts)

    def _count(self, symbol: str, decision: Decision, ts: int) -> None:
        found = self._found
        if not found.window.from_ms <= ts <= found.window.to_ms:
            return
        found.decisions += 1
        if decision.side == found.side:
            found.decided += 1
        elif decision.side != HOLD:
            found.other[decision.side] += 1
        else:
            self._count_hold(symbol, decision, ts)

    def _count_hold(self, symbol: str, decision: Decision, ts: int) -> None:
        found, code = self._found, decision.reason_code
        checks = [check.to_json() for check in decision.checks]
        # A user's check may be named position too, but is not that rule.
        wish = "" if code == OWN_HOLD else wish_of(checks)
        if wish and wish != found.side:
            found.other[_unmet(wish, code)] += 1
            return
        item = found.strategy.setdefault(code, Rejections(code))
        reason = decision.reason.removeprefix("HOLD: ")
        item.add(ts, f"{symbol}: {reason}", next_rejection(code, checks))


def _unmet(wish: str, code: str) -> str:
    text = f"wanted to {wish.lower()}"
    return f"{text}, but nothing was held" if code == NO_POSITION else f"{text}, refused: {code}"


def next_rejection(code: str, checks: Sequence[Mapping[str, Any]]) -> str:
    """Return the check that would have refused had the refusing check passed.

    Args:
        code: The reason to hold.
        checks: All checks of the decision, in order; after some filters none was made.
    """
    if code in UNASKED:
        return UNASKED[code]
    if code == OWN_HOLD:
        return _unmet_checks(checks)
    failed = [check for check in failed_checks(checks) if check["name"] not in READINGS]
    if len(failed) < 2:
        return NOTHING
    if failed[1]["name"] == SETUP:
        return NO_RULE
    return f"{failed[1]['name']} against {failed[1]['threshold']}"


def _unmet_checks(checks: Sequence[Mapping[str, Any]]) -> str:
    """Return the names of a user's failed checks, without numbers, which differ each time."""
    names = [
        f"{check['name']} {relation}" if relation in RELATIONS else str(check["name"])
        for check in failed_checks(checks)
        for relation in (str(check["threshold"]).partition(" ")[0],)
    ]
    return f"not met: {', '.join(names)}" if names else "no check of it failed"


def wish_of(checks: Sequence[Mapping[str, Any]]) -> str:
    """Return the side that a rule wanted, as its position check shows; empty for none."""
    for check in checks:
        if check["name"] == "position":
            return WISHES.get(str(check["threshold"]), "")
    return ""


def why_not(
    recorded: Recorded,
    side: str,
    window: Window,
    symbol: str | None = None,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> WhyNot:
    """Return how often each filter refused a side.

    Args:
        recorded: The run.
        side: BUY or SELL.
        window: The time to look at.
        symbol: Only this symbol; None for all.
        progress: Called now and then with the inputs processed and their total.

    Raises:
        IntegrityError: The window is not before the damage.
    """
    found = WhyNot(side, window)
    replay_role(
        recorded,
        STRATEGY_ROLE,
        on_step=Asking(found, symbol).on_step,
        on_taken=Counting(recorded, (STRATEGY_ROLE,), progress),
        window=Window(to_ms=window.to_ms),
        is_compared=False,
    )
    _ask_risk(recorded, found, symbol)
    return found


def _ask_risk(recorded: Recorded, found: WhyNot, symbol: str | None) -> None:
    """Count risk's answers to the signals of this side."""
    window, whole = found.window, PartialRun(recorded)
    signals = {
        event.id
        for _, event in whole.events("signals")
        if isinstance(event.payload, Signal)
        and event.payload.side == found.side
        and symbol in (None, event.payload.symbol)
        and window.from_ms <= event.ts <= window.to_ms
    }
    unanswered = set(signals)
    for _, event in whole.events("risk_actions"):
        action = event.payload
        if not isinstance(action, RiskAction) or action.signal_id not in signals:
            continue
        unanswered.discard(action.signal_id)
        if action.action not in (BLOCK, STOP):
            found.allowed += 1
            continue
        checks = [dict(check) for check in action.checks or ()]
        failed = failed_checks(checks)
        text = "".join(f" ({check_words(check)})" for check in failed[:1])
        item = found.risk.setdefault(action.reason_code, Rejections(action.reason_code))
        item.add(event.ts, f"{action.symbol}{text}", next_rejection(action.reason_code, checks))
    if unanswered:  # The answer may stand after the window, in the damaged part.
        whole.require_whole("risk_actions")
    for _, event in whole.events("fills"):
        payload = event.payload.to_json()
        is_inside = window.from_ms <= event.ts <= window.to_ms
        if is_inside and payload["side"] == found.side and symbol in (None, payload["symbol"]):
            found.fills += 1
    whole.require_until(window.to_ms)


def _ranked(refusals: dict[str, Rejections]) -> list[Rejections]:
    return sorted(refusals.values(), key=lambda item: (-item.count, item.code))


def why_not_lines(found: WhyNot, span: Span) -> list[str]:
    """Return the counts for people, the most frequent reason first."""
    begin = span.clock(max(found.window.from_ms, span.from_ms))
    end = span.clock(min(found.window.to_ms, span.to_ms))
    lines = [f"why not {found.side}, {begin} to {end}: {found.decisions:,} decisions"]
    lines.append(f"{found.decided:>7,}  {found.side}")
    if not found.decisions:
        lines.append(NO_ANSWER)
    lines += [f"{number:>7,}  {reason}" for reason, number in found.other.most_common()]
    for item in _ranked(found.strategy):
        lines += _refusal_lines(item, span)
    if found.decided:
        lines.append(f"risk allowed {found.allowed} of {found.decided}")
        for item in _ranked(found.risk):
            lines += _refusal_lines(item, span)
        filled = "fill" if found.fills == 1 else "fills"
        lines.append(f"{found.fills:>7,}  {filled} of {found.side}")
    return lines


def _refusal_lines(item: Rejections, span: Span) -> list[str]:
    lines = [f"{item.count:>7,}  {item.code:<20} last {span.clock(item.last_ts)}  {item.example}"]
    for name, number in item.following.most_common(NEXT_SHOWN):
        lines.append(f"           then {number:>7,}  {name}")
    return lines
