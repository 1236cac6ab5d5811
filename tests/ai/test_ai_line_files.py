"""Files that the AI keeps beside the queues: one an hour, whole at every moment."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from minibot.ai import line_files
from minibot.ai.line_files import LineFiles
from minibot.kernel.errors import RunStop

# 2026-11-22 20:00 UTC.
HOUR_TS = 1_795_377_600_000
MINUTE_MS = 60_000


def names(folder: Path) -> list[str]:
    """Return the names of the files, in order."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.row("N-34")
def test_night_of_seven_hours_leaves_a_file_an_hour(tmp_path: Path) -> None:
    """Seven hours of a line a minute leave seven files with every line once and in order."""
    files = LineFiles(tmp_path, tmp_path / "said", MINUTE_MS)
    lines = [f"{minute}\n".encode() for minute in range(7 * 60)]

    for minute, line in enumerate(lines):
        files.add(line)
        files.write_when_due(HOUR_TS + minute * MINUTE_MS)

    written = sorted((tmp_path / "said").iterdir())
    assert [path.name[:11] for path in written] == [
        "20261122_20", "20261122_21", "20261122_22", "20261122_23",
        "20261123_00", "20261123_01", "20261123_02",
    ]  # fmt: skip
    assert b"".join(path.read_bytes() for path in written) == b"".join(lines)
    assert files.written == len(lines)


def test_clerk_that_was_started_again_goes_on_in_the_file_of_its_hour(tmp_path: Path) -> None:
    """A restarted clerk keeps the earlier lines in the file of its hour."""
    for line in (b"one\n", b"two\n"):
        files = LineFiles(tmp_path, tmp_path, MINUTE_MS)
        files.add(line)
        files.write(HOUR_TS)

    assert names(tmp_path) == ["20261122_20-01.jsonl"]
    assert (tmp_path / "20261122_20-01.jsonl").read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("planted", ["folder", "link", "fifo"])
def test_what_stands_in_the_place_of_a_part_is_left_alone(tmp_path: Path, planted: str) -> None:
    """A foreign entry in a part's place is left alone, and the lines go into a further part."""
    part = tmp_path / "20261122_20-01.jsonl"
    if planted == "folder":
        part.mkdir()
    elif planted == "link":
        part.symlink_to(tmp_path / "elsewhere")
    elif hasattr(os, "mkfifo"):
        os.mkfifo(part)
    else:
        pytest.skip("this system has no FIFO")
    files = LineFiles(tmp_path, tmp_path, MINUTE_MS)
    files.add(b"one\n")

    files.write(HOUR_TS)

    assert names(tmp_path) == ["20261122_20-01.jsonl", "20261122_20-02.jsonl"]
    assert (tmp_path / "20261122_20-02.jsonl").read_bytes() == b"one\n"


def test_part_is_never_one_whose_place_is_taken(tmp_path: Path) -> None:
    """Without the first part of an hour a foreign entry in the second's place is left alone too."""
    (tmp_path / "20261122_20-02.jsonl").mkdir()
    files = LineFiles(tmp_path, tmp_path, MINUTE_MS)
    files.add(b"one\n")

    files.write(HOUR_TS)

    assert names(tmp_path) == ["20261122_20-02.jsonl", "20261122_20-03.jsonl"]


def test_lines_wait_for_their_interval_and_a_full_hour_goes_on_in_a_further_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines are written at their interval, and a full hour continues in a further part."""
    monkeypatch.setattr(line_files, "PART_BYTES_MAX", 4)
    files = LineFiles(tmp_path, tmp_path / "said", MINUTE_MS)
    files.write(HOUR_TS)
    assert not (tmp_path / "said").exists()

    for second, line in ((0, b"one\n"), (59, b"two\n"), (60, b"six\n")):
        files.add(line)
        files.write_when_due(HOUR_TS + second * 1000)

    assert names(tmp_path / "said") == ["20261122_20-01.jsonl", "20261122_20-02.jsonl"]
    assert (tmp_path / "said" / "20261122_20-02.jsonl").read_bytes() == b"two\nsix\n"


def test_line_is_added_to_a_full_hour_in_bounded_memory(tmp_path: Path) -> None:
    """A line is added to a full hour in pieces, so memory does not grow with the file."""
    files = LineFiles(tmp_path, tmp_path, MINUTE_MS)
    whole = b"x" * 3_900_000 + b"\n"
    files.add(whole)
    files.write(HOUR_TS)
    files.add(b"one\n")

    tracemalloc.start()
    files.write(HOUR_TS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (tmp_path / "20261122_20-01.jsonl").read_bytes() == whole + b"one\n"
    assert peak < 3_000_000


def test_folder_that_was_taken_away_is_not_made_again(tmp_path: Path) -> None:
    """A `var` that was moved is not made again (VAR_LOST)."""
    base = tmp_path / "var" / "ai"
    base.mkdir(parents=True, mode=0o700)
    files = LineFiles(base, base / "said", MINUTE_MS)
    files.add(b"one\n")
    (tmp_path / "var").rename(tmp_path / "away")

    with pytest.raises(RunStop, match="said below"):
        files.write(HOUR_TS)

    assert not (tmp_path / "var").exists()
