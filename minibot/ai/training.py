"""Training from rows to a judged snapshot: pack, trainer, snapshot, scorer, gate.

Everything that touches a model runs in a separate sandboxed process, on Linux at idle priority;
this side hands rows over, checks the text that comes back, keeps the holdout labels to itself and
writes the files. It decides nothing: activation is another step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from minibot.ai.activation import Activation
from minibot.ai.baseline import baseline_probabilities
from minibot.ai.dataset import Dataset
from minibot.ai.feature_store import write_pack
from minibot.ai.frames import RESULT_BYTES_MAX, Frame, FrameError, decode_frame
from minibot.ai.gate import (
    HOLDOUT_ROWS_MIN,
    MODEL_DAMAGED,
    ModelVerdict,
    judge_candidate,
)
from minibot.ai.isolation import OFF, is_enough
from minibot.ai.jailed_process import JailedProcess
from minibot.ai.nore_ai_worker_v1 import command
from minibot.ai.probabilities import Answers, Probabilities
from minibot.ai.row_ring import Row
from minibot.ai.snapshots import ASKED, Snapshot, SnapshotRefused, model_id_of
from minibot.ai.trainer import ROWS_MAX
from minibot.runtime.interpreter import private_folder, program

REAL: Final = "real"
SYNTHETIC: Final = "synthetic"
"""A market whose prices are made from a seed: a model's lessons there hold for no other."""
ROUNDS: Final = 60
# A sandboxed trainer needs a few seconds for the rows of a whole night; at idle priority on a busy
# machine it may wait long for CPU time.
TASK_S_MAX: Final = 180.0
_CHUNK: Final = 500
_BUFFER_BYTES: Final = 16 << 20
_POLL_S: Final = 0.2


class TrainingFailed(Exception):
    """Training gave no judged snapshot. The active model is untouched.

    Args:
        why: The reason.
        remedy: What an operator does next.
    """

    def __init__(self, why: str, remedy: str = "See: minibot gate ai_isolation.") -> None:
        super().__init__(why)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Settings of a training.

    Args:
        memory_mb: Memory limit of a sandboxed process.
        isolation_min: Minimum isolation for any process that touches a model.
        rows_min: Fewer training rows are refused.
        horizon_ms: Horizon of the labels.
        bar_interval, trend_interval: Bars that the features are made of.
        label_bps_min: Least move over the horizon that is not a HOLD, decimal text.
        market: Market that the rows come from, `REAL` or `SYNTHETIC`.
        seed: Seed of LightGBM.
    """

    memory_mb: int
    isolation_min: str
    rows_min: int
    horizon_ms: int
    bar_interval: str
    trend_interval: str
    label_bps_min: str
    market: str
    seed: int

    def asked(self) -> dict[str, Any]:
        """Return the question that a model of this training answers, as its manifest names it."""
        return {name: getattr(self, name) for name in (*ASKED, "market")}

    def require_fit(self, snapshot: Snapshot) -> None:
        """Check that a snapshot answers the question of this profile.

        Raises:
            SnapshotRefused: It was made for another horizon, other bars, labels or another market.
        """
        made = {"market": REAL, **snapshot.manifest["training"]}  # Older builds do not say.
        differences = [
            f"{name} {made[name]}, the profile has {wanted}"
            for name, wanted in self.asked().items()
            if made[name] != wanted
        ]
        if differences:
            raise SnapshotRefused(f"{snapshot.model_id} was made for {'; '.join(differences)}")


@dataclass(frozen=True, slots=True)
class Trained:
    """A written snapshot, and the gate's verdict on it."""

    model_id: str
    pack: str
    verdict: ModelVerdict


def rows_are_enough(dataset: Dataset, settings: TrainingSettings) -> bool:
    """Return whether a dataset has the rows that training and gate need."""
    train, holdout = dataset.split(settings.horizon_ms)
    return len(train) >= settings.rows_min and len(holdout) >= HOLDOUT_ROWS_MIN


def train_snapshot(
    activation: Activation,
    ai_root: Path,
    dataset: Dataset,
    settings: TrainingSettings,
    *,
    created_ts: int,
    is_cancelled: Callable[[], bool] = lambda: False,
    before_start: Callable[[str], None] = lambda what: None,
) -> Trained:
    """Train on a dataset, write the snapshot, let the gate judge it; return both.

    Raises:
        TrainingFailed: Too few or too many rows, no sandbox, a trainer or scorer that failed or
            sent a bad text; without a score the gate has not judged the snapshot.
    """
    train, holdout = dataset.split(settings.horizon_ms)
    if len(train) < settings.rows_min or len(holdout) < HOLDOUT_ROWS_MIN:
        raise TrainingFailed(
            f"{len(train)} rows to train and {len(holdout)} to test, "
            f"{settings.rows_min} and {HOLDOUT_ROWS_MIN} needed",
            "Give more runs.",
        )
    if len(train) > ROWS_MAX or len(holdout) > ROWS_MAX:
        raise TrainingFailed(
            f"{len(train)} rows to train and {len(holdout)} to test, at most {ROWS_MAX} each",
            "Give fewer runs.",
        )
    pack = write_pack(ai_root, dataset, created_ts=created_ts)
    tasks = Tasks(ai_root, settings, is_cancelled, before_start)
    text = tasks.train(train)
    try:
        model_id = activation.snapshots.write(
            text,
            created_ts=created_ts,
            training={
                **dataset.manifest(),
                "pack": pack,
                "train_rows": len(train),
                "train_to_ts": train[-1].ts,
                "holdout_rows": len(holdout),
                **settings.asked(),
                "seed": settings.seed,
                "rounds": ROUNDS,
            },
        )
        verdict = judge_snapshot(activation, tasks, model_id, train, holdout)
    except SnapshotRefused as error:
        # The same rows give the same text, and so the same folder, again and again.
        folder = activation.snapshots.folder(model_id_of(text))
        remedy = (f"Remove {folder}, then train again.",) if folder.exists() else ()
        raise TrainingFailed(f"{MODEL_DAMAGED}: {error}", *remedy) from error
    return Trained(model_id, pack, verdict)


def judge_snapshot(
    activation: Activation,
    tasks: Tasks,
    model_id: str,
    train: Sequence[Row],
    holdout: Sequence[Row],
) -> ModelVerdict:
    """Let the gate judge an existing snapshot, write its verdict next to it and return it.

    The same rows give the same snapshot again. One that passed before keeps that verdict, as it may
    be active, or the one to return to.

    Raises:
        SnapshotRefused: The snapshot is damaged.
        TrainingFailed: A scorer failed; no verdict is written.
    """
    snapshots = activation.snapshots
    snapshot = snapshots.load(model_id)
    candidate = tasks.score(snapshot.text, holdout)
    reference, reference_id = _reference(activation, tasks, holdout)
    verdict = judge_candidate(train, holdout, candidate, reference)
    if verdict.passed or not activation.holds(model_id):
        sha256 = snapshot.manifest["model"]["sha256"]
        snapshots.write_verdict(
            model_id, {**verdict.to_json(), "reference_id": reference_id, "model_sha256": sha256}
        )
    return verdict


def _reference(
    activation: Activation, tasks: Tasks, holdout: Sequence[Row]
) -> tuple[Sequence[Probabilities], str]:
    """Return the probabilities for the rows, and the id, of the model that would answer a night.

    That is the active one, or the newest before it where that is damaged or was made for another
    question. The baseline takes its place where none is left, or where it may have learned from
    these very rows, on which it would seem better than it is.
    """
    try:
        active = activation.load_active(tasks.settings.require_fit)
        if active is not None and _may_know(active.manifest["training"], holdout):
            active = None
    except SnapshotRefused:
        active = None
    if active is None:
        answers = Answers(baseline_probabilities(tuple(row.features)) for row in holdout)
        return answers, "baseline"
    return tasks.score(active.text, holdout), active.model_id


def _may_know(training: Mapping[str, Any], holdout: Sequence[Row]) -> bool:
    """Return whether a model's rows, by its manifest, reach into the time of others in order."""
    if "train_to_ts" not in training:
        return True
    horizon_ms = training["horizon_ms"]
    is_before = training["train_to_ts"] + horizon_ms < holdout[0].ts
    return not is_before and training["from_ts"] <= holdout[-1].ts + horizon_ms


class Tasks:
    """Trainings and scorings, each in a separate sandboxed process."""

    def __init__(
        self,
        ai_root: Path,
        settings: TrainingSettings,
        is_cancelled: Callable[[], bool],
        before_start: Callable[[str], None] = lambda what: None,
    ) -> None:
        self._before_start = before_start
        self._root = ai_root
        self.settings = settings
        self._is_cancelled = is_cancelled

    def train(self, rows: Sequence[Row]) -> str:
        """Return the text of a model trained on the rows.

        Raises:
            TrainingFailed: The trainer failed.
        """
        last: Frame = {"t": "train", "rounds": ROUNDS, "seed": self.settings.seed}
        frames = chain(_chunks(rows, with_labels=True), (last,))
        text = self._run("train", frames, "trained").get("text")
        if not isinstance(text, str):
            raise TrainingFailed(f"{MODEL_DAMAGED}: the trainer sent no text")
        return text

    def score(self, text: str, rows: Sequence[Row]) -> Sequence[Probabilities]:
        """Return the probabilities of a model for rows, without sending their labels.

        Raises:
            TrainingFailed: The scorer failed.
        """
        frames = chain(_chunks(rows, with_labels=False), ({"t": "score", "text": text},))
        listed = self._run("score", frames, "scored").get("probabilities")
        if not isinstance(listed, list):
            raise TrainingFailed(f"{MODEL_DAMAGED}: the scorer sent no probabilities")
        try:
            return Answers(map(_three, listed))
        except (TypeError, ValueError, OverflowError) as error:
            raise TrainingFailed(f"{MODEL_DAMAGED}: {error}") from error

    def _run(self, task: str, frames: Iterable[Frame], answer: str) -> Frame:
        settings = self.settings
        self._before_start("trainer")
        child = self._start(task)
        try:
            deadline = time.monotonic() + TASK_S_MAX
            hello = self._wait(child, "hello", deadline)
            _check_jail(hello, settings.isolation_min)
            for frame in frames:
                self._wait_for_room(child, deadline)
                if not child.send(frame):
                    words = child.broken or child.last_words
                    raise TrainingFailed(f"{task}: the process does not take its rows: {words}")
            result = self._wait(child, answer, deadline)
            if result.get("ok") is not True:
                raise TrainingFailed(f"{task}: {str(result.get('why'))[:500]}")
            return result
        finally:
            child.kill()

    def _start(self, task: str) -> JailedProcess:
        try:
            return JailedProcess(
                command(program(), self._root, self.settings.memory_mb, task, private_folder()),
                self._root / "work",
                line_bytes_max=RESULT_BYTES_MAX,
                buffer_bytes_max=_BUFFER_BYTES,
            )
        except OSError as error:
            raise TrainingFailed(f"{task}: the process cannot be started: {error}") from error

    def _wait_for_room(self, child: JailedProcess, deadline: float) -> None:
        """Wait until the last frame has been taken: all frames together are a night of rows."""
        while not child.wait_until_taken(_POLL_S):
            if self._is_cancelled() or time.monotonic() >= deadline:
                why = "cancelled" if self._is_cancelled() else "its rows are not taken in time"
                raise TrainingFailed(why)

    def _wait(self, child: JailedProcess, kind: str, deadline: float) -> Frame:
        while time.monotonic() < deadline and not self._is_cancelled():
            for line in child.receive(_POLL_S):
                try:
                    frame = decode_frame(line)
                except FrameError as error:
                    raise TrainingFailed(f"{MODEL_DAMAGED}: {error}") from error
                if frame["t"] != kind:
                    raise TrainingFailed(f"expected {kind!r}, found {frame['t'][:40]!r}")
                return frame
            if child.has_ended:
                raise TrainingFailed(f"ended before {kind!r}: {child.broken or child.last_words}")
        raise TrainingFailed("cancelled" if self._is_cancelled() else f"no {kind!r} in time")


def _check_jail(hello: Frame, isolation_min: str) -> None:
    isolation = hello.get("isolation")
    level = isolation.get("level") if isinstance(isolation, dict) else None
    if isolation_min == OFF:
        raise TrainingFailed("isolation: the profile turns the AI off on this system")
    if not isinstance(level, str) or not is_enough(level, isolation_min):
        raise TrainingFailed(f"isolation is {level!r}, {isolation_min!r} is needed")


def _chunks(rows: Sequence[Row], *, with_labels: bool) -> Iterator[Frame]:
    for at in range(0, len(rows), _CHUNK):
        part = rows[at : at + _CHUNK]
        frame: Frame = {"t": "train_rows", "rows": [list(row.features) for row in part]}
        if with_labels:
            frame["labels"] = [row.label for row in part]
        yield frame


def _three(item: Any) -> Probabilities:
    if not isinstance(item, list) or len(item) != 3 or not all(type(v) is int for v in item):
        raise ValueError("a score is not three integers")
    sell, hold, buy = item
    return sell, hold, buy
