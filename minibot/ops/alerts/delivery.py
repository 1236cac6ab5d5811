"""Delivery of an outbox: one thread for each target, so a dead host delays no other target.

A target gets urgent alerts first and at once. Other alerts keep to its messages a minute;
when more wait than the minute has room for, one message sums up all that wait. A failed message
is tried again after growing pauses, and others pass it: a host may refuse one for good.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Final

from minibot.kernel.threads import DaemonThread
from minibot.ops.alerts.alert import LEVELS, Alert
from minibot.ops.alerts.outbox import Outbox
from minibot.ops.alerts.targets import REPEAT, REPEATED, Message, Target, message_of, names_of
from minibot.report.figures import counted
from minibot.runtime.configuration.config_sections import AlertsSection

MINUTE_S: Final = 60.0
PAUSE_S: Final = 2.0
PAUSE_S_MAX: Final = 300.0
"""First and longest pause after a failure; each is twice the one before."""
DIGEST_LINES: Final = 25
"""Lines of a digest that name an alert each, the newest of the gravest; the others are counted."""
CANCEL_S: Final = 1.0


class Delivery:
    """Delivery of the alerts of an outbox, until it is closed.

    Args:
        outbox: Outbox with the alerts; those for a name that is none of the delivery's are left
            out, which a warning tells.
        targets: Targets that no other delivery uses.
        per_minute_max: Messages a minute to one target.
        pause_s: First pause after a failure; tests shorten it.
        names: Further names for which alerts are kept, of targets that cannot be used now.
    """

    def __init__(
        self,
        outbox: Outbox,
        targets: Sequence[Target],
        per_minute_max: int,
        pause_s: float = PAUSE_S,
        names: Iterable[str] = (),
    ) -> None:
        self._outbox = outbox
        self._lines = [_Line(outbox, target, per_minute_max, pause_s) for target in targets]
        self._names = {target.name for target in targets} | set(names)
        for name in sorted(outbox.targets() - self._names):
            alerts = [alert for alert, _ in outbox.waiting(name)]
            outbox.leave_out(name, alerts)
            words = f"{counted(len(alerts), 'alert')} left out: the profile has no target {name}"
            print(f"WARN alerts: {words}", file=sys.stderr, flush=True)

    @classmethod
    def of_profile(
        cls, outbox: Outbox, section: AlertsSection, targets: Sequence[Target]
    ) -> Delivery:
        """Return the delivery to a profile's targets; alerts are kept for those not usable now."""
        return cls(outbox, targets, section.per_minute_max, names=names_of(section))

    def put(self, alert: Alert) -> bool:
        """Take an alert for every target; return whether it is a new one."""
        is_new = self._outbox.put(alert, self._names)
        if is_new:
            for line in self._lines:
                line.wake(is_urgent=alert.is_urgent)
        return is_new

    @property
    def failures(self) -> dict[str, str]:
        """Reasons of failure by target, for targets whose last message failed."""
        return {line.target.name: line.failure for line in self._lines if line.failure}

    @property
    def is_done(self) -> bool:
        """True if nothing waits for its targets; a name without a target does not count."""
        return not any(self._outbox.waiting(line.target.name) for line in self._lines)

    @property
    def has_sent(self) -> bool:
        """True once a target has got a message."""
        return any(line.has_sent for line in self._lines)

    def close(self, patience_s: float) -> None:
        """Send each target what waits, whatever its messages a minute; then end.

        A target's sending ends once a message fails that was begun after this call. A message under
        way when the time is over is given up and stays in the outbox, in doubt.

        Args:
            patience_s: That time, wall-clock seconds; with 0 no further message is begun.
        """
        end_s = time.monotonic() + patience_s
        for line in self._lines:
            if patience_s > 0:
                line.finish()
        for line in self._lines:
            line.join(max(0.0, end_s - time.monotonic()))
        for line in self._lines:
            line.cancel()
        for line in self._lines:
            line.join(CANCEL_S)
        self._outbox.close()


class _Line:
    """Line to one target, with its thread."""

    def __init__(self, outbox: Outbox, target: Target, per_minute_max: int, pause_s: float) -> None:
        self.target = target
        self.failure = ""
        self.has_sent = False
        self._outbox = outbox
        self._per_minute_max = per_minute_max
        self._pause_s = pause_s
        self._sent_s: deque[float] = deque()
        self._failed = 0
        self._again_s = 0.0
        # Failures by the alert's id, and the alerts of the last message if that failed.
        self._failures: Counter[str] = Counter()
        self._last_failed: tuple[Alert, ...] = ()
        self._changed = threading.Condition()
        self._is_urgent = False
        self._is_last = False
        self._is_cancelled = False
        self._thread = DaemonThread(self._work, f"alerts-{target.name}")
        self._thread.start()

    def wake(self, *, is_urgent: bool) -> None:
        """Let the thread look at the outbox; a new urgent alert waits for no pause."""
        with self._changed:
            self._is_urgent = self._is_urgent or is_urgent
            self._changed.notify()

    def finish(self) -> None:
        """Send what waits, until a message fails that is begun from now on, and end."""
        with self._changed:
            self._is_last = True
            self._changed.notify()

    def join(self, timeout_s: float) -> None:
        """Wait for the end."""
        self._thread.join(timeout_s)

    def cancel(self) -> None:
        """Give up the message under way; it stays in the outbox, in doubt."""
        with self._changed:
            self._is_cancelled = True
            self._changed.notify()
        self.target.cancel()

    # --- the thread ---------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._is_cancelled:
                    return
                wait_s = self._wait_s()
                if wait_s is None and self._is_last:
                    return
                if wait_s is None or wait_s > 0:
                    self._changed.wait(wait_s)
                    continue
                is_last = self._is_last
                self._is_urgent = False
            if not self._send_next() and is_last:
                return

    def _wait_s(self) -> float | None:
        """Return the seconds until a message is due; None while nothing waits."""
        waiting = self._outbox.waiting(self.target.name)
        if not waiting:
            return None
        if self._is_last or self._is_urgent:
            return 0.0
        now_s = time.monotonic()
        pause_s = max(0.0, self._again_s - now_s)
        if waiting[0][0].is_urgent or self._room(now_s) > 0:
            return pause_s
        return max(pause_s, self._sent_s[0] + MINUTE_S - now_s)

    def _room(self, now_s: float) -> int:
        """Return how many more messages the minute has room for; urgent ones may go beyond."""
        while self._sent_s and now_s - self._sent_s[0] >= MINUTE_S:
            self._sent_s.popleft()
        return self._per_minute_max - len(self._sent_s)

    def _send_next(self) -> bool:
        """Send one message; return whether it was delivered."""
        message = self._next()
        alerts = message.alerts
        self._outbox.begin(self.target.name, alerts)
        outcome = self.target.send(message)
        now_s = time.monotonic()
        if outcome.is_sent:
            self._outbox.done(self.target.name, alerts)
            self.has_sent = True
            self._sent_s.append(now_s)
            self._failed, self.failure, self._again_s = 0, "", 0.0
            self._last_failed = ()
            for alert in alerts:
                del self._failures[alert.id]
            return True
        self._outbox.failed(self.target.name, alerts, outcome.why, in_doubt=outcome.in_doubt)
        pause_s = min(PAUSE_S_MAX, self._pause_s * 2 ** min(self._failed, 20))
        self._failed, self._again_s = self._failed + 1, now_s + pause_s
        self._last_failed = alerts
        self._failures.update(alert.id for alert in alerts)
        if self.failure != outcome.why:
            self.failure = outcome.why
            words = f"{self.target.name}: {outcome.why}; tried again in {pause_s:.0f} s"
            print(f"WARN alerts: {words}", file=sys.stderr, flush=True)
        return False

    def _next(self) -> Message:
        """Return the next message: one alert, or a digest where many wait.

        Urgent alerts come first, and of either kind what failed least. An urgent one that has just
        failed lets another pass, and after a digest that failed comes one alert.
        """
        waiting = self._outbox.waiting(self.target.name)
        waiting.sort(key=lambda pair: self._failures[pair[0].id])
        room, failed = self._room(time.monotonic()), self._last_failed
        urgent = [pair for pair in waiting if pair[0].is_urgent]
        due = [pair for pair in waiting if not pair[0].is_urgent]
        is_passed = failed and failed[0].is_urgent and due and room > 0
        if urgent and not (is_passed and self._failures[urgent[0][0].id]):
            due = urgent
        first, is_repeat = due[0]
        if len(due) <= max(1, room) or len(failed) > 1:
            return message_of(first, is_repeat=is_repeat)
        return digest_of(due, self._outbox.left_out[self.target.name])


def digest_of(waiting: Sequence[tuple[Alert, bool]], left_out: int = 0) -> Message:
    """Return the message that sums up alerts.

    Args:
        waiting: Each with True if the target may have it already.
        left_out: Alerts that were not taken for this target, as too many waited.
    """
    alerts = tuple(alert for alert, _ in waiting)
    worst = max((alert.level for alert in alerts), key=LEVELS.index)
    kinds = ", ".join(
        f"{kind} {number}" if number > 1 else kind
        for kind, number in Counter(alert.kind for alert in alerts).most_common()
    )
    newest = sorted(alerts, key=lambda alert: -alert.made_ms)
    gravest = sorted(newest, key=lambda alert: -LEVELS.index(alert.level))[:DIGEST_LINES]
    lines = [kinds, *(f"{alert.level}: {alert.title}" for alert in gravest)]
    if len(alerts) > len(gravest):
        lines.append(f"and {len(alerts) - len(gravest)} more")
    if left_out:
        lines.append(f"{counted(left_out, 'alert')} left out: too many were waiting")
    is_repeat = any(in_doubt for _, in_doubt in waiting)
    title = f"minibot: {counted(len(alerts), 'alert')} summed up"
    if is_repeat:
        title = f"{REPEAT}{title}"
        lines.insert(0, REPEATED)
    return Message(alerts, title, "\n".join(lines)[:3500], worst, is_repeat)
