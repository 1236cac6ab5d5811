"""Small finished run for the tests of seal and verify."""

from __future__ import annotations

import shutil
from pathlib import Path

from minibot.kernel import canonical
from minibot.kernel.cursor import Cursor
from minibot.kernel.files import ensure_folder, write_hashed
from minibot.kernel.line import encode_line
from minibot.kernel.queue import (
    make_queue,
    open_reader,
    open_side_writer,
    open_writer,
    reader_folder,
)
from minibot.kernel.seal import seal_run
from tests.kernel.kernel_support import lines_of

RUN_ID = "20261120_074600"
PARTS = ["market_role", "risk_role"]
EXTRA = {"config": "aa" * 32, "contracts": "bb" * 32, "code": "cc" * 32}


def make_run(var: Path) -> Path:
    """Write queues of a run under `var/queues` and its manifest; return the run's folder."""
    root, run = var / "queues", var / "runs" / RUN_ID
    make_queue(root, "fills", "risk_role")
    make_queue(root, "health", "watchdog_role", parts=PARTS)
    make_queue(root, "risk_actions", None)
    fills = open_writer(root, "fills", segment_bytes=1000)
    for first in range(1, 22, 2):
        fills.append(lines_of(first, 2))
    fills.close()
    _read_some(root)
    _merge_health(root)
    ensure_folder(run)
    write_hashed(run / "manifest.json", {"schema": "minibot.manifest", "run_id": RUN_ID})
    write_hashed(run / "clock.json", {"speed": "1"})
    return run


def copy_run(var: Path, target: Path) -> Path:
    """Copy the queues of `make_run` elsewhere; return the copy's run folder."""
    shutil.copytree(var, target)
    return target / "runs" / RUN_ID


def sealed_run(var: Path) -> Path:
    """Return the folder of a sealed run."""
    run = make_run(var)
    seal_run(var / "queues", run, EXTRA)
    return run


def _read_some(root: Path) -> None:
    """Let two readers process some fills: acks, a dead letter, cursors."""
    for role, is_primary, count in (("risk_role", True, 22), ("ai_role", False, 9)):
        folder = reader_folder(root, "fills", role, is_primary)
        acks = open_side_writer(folder, "acks")
        acks.append(lines_of(1, 4))
        acks.close()
        reader = open_reader(root, "fills")
        taken = 0
        while taken < count:
            taken += len(reader.read(count - taken))
        Cursor(folder / "cursor.json", RUN_ID, "fills", role).save(reader.position)
        reader.close()
    letters = open_side_writer(root / "fills", "deadletter", sync=True)
    letters.append(lines_of(1, 1))
    letters.close()


def _merge_health(root: Path) -> None:
    """Write every role's part of health, and their merge."""
    inbox = open_writer(root, "health", sync=False)
    for role in PARTS:
        part = open_writer(root, "health", part=role, sync=False)
        lines = [encode_line(canonical.encode({"n": n, "role": role})) for n in range(4)]
        part.append(lines)
        inbox.append(lines)
        part.close()
    inbox.close()
