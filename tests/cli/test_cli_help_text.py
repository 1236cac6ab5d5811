"""Help of every verb: whole words at any width, and the names that a user has to type."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache

import pytest

from minibot.cli.main import parser, verb_parser, verbs
from minibot.cli.support.help_text import folded_usage
from minibot.events.roles import Roles
from tests.waiting import DEADLINE_S

WIDE = 10_000
# What carries out a verb and takes long to import; help needs none of it.
WORK = (
    "minibot.backtest.driver",
    "minibot.backtest.parity",
    "minibot.backtest.search.sweep",
    "minibot.engine.lockstep",
    "minibot.gates.chaos",
    "minibot.replay.diff",
    "minibot.replay.explain.causes",
    "minibot.report.acceptance",
    "minibot.report.html",
    "minibot.watchdog.launcher",
)


@cache
def helps(columns: int) -> dict[str, str]:
    """Return the help of every verb on a terminal of a width."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "get_terminal_size", lambda *_: os.terminal_size((columns, 24)))
        top = parser()
        return {name: verb_parser(top, name).format_help() for name in verbs()}


@pytest.mark.parametrize("columns", [80, 40])
@pytest.mark.parametrize("name", sorted(verbs()))
def test_help_breaks_no_word_on_a_terminal(name: str, columns: int) -> None:
    """No line is wider than the terminal, and each word of it is a word of the unfolded help."""
    shown = helps(columns)[name]

    assert [line for line in shown.splitlines() if len(line) > columns] == []
    assert set(shown.split()) <= set(helps(WIDE)[name].split())


@pytest.mark.parametrize("name", ["explain", "tail"])
def test_verb_that_asks_for_a_queue_names_all_of_them(name: str) -> None:
    """Help of a verb that takes a queue names every queue."""
    words = helps(80)[name].replace(",", " ").replace(";", " ").split()

    assert set(Roles.of_project().queues) <= set(words)


def test_usage_is_broken_between_flags_and_a_wide_group_at_its_bars() -> None:
    """A flag and its value stay together."""
    line = "usage: x [--json] [--var VAR] [--one ID | --another ID | --third ID] [RUN]"

    assert folded_usage(line, 30, 4) == [
        "usage: x [--json] [--var VAR]",
        "    [--one ID | --another ID |",
        "    --third ID] [RUN]",
    ]


@pytest.mark.process
def test_help_imports_nothing_that_carries_out_a_verb() -> None:
    """The parser of all verbs is made without the modules that only a run of one needs."""
    code = "import sys; from minibot.cli.main import parser; parser(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    loaded = set(done.stdout.split())

    assert "minibot.cli.backtest" in loaded
    assert sorted(loaded.intersection(WORK)) == []


@pytest.mark.process
def test_verb_that_reads_arrays_starts_no_thread_for_matrices() -> None:
    """NumPy would start one on each further core, in every process of a backtest."""
    code = (
        "import psutil; from minibot.cli.main import run; run(['help']); import numpy;"
        "print(psutil.Process().num_threads())"
    )
    environ = {name: text for name, text in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    command, limit = [sys.executable, "-c", code], DEADLINE_S
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, check=True, timeout=limit
    )
    assert done.stdout.splitlines()[-1] == "1"
