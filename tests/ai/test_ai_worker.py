"""Real worker under its supervisor: answering, misbehaving, hanging, ending."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from minibot.ai.drafts import Answer, Expected, Question
from minibot.ai.frames import (
    DRAFT_BYTES_MAX,
    RESULT_BYTES_MAX,
    FrameError,
    LineSplitter,
    decode_frame,
    encode_frame,
)
from minibot.ai.jailed_process import JailedProcess
from minibot.ai.nore_ai_worker_v1 import NICENESS, TASKS, command
from minibot.ai.probabilities import millionths_text
from minibot.ai.recent import BARS_KEPT
from minibot.ai.rows import BAR, Row, row_of
from minibot.ai.service import AiService
from minibot.ai.settings import ai_settings
from minibot.ai.vector import FEATURES, FEATURES_VERSION
from minibot.ai.worker_supervisor import (
    OFF,
    READY,
    SILENCE_MS_MAX,
    Turn,
    WorkerLimits,
    WorkerSupervisor,
)
from minibot.events.model import Beat, Event, Payload
from minibot.events.names import TICKS
from minibot.kernel.threads import DaemonThread
from minibot.runtime.configuration.config import load_config
from minibot.runtime.paths import PROJECT
from tests.ai.ai_rows import model_text
from tests.ai.ai_stage import LEVEL_HERE, RUN_ID, START_TS, SYMBOL, history, market
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.process

RETURN_15 = FEATURES.index("return_15_bps")
BASELINE = Expected(frozenset({"baseline-v1"}), "baseline-v1", 60_000)


class Bench:
    """Supervisor with real workers, and a monotonic clock that the test can advance."""

    def __init__(
        self,
        folder: Path,
        *,
        restarts_max: int = 0,
        misbehave: str = "",
        drafts_per_s_max: int = 100,
    ) -> None:
        self.folder = folder
        self.misbehave = misbehave
        self.pushed_ns = 0
        self.started: list[JailedProcess] = []
        self.seen = Turn()
        limits = WorkerLimits(LEVEL_HERE, restarts_max, drafts_per_s_max)
        self.keeper = WorkerSupervisor(
            limits, self.start_child, self.introduce, BASELINE, lambda: self.clock_ns()
        )

    def clock_ns(self) -> int:
        """Return the monotonic clock plus the test's advance."""
        return time.monotonic_ns() + self.pushed_ns

    def start_child(self) -> JailedProcess:
        """Start a jailed worker."""
        child = JailedProcess(
            command(sys.executable, self.folder / "ai", 256, "infer"),
            self.folder / "ai" / "work",
            line_bytes_max=DRAFT_BYTES_MAX,
        )
        self.started.append(child)
        return child

    def introduce(self) -> None:
        """Give a ready worker a market, then make it misbehave on demand."""
        self.keeper.say(
            {
                "t": "open",
                "symbols": [SYMBOL],
                "bar_interval": "1s",
                "trend_interval": "1m",
                "horizon_ms": 60_000,
            }
        )
        if self.misbehave:
            self.keeper.say({"t": "misbehave", "how": self.misbehave})

    def turn(self) -> None:
        """Look at the worker once and keep its frames."""
        turn = self.keeper.turn()
        self.seen.answers += turn.answers
        self.seen.invalid += turn.invalid
        self.seen.forbidden += turn.forbidden

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Look at the worker until a condition holds."""

        def turned() -> bool:
            self.turn()
            return condition()

        wait_until(turned, f"{what}; {self.keeper.state} {self.keeper.warnings}")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Factory of started benches, which ends them."""
    made: list[Bench] = []

    def make(**options: object) -> Bench:
        made.append(Bench(tmp_path, **options))  # type: ignore[arg-type]
        made[-1].keeper.start()
        return made[-1]

    yield make
    for one in made:
        one.keeper.end()


def rows() -> list[Row]:
    """Return the rows of a minute of a market with its history."""
    batches = [
        *history(lambda second: 60_000.0 + second),
        *market(0, 40, prices=lambda s: 60_000.0 + s),
    ]
    listed = [row_of(payload) for batch in batches for payload, _ in batch]
    return [row for row in listed if row is not None]


def ask(bench: Bench, number: int) -> Answer:
    """Ask once and return the answer."""
    bench.seen.answers.clear()
    assert bench.keeper.ask(Question(number, SYMBOL, number, "cause"))
    bench.until(lambda: bool(bench.seen.answers), "an answer")
    return bench.seen.answers[0]


def test_worker_passes_until_warm_then_recommends_by_baseline(bench: Callable[..., Bench]) -> None:
    """A worker without bars is silent; a warm one answers, marked as baseline."""
    one = bench()
    one.until(lambda: one.keeper.state == READY, "ready")
    assert ask(one, 1).recommendation is None

    one.keeper.send(rows())
    answer = ask(one, 2)

    assert answer.recommendation is not None
    assert answer.recommendation.baseline is True
    assert len(answer.features) == 19


def test_worker_recommends_by_its_model_and_goes_back_without(bench: Callable[..., Bench]) -> None:
    """A model is loaded inside the sandbox and named in every answer, like the baseline."""
    one = bench()
    one.until(lambda: one.keeper.state == READY, "ready")
    one.keeper.send(rows())
    one.keeper.expected = Expected(frozenset({"baseline-v1", "lgbm-x"}), "baseline-v1", 60_000)
    one.keeper.say({"t": "model", "id": "lgbm-x", "text": model_text()})
    answer = ask(one, 1)
    assert answer.recommendation is not None
    assert answer.recommendation.model_id == "lgbm-x"
    assert answer.recommendation.baseline is False
    assert answer.recommendation.top_features is not None
    assert len(answer.recommendation.top_features) == 3

    one.keeper.say({"t": "model", "id": "", "text": None})
    answer = ask(one, 2)
    assert answer.recommendation is not None
    assert answer.recommendation.model_id == "baseline-v1"


def test_worker_refuses_a_bad_model_and_answers_by_baseline(bench: Callable[..., Bench]) -> None:
    """A model that fails the structural check never reaches the native parser."""
    one = bench()
    one.until(lambda: one.keeper.state == READY, "ready")
    one.keeper.send(rows())
    one.keeper.say({"t": "model", "id": "lgbm-x", "text": "tree\nversion=v4\n"})
    answer = ask(one, 1)
    assert one.keeper.model_answer is not None
    assert one.keeper.model_answer["ok"] is False
    assert answer.recommendation is not None
    assert answer.recommendation.baseline is True


@pytest.mark.row("N-113", "N-16")
@pytest.mark.parametrize("task", ["infer", "train"])
def test_worker_of_a_task_is_this_deliverable_and_says_that_it_is_jailed(
    tmp_path: Path, project: Path, task: str
) -> None:
    """A worker runs `minibot/ai/nore_ai_worker_v1.py`, isolated, and sees only its own room."""
    argv = command(sys.executable, tmp_path / "ai", 256, task)
    child = JailedProcess(argv, tmp_path / "ai" / "work", line_bytes_max=RESULT_BYTES_MAX)
    try:
        said = wait_until(lambda: child.receive(0.1) or child.has_ended, "its hello")
        running = psutil.Process(child.pid).cmdline()
    finally:
        child.kill()

    assert isinstance(said, list), child.last_words
    hello = decode_frame(said[0])
    assert "minibot.ai.nore_ai_worker_v1" in running
    assert "-I" in running
    assert (project / "minibot/ai/nore_ai_worker_v1.py").is_file()
    assert hello["isolation"]["level"] == LEVEL_HERE
    assert hello["leaks"]["variables"] == []
    assert set(hello["rooms"]).isdisjoint({"execution", "risk", "strategies", "exchanges"})


def test_worker_is_that_of_this_tree_whatever_minibot_is_installed(tmp_path: Path) -> None:
    """An environment with another minibot, such as a former install, still runs this worker."""
    venv.create(tmp_path / "env", symlinks=sys.platform != "win32")
    base = tmp_path / "env"
    python = base / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(base)}))
    (site / "minibot").mkdir()
    (site / "minibot" / "__init__.py").write_text("raise SystemExit('another minibot')\n")
    # A folder that a path file adds has its own path files ignored, such as that of this tree.
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")

    child = JailedProcess(
        command(str(python), tmp_path / "ai", 256, "infer"),
        tmp_path / "ai" / "work",
        line_bytes_max=RESULT_BYTES_MAX,
    )
    try:
        said = wait_until(lambda: child.receive(0.1) or child.has_ended, "its hello")
    finally:
        child.kill()

    assert isinstance(said, list), child.last_words
    assert decode_frame(said[0])["isolation"]["level"] == LEVEL_HERE


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: oom_score_adj")
@pytest.mark.parametrize("task", TASKS)
def test_jailed_process_is_the_first_to_go_where_memory_runs_out(tmp_path: Path, task: str) -> None:
    """A worker or trainer that eats the machine's memory costs no role."""
    assert int(kernel_file(tmp_path, task, "oom_score_adj")) == 1000


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="needs Linux: autogroup")
@pytest.mark.parametrize("task", TASKS)
def test_jailed_process_gives_way_to_other_sessions(tmp_path: Path, task: str) -> None:
    """Niceness of a jailed process counts against the roles too, which are other sessions."""
    group = kernel_file(tmp_path, task, "autogroup")

    assert group.split()[-1] == str(NICENESS[task])


def kernel_file(folder: Path, task: str, name: str) -> str:
    """Return a file of `/proc` of a jailed process that has said hello."""
    argv = command(sys.executable, folder / "ai", 256, task)
    child = JailedProcess(argv, folder / "ai" / "work", line_bytes_max=RESULT_BYTES_MAX)
    try:
        wait_until(lambda: child.receive(0.1) or child.has_ended, "its hello")
        return Path(f"/proc/{child.pid}/{name}").read_text()
    finally:
        child.kill()


@pytest.mark.row("N-101")
def test_worker_that_drafts_an_order_is_off_at_once_and_seen(bench: Callable[..., Bench]) -> None:
    """A worker that drafts an order is switched off, and its line is handed up."""
    one = bench(restarts_max=3, misbehave="order_intent")
    one.until(lambda: one.keeper.state == OFF, "off")
    assert "order_intent" in one.seen.forbidden[0][1]
    assert len(one.started) == 1


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("flood", "floods"),
        ("huge_line", "longer than"),
        ("crash", "ended"),
        ("eat_memory", "ended"),
    ],
)
def test_worker_that_breaks_is_replaced_within_its_budget_then_off(
    bench: Callable[..., Bench], how: str, why: str
) -> None:
    """A worker that floods, crashes or eats memory is restarted, then off after its budget."""
    one = bench(restarts_max=1, misbehave=how)
    one.until(lambda: one.keeper.state == OFF, "off")
    assert len(one.started) == 2
    assert why in one.keeper.off_reason
    assert not any(child.is_alive for child in one.started)
    assert one.seen.forbidden == []


def test_worker_that_hangs_is_replaced_after_ten_silent_seconds(
    bench: Callable[..., Bench],
) -> None:
    """A worker that answers no ping for ten seconds of wall-clock time is replaced."""
    one = bench(restarts_max=1, misbehave="hang")
    for number in (1, 2):
        one.until(lambda: one.keeper.state == READY, "ready")
        assert len(one.started) == number
        one.turn()
        assert one.keeper.state == READY
        # One leap of ten seconds would count as a pause of the whole machine.
        for _ in range(SILENCE_MS_MAX // 1000 + 1):
            one.pushed_ns += 1_000_000_000
            one.turn()
    assert one.keeper.state == OFF
    assert "no answer" in one.keeper.off_reason


def test_worker_that_answers_pings_is_left_alone_for_long(bench: Callable[..., Bench]) -> None:
    """An idle worker that answers pings lives on, as silence counts from the last answer."""
    one = bench()
    one.until(lambda: one.keeper.state == READY, "ready")
    for number in range(1, 6):
        one.pushed_ns += (SILENCE_MS_MAX // 2) * 1_000_000
        one.turn()
        ask(one, number)
    assert one.keeper.state == READY
    assert len(one.started) == 1


def test_worker_that_catches_up_after_a_stall_is_kept(bench: Callable[..., Bench]) -> None:
    """A worker that stood still for three seconds answers all that was asked at once, unharmed."""
    one = bench(drafts_per_s_max=20)
    one.until(lambda: one.keeper.state == READY, "ready")
    worker = psutil.Process(one.keeper.pid)
    worker.suspend()
    for number in range(60):
        if number % 20 == 0:
            one.pushed_ns += 1_000_000_000
        assert one.keeper.ask(Question(number, SYMBOL, 1, "cause"))
    worker.resume()
    one.until(lambda: len(one.seen.answers) == 60 or one.keeper.state != READY, "all answers")

    assert one.keeper.warnings == []
    assert [answer.question.number for answer in one.seen.answers] == list(range(60))


@pytest.mark.parametrize("how", ["nan", "garbage"])
def test_worker_with_a_malformed_line_is_counted_and_kept(
    bench: Callable[..., Bench], how: str
) -> None:
    """A malformed line is counted and set aside; the worker still answers."""
    one = bench(misbehave=how)
    one.until(lambda: bool(one.seen.invalid), "the malformed line")
    assert ask(one, 1).recommendation is None
    assert one.keeper.counters["ai_drafts_invalid"] == 1
    assert one.keeper.state == READY


@pytest.mark.row("N-68")
def test_worker_killed_from_outside_is_started_again(bench: Callable[..., Bench]) -> None:
    """A worker killed by `kill -9` costs one restart and nothing else."""
    one = bench(restarts_max=1)
    one.until(lambda: one.keeper.state == READY, "ready")
    former = one.keeper.pid
    one.started[0].kill()
    one.until(lambda: one.keeper.state == READY and one.keeper.pid != former, "ready again")
    assert one.keeper.counters["ai_worker_restarts"] == 1


def test_isolation_below_the_minimum_is_off_without_a_second_try(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    """A sandbox below the profile's minimum switches the AI off without a second try."""
    one = Bench(tmp_path, restarts_max=3)
    one.keeper = WorkerSupervisor(
        WorkerLimits("unreachable", 3, 100),
        one.start_child,
        one.introduce,
        BASELINE,
        time.monotonic_ns,
    )
    one.keeper.start()
    one.until(lambda: one.keeper.state == OFF, "off")
    assert one.keeper.is_unavailable
    assert len(one.started) == 1


def test_rows_that_a_worker_does_not_take_are_dropped_not_waited_for(
    bench: Callable[..., Bench],
) -> None:
    """A hung worker's full pipe makes the clerk drop and count rows, never wait."""
    one = bench(misbehave="hang")
    one.until(lambda: one.keeper.state == READY, "ready")
    for _ in range(3000):
        one.keeper.send(rows()[:64])
        if one.keeper.counters["ai_rows_dropped"] > 0:
            break
    assert one.keeper.counters["ai_rows_dropped"] > 0
    assert one.keeper.state == READY


def test_worker_of_a_large_universe_is_introduced_as_its_pipe_has_room(tmp_path: Path) -> None:
    """The recent bars of eight hundred pairs reach a new worker, and a question behind them."""
    others = [f"P{number}USDT" for number in range(799)]
    config = load_config(PROJECT / "config" / "nore-demo.v1.json", [], {}).raw
    config = {**config, "ai": {**config["ai"], "isolation_min": {sys.platform: LEVEL_HERE}}}
    settings = ai_settings(config, run_id=RUN_ID, root=tmp_path / "ai", symbols=(*others, SYMBOL))

    def start_child() -> JailedProcess:
        argv = command(sys.executable, settings.root, 256, "infer")
        return JailedProcess(argv, settings.root / "work", line_bytes_max=DRAFT_BYTES_MAX)

    clerk = AiService(settings, start_child, time.monotonic_ns)
    published: list[str] = []

    def turned(condition: Callable[[], bool]) -> bool:
        published.extend(one.symbol for one, _ in clerk.turn(START_TS).publish)
        return condition()

    def is_ready() -> bool:
        return clerk.keeper.state in (READY, OFF)

    def is_answered() -> bool:
        payload = Beat(n=1, data_age_ms={SYMBOL: 0})
        beat = Event(START_TS, "beat", "market_role", RUN_ID, "0" * 64, payload)
        clerk.take(TICKS, 1, beat, START_TS)
        return bool(published) or clerk.is_off

    clerk.keeper.start()
    wait_until(lambda: turned(is_ready), "ready")
    for name in (*others, "NOPEUSDT"):
        for _ in range(BARS_KEPT):
            clerk.recent.take([BAR, name, "1s", "60001.00", "60000.00", "60000.50", "1.0", "0.5"])
    for row in rows():
        clerk.recent.take(row)
    psutil.Process(clerk.keeper.pid).kill()
    wait_until(lambda: turned(lambda: clerk.keeper.restarts > 0 and is_ready()), "ready again")
    wait_until(lambda: turned(is_answered), f"an answer; {clerk.keeper.warnings}")
    state, restarts = clerk.keeper.state, clerk.keeper.restarts
    clerk.end(START_TS)

    assert (state, restarts) == (READY, 1)
    assert published == [SYMBOL]
    assert clerk.keeper.counters["ai_rows_dropped"] == 0
    assert {row[1] for row in clerk.recent.rows()} == set(settings.symbols)


def test_worker_that_lost_bars_answers_with_all_of_them_again(tmp_path: Path) -> None:
    """Bars that found no room come again before the next question, whose answer needs them all."""
    config = load_config(PROJECT / "config" / "nore-demo.v1.json", [], {}).raw
    config = {**config, "ai": {**config["ai"], "isolation_min": {sys.platform: LEVEL_HERE}}}
    settings = ai_settings(config, run_id=RUN_ID, root=tmp_path / "ai", symbols=(SYMBOL,))

    def start_child() -> JailedProcess:
        return JailedProcess(
            command(sys.executable, settings.root, 256, "infer"),
            settings.root / "work",
            line_bytes_max=DRAFT_BYTES_MAX,
            buffer_bytes_max=1 << 16,
        )

    clerk = AiService(settings, start_child, time.monotonic_ns)
    seconds = market(0, 10_000, prices=lambda second: 60_000.0 + second * second % 97)
    wanted: dict[int, str] = {}
    found: dict[int, str] = {}

    def feed(batch: list[tuple[Payload, int]]) -> int:
        """Take a second of the market, and a turn; return its time."""
        for payload, ts in batch:
            clerk.take(TICKS, ts, Event(ts, f"{ts}", "market_role", RUN_ID, "0" * 64, payload), ts)
        vector = clerk.rows.windows.by_symbol[SYMBOL].vector()
        wanted[ts] = "" if vector is None else millionths_text(vector[RETURN_15])
        for answer, question in clerk.turn(ts).publish:
            found[question.tick_seq] = dict(answer.top_features or ())["return_15_bps"]
        return ts

    clerk.keeper.start()
    wait_until(lambda: clerk.turn(START_TS) and clerk.keeper.state in (READY, OFF), "ready")
    for batch in history(lambda second: 60_000.0 + second):
        feed(batch)
    worker = psutil.Process(clerk.keeper.pid)
    worker.suspend()
    while not clerk.keeper.counters["ai_rows_dropped"]:
        lost_ts = feed(next(seconds))
    worker.resume()
    wait_until(lambda: feed(next(seconds)) and max(found, default=0) > lost_ts, "an answer")
    clerk.end(START_TS)

    assert found == {ts: wanted[ts] for ts in found}
    assert clerk.keeper.restarts == 0


LAST_WORDS = """
import os, sys
hello, last = sys.argv[1:]
os.write(1, hello.encode())
sys.stdin.readline()
os.write(1, last.encode())
sys.exit("boom")
"""
HELLO = encode_frame(
    {
        "t": "hello",
        "isolation": {"level": LEVEL_HERE},
        "leaks": {"variables": [], "descriptors": []},
        "features": list(FEATURES),
        "features_version": FEATURES_VERSION,
    }
).decode()
ORDER = '{"t":"draft","type":"order_intent"}\n'


@pytest.mark.row("N-101")
@pytest.mark.parametrize(
    ("last", "forbidden", "why"),
    [
        (ORDER, 1, "it sent a draft of type 'order_intent'"),
        (ORDER + "x" * 20_000, 1, "it sent a draft of type 'order_intent'"),
        ("x" * 20_000, 0, "its pipe broke: a line is longer than 16384 bytes"),
        ("", 0, "it ended: boom"),
    ],
    ids=["order", "order and a long line", "long line", "crash"],
)
def test_worker_that_ends_while_rows_flow_is_judged_by_its_last_words(
    tmp_path: Path, last: str, forbidden: int, why: str
) -> None:
    """Rows that reach no worker any more hide neither a drafted order nor why it ended."""
    config = load_config(PROJECT / "config" / "nore-demo.v1.json", [], {}).raw
    config = {**config, "ai": {**config["ai"], "isolation_min": {sys.platform: LEVEL_HERE}}}
    settings = ai_settings(config, run_id=RUN_ID, root=tmp_path / "ai", symbols=(SYMBOL,))
    started: list[JailedProcess] = []

    def start_child() -> JailedProcess:
        argv = [sys.executable, "-I", "-c", LAST_WORDS, HELLO, last]
        work = settings.root / "work"
        started.append(JailedProcess(argv, work, line_bytes_max=DRAFT_BYTES_MAX))
        return started[-1]

    clerk = AiService(settings, start_child, time.monotonic_ns)
    clerk.keeper.start()
    wait_until(lambda: clerk.turn(START_TS) and clerk.keeper.state in (READY, OFF), "ready")
    child = started[0]
    wait_until(lambda: not child.send({"t": "ping", "n": 1}) and child.last_words, "its end")
    for payload, ts in next(market(0, 1, prices=lambda second: 60_000.0)):
        clerk.take(TICKS, 1, Event(ts, "tick", "market_role", RUN_ID, "0" * 64, payload), ts)
    outcome = clerk.turn(START_TS)
    dropped = clerk.keeper.counters["ai_rows_dropped"]
    clerk.end(START_TS)

    assert len(outcome.forbidden) == forbidden
    assert why in outcome.warnings[0]
    assert dropped == 0


def test_questions_are_bounded_by_rate_and_by_what_is_open(bench: Callable[..., Bench]) -> None:
    """Questions are limited by rate and by open ones, so a silent worker is not flooded."""
    one = bench(misbehave="hang")
    one.until(lambda: one.keeper.state == READY, "ready")
    asked = sum(one.keeper.ask(Question(number, SYMBOL, 1, "cause")) for number in range(1, 300))
    assert asked <= 100
    assert one.keeper.counters["ai_asks_skipped"] == 299 - asked


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: parent-death signal")
def test_worker_ends_with_its_parent(tmp_path: Path) -> None:
    """A killed clerk leaves no worker behind, not even a hung one."""
    script = (
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        "from minibot.ai.jailed_process import JailedProcess\n"
        "from minibot.ai.nore_ai_worker_v1 import command\n"
        "folder = Path(sys.argv[1])\n"
        "child = JailedProcess(command(sys.executable, folder, 256, 'infer'), folder / 'work',\n"
        "              line_bytes_max=65536)\n"
        "child.receive(20)\n"
        "child.send({'t': 'misbehave', 'how': 'hang'})\n"
        "sleeping = b'230 ' if os.uname().machine == 'x86_64' else b'115 '\n"
        "asleep = lambda: Path(f'/proc/{child.pid}/syscall').read_bytes().startswith(sleeping)\n"
        "while not asleep():\n"
        "    time.sleep(0.01)\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    pid = int(ended.stdout)
    wait_until(lambda: not alive(pid), f"worker {pid} gone")


def alive(pid: int) -> bool:
    """Return whether a process runs, zombies excluded."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_lines_are_cut_the_same_however_they_arrive() -> None:
    """Lines are cut equally from single bytes or blocks; a line over its bound is an error."""
    data = b"one\n\ntwo\nthree"
    whole, single = LineSplitter(10), LineSplitter(10)
    assert list(whole.take(data)) == [b"one", b"", b"two"]
    assert [line for byte in data for line in single.take(bytes([byte]))] == [b"one", b"", b"two"]
    lines = whole.take(b"\nfour\n" + b"x" * 11 + b"\nfive\n")
    assert [next(lines), next(lines)] == [b"three", b"four"]
    with pytest.raises(FrameError):
        next(lines)


def test_child_that_cannot_be_started_is_off(tmp_path: Path) -> None:
    """A missing interpreter switches the AI off and is not an error of the clerk."""

    def start() -> JailedProcess:
        return JailedProcess(
            [str(tmp_path / "nothing")], tmp_path / "work", line_bytes_max=RESULT_BYTES_MAX
        )

    keeper = WorkerSupervisor(
        WorkerLimits(LEVEL_HERE, 3, 10), start, lambda: None, BASELINE, time.monotonic_ns
    )
    keeper.start()
    assert keeper.state == OFF
    assert "cannot be started" in keeper.off_reason
    assert os.listdir(tmp_path / "work") == []


def test_child_without_a_thread_of_ours_is_off_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system without a further thread switches the AI off, as one without a process does."""
    begin = DaemonThread.start

    def start_thread(thread: DaemonThread) -> None:
        if thread.name == "ai-words":
            raise RuntimeError(f"thread {thread.name} could not start")
        begin(thread)

    monkeypatch.setattr(DaemonThread, "start", start_thread)
    # It must still run when the thread is refused: only a kill ends it before its time.
    argv = [sys.executable, "-c", "import time; time.sleep(600)", str(tmp_path)]

    def start() -> JailedProcess:
        return JailedProcess(argv, tmp_path / "work", line_bytes_max=RESULT_BYTES_MAX)

    keeper = WorkerSupervisor(
        WorkerLimits(LEVEL_HERE, 3, 10), start, lambda: None, BASELINE, time.monotonic_ns
    )
    keeper.start()

    assert keeper.state == OFF
    assert "ai-words could not start" in keeper.off_reason
    assert argv not in [child.cmdline() for child in psutil.Process().children()]
