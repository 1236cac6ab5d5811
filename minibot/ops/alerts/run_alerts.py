"""Alerts of a run: a service of `ops` that looks at queues and statuses and fills the outbox.

A separate thread reads the queues, so that a slow disk delays no other service.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from minibot.engine.recorded_run import Recorded
from minibot.events.model import Health, JsonObject, StopJournal
from minibot.events.names import HEALTH, INCIDENTS, STOP_JOURNAL
from minibot.kernel.codes import QUEUE_LOCKED
from minibot.kernel.errors import MinibotError, Refusal, RunStop
from minibot.kernel.threads import DaemonThread
from minibot.ops.alerts.alert import Alert
from minibot.ops.alerts.delivery import Delivery
from minibot.ops.alerts.endings import end_alert, end_alert_of, lost_alert, stop_alert_of
from minibot.ops.alerts.incident_rules import incident_alert
from minibot.ops.alerts.outbox import HELD_MAX, OUTBOX, Outbox
from minibot.ops.alerts.status_rules import StatusRules
from minibot.ops.alerts.targets import Target, secrets_of, targets_of
from minibot.ops.part_events import PartEvents
from minibot.runtime.command_place import place_from_afar
from minibot.runtime.configuration.config_sections import AlertsSection
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.runtime.stop import END_KIND, STOP_KIND

LOOK_S: Final = 0.5
STOP_WAIT_S: Final = 1.5
"""Longest wait of a STOP for a status with the run's end, which also reports the STOP."""
LAST_S: Final = 4.0
"""Longest wait for deliveries at the end of `ops`; guard or next start deliver the rest."""


class AlertService:
    """Alerts of one run.

    Args:
        section: The profile's section.
        var: Folders of the run.
        manifest: The run.
        targets: Targets of the alerts.
    """

    def __init__(
        self, section: AlertsSection, var: Var, manifest: Manifest, targets: Sequence[Target]
    ) -> None:
        self._section = section
        self._var = var
        self._place = place_from_afar(var.root)
        self._run_id = manifest.run_id
        recorded = Recorded.open(var.run(manifest.run_id))
        self._stops = PartEvents(recorded, STOP_JOURNAL)
        self._incidents = PartEvents(recorded, INCIDENTS)
        self._health = PartEvents(recorded, HEALTH)
        self._rules = StatusRules(manifest, var)
        self._status: JsonObject | None = None
        self._looked: JsonObject | None = None
        self._stop: tuple[float, StopJournal] | None = None
        self._end: StopJournal | None = None
        self._is_over = False
        self._has_alerted_end = False
        self._ended = threading.Event()
        self._targets = targets
        self._delivery: Delivery | None = None
        # By id: after a look that failed, the next reads its queues again.
        self._early: dict[str, Alert] = {}
        self._thread = DaemonThread(self._work, "alerts")
        self._thread.start()

    def take(self, status: JsonObject) -> None:
        """Take a new status; the next look judges it."""
        self._status = status

    def close(self) -> None:
        """Look once more, deliver for a time, and close.

        An end that no look has reported by then, as on a slow disk, is reported from the newest
        status, else from the journal; a run without any end, as lost.
        """
        end_s = time.monotonic() + LAST_S
        self._ended.set()
        self._thread.join(LAST_S)
        if not self._is_over:
            self._put(self._last_alert())
        if self._delivery is not None:
            self._delivery.close(max(0.5, end_s - time.monotonic()))

    def _last_alert(self) -> Alert:
        status = self._status
        if status is not None and status["ended"] is not None:
            return end_alert(self._var, status)
        if self._end is not None:
            return end_alert_of(self._var, self._run_id, self._end, status)
        return lost_alert(self._var, self._run_id, status)

    def _work(self) -> None:
        while not self._ended.wait(LOOK_S):
            self._look()
        self._look()
        if self._stop is not None and not self._is_over:
            self._report_stop()

    def _open(self) -> None:
        """Open the outbox, once it is free: the guard may deliver from it, for some seconds."""
        if self._delivery is not None:
            return
        try:
            outbox = Outbox(self._var.ops, OUTBOX, self._run_id)
        except RunStop as error:
            if error.reason_code != QUEUE_LOCKED:
                raise
            return
        self._rules.recall(outbox.last_of(self._run_id))
        self._delivery = Delivery.of_profile(outbox, self._section, self._targets)
        for alert in self._early.values():
            self._delivery.put(alert)
        self._early.clear()

    def _look(self) -> None:
        for step in (self._open, self._read, self._judge, self._report_end):
            self._take_step(step)

    def _take_step(self, step: Callable[[], None]) -> None:
        """Take one step of a look; one that fails costs no other step."""
        try:
            step()
        except (MinibotError, OSError, KeyError, ValueError) as error:
            # The end of the run moves its queues; the next look finds them where they are then.
            print(f"WARN alerts: a look failed: {error!r}", file=sys.stderr, flush=True)
            for queue in (self._stops, self._incidents, self._health):
                queue.close()

    def _read(self) -> None:
        """Read stops, incidents and health since the last look."""
        if self._is_over:
            return
        for event in self._stops.look():
            payload = event.payload
            if isinstance(payload, StopJournal) and payload.kind == STOP_KIND and not self._stop:
                self._stop = time.monotonic(), payload
            elif isinstance(payload, StopJournal) and payload.kind == END_KIND:
                self._end = payload
        for event in self._incidents.look():
            alert = incident_alert(event)
            if alert is not None:
                self._put(alert)
        for event in self._health.look():
            if isinstance(event.payload, Health):
                self._rules.on_health(event.payload, event.ts)

    def _judge(self) -> None:
        """Report a STOP whose wait is over, and what a new status shows."""
        if self._stop is not None and time.monotonic() - self._stop[0] >= STOP_WAIT_S:
            self._report_stop()
        status = self._status
        if status is None or status is self._looked:
            return
        self._looked = status
        for alert in self._rules.look(status):
            self._put(alert)

    def _report_stop(self) -> None:
        assert self._stop is not None
        self._put(stop_alert_of(self._var, self._run_id, self._stop[1], self._status))
        self._stop = None
        self._is_over = True

    def _report_end(self) -> None:
        """Report once the end that the newest status has."""
        status = self._status
        if status is None or status["ended"] is None or self._has_alerted_end:
            return
        if not self._is_over or status["ended"]["kind"] != STOP_KIND:
            self._put(end_alert(self._var, status))
        self._is_over = self._has_alerted_end = True
        for queue in (self._stops, self._incidents, self._health):
            queue.close()

    def _put(self, alert: Alert) -> None:
        if not alert.passes(self._section.level_min):
            return
        alert = alert.placed(self._place)
        if self._delivery is not None:
            self._delivery.put(alert)
        elif alert.is_urgent or alert.is_always or len(self._early) < HELD_MAX:
            self._early.setdefault(alert.id, alert)


def service_of(section: AlertsSection, var: Var, manifest: Manifest) -> AlertService | None:
    """Return the service of a run; None, with a warning, where no target can be had."""
    try:
        secrets = secrets_of(manifest.config["secrets"]["path"])
        targets, faults = targets_of(section, secrets)
        for fault in faults:
            print(f"WARN {fault}", file=sys.stderr, flush=True)
        return AlertService(section, var, manifest, targets) if targets else None
    except (Refusal, RunStop) as error:
        print(f"WARN no alerts: {error}", file=sys.stderr, flush=True)
        return None
