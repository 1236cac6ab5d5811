"""minibot ai-proof: beside another proof, and of runs that do not replay as recorded."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from minibot.cli import ai_proof
from minibot.engine.role_replay import NOTHING, Replay, RoleReplay
from minibot.events.names import ORDER_INTENTS
from minibot.kernel import canonical
from minibot.kernel.errors import Refusal
from minibot.kernel.journal import JournalWriter
from minibot.kernel.line import encode_line
from minibot.kernel.lock import WriterLock
from tests.runs import ShortRun, raw_events, run_command, verb


@pytest.mark.process
def test_two_proofs_at_once_leave_each_other_alone(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second proof does not take away the view that the first one replays."""
    seconds = []

    def replayed_beside_another(run_dir: Path, without: Collection[str]) -> Mapping[str, str]:
        if run_dir != short_run.run_dir.resolve():
            words = ("ai-proof", short_run.run_id, "--var", str(short_run.var))
            seconds.append(run_command(["minibot", *words]))
        return found(run_dir, without)

    found = ai_proof.digests
    monkeypatch.setattr(ai_proof, "digests", replayed_beside_another)
    first = verb(short_run.var, "ai-proof", short_run.run_id)

    (second,) = seconds
    assert (first.code, second.code) == (0, 0), first.out + second.err
    assert first.out == second.out


def test_run_that_does_not_replay_as_recorded_is_not_proven(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """An intent that no core derived is in neither digest, so both views agree on the others."""
    copied = tmp_path / short_run.run_id
    shutil.copytree(short_run.run_dir, copied)
    folder = copied / "queues" / ORDER_INTENTS
    event = raw_events(copied, ORDER_INTENTS)[-1] | {"id": str(uuid.UUID(int=1, version=4))}
    writer = JournalWriter(folder, "inbox", lock=WriterLock(folder / "writer.lock"))
    writer.append([encode_line(canonical.encode(event))])
    writer.close()

    done = verb(tmp_path / "var", "ai-proof", str(copied))

    assert (done.code, done.out) == (2, "")
    assert f"does not replay as recorded: first difference: {ORDER_INTENTS}:" in done.err
    assert f"minibot replay {copied.resolve()}" in done.err


def test_run_that_lacks_what_replay_derives_is_not_proven(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing line is no difference, but a run that came to its end lacks none."""
    lacking = RoleReplay("risk_role", digests={ORDER_INTENTS: NOTHING}, missing=1)
    replay = Replay(short_run.run_id, (lacking,), was_stopped=False)
    monkeypatch.setattr(ai_proof, "replay_run", lambda run_dir, without: replay)

    with pytest.raises(Refusal, match="does not replay as recorded"):
        ai_proof.digests(short_run.run_dir, ())


def test_stopped_run_that_replays_is_proven(stopped_run: ShortRun) -> None:
    """A STOP may leave outputs unwritten, which replay accepts."""
    done = verb(stopped_run.var, "ai-proof", stopped_run.run_id)

    assert done.code == 0, done.err
    assert ": identical with and without " in done.out
