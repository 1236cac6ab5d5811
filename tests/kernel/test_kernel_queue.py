"""Queue folder: its files, from the start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minibot.kernel.errors import RunStop
from minibot.kernel.queue import (
    make_queue,
    open_reader,
    open_side_writer,
    open_writer,
    queue_folder,
    reader_folder,
)
from tests.kernel.kernel_support import ids_of, lines_of, read_all

BASE = [
    "market_ticks",
    "signals",
    "risk_actions",
    "order_intents",
    "order_results",
    "fills",
    "health",
    "stop_journal",
]


@pytest.mark.row("N-28", "N-37", "N-38")
def test_every_queue_of_the_roles_file_has_its_four_files_from_the_start(
    project: Path, var_dir: Path
) -> None:
    """Each base queue has inbox, acks, dead letters and cursor from the start."""
    queues = json.loads((project / "config" / "roles.v1.json").read_bytes())["queues"]
    root = var_dir / "queues"
    for name, queue in queues.items():
        make_queue(root, name, queue["primary_reader"])

    assert set(BASE) <= set(queues)
    for name in queues:
        for file in ("inbox.jsonl", "acks.jsonl", "deadletter.jsonl", "cursor.json"):
            assert (root / name / file).is_file()
            assert (root / name / file).stat().st_mode & 0o777 == 0o600
        assert (root / name).stat().st_mode & 0o777 == 0o700


def test_make_queue_again_leaves_what_stands(var_dir: Path) -> None:
    """A second start leaves an existing queue as it is."""
    make_queue(var_dir, "fills", "risk_role")
    writer = open_writer(var_dir, "fills")
    writer.append(lines_of(1, 3))
    writer.close()
    before = {path.name: path.read_bytes() for path in (var_dir / "fills").iterdir()}
    make_queue(var_dir, "fills", "risk_role", parts=["risk_role"])

    after = {path.name: path.read_bytes() for path in (var_dir / "fills").glob("*.*")}
    assert after == before


def test_side_files_stand_with_their_reader(var_dir: Path) -> None:
    """The primary reader's acks lie in the queue's folder, others' under `readers/`."""
    primary = reader_folder(var_dir, "market_ticks", "strategy_role", True)
    further = reader_folder(var_dir, "market_ticks", "ai_role", False)
    for number, folder in enumerate((primary, further), 1):
        acks = open_side_writer(folder, "acks")
        letters = open_side_writer(folder, "deadletter", sync=True)
        acks.append(lines_of(number, 1))
        letters.append(lines_of(number + 10, 1))
        acks.close()
        letters.close()

    assert primary == queue_folder(var_dir, "market_ticks")
    assert further == var_dir / "market_ticks" / "readers" / "ai_role"
    assert ids_of(read_all(primary, "acks")) == [1]
    assert ids_of(read_all(further, "deadletter")) == [12]


@pytest.mark.row("N-06")
def test_second_writer_of_acks_is_refused(var_dir: Path) -> None:
    """A second writer of acks is refused, so that two processes of a role cannot mix them."""
    first = open_side_writer(var_dir, "acks")
    with pytest.raises(RunStop) as caught:
        open_side_writer(var_dir, "acks")

    assert caught.value.reason_code == "QUEUE_LOCKED"
    first.close()


def test_inbox_and_parts_are_journals_of_their_own(var_dir: Path) -> None:
    """A part has its own lines, numbers and head."""
    make_queue(var_dir, "health", "watchdog_role", parts=["risk_role"])
    inbox = open_writer(var_dir, "health")
    part = open_writer(var_dir, "health", part="risk_role", sync=False)
    inbox.append(lines_of(1, 2))
    part.append(lines_of(5, 1))

    assert ids_of(open_reader(var_dir, "health").read(9)) == [1, 2]
    assert ids_of(open_reader(var_dir, "health", part="risk_role").read(9)) == [5]
    inbox.close()
    part.close()
