"""Health of a run as an exit code, and a page that cannot be served beside alerts that can."""

from __future__ import annotations

from pathlib import Path

import pytest

from minibot.ops.operator import NOT_RUNNING
from minibot.ops.process import page_of
from minibot.ops.run_health import FLAGGED, HEALTHY, UNHEALTHY, exit_code
from minibot.runtime.configuration.config_sections import Page
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from tests.runs import ShortRun

HEARD = [{"age_s": 30}, {"age_s": 1}]
FLAG = {"file": "STOP.flag"}


@pytest.mark.parametrize(
    ("run_id", "flag", "roles", "max_age_s", "code"),
    [
        ("R", None, HEARD, 30, HEALTHY),
        ("R", None, HEARD, 29, UNHEALTHY),
        ("R", None, [], 30, UNHEALTHY),
        ("R", None, [], None, HEALTHY),
        (None, None, [], 30, NOT_RUNNING),
        ("R", FLAG, [], 30, FLAGGED),
        (None, FLAG, [], None, FLAGGED),
    ],
)
def test_exit_code_is_the_gravest_and_silence_is_no_health(
    run_id: str | None,
    flag: dict[str, str] | None,
    roles: list[dict[str, int]],
    max_age_s: int | None,
    code: int,
) -> None:
    """A flag first, then a missing run, then heartbeats that are old or never came."""
    assert exit_code(run_id, flag, roles, max_age_s) == code


def test_page_whose_token_cannot_be_read_is_a_warning_and_no_end_of_ops(
    short_run: ShortRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The process goes on with what else it has to do: alerts and backups."""
    var = Var(tmp_path / "var")
    var.page_token.mkdir(parents=True)

    found = page_of(Page(port=0, required=True), Manifest.load(short_run.run_dir), var)

    assert found == []
    assert "WARN no page" in capfd.readouterr().err
