"""Nights with alerts for tests, and the real `minibot guard` beside them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil

from tests.nights.night import PROFILE, PROJECT, Night
from tests.waiting import DEADLINE_S

QUIET_MS: Final = 10_000
"""Silence at which the tests' guards alarm: the end of a night on a busy machine takes 5 s."""
ALERTS: Final[Mapping[str, Any]] = {
    "required": True,
    "level_min": "warning",
    "per_minute_max": 20,
    "targets": {"hook": "HOOK"},
}
"""Section of a profile whose alerts go to the address HOOK of the secrets file."""


def to_program(command: list[str]) -> dict[str, Any]:
    """Return a section of alerts that go to one program alone."""
    fixed = {key: value for key, value in ALERTS.items() if key != "targets"}
    return {**fixed, "commands": {"log": command}}


def write_secrets(folder: Path, **addresses: str) -> None:
    """Write the secrets file of a test's nights and guard."""
    path = folder / "secrets.env"
    path.write_text("".join(f"{name}={url}\n" for name, url in addresses.items()))
    path.chmod(0o600)


def words_of(folder: Path, alerts: Mapping[str, Any]) -> list[str]:
    """Return the settings of alerts, for the night as for the guard."""
    return [f"alerts={json.dumps(alerts)}", f"secrets.path={folder / 'secrets.env'}"]


def start(folder: Path, *sets: str, alerts: Mapping[str, Any] = ALERTS, speed: str = "20") -> Night:
    """Start a night without the AI, on the folder's `var` and secrets."""
    words = [*words_of(folder, alerts), "ai.enabled=false", *sets]
    return Night(folder / "var", words, source="generator:2", speed=speed)


@contextmanager
def guarding(
    folder: Path, *words: str, alerts: Mapping[str, Any] = ALERTS, ping: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """Run `minibot guard` by the secrets of a folder, and end it in order.

    Args:
        folder: Where the secrets file stands.
        words: Further words of its command line, such as `--var`.
        alerts: Section of the profile.
        ping: Whether it asks the monitor at the address PING.
    """
    guard = {"quiet_ms": QUIET_MS, **({"ping": "PING", "ping_every_ms": 10_000} if ping else {})}
    argv = [sys.executable, "-m", "minibot", "guard", "--config", PROFILE]
    for text in (*words_of(folder, alerts), f"guard={json.dumps(guard)}"):
        argv += ["--set", text]
    process = subprocess.Popen(
        [*argv, *words], cwd=PROJECT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        pair = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, pair
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def await_hearing(guard: subprocess.Popen[str]) -> None:
    """Wait until a guard has heard of a further run."""
    assert guard.stderr is not None
    answers = []
    while line := guard.stderr.readline():
        answers.append(line)
        if "hears" in line:
            return
    raise AssertionError(f"the guard ended: {answers}")


def stand_still(night: Night) -> list[psutil.Process]:
    """Freeze the launcher of a night and all that it started."""
    launcher = psutil.Process(night.process.pid)
    frozen = [launcher, *launcher.children(recursive=True)]
    for process in frozen:
        process.suspend()
    return frozen
