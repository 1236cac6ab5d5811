"""tools/nore_run_v1.py: the night run under its specified name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import DEADLINE_S

pytestmark = pytest.mark.process


@pytest.mark.row("N-114", "X-15")
def test_nore_run_tool_prints_the_usage_of_the_night_run_from_any_folder(
    project: Path, tmp_path: Path
) -> None:
    """--help of the file and of the module are equal, from any folder."""
    by_file = [sys.executable, str(project / "tools/nore_run_v1.py"), "--help"]
    by_module = [sys.executable, "-m", "minibot.nore_run_v1", "--help"]

    told = [
        subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=True, timeout=DEADLINE_S
        )
        for command, folder in ((by_file, tmp_path), (by_module, project))
    ]

    usages = [result.stdout.split("options:")[1] for result in told]
    assert usages[0] == usages[1]
    assert "--config" in usages[0]


@pytest.mark.row("N-114")
def test_nore_run_tool_without_a_profile_is_told_what_is_missing(project: Path) -> None:
    """A wrong profile is one message and the night run's exit code."""
    command = [sys.executable, str(project / "tools/nore_run_v1.py"), "--config", "nope.json"]

    result = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )

    assert result.returncode in (2, 4)
    assert "nope.json" in result.stderr
    assert "Traceback" not in result.stderr
