"""Why did this happen? From a fill, order, signal or STOP back to the tick, with every reason.

Reads only what stands in the queues of the run, and cites each event as `queue:seq`. Nothing is
recomputed and nothing is left to memory: what cannot be found is said to be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from minibot.events.model import (
    Ack,
    Event,
    Fill,
    Incident,
    JsonObject,
    OrderIntent,
    OrderResult,
    RiskAction,
    Signal,
    StopJournal,
)
from minibot.events.reasons import REASONS
from minibot.kernel.errors import Refusal
from minibot.replay.lineage import stop_position
from minibot.replay.lines import clock_ms, event_text, plain
from minibot.replay.lookup import event_at, events_with_ids
from minibot.replay.recorded import Recorded

TICKS: Final = "market_ticks"
DERIVED: Final = ("signals", "risk_actions", "order_intents", "order_results", "fills")
# What led to a STOP is rarely older than this.
BEFORE_STOP_MS: Final = 10_000
ID_LENGTH_MIN: Final = 4
EXECUTION: Final = "execution_role"


@dataclass(frozen=True, slots=True)
class Step:
    """One event of the explanation: where it stands, what it says, and why, line by line."""

    queue: str
    seq: int
    event: Event
    notes: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where the event stands, as `queue:seq`."""
        return f"{self.queue}:{self.seq}"

    def to_json(self) -> JsonObject:
        """Return the step with its whole event."""
        return {"place": self.place, "event": self.event.to_json(), "notes": list(self.notes)}


@dataclass(slots=True)
class Explanation:
    """The events from what was asked for back to its root; `missing` names causes not found."""

    subject: str
    steps: list[Step] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> JsonObject:
        """Return the explanation as one JSON object."""
        return {
            "subject": self.subject,
            "steps": [step.to_json() for step in self.steps],
            "missing": self.missing,
            "notes": self.notes,
        }


class Explainer:
    """Explains one recorded run.

    Args:
        recorded: The run, sealed or not.

    Raises:
        IntegrityError: A queue is damaged; `minibot verify` says where.
    """

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        self._known: dict[str, tuple[str, int, Event]] = {}
        for queue in (*DERIVED, "control"):
            for seq, event in recorded.events(queue):
                self._known[event.id] = (queue, seq, event)

    # --- what may be asked --------------------------------------------------------------------

    def fill(self, event_id: str) -> Explanation:
        """Return why a fill happened; the id may be abbreviated.

        Raises:
            Refusal: No fill, or several, have an id that begins so.
        """
        return self._order_of(self._one("fill", event_id, self._of(Fill)))

    def last_fill(self) -> Explanation:
        """Return why the last fill happened.

        Raises:
            Refusal: The run has no fill.
        """
        fills = self._of(Fill)
        if not fills:
            raise Refusal("this run has no fill.", "See why: minibot report, or --signal ID.")
        return self._order_of(fills[-1])

    def order(self, order_id: str) -> Explanation:
        """Return what became of an order and why it was placed.

        Args:
            order_id: Of the order, of the client, or of the intent; may be abbreviated.

        Raises:
            Refusal: No order, or several, have an id that begins so.
        """
        intents = []
        for queue, seq, event in self._of(OrderIntent):
            results = self._results(event)
            ids = {event.id, _client_id(event), *(_order_id(item[2]) for item in results)}
            if any(found.startswith(order_id) for found in ids):
                intents.append((queue, seq, event))
        if len(intents) > 1:
            raise _ambiguous("order", order_id, [event.id for _, _, event in intents])
        if not intents:
            raise _unknown("order", order_id)
        return self._order_of(intents[0])

    def signal(self, event_id: str) -> Explanation:
        """Return where a signal came from and what came of it; the id may be abbreviated.

        Raises:
            Refusal: No signal, or several, have an id that begins so.
        """
        found = self._one("signal", event_id, self._of(Signal))
        explanation = Explanation(f"signal {found[2].id}")
        effects = self._effects(found[2].id)
        self._walk(explanation, [*reversed(effects), found])
        if not effects:
            explanation.notes.append(_why_nothing(found[2]))
        return explanation

    def at(self, ts: int, symbol: str | None) -> Explanation:
        """Return the last signal of a symbol at or before a market time, and what came of it.

        Raises:
            Refusal: The strategy had said nothing by then.
        """
        signals = [
            item
            for item in self._of(Signal)
            if item[2].ts <= ts and symbol in (None, item[2].payload.to_json()["symbol"])
        ]
        if not signals:
            raise Refusal(f"no signal stands before {clock_ms(ts)}.", "Ask for a later time.")
        explanation = self.signal(signals[-1][2].id)
        explanation.notes.append(
            f"asked for {clock_ms(ts)}: this signal was the last one, and a HOLD stands until its "
            "reason changes"
        )
        return explanation

    def stop(self) -> Explanation:
        """Return what stopped the run, what led to it, and that execution was silent after it.

        Raises:
            Refusal: The run was not stopped.
        """
        stops = [
            ("stop_journal", seq, event)
            for seq, event in self._recorded.events("stop_journal")
            if isinstance(event.payload, StopJournal) and event.payload.kind == "STOP"
        ]
        if not stops:
            raise Refusal("this run was not stopped.", "See how it ended: minibot report")
        explanation = Explanation(f"STOP {stops[0][2].payload.to_json()['reason_code']}")
        actions = [
            item for item in self._of(RiskAction) if item[2].payload.to_json()["action"] == "STOP"
        ]
        self._walk(explanation, [*stops, *actions])
        explanation.steps += self._incidents_before(stops[0][2].ts)
        explanation.notes += self._silence(stops[0][2])
        return explanation

    # --- walking ------------------------------------------------------------------------------

    def _order_of(self, found: tuple[str, int, Event]) -> Explanation:
        """Return the whole story of an order, from its last fill back to the tick."""
        _, _, event = found
        explanation = Explanation(f"{event.type} {event.id}")
        intent = found if isinstance(event.payload, OrderIntent) else self._intent_of(event)
        first = [found] if isinstance(event.payload, Fill) else []
        if intent is None:
            self._walk(explanation, first)
            return explanation
        others = [*self._results(intent[2]), *self._fills(intent[2])]
        others.sort(key=lambda item: (item[2].ts, item[0], item[1]), reverse=True)
        rest = [item for item in others if item[2].id != event.id]
        self._walk(explanation, [*first, *rest, intent])
        return explanation

    def _walk(self, explanation: Explanation, starts: Sequence[tuple[str, int, Event]]) -> None:
        """Add events and all their causes, each once; causes follow what they caused."""
        seen: set[str] = set()
        later: list[tuple[str, Event]] = []
        waiting = list(starts)
        while waiting:
            queue, seq, event = waiting.pop(0)
            if event.id in seen:
                continue
            seen.add(event.id)
            explanation.steps.append(Step(queue, seq, event, tuple(notes_of(event))))
            for cause_id in event.cause_ids or ():
                cause = self._known.get(cause_id)
                if cause is not None:
                    waiting.append(cause)
                else:
                    later.append((cause_id, event))
        self._add_roots(explanation, later, seen)

    def _add_roots(
        self, explanation: Explanation, wanted: Iterable[tuple[str, Event]], seen: set[str]
    ) -> None:
        """Add the ticks and bars at the end; each effect says where to look for its cause."""
        roots: list[Step] = []
        scattered: set[str] = set()
        for cause_id, effect in wanted:
            if cause_id in seen or cause_id in scattered:
                continue
            seq = effect.tick_seq
            event = None if seq is None else event_at(self._recorded, TICKS, seq)
            if event is not None and event.id == cause_id and seq is not None:
                seen.add(cause_id)
                roots.append(Step(TICKS, seq, event))
            else:
                scattered.add(cause_id)
        for seq, event in events_with_ids(self._recorded, TICKS, scattered):
            scattered.discard(event.id)
            roots.append(Step(TICKS, seq, event))
        explanation.steps += sorted(roots, key=lambda step: step.seq, reverse=True)
        explanation.missing += sorted(scattered)

    def _incidents_before(self, ts: int) -> list[Step]:
        return [
            Step("incidents", seq, event)
            for seq, event in self._recorded.events("incidents")
            if isinstance(event.payload, Incident) and 0 <= ts - event.ts <= BEFORE_STOP_MS
        ]

    def _silence(self, stop: Event) -> list[str]:
        """Return what execution did with a STOP, and whether anything of it is later."""
        own = [item for item in self._known.values() if item[2].source == EXECUTION]
        later = [f"{queue}:{seq}" for queue, seq, event in own if event.ts > stop.ts]
        notes = [_taken(stop_position(self._recorded))]
        if later:
            return [*notes, f"execution wrote after the STOP: {', '.join(sorted(later))}"]
        last = max(own, key=lambda item: (item[2].ts, item[0], item[1]), default=None)
        said = "it wrote nothing at all"
        if last is not None:
            said = f"its last event is {last[0]}:{last[1]} of {clock_ms(last[2].ts)}"
        return [*notes, f"nothing that execution wrote is later than the STOP: {said}"]

    # --- finding ------------------------------------------------------------------------------

    def _of(self, kind: type) -> list[tuple[str, int, Event]]:
        return [item for item in self._known.values() if isinstance(item[2].payload, kind)]

    def _one(
        self, kind: str, event_id: str, among: Sequence[tuple[str, int, Event]]
    ) -> tuple[str, int, Event]:
        if len(event_id) < ID_LENGTH_MIN:
            raise Refusal(f"{event_id!r} is too short.", f"Give {ID_LENGTH_MIN} characters.")
        found = [item for item in among if item[2].id.startswith(event_id)]
        if len(found) > 1:
            raise _ambiguous(kind, event_id, [item[2].id for item in found])
        if not found:
            raise _unknown(kind, event_id)
        return found[0]

    def _intent_of(self, event: Event) -> tuple[str, int, Event] | None:
        for cause_id in event.cause_ids or ():
            cause = self._known.get(cause_id)
            if cause is not None and isinstance(cause[2].payload, OrderIntent):
                return cause
        return None

    def _results(self, intent: Event) -> list[tuple[str, int, Event]]:
        return self._named(OrderResult, _client_id(intent))

    def _fills(self, intent: Event) -> list[tuple[str, int, Event]]:
        return self._named(Fill, _client_id(intent))

    def _named(self, kind: type, client_order_id: str) -> list[tuple[str, int, Event]]:
        return [item for item in self._of(kind) if _client_id(item[2]) == client_order_id]

    def _effects(self, event_id: str) -> list[tuple[str, int, Event]]:
        """Return everything that goes back to an event, causes before effects."""
        reached = {event_id}
        effects = []
        for queue in DERIVED:
            for item in self._known.values():
                if item[0] == queue and reached & set(item[2].cause_ids or ()):
                    reached.add(item[2].id)
                    effects.append(item)
        return effects


# --- words ------------------------------------------------------------------------------------


def notes_of(event: Event) -> list[str]:
    """Return why an event says what it says: meaning of its reason, values against thresholds."""
    payload = event.payload.to_json()
    notes = []
    reason = REASONS.get(str(payload.get("reason_code")))
    if reason is not None:
        notes.append(f"{reason.code}: {reason.meaning}")
    if isinstance(event.payload, Fill):
        touch = f"bid {payload.get('bid')}, ask {payload.get('ask')}"
        latency = f"modelled latency {payload.get('latency_market_ms')} ms"
        notes.append(f"met {touch}, displayed {payload.get('displayed_qty')}; {latency}")
    notes += [check_line(check) for check in payload.get("checks") or ()]
    headroom = payload.get("headroom") or {}
    if headroom:
        left = ", ".join(f"{name} {value}" for name, value in headroom.items())
        notes.append(f"left of the limits: {left}")
    return [plain(note) for note in notes]


def check_line(check: JsonObject) -> str:
    """Return one named value against its threshold."""
    verdict = "ok  " if check["passed"] else "FAIL"
    return f"{verdict} {check['name']:<24} {check['value']:>16}  against {check['threshold']}"


def explanation_lines(explanation: Explanation) -> list[str]:
    """Return an explanation for people: effect first, then cause by cause, each with its place."""
    lines = [explanation.subject]
    for step in explanation.steps:
        lines.append("")
        lines.append(f"{step.place}  {clock_ms(step.event.ts)}  {step.event.type}")
        lines.append(f"    {event_text(step.event)}")
        lines.append(f"    id {step.event.id}")
        lines += [f"      {note}" for note in step.notes]
    lines += [f"\nnot found: cause {cause_id}" for cause_id in explanation.missing]
    lines += [f"\n{note}" for note in explanation.notes]
    return lines


def _why_nothing(signal: Event) -> str:
    payload = signal.payload.to_json()
    if payload["side"] == "HOLD":
        return "a HOLD asks for nothing, so risk and execution have no event about it"
    return "no risk_action names this signal: it is newer than the last input that risk took"


def _taken(ack: Ack | None) -> str:
    if ack is None:
        return "execution was told by the flag or its launcher before it came to the STOP event"
    where = f"{ack.queue}:{ack.from_seq}"
    return f"execution took {where} at {clock_ms(ack.taken_ts)} as its last input {ack.n}"


def _client_id(event: Event) -> str:
    return str(event.payload.to_json().get("client_order_id", ""))


def _order_id(event: Event) -> str:
    return str(event.payload.to_json().get("order_id", ""))


def _unknown(kind: str, given: str) -> Refusal:
    return Refusal(f"no {kind} has an id that begins with {plain(given)!r}.", "See: minibot tail")


def _ambiguous(kind: str, given: str, ids: Sequence[str]) -> Refusal:
    shown = ", ".join(ids[:5])
    return Refusal(f"several {kind}s begin with {plain(given)!r}: {shown}.", "Give more of it.")
