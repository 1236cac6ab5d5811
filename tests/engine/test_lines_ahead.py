"""Lines read ahead by another process: the same ones and the same refusals as of one process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable
from pathlib import Path

import pytest

from minibot.engine import lines_ahead
from minibot.engine.lines_ahead import Batch, Place, batches, batches_ahead
from minibot.events.names import TICKS
from minibot.kernel.errors import IntegrityError
from minibot.kernel.queue import queue_folder
from tests.kernel.kernel_support import fill

pytestmark = pytest.mark.process

LINES = 6_000  # More than a pipe holds.


@pytest.fixture(autouse=True)
def any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read ahead whatever the length of the queue and the number of cores."""
    monkeypatch.setattr(lines_ahead, "AHEAD_LINES_MIN", 1)
    monkeypatch.setattr(lines_ahead, "default_jobs", lambda: 2)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Queue of some thousand lines."""
    folder = queue_folder(tmp_path, TICKS)
    folder.mkdir(parents=True, mode=0o700)
    fill(folder, LINES)
    return Place(tmp_path, TICKS, None)


def taken(found: Iterable[Batch]) -> tuple[list[tuple[int, bytes]], str]:
    """Return all numbered lines, and the error behind them."""
    lines: list[tuple[int, bytes]] = []
    try:
        for batch in found:
            lines += enumerate(batch.jsons, batch.first_seq)
    except IntegrityError as error:
        return lines, f"{error} {error.file} {error.line} {error.offset}"
    return lines, ""


def test_another_process_reads_the_lines_that_this_one_would(place: Place) -> None:
    """Lines read ahead are those of the queue; the other process is there, and gone at the end."""
    found = batches_ahead(place)
    first = next(found)
    helpers = multiprocessing.active_children()
    lines, error = taken([first, *found])

    assert len(helpers) == 1
    assert (lines, error) == taken(batches(place))
    assert [seq for seq, _ in lines] == list(range(1, LINES + 1))
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_damage_is_refused_as_without_the_other_process(place: Place, share: float) -> None:
    """A changed byte raises the same error behind the same lines."""
    path = queue_folder(place.root, TICKS) / "inbox.jsonl"
    data = bytearray(path.read_bytes())
    at = data.index(b'"text"', int(len(data) * share) - 200 * (share > 0.9))
    data[at + 1] ^= 1
    path.write_bytes(data)

    lines, error = taken(batches_ahead(place))

    assert "sha256 of the line is wrong" in error
    assert (lines, error) == taken(batches(place))


def test_death_of_the_other_process_costs_nothing_but_time(place: Place) -> None:
    """Lines that a killed process has not given are read here."""
    found = batches_ahead(place)
    first = next(found)
    for helper in multiprocessing.active_children():
        helper.kill()

    assert taken([first, *found]) == taken(batches(place))


def test_reading_that_is_given_up_leaves_no_process(place: Place) -> None:
    """A reader who stops early ends the other process."""
    found = batches_ahead(place)
    next(found)
    assert multiprocessing.active_children() != []

    found.close()  # type: ignore[attr-defined]  # A generator, which may be closed.

    assert multiprocessing.active_children() == []
