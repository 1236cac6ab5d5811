"""Chain of causes from a fill, order, signal or STOP back to the tick, with every reason.

It reads only the queues of the run, and cites each event as `queue:seq`. No decision is recomputed
or assumed: an event that cannot be found is reported as missing. Lots and trades are booked again
from the fills, and in a damaged run a replay shows how far a time is whole (`partial_run`). A
damaged queue is read only up to the damage: a question that needs more than that is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from minibot.engine.lookup import event_at, events_with_ids
from minibot.engine.recorded_run import Recorded
from minibot.events.model import (
    Ack,
    Event,
    Fill,
    Incident,
    OrderIntent,
    OrderResult,
    RiskAction,
    RunEnding,
    Signal,
    StopJournal,
)
from minibot.events.names import EXECUTION_ROLE, FILLS, INCIDENTS, STOP_JOURNAL, TICKS
from minibot.events.reasons import INVARIANT_BROKEN
from minibot.kernel.errors import InvariantError, Refusal
from minibot.replay.explain.checks import departure_of
from minibot.replay.explain.explanation import Explanation, Step
from minibot.replay.explain.lines import clock_ms, notes_of, plain
from minibot.replay.explain.trace import Trace, short
from minibot.replay.explain.trips import Trip
from minibot.replay.graph.lineage import stop_position
from minibot.replay.partial_run import PartialRun
from minibot.replay.run_status import called
from minibot.runtime.stop import STOP_KIND

# Events that led to a STOP are rarely older than this.
BEFORE_STOP_MS: Final = 10_000
ID_LENGTH_MIN: Final = 4
# Queues that may hold an id of each kind.
QUEUES_OF: Final = {
    "fill": ("fills",),
    "signal": ("signals",),
    "order": ("order_intents", "order_results", "fills"),
}
LATER: Final = "later events that follow from this may be missing"

T = TypeVar("T")


class Explainer:
    """Explainer of one recorded run; of a damaged one, up to the damage.

    Args:
        recorded: The run, sealed or not.
        clock: Formats a time.

    Raises:
        IntegrityError: The first line of `control` is damaged or breaks its contract, so that
            nothing can be explained.
    """

    def __init__(self, recorded: Recorded, clock: Callable[[int], str] = clock_ms) -> None:
        self._recorded = recorded
        self._clock = clock
        self._whole = PartialRun(recorded)
        self._known: dict[str, tuple[str, int, Event]] = {}
        for queue in (*recorded.roles.derived, "control"):
            for seq, event in self._whole.events(queue):
                self._known[event.id] = (queue, seq, event)
        self._trace = Trace(recorded)

    def until(self, ts: int) -> list[Step]:
        """Return every derived event up to a time, then every control event, without notes.

        They come queue by queue, so that a cause may come after its effect.

        Raises:
            IntegrityError: One of these queues is damaged, and the time is not before the damage.
        """
        self._whole.require_until(ts)
        known = self._known.values()
        return [Step(queue, seq, event) for queue, seq, event in known if event.ts <= ts]

    def stop_until(self, ts: int) -> Event | None:
        """Return the run's first STOP up to a time, also one that no launcher has merged."""
        for _, _, event in self._whole.merged(STOP_JOURNAL):
            payload = event.payload
            if isinstance(payload, StopJournal) and payload.kind == STOP_KIND and event.ts <= ts:
                return event
        return None

    def behind(self) -> list[str]:
        """Return one sentence for each queue that is damaged after the time given to `until`."""
        return self._whole.notes("the damage is later than all that is shown here")

    # --- questions ----------------------------------------------------------------------------

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
            IntegrityError: The fills are damaged, so the last one is unknown.
        """
        return self._order_of(self._last_fill())

    def last_trade(self) -> Explanation:
        """Return why the trade of the last fill was opened and closed.

        Raises:
            Refusal: The run has no fill.
            IntegrityError: The fills are damaged, so the last one is unknown.
        """
        _, n, _ = self._last_fill()
        trip = self._trace.trip_of(n)
        if trip is None:
            raise InvariantError("explain", INVARIANT_BROKEN, f"fills:{n} belongs to no trade")
        return self.trade(str(trip.n))

    def _last_fill(self) -> tuple[str, int, Event]:
        self._whole.require_whole("fills")
        fills = self._of(Fill)
        if not fills:
            hint = "Why it did not trade: --why-not BUY. How it ended: --stop."
            raise Refusal("this run has no fill.", hint)
        return fills[-1]

    def order(self, order_id: str) -> Explanation:
        """Return the outcome of an order and why it was placed.

        Args:
            order_id: Id of the order, the client's order id or the intent's id; may be abbreviated.

        Raises:
            Refusal: No order, or several, have an id that begins so.
        """
        _require_length(order_id)
        intents = []
        for queue, seq, event in self._of(OrderIntent):
            results = self._results(event)
            ids = {event.id, _client_id(event), *(_order_id(item[2]) for item in results)}
            if any(found.startswith(order_id) for found in ids):
                intents.append((queue, seq, event))
        if len(intents) > 1:
            raise _ambiguous("order", order_id, [event.id for _, _, event in intents])
        if not intents:
            raise self._unknown("order", order_id)
        return self._order_of(intents[0])

    def signal(self, event_id: str) -> Explanation:
        """Return the causes and the effects of a signal; the id may be abbreviated.

        Raises:
            Refusal: No signal, or several, have an id that begins so.
        """
        found = self._one("signal", event_id, self._of(Signal))
        self._whole.require_until(found[2].ts)
        explanation = Explanation(f"signal {found[2].id}")
        effects = self._effects(found[2].id)
        self._walk(explanation, [*reversed(effects), found])
        self._add_trades(explanation)
        explanation.notes += self._whole.notes(LATER)
        if not effects and not self._whole.damage:
            explanation.notes.append(_why_nothing(found[2]))
        return explanation

    def trade(self, text: str) -> Explanation:
        """Return why a trade was opened and closed, by its number in the run.

        Raises:
            Refusal: The run has no such trade.
        """
        trip = self._numbered(self._trace.trade, text)
        return self._story_of(f"trade {trip.n}", [*reversed(trip.fills)])

    def lot(self, text: str) -> Explanation:
        """Return why a lot was opened and what closed it, by its number or its fill's id.

        Raises:
            Refusal: The run opened no such lot.
        """
        n = self._numbered(self._trace.lot, text)
        closed = {t.close_fill_n for t in self._trace.closings if t.open_fill_n == n}
        subject = f"lot {self._trace.lot_name(n)}, opened by fills:{n}"
        return self._story_of(subject, [*sorted(closed, reverse=True), n])

    def _story_of(self, subject: str, numbers: Sequence[int]) -> Explanation:
        """Return the whole story of fills, the last one first; no line comes twice."""
        explanation = Explanation(subject)
        shown_ids: set[str] = set()
        for n in numbers:
            story = self._order_of(("fills", n, self._trace.fills[n - 1]))
            explanation.steps += [step for step in story.steps if step.event.id not in shown_ids]
            shown_ids |= {step.event.id for step in story.steps}
            lost = [one for one in story.missing if one not in explanation.missing]
            explanation.missing += lost
            explanation.trades += [one for one in story.trades if one not in explanation.trades]
        explanation.notes += self._whole.notes(LATER)
        return explanation

    def stop(self) -> Explanation:
        """Return the event that ended the run and those that led to it.

        For a STOP: its causes, the incidents before it, and that execution was silent after it.
        For a planned end: its announcement and the decisions from then on.

        Raises:
            Refusal: Nothing ended the run: it is still running, or was interrupted.
            IntegrityError: `stop_journal` is damaged: the lost lines might be of the end.
        """
        ends = [
            item
            for item in self._whole.merged(STOP_JOURNAL)
            if isinstance(item[2].payload, StopJournal) and item[2].payload.kind in ("STOP", "END")
        ]
        # A line that breaks its contract is often why the run was stopped, and hides no other.
        # Damage of another queue is told below: it hides no end.
        journals = (STOP_JOURNAL, *self._recorded.parts(STOP_JOURNAL))
        self._whole.require_bytes(*journals)
        stops = [end for end in ends if end[2].payload.to_json()["kind"] == STOP_KIND]
        if not ends:
            self._whole.require_whole(*journals)
            raise Refusal("nothing has ended this run: no STOP, no END.", "See: minibot status")
        if not stops:
            return self._planned_end(ends)
        explanation = Explanation(f"STOP {stops[0][2].payload.to_json()['reason_code']}")
        actions = [
            item for item in self._of(RiskAction) if item[2].payload.to_json()["action"] == "STOP"
        ]
        self._walk(explanation, [*stops, *actions], is_partial=True)
        explanation.steps += self._incidents_before(stops[0][2].ts)
        explanation.notes += self._silence(stops[0][2])
        held = [f"{short(qty)} {symbol}" for symbol, qty in sorted(self._trace.held.items())]
        if held and FILLS not in self._whole.damage:
            explanation.notes.append(f"a STOP closes nothing; still held: {', '.join(held)}")
        explanation.notes += self._whole.notes(LATER)
        return explanation

    def _planned_end(self, ends: Sequence[tuple[str, int, Event]]) -> Explanation:
        end = ends[0][2].payload.to_json()
        code = str(end["reason_code"])
        explanation = Explanation(f"END {code}: a planned end, not a STOP")
        announced = self._of(RunEnding)
        begun = announced[0][2].ts if announced else ends[0][2].ts
        later = [
            item
            for item in self._known.values()
            if isinstance(item[2].payload, OrderIntent | Fill) and item[2].ts >= begun
        ]
        self._walk(explanation, [*ends, *reversed(later), *announced], is_partial=True)
        still_open = [
            f"{held['qty']} {held['symbol']}"
            + (f" (to be left: {held['leaving']})" if "leaving" in held else "")
            for held in end.get("open_positions", ())
        ]
        if still_open:
            explanation.notes.append(f"still open at its end: {', '.join(still_open)}")
        elif not later and not self._whole.damage:
            explanation.notes.append("nothing had to be closed: no order and no fill came after it")
        explanation.notes += self._whole.notes(LATER)
        return explanation

    def _add_trades(self, explanation: Explanation) -> None:
        """Add the trades that the fills of an explanation belong to, in their order."""
        numbers = [self._trace.number_of(step.event.id) for step in explanation.steps]
        trips = [self._trace.trip_of(n) for n in numbers if n is not None]
        for trip in sorted({trip.n: trip for trip in trips if trip is not None}.values(), key=_n):
            story = self._trace.story(trip, self._why)
            explanation.trades.append(replace(story, campaign_id=self._campaign_of(trip)))

    def _campaign_of(self, trip: Trip) -> str | None:
        """Return the campaign that the orders of a trade name; None for none."""
        for fill_n in trip.fills:
            intent = self._intent_of(self._trace.fills[fill_n - 1])
            payload = None if intent is None else intent[2].payload
            if isinstance(payload, OrderIntent) and payload.campaign_id is not None:
                return payload.campaign_id
        return None

    def _why(self, fill_n: int) -> str:
        """Return why a fill came about: the exit that was due, else the reason of its signal."""
        intent = self._intent_of(self._trace.fills[fill_n - 1])
        causes = []
        if intent is not None:
            causes = [item[2] for item in self._triggers(intent[2])] + self._causes(intent[2])
        for action in causes:
            if isinstance(action.payload, RiskAction):
                if words := departure_of(action.payload):
                    return words
                causes += self._causes(action)
        return next((c.payload.reason for c in causes if isinstance(c.payload, Signal)), "")

    def _causes(self, event: Event) -> list[Event]:
        known = (self._known.get(cause_id) for cause_id in event.cause_ids or ())
        return [found[2] for found in known if found is not None]

    # --- walking ------------------------------------------------------------------------------

    def _order_of(self, found: tuple[str, int, Event]) -> Explanation:
        """Return the whole story of an order, from its last fill back to the tick."""
        _, _, event = found
        self._whole.require_until(event.ts)
        explanation = Explanation(f"{event.type} {event.id}")
        intent = found if isinstance(event.payload, OrderIntent) else self._intent_of(event)
        first = [found] if isinstance(event.payload, Fill) else []
        if intent is None:
            self._walk(explanation, first)
            self._add_trades(explanation)
            explanation.notes += self._whole.notes(LATER)
            return explanation
        others = [
            *(*self._results(intent[2]), *self._fills(intent[2])),
            *self._triggers(intent[2]),
        ]
        others.sort(key=lambda item: (item[2].ts, item[0], item[1]), reverse=True)
        rest = [item for item in others if item[2].id != event.id]
        self._walk(explanation, [*first, *rest, intent])
        self._add_trades(explanation)
        explanation.notes += self._whole.notes(LATER)
        return explanation

    def _walk(
        self,
        explanation: Explanation,
        starts: Sequence[tuple[str, int, Event]],
        *,
        is_partial: bool = False,
    ) -> None:
        """Add events and all their causes, each once; causes follow their effects.

        Args:
            explanation: Takes them.
            starts: The events.
            is_partial: A cause that a damaged queue may have held is missing, and told as such.

        Raises:
            IntegrityError: A cause is not found that a damaged queue may have held.
        """
        seen: set[str] = set()
        later: list[tuple[str, Event]] = []
        waiting = list(starts)
        while waiting:
            queue, seq, event = waiting.pop(0)
            if event.id in seen:
                continue
            seen.add(event.id)
            notes = (*notes_of(event), *self._trace.notes(event))
            explanation.steps.append(Step(queue, seq, event, notes))
            for cause_id in event.cause_ids or ():
                cause = self._known.get(cause_id)
                if cause is not None:
                    waiting.append(cause)
                else:
                    later.append((cause_id, event))
        self._add_roots(explanation, later, seen)
        if explanation.missing and not is_partial:
            self._whole.require_bytes()

    def _add_roots(
        self, explanation: Explanation, wanted: Iterable[tuple[str, Event]], seen: set[str]
    ) -> None:
        """Add the ticks and bars at the end; each effect says which queue holds its cause."""
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
            Step(*item)
            for item in self._whole.merged(INCIDENTS)
            if isinstance(item[2].payload, Incident) and 0 <= ts - item[2].ts <= BEFORE_STOP_MS
        ]

    def _silence(self, stop: Event) -> list[str]:
        """Return lines on the STOP at execution: when it was taken, and events recorded later."""
        own = [item for item in self._known.values() if item[2].source == EXECUTION_ROLE]
        later = [f"{queue}:{seq}" for queue, seq, event in own if event.ts > stop.ts]
        notes = [_taken(stop_position(self._recorded), self._clock)]
        if later:
            return [*notes, f"execution wrote after the STOP: {', '.join(sorted(later))}"]
        if self._whole.damage.keys() & set(self._recorded.roles.outputs(EXECUTION_ROLE)):
            return notes
        last = max(own, key=lambda item: (item[2].ts, item[0], item[1]), default=None)
        reason = "it wrote nothing at all"
        if last is not None:
            reason = f"its last event is {last[0]}:{last[1]} of {self._clock(last[2].ts)}"
        return [*notes, f"nothing that execution wrote is later than the STOP: {reason}"]

    # --- finding ------------------------------------------------------------------------------

    def _of(self, kind: type) -> list[tuple[str, int, Event]]:
        return [item for item in self._known.values() if isinstance(item[2].payload, kind)]

    def _one(
        self, kind: str, event_id: str, among: Sequence[tuple[str, int, Event]]
    ) -> tuple[str, int, Event]:
        _require_length(event_id)
        found = [item for item in among if item[2].id.startswith(event_id)]
        if len(found) > 1:
            raise _ambiguous(kind, event_id, [item[2].id for item in found])
        if not found:
            raise self._unknown(kind, event_id)
        return found[0]

    def _unknown(self, kind: str, given: str) -> Refusal:
        """Return the refusal of an unknown id, which only whole queues can prove unknown.

        Raises:
            IntegrityError: A queue in which it may stand is damaged.
        """
        self._whole.require_whole(*QUEUES_OF[kind])
        text = f"no {kind} has an id that begins with {plain(given)!r}."
        run = called(self._recorded.run_dir)
        return Refusal(text, f"See: minibot tail {QUEUES_OF[kind][0]} --run {run}")

    def _numbered(self, find: Callable[[str], T], text: str) -> T:
        """Return the trade or lot with a number in the books; see `_unknown`."""
        try:
            return find(text)
        except Refusal:
            self._whole.require_whole("fills")
            raise

    def _intent_of(self, event: Event) -> tuple[str, int, Event] | None:
        for cause_id in event.cause_ids or ():
            cause = self._known.get(cause_id)
            if cause is not None and isinstance(cause[2].payload, OrderIntent):
                return cause
        return None

    def _results(self, intent: Event) -> list[tuple[str, int, Event]]:
        return self._named(OrderResult, _client_id(intent))

    def _triggers(self, intent: Event) -> list[tuple[str, int, Event]]:
        """Return the actions that name what triggered a resting order: they name its intent."""
        actions = self._of(RiskAction) if _rests(intent) else []
        return [item for item in actions if intent.id in (item[2].cause_ids or ())]

    def _fills(self, intent: Event) -> list[tuple[str, int, Event]]:
        return self._named(Fill, _client_id(intent))

    def _named(self, kind: type, client_order_id: str) -> list[tuple[str, int, Event]]:
        return [item for item in self._of(kind) if _client_id(item[2]) == client_order_id]

    def _effects(self, event_id: str) -> list[tuple[str, int, Event]]:
        """Return all events that follow from an event, causes before effects."""
        reached = {event_id}
        effects = []
        for queue in self._recorded.roles.derived:
            for item in self._known.values():
                if item[0] == queue and reached & set(item[2].cause_ids or ()):
                    reached.add(item[2].id)
                    effects.append(item)
        return effects


# --- words ------------------------------------------------------------------------------------


def _why_nothing(signal: Event) -> str:
    payload = signal.payload.to_json()
    if payload["side"] == "HOLD":
        return "a HOLD asks for nothing, so risk and execution have no event about it"
    return "no risk_action names this signal: it is newer than the last input that risk took"


def _taken(ack: Ack | None, clock: Callable[[int], str]) -> str:
    if ack is None:
        return "execution stopped by the flag or its launcher, before it read the STOP event"
    where = f"{ack.queue}:{ack.from_seq}"
    return f"execution took {where} at {clock(ack.taken_ts)} as its last input {ack.n}"


def _n(trip: Trip) -> int:
    return trip.n


def _rests(intent: Event) -> bool:
    payload = intent.payload.to_json()
    return "stop_price" in payload or "target_price" in payload


def _client_id(event: Event) -> str:
    return str(event.payload.to_json().get("client_order_id", ""))


def _order_id(event: Event) -> str:
    return str(event.payload.to_json().get("order_id", ""))


def _require_length(given: str) -> None:
    if len(given) < ID_LENGTH_MIN:
        text = f"{plain(given)!r} is too short for the beginning of an id."
        raise Refusal(text, f"Give {ID_LENGTH_MIN} characters of it or more.")


def _ambiguous(kind: str, given: str, ids: Sequence[str]) -> Refusal:
    shown = ", ".join(ids[:5])
    return Refusal(f"several {kind}s begin with {plain(given)!r}: {shown}.", "Give more of it.")
