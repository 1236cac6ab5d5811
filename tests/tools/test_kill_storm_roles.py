"""tools.kill_storm --roles: the judgement of a night (the storm itself: .ci/run)."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from minibot.gates.tamper_forge import Forgery, reseal
from tests.runs import ShortRun
from tools.kill_storm_roles import _judge


def judged(run_dir: Path, exit_code: int = 0) -> tuple[str, list[str]]:
    """Return the verdict on a finished night."""
    night: Any = SimpleNamespace(run_dir=run_dir, exit_code=exit_code, output=lambda: "its words")
    return _judge(night)


def test_night_that_ended_well_is_judged_by_its_replay(short_run: ShortRun) -> None:
    """A good night is judged by the digest of its replay."""
    digest, wrong = judged(short_run.run_dir)

    assert wrong == []
    assert len(digest) == 64
    assert judged(short_run.run_dir, 10)[1] == ["exit 10: its words"]


def test_doubled_and_lost_outputs_are_called_wrong(short_run: ShortRun, tmp_path: Path) -> None:
    """Repeated and missing outputs are judged wrong, even with right hashes."""
    copy = tmp_path / "doubled"
    shutil.copytree(short_run.run_dir, copy)
    fills = Forgery.of(copy, "fills")
    fills.lines[-1].append(fills.lines[-1][-1])
    fills.write_chain()
    reseal(copy)
    _, wrong = judged(copy)
    assert any(text.startswith("fills: ") and text.endswith("stands twice") for text in wrong)

    shutil.rmtree(copy)
    shutil.copytree(short_run.run_dir, copy)
    intents = Forgery.of(copy, "order_intents")
    del intents.lines[-1][-1]
    intents.write_chain()
    reseal(copy)
    assert any(text.startswith("replay: ") for text in judged(copy)[1])
