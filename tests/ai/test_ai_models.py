"""Snapshots, gate, activation and training of models: which one may become active."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.ai import snapshots
from minibot.ai.activation import LOCK_FILE, Activation, Active
from minibot.ai.baseline import BASELINE_ID
from minibot.ai.booster import LightGbm
from minibot.ai.dataset import Dataset
from minibot.ai.drafts import Question
from minibot.ai.gate import (
    MODEL_DAMAGED,
    MODEL_WORSE,
    ROWS_TOO_FEW,
    ModelVerdict,
    judge_candidate,
    score,
)
from minibot.ai.models import activate_model, fit_of, list_models, rollback_model
from minibot.ai.models import train as train_on_runs
from minibot.ai.probabilities import Probabilities
from minibot.ai.row_ring import Row
from minibot.ai.service import AiService, Outcome
from minibot.ai.settings import ai_settings, market_of
from minibot.ai.snapshots import SnapshotRefused
from minibot.ai.trainer import ROWS_MAX
from minibot.ai.training import (
    Tasks,
    Trained,
    TrainingFailed,
    TrainingSettings,
    judge_snapshot,
    train_snapshot,
)
from minibot.ai.training_jobs import TrainingJobs
from minibot.ai.vector import FEATURES, SCALE
from minibot.ai.worker_supervisor import OFF, READY, Turn
from minibot.events.model import Beat, Event, MarketTick, Payload, Signal
from minibot.events.names import SIGNALS, TICKS
from minibot.kernel.errors import IntegrityError, Refusal
from minibot.kernel.files import read_hashed, write_hashed
from minibot.kernel.threads import DaemonThread
from minibot.runtime.configuration.config import load_config
from minibot.runtime.paths import PROJECT, Var
from tests.ai.ai_rows import RUN_ID, dataset, model_text
from tests.ai.ai_stage import LEVEL_HERE, START_TS, bar
from tests.manifests import made_manifest
from tests.waiting import DEADLINE_S

SETTINGS = TrainingSettings(
    memory_mb=256,
    isolation_min=LEVEL_HERE,
    rows_min=100,
    horizon_ms=30_000,
    bar_interval="1s",
    trend_interval="1m",
    label_bps_min="2.0",
    market="real",
    seed=1,
)
TRAINED = {"rows": 1, "from_ts": 0, "train_to_ts": 0, **SETTINGS.asked()}
"""Entry in a manifest of a model made for the settings, which are those of the shipped demo."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes at idle priority wait for their CPU time on a busy machine."""
    monkeypatch.setattr("minibot.ai.training.TASK_S_MAX", 10 * DEADLINE_S)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """AI folder."""
    return tmp_path / "var" / "ai"


def train(root: Path, data: Dataset, created_ts: int = 1) -> Trained:
    """Train on a dataset with the real jailed processes."""
    return train_snapshot(Activation(root), root, data, SETTINGS, created_ts=created_ts)


def passed(root: Path, seed: int, training: Mapping[str, Any] = TRAINED) -> str:
    """Write a snapshot that has passed the gate, and return its id."""
    activation = Activation(root)
    model_id = activation.snapshots.write(model_text(seed), created_ts=seed, training=training)
    sha256 = activation.snapshots.load(model_id).manifest["model"]["sha256"]
    activation.snapshots.write_verdict(
        model_id, {"passed": True, "reasons": [], "model_sha256": sha256}
    )
    return model_id


@pytest.mark.process
@pytest.mark.row("N-73", "N-74", "D-21")
def test_training_better_becomes_active_worse_stays_inactive_rollback_returns(root: Path) -> None:
    """Real processes train, gate and activate; a worse model is refused; rollback returns."""
    activation = Activation(root)
    first = train(root, dataset(1))
    assert first.verdict.passed
    activation.activate(first.model_id, "test")

    worse = train(root, dataset(2, noise=1.0, from_ms=1_000_000), created_ts=2)
    assert not worse.verdict.passed
    assert MODEL_WORSE in worse.verdict.reasons[0]
    pointer = (root / "active.json").read_bytes()
    with pytest.raises(SnapshotRefused, match=MODEL_WORSE):
        activation.activate(worse.model_id, "test")
    assert (root / "active.json").read_bytes() == pointer

    better = train(root, dataset(3, noise=0.0, rows=800, from_ms=2_000_000), created_ts=3)
    assert better.verdict.passed
    assert better.verdict.scores["reference"].logloss < 0.9  # The reference is the active model.
    activation.activate(better.model_id, "test")
    assert activation.read() == Active(better.model_id, (first.model_id,))

    assert activation.rollback("test").model_id == first.model_id
    manifest = json.loads(
        (root / "snapshots" / better.model_id / "manifest.json").read_text("ascii")
    )
    assert manifest["training"]["source_queues"] == ["market_ticks"]
    times = (2_000_000, 2_564_000)  # None of the last quarter, or so near that its label is of it.
    assert (manifest["training"]["from_ts"], manifest["training"]["train_to_ts"]) == times


@pytest.mark.process
def test_training_twice_on_the_same_rows_gives_the_same_model(root: Path, tmp_path: Path) -> None:
    """Training with one thread and a fixed seed gives the same snapshot id in any folder."""
    assert train(root, dataset(1)).model_id == train(tmp_path / "other", dataset(1)).model_id


def test_training_on_too_few_rows_writes_nothing(root: Path) -> None:
    """Training on too few rows writes nothing, because the model could not be tested."""
    with pytest.raises(TrainingFailed, match="needed"):
        train(root, dataset(1, rows=60))
    assert not (root / "snapshots").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "remedy"), [(60, "more runs"), (ROWS_MAX * 4 // 3 + 100, "fewer")]
)
def test_training_on_a_wrong_number_of_rows_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, remedy: str
) -> None:
    """Training on too few rows asks for more runs; beyond the trainer's bound, for fewer."""
    made = [Row(number * 1000, "BTCUSDT", (0,) * len(FEATURES), 1) for number in range(rows)]
    monkeypatch.setattr("minibot.ai.models.collect", lambda *given: Dataset(made))
    var = Var(tmp_path / "var")
    profile = load_config(PROJECT / "config" / "nore-demo.v1.json", [], {}).raw
    given = ai_settings(profile, run_id=RUN_ID, root=var.ai, symbols=("BTCUSDT",))

    with pytest.raises(Refusal) as caught:
        train_on_runs(var, [], given, created_ts=1)

    assert remedy in caught.value.remedy
    assert not (var.ai / "packs").exists()


@pytest.mark.process
def test_training_without_the_least_isolation_touches_no_model(root: Path) -> None:
    """The trainer gets no rows if no system reaches the least isolation."""
    settings_ = replace(SETTINGS, isolation_min="unreachable")
    with pytest.raises(TrainingFailed, match="isolation"):
        train_snapshot(Activation(root), root, dataset(1), settings_, created_ts=1)
    assert not (root / "snapshots").exists()


@pytest.mark.process
@pytest.mark.parametrize(("over", "why"), [(0, "cancelled"), (1, "at most")])
def test_training_starts_with_as_many_rows_as_the_trainer_takes(
    root: Path, monkeypatch: pytest.MonkeyPatch, over: int, why: str
) -> None:
    """Training begins with the trainer's most rows, and not with one more."""
    data = dataset(1)
    count = len(data.split(SETTINGS.horizon_ms)[0])
    monkeypatch.setattr("minibot.ai.training.ROWS_MAX", count - over)
    with pytest.raises(TrainingFailed, match=why):
        train_snapshot(
            Activation(root), root, data, SETTINGS, created_ts=1, is_cancelled=lambda: True
        )


def test_training_without_a_thread_of_ours_has_failed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system without a further thread ends no night: the training has failed, and is told."""

    def start_thread(thread: DaemonThread) -> None:
        raise RuntimeError(f"thread {thread.name} could not start")

    monkeypatch.setattr(DaemonThread, "start", start_thread)
    jobs = TrainingJobs(Activation(root), root, SETTINGS)

    jobs.start(dataset(1), 1)

    assert "ai-training could not start" in str(jobs.fetch())
    assert not jobs.is_busy


@pytest.mark.process
def test_training_that_is_cancelled_ends_its_process(root: Path) -> None:
    """A cancelled training ends its process, so the end of a run waits for none."""
    with pytest.raises(TrainingFailed, match="cancelled"):
        train_snapshot(
            Activation(root),
            root,
            dataset(1),
            SETTINGS,
            created_ts=1,
            is_cancelled=lambda: True,
        )


@pytest.mark.process
def test_scoring_that_did_not_take_place_leaves_the_verdict(root: Path) -> None:
    """A cancelled scoring writes no verdict, and leaves the active model its own."""
    activation = Activation(root)
    active = passed(root, 1)
    activation.activate(active, "test")
    unjudged = activation.snapshots.write(model_text(2), created_ts=2, training=TRAINED)
    rows = dataset(1).rows
    for model_id in (active, unjudged):
        with pytest.raises(TrainingFailed, match="cancelled"):
            judge_snapshot(activation, Tasks(root, SETTINGS, lambda: True), model_id, rows, rows)

    loaded = activation.load_active()
    assert loaded is not None
    assert loaded.model_id == active
    assert activation.snapshots.verdict(unjudged) is None


def test_training_that_meets_a_damaged_snapshot_of_its_text_names_the_folder(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rows meet the same damage each time; the refusal says what to remove."""
    text = model_text()
    monkeypatch.setattr(Tasks, "train", lambda *_: text)
    folder = root / "snapshots" / passed(root, 1)
    (folder / "model.txt").write_text(f"{text}x")

    with pytest.raises(TrainingFailed, match="sha256 does not fit") as caught:
        train(root, dataset(1))

    assert caught.value.remedy == f"Remove {folder}, then train again."


def test_damage_of_what_is_written_anew_ends_no_training(root: Path) -> None:
    """A damaged verdict, or a damaged manifest without its sums, is replaced by a whole one."""
    activation = Activation(root)
    model_id = passed(root, 1)
    folder = root / "snapshots" / model_id
    rows = dataset(1).rows
    tasks = Scoring(root, {model_text(1): sure(rows)})
    (folder / "gate.json").write_bytes(b"{}\n")

    judge_snapshot(activation, tasks, model_id, rows, rows)

    assert (activation.snapshots.verdict(model_id) or {})["passed"] is True
    (folder / "sha256").unlink()
    (folder / "manifest.json").write_bytes(b"{}\n")
    assert passed(root, 1) == model_id
    assert activation.load_passed(model_id).model_id == model_id


class Scoring(Tasks):
    """Tasks whose scorings of a model text give set probabilities."""

    def __init__(self, root: Path, answers: Mapping[str, Sequence[Probabilities]]) -> None:
        super().__init__(root, SETTINGS, lambda: False)
        self._answers = answers

    def score(self, text: str, rows: Sequence[Row]) -> Sequence[Probabilities]:
        """Return the probabilities set for the text."""
        return self._answers[text]


def test_snapshot_judged_again_as_worse_keeps_its_pass(root: Path) -> None:
    """A former model, trained again and now worse than the active one, can be rolled back to."""
    activation = Activation(root)
    former, active = passed(root, 1), passed(root, 2)
    activation.activate(former, "test")
    activation.activate(active, "test")
    rows = rows_labelled([0, 1, 2] * 20)
    tasks = Scoring(root, {model_text(1): sure(rows, 700_000), model_text(2): sure(rows)})

    verdict = judge_snapshot(activation, tasks, former, rows, rows)

    assert not verdict.passed
    assert activation.rollback("test") == Active(former, ())


@pytest.mark.process
def test_scorer_gets_no_label_and_refuses_a_damaged_text(root: Path) -> None:
    """The scorer gets features without labels, and refuses a damaged text."""
    tasks = Tasks(root, SETTINGS, lambda: False)
    rows = dataset(1, rows=40).rows
    relabelled = [Row(row.ts, row.symbol, row.features, 0) for row in rows]
    text = model_text()
    assert list(tasks.score(text, rows)) == list(tasks.score(text, relabelled))
    with pytest.raises(TrainingFailed):
        tasks.score(text.replace("num_leaves=", "num_leaves=9"), rows)


def test_booster_is_deterministic_and_agrees_with_itself_after_a_round_trip() -> None:
    """A booster gives the same text for the same rows, and the same answers after a round trip."""
    native = LightGbm()
    rows = [row.features for row in dataset(1, rows=50).rows]
    one, two = native.load(model_text(1)), native.load(model_text(1))
    assert model_text(1) == model_text(1)
    assert model_text(1) != model_text(2)
    assert one.probabilities(rows) == two.probabilities(rows)
    assert all(abs(sum(three) - 1.0) < 1e-9 for three in one.probabilities(rows))
    assert len(one.contributions(rows[0])) == 3
    assert len(one.contributions(rows[0])[0]) == len(FEATURES) + 1


# --- gate ---------------------------------------------------------------------------------------

LATER_TS = 1_000_000  # Behind all that the models of these tests have learned from.
THIRDS = (333_333, 333_334, 333_333)


def rows_labelled(labels: list[int]) -> list[Row]:
    """Return rows with these labels."""
    return [Row(LATER_TS + number, "BTCUSDT", (), label) for number, label in enumerate(labels)]


def sure(rows: Sequence[Row], share: int = 800_000) -> list[tuple[int, int, int]]:
    """Return probabilities that give the true label a certain share."""
    rest = (SCALE - share) // 2
    answers = []
    for row in rows:
        three = [rest, rest, rest]
        three[row.label] = SCALE - 2 * rest
        answers.append((three[0], three[1], three[2]))
    return answers


def test_gate_passes_the_better_and_refuses_the_worse() -> None:
    """The gate passes an equal model and refuses a slightly worse one."""
    rows = rows_labelled([0, 1, 2] * 20)
    good, better = sure(rows, 700_000), sure(rows, 800_000)
    assert judge_candidate(rows, rows, better, good).passed
    assert judge_candidate(rows, rows, good, good).passed
    verdict = judge_candidate(rows, rows, good, better)
    assert not verdict.passed
    assert MODEL_WORSE in verdict.reasons[0]


def test_gate_refuses_what_is_no_better_than_always_the_same() -> None:
    """The gate refuses a model that beats a bad reference but not the constant answer."""
    rows = rows_labelled([1] * 50 + [0] * 5 + [2] * 5)
    candidate = [(300_000, 400_000, 300_000)] * 60
    reference = [(400_000, 200_000, 400_000)] * 60
    assert not judge_candidate(rows, rows, candidate, reference).passed


def test_gate_refuses_a_model_that_answers_every_row_alike() -> None:
    """A constant may be luckier on the later rows than that of the training rows."""
    train, later = rows_labelled([0, 1, 1, 1, 2] * 12), rows_labelled([1] * 50 + [0] * 5 + [2] * 5)
    constant = [(100_000, 800_000, 100_000)] * 60
    informed = [(100_001, 799_999, 100_000), *constant[1:]]
    verdict = judge_candidate(train, later, constant, [THIRDS] * 60)

    assert verdict.scores["candidate"].logloss < verdict.scores["prior"].logloss
    assert verdict.reasons == (f"{MODEL_WORSE}: the same answer for every row",)
    assert judge_candidate(train, later, informed, [THIRDS] * 60).passed


def test_gate_needs_rows_and_whole_answers() -> None:
    """The gate refuses too few rows, a missing answer and a sum that is off."""
    rows = rows_labelled([0, 1, 2] * 20)
    few = rows[:29]
    assert ROWS_TOO_FEW in judge_candidate(rows, few, sure(few), sure(few)).reasons[0]
    enough = rows[:30]
    assert judge_candidate(rows, enough, sure(enough), sure(enough)).passed
    off = [[*sure(rows)[:-1], three] for three in ((SCALE, 1, 0), (SCALE + 1, -1, 0))]
    for broken in (sure(rows)[:-1], *off, []):
        assert MODEL_DAMAGED in judge_candidate(rows, rows, broken, sure(rows)).reasons[0]
        (reason,) = judge_candidate(rows, rows, sure(rows), broken).reasons
        assert reason.startswith(f"{MODEL_DAMAGED}: reference: ")


@given(labels=st.lists(st.integers(0, 2), min_size=1, max_size=30))
def test_score_is_best_for_the_truth(labels: list[int]) -> None:
    """Certainty about the true label has the best score of all answers."""
    rows = rows_labelled(labels)
    assert score(sure(rows, SCALE), rows).logloss <= score([THIRDS] * len(rows), rows).logloss
    assert score(sure(rows, SCALE), rows).accuracy == 1.0


# --- snapshots ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.row("N-73", "N-71", "F138")
@settings(max_examples=60, deadline=None)
@given(
    position=st.integers(0, 10**6), file=st.sampled_from(["model.txt", "manifest.json", "sha256"])
)
def test_snapshot_with_any_changed_byte_is_refused(
    tmp_path_factory: pytest.TempPathFactory, position: int, file: str
) -> None:
    """A snapshot with one flipped bit is refused."""
    root = tmp_path_factory.mktemp("ai")
    model_id = passed(root, 1)
    path = root / "snapshots" / model_id / file
    whole = bytearray(path.read_bytes())
    whole[position % len(whole)] ^= 1
    path.write_bytes(whole)
    with pytest.raises(SnapshotRefused):
        Activation(root).load_passed(model_id)


@pytest.mark.row("F138", "F139")
@pytest.mark.parametrize("file", ["model.txt", "manifest.json", "sha256", "gate.json"])
def test_snapshot_without_one_of_its_files_is_not_activated(root: Path, file: str) -> None:
    """A snapshot without manifest, sums or verdict is not activated; the former model stays."""
    former, model_id = passed(root, 1), passed(root, 2)
    activation = Activation(root)
    activation.activate(former, "test")
    (root / "snapshots" / model_id / file).unlink()
    with pytest.raises(SnapshotRefused):
        activation.activate(model_id, "test")
    assert activation.read().model_id == former


def test_snapshot_of_other_features_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot of another feature list is refused."""
    model_id = passed(root, 1)
    monkeypatch.setattr("minibot.ai.snapshots.FEATURES_VERSION", "features-v2")
    with pytest.raises(SnapshotRefused, match="features_version"):
        Activation(root).snapshots.load(model_id)


def test_snapshot_verdict_of_another_text_does_not_count(root: Path) -> None:
    """A verdict counts only for the text with the sha256 that was judged."""
    one, two = passed(root, 1), passed(root, 2)
    activation = Activation(root)
    verdict = dict(activation.snapshots.verdict(one) or {})
    activation.snapshots.write_verdict(two, verdict)
    with pytest.raises(SnapshotRefused, match="another text"):
        activation.load_passed(two)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_snapshot_that_is_a_link_is_refused(root: Path, tmp_path: Path) -> None:
    """A model file that is a link is refused."""
    model_id = passed(root, 1)
    path = root / "snapshots" / model_id / "model.txt"
    elsewhere = tmp_path / "model.txt"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(SnapshotRefused):
        Activation(root).load_passed(model_id)


@pytest.mark.parametrize("name", ["../../../etc", "lgbm-xyz", "", "lgbm-0123456789abcdef/.."])
def test_snapshot_of_a_foreign_name_is_refused(root: Path, name: str) -> None:
    """A snapshot's id must be a name of ours, never a path."""
    with pytest.raises(SnapshotRefused):
        Activation(root).activate(name, "test")


# --- activation ---------------------------------------------------------------------------------


@pytest.mark.row("N-74")
def test_rollback_passes_over_snapshots_that_no_longer_hold(root: Path) -> None:
    """Rollback skips damaged models; without a whole one the baseline answers."""
    one, two, three = passed(root, 1), passed(root, 2), passed(root, 3)
    activation = Activation(root)
    for model_id in (one, two, three):
        activation.activate(model_id, "test")
    (root / "snapshots" / two / "model.txt").write_bytes(b"tree\n")
    assert activation.rollback("test") == Active(one, ())
    (root / "snapshots" / one / "sha256").unlink()
    assert activation.rollback("test") == Active("", ())
    with pytest.raises(SnapshotRefused, match="no model is active"):
        activation.rollback("test")


def test_active_pointer_that_was_changed_by_hand_is_a_violation(root: Path) -> None:
    """An active pointer edited by hand fails its own hash and is a violation."""
    activation = Activation(root)
    activation.activate(passed(root, 1), "test")
    path = root / "active.json"
    path.write_bytes(path.read_bytes().replace(b"lgbm-", b"lgbn-"))
    with pytest.raises(IntegrityError):
        activation.read()


def test_active_pointer_that_was_changed_by_hand_activates_nothing_and_is_told(root: Path) -> None:
    """It is a refusal with its remedy, also for a night, which goes on with the baseline."""
    activation = Activation(root)
    model_id = passed(root, 1)
    (root / "active.json").write_bytes(b"lgbm\n")

    for attempt in (
        activation.load_active,
        lambda: activation.activate(model_id, "test"),
        lambda: activation.rollback("test"),
    ):
        with pytest.raises(SnapshotRefused, match="remove the file"):
            attempt()
    with pytest.raises(Refusal, match="ATOMICITY_VIOLATION"):
        list_models(root)

    assert (root / "active.json").read_bytes() == b"lgbm\n"
    (root / "active.json").unlink()
    assert activation.activate(model_id, "test").model_id == model_id


def activate_in_turn(root: Path, ids: list[str]) -> None:
    """Activate each model again and again, as a second program would."""
    activation = Activation(root)
    for _ in range(10):
        for model_id in ids:
            activation.activate(model_id, "test")


@pytest.mark.process
def test_activation_by_two_programs_at_once_leaves_a_whole_pointer(root: Path) -> None:
    """Two processes activate in turn under the lock; the pointer stays whole."""
    ids = [passed(root, 1), passed(root, 2)]
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=activate_in_turn, args=(root, ids)) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join(60)
    assert [other.exitcode for other in others] == [0, 0]
    assert Activation(root).read().model_id in ids


@pytest.mark.row("D-21")
def test_operator_lists_activates_and_rolls_back_with_a_request(tmp_path: Path) -> None:
    """The operator's verbs list models, activate, roll back, and leave a request for a run."""
    var = Var(tmp_path / "var")
    one, two = passed(var.ai, 1), passed(var.ai, 2)
    activate_model(var, one, "by hand")
    activate_model(var, two, "by hand", running="20251120_000000")
    assert [(line.model_id, line.is_active) for line in list_models(var.ai)] == [
        (one, False),
        (two, True),
    ]
    (request,) = var.requests.glob("*.json")
    answer = json.loads(request.read_text("ascii"))
    assert (answer["kind"], answer["model_id"]) == ("model_active", two)
    assert answer["run_id"] == "20251120_000000"
    assert rollback_model(var, "by hand").model_id == one
    with pytest.raises(Refusal):
        activate_model(var, "lgbm-ffffffffffffffff", "by hand")


def test_operator_gives_a_going_run_no_model_that_it_would_refuse(tmp_path: Path) -> None:
    """A demo's model, or one of made-up prices, is neither activated nor rolled back to."""
    var = Var(tmp_path / "var")
    one, late = passed(var.ai, 1), passed(var.ai, 3)
    other = passed(var.ai, 2, {**TRAINED, "horizon_ms": 60_000, "market": "synthetic"})
    for model_id in (one, other, late):
        activate_model(var, model_id, "by hand")
    config = load_config(PROJECT / "config" / "nore-demo.v1.json", [], {}).raw
    require_fit = fit_of(made_manifest(RUN_ID, config, {}, 0), var.ai)

    with pytest.raises(Refusal, match=r"horizon_ms 60000.*market synthetic"):
        activate_model(var, other, "by hand", require_fit=require_fit)

    assert Activation(var.ai).read().model_id == late
    assert rollback_model(var, "by hand", require_fit=require_fit).model_id == one


def clerk_of(root: Path, profile: str, *sets: str) -> AiService:
    """Return a clerk by a shipped profile, without a worker."""
    config = load_config(PROJECT / "config" / f"{profile}.v1.json", sets, {}).raw
    unused: Any = None
    settings_ = ai_settings(config, run_id=RUN_ID, root=root, symbols=("BTCUSDT",))
    return AiService(settings_, unused, lambda: 0)


def test_signal_that_nobody_answers_is_a_lost_pattern(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal is counted where no worker is ready, and where its worker goes before the answer."""
    clerk = clerk_of(root, "nore-demo")
    tick = MarketTick(
        symbol="BTCUSDT",
        price="1.00",
        kind="quote",
        bid="1.00",
        bid_qty="1.00",
        ask="1.01",
        ask_qty="1.00",
        recv_mono_ns=0,
        exchange_ts=1,
    )
    signal = Signal("BTCUSDT", "BUY", 80, 80, 30_000, "up", "MOMENTUM_UP", (), "one", "0" * 64)

    def take(number: int, queue: str, payload: Payload) -> None:
        event = Event(1, f"event-{number}", "role", RUN_ID, "0" * 64, payload)
        clerk.take(queue, number, event, 1)

    take(1, TICKS, tick)
    take(2, SIGNALS, signal)
    assert clerk.counters()["ai_patterns_lost"] == 1

    clerk.keeper.state = READY
    monkeypatch.setattr(clerk.keeper, "ask", lambda question: True)
    take(3, SIGNALS, signal)
    assert clerk.counters()["ai_patterns_lost"] == 1
    clerk.keeper.state = OFF
    clerk.turn(2)
    assert clerk.counters()["ai_patterns_lost"] == 2


@pytest.mark.parametrize(("profile", "is_used"), [("nore-demo", True), ("nore", False)])
def test_night_uses_a_model_that_was_made_for_its_horizon_and_bars_alone(
    root: Path, profile: str, is_used: bool
) -> None:
    """A model of the demo's half minute would answer a night's minute; the baseline does."""
    clerk = clerk_of(root, profile)
    model_id = passed(root, 1)

    clerk.use_model(model_id)

    assert clerk.model_id == (model_id if is_used else BASELINE_ID)
    differences = ("horizon_ms 30000", "60000", "bar_interval 1s", "trend_interval 1m")
    assert all(said in clerk.model_note for said in differences) != is_used


@pytest.mark.parametrize(
    ("source", "made", "is_used"),
    [
        ("tape:demo", {"market": "real"}, True),
        ("tape:demo", {"market": "synthetic"}, False),
        ("generator:1", {"market": "synthetic"}, True),
        ("generator:1", {"market": "real"}, False),
        ("tape:demo", {}, True),
    ],
)
def test_model_of_a_synthetic_market_answers_no_real_one(
    root: Path, source: str, made: dict[str, str], is_used: bool
) -> None:
    """A paper night without a network learns made-up prices; the next night must not use that."""
    clerk = clerk_of(root, "nore-demo", f"embedded.source={source}")
    training = {name: value for name, value in TRAINED.items() if name != "market"} | made
    model_id = passed(root, 1, training)

    clerk.use_model(model_id)

    assert clerk.model_id == (model_id if is_used else BASELINE_ID)
    assert ("market" in clerk.model_note) != is_used


@pytest.mark.parametrize(
    ("played", "market"),
    [
        (("embedded.source=generator:1",), "synthetic"),
        (("embedded.source=tape:demo",), "real"),
        (("embedded.source=run:{itself}",), "synthetic"),
        ((), "synthetic"),
    ],
)
def test_run_that_is_played_again_has_the_market_that_it_had(
    tmp_path: Path, played: tuple[str, ...], market: str
) -> None:
    """Prices made from a seed stay made, and so do those of a run that tells nothing any more."""
    run_dir = tmp_path / RUN_ID
    demo = PROJECT / "config" / "nore-demo.v1.json"
    if played:
        run_dir.mkdir()
        recorded = load_config(demo, [text.format(itself=run_dir) for text in played], {}).raw
        made_manifest(RUN_ID, recorded, {}, 0).write(run_dir)

    assert market_of(load_config(demo, [f"embedded.source=run:{run_dir}"], {}).raw) == market


@pytest.mark.parametrize(
    ("host", "market"), [("https://api.example", "real"), ("http://127.0.0.1:1", "synthetic")]
)
def test_exchange_on_this_machine_is_no_real_market(host: str, market: str) -> None:
    """`minibot exchange` may play anything to a night that is pointed at it."""
    sets = (f"binance.rest_url={host}", f"binance.stream_url={host.replace('http', 'ws')}")

    assert market_of(load_config(PROJECT / "config" / "nore.v1.json", sets, {}).raw) == market


def test_answer_about_a_model_that_another_has_followed_changes_nothing(root: Path) -> None:
    """Drafts of both models stay expected until the worker has taken the one it was told last."""
    clerk = clerk_of(root, "nore-demo")
    one, two = passed(root, 1), passed(root, 2)
    clerk.keeper.turn = Turn  # type: ignore[method-assign]
    expected = []

    for model_id in (one, two):
        clerk.use_model(model_id)
    for model_id, is_loaded in ((one, False), (two, True)):
        clerk.keeper.model_answer = {"t": "model", "id": model_id, "ok": is_loaded, "why": "no"}
        clerk.turn(0)
        expected.append(clerk.keeper.expected.model_ids)

    assert expected == [{one, two, BASELINE_ID}, {two, BASELINE_ID}]
    assert (clerk.model_id, clerk.model_note) == (two, "")


def test_clerk_started_again_remembers_nothing_of_a_queue_that_is_not_permitted(root: Path) -> None:
    """A worker gets no ticks where `ai.permitted_queues` lacks them, also after a restart."""
    clerk = clerk_of(root, "nore-demo", 'ai.permitted_queues=["fills","signals"]')
    payload = bar("1s", 60_000.0, START_TS)

    clerk.warm(TICKS, 1, Event(START_TS, "bar", "market_role", RUN_ID, "0" * 64, payload))

    assert clerk.recent.rows() == []


def test_symbols_beyond_the_rate_of_questions_take_turns(root: Path) -> None:
    """With more symbols than questions in an interval each symbol is asked about, only later."""
    symbols = tuple(f"P{number:02}USDT" for number in range(15))
    config = load_config(PROJECT / "config" / "nore-demo.v1.json", [], {}).raw
    settings_ = ai_settings(config, run_id=RUN_ID, root=root, symbols=symbols)
    unused: Any = None
    clerk = AiService(settings_, unused, lambda: 0)
    clerk.keeper.state = READY
    asked: list[str] = []
    per_second = 2  # Ten in the interval of five seconds.

    def ask(question: Question) -> bool:
        is_asked = len(asked) < (second + 1) * per_second
        asked.extend([question.symbol] * is_asked)
        return is_asked

    clerk.keeper.ask = ask  # type: ignore[method-assign]
    for second in range(8):
        ts = START_TS + second * 1000
        beat = Beat(second + 1, dict.fromkeys(symbols, 0))
        clerk.take(TICKS, ts, Event(ts, f"{ts}", "market_role", RUN_ID, "0" * 64, beat), ts)

    assert asked == [*symbols, symbols[0]]


def test_worker_that_never_catches_up_begins_again_instead_of_owing_ever_more(root: Path) -> None:
    """Rows of a slow worker are bounded: after a thousand frames it begins with the recent ones."""
    clerk = clerk_of(root, "nore-demo")
    clerk.keeper.state = READY
    clerk.keeper.turn = Turn  # type: ignore[method-assign]
    clerk.keeper.send = clerk.keeper.offer = lambda rows: False  # type: ignore[method-assign]
    said: list[str] = []
    clerk.keeper.say = lambda frame: said.append(frame["t"])  # type: ignore[method-assign]
    begun = []

    for at in range(1_010):
        event = Event(at, f"{at}", "market_role", RUN_ID, "0" * 64, bar("1s", 60_000.0, at))
        clerk.take(TICKS, at, event, at)
        clerk.turn(at)
        begun.append(said.count("open"))

    assert (begun[0], begun[990], begun[-1]) == (1, 1, 2)


def test_answer_about_a_model_that_nobody_told_it_changes_nothing(root: Path) -> None:
    """A worker that speaks of its model unasked fills neither log nor health with new details."""
    clerk = clerk_of(root, "nore-demo")
    clerk.keeper.turn = Turn  # type: ignore[method-assign]
    model_id = passed(root, 1)
    clerk.use_model(model_id)
    seen = []

    for told in (model_id, BASELINE_ID):
        for why in ("first", "second"):
            clerk.keeper.model_answer = {"t": "model", "id": told, "ok": False, "why": why}
            seen.append((clerk.turn(0).notes, clerk.model_note))

    note = f"model {model_id} does not load: first"
    assert seen == [([note], note), *[([], note)] * 3]


@pytest.mark.parametrize("key", list(SETTINGS.asked()))
def test_gate_compares_with_the_baseline_where_the_active_model_answers_another_question(
    root: Path, key: str
) -> None:
    """A model of another horizon, of other bars or labels is not a reference for a candidate."""
    activation = Activation(root)
    training = {**TRAINED, key: 1 if key == "horizon_ms" else "7"}
    activation.activate(passed(root, 1, training), "test")
    candidate = passed(root, 2)
    rows = dataset(1, from_ms=LATER_TS).rows
    tasks = Scoring(root, {model_text(1): sure(rows), model_text(2): sure(rows)})

    judge_snapshot(activation, tasks, candidate, rows, rows)

    assert (activation.snapshots.verdict(candidate) or {})["reference_id"] == "baseline"


@pytest.mark.parametrize(
    ("times", "is_reference"),
    [
        ({"from_ts": 0, "train_to_ts": 69_999}, True),
        ({"from_ts": 0, "train_to_ts": 70_000}, False),
        ({"from_ts": 0, "train_to_ts": 500_000}, False),
        ({"from_ts": 150_000, "train_to_ts": 500_000}, False),
        ({"from_ts": 229_000, "train_to_ts": 500_000}, False),
        ({"from_ts": 229_001, "train_to_ts": 500_000}, True),
        ({"from_ts": 0}, False),
    ],
)
def test_gate_compares_with_no_model_that_may_have_learned_the_rows_it_is_asked(
    root: Path, times: Mapping[str, int], is_reference: bool
) -> None:
    """Rows from 100 to 199 s, with labels of half a minute, are new to a model or it is none."""
    activation = Activation(root)
    active = passed(root, 1, {"rows": 1, **SETTINGS.asked(), **times})
    activation.activate(active, "test")
    candidate = passed(root, 2)
    rows = dataset(1, rows=100, from_ms=100_000).rows
    tasks = Scoring(root, {model_text(1): sure(rows), model_text(2): sure(rows)})

    judge_snapshot(activation, tasks, candidate, rows, rows)

    verdict = activation.snapshots.verdict(candidate) or {}
    assert verdict["reference_id"] == (active if is_reference else "baseline")


def older(root: Path, model_id: str) -> None:
    """Make a snapshot one of a build whose manifests did not name bars and labels."""
    folder = root / "snapshots" / model_id
    manifest = read_hashed(folder / "manifest.json")
    kept = {"rows": 1, "horizon_ms": 30_000}
    write_hashed(folder / "manifest.json", {**manifest, "training": kept})
    (folder / "sha256").write_bytes(snapshots._sums(folder))


def test_model_of_an_older_build_is_refused_until_it_is_trained_again(root: Path) -> None:
    """Model list, night and activation refuse one whose bars nobody knows, and say so."""
    model_id = passed(root, 1)
    activation = Activation(root)
    activation.activate(model_id, "test")
    older(root, model_id)
    clerk = clerk_of(root, "nore-demo")

    clerk.use_model(model_id)

    (line,) = list_models(root)
    assert (line.is_active, line.passed) == (True, False)
    for text in (clerk.model_note, *line.reasons):
        assert "train it again" in text
    assert clerk.model_id == BASELINE_ID
    with pytest.raises(SnapshotRefused, match="train it again"):
        activation.activate(model_id, "test")
    assert passed(root, 1) == model_id
    assert activation.load_passed(model_id).manifest["training"] == TRAINED


def test_model_that_passed_waits_while_another_process_holds_the_pointer(root: Path) -> None:
    """A held lock is told once, and the clerk activates the model at a later turn."""
    clerk = clerk_of(root, "nore-demo")
    model_id = passed(root, 1)
    results = [Trained(model_id, "pack", ModelVerdict(True, (), 100, {}))]
    clerk.workshop.fetch = lambda: results.pop() if results else None  # type: ignore[method-assign]
    turns = [Outcome(), Outcome(), Outcome()]

    with FileLock(root / LOCK_FILE):
        clerk._fetch_training(turns[0])
        clerk._fetch_training(turns[1])
        waiting = list(clerk._notes)
    clerk._fetch_training(turns[2])

    assert [turn.activated is None for turn in turns] == [True, True, False]
    assert len(waiting) == 1
    assert clerk.activation.read().model_id == model_id


@pytest.mark.parametrize(
    ("key", "value", "count"),
    [
        ("ai.horizon_ms", 90_000, 1),
        ("ai.horizon_ms", 60_000, 0),
        ("ai.train_min_rows", 37_501, 1),
        ("ai.train_min_rows", 37_500, 0),
        ("ai.permitted_queues", '["fills","signals"]', 1),
    ],
)
def test_clerk_tells_at_its_first_turn_that_it_will_never_have_rows_to_train_on(
    root: Path, key: str, value: int | str, count: int
) -> None:
    """A night that cannot train for want of rows says so at once, in log and health."""
    clerk = clerk_of(root, "nore", f"{key}={value}")
    clerk.keeper.state = READY

    assert len(clerk._notes) == count
    assert (key in clerk.detail()) == bool(count)
