"""Comparison of two passes over the same or another market, and where they diverge.

`rerun_with` compares a recorded run under its own profile with the same run under a changed one,
both in rule order (`rule_order`): a record has no arrival order of events that it does not hold.
`diff_runs` compares the decisions of two nights over the time that both saw. Runs are only read.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, NamedTuple

from minibot.accounting.market_projection import MarketProjection, by_tick
from minibot.accounting.performance import Performance
from minibot.cores.core_profile import CoreProfile
from minibot.engine.decisions import DecisionDigest, decided
from minibot.engine.field_differences import differing_fields
from minibot.engine.lookup import event_at, last_event
from minibot.engine.portfolio_at import portfolio_at
from minibot.engine.recorded_run import Recorded
from minibot.events.model import (
    HOLD,
    Event,
    JsonObject,
    MarketTick,
    Payload,
    RunOpening,
    Signal,
)
from minibot.events.names import TICKS
from minibot.kernel import canonical
from minibot.kernel.errors import Refusal
from minibot.replay.rule_order import DerivedEvent, rule_order, states_before, world
from minibot.runtime.configuration.config import config_with, with_later_keys
from minibot.strategies.selection import judge

# Fields in which two events have to agree to be the same decision: the wish or act, and its reason
# code. The digest of a side covers more: every field but ids (`engine.decisions`).
DECIDES: Final = (
    *("symbol", "side", "action", "purpose", "order_type", "limit_price"),
    *("stop_price", "target_price", "trailing_delta"),
    *("trail_distance", "trail_bps", "trail_atr", "notional", "share_bps"),
    *("result", "qty", "price", "fee", "reason_code"),
)
CORE_KEYS: Final = frozenset({"duration_ms", "seed", *(each.name for each in fields(CoreProfile))})
"""Sections and keys of a profile that cores read."""
RECORDED: Final = frozenset({"portfolio.cash", "portfolio.close_market_ms"})
"""Keys of such sections that only the launcher reads: what came of them is in the record."""
DERIVED: Final = ("signals", "risk_actions", "order_intents", "fills", "order_results")

Progress = Callable[[int, int], None]


class Side(NamedTuple):
    """One of the two passes: its decisions in order, and their results.

    Attributes:
        stop: As in `RulePass`; empty for a side read from a record, also of a stopped night.
    """

    name: str
    derived: Sequence[DerivedEvent]
    performance: Performance
    digest: str
    stop: str = ""

    def figures(self) -> JsonObject:
        """Return the pass's counts by queue and side, and its key figures."""
        queues = Counter(event.queue for event in self.derived)
        sides = Counter(
            event.event.payload.side
            for event in self.derived
            if isinstance(event.event.payload, Signal)
        )
        known = self.performance.to_json()
        names = ("equity", "pnl", "fees", "drawdown_max", "round_trips", "wins", "losses")
        return {
            **{queue: queues[queue] for queue in DERIVED},
            **{f"signals_{side.lower()}": sides[side] for side in ("BUY", "SELL", "HOLD")},
            **{name: known[name] for name in names},
            "stop": self.stop or None,
        }


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first place where two sides differ; None for a side that has ended.

    Attributes:
        index: Number of equal events before it.
        fields: By path, both values of each field that differs.
        states: By path, how the cores' states differed before it; empty if not computed.
    """

    index: int
    one: DerivedEvent | None
    other: DerivedEvent | None
    fields: Mapping[str, tuple[Any, Any]]
    states: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def ts(self) -> int:
        """Market time of the earlier of the two events, Unix ms."""
        return min(derived.event.ts for derived in (self.one, self.other) if derived is not None)

    def to_json(self) -> JsonObject:
        """Return it as JSON."""
        return {
            "alike_before": self.index,
            "ts": self.ts,
            "one": None if self.one is None else _place(self.one),
            "other": None if self.other is None else _place(self.other),
            "fields": _pairs(self.fields),
            "state_before": _pairs(self.states),
        }


@dataclass(frozen=True, slots=True)
class Diff:
    """Two sides compared.

    Attributes:
        changed: By dotted key, the two values of the profile.
        market: A sentence that compares the markets of both.
        decision: The first decision that differs.
        value: The first event that differs in any value, even if no decision changed with it.
        span: First and last market time that both saw, Unix ms, which bounds the comparison; None
            if that is the whole of both.
    """

    one: Side
    other: Side
    changed: Mapping[str, tuple[Any, Any]]
    market: str
    decision: Divergence | None
    value: Divergence | None
    span: tuple[int, int] | None = None

    @property
    def is_same(self) -> bool:
        """True when both decided the same."""
        return self.decision is None

    @property
    def idle(self) -> list[str]:
        """Changed keys that no core reads, so that one recorded run shows no effect of them."""
        return [
            name
            for name in self.changed
            if name in RECORDED or name.partition(".")[0] not in CORE_KEYS
        ]

    def to_json(self) -> JsonObject:
        """Return the comparison as JSON."""
        return {
            "one": {"name": self.one.name, "digest": self.one.digest, **self.one.figures()},
            "other": {"name": self.other.name, "digest": self.other.digest, **self.other.figures()},
            "same_decisions": self.is_same,
            "changed": _pairs(self.changed),
            "market": self.market,
            "span": self.span and {"from_ts": self.span[0], "to_ts": self.span[1]},
            "first_decision": None if self.decision is None else self.decision.to_json(),
            "first_value": None if self.value is None else self.value.to_json(),
        }


def _place(derived: DerivedEvent) -> JsonObject:
    return {"queue": derived.queue, "seq": derived.seq, "event": derived.event.to_json()}


def _pairs(fields: Mapping[str, tuple[Any, Any]]) -> JsonObject:
    return {name: {"one": one, "other": other} for name, (one, other) in fields.items()}


# --- another profile ------------------------------------------------------------------------------


def rerun_with(
    recorded: Recorded, sets: Iterable[str], progress: Progress = lambda done, whole: None
) -> Diff:
    """Return a comparison of a recorded run under its own profile with a changed one.

    Args:
        recorded: The run; it is only read.
        sets: Texts `section.key=value`.
        progress: Called with the progress of each of the two passes.

    Raises:
        ConfigError: The changes make no valid profile.
        IntegrityError: A recorded line is damaged.
        RunStop: A core found something that cannot be.
    """
    own = recorded.manifest.config
    altered = config_with(own, sets)
    judge(altered.raw, altered.given)
    other = altered.raw
    sides = []
    for name, config in (("as it was, in rule order (nobody late)", own), ("changed", other)):
        done = rule_order(recorded, config, progress)
        sides.append(Side(name, done.derived, done.performance, done.digest, done.stop))
    decision = diverging(sides[0].derived, sides[1].derived, _decision)
    if decision is not None:
        root = min(
            derived.root for derived in (decision.one, decision.other) if derived is not None
        )
        states = [states_before(recorded, config, root) for config in (own, other)]
        decision = _with_states(decision, differing_fields(*states))
    value = diverging(sides[0].derived, sides[1].derived, comparable)
    changed = differing_fields(with_later_keys(own), with_later_keys(other))
    market = "the same: both saw the recorded one"
    return Diff(sides[0], sides[1], changed, market, decision, value)


def _with_states(found: Divergence, states: Mapping[str, tuple[Any, Any]]) -> Divergence:
    return Divergence(found.index, found.one, found.other, found.fields, states)


# --- another night --------------------------------------------------------------------------------


def diff_runs(
    one: Recorded, other: Recorded, progress: Progress = lambda done, whole: None
) -> Diff:
    """Return a comparison of two nights' decisions over the market time that both saw.

    Raises:
        IntegrityError: A recorded line is damaged.
        Refusal: They have no time in common.
    """
    spans = [span_of(recorded) for recorded in (one, other)]
    begin, end = max(span[0] for span in spans), min(span[1] for span in spans)
    if begin > end:
        raise Refusal(
            f"{one.manifest.run_id} and {other.manifest.run_id} have no market time in common.",
            "Compare runs of the same market; figures side by side: minibot report.",
        )
    sides, markets = [], []
    for recorded in (one, other):
        side, market = recorded_side(recorded, begin, end, progress)
        sides.append(side)
        markets.append(market)
    return Diff(
        sides[0],
        sides[1],
        differing_fields(
            with_later_keys(one.manifest.config), with_later_keys(other.manifest.config)
        ),
        _market_text(markets[0], markets[1]),
        diverging(sides[0].derived, sides[1].derived, _decision),
        diverging(sides[0].derived, sides[1].derived, comparable),
        None if spans[0] == spans[1] else (begin, end),
    )


class Market(NamedTuple):
    """Ticks of a night in a span: their number, and a hash over `_tick_text` of each."""

    ticks: int
    digest: str


def _market_text(one: Market, other: Market) -> str:
    if one == other:
        return f"the same: {one.ticks:,} ticks"
    return f"another one: {one.ticks:,} and {other.ticks:,} ticks in the time that both saw"


def span_of(recorded: Recorded) -> tuple[int, int]:
    """Return the time of a run's first and last market event, Unix ms; (0, -1) without any."""
    first, last = event_at(recorded, TICKS, 1), last_event(recorded, TICKS)
    return (0, -1) if first is None or last is None else (first.ts, last.ts)


def recorded_side(
    recorded: Recorded, begin: int, end: int, progress: Progress
) -> tuple[Side, Market]:
    """Return the events that a night derived between two moments, and its market there.

    Raises:
        IntegrityError: A recorded line is damaged.
    """
    found = _derived(recorded, begin, end)
    performance = Performance(_opening_at(recorded, begin), recorded.quote_asset)
    fills = by_tick(derived.event for derived in found)
    market = _market(recorded, MarketProjection(performance, fills), (begin, end), progress)
    return Side(recorded.manifest.run_id, found, performance, _digest(found)), market


def decision_digest(recorded: Recorded) -> str:
    """Return the digest over all decisions of a night, as a comparison of nights prints it.

    Raises:
        IntegrityError: A recorded line is damaged.
    """
    return _digest(_derived(recorded, *span_of(recorded)))


def _derived(recorded: Recorded, begin: int, end: int) -> list[DerivedEvent]:
    return _in_order(
        [
            DerivedEvent(queue, seq, event, 0, 0)
            for queue in DERIVED
            for seq, event in recorded.events(queue)
            if begin <= event.ts <= end
        ]
    )


def _digest(found: Iterable[DerivedEvent]) -> str:
    digest = DecisionDigest()
    for derived in found:
        digest.add(derived.queue, derived.seq, derived.event)
    return digest.hex


def _in_order(found: list[DerivedEvent]) -> list[DerivedEvent]:
    """Return a night's events in the order of their market events, causes before effects.

    An event that follows only from an operator's order comes after those derived by then.
    """
    places: dict[str, int] = {}
    last = 0
    for derived in sorted(found, key=lambda one: one.event.ts):
        place = derived.event.tick_seq
        last = max(last, place or 0)
        places[derived.event.id] = last if place is None else place
    return sorted(found, key=lambda one: places[one.event.id])


def _opening_at(recorded: Recorded, begin: int) -> RunOpening:
    """Return the opening from which a night can be recounted from a moment on."""
    portfolio = portfolio_at(recorded, begin - 1)
    return RunOpening(portfolio.opening_cash(), tuple(portfolio.opening_lots()), budgets_used={})


def _market(
    recorded: Recorded,
    market: MarketProjection,
    span: tuple[int, int],
    progress: Progress,
) -> Market:
    """Fold the market of a span and the fills that go back to it."""
    total = hashlib.sha256()
    whole = recorded.lines(TICKS).reader.head().lines
    last = 0
    for queue, seq, event in world(recorded):
        if queue == TICKS:
            last = seq
            if span[0] <= event.ts <= span[1]:
                market.take(seq, event)
                if isinstance(event.payload, MarketTick):
                    total.update(_tick_text(event.payload))
        if seq % 4096 == 0:
            progress(seq, whole)
    market.book_before(last + 1)
    return Market(market.types[MarketTick.TYPE], total.hexdigest())


def _tick_text(tick: MarketTick) -> bytes:
    """Return a tick's market, kind, prices, quantities and trade id as text; no time, no taker."""
    parts = (tick.symbol, tick.kind, tick.price, tick.qty, tick.bid, tick.bid_qty, tick.ask)
    return "|".join(map(str, (*parts, tick.ask_qty, tick.trade_id))).encode() + b"\n"


# --- comparing ------------------------------------------------------------------------------------


def comparable(event: Event) -> JsonObject:
    """Return an event's content, checks by name, without fields that differ in any two runs."""
    decision = decided(event)
    if isinstance(decision.get("checks"), (list, tuple)):
        decision["checks"] = {check["name"]: check["value"] for check in decision["checks"]}
    return {"type": event.type, **decision}


def _decision(event: Event) -> JsonObject:
    """Return the type and the deciding fields of an event; a hold has no validity to decide on."""
    payload = event.payload
    decision = {"type": event.type, **decision_fields(payload)}
    if isinstance(payload, Signal) and payload.side != HOLD:
        decision["horizon_ms"] = payload.horizon_ms
    return decision


def decision_fields(payload: Payload) -> JsonObject:
    """Return the deciding fields of a payload."""
    fields = payload.to_json()
    return {name: fields[name] for name in DECIDES if fields.get(name) is not None}


def diverging(
    one: Sequence[DerivedEvent], other: Sequence[DerivedEvent], view: Callable[[Event], JsonObject]
) -> Divergence | None:
    """Return the first place where a view of two sequences' events differs; None if nowhere."""
    for index, (first, second) in enumerate(zip(one, other, strict=False)):
        seen = view(first.event), view(second.event)
        if canonical.encode(seen[0]) != canonical.encode(seen[1]):
            fields = differing_fields(comparable(first.event), comparable(second.event))
            return Divergence(index, first, second, fields)
    common = min(len(one), len(other))
    if len(one) == len(other):
        return None
    alone = one[common] if len(one) > common else None
    return Divergence(common, alone, None if alone else other[common], {})
