"""Damage of a sealed run that no line shows: verbs that show its figures say so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from minibot.cli import page
from minibot.events.names import FILLS, RISK_ACTIONS, STOP_JOURNAL, TICKS
from minibot.kernel.queue import make_queue, queue_folder
from minibot.kernel.seal import QUEUES, SEAL_FILE
from minibot.report.night import Night
from minibot.report.night_sections import verdict_paragraphs
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
    """Its figures are counted from what is left."""
    said = verb(altered.parents[1], "report", altered.name, *flags)

    assert f"note: {NAME} is not what was sealed" in said.err
    assert f"minibot verify {altered}" in said.err


@pytest.mark.parametrize("queue", [RISK_ACTIONS, FILLS, STOP_JOURNAL])
@pytest.mark.parametrize("is_made_again", [False, True])
def test_verdict_on_a_run_without_a_queue_is_no_pass(
    short_run: ShortRun, tmp_path: Path, queue: str, *, is_made_again: bool
) -> None:
    """Screen, summary, document and page say it; an empty queue in its place changes nothing."""
    copied = tmp_path / "var" / "runs" / short_run.run_id
    shutil.copytree(short_run.run_dir, copied)
    shutil.rmtree(queue_folder(copied / QUEUES, queue))
    if is_made_again:
        make_queue(copied / QUEUES, queue, None)

    screen, full, document = (
        verb(copied.parents[1], "report", copied.name, *flags)
        for flags in ((), ("--full",), ("--json",))
    )
    shown = verdict_paragraphs(Night.open(copied))

    named = f"{QUEUES}/{queue}"
    assert screen.out.startswith(f"FAIL: not as it was sealed: {named}\n")
    assert f"{named}: not as sealed" in full.out
    assert document.document["altered"] == [named]
    assert "FAIL" in shown
    assert f"not as it was sealed: {named}" in shown


def test_stop_of_a_run_without_a_queue_stays_its_verdict(
    stopped_run: ShortRun, tmp_path: Path
) -> None:
    """The queue that is gone is said with it."""
    copied = tmp_path / "var" / "runs" / stopped_run.run_id
    shutil.copytree(stopped_run.run_dir, copied)
    shutil.rmtree(queue_folder(copied / QUEUES, FILLS))

    said = verb(copied.parents[1], "report", copied.name)

    assert said.out.startswith("STOPPED: RISK_LIMIT")
    assert f"Not as it was sealed: {QUEUES}/{FILLS}." in said.out


@pytest.mark.parametrize("content", [b"", b"{}", b"x"])
def test_replay_against_a_damaged_seal_proves_nothing(
    short_run: ShortRun, tmp_path: Path, content: bytes
) -> None:
    """Manifest and queues may then be those of any night."""
    copied = tmp_path / "var" / "runs" / short_run.run_id
    shutil.copytree(short_run.run_dir, copied)
    (copied / SEAL_FILE).write_bytes(content)

    said = verb(copied.parents[1], "replay", copied.name)

    assert said.code == 1
    assert f"NOT PROVEN, as {SEAL_FILE} was altered" in said.out
    assert said.out.count(f"minibot verify {copied}") == 1


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
    assert f"minibot verify --var {altered.parents[1]} RUN" in said.err


def test_run_without_its_manifest_is_refused_with_the_next_step(altered: Path) -> None:
    """Its damage can be listed all the same."""
    (altered / MANIFEST_FILE).unlink()
    said = verb(altered.parents[1], "report", altered.name)

    assert said.code == 1
    assert f"minibot verify {altered}" in said.err.splitlines()[-1]
