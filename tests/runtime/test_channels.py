"""Channels of a role: its heartbeat thread, and the control lines that it reads."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from minibot.kernel import canonical
from minibot.kernel.files import sync
from minibot.runtime import channels
from minibot.runtime.channels import Control, Heartbeat, SilentHeartbeat
from minibot.runtime.clock import machine_ns
from tests.runs import run_command
from tests.waiting import wait_until

SECOND = 1_000_000_000


def hear(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """Return the lines written to standard output from now on."""
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=out))
    return out


@pytest.mark.row("N-35")
def test_first_heartbeat_goes_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first heartbeat goes out at once."""
    stream = hear(monkeypatch)
    heartbeat = Heartbeat("risk_role", interval_s=3600.0)
    wait_until(stream.getvalue, "the first heartbeat")
    heartbeat.end()

    first = json.loads(stream.getvalue().splitlines()[0])
    assert (first["role"], first["state"]) == ("risk_role", "STARTING")


@pytest.mark.row("F59")
def test_heartbeat_names_a_disk_call_of_any_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat has the start of a disk call that goes on, whichever file it is for."""
    stream = hear(monkeypatch)
    heartbeat = Heartbeat("risk_role", interval_s=3600.0)
    wait_until(stream.getvalue, "the first heartbeat")
    heartbeat.end()
    before = machine_ns()
    sync(heartbeat.send, "a cursor")
    heartbeat.send()

    _, within, after = (json.loads(line)["sync_ns"] for line in stream.getvalue().splitlines())
    assert before <= within <= machine_ns()
    assert after == 0


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(), OSError(errno.EINVAL, "Invalid argument"), ValueError("closed")],
    ids=["Linux", "Windows", "closed"],
)
def test_heartbeat_to_a_launcher_that_is_gone_is_no_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A role without its launcher stops beating, and its STOP goes on; Windows says EINVAL."""
    hear(monkeypatch)
    heartbeat = Heartbeat("risk_role", interval_s=3600.0)
    gone = SimpleNamespace(write=Mock(side_effect=error))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=gone))

    heartbeat.send(stopped="WATCHDOG_LOST")

    assert gone.write.called
    heartbeat.end()


def test_last_heartbeat_is_the_newest_although_another_thread_is_sending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A beat that was begun before the last one never follows it: the last facts are final."""
    stream = hear(monkeypatch)
    heartbeat = Heartbeat("risk_role", interval_s=3600.0)
    wait_until(stream.getvalue, "the first heartbeat")
    encode, last = canonical.encode, threading.Thread(target=heartbeat.send)

    def interrupted(obj: canonical.JsonObject) -> bytes:
        line = encode(obj)
        if not obj["facts"]:
            heartbeat.facts = {"open_positions": []}
            last.start()
            last.join(0.2)
        return line

    monkeypatch.setattr(canonical, "encode", interrupted)
    heartbeat.send()
    last.join()
    heartbeat.end()

    beats = [json.loads(line)["facts"] for line in stream.getvalue().splitlines()]
    assert beats == [{}, {}, {"open_positions": []}]


@pytest.mark.process
@pytest.mark.row("N-35")
def test_process_of_a_role_is_heard_before_its_run_is_read(tmp_path: Path) -> None:
    """A role's process sends a heartbeat before it reads its run, even a missing one."""
    done = run_command(["minibot.runtime.role", "risk_role", "--run", str(tmp_path)])

    first = json.loads(done.out.splitlines()[0])
    assert (first["role"], first["state"]) == ("risk_role", "STARTING")


@pytest.mark.row("F81")
def test_pause_is_known_to_whoever_asks_and_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lateness within two seconds is normal; beyond, it is a pause, counted once."""
    stream = hear(monkeypatch)
    moment = 0
    monkeypatch.setattr(channels, "suspend_ns", lambda: moment)
    monkeypatch.setattr(channels, "awake_ns", lambda: moment)
    heartbeat = Heartbeat("risk_role", interval_s=3600.0)
    wait_until(stream.getvalue, "the first heartbeat")
    moment = 3602 * SECOND
    assert (heartbeat.still_ms(), heartbeat.resumed_ns) == (0, 0)

    moment = 3612 * SECOND
    assert heartbeat.still_ms() == 12_000
    assert heartbeat.still_ms() == 12_000
    assert heartbeat.resumed_ns == moment
    heartbeat.end()
    assert SilentHeartbeat("watchdog_role").still_ms() == 0


@pytest.mark.parametrize(
    "line",
    [
        "lease a b",
        "lease 1",
        "lease 5 9 9",
        "lease 5 9.0",
        "lease 5 \ufffd",
        "lease",
        "leash 5 9",
        "",
    ],
)
def test_control_line_that_cannot_be_read_changes_nothing(line: str) -> None:
    """A garbled lease is no lease and no error: the thread that reads on must not end by it."""
    control = Control(_received_ns=1)
    control.take("lease 4 2")
    before = dataclasses.astuple(control)

    control.take(line)

    assert dataclasses.astuple(control) == before


def test_no_lease_is_fresh_before_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A role that starts a second after its machine has no lease of the longest lifetime."""
    monkeypatch.setattr(channels, "suspend_ns", lambda: SECOND)

    assert Control().lease_age_ms() > 60_000


@pytest.mark.row("F68", "F81")
def test_silence_of_the_launcher_counts_from_the_end_of_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pause does not count as the launcher's silence."""
    moment = 10 * SECOND
    monkeypatch.setattr(channels, "awake_ns", lambda: moment)
    control = Control(_received_ns=moment)
    moment = 25 * SECOND

    assert control.silence_ms() == 15_000
    assert control.silence_ms(24 * SECOND) == 1_000
