"""Context of a role's process: values from its profile, and its STOP."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from minibot.events.names import RISK_ROLE
from minibot.kernel.errors import ContractError
from minibot.runtime.channels import Control, Heartbeat
from minibot.runtime.context import STOPPED, RoleContext
from minibot.runtime.paths import PROJECT
from minibot.runtime.runfiles import RUN_FILES
from minibot.runtime.stop import StopRecord, is_flagged
from minibot.watchdog.run_manifest import child_environ
from tests.watchdog.watchdog_stage import Stage

SETS = ("queues.line_bytes_max=4096", "watchdog.heartbeat_interval_ms=200")


def test_line_longer_than_the_profile_allows_is_refused_and_what_fits_is_written(
    tmp_path: Path,
) -> None:
    """A line longer than `queues.line_bytes_max` is refused, a shorter one written."""
    context = Stage(tmp_path, SETS).context()
    writer = context.open_output("control").writer

    with pytest.raises(ContractError, match="at most 4096"):
        writer.append_json([b'{"detail":"%s"}' % (b"x" * 5000)])
    writer.append_json([b'{"detail":"%s"}' % (b"x" * 3000)])

    assert writer.position.seq == 1
    context.close_outputs()


def test_heart_beats_as_often_as_the_profile_says(tmp_path: Path) -> None:
    """Heartbeats follow `watchdog.heartbeat_interval_ms`, by which the launcher counts."""
    context = Stage(tmp_path, SETS).context()

    assert context.heartbeat.interval_s == 0.2
    context.close_outputs()


class Full(io.StringIO):
    """Standard error that goes to a file on a full disk."""

    def write(self, text: str) -> int:
        """Refuse the text."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_stop_is_whole_although_standard_error_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A STOP on a full disk has flag, one event, exit code and log line, if they find room."""
    stage = Stage(tmp_path / "var")
    context = stage.context()
    monkeypatch.setattr(sys, "stderr", Full())

    assert context.stop(StopRecord(context.name, "RISK_LIMIT", "a limit")) == STOPPED

    assert is_flagged(stage.var.flag)
    assert len(stage.lines("stop_journal", context.name)) == 1
    last = context.log.path.read_bytes().splitlines()[-1]
    assert json.loads(last)["reason_code"] == "RISK_LIMIT"
    context.close_outputs()


def test_stop_is_whole_although_its_detail_holds_half_a_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file's name of any bytes is escaped in the event and in the message to the launcher."""
    stage, told = Stage(tmp_path / "var"), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=told))
    heartbeat = Heartbeat(RISK_ROLE, interval_s=3600.0)
    context = RoleContext(RISK_ROLE, stage.run_dir, Control(), heartbeat)
    detail = os.fsdecode(b"inbox.\xff is foreign")

    assert context.stop(StopRecord(RISK_ROLE, "QUEUE_CORRUPT", detail)) == STOPPED

    (stop,) = stage.envelopes("stop_journal", RISK_ROLE)
    beats = map(json.loads, told.getvalue().splitlines())
    (beat,) = [each for each in beats if "stopped" in each]
    assert stop["payload"]["detail"] == beat["detail"] == r"inbox.\udcff is foreign"
    heartbeat.end()
    context.close_outputs()


@pytest.mark.process
def test_role_that_finds_no_clock_where_one_has_to_be_stops(tmp_path: Path) -> None:
    """A role without the clock that the launcher announced stops."""
    stage = Stage(tmp_path, SETS)
    (stage.run_dir / "clock.json").unlink()
    argv = [sys.executable, "-m", "minibot.runtime.role", "risk_role", "--run", str(stage.run_dir)]
    done = subprocess.run(
        argv,
        cwd=PROJECT,
        env=child_environ(os.environ) | {RUN_FILES: stage.run_files.text},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    beats = map(json.loads, done.stdout.splitlines())
    answer = [beat for beat in beats if "stopped" in beat][-1]
    assert (done.returncode, answer["stopped"]) == (10, "RUN_FILE_CHANGED")
    assert answer["detail"].startswith("clock.json")
