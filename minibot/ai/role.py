"""`ai_role`: the process of the trusted clerk around the sandboxed worker.

It takes the inputs that `config/roles.v1.json` gives it; of queues that `ai.permitted_queues` lacks
only `model_active` is heeded. It writes `recommendations` and its own part of `health`. The
worker's behaviour stops the run in two cases only: a draft that the AI may never send is a dead
letter and STOP(AI_ISOLATION_BREACH); a hello that shows too little isolation, a leak or other
features is STOP(AI_ISOLATION_UNAVAILABLE) where the profile requires the AI, and otherwise the AI
is off, which is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from minibot.ai.drafts import Question
from minibot.ai.frames import DRAFT_BYTES_MAX
from minibot.ai.intake import Intake
from minibot.ai.jailed_process import JailedProcess
from minibot.ai.line_files import LineFiles
from minibot.ai.niceness import be_nice
from minibot.ai.nore_ai_worker_v1 import command
from minibot.ai.service import AiService, Outcome
from minibot.ai.settings import AiSettings, ai_settings
from minibot.ai.snapshots import SnapshotRefused
from minibot.events import reasons
from minibot.events.ids import position_id
from minibot.events.model import DEGRADED, READY, Event, ModelActive, Recommendation
from minibot.events.names import AI_ROLE, RECOMMENDATIONS
from minibot.kernel import canonical
from minibot.kernel.errors import MinibotError
from minibot.kernel.files import ensure_folder
from minibot.kernel.line import encode_line
from minibot.runtime.clock import machine_ns
from minibot.runtime.context import CLEAN, HEALTH_MARKET_MS, ORPHANED, WAIT_S, RoleContext
from minibot.runtime.deployment.unchanged import CodeStand, refuse_changed
from minibot.runtime.gate import Gate
from minibot.runtime.interpreter import private_folder, program
from minibot.runtime.paths import PROJECT
from minibot.runtime.request_file import leave_request
from minibot.runtime.stop import StopRecord

_BATCH_MAX: Final = 512
NICENESS: Final = 5
_SYNC_NS: Final = 1_000_000_000


def main(context: RoleContext) -> int:
    """Run the clerk until it is drained or the run stops; return the exit code."""
    be_nice(NICENESS)  # Advice waits for decisions.
    return AiRole(context).run()


def start_worker(settings: AiSettings) -> JailedProcess:
    """Start a sandboxed worker, with the same command line at every start."""
    return JailedProcess(
        command(program(), settings.root, settings.memory_mb, "infer", private_folder()),
        settings.root / "work",
        line_bytes_max=DRAFT_BYTES_MAX,
    )


class AiRole:
    """Loop of the role: process events, check the worker, publish, sync."""

    def __init__(self, context: RoleContext) -> None:
        self.context = context
        self.settings = ai_settings(
            context.config.raw,
            run_id=context.run_id,
            root=context.var.ai,
            symbols=tuple(context.manifest.symbols),
        )
        ensure_folder(self.settings.root)
        stand = CodeStand(PROJECT)
        self._clerk = AiService(
            self.settings,
            lambda: start_worker(self.settings),
            machine_ns,
            lambda what: refuse_changed(
                stand, context.manifest.code_sha256, context.name, f"the AI's {what}"
            ),
        )
        self._intake = Intake(context)
        self._output = context.open_output(RECOMMENDATIONS)
        root = self.settings.root
        self._recommended = LineFiles(
            root, root / RECOMMENDATIONS / context.run_id, HEALTH_MARKET_MS
        )
        self._gate = Gate(context)
        self._reported = ("", "")
        self._health_ts = 0
        self._synced_ns = 0

    def run(self) -> int:
        """Restore the state, then loop until the end."""
        self._restore()
        while True:
            code = self._gate.check()
            if code is not None:
                return self._leave(code)
            # A drain comes once the inputs' writers have ended, so only a look begun after it
            # proves that nothing is left.
            draining = self.context.control.draining
            took = self._intake.take(
                _BATCH_MAX,
                lambda taken, now: self._clerk.take(taken.queue, taken.seq, taken.event, now),
            )
            stopped = self._after(self._clerk.turn(self._intake.now))
            if stopped is not None:
                return stopped
            self._housekeep(took)
            if took == 0:
                if draining:
                    return self._leave(CLEAN)
                self._intake.wait(WAIT_S)

    def _restore(self) -> None:
        for row in self._intake.hint():
            self._clerk.recent.take(row)
            self._clerk.rows.windows.take(row)
        for taken in self._intake.logged():
            self._clerk.warm(taken.queue, taken.seq, taken.event)
        self._intake.start()
        self._clerk.keeper.start()
        self._use_active_model()
        self._report_health()

    def _use_active_model(self) -> None:
        """Start with the model that is active on disk; later changes come as `model_active`.

        One before it is used where this run would refuse the active one. A profile of the baseline
        alone looks at none.
        """
        if not self.settings.uses_model:
            return
        activation = self._clerk.activation
        try:
            snapshot = activation.load_active(self.settings.training.require_fit)
        except SnapshotRefused as error:
            self._clerk.model_note = f"model refused: {error}"
            return
        if snapshot is None:
            return
        self._clerk.model_id = snapshot.model_id
        if (active := activation.read().model_id) != snapshot.model_id:
            text = f"{active} is active, but refused here; {snapshot.model_id} before it answers"
            self.context.log.warning("ai", detail=text)

    # --- after a turn -------------------------------------------------------------------------

    def _after(self, outcome: Outcome) -> int | None:
        """Act on the clerk's outcome; return an exit code when the run was stopped."""
        for note in outcome.notes:
            self.context.log.info("ai", detail=note)
        for warning in outcome.warnings:
            self.context.log.warning("ai", detail=warning)
        if outcome.forbidden:
            line, why = outcome.forbidden[0]
            return self._stop(
                reasons.AI_ISOLATION_BREACH,
                f"the AI worker sent {why}",
                lambda: self._intake.set_aside(line, reasons.AI_DRAFT_FORBIDDEN, why),
                lambda: self._set_invalid_aside(outcome),
            )
        self._set_invalid_aside(outcome)
        if self._clerk.keeper.is_unavailable and self.settings.is_required:
            return self._stop(reasons.AI_ISOLATION_UNAVAILABLE, self._clerk.keeper.off_reason)
        if outcome.publish:
            self._publish(outcome.publish)
        if outcome.activated is not None:
            model_id, why = outcome.activated
            ensure_folder(self.context.var.requests)
            leave_request(
                self.context.var.requests,
                self.context.run_id,
                ModelActive.TYPE,
                who=AI_ROLE,
                why=why,
                model_id=model_id,
            )
        return None

    def _set_invalid_aside(self, outcome: Outcome) -> None:
        for line, why in outcome.invalid:
            self._intake.set_aside(line, reasons.AI_DRAFT_INVALID, why)

    def _publish(self, answers: list[tuple[Recommendation, Question]]) -> None:
        self._intake.close_range()
        context = self.context
        first = self._output.writer.position.seq + 1
        ts = context.clock.now_ms()
        events = [
            Event(
                ts=ts,
                id=position_id(context.run_id, context.name, RECOMMENDATIONS, first + at),
                source=context.name,
                run_id=context.run_id,
                cmdline_hash=context.cmdline_hash,
                payload=recommendation,
                cause_ids=(question.cause_id,),
                tick_seq=question.tick_seq,
            )
            for at, (recommendation, question) in enumerate(answers)
        ]
        self._output.append(events)
        for event in events:
            self._recommended.add(encode_line(canonical.encode(event.to_json())))

    def _stop(self, reason_code: str, detail: str, *steps: Callable[[], None]) -> int:
        """Stop the run, then take the steps and end; return the exit code."""
        # Before the steps, which may last longer than the launcher waits for a turn.
        code = self.context.stop(StopRecord(self.context.name, reason_code, detail))
        now = self._intake.now
        ends = (lambda: self._clerk.end(now), lambda: self._recommended.write(now))
        for step in (*steps, self._intake.end, *ends):
            self._try(step)
        return code

    def _try(self, step: Callable[[], None]) -> None:
        """Take a step of a STOP, which its failure must not prevent."""
        try:
            step()
        except (OSError, MinibotError) as error:
            self.context.log.warning("stop_step_failed", detail=repr(error))

    def _leave(self, code: int) -> int:
        self._clerk.end(self._intake.now)
        self._recommended.write(self._intake.now)
        self._intake.end()
        if code != ORPHANED:
            self.context.close("STOPPED")
        return code

    # --- now and then -------------------------------------------------------------------------

    def _housekeep(self, took: int) -> None:
        context = self.context
        context.heartbeat.turns += 1
        context.heartbeat.position = self._intake.taken
        context.heartbeat.waiting = self._intake.backlog() if took else 0
        context.heartbeat.facts = self._clerk.facts()
        self._intake.housekeep(self._clerk.recent.rows)
        self._recommended.write_when_due(self._intake.now)
        moment = machine_ns()
        if moment - self._synced_ns >= _SYNC_NS:
            self._synced_ns = moment
            self._output.writer.sync()
        state = DEGRADED if self._clerk.is_off else READY
        is_due = context.clock.now_ms() - self._health_ts >= HEALTH_MARKET_MS
        if is_due or (state, self._clerk.detail()) != self._reported:
            self._report_health()

    def _report_health(self) -> None:
        """Write the AI's health: at each change, and every ten seconds of market time."""
        state = DEGRADED if self._clerk.is_off else READY
        detail = self._clerk.detail()
        self._reported = (state, detail)
        self._health_ts = self.context.clock.now_ms()
        fields: dict[str, Any] = {
            "detail": detail,
            "counters": self._clerk.counters(),
            "inputs": self._intake.positions(),
        }
        self.context.health(state, **fields)
