"""Shell: the loop of strategy, risk and execution around their cores.

It reads, notes the input, steps the core, writes the input log and appends the outputs, always in
this order. The log is synced once a second: a power loss may take its end, but no run is resumed
after one. Cursors tell others how far the role has read; they are saved now and then, and may be
ahead of the log by the range that is still open. After a restart the same core takes its logged
inputs again, and only missing outputs are appended; a difference is STOP(NONDETERMINISM).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from operator import itemgetter

from minibot.cores.input_order import Taken
from minibot.cores.protocol import Core
from minibot.events import reasons
from minibot.events.model import Check, Event, JsonObject, RiskAction
from minibot.events.names import EXECUTION_ROLE, RISK_ROLE, TICKS
from minibot.events.reasons import POISON_EVENT
from minibot.kernel.errors import ContractError, RunStop
from minibot.kernel.wakeup import Waiter
from minibot.runtime.clock import machine_ns
from minibot.runtime.context import (
    CLEAN,
    HEALTH_MARKET_MS,
    ORPHANED,
    STOPPED,
    WAIT_S,
    Output,
    RoleContext,
)
from minibot.runtime.fault_injection import PlantedFaults
from minibot.runtime.gate import ExecutionGate, Gate
from minibot.runtime.input_log import open_input_log
from minibot.runtime.latency import DecisionLatency
from minibot.runtime.live_inputs import LiveInputs, reader_folders
from minibot.runtime.poison_events import PoisonEvents
from minibot.runtime.restart import CoreFromConfig, CoreFromState, Restart, save_snapshot
from minibot.runtime.stop import StopRecord, stop_action

Keep = Callable[[Core, bool], None]
"""Writes files that only mirror the queues; the second argument is whether it is the last call."""

# A role whose new inputs cannot trigger a decision leaves the processors this long to the others.
GIVE_WAY_S = 0.001
HOUSEKEEPING_NS = 1_000_000_000
# Between savings of cursors and syncs of copied acks, which are written in each turn. Each atomic
# file is a commit of the file system, for which the syncs of decisions wait.
HINTS_NS = 5_000_000_000
# Every process of a run reads the same clock. An event further ahead of it was written by none of
# them; one further behind it counts as written by another run.
TS_AHEAD_MS_MAX = 60_000
TS_BEHIND_MS_MAX = 48 * 3_600_000


def run_core(
    context: RoleContext,
    core_from_config: CoreFromConfig,
    core_from_state: CoreFromState,
    keep: Keep = lambda core, is_last: None,
) -> int:
    """Drive one role until a command ends it or it has to stop; return the exit code.

    `keep` is called with the core, whose outputs are durable by then, to write files that only
    mirror the queues: once a second, and at the end, but not after a STOP by the core's own
    decision, nor with a core that is ahead of its queues.
    """
    shell = Shell(context, core_from_config, core_from_state, keep)
    shell.restore()
    return shell.run()


class Shell:
    """One role's process around its core."""

    def __init__(
        self,
        context: RoleContext,
        core_from_config: CoreFromConfig,
        core_from_state: CoreFromState,
        keep: Keep,
    ) -> None:
        self.context = context
        self._keep = keep
        # The core is ahead of its queues: it took an input whose outputs stay unwritten.
        self._is_ahead = False
        self._restored_stop: RiskAction | None = None
        self._from_config = core_from_config
        self._from_state = core_from_state
        self._primary = context.spec.order_log or ""
        # Housekeeping and the gate come between batches.
        self._batch_max = context.config.queues.batch_max
        self._folders = reader_folders(context)
        self._letters = context.dead_letters(self._folders)
        self.latency = DecisionLatency(context.name)
        self.outputs = {
            queue: context.open_output(queue) for queue in context.roles.outputs(context.name)
        }
        self.order = open_input_log(context, self._folders)
        self.gate: Gate = Gate(context)
        self._housekept_ns = self._hinted_ns = 0
        self._health_ts = 0
        self._snapshot_ns = machine_ns()
        self._snapshot_n = 0
        self._has_snapshots = True
        self._planted = context.planted
        # Risk also exits positions on ticks; any other non-primary input can wait a moment.
        self._decides_on = {self._primary, TICKS} if context.name == RISK_ROLE else {self._primary}
        self._suspects = PoisonEvents(self._folders[self._primary], context.run_id)

    # --- restart ------------------------------------------------------------------------------

    def restore(self) -> None:
        """Replay the logged inputs through the same core; append missing outputs."""
        restart = Restart(
            self.context,
            self._folders,
            self._primary,
            self.outputs,
            self._letters.decode,
            self._from_config,
            self._from_state,
        )
        self.processor = restart.run()
        self._restored_stop = restart.stop
        behind = {queue: source.position for queue, source in restart.sources.items()}
        self.processor.inputs = {**self.processor.inputs, **behind}
        self._start()

    def _start(self) -> None:
        """Open the live inputs and outputs where the logged ones ended."""
        context, at = self.context, self.processor
        self._live = LiveInputs(context, self._folders, self._letters.decode, at)
        self.inputs = self._live.inputs
        self.order.taken = at.taken
        self._snapshot_n = at.taken
        if context.name == EXECUTION_ROLE:
            self.gate = ExecutionGate(context, self.order, at.inputs)
        names = [context.head_path(queue) for queue in context.spec.inputs]
        self._waiter = Waiter(
            [*names, *self.gate.watched()], segments=[context.segment_path(self._primary)]
        )

    # --- live ---------------------------------------------------------------------------------

    def run(self) -> int:
        """Process events until drained, stopped or orphaned."""
        context = self.context
        # If the gate ends the role, the launcher is gone or knows a STOP, which may be this one.
        if self._restored_stop is not None and self.gate.check() is None:
            self._stop_by_decision(self._restored_stop)
            return STOPPED
        context.health("READY", **self._health_fields())
        while True:
            code = self.gate.check()
            if code is not None:
                return self._leave(code)
            # A drain comes once the inputs' writers have ended, so only a look begun after it
            # proves that nothing is left.
            draining, may_take = context.control.draining, self.gate.may_take()
            took = self._turn() if may_take else 0
            if took is None:
                return STOPPED
            self._housekeep()
            context.heartbeat.turns += 1
            if took:
                continue
            self.order.close_when_due()
            if draining and may_take:
                return self._leave(CLEAN)
            self._wait()

    def _wait(self) -> None:
        """Wait for input; on news that triggers no decision, leave the CPU to others briefly."""
        self._read_ahead()
        if not self._waiter.wait(WAIT_S) or any(map(self.inputs.has_news, self._decides_on)):
            return
        if not self._read_ahead() and self._waiter.wait(GIVE_WAY_S):
            self._read_ahead()

    def _read_ahead(self) -> bool:
        """Decode lines that the primary input's writer is syncing, ready for their publication."""
        return self.inputs.prepare(self._primary, self.context.codec.decode_all)

    def _turn(self) -> int | None:
        """Process waiting events, up to one batch; None if the run was stopped because of one."""
        if not self.inputs.poll():
            self.context.heartbeat.waiting = 0
            return 0
        took = 0
        # After a STOP no event is taken, not even the rest of the batch.
        while took < self._batch_max and not self._is_ahead:
            taken = self.inputs.next()
            if taken is None:
                break
            took += 1
            if not self._apply(taken):
                return None
        self.context.heartbeat.waiting = self.inputs.backlog() if self.inputs.waits else 0
        return took

    def _apply(self, taken: Taken) -> bool:
        """Process one event; False if the run has been stopped."""
        if self._suspects.is_any and self._suspects.has(taken.queue, taken.seq):
            self._leave_out(taken)
            return True
        self._check_ts(taken)
        now = self.processor.now.of(self.order.take(taken.queue, taken.seq), taken.event)
        self.context.heartbeat.position += 1
        if not self.processor.admit(taken):
            return True
        self.latency.on_taken(taken)
        try:
            if self._planted is not None:
                self._planted_crash(self._planted, taken)
            events = self.processor.process(taken, now)
        except RunStop:
            raise
        except Exception as error:  # Noted for the next start, and raised again.
            self._suspects.note(taken.queue, taken.seq, error)
            raise
        if not events:
            return True
        self.order.close()
        if self.gate.check_append() is not None:
            # No restart follows, and replay accepts that a stopped run lacks its last outputs.
            self._is_ahead = True
            return True
        self._append(events)
        self._log_decision(taken, events)
        stop = stop_action(events)
        if stop is None:
            return True
        self._stop_by_decision(stop)
        return False

    def _append(self, events: list[tuple[str, Event]]) -> None:
        """Append the outputs of one event, queue by queue in the order of the drafts.

        All queues are written before the first is synced, so that the disk syncs them in parallel.
        Each is published once it and those before it are durable.
        """
        written: list[tuple[Output, list[Event]]] = []
        for queue, group in groupby(events, key=itemgetter(0)):
            output, batch = self.outputs[queue], [event for _, event in group]
            if any(output is other for other, _ in written):
                self._publish(written)
                written = []
            output.write(batch)
            written.append((output, batch))
        self._publish(written)

    def _publish(self, written: list[tuple[Output, list[Event]]]) -> None:
        for output, _ in written[1:]:
            output.writer.begin_sync()
        for output, batch in written:
            output.writer.publish()
            self.latency.on_published(batch)

    def _check_ts(self, taken: Taken) -> None:
        """Refuse an event with a time that no process of this run can have written.

        The check precedes the log of inputs, so that a replay does not take the event either.
        """
        ahead_ms = taken.event.ts - self.context.clock.now_ms()
        if -TS_BEHIND_MS_MAX <= ahead_ms <= TS_AHEAD_MS_MAX:
            return
        found = f"{ahead_ms} ms ahead of" if ahead_ms > 0 else f"{-ahead_ms} ms behind"
        allowed = f"{TS_AHEAD_MS_MAX} ahead and {TS_BEHIND_MS_MAX} behind are allowed"
        detail = f"{taken.queue}:{taken.seq} has a ts {found} the run's clock; {allowed}"
        raise RunStop(self.context.name, reasons.SCHEMA_INVALID, detail)

    def _leave_out(self, taken: Taken) -> None:
        """Set aside a line that crashed the core twice; restore and replay leave it out as well."""
        detail = f"{taken.queue}:{taken.seq} crashed {self.context.name}: {self._suspects.error}"
        error = ContractError(self.context.name, POISON_EVENT, detail)
        self._letters.set_aside(taken.queue, taken.line, error)
        self.order.take(taken.queue, taken.seq)
        # A crash at the next line would else forget this one: the note of crashes holds only one.
        self.order.close()
        self.context.incident(POISON_EVENT, detail)

    def _planted_crash(self, planted: PlantedFaults, taken: Taken) -> None:
        if planted.chokes(self.context.name, taken.queue, taken.seq):
            raise ValueError("a drill planted this crash")

    def _log_decision(self, taken: Taken, events: list[tuple[str, Event]]) -> None:
        """Log decisions with their causes, so that text logs can be joined by ids (S-45)."""
        log = self.context.log
        log.info("decided", event=taken.event, queue=taken.queue, seq=taken.seq)
        for queue, event in events:
            log.info(event.type, event=event, queue=queue)

    def _stop_by_decision(self, stop: RiskAction) -> None:
        failed = [
            f"{check.name} {check.value} beyond {check.threshold}"
            for check in stop.checks or ()
            if isinstance(check, Check) and not check.passed
        ]
        # Before the log ends, which may fail or last.
        self.context.stop(
            StopRecord(
                self.context.name,
                stop.reason_code,
                "; ".join(failed) or stop.reason_code,
                open_positions=self.processor.core.facts().get("open_positions", ()),
            )
        )
        self.order.end()

    def _leave(self, code: int) -> int:
        self.order.end()
        self._live.save_cursors()
        if not self._is_ahead:
            self._keep(self.processor.core, True)
            self._send_facts()  # The last heartbeat carries the final facts.
        if code == ORPHANED:
            return code
        self.context.close("STOPPED", **self._health_fields())
        return code

    # --- once a second or less ----------------------------------------------------------------

    def _housekeep(self) -> None:
        context = self.context
        self.order.close_when_due()
        now_ts = context.clock.now_ms()
        if now_ts - self._health_ts >= HEALTH_MARKET_MS:
            self._health_ts = now_ts
            context.health(context.heartbeat.state, **self._health_fields())
        moment = machine_ns()
        if moment - self._housekept_ns < HOUSEKEEPING_NS:
            return
        self._housekept_ns = moment
        if not self._is_ahead:
            self._send_facts()
        self._waiter.renew()
        self.order.sync()
        if moment - self._hinted_ns >= HINTS_NS:
            self._hinted_ns = moment
            self.order.sync_copies()
            self._live.save_cursors()
        if not self._is_ahead:
            self._keep(self.processor.core, False)
        self._snapshot_when_due(moment)

    def _send_facts(self) -> None:
        """Give heartbeats the core's facts, and the time up to which it has processed inputs."""
        facts = {
            **self.processor.core.facts(),
            **self.latency.counters(),
            "now": self.processor.now.value,
        }
        self.context.heartbeat.facts = facts

    def _health_fields(self) -> JsonObject:
        core, last = self.processor.core, self.context.heartbeat.facts
        facts = last if self._is_ahead else core.facts()
        fields: JsonObject = {
            "inputs": self._live.standing(),
            "dup_dropped": self.processor.dup_dropped,
            "counters": self.latency.counters(),
        }
        for name in ("reason", "open_orders", "data_age_ms", "decision_age_ms"):
            if name in facts:
                fields[name] = facts[name]
        if "open_positions" in facts:
            fields["open_positions"] = len(facts["open_positions"])
        return fields

    def _snapshot_when_due(self, moment: int) -> None:
        limits = self.context.config.watchdog
        taken = self.order.taken - self._snapshot_n
        is_due = moment - self._snapshot_ns >= limits.snapshot_interval_ms * 1_000_000
        is_due = is_due or taken >= limits.snapshot_inputs
        if taken == 0 or not is_due or not self._has_snapshots:
            return
        self.order.close()
        self._snapshot_ns, self._snapshot_n = moment, self.order.taken
        self.processor.taken = self.order.taken
        self.processor.tick_seq = self.inputs.tick_seq
        self._has_snapshots = save_snapshot(
            self._folders[self._primary],
            self.context.run_id,
            self.processor,
            self.order.position_writer.position,
            self.inputs.positions,
            {queue: output.writer.position for queue, output in self.outputs.items()},
        )
        if not self._has_snapshots:  # Each try keeps decisions waiting.
            self.context.log.warning("snapshot_too_large")
