"""Supervisor of the sandboxed worker: restarts it, and switches it off when its budget is spent.

States: `starting` until its hello proves the sandbox, `ready` while it answers, `off` for good. A
worker that hangs, floods, sends garbage or ends is killed and started again, `restarts_max` times;
then the AI is off and the run goes on. Only two things are more serious: a hello with which no
process may be used (`hello_problem`; the caller decides by `ai.required`), and a draft that the AI
may never send, which the caller turns into a STOP. All deadlines are machine time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from minibot.ai.drafts import Answer, DraftForbidden, DraftInvalid, Expected, Question, judge
from minibot.ai.frames import Frame
from minibot.ai.isolation import OFF as NO_SANDBOX
from minibot.ai.isolation import is_enough
from minibot.ai.jailed_process import JailedProcess
from minibot.ai.rows import Row
from minibot.ai.vector import FEATURES, FEATURES_VERSION
from minibot.events.unit_sizes import NS_PER_MS

STARTING: Final = "starting"
READY: Final = "ready"
OFF: Final = "off"

# A start takes 0.1 s; on a cold disk and a busy machine it may take a hundred times that.
STARTING_MS_MAX: Final = 20_000
# The clerk turns ten times a second: after this long it has stood still, and the worker too.
PAUSE_MS_MIN: Final = 2_000
PING_MS: Final = 1_000
# An answer takes under a millisecond; after ten lost pings in a row the worker is dead.
SILENCE_MS_MAX: Final = 10 * PING_MS
QUESTIONS_OPEN_MAX: Final = 64
# One bad line may be a bug; ten from one process mean that none of its lines can be used.
INVALID_MAX: Final = 10
# A hello and models are few; a worker that was silent as long as it may be sends ten pongs at once.
OTHERS_PER_S_MAX: Final = 5 * SILENCE_MS_MAX // PING_MS


@dataclass(slots=True)
class Turn:
    """Result of one check of the worker."""

    answers: list[Answer] = field(default_factory=list)
    invalid: list[tuple[bytes, str]] = field(default_factory=list)
    forbidden: list[tuple[bytes, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Limits of a worker; from `ai` of the profile."""

    isolation_min: str
    restarts_max: int
    drafts_per_s_max: int


class WorkerSupervisor:
    """One worker after another.

    Args:
        limits: Limits of each worker.
        start_child: Starts a process.
        on_ready: Called when a process has proved its sandbox, to send its model and rows.
        expected: Values that answers must agree with; the caller keeps it up to date.
        machine_ns: The machine clock.
    """

    def __init__(
        self,
        limits: WorkerLimits,
        start_child: Callable[[], JailedProcess],
        on_ready: Callable[[], None],
        expected: Expected,
        machine_ns: Callable[[], int],
    ) -> None:
        self.expected = expected
        self.state = STARTING
        self.off_reason = ""
        self.is_unavailable = False
        self.restarts = 0
        self.hello: Frame = {}
        self.counters: dict[str, int] = {
            "ai_rows_dropped": 0,
            "ai_drafts": 0,
            "ai_drafts_invalid": 0,
            "ai_asks_skipped": 0,
            "ai_worker_restarts": 0,
        }
        self.model_answer: Frame | None = None
        self.warnings: list[str] = []
        self._limits = limits
        self._start_child = start_child
        self._on_ready = on_ready
        self._machine_ns = machine_ns
        self._questions: dict[int, Question] = {}
        self._child: JailedProcess | None = None
        self._invalid = 0
        self._second_ns = 0
        self._others_this_second = 0
        self._asks_this_second = 0
        self._ping = 0
        self._pinged_ns = 0
        self._heard_ns = 0
        self._turned_ns = 0

    @property
    def pid(self) -> int:
        """Return the process id of the worker; 0 without one."""
        return self._child.pid if self._child is not None else 0

    def start(self) -> None:
        """Start a process; it is used once its hello has come."""
        self.state = STARTING
        self._questions.clear()
        self._invalid = 0
        self._heard_ns = self._machine_ns()
        try:
            self._child = self._start_child()
        except OSError as error:
            self._child = None
            self._switch_off(f"the worker cannot be started: {error}")

    def end(self) -> None:
        """End the process for good, as at the end of a run."""
        self._drop_child()

    # --- to the worker ------------------------------------------------------------------------

    def send(self, rows: list[Row]) -> bool:
        """Send market rows; False when the worker did not keep up: they are dropped, and counted.

        Without a ready worker, or with one that has ended, there is nothing to keep up with.
        """
        child = self._child
        if self.state != READY or child is None or not rows or self.offer(rows):
            return True
        if child.has_closed:
            return True
        self.counters["ai_rows_dropped"] += len(rows)
        return False

    def offer(self, rows: list[Row]) -> bool:
        """Send market rows if there is room for them; return whether they were sent."""
        child = self._child
        if self.state != READY or child is None:
            return False
        return child.send({"t": "rows", "rows": rows}, may_drop=True)

    def say(self, frame: Frame) -> None:
        """Send a frame that must arrive; a worker whose pipe is too full for it counts as hung.

        One that has ended is left to `turn`, which judges its last lines, and then tells why.
        """
        child = self._child
        if child is not None and not child.send(frame) and not child.has_closed:
            self._fail("its pipe is full")

    def ask(self, question: Question) -> bool:
        """Send a question; return False if it was not sent.

        Without a ready worker it is not; nor, counted as `ai_asks_skipped`, when too many are open
        or were asked within this second. True may still end with a worker that fails at it, which
        loses its questions. An open one has no deadline: unanswered pings show a hang.
        """
        self._new_second()
        is_full = len(self._questions) >= QUESTIONS_OPEN_MAX
        if self.state != READY:
            return False
        if is_full or self._asks_this_second >= self._limits.drafts_per_s_max:
            self.counters["ai_asks_skipped"] += 1
            return False
        self._asks_this_second += 1
        self._questions[question.number] = question
        self.say(question.frame())
        return True

    # --- from the worker ----------------------------------------------------------------------

    def turn(self) -> Turn:
        """Read the worker's lines, check its deadlines, and return the result."""
        turn = Turn()
        self._heed_pause()
        child = self._child
        if self.state == OFF or child is None:
            return turn
        for line in child.receive():
            self._new_second()
            self._take(line, turn)
            if self._child is not child:
                return turn
        self._watch(child)
        return turn

    def _heed_pause(self) -> None:
        """Restart the worker's deadlines after a pause, in which it stood still as well."""
        moment = self._machine_ns()
        before, self._turned_ns = self._turned_ns, moment
        if before and moment - before > PAUSE_MS_MIN * NS_PER_MS:
            self._heard_ns = moment

    def _take(self, line: bytes, turn: Turn) -> None:
        try:
            judged = judge(line, self._questions, self.expected)
        except DraftForbidden as error:
            turn.forbidden.append((line, str(error)))
            self._switch_off(f"it sent {error}")
            return
        except DraftInvalid as error:
            self._count_invalid(line, str(error), turn)
            return
        self._heard_ns = self._machine_ns()
        if isinstance(judged, Answer):
            self._questions.pop(judged.question.number, None)
            if judged.recommendation is not None:
                self.counters["ai_drafts"] += 1
            turn.answers.append(judged)
            return
        # Answers are not counted: open questions bound them, and after a stall all come at once.
        self._others_this_second += 1
        if self._others_this_second > OTHERS_PER_S_MAX:
            self._fail("it floods")
        elif judged["t"] == "hello":
            self._on_hello(judged)
        elif judged["t"] == "model":
            self.model_answer = judged

    def _count_invalid(self, line: bytes, why: str, turn: Turn) -> None:
        turn.invalid.append((line, why))
        self._invalid += 1
        self.counters["ai_drafts_invalid"] += 1
        if self._invalid >= INVALID_MAX:
            self._fail(f"{self._invalid} malformed lines, the last: {why}")

    def _on_hello(self, hello: Frame) -> None:
        if self.state != STARTING:
            self._fail("it sent hello twice")
            return
        problem = hello_problem(hello, self._limits.isolation_min)
        if problem:
            # Another start would meet the same system.
            self.is_unavailable = True
            self._switch_off(problem)
            return
        self.hello = hello
        self.state = READY
        self._on_ready()

    def _watch(self, child: JailedProcess) -> None:
        moment = self._machine_ns()
        if child.has_ended:
            ended = f"it ended: {child.last_words or 'without a word'}"
            self._fail(f"its pipe broke: {child.broken}" if child.broken else ended)
        elif self.state == STARTING:
            if moment - self._heard_ns > STARTING_MS_MAX * NS_PER_MS:
                self._fail(f"no hello within {STARTING_MS_MAX} ms")
        elif moment - self._heard_ns > SILENCE_MS_MAX * NS_PER_MS:
            self._fail(f"no answer for {SILENCE_MS_MAX} ms")
        elif moment - self._pinged_ns > PING_MS * NS_PER_MS:
            self._pinged_ns = moment
            self._ping += 1
            self.say({"t": "ping", "n": self._ping})

    def _new_second(self) -> None:
        moment = self._machine_ns()
        if moment - self._second_ns >= 1_000 * NS_PER_MS:
            self._second_ns = moment
            self._others_this_second = 0
            self._asks_this_second = 0

    # --- the end of a worker ------------------------------------------------------------------

    def _fail(self, why: str) -> None:
        """Kill the worker; start another while the budget lasts, else switch the AI off."""
        self.warnings.append(f"worker {self.pid} is killed: {why}")
        self._drop_child()
        if self.restarts >= self._limits.restarts_max:
            self._switch_off(f"the worker failed {self.restarts + 1} times, last: {why}")
            return
        self.restarts += 1
        self.counters["ai_worker_restarts"] += 1
        self.start()

    def _switch_off(self, why: str) -> None:
        self._drop_child()
        self.state = OFF
        self.off_reason = why[:500]
        self.warnings.append(f"the AI is off: {self.off_reason}")

    def _drop_child(self) -> None:
        child, self._child = self._child, None
        self._questions.clear()
        if child is not None:
            child.kill()


def isolation_level(hello: Mapping[str, Any]) -> str:
    """Return the level that a hello claims; empty when it claims none."""
    isolation = hello.get("isolation")
    level = isolation.get("level") if isinstance(isolation, dict) else None
    return level if isinstance(level, str) else ""


def hello_problem(hello: Mapping[str, Any], isolation_min: str) -> str:
    """Return why a process with this hello may not be used; empty when it may."""
    level = isolation_level(hello)
    if isolation_min == NO_SANDBOX:
        # Preflight says so too; without this a system without a sandbox would run it unprotected.
        return "isolation: the profile turns the AI off on this system (ai.isolation_min)"
    if not is_enough(level, isolation_min):
        return f"isolation is {level!r}, {isolation_min!r} is needed: {_missing(hello)}"
    leaks = hello.get("leaks")
    if not isinstance(leaks, dict) or leaks.get("variables") or leaks.get("descriptors"):
        return f"something leaks into the worker: {str(leaks)[:300]}"
    is_same = hello.get("features") == list(FEATURES)
    if not is_same or hello.get("features_version") != FEATURES_VERSION:
        return "the worker computes other features than this build"
    return ""


def _missing(hello: Mapping[str, Any]) -> str:
    isolation = hello.get("isolation")
    layers = isolation.get("layers") if isinstance(isolation, dict) else None
    if not isinstance(layers, list):
        return "no layers"
    lacking = [
        f"{layer.get('name')}: {layer.get('detail')}"
        for layer in layers
        if isinstance(layer, dict) and layer.get("stands") is not True
    ]
    return "; ".join(lacking)[:300]
