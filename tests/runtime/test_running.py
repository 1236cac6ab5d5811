"""Whether a run is there: asked by its lock, by several at once, beside runs that come and go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from minibot.runtime.paths import Var
from minibot.runtime.running import run_lock, running_run
from minibot.watchdog.recovery import note_current

RUN_ID = "20251120_000000"
ASKED = 500
ASKER = """
import sys
from pathlib import Path
from minibot.runtime.paths import Var
from minibot.runtime.running import running_run
print("asking", flush=True)
while True:
    running_run(Var(Path(sys.argv[1])))
"""


@pytest.fixture
def var(tmp_path: Path) -> Var:
    """A folder whose last run has ended: its lock's file and the note of it still stand."""
    var = Var(tmp_path)
    with run_lock(var):
        note_current(var, RUN_ID)
    return var


def test_another_who_asks_is_not_taken_for_a_run(var: Var) -> None:
    """Each holds the lock for a moment; a run that has ended is not said to be running."""
    asker = subprocess.Popen(
        [sys.executable, "-c", ASKER, str(var.root)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert asker.stdout is not None
        assert asker.stdout.readline() == "asking\n"
        answers = {running_run(var) for _ in range(ASKED)}
    finally:
        asker.kill()
        asker.communicate()

    assert answers == {None}


def test_run_that_holds_the_lock_is_named(var: Var) -> None:
    """By the note that it left."""
    with run_lock(var):
        assert running_run(Var(var.root)) == RUN_ID
