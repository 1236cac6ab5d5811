"""Parity of a night and its backtest, event by event, with the cause of each difference.

Two comparisons. In recorded order (`joint_replay`) every event has to be the same, byte for byte;
anything else is a fault. Rule order assumes that no event overtakes another and that no role is
late; the night's input logs give each difference from it the first class that fits:

* `arrival_order`: before a signal, an intent or a fill, a role had processed market events that
  rule order gives it only afterwards.
* `delay`: a role processed an event later than the event's own time, so an age is greater.
* `follows`: neither; an earlier difference has led to another state. An event that the night lacks
  is counted here too, as it has no inputs whose order or delay could be looked up.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from minibot.engine.field_differences import differing_fields
from minibot.engine.joint_replay import Intake, Made, Together, run_together
from minibot.engine.recorded_run import Recorded
from minibot.events.model import Event, JsonObject
from minibot.events.money import amount_text
from minibot.replay.compare import describe
from minibot.replay.diff import Side, comparable, decision_fields, recorded_side, span_of
from minibot.replay.rule_order import DerivedEvent, RulePass, rule_order

ARRIVAL_ORDER: Final = "arrival_order"
DELAY: Final = "delay"
FOLLOWS: Final = "follows"
CLASSES: Final[Mapping[str, str]] = {
    ARRIVAL_ORDER: "a role had gone further in the market than what it answered",
    DELAY: "a role took an event later than at its own time",
    FOLLOWS: "an earlier difference has led here",
}
# The same decision on another tick may come this much earlier or later in market time.
APART_MS_MAX: Final = 10_000

PASSES: Final = 3
"""Passes over the night: in recorded order, in rule order, and for its own figures."""

Progress = Callable[[int, int], None]


class Pair(NamedTuple):
    """Pair of decisions to compare: one of the night, one of rule order."""

    night: Made | None
    rule: DerivedEvent | None


@dataclass(frozen=True, slots=True)
class Deviation:
    """One event in which rule order and night differ, with the cause attributed to it."""

    pair: Pair
    kind: str
    role: str
    intake: Intake
    fields: Mapping[str, tuple[Any, Any]]

    def to_json(self) -> JsonObject:
        """Return the deviation as JSON; each field has the values of night and rule order."""
        one = self.pair.night or self.pair.rule
        event = one.event if one is not None else None
        return {
            "queue": "" if one is None else one.queue,
            "night": None if self.pair.night is None else self.pair.night.seq,
            "rule": None if self.pair.rule is None else self.pair.rule.seq,
            "ts": 0 if event is None else event.ts,
            "what": "" if event is None else summary_of(event),
            "class": self.kind,
            "role": self.role,
            "events_overtaken": self.intake.lag,
            "delay_ms": self.intake.delay_ms,
            "fields": {
                name: {"night": one, "rule": two} for name, (one, two) in self.fields.items()
            },
        }


@dataclass(slots=True)
class RuleParity:
    """Comparison of a night with rule order: the events that are equal, and the deviations."""

    done: RulePass
    same: Counter[str] = field(default_factory=Counter)
    deviations: list[Deviation] = field(default_factory=list)

    @property
    def classes(self) -> Counter[str]:
        """Number of deviations by class."""
        return Counter(one.kind for one in self.deviations)


class Cost(NamedTuple):
    """Result of the night minus that of rule order, in hundred-millionths of the quote asset.

    Attributes:
        total: Difference of the whole result; negative if the night earned less.
        trades: Difference of each closed trade whose results differ, by its number in the order of
            closing; empty where night and rule order closed different numbers of trades.
    """

    total: int
    trades: Mapping[int, int]

    def to_json(self) -> JsonObject:
        """Return the cost as JSON, amounts as decimal strings."""
        trades = {str(n): amount_text(value) for n, value in self.trades.items()}
        return {"total": amount_text(self.total), "trades": trades}


@dataclass(slots=True)
class Parity:
    """Both comparisons of one run, and the results of the night."""

    logged: Together
    rule: RuleParity
    night: Side

    @property
    def cost(self) -> Cost:
        """Cost of the differences from rule order, in all and by trade."""
        one, two = self.night.performance, self.rule.done.performance
        total = (one.equity - one.equity_start) - (two.equity - two.equity_start)
        trades = {}
        if len(one.trips) == len(two.trips):
            pairs = zip(one.trips, two.trips, strict=True)
            trades = {n: night - rule for n, (night, rule) in enumerate(pairs, 1) if night != rule}
        return Cost(total, trades)

    @property
    def by_rule(self) -> Side:
        """Return the side of the comparison that was computed in rule order."""
        done = self.rule.done
        return Side("rule order", done.derived, done.performance, done.digest, done.stop)

    def to_json(self, deviations_max: int) -> JsonObject:
        """Return both comparisons as JSON, with the first `deviations_max` deviations."""
        difference = self.logged.difference
        return {
            "run_id": self.logged.run_id,
            "identical": self.logged.is_identical,
            "logged": {
                "queues": {
                    name: {
                        "same": queue.same,
                        "missing": queue.missing,
                        "unproven": queue.unproven,
                    }
                    for name, queue in self.logged.queues.items()
                },
                "stuck": self.logged.stuck or None,
                "difference": None if difference is None else describe(difference),
            },
            "rule": {
                "digest": self.rule.done.digest,
                "same": dict(sorted(self.rule.same.items())),
                "classes": dict(sorted(self.rule.classes.items())),
                "figures": {"night": self.night.figures(), "rule": self.by_rule.figures()},
                "cost": self.cost.to_json(),
                "deviations": [one.to_json() for one in self.rule.deviations[:deviations_max]],
            },
        }


def parity_of(recorded: Recorded, progress: Progress = lambda done, whole: None) -> Parity:
    """Return the comparison of a recorded run with its backtests.

    Raises:
        IntegrityError: A recorded line fails its own hash or chain, or the run has no opening.
        RunStop: A core found an impossible state in rule order.
    """
    logged = run_together(recorded, _part(progress, 0))
    done = rule_order(recorded, recorded.manifest.config, _part(progress, 1))
    night, _ = recorded_side(recorded, *span_of(recorded), _part(progress, 2))
    return Parity(logged, _compared(logged, done), night._replace(name="night"))


def _part(progress: Progress, number: int) -> Progress:
    """Return the progress of one of the passes, counted from 0, as a part of the whole."""

    def take(done: int, whole: int) -> None:
        percent = 100 * min(done, whole) // whole if whole else 0
        progress(100 * number + percent, 100 * PASSES)

    return take


def _compared(logged: Together, done: RulePass) -> RuleParity:
    parity = RuleParity(done)
    upstream = {made.event.id: made for made in logged.made}
    for pair in pairs_of(logged.made, done.derived):
        one = pair.night or pair.rule
        fields = _differing(pair)
        if one is not None and not fields:
            parity.same[one.queue] += 1
        else:
            parity.deviations.append(_judged(pair, fields, logged, upstream))
    return parity


def pairs_of(night: list[Made], rule: list[DerivedEvent]) -> Iterator[Pair]:
    """Yield each decision of the night with its counterpart in rule order, or None.

    Counterparts share the fields of `_key` and lie at most `APART_MS_MAX` apart; each is used once,
    the earliest first. A decision of rule order without a counterpart comes just before the night's
    first decision with the same fields that is more than `APART_MS_MAX` later, or else at the end.
    """
    waiting: dict[tuple[str, ...], deque[DerivedEvent]] = {}
    for derived in rule:
        waiting.setdefault(_key(derived.queue, derived.event), deque()).append(derived)
    for made in night:
        candidates = waiting.get(_key(made.queue, made.event), deque())
        while candidates and candidates[0].event.ts < made.event.ts - APART_MS_MAX:
            yield Pair(None, candidates.popleft())
        if candidates and candidates[0].event.ts <= made.event.ts + APART_MS_MAX:
            yield Pair(made, candidates.popleft())
        else:
            yield Pair(made, None)
    rest = [derived for candidates in waiting.values() for derived in candidates]
    for derived in sorted(rest, key=lambda one: (one.event.ts, one.queue, one.seq)):
        yield Pair(None, derived)


def _key(queue: str, event: Event) -> tuple[str, ...]:
    """Return the fields that two decisions have to share to be compared; time is not among them."""
    payload = event.payload.to_json()
    names = ("symbol", "side", "action", "purpose", "result", "reason_code")
    return (queue, *(str(payload.get(name, "")) for name in names))


def _differing(pair: Pair) -> dict[str, tuple[Any, Any]]:
    if pair.night is None or pair.rule is None:
        return {"event": ("made", None) if pair.rule is None else (None, "made")}
    one, two = pair.night.event, pair.rule.event
    fields = differing_fields(comparable(one), comparable(two))
    if one.tick_seq != two.tick_seq:
        fields["tick_seq"] = (one.tick_seq, two.tick_seq)
    return fields


def _judged(
    pair: Pair,
    fields: Mapping[str, tuple[Any, Any]],
    logged: Together,
    upstream: Mapping[str, Made],
) -> Deviation:
    """Return a deviation with its class."""
    late: tuple[str, Intake] | None = None
    for role, intake in _intakes(pair.night, logged, upstream):
        if intake.lag > 0:
            return Deviation(pair, ARRIVAL_ORDER, role, intake, fields)
        if intake.delay_ms > 0 and late is None:
            late = role, intake
    if late is not None:
        return Deviation(pair, DELAY, *late, fields)
    return Deviation(pair, FOLLOWS, "", Intake(0, 0), fields)


def _intakes(
    made: Made | None, logged: Together, upstream: Mapping[str, Made]
) -> Iterator[tuple[str, Intake]]:
    """Yield role and intake (how late the input was) of an event, then of its causes."""
    if made is None:
        return
    yield made.role, made.intake
    for cause in made.event.cause_ids or ():
        intake = logged.intakes.get((made.role, cause))
        if intake is not None:
            yield made.role, intake
        before = upstream.get(cause)
        if before is not None and before.role != made.role:
            yield from _intakes(before, logged, upstream)


def summary_of(event: Event) -> str:
    """Return an event's decision in a few words; its type if it decides nothing."""
    fields = decision_fields(event.payload)
    return " ".join(str(value) for name, value in fields.items() if name != "fee") or event.type
