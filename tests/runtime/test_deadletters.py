"""Dead letters: every line that they name is known again, however many there are."""

from __future__ import annotations

from pathlib import Path

from minibot.events.names import TICKS
from minibot.events.reasons import POISON_EVENT
from minibot.kernel.errors import ContractError
from minibot.kernel.journal import Line
from minibot.kernel.queue import reader_folder
from minibot.kernel.reader import CHUNK_BYTES
from minibot.runtime.deadletters import DeadLetters, named_lines
from tests.watchdog.watchdog_stage import RUN_ID, Stage

ROLE = "risk_role"
LINE = b"x" * 4096


def test_lines_are_named_by_dead_letters_of_more_than_one_chunk(tmp_path: Path) -> None:
    """Every dead letter names its line, also those beyond the first chunk of a reader."""
    stage = Stage(tmp_path / "var")
    folder = reader_folder(stage.var.queues, TICKS, ROLE, primary=False)
    letters = DeadLetters(
        role=ROLE,
        run_id=RUN_ID,
        cmdline_hash=stage.manifest.processes[ROLE].cmdline_hash,
        codec=stage.codec,
        clock=stage.context().clock,
        folders={TICKS: folder},
    )
    seqs = range(1, CHUNK_BYTES // len(LINE) + 2)
    error = ContractError(ROLE, POISON_EVENT, "it crashed the core")
    for seq in seqs:
        letters.set_aside(TICKS, Line(seq, seq * len(LINE), LINE), error)

    assert named_lines({TICKS: folder}, stage.codec) == {(TICKS, seq) for seq in seqs}
