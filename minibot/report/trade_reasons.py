"""Reasons of round trips: the signal of each purchase, the exit of each sale."""

from __future__ import annotations

from minibot.events.model import BUY, EXIT, Event, OrderIntent, RiskAction, Signal
from minibot.replay.explain.checks import left_words
from minibot.report.trades import CARRIED, RoundTrip, Step


class TradeReasons:
    """Reasons of a run's round trips, fed with its orders, risk actions and signals.

    Orders come first: of all signals, only the causes of entries are kept.
    """

    def __init__(self) -> None:
        self._exits: dict[str, RiskAction] = {}
        self._exit_causes: dict[str, tuple[str, ...]] = {}
        # Reason codes of the signals that entries go back to, by signal; and signals by order.
        self._entries: dict[str, str] = {}
        self._entry_causes: dict[str, tuple[str, ...]] = {}

    def take(self, event: Event) -> None:
        """Take an event; skip one without a reason."""
        payload = event.payload
        if isinstance(payload, Signal):
            if event.id in self._entries:
                self._entries[event.id] = payload.reason_code
        elif isinstance(payload, RiskAction):
            if payload.action == EXIT:
                # After a trigger it names the intent of the order that rested.
                for name in (event.id, *(event.cause_ids or ())):
                    self._exits[name] = payload
        elif isinstance(payload, OrderIntent):
            if payload.side != BUY:
                causes = (event.id, *(event.cause_ids or ()))
                self._exit_causes[payload.client_order_id] = causes
            else:
                causes = tuple(event.cause_ids or ())
                self._entry_causes[payload.client_order_id] = causes
                self._entries.update(dict.fromkeys(causes, ""))

    def exit_of(self, trip: RoundTrip) -> RiskAction | None:
        """Return the risk action of a round trip's last sale so far.

        None before any, or if it is unknown. A trip that was sold in part has one while it is open.
        """
        return self._exit_by(trip.exit_order)

    def left_because(self, trip: RoundTrip) -> str:
        """Return why a round trip was closed: the exit that was hit; empty while it is open."""
        action = self.exit_of(trip) if trip.is_closed else None
        return "" if action is None else left_words(action)

    def entered_because(self, trip: RoundTrip) -> str:
        """Return the reason code of the signal that caused the first purchase in the run.

        `CARRIED` where the run bought nothing of it, empty where its signal is unknown.
        """
        return self._entry_by(trip.entry_order) if trip.entry_order else CARRIED

    def steps_of(self, trip: RoundTrip) -> tuple[tuple[Step, str], ...]:
        """Return the steps of a round trip in parts, each with its reason; none of another."""
        if not trip.is_in_parts:
            return ()
        return tuple((step, self._step_because(step)) for step in trip.steps)

    def _step_because(self, step: Step) -> str:
        if step.side == BUY:
            return self._entry_by(step.order)
        action = self._exit_by(step.order)
        return "" if action is None else left_words(action)

    def _exit_by(self, order: str) -> RiskAction | None:
        causes = self._exit_causes.get(order, ())
        return next((self._exits[cause] for cause in causes if cause in self._exits), None)

    def _entry_by(self, order: str) -> str:
        found = (self._entries.get(cause) for cause in self._entry_causes.get(order, ()))
        return next(filter(None, found), "")
