"""minibot ai-proof: beside another proof, and of runs that do not replay as recorded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from minibot.cli import ai_proof
from tests.runs import ShortRun, run_command, verb


@pytest.mark.process
def test_two_proofs_at_once_leave_each_other_alone(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second proof does not take away the view that the first one replays."""
    seconds = []

    def replayed_beside_another(run_dir: Path) -> Mapping[str, str]:
        if run_dir != short_run.run_dir.resolve():
            words = ("ai-proof", short_run.run_id, "--var", str(short_run.var))
            seconds.append(run_command(["minibot", *words]))
        return found(run_dir)

    found = ai_proof.digests
    monkeypatch.setattr(ai_proof, "digests", replayed_beside_another)
    first = verb(short_run.var, "ai-proof", short_run.run_id)

    (second,) = seconds
    assert (first.code, second.code) == (0, 0), first.out + second.err
    assert first.out == second.out
