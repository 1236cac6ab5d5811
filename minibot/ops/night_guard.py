"""Guard of a run in its own process: alarms when a figure stands still or no status comes.

The guard has its own outbox. It also delivers alerts that an ended run left in the run's
outbox. While all is well it requests an outside monitor's address; the monitor notices a dead
machine when these requests stop.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from minibot.exchanges.single_get import get
from minibot.kernel.codes import QUEUE_LOCKED
from minibot.kernel.errors import MinibotError, RunStop, Transient
from minibot.kernel.threads import DaemonThread, SignalEvent
from minibot.ops.alerts.alert import CRITICAL, WARNING, Alert
from minibot.ops.alerts.delivery import PAUSE_S_MAX, Delivery
from minibot.ops.alerts.endings import end_alert, end_ids, lost_alert
from minibot.ops.alerts.outbox import OUTBOX, Outbox
from minibot.ops.alerts.status_rules import hour_of
from minibot.ops.guard_sources import Progress, Source
from minibot.runtime.clock import awake_ns, wall_ms
from minibot.runtime.command_place import place_from_afar
from minibot.runtime.paths import Var
from minibot.runtime.running import living_run
from minibot.runtime.stop import STOP_KIND

QUIET_MS: Final = 30_000
PING_EVERY_MS: Final = 60_000
LOOK_S: Final = 1.0
LEFT_EVERY_S: Final = 5.0
LEFT_S: Final = 30.0
"""Pause between two looks for alerts that a run left, and longest delivery of them."""
PING_S: Final = 10.0
CLOSE_S: Final = 5.0

HEARD: Final = "nothing is heard"
DATA: Final = "market data stand still"
DECISIONS: Final = "decisions stand still"
SEQUENCE: Final = "the sequence stands still"
KINDS: Final = {
    HEARD: "guard_heard",
    DATA: "guard_data",
    DECISIONS: "guard_decisions",
    SEQUENCE: "guard_sequence",
}


class Watch:
    """Watch over the progress of a run: which figure has stood still for too long.

    Args:
        quiet_s: How long a figure may stand, seconds in which the machine is awake.
        knows_end: True for a `var`, whose status stays after the run's end. False for a page. If a
            page no longer answers after its run was heard to drain, the run counts as ended,
            without an alarm; if it answers with a stale status, the alarm begins.
    """

    def __init__(self, quiet_s: float, *, knows_end: bool = True) -> None:
        self._quiet_s = quiet_s
        self._knows_end = knows_end
        self._was_draining = False
        self._moved: dict[str, tuple[int, float]] = {}
        self.alarms: dict[str, float] = {}
        self.run_id = ""
        self.has_ended = True

    def look(self, progress: Progress | None, now_s: float) -> Iterator[tuple[str, bool]]:
        """Take the progress of a moment; yield each alarm that begins (True) or ends (False).

        A figure is watched from its first value to the run's end; an alarm that is on then is
        dropped, not yielded. A run that was never heard raises no alarm; the first status counts as
        heard, however old it is. Without a new status only the alarm `HEARD` can begin: nothing is
        known of the other figures.

        Args:
            progress: None where nothing was heard.
            now_s: Monotonic time.
        """
        if progress is not None and progress.run_id != self.run_id:
            self._moved.clear()
            self.alarms.clear()
            self.run_id = progress.run_id
        if progress is not None:
            self.has_ended = progress.ended is not None
            self._was_draining = progress.is_draining
        elif not self._knows_end and self._was_draining:
            self.has_ended = True
        values = _values(progress)
        former_ms, heard_s = self._moved.get(HEARD, (0, now_s))
        if values.get(HEARD, 0) not in (0, former_ms):
            self._pass_silence(now_s - heard_s)
            heard_s = now_s
        for what, value in values.items():
            if value and self._moved.get(what, (0, 0.0))[0] != value:
                self._moved[what] = value, now_s
        for what, (_, moved_s) in self._moved.items():
            is_watched = not self.has_ended and (what == HEARD or what in values)
            known_s = now_s if what == HEARD else heard_s
            stands = is_watched and known_s - moved_s >= self._quiet_s
            if stands and what not in self.alarms:
                self.alarms[what] = moved_s
                yield what, True
            elif not stands and what in self.alarms and (is_watched or self.has_ended):
                del self.alarms[what]
                if not self.has_ended:
                    yield what, False
        if progress is not None and not progress.is_running:
            # While the run closes its positions, a figure that stands still is in order.
            for what in (DATA, DECISIONS, SEQUENCE):
                self._moved.pop(what, None)
                self.alarms.pop(what, None)

    def _pass_silence(self, silent_s: float) -> None:
        """Leave out the time in which nothing was heard, if it was long enough for an alarm."""
        if silent_s >= self._quiet_s:
            for what in self._moved.keys() - {HEARD}:
                value, moved_s = self._moved[what]
                self._moved[what] = value, moved_s + silent_s


def _values(progress: Progress | None) -> dict[str, int]:
    if progress is None:
        return {}
    found = {HEARD: progress.heard}
    if progress.is_running:
        found |= {
            DATA: progress.data,
            DECISIONS: progress.decided,
            SEQUENCE: progress.sequence,
        }
    return found


class Guard:
    """Guard of one `var`, or of a page behind a tunnel.

    Args:
        source: Where progress is read.
        delivery: Where alarms go, with an outbox of the guard's own.
        quiet_s: How long a figure may stand.
        ping_url: Address of the outside monitor; empty for none.
        ping_every_s: Between two requests to it.
        left: Delivers what an ended run left; None where its `var` is not at hand.
    """

    def __init__(
        self,
        source: Source,
        delivery: Delivery,
        quiet_s: float,
        ping_url: str = "",
        ping_every_s: float = PING_EVERY_MS / 1000,
        left: LeftBehind | None = None,
    ) -> None:
        self._source = source
        self._delivery = delivery
        self._watch = Watch(quiet_s, knows_end=left is not None)
        self._quiet_s = quiet_s
        self._ping_url = ping_url
        self._ping_every_s = ping_every_s
        self._pinged_s = -ping_every_s
        self._pinging: DaemonThread | None = None
        self._is_stopped = False
        self._has_heard_end = False
        self._why = ""
        self._left = left

    def serve(self, ended: SignalEvent) -> None:
        """Watch until the event is set."""
        worker = None
        if (left := self._left) is not None:
            worker = DaemonThread(lambda: left.work(ended), "outbox")
            worker.start()
        while not ended.wait(LOOK_S):
            self.look(awake_ns() / 1e9)
        if worker is not None:
            worker.join(CLOSE_S)
        self._delivery.close(CLOSE_S)

    def look(self, now_s: float) -> None:
        """Look once: alarm, report the end of an alarm, request the monitor."""
        progress = self._source.look()
        if self._source.why != self._why:
            self._why = self._source.why
            print(f"guard: {self._why or 'heard again'}", file=sys.stderr, flush=True)
        if progress is not None and progress.run_id != self._watch.run_id:
            print(f"guard: hears {progress.run_id}", file=sys.stderr, flush=True)
        for what, begins in self._watch.look(progress, now_s):
            self._alert(what, begins)
        if progress is not None:
            ended = progress.ended
            self._is_stopped = ended is not None and ended["kind"] == STOP_KIND
            self._has_heard_end = ended is not None
        if self._left is not None:
            self._left.take(progress, is_silent=HEARD in self._watch.alarms)
        # A silent page says nothing about the machine, unless its run is known to be over.
        if self._left is not None or progress is not None or self._has_heard_end:
            self._ping(now_s)

    @property
    def is_well(self) -> bool:
        """True if a run was heard of, did not STOP, and nothing stands still."""
        return bool(self._watch.run_id) and not self._watch.alarms and not self._is_stopped

    def _alert(self, what: str, begins: bool) -> None:
        run_id, kind = self._watch.run_id, KINDS[what]
        if begins:
            level, title = CRITICAL, f"minibot {run_id}: {what}"
            text = (
                f"For {self._quiet_s:.0f} s: {what}. The run may go on, hang or be gone with its "
                "machine.\nSee: minibot health --detail, minibot status"
            )
        else:
            level, title = WARNING, f"minibot {run_id}: it moves again"
            text, kind = f"No longer: {what}.", f"{kind}_over"
        event_id = f"{hour_of(wall_ms())}:{wall_ms()}"
        print(title, file=sys.stderr, flush=True)
        flags = {"is_urgent": begins, "is_always": True}
        alert = Alert.of(run_id, kind, event_id, level, title, text, **flags)
        # The folder of a run behind a page is not known here.
        self._delivery.put(alert if self._left is None else alert.placed(self._left.place))

    def _ping(self, now_s: float) -> None:
        """Request the monitor's address in a thread; a slow monitor delays nothing."""
        is_due = now_s - self._pinged_s >= self._ping_every_s
        if not self._ping_url or not self.is_well or not is_due:
            return
        if self._pinging is not None and self._pinging.is_alive():
            return
        self._pinged_s = now_s
        self._pinging = DaemonThread(self._ask_monitor, "monitor")
        self._pinging.start()

    def _ask_monitor(self) -> None:
        try:
            status, _ = get(self._ping_url, {}, timeout_s=PING_S, bytes_max=1024)
            if not 200 <= status < 300:
                raise Transient(f"it answers {status}")
        except Transient as error:
            print(f"WARN guard: the monitor was not reached: {error}", file=sys.stderr, flush=True)


class LeftBehind:
    """Deliverer of what an ended run has left in its outbox, its end included.

    The ids are those of the run's own alerts: an alert that `ops` has sent is not sent again.

    Args:
        var: The folders of the run.
        deliver: Makes a delivery of an outbox.

    Attributes:
        place: Place that commands in alerts name.
    """

    def __init__(self, var: Var, deliver: Callable[[Outbox], Delivery]) -> None:
        self._var = var
        self.place = place_from_afar(var.root)
        self._deliver = deliver
        self._lock = threading.Lock()
        self._gone: Progress | None = None
        self._seen = ""
        self._settled = ""
        self._last_text = ""
        self._mute: tuple[str, Outbox] | None = None
        self._paused = ""
        self._pause_s = 0.0
        self._again_s = 0.0

    def take(self, progress: Progress | None, *, is_silent: bool) -> None:
        """Take the run's progress: `deliver` acts once the run has ended or is silent."""
        if progress is None:
            return
        if progress.ended is None:
            self._seen = progress.run_id
        is_gone = progress.ended is not None or is_silent
        with self._lock:
            self._gone = progress if is_gone else None

    def work(self, ended: SignalEvent) -> None:
        """Look every few seconds, until the event is set; a failure is logged, and tried again.

        After a delivery that reached no target, looks at that run pause, each time twice as long,
        up to `PAUSE_S_MAX`: a try adds lines to the outbox.
        """
        while not ended.wait(LEFT_EVERY_S):
            if self._is_pausing():
                continue
            text = ""
            try:
                self.deliver(ended)
            except (MinibotError, OSError, KeyError, ValueError) as error:
                text = f"WARN guard: what the run left is not delivered yet: {error!r}"
            if text and text != self._last_text:
                print(text, file=sys.stderr, flush=True)
            self._last_text = text

    def deliver(self, ended: SignalEvent) -> None:
        """Deliver the alerts that are left, for `LEFT_S` at most.

        A message under way after `LEFT_S` is given up, and stays. Does nothing while the launcher
        of a run lives or another process holds the outbox.

        Raises:
            RunStop, OSError: The outbox cannot be opened, but for a lock of another process.
            KeyError or ValueError: The run's last status is damaged.
        """
        with self._lock:
            gone = self._gone
        if gone is None or gone.run_id == self._settled or living_run(self._var) is not None:
            return
        if self._mute is not None and self._mute[0] == gone.run_id:
            outbox = self._mute[1]
        else:
            try:
                outbox = Outbox(self._var.ops, OUTBOX, gone.run_id)
            except RunStop as error:
                if error.reason_code == QUEUE_LOCKED:
                    return
                raise
        delivery = self._deliver(outbox)
        try:
            self._deliver_left(gone, outbox, delivery, ended)
        finally:
            delivery.close(0.0)  # The lock of the outbox is needed for the next try.
            # Alerts that a full disk did not note as sent are known only in memory.
            self._mute = (gone.run_id, outbox) if outbox.is_mute else None
            self._pause(gone.run_id, is_over=delivery.is_done or delivery.has_sent)

    def _deliver_left(
        self, gone: Progress, outbox: Outbox, delivery: Delivery, ended: SignalEvent
    ) -> None:
        # A recorded end from before the guard came is no news.
        if gone.run_id == self._seen and gone.status is not None:
            # The launcher may die behind the record of an end, which `ops` reports from there.
            is_reported = any(map(outbox.knows, end_ids(gone.run_id)))
            if gone.ended is not None:
                delivery.put(end_alert(self._var, gone.status).placed(self.place))
            elif not is_reported:
                lost = lost_alert(self._var, gone.run_id, gone.status)
                delivery.put(lost.placed(self.place))
        until_s = time.monotonic() + LEFT_S
        while not delivery.is_done and time.monotonic() < until_s and not ended.wait(LOOK_S / 4):
            if living_run(self._var) is not None:
                break
        if delivery.is_done:
            self._settled = gone.run_id

    def _is_pausing(self) -> bool:
        with self._lock:
            gone = self._gone
        is_same = gone is not None and gone.run_id == self._paused
        return is_same and time.monotonic() < self._again_s

    def _pause(self, run_id: str, *, is_over: bool) -> None:
        if is_over or run_id != self._paused:
            self._pause_s = 0.0
        if not is_over:
            self._pause_s = min(PAUSE_S_MAX, 2 * self._pause_s or LEFT_EVERY_S)
        self._paused, self._again_s = run_id, time.monotonic() + self._pause_s
