"""Damage of a sealed run that no line shows: verbs that show its figures say so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from minibot.cli import page
from minibot.events.names import RISK_ACTIONS, TICKS
from minibot.kernel.queue import queue_folder
from minibot.kernel.seal import QUEUES
from minibot.runtime.manifest import MANIFEST_FILE
from minibot.runtime.paths import Var
from tests.runs import ShortRun, verb

NAME = f"{QUEUES}/{RISK_ACTIONS}"


@pytest.fixture
def altered(short_run: ShortRun, tmp_path: Path) -> Path:
    """The short run, from which somebody has taken a whole queue after its seal."""
    copied = tmp_path / "var" / "runs" / short_run.run_id
    shutil.copytree(short_run.run_dir, copied)
    shutil.rmtree(queue_folder(copied / QUEUES, RISK_ACTIONS))
    return copied


@pytest.mark.parametrize("flags", [(), ("--full",), ("--json",), ("--performance",)])
def test_report_of_a_run_without_a_queue_says_so(altered: Path, flags: tuple[str, ...]) -> None:
    """Its figures are counted from what is left, and their verdict is that of the run's end."""
    said = verb(altered.parents[1], "report", altered.name, *flags)

    assert f"note: {NAME} is not what was sealed" in said.err
    assert f"minibot verify {altered}" in said.err


@pytest.mark.network_mock
def test_page_of_a_run_without_a_queue_says_so(
    altered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page shows no exits and no levels of such a run, as of one that had none."""
    page._record_page(altered, Var(altered.parents[1]), 0).close()

    assert f"note: {NAME} is not what was sealed" in capsys.readouterr().err


def test_report_of_a_whole_run_notes_nothing(short_run: ShortRun) -> None:
    """Every file is as it was sealed."""
    assert "note:" not in verb(short_run.var, "report", short_run.run_id).err


def test_logged_input_that_is_gone_is_refused_with_the_next_step(altered: Path) -> None:
    """The log of inputs names a queue and a line, and no file from which a run could be told."""
    shutil.rmtree(queue_folder(altered / QUEUES, TICKS))
    said = verb(altered.parents[1], "risk", altered.name)

    assert said.code == 1
    assert "minibot verify RUN" in said.err


def test_run_without_its_manifest_is_refused_with_the_next_step(altered: Path) -> None:
    """Its damage can be listed all the same."""
    (altered / MANIFEST_FILE).unlink()
    said = verb(altered.parents[1], "report", altered.name)

    assert said.code == 1
    assert f"minibot verify {altered}" in said.err.splitlines()[-1]
