"""Real `ai_role` process on a run's own queues: its output, its recovery, its STOPs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
import pytest

from minibot.ai.activation import Activation
from minibot.ai.collect import collect
from minibot.ai.intake import HINT_FILE, Intake
from minibot.ai.proof import prove
from minibot.ai.role import NICENESS
from minibot.ai.settings import ai_settings
from minibot.events.model import Ack, Beat, ModelActive, Recommendation
from minibot.kernel.errors import IntegrityError, Refusal, RunStop
from minibot.kernel.files import read_hashed, write_hashed
from minibot.kernel.journal import JournalReader
from minibot.kernel.line import decode_line
from minibot.kernel.seal import seal_run
from minibot.runtime.channels import Control, SilentHeartbeat
from minibot.runtime.context import RoleContext
from minibot.runtime.paths import PROJECT
from tests.ai.ai_stage import RUN_ID, START_TS, SYMBOL, Stage, history, market, signal
from tests.ai.test_ai_models import TRAINED, passed
from tests.kernel.kernel_support import drain
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.process

FAST = {
    "drafts_per_s_max": 1000,
    "isolation_min": {"linux": "jail", "win32": "advisory", "darwin": "off"},
}


def wave(second: int) -> float:
    """Return a price that swings 30 bps every two minutes, a pattern to learn."""
    return 60_000.0 + 200.0 * math.sin(second / 20.0)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Factory of stages, which ends them."""
    made: list[Stage] = []

    def make(ai: dict[str, Any] | None = None, chaos: Any = None) -> Stage:
        made.append(Stage(tmp_path / "var", {**FAST, **(ai or {})}, chaos))
        return made[-1]

    yield make
    for one in made:
        one.end()


def recommendations(one: Stage) -> list[Recommendation]:
    """Return the recommendations so far, oldest first."""
    payloads = [event.payload for event in one.events("recommendations")]
    return [payload for payload in payloads if isinstance(payload, Recommendation)]


def started(one: Stage, seconds: int = 40) -> Stage:
    """Start the role on a market with history and wait for its first event."""
    one.feed(history(wave))
    one.start_ready()
    one.feed(market(0, seconds, prices=wave))
    return one


def paced(
    one: Stage, first: int, last: int, done: Callable[[], bool], deadline_s: float = DEADLINE_S
) -> int:
    """Feed seconds until a condition holds; return the second after the last that was fed."""
    second = first

    def more() -> bool:
        nonlocal second
        if done():
            return True
        if second < last:
            one.feed(market(second, min(last, second + 5), prices=wave))
            second = min(last, second + 5)
        return False

    wait_until(more, "the condition while the market goes on", deadline_s)
    return second


def core_digest() -> str:
    """Return one hash over the code of the cores and the configuration."""
    paths = [
        path
        for folder in ("minibot/strategies", "minibot/risk", "minibot/execution", "config")
        for path in sorted((PROJECT / folder).glob("*.*"))
    ]
    return sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


@pytest.mark.row("N-03", "N-34", "N-16", "N-21", "N-69", "N-70")
def test_role_recommends_collects_patterns_and_writes_nothing_else(
    stage: Callable[..., Stage],
) -> None:
    """The role writes a recommendation per interval and a pattern per signal, and nothing else."""
    core = core_digest()
    one = started(stage({"train": False}))
    cause = one.events("market_ticks")[-1].id
    one.write("signals", signal(), START_TS + 39_000, cause_ids=(cause,), tick_seq=one.tick_seq)
    paced(one, 40, 200, lambda: len(one.events("recommendations")) >= 4)
    paced(one, 200, 100_000, lambda: bool(list(one.var.ai.rglob("patterns/*/*.jsonl"))))
    before = {path for path in one.var.root.rglob("*") if path.is_file()}
    assert one.drain() == 0

    assert core_digest() == core
    events = one.events("recommendations")
    log = b"".join(path.read_bytes() for path in sorted(one.var.ai.rglob("recommendations/*/*")))
    assert log == (one.var.queues / "recommendations" / "inbox.jsonl").read_bytes()
    assert {event.type for event in events} == {"recommendation"}
    assert {advice.symbol for advice in recommendations(one)} == {SYMBOL}
    assert {event.source for event in events} == {"ai_role"}
    ticks = {event.id: seq for seq, event in enumerate(one.events("market_ticks"), start=1)}
    assert all(ticks[event.cause_ids[0]] == event.tick_seq for event in events if event.cause_ids)
    written = {
        path.relative_to(one.var.root).parts[0] for path in before if "writer.lock" not in path.name
    }
    assert written <= {"ai", "queues", "logs", "stop", "runs", "requests"}
    assert not list(one.var.requests.iterdir())
    for queue in ("order_intents", "order_results", "fills", "risk_actions", "signals", "control"):
        assert not [event for event in one.events(queue) if event.source == "ai_role"]


def test_role_pattern_holds_window_recommendation_and_what_followed(
    stage: Callable[..., Stage],
) -> None:
    """A pattern verifies like a queue's line and holds window, recommendation and outcome."""
    one = started(stage({"train": False}))
    cause = one.events("market_ticks")[-1].id
    sent = one.write(
        "signals", signal(), START_TS + 39_000, cause_ids=(cause,), tick_seq=one.tick_seq
    )
    # The outcome counts from the mid that the role knows as it takes the signal.
    wait_until(
        lambda: one.health() and one.health()[-1].inputs["signals"]["position"] == 1,
        "the signal is taken before the market goes on",
    )
    paced(one, 40, 100_000, lambda: bool(list(one.var.ai.rglob("patterns/*/*.jsonl"))))

    (path,) = sorted(one.var.ai.rglob("patterns/*/*.jsonl"))[:1]
    line = path.read_bytes().splitlines(keepends=True)[0]
    pattern = json.loads(decode_line(line)[1])

    assert pattern["signal_id"] == sent.id
    assert len(pattern["features"]) == 19
    assert pattern["recommendation"]["model_id"] == "baseline-v1"
    assert pattern["outcome"]["after_ms"] >= 30_000
    # The wave's move over that time, measured at the mid.
    moved = (wave(39 + pattern["outcome"]["after_ms"] // 1000) - wave(39)) / wave(39) * 10_000
    assert abs(float(pattern["outcome"]["return_bps"]) - moved) < 3.0


@pytest.mark.row("N-17", "N-21", "N-73")
def test_role_trains_activates_and_uses_its_model_when_told(stage: Callable[..., Stage]) -> None:
    """The role trains during the run, activates on request, and recommends by its own model."""
    one = started(stage({"interval_market_ms": 1000, "train_interval_market_ms": 20_000}))
    # Training has idle priority: on a busy machine it takes long, and may be tried again.
    second = paced(one, 40, 1000, lambda: (one.var.ai / "active.json").exists(), 5 * DEADLINE_S)
    wait_until(lambda: bool(list(one.var.requests.glob("model_active-*.json"))), "the request")
    request = min(one.var.requests.glob("model_active-*.json"), key=lambda path: path.name)
    model_id = json.loads(request.read_text("ascii"))["model_id"]
    active = Activation(one.var.ai).read()
    assert model_id in (active.model_id, *active.former)
    assert {advice.model_id for advice in recommendations(one)} == {"baseline-v1"}

    one.write("control", ModelActive("watchdog_role", "request", model_id), START_TS)
    paced(
        one,
        second,
        second + 300,
        lambda: recommendations(one)[-1].model_id == model_id,
    )

    last = recommendations(one)[-1]
    assert last.baseline is False
    assert list((one.var.ai / "packs").iterdir())
    assert one.drain() == 0


def test_role_starts_with_the_active_model_and_without_a_damaged_one(
    stage: Callable[..., Stage],
) -> None:
    """A model active on disk answers from the start; a damaged one is replaced by the baseline."""
    one = stage({"train": False, "interval_market_ms": 1000})
    model_id = passed(one.var.ai, 1)
    Activation(one.var.ai).activate(model_id, "test")
    started(one)
    paced(one, 40, 100, lambda: bool(one.events("recommendations")))
    assert f"model {model_id}" in one.detail()
    assert one.drain() == 0
    count = len(one.events("recommendations"))

    (one.var.ai / "snapshots" / model_id / "model.txt").write_bytes(b"tree\n")
    one.start_ready()
    assert "model refused" in one.detail()
    paced(one, 200, 300, lambda: len(one.events("recommendations")) > count)
    assert recommendations(one)[-1].model_id == "baseline-v1"


def test_role_starts_without_an_active_model_of_another_horizon(
    stage: Callable[..., Stage],
) -> None:
    """A model that was made for half a minute is refused where twenty seconds are asked for."""
    one = stage({"train": False, "interval_market_ms": 1000, "horizon_ms": 20_000})
    Activation(one.var.ai).activate(passed(one.var.ai, 1), "test")
    started(one)
    paced(one, 40, 100, lambda: bool(one.events("recommendations")))

    assert "model refused" in one.detail()
    assert recommendations(one)[0].model_id == "baseline-v1"
    assert one.drain() == 0


def test_role_of_the_baseline_alone_says_nothing_of_a_model(stage: Callable[..., Stage]) -> None:
    """No active model is refused where `ai.model` is the baseline, as none is used."""
    one = stage({"train": False, "model": "baseline", "horizon_ms": 20_000})
    Activation(one.var.ai).activate(passed(one.var.ai, 1), "test")
    started(one)

    assert "model baseline-v1" in one.detail()
    assert "refused" not in one.detail()
    assert one.drain() == 0


def test_role_starts_with_the_last_model_that_answers_its_question(
    stage: Callable[..., Stage],
) -> None:
    """A demo before the night leaves its own model active, and the last night's before it."""
    one = stage({"train": False, "interval_market_ms": 1000})
    fitting = passed(one.var.ai, 1)
    for model_id in (fitting, passed(one.var.ai, 2, {**TRAINED, "horizon_ms": 20_000})):
        Activation(one.var.ai).activate(model_id, "test")
    started(one)
    paced(one, 40, 100, lambda: bool(one.events("recommendations")))

    assert recommendations(one)[0].model_id == fitting
    assert one.drain() == 0


def test_role_goes_on_with_the_baseline_where_the_active_pointer_is_damaged(
    stage: Callable[..., Stage],
) -> None:
    """Damage of one of the AI's own files ends no night."""
    one = stage({"train": False, "interval_market_ms": 1000})
    one.var.ai.mkdir(parents=True, exist_ok=True)
    (one.var.ai / "active.json").write_bytes(b"lgbm\n")
    started(one)
    paced(one, 40, 100, lambda: bool(one.events("recommendations")))

    assert "active.json" in one.detail()
    assert recommendations(one)[0].model_id == "baseline-v1"
    assert one.drain() == 0


@pytest.mark.parametrize("is_named", [True, False])
def test_role_recommends_nothing_on_data_that_are_stale(
    stage: Callable[..., Stage], is_named: bool
) -> None:
    """A symbol with stale data, or none, gets no recommendation until ticks come again."""
    one = started(stage({"train": False, "interval_market_ms": 1000}))
    # An hour ahead of the clock, so that the beats' own times count.
    second = paced(one, 40, 200, lambda: bool(one.events("recommendations"))) + 3600
    limit_ms = one.manifest.config["binance"]["tick_stale_market_ms"]
    stale: set[str] = set()

    def causes() -> set[str]:
        events = one.events("recommendations")
        return {cause for event in events for cause in event.cause_ids or ()}

    def is_answered(beat_id: str) -> bool:
        return beat_id in causes()

    for age_ms in range(0, 30_000, 1000):
        if is_named or age_ms > limit_ms:
            beat = Beat(second + 1, {SYMBOL: age_ms} if is_named else {})
            sent = one.write("market_ticks", beat, START_TS + second * 1000).id
            second += 1
            if age_ms > limit_ms:
                stale.add(sent)
            else:  # Before the next one: a worker that has too much to do is asked less.
                wait_until(partial(is_answered, sent), "a beat of fresh data is answered")
    seq = one.tick_seq
    paced(
        one,
        second,
        second + 200,
        lambda: (one.events("recommendations")[-1].tick_seq or 0) > seq,
    )

    assert causes().isdisjoint(stale)


@pytest.mark.row("N-101")
def test_role_stops_the_run_when_its_worker_drafts_an_order(stage: Callable[..., Stage]) -> None:
    """A drafted order causes a dead letter, STOP(AI_ISOLATION_BREACH), flag and exit code 10."""
    one = stage(chaos={"ai_worker": "order_intent"})
    process = one.start()
    assert process.wait(DEADLINE_S) == 10

    (stop,) = one.stops()
    assert (stop.kind, stop.reason_code) == ("STOP", "AI_ISOLATION_BREACH")
    (letter,) = one.dead_letters()
    assert letter.reason_code == "ai_draft_forbidden"
    assert "order_intent" in letter.line
    assert one.var.flag.exists()
    assert one.events("order_intents") == []
    assert one.events("recommendations") == []


FAILING_END = """
from minibot.ai.service import AiService
def end(self, now):
    raise PermissionError("patterns")
AiService.end = end
"""
KILLED_END = """
import os
from minibot.ai.service import AiService
def end(self, now):
    os._exit(9)
AiService.end = end
"""
FAILING_LETTER = """
from minibot.ai.intake import Intake
def set_aside(self, draft, reason_code, why):
    raise PermissionError("deadletter.jsonl")
Intake.set_aside = set_aside
"""
KILLED_LETTER = """
import os
from minibot.ai.intake import Intake
def set_aside(self, draft, reason_code, why):
    os._exit(9)
Intake.set_aside = set_aside
"""
LOCKED_MODEL = """
from minibot.ai.service import AiService
from minibot.kernel.errors import LockBusy
fetch = AiService._fetch_training
def locked(self, outcome):
    fetch(self, outcome)
    if outcome.forbidden:
        raise LockBusy("active.lock")
AiService._fetch_training = locked
"""


@pytest.mark.row("F127")
@pytest.mark.parametrize(
    ("before", "code", "letters"),
    [
        (FAILING_END, 10, 1),
        (KILLED_END, 9, 1),
        (FAILING_LETTER, 10, 0),
        (KILLED_LETTER, 9, 0),
        (LOCKED_MODEL, 10, 1),
    ],
)
def test_role_records_a_breach_although_another_step_fails(
    stage: Callable[..., Stage], before: str, code: int, letters: int
) -> None:
    """A letter or clean-up that fails or is cut off, or a locked model, leaves the STOP."""
    one = stage(chaos={"ai_worker": "order_intent"})
    assert one.start(before.strip()).wait(DEADLINE_S) == code

    assert [stop.reason_code for stop in one.stops()] == ["AI_ISOLATION_BREACH"]
    assert [letter.reason_code for letter in one.dead_letters()] == ["ai_draft_forbidden"] * letters
    assert one.var.flag.exists()


LATE_BREACH = """
from minibot.ai.role import AiRole
after = AiRole._after
def breach(self, outcome):
    code = after(self, outcome)
    if not outcome.publish:
        return code
    outcome.publish = []
    outcome.invalid.append((b"garbage", "no frame"))
    outcome.forbidden.append((b"order", "a draft of type 'order_intent'"))
    return after(self, outcome)
AiRole._after = breach
"""


def test_role_that_stops_for_a_breach_keeps_what_was_before_it(
    stage: Callable[..., Stage],
) -> None:
    """A breach leaves the malformed lines of its turn and the log of recommendations whole."""
    one = stage({"train": False})
    one.feed(history(wave))
    process = one.start(LATE_BREACH.strip())
    paced(one, 0, 200, lambda: process.poll() is not None)
    assert process.returncode == 10

    codes = [letter.reason_code for letter in one.dead_letters()]
    assert codes == ["ai_draft_forbidden", "ai_draft_invalid"]
    (log,) = one.var.ai.rglob("recommendations/*/*")
    assert log.read_bytes() == (one.var.queues / "recommendations" / "inbox.jsonl").read_bytes()


@pytest.mark.row("F91", "F92")
def test_role_sets_an_event_against_its_contract_aside_and_stops(
    stage: Callable[..., Stage],
) -> None:
    """An event against its contract causes a dead letter beside the input, and a STOP."""
    one = stage({"train": False})
    one.write("signals", signal(), START_TS)
    one.write_broken("signals", signal(), START_TS)
    process = one.start()
    assert process.wait(DEADLINE_S) == 10

    (stop,) = one.stops()
    assert (stop.kind, stop.reason_code) == ("STOP", "SCHEMA_INVALID")
    (letter,) = one.dead_letters("signals")
    assert (letter.queue, letter.seq, letter.reason_code) == ("signals", 2, "SCHEMA_INVALID")


def test_unusable_hint_of_the_clerk_goes_and_keeps_no_next_one_from_being_written(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hint that is damaged or has another form only costs time, at a start as at a saving."""
    one = stage()
    context = RoleContext("ai_role", one.run_dir, Control(), SilentHeartbeat("ai_role"))
    intake = Intake(context)
    path = intake.folders["market_ticks"] / HINT_FILE
    path.write_bytes(b"damaged")

    assert intake.hint() == []
    assert not path.exists()
    write_hashed(path, {"run_id": context.run_id, "recent": [], "known": [1], "now": 0})
    assert intake.hint() == []
    assert not path.exists()
    list(intake.logged())
    intake.start()
    path.write_bytes(b"damaged")
    monkeypatch.setattr("minibot.ai.intake.machine_ns", lambda: 1 << 62)
    intake.housekeep(lambda: [["bar", SYMBOL]])
    intake.end()
    context.close_outputs()

    assert read_hashed(path)["recent"] == [["bar", SYMBOL]]


@pytest.mark.parametrize("how", ["nan", "garbage"])
def test_role_sets_a_malformed_draft_aside_and_goes_on(
    stage: Callable[..., Stage], how: str
) -> None:
    """A malformed draft causes a dead letter with its line; recommendations continue."""
    one = started(stage({"train": False}, chaos={"ai_worker": how}))
    wait_until(lambda: len(one.dead_letters()) == 1, "the dead letter")
    paced(one, 40, 200, lambda: bool(one.events("recommendations")))
    assert one.dead_letters()[0].reason_code == "ai_draft_invalid"
    assert one.stops() == []
    assert one.drain() == 0


@pytest.mark.row("N-68")
def test_role_goes_on_without_its_worker_when_the_budget_is_spent(
    stage: Callable[..., Stage],
) -> None:
    """A worker that always floods is switched off: DEGRADED, inputs processed, no STOP."""
    one = stage(
        {"train": False, "restarts_max": 1, "drafts_per_s_max": 20}, chaos={"ai_worker": "flood"}
    )
    one.feed(history(wave))
    one.start()
    wait_until(lambda: one.detail().startswith("DEGRADED: AI off"), f"off: {one.detail()}")
    one.feed(market(0, 30, prices=wave))
    assert one.drain() == 0

    assert one.stops() == []
    assert not one.var.flag.exists()
    assert taken_seq(one) == one.tick_seq


def taken_seq(one: Stage) -> int:
    """Return the last market_ticks line in the input log, checking that none is left out."""
    folder = one.var.queues / "market_ticks" / "readers" / "ai_role"
    next_n, next_seq = 1, 1
    for line in drain(JournalReader(folder, "acks")):
        ack = one.codec.decode("market_ticks/acks", line.json).payload
        assert isinstance(ack, Ack)
        assert ack.n == next_n
        next_n += ack.to_seq - ack.from_seq + 1
        if ack.queue == "market_ticks":
            assert ack.from_seq == next_seq
            next_seq = ack.to_seq + 1
    return next_seq - 1


# With nothing to take, the clerk's housekeeping lasts until the drain, if the test asks for it.
SLOW_HOUSEKEEPING = """
import time
from minibot.ai.role import AiRole
housekeep = AiRole._housekeep
def slow(self, took):
    housekeep(self, took)
    root = self.context.var.root
    if took == 0 and (root / "slow").exists():
        (root / "in_housekeeping").touch()
        while not self.context.control.draining:
            time.sleep(0.01)
AiRole._housekeep = slow
"""


def test_drained_role_takes_what_was_published_during_its_housekeeping(
    stage: Callable[..., Stage],
) -> None:
    """A clerk told to drain while it syncs takes the lines published meanwhile."""
    one = stage({"train": False})
    one.feed(history(wave))
    one.start(SLOW_HOUSEKEEPING.strip())
    (one.var.root / "slow").touch()
    wait_until((one.var.root / "in_housekeeping").exists, "the clerk is in its housekeeping")
    one.feed(market(0, 5, prices=wave))
    assert one.drain() == 0

    assert taken_seq(one) == one.tick_seq


@pytest.mark.parametrize(("required", "code"), [(True, 10), (False, 0)])
def test_role_without_a_jail_is_off_or_stops_as_the_profile_says(
    stage: Callable[..., Stage], required: bool, code: int
) -> None:
    """A worker below the least isolation is a STOP where the AI is required, else the AI is off."""
    one = stage({"required": required})
    one.feed(history(wave))
    process = one.start(
        "import minibot.ai.settings as settings; settings.level_min_here = lambda _: 'unreachable'"
    )
    if required:
        assert process.wait(DEADLINE_S) == code
        assert one.stops()[0].reason_code == "AI_ISOLATION_UNAVAILABLE"
    else:
        wait_until(lambda: one.detail().startswith("DEGRADED: AI off"), "off")
        assert one.drain() == code
        assert one.stops() == []


@pytest.mark.row("N-68")
def test_role_killed_and_started_again_takes_each_line_once(stage: Callable[..., Stage]) -> None:
    """A clerk killed by `kill -9` continues its input log without a hole, its worker warm."""
    one = started(stage({"train": False, "interval_market_ms": 1000}))
    paced(one, 40, 200, lambda: len(one.events("recommendations")) > 3)
    assert one.process is not None
    workers = psutil.Process(one.process.pid).children()
    one.process.kill()
    one.process.wait()
    count = len(one.events("recommendations"))
    assert psutil.wait_procs(workers, DEADLINE_S)[1] == []

    one.start_ready()
    one.feed(market(300, 301, prices=wave))
    paced(one, 301, 500, lambda: len(one.events("recommendations")) > count)
    assert one.drain() == 0

    assert taken_seq(one) == one.tick_seq
    ids = [event.id for event in one.events("recommendations")]
    assert len(ids) == len(set(ids))


@pytest.mark.row("N-113", "N-68")
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: niceness")
def test_role_and_worker_stay_small(stage: Callable[..., Stage]) -> None:
    """Clerk and worker with LightGBM loaded stay under 150 MB together, and let others go first."""
    one = started(stage({"train": False}))
    paced(one, 40, 200, lambda: bool(one.events("recommendations")))
    assert one.process is not None
    clerk = psutil.Process(one.process.pid)
    family = [clerk, *clerk.children()]
    assert len(family) == 2
    assert "minibot.ai.nore_ai_worker_v1" in family[1].cmdline()
    assert sum(process.memory_info().rss for process in family) < 150 << 20
    assert family[1].nice() >= min(19, clerk.nice() + 10)
    session = Path(f"/proc/{clerk.pid}/autogroup")
    assert not session.exists() or session.read_text().split()[-1] == str(NICENESS)


# --- finished runs ------------------------------------------------------------------------------


def sealed(one: Stage) -> Path:
    """Play a short run, seal it and return its folder."""
    started(one, 60)
    paced(one, 60, 200, lambda: len(one.events("recommendations")) > 1)
    assert one.drain() == 0
    one.end()
    seal_run(one.var.queues, one.run_dir)
    return one.run_dir


@pytest.mark.row("N-72")
def test_collect_takes_verified_rows_of_own_sealed_runs_alone(stage: Callable[..., Stage]) -> None:
    """Rows of a sealed run are collected; an unsealed, foreign or edited run is refused."""
    one = stage({"train": False})
    settings = ai_settings(
        one.manifest.config, run_id=RUN_ID, root=one.var.ai, symbols=one.manifest.symbols
    )
    with pytest.raises(Refusal, match="not sealed"):
        collect([one.run_dir], one.var.runs, settings)
    run_dir = sealed(one)
    data = collect([run_dir], one.var.runs, settings)
    assert len(data.rows) > 0
    assert {source.queue for source in data.sources} <= {"market_ticks", "signals", "fills"}
    with pytest.raises(Refusal, match="not a run of"):
        collect([run_dir], one.var.root, settings)
    with pytest.raises(Refusal, match="named twice"):
        collect([run_dir, run_dir.parent / ".." / "runs" / RUN_ID], one.var.runs, settings)
    synthetic = replace(settings, training=replace(settings.training, market="synthetic"))
    with pytest.raises(Refusal, match="a real market"):
        collect([run_dir], one.var.runs, synthetic)

    inbox = run_dir / "queues" / "market_ticks" / "inbox.jsonl"
    whole = inbox.read_bytes()
    at = whole.index(b'"close":"') + 9
    inbox.write_bytes(whole[:at] + b"9" + whole[at + 1 :])
    with pytest.raises(RunStop):
        collect([run_dir], one.var.runs, settings)


@pytest.mark.row("N-17")
def test_proof_tells_an_independent_replay_from_one_that_listens(
    stage: Callable[..., Stage], tmp_path: Path
) -> None:
    """A replay independent of the AI is proven; one that heeds its queue or models is exposed."""
    one = stage({"train": False})
    run_dir = sealed(one)

    def deaf(folder: Path, without: Collection[str]) -> dict[str, str]:
        inbox = folder / "queues" / "market_ticks" / "inbox.jsonl"
        return {"order_intents": str(len(inbox.read_bytes()))}

    def listening(folder: Path, without: Collection[str]) -> dict[str, str]:
        inbox = folder / "queues" / "recommendations" / "inbox.jsonl"
        return {"order_intents": str(len(inbox.read_bytes()) if inbox.exists() else 0)}

    def heeding(folder: Path, without: Collection[str]) -> dict[str, str]:
        return {"order_intents": str(ModelActive.TYPE in without)}

    def demanding(folder: Path, without: Collection[str]) -> dict[str, str]:
        if not (folder / "queues" / "recommendations" / "inbox.jsonl").exists():
            raise IntegrityError("replay", "CURSOR_AHEAD", "recommendations: logged line 1")
        return {"order_intents": "same"}

    proof = prove(run_dir, deaf, tmp_path / "scratch")
    assert proof.holds
    assert proof.recommendations > 1
    assert not prove(run_dir, listening, tmp_path / "scratch").holds
    assert not prove(run_dir, heeding, tmp_path / "scratch").holds
    assert not prove(run_dir, demanding, tmp_path / "scratch").holds
    assert not prove(run_dir, lambda folder, without: {}, tmp_path / "scratch").holds
    assert (run_dir / "queues" / "recommendations" / "inbox.jsonl").exists()
