"""Check of the AI's sandbox before a start: a required AI is a refusal, another one a warning."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from minibot.runtime.configuration.config import load_config
from minibot.watchdog import preflight as checks
from minibot.watchdog.preflight import FAIL, OK, WARN, CheckResult, _ai_jail

PROFILE = "config/nore-demo.v1.json"


def check(tmp_path: Path, *sets: str) -> CheckResult:
    """Return the check of the sandbox."""
    config = load_config(PROFILE, [f"paths.var={tmp_path / 'var'}", *sets])
    return _ai_jail(config, config.var)


@pytest.mark.parametrize(("required", "level"), [("true", FAIL), ("false", OK)])
def test_required_ai_that_this_system_turns_off_is_refused_before_the_night(
    tmp_path: Path, required: str, level: str
) -> None:
    """Isolation `off` refuses a profile that requires the AI; its clerk would stop the night."""
    off = f"ai.isolation_min.{sys.platform}=off"

    found = check(tmp_path, off, f"ai.required={required}")

    assert found.level == level


@pytest.mark.process
@pytest.mark.row("F134")
@pytest.mark.parametrize(("required", "level"), [("true", FAIL), ("false", WARN)])
def test_sandbox_that_fails_refuses_a_required_ai_and_warns_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, required: str, level: str
) -> None:
    """A run that goes on without the AI that its profile enables says so before it starts."""
    failing = [sys.executable, "-c", "import sys; sys.exit('no Landlock')"]
    monkeypatch.setattr(checks, "python_argv", lambda *_: failing)

    found = check(tmp_path, f"ai.isolation_min.{sys.platform}=jail", f"ai.required={required}")

    assert found.level == level
    assert "no Landlock" in found.found


@pytest.mark.process
@pytest.mark.row("N-124")
def test_sandbox_that_fails_in_letters_of_a_code_page_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed trial that speaks in Windows' code page ends no start by a trace."""
    words = "import sys; sys.stdout.buffer.write(b'no J\\x81'); sys.exit(1)"
    monkeypatch.setattr(checks, "python_argv", lambda *_: [sys.executable, "-c", words])

    found = check(tmp_path, f"ai.isolation_min.{sys.platform}=jail", "ai.required=false")

    assert "no J" in found.found
