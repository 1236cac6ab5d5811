"""Trusted clerk: handles the run's events, and the answers of the sandboxed worker.

It processes events of the run in order, keeps the worker informed, builds the dataset, runs
trainings and activates models that passed the gate. At a beat it asks for a recommendation of each
symbol with fresh data, once in an interval of market time; at each signal it asks as well, and that
answer is not published, it goes into the patterns. It reads and writes no queue: the role passes
events in and takes recommendations out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from minibot.ai.activation import Activation
from minibot.ai.baseline import BASELINE_ID
from minibot.ai.dataset import TRAIN_ROWS_MAX, RowMaker
from minibot.ai.drafts import Answer, Expected, Question
from minibot.ai.jailed_process import JailedProcess
from minibot.ai.patterns import Patterns
from minibot.ai.recent import Recent
from minibot.ai.rows import DEPTH, TOUCH, Row, Windows, row_of
from minibot.ai.settings import AiSettings
from minibot.ai.snapshots import SnapshotRefused
from minibot.ai.training import Trained, rows_are_enough
from minibot.ai.training_jobs import TrainingJobs
from minibot.ai.worker_supervisor import OFF, READY, WorkerSupervisor, isolation_level
from minibot.events.model import Beat, Event, Gap, ModelActive, Recommendation, Signal
from minibot.events.names import TICKS
from minibot.kernel.errors import LockBusy

_ROWS_PER_FRAME: Final = 256
_SIGNALS_OPEN_MAX: Final = 64
# Newer rows that wait behind those of a beginning worker, in frames; there are some ten a second.
_FRAMES_BEHIND_MAX: Final = 1_000


@dataclass(slots=True)
class Outcome:
    """Tasks for the role after a turn of the clerk."""

    publish: list[tuple[Recommendation, Question]] = field(default_factory=list)
    invalid: list[tuple[bytes, str]] = field(default_factory=list)
    forbidden: list[tuple[bytes, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    activated: tuple[str, str] | None = None  # (model id, why)


class AiService:
    """Trusted half of the AI, without queues and files of a run.

    Args:
        settings: The AI's part of the profile.
        start_child: Starts a sandboxed worker.
        machine_ns: The machine clock.
        before_start: Called with a name before each start of a process; raises a `RunStop` when the
            code differs from that at the start of the run.
    """

    def __init__(
        self,
        settings: AiSettings,
        start_child: Callable[[], JailedProcess],
        machine_ns: Callable[[], int],
        before_start: Callable[[str], None] = lambda what: None,
    ) -> None:
        self.settings = settings

        def start_worker() -> JailedProcess:
            before_start("worker")
            return start_child()

        self.activation = Activation(settings.root)
        self.recent = Recent(settings.symbols, (settings.bar_interval, settings.trend_interval))
        self.patterns = Patterns(settings.root, settings.run_id, settings.horizon_ms)
        self.rows = RowMaker(
            settings.run_id,
            settings.permitted,
            Windows(list(settings.symbols), settings.bar_interval, settings.trend_interval),
            bar_interval=settings.bar_interval,
            horizon_ms=settings.horizon_ms,
            label_bps_min=settings.label_bps_min,
        )
        self.workshop = TrainingJobs(
            self.activation, settings.root, settings.training, before_start
        )
        self.model_id = BASELINE_ID
        self.model_note = ""
        self._is_model_told = False  # To the worker, which has yet to answer.
        self._expected = Expected(frozenset({BASELINE_ID}), BASELINE_ID, settings.horizon_ms)
        self.keeper = WorkerSupervisor(
            settings.limits, start_worker, self._introduce, self._expected, machine_ns
        )
        self._missed: deque[list[Row]] = deque()  # Rows that a new worker has yet to get.
        self._missed_max = _FRAMES_BEHIND_MAX
        self._outgoing: list[Row] = []
        self._touches: dict[str, Row] = {}
        self._asked_ts: dict[str, int] = {}
        self._question_number = 0
        self._tick_seq = 0
        self._signals: dict[str, tuple[Event, float]] = {}  # With the mid at the signal.
        self._trained_ts = 0
        self._passed: Trained | None = None  # Its activation waits for the lock.
        self._first_ts = 0  # Of the first event, then of the last look at the rows.
        # No rules of the configuration: backtests, which train nothing, choose other bars, and
        # `minibot train` has the rows of many nights.
        why = ""
        if self.rows.labels_none:
            why = (
                f"ai.horizon_ms {settings.horizon_ms} does not end near the close of "
                f"a {settings.bar_interval} bar (strategy.bar_interval)"
            )
        elif settings.training.rows_min > TRAIN_ROWS_MAX:
            why = (
                f"ai.train_min_rows {settings.training.rows_min} is more than the "
                f"{TRAIN_ROWS_MAX} rows that a night trains on at most"
            )
        is_noted = why and settings.trains and settings.uses_model
        self._rows_note = f"no training: {why}" if is_noted else ""
        if TICKS not in settings.permitted:
            self._rows_note = f"no recommendations: ai.permitted_queues lacks {TICKS}"
        self._notes = [self._rows_note] if self._rows_note else []

    # --- events in ----------------------------------------------------------------------------

    def warm(self, queue: str, seq: int, event: Event) -> None:
        """Process an event from before a restart again: remember it, ask nothing.

        A `model_active` is passed over like any event of a queue that is not permitted: the active
        model comes from disk.
        """
        if queue not in self.settings.permitted:
            return
        self.rows.take(queue, seq, event)
        if queue == TICKS:
            self._tick_seq = seq
            row = row_of(event.payload)
            if row is not None:
                self.recent.take(row)

    def take(self, queue: str, seq: int, event: Event, now: int) -> None:
        """Process the next event of the run."""
        self._first_ts = self._first_ts or now
        payload = event.payload
        if isinstance(payload, ModelActive):
            self.use_model(payload.model_id)
        if queue not in self.settings.permitted:
            return
        self.rows.take(queue, seq, event)
        if queue == TICKS:
            self._take_market(seq, event, now)
        elif isinstance(payload, Signal):
            self._ask_for_signal(payload, event)

    def _take_market(self, seq: int, event: Event, now: int) -> None:
        self._tick_seq = seq
        payload = event.payload
        row = row_of(payload)
        if row is not None and self.recent.take(row):
            if row[0] == TOUCH:
                # Only the newest touch between two flushes matters to the worker.
                self._touches[row[1]] = row
            else:
                self._outgoing.append(row)
                if len(self._outgoing) >= _ROWS_PER_FRAME:
                    self._flush()
        if isinstance(payload, Gap) and DEPTH not in payload.stream:
            self.patterns.break_off(payload.symbol)
        elif isinstance(payload, Beat):
            fresh = self._fresh(payload)
            mids = {symbol: self._mid(symbol) for symbol in fresh}
            known = {symbol: mid for symbol, mid in mids.items() if mid is not None}
            self.patterns.take_mids(known, event.ts)
            self._ask_when_due(fresh, event, now)

    def _mid(self, symbol: str) -> float | None:
        window = self.rows.windows.by_symbol.get(symbol)
        return None if window is None else window.mid

    def _flush(self) -> None:
        if self.keeper.state != READY:
            self._missed.clear()
        if self._missed and self._outgoing:  # Bars come in order.
            self._missed.append(self._outgoing)
            self._outgoing = []
        while self._missed and self.keeper.offer(self._missed[0]):
            self._missed.popleft()
        if self._missed:
            if len(self._missed) > self._missed_max:
                self._open()
            return
        rows = [*self._outgoing, *self._touches.values()]
        self._outgoing.clear()
        self._touches.clear()
        for at in range(0, len(rows), _ROWS_PER_FRAME):
            if not self.keeper.send(rows[at : at + _ROWS_PER_FRAME]):
                self._open()  # Without a bar its indicators would be wrong for long.
                return

    def _fresh(self, beat: Beat) -> list[str]:
        """Return the symbols with fresh data."""
        # The window keeps its last touch without end; a symbol no longer followed has no age.
        ages = {symbol: beat.data_age_ms.get(symbol) for symbol in self.settings.symbols}
        stale_ms = self.settings.stale_ms
        return [symbol for symbol, ms in ages.items() if ms is not None and ms <= stale_ms]

    def _ask_when_due(self, fresh: list[str], event: Event, now: int) -> None:
        # Questions have a rate: in a large universe the symbols that waited longest come first.
        for symbol in sorted(fresh, key=lambda symbol: self._asked_ts.get(symbol, 0)):
            asked_ts = self._asked_ts.get(symbol)
            if asked_ts is not None and now - asked_ts < self.settings.interval_ms:
                continue
            if self._ask(symbol, event):
                self._asked_ts[symbol] = now

    def _ask_for_signal(self, signal: Signal, event: Event) -> None:
        mid = self._mid(signal.symbol)
        is_full = len(self._signals) >= _SIGNALS_OPEN_MAX
        if mid is None or is_full or not self._ask(signal.symbol, event, signal_id=event.id):
            self.patterns.lost += 1
        else:
            self._signals[event.id] = (event, mid)

    def _lose_signals(self) -> None:
        """Count the signals whose answers went with a worker."""
        self.patterns.lost += len(self._signals)
        self._signals.clear()

    def _ask(self, symbol: str, event: Event, signal_id: str = "") -> bool:
        self._flush()
        if self.keeper.state != READY or self._missed:
            return False  # Half of its bars would be no base for an answer.
        self._question_number += 1
        return self.keeper.ask(
            Question(self._question_number, symbol, self._tick_seq, event.id, signal_id)
        )

    # --- models -------------------------------------------------------------------------------

    def use_model(self, model_id: str) -> None:
        """Let the worker use a snapshot, or the baseline, also in place of one that is refused."""
        text = None
        self.model_note = ""
        if model_id and model_id != BASELINE_ID and self.settings.uses_model:
            try:
                snapshot = self.activation.load_passed(model_id)
                self.settings.training.require_fit(snapshot)
                text = snapshot.text
            except SnapshotRefused as error:
                self.model_note = f"model refused: {error}"
                self._notes.append(self.model_note)
        self.model_id = model_id if text is not None else BASELINE_ID
        # Answers under way may still name the former model; the worker's confirmation ends that.
        self._expect({*self._expected.model_ids, self.model_id})
        self._is_model_told = True
        self.keeper.say({"t": "model", "id": self.model_id, "text": text})

    def _expect(self, model_ids: set[str]) -> None:
        ids = frozenset({*model_ids, BASELINE_ID})
        self._expected = Expected(ids, BASELINE_ID, self.settings.horizon_ms)
        self.keeper.expected = self._expected

    def _introduce(self) -> None:
        """Send a ready worker its model, and the rows that it missed as its pipe has room."""
        self._lose_signals()
        self._is_model_told = False
        self._open()
        self._flush()
        if self.model_id != BASELINE_ID:
            self.use_model(self.model_id)
        if self.settings.misbehave:
            self.keeper.say({"t": "misbehave", "how": self.settings.misbehave})

    def _open(self) -> None:
        """Let the worker begin with empty windows, and fill them as its pipe has room."""
        settings = self.settings
        self._outgoing.clear()
        self._touches.clear()
        rows = self.recent.rows()
        starts = range(0, len(rows), _ROWS_PER_FRAME)
        self._missed = deque(rows[at : at + _ROWS_PER_FRAME] for at in starts)
        self._missed_max = len(self._missed) + _FRAMES_BEHIND_MAX
        self.keeper.say(
            {
                "t": "open",
                "symbols": list(settings.symbols),
                "bar_interval": settings.bar_interval,
                "trend_interval": settings.trend_interval,
                "horizon_ms": settings.horizon_ms,
            }
        )

    # --- answers out --------------------------------------------------------------------------

    def turn(self, now: int) -> Outcome:
        """Check the worker and the training jobs; return the role's tasks."""
        self._flush()
        turn = self.keeper.turn()
        if self.is_off:
            self._lose_signals()
        outcome = Outcome(invalid=turn.invalid, forbidden=turn.forbidden)
        if not turn.forbidden:  # A breach waits for nothing that may fail.
            self._go_on(turn.answers, outcome, now)
        outcome.notes, self._notes = self._notes, []
        outcome.warnings, self.keeper.warnings = self.keeper.warnings, []
        return outcome

    def _go_on(self, answers: list[Answer], outcome: Outcome, now: int) -> None:
        for answer in answers:
            self._on_answer(answer, outcome)
        self._on_model_answer()
        self.patterns.files.write_when_due(now)
        self._train_when_due(now)
        self._fetch_training(outcome)

    def _on_answer(self, answer: Answer, outcome: Outcome) -> None:
        question = answer.question
        if not question.signal_id:
            if answer.recommendation is not None:
                outcome.publish.append((answer.recommendation, question))
            return
        waiting = self._signals.pop(question.signal_id, None)
        if waiting is not None and isinstance(waiting[0].payload, Signal):
            event, mid = waiting
            self.patterns.open(waiting[0].payload, event, answer, mid)

    def _on_model_answer(self) -> None:
        answer, self.keeper.model_answer = self.keeper.model_answer, None
        if answer is None or not self._is_model_told:
            return  # Unasked: ten a second would fill health with their reasons.
        if answer.get("id") != self.model_id:
            return  # Of a model that another one has followed: answers under way may name both.
        self._is_model_told = False
        if answer.get("ok") is not True:
            self.model_note = f"model {self.model_id} does not load: {str(answer.get('why'))[:200]}"
            self._notes.append(self.model_note)
            self.model_id = BASELINE_ID
        self._expect({self.model_id})

    # --- training -----------------------------------------------------------------------------

    def _train_when_due(self, now: int) -> None:
        settings = self.settings
        if not (settings.trains and settings.uses_model) or self.workshop.is_busy:
            return
        if self.keeper.state != READY or self.keeper.hello.get("lightgbm") is not True:
            return
        if self._trained_ts and now - self._trained_ts < settings.train_interval_ms:
            return
        # Splitting takes time: do it only when there may be enough rows, and not too often.
        if len(self.rows) < settings.training.rows_min or now - self._first_ts < 1_000:
            return
        self._first_ts = now
        dataset = self.rows.dataset()
        if rows_are_enough(dataset, settings.training):
            self._trained_ts = now
            self.workshop.start(dataset, now)

    def _fetch_training(self, outcome: Outcome) -> None:
        result, self._passed = self._passed or self.workshop.fetch(), None
        if result is None:
            return
        if not isinstance(result, Trained):
            self.model_note = f"training failed: {result}"
            self._notes.append(self.model_note)
            return
        if not result.verdict.passed:
            reasons = "; ".join(result.verdict.reasons)
            self.model_note = f"model {result.model_id} stays inactive: {reasons}"
            self._notes.append(self.model_note)
            return
        why = f"passed the gate on {result.verdict.rows} rows"
        try:
            # Without waiting: in a turn that takes seconds the clerk would count as hung.
            self.activation.activate(result.model_id, why, lock_wait_s=0)
        except LockBusy as error:
            self._wait_for_lock(result, error)
            return
        except SnapshotRefused as error:
            self.model_note = f"model refused: {error}"
            self._notes.append(self.model_note)
            return
        self.model_note = ""
        self._notes.append(f"model {result.model_id} {why}")
        outcome.activated = (result.model_id, why)

    def _wait_for_lock(self, result: Trained, error: LockBusy) -> None:
        """Keep a model that passed for the next turn; note once that it waits.

        Meanwhile a further training may start; its result is fetched after this one.
        """
        self._passed = result
        note = f"model {result.model_id} waits: {error}"
        if note != self.model_note:
            self.model_note = note
            self._notes.append(note)

    # --- how it is ----------------------------------------------------------------------------

    @property
    def is_off(self) -> bool:
        """Return whether the AI is off for the rest of the run."""
        return self.keeper.state == OFF

    def detail(self) -> str:
        """Return the AI's state in one line."""
        if self.is_off:
            return f"AI off: {self.keeper.off_reason}"
        if self.keeper.state != READY:
            return "AI worker is starting"
        level = isolation_level(self.keeper.hello)
        missing = self.keeper.hello.get("lightgbm_missing")
        parts = [f"isolation {level}", f"model {self.model_id}", self.model_note, self._rows_note]
        if missing:
            parts.append(f"LightGBM does not load: {missing}")
        return "; ".join(part for part in parts if part)[:2000]

    def counters(self) -> dict[str, int]:
        """Return the counters for health."""
        return {
            **self.keeper.counters,
            "ai_dataset_rows": len(self.rows),
            "ai_patterns": self.patterns.files.written,
            "ai_patterns_lost": self.patterns.lost,
        }

    def facts(self) -> dict[str, Any]:
        """Return a few values for the live table."""
        detail = self.detail()
        return {
            "ai": self.keeper.state,
            "model": self.model_id,
            "detail": detail,
            "trouble": detail if self.is_off else "",
        }

    def end(self, now: int) -> None:
        """End the worker and the training jobs, and write all patterns."""
        self.workshop.end()
        self.keeper.end()
        self.patterns.end(now)
