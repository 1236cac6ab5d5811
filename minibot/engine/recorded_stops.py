"""Stopped entries of a recorded run, from its verdicts and its operator's requests.

A resume makes risk forget the refusals for a halt. Times do not show which verdicts came before it:
a signal has the time of its tick, and risk may take it before or after a request of the same time.
Risk's input log shows it, as it names the last signal taken before each request.
"""

from __future__ import annotations

from minibot.accounting.entry_stops import EntryStops
from minibot.engine.recorded_run import Recorded
from minibot.events.model import BUY, Resume, RiskAction, Signal
from minibot.events.names import CONTROL, RISK_ACTIONS, RISK_ROLE, SIGNALS


class RecordedStops:
    """Recount of stopped entries: pass every verdict to `on_action`, then call `end`.

    Args:
        recorded: The run, running or ended.

    Attributes:
        stops: The stopped entries of the verdicts so far.
    """

    def __init__(self, recorded: Recorded) -> None:
        self.stops = EntryStops()
        self._resumes = _resumes_of(recorded)
        # Signals are read only if there are resumes; those that may be refused are kept.
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
        """Return the stopped entries after the last verdict and after each later resume."""
        while self._resumes:
            self._resume()
        return self.stops

    def _resume(self) -> None:
        del self._resumes[0]
        self.stops.on_resume()


def entry_stops_of(recorded: Recorded) -> EntryStops:
    """Return the stopped entries of a run at the end of its record."""
    found = RecordedStops(recorded)
    for _, event in recorded.events(RISK_ACTIONS):
        if isinstance(event.payload, RiskAction):
            found.on_action(event.payload, event.ts)
    return found.end()


def _resumes_of(recorded: Recorded) -> list[int]:
    """Return, for each resume that risk took, the number of the last signal before it, or 0."""
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
