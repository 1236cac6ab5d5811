"""Gate of a role, checked before each batch and each append: it may end the role.

Every role ends on command, when the launcher is gone, or when one of its locks has lost its file.
`execution_role` also ends after a STOP in any part of `stop_journal` or after the flag. Without a
fresh lease of the launcher it takes no input; it then ends at an append, or once it has waited for
`lease_ms` awake.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from minibot.events.model import StopJournal
from minibot.events.names import STOP_JOURNAL
from minibot.events.reasons import LOCK_LOST, WATCHDOG_LOST
from minibot.kernel.journal import ZERO, JournalReader, Position
from minibot.kernel.lock import lost_lock
from minibot.kernel.queue import open_reader
from minibot.runtime.clock import machine_ns
from minibot.runtime.context import ORPHANED, STOPPED, RoleContext
from minibot.runtime.input_log import InputLog
from minibot.runtime.stop import STOP_KIND, StopRecord, is_flagged

LOCKS_NS = 1_000_000_000

LEASE_WAIT_S = 0.005


class Gate:
    """Gate that ends a role on command, or without its launcher or one of its locks."""

    def __init__(self, context: RoleContext) -> None:
        self.context = context
        self._code: int | None = None
        self._locks_ns = machine_ns()

    def check(self) -> int | None:
        """Return the exit code if the role has to end now, else None; latched."""
        if self._code is None:
            self._code = self._judge()
        return self._code

    def may_take(self) -> bool:
        """True while the role may take a batch."""
        return True

    def check_append(self) -> int | None:
        """Return the exit code if no more appends are allowed, else None; latched."""
        return self.check()

    def watched(self) -> Sequence[Path]:
        """Return further files whose changes should wake the role."""
        return ()

    def _judge(self) -> int | None:
        control = self.context.control
        if control.stopping:
            return STOPPED
        if control.orphaned:
            return self._lost("the control channel is closed: the launcher is gone")
        lost = self._lost_lock()
        if lost is not None:
            return self.context.stop(StopRecord(self.context.name, LOCK_LOST, lost))
        return None

    def _lost_lock(self) -> str | None:
        """Return how a lock of this process has lost its file, checked once a second."""
        moment = machine_ns()
        if moment - self._locks_ns < LOCKS_NS:
            return None
        self._locks_ns = moment
        return lost_lock(self.context.var.root)

    def _lost(self, detail: str) -> int:
        self.context.stop(StopRecord(self.context.name, WATCHDOG_LOST, detail))
        return ORPHANED


class ExecutionGate(Gate):
    """The executor's gate: lease, flag and every part of `stop_journal`.

    Args:
        context: The executor's.
        order: Its input log, which gets the lines of the parts.
        logged: How far its former processes logged each input, by queue or part. The parts are read
            from their beginning, since a STOP counts at every start; no line is logged twice.
    """

    def __init__(
        self, context: RoleContext, order: InputLog, logged: Mapping[str, Position]
    ) -> None:
        super().__init__(context)
        self._order = order
        self._logged = logged
        self._lease_ms = context.config.watchdog.lease_ms
        self._parts: dict[str, JournalReader] = {}
        self._folder = context.var.queues / STOP_JOURNAL / "parts"

    def watched(self) -> Sequence[Path]:
        """Return the heads of all parts of `stop_journal`."""
        return [self._folder / f"{role}.head" for role in self.context.roles.roles]

    def may_take(self) -> bool:
        """True while the launcher's lease is fresh."""
        return self.context.control.lease_age_ms() <= self._lease_ms

    def check_append(self) -> int | None:
        """Return the exit code if a stop is on record or the lease has expired meanwhile.

        After a pause of the whole run it waits for the launcher's next lease.
        """
        code = self.check()
        while code is None and not self.may_take() and self._is_after_pause():
            time.sleep(LEASE_WAIT_S)
            code = self.check()
        if code is None and not self.may_take():
            self._code = code = self._lost("the lease ran out before an append")
        return code

    def _judge(self) -> int | None:
        code = super()._judge()
        if code is not None:
            return code
        if self._is_stopped() or is_flagged(self.context.var.flag):
            return STOPPED
        if not self.may_take() and self._silence_ms() > self._lease_ms:
            return self._lost(f"no lease for {self._lease_ms} ms")
        return None

    def _silence_ms(self) -> int:
        """Return how long this process has waited for a lease, not counting its suspension."""
        heartbeat = self.context.heartbeat
        heartbeat.still_ms()
        return self.context.control.silence_ms(heartbeat.resumed_ns)

    def _is_after_pause(self) -> bool:
        """True if this process, or the machine, paused after the last lease: a new one may come."""
        is_short = self._silence_ms() <= self._lease_ms  # Since the end of the pause.
        return is_short and not self.context.control.is_leased_since(
            self.context.heartbeat.resumed_ns
        )

    def _is_stopped(self) -> bool:
        for role in self.context.roles.roles:
            reader = self._part(role)
            if reader is None:
                continue
            for line in reader.read(16):
                event = self.context.codec.decode(STOP_JOURNAL, line.json)
                name = f"{STOP_JOURNAL}/parts/{role}"
                if line.seq > self._logged.get(name, ZERO).seq:
                    self._order.take(name, line.seq)
                if isinstance(event.payload, StopJournal) and event.payload.kind == STOP_KIND:
                    self._order.close()
                    return True
        return False

    def _part(self, role: str) -> JournalReader | None:
        reader = self._parts.get(role)
        if reader is None and (self._folder / f"{role}.head").exists():
            reader = self._parts[role] = open_reader(
                self.context.var.queues, STOP_JOURNAL, part=role
            )
        return reader
