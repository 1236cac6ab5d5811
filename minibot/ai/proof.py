"""`ai-proof`: one recorded run, replayed with and without the AI; the orders must be equal.

Two views of the run are replayed: as recorded, and without the `recommendations` queue, where no
core is given `model_active` either. The replay gives the digest of each derived queue; all of them
have to be equal in both views. The second view is made of links to the run's own files in a scratch
folder; the run is not touched.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from minibot.events.model import ModelActive
from minibot.events.names import ORDER_INTENTS, RECOMMENDATIONS
from minibot.kernel.errors import IntegrityError, Refusal
from minibot.kernel.files import FILES, ensure_folder

WITH: Final = "with AI"
WITHOUT: Final = "without AI"

Replay = Callable[[Path, Collection[str]], Mapping[str, str]]
"""From a run's folder, and types that no core is given, to the digest of every derived queue."""


@dataclass(frozen=True, slots=True)
class AiProof:
    """Digests of each view, and their differences."""

    run_id: str
    recommendations: int
    views: Mapping[str, Mapping[str, str]]
    differences: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Return whether the orders are independent of the AI."""
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        """Return the proof as a JSON object."""
        return {
            "run_id": self.run_id,
            "recommendations": self.recommendations,
            "holds": self.holds,
            "views": {name: dict(digests) for name, digests in self.views.items()},
            "differences": list(self.differences),
        }


def prove(run_dir: Path, replay: Replay, scratch: Path) -> AiProof:
    """Return the proof whether a recorded run's decisions are the same with and without the AI.

    Args:
        run_dir: A sealed run.
        replay: Replays one folder; raises IntegrityError when a logged input is missing, Refusal
            when what it derives is not what was recorded.
        scratch: A folder of this proof alone for the second view; emptied first, removed at the
            end.

    Raises:
        Refusal: The folder holds no sealed queues, or the run does not replay as recorded.
        IntegrityError: An input that the run logged is missing.
    """
    queues = run_dir / "queues"
    if not (queues / ORDER_INTENTS).is_dir():
        raise Refusal(f"{run_dir} has no sealed queues.", "Prove a finished run.")
    views: dict[str, Mapping[str, str]] = {WITH: replay(run_dir, ())}
    differences: list[str] = []
    shutil.rmtree(scratch, ignore_errors=True)  # Left by a proof that was killed.
    try:
        views[WITHOUT] = replay(_view(run_dir, scratch), (ModelActive.TYPE,))
    except (IntegrityError, Refusal) as error:
        views[WITHOUT] = {}
        differences.append(f"{WITHOUT}: a role needed an event of the AI: {error}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    recorded, silent = views[WITH], views[WITHOUT]
    if ORDER_INTENTS not in recorded:
        differences.append(f"{WITH}: the replay says nothing of {ORDER_INTENTS}")
    differences += [
        f"{WITHOUT}: {queue} is {silent.get(queue)}, with it {digest}"
        for queue, digest in recorded.items()
        if silent and silent.get(queue) != digest
    ]
    return AiProof(run_dir.name, _lines(queues / RECOMMENDATIONS), views, tuple(differences))


def _lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("inbox*.jsonl"))


def _view(run_dir: Path, scratch: Path) -> Path:
    """Return a run's folder that shares all files with the recorded one except the AI's queue."""
    view = scratch / "runs" / run_dir.name
    for path in sorted(run_dir.rglob("*")):
        inside = path.relative_to(run_dir)
        if not path.is_file() or inside.parts[:2] == ("queues", RECOMMENDATIONS):
            continue
        if inside.parts[0] in ("report", "seal.json"):
            continue  # A seal covers all files; the view has fewer and is not a run of its own.
        ensure_folder((view / inside).parent)
        _share(path, view / inside)
    return view


def _share(source: Path, target: Path) -> None:
    try:
        FILES.link(source, target)
    except FileExistsError:
        raise  # A copy would be written through it, into the file that it is a link to.
    except OSError:
        shutil.copyfile(source, target)  # A file system without hard links.
