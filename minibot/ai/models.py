"""Operations on models for operators: list, train on finished runs, activate, roll back.

The commands call these and print. Activation during a run also leaves the `model_active` request,
so that the change is an input of the run like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibot.ai.activation import Activation, Active, RequireFit, fits_any
from minibot.ai.baseline import BASELINE_ID
from minibot.ai.collect import collect
from minibot.ai.settings import AiSettings, ai_settings
from minibot.ai.snapshots import SnapshotRefused
from minibot.ai.training import Trained, TrainingFailed, train_snapshot
from minibot.events.model import ModelActive
from minibot.kernel.errors import IntegrityError, Refusal
from minibot.kernel.files import ensure_folder
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.runtime.request_file import leave_request


@dataclass(frozen=True, slots=True)
class ModelLine:
    """One snapshot as `minibot model list` shows it."""

    model_id: str
    created_ts: int
    rows: int
    is_active: bool
    passed: bool
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the line as a JSON object."""
        return {
            "model_id": self.model_id,
            "created_ts": self.created_ts,
            "rows": self.rows,
            "is_active": self.is_active,
            "passed": self.passed,
            "reasons": list(self.reasons),
        }


def list_models(ai_root: Path) -> list[ModelLine]:
    """Return every snapshot with the gate's verdict, oldest first; damaged ones are marked.

    Raises:
        Refusal: The pointer to the active one is damaged.
    """
    activation = Activation(ai_root)
    try:
        active = activation.read().model_id
    except IntegrityError as error:
        raise Refusal(f"{error}.", "Remove the file, then activate a model again.") from error
    lines = [_line(activation, name, active) for name in activation.snapshots.listed()]
    return sorted(lines, key=lambda line: (line.created_ts, line.model_id))


def _line(activation: Activation, model_id: str, active: str) -> ModelLine:
    try:
        manifest = activation.snapshots.load(model_id).manifest
    except SnapshotRefused as error:
        return ModelLine(model_id, 0, 0, model_id == active, False, (str(error),))
    verdict = activation.snapshots.verdict(model_id) or {"reasons": ["the gate has not judged it"]}
    return ModelLine(
        model_id=model_id,
        created_ts=manifest["created_ts"],
        rows=manifest["training"].get("rows", 0),
        is_active=model_id == active,
        passed=verdict.get("passed") is True,
        reasons=tuple(map(str, verdict.get("reasons", ()))),
    )


def fit_of(manifest: Manifest, ai_root: Path) -> RequireFit:
    """Return the check that a snapshot answers the question of a run."""
    settings = ai_settings(
        manifest.config, run_id=manifest.run_id, root=ai_root, symbols=manifest.symbols
    )
    return settings.training.require_fit


def activate_model(
    var: Var,
    model_id: str,
    why: str,
    *,
    running: str | None = None,
    require_fit: RequireFit = fits_any,
) -> Active:
    """Activate a snapshot; with the id of a running run, also request `model_active` there.

    Raises:
        Refusal: The snapshot is damaged, has not passed the gate or does not fit; nothing changed.
    """
    return _change(
        var,
        lambda activation: activation.activate(model_id, why, require_fit=require_fit),
        why,
        running,
    )


def rollback_model(
    var: Var, why: str, *, running: str | None = None, require_fit: RequireFit = fits_any
) -> Active:
    """Return to the newest former snapshot that is intact and fits, else to the baseline.

    Raises:
        Refusal: No model is active.
    """
    return _change(
        var, lambda activation: activation.rollback(why, require_fit=require_fit), why, running
    )


def _change(
    var: Var, change: Callable[[Activation], Active], why: str, running: str | None
) -> Active:
    try:
        active = change(Activation(var.ai))
    except SnapshotRefused as error:
        raise Refusal(f"{error}.", "See: minibot model list") from error
    if running is not None:
        ensure_folder(var.requests)
        leave_request(
            var.requests,
            running,
            ModelActive.TYPE,
            who="operator",
            why=why,
            model_id=active.model_id or BASELINE_ID,
        )
    return active


def train(var: Var, run_dirs: Sequence[Path], settings: AiSettings, *, created_ts: int) -> Trained:
    """Train on finished runs and let the gate judge the result; nothing is activated.

    Raises:
        Refusal: A run is not ours, or training gave no snapshot.
        IntegrityError or ContractError: A queue of a run is damaged.
    """
    dataset = collect(run_dirs, var.runs, settings)
    try:
        return train_snapshot(
            Activation(var.ai), var.ai, dataset, settings.training, created_ts=created_ts
        )
    except TrainingFailed as error:
        raise Refusal(f"{error}.", error.remedy) from error
