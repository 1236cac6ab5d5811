"""Stopped entries of a recorded run, from its verdicts and from what an operator ordered.

A resume makes risk forget the refusals for a halt. Which verdicts came before it, no time tells:
a signal keeps the time of its tick, and risk may take it before or after an order of that time.
Risk's own input log tells it, as it names the last signal that was taken before each order.
"""

from __future__ import annotations

from minibot.accounting.entry_stops import EntryStops
from minibot.engine.recorded_run import Recorded
from minibot.events.model import BUY, Resume, RiskAction, Signal
from minibot.events.names import CONTROL, RISK_ACTIONS, RISK_ROLE, SIGNALS


class RecordedStops:
    """Recount of stopped entries: every verdict is given to `on_action`, then `end` is called.

    Args:
        recorded: The run, running or ended.

    Attributes:
        stops: Those of the verdicts so far.
    """

    def __init__(self, recorded: Recorded) -> None:
        self.stops = EntryStops()
        self._resumes = _resumes_of(recorded)
        # Signals are read where there are resumes, and those that may be refused are kept.
        self._seqs: dict[str, int] = {}
        if self._resumes:
            self._seqs = {
                event.id: seq
                for seq, event in recorded.events(SIGNALS)
                if isinstance(event.payload, Signal) and event.payload.side == BUY
            }

    def on_action(self, action: RiskAction, ts: int) -> None:
        """Take a verdict at its time, Unix ms, in the order of its queue."""
        seq = self._seqs.get(action.signal_id or "", 0)
        while self._resumes and self._resumes[0] < seq:
            self._resume()
        self.stops.on_action(action, ts)

    def end(self) -> EntryStops:
        """Return the stops behind the last verdict, and behind each resume that followed it."""
        while self._resumes:
            self._resume()
        return self.stops

    def _resume(self) -> None:
        del self._resumes[0]
        self.stops.on_resume()


def entry_stops_of(recorded: Recorded) -> EntryStops:
    """Return the stopped entries of a run as they stand behind all that is recorded."""
    found = RecordedStops(recorded)
    for _, event in recorded.events(RISK_ACTIONS):
        if isinstance(event.payload, RiskAction):
            found.on_action(event.payload, event.ts)
    return found.end()


def _resumes_of(recorded: Recorded) -> list[int]:
    """Return for each resume that risk took the number of the last signal before it; 0 for none."""
    resumes = [seq for seq, event in recorded.events(CONTROL) if isinstance(event.payload, Resume)]
    found: list[int] = []
    if not resumes:
        return found
    last = 0
    for ack in recorded.order_log(recorded.roles.roles[RISK_ROLE]):
        if ack.queue == SIGNALS:
            last = ack.to_seq
        elif ack.queue == CONTROL:
            found += [last for seq in resumes if ack.from_seq <= seq <= ack.to_seq]
    return found
