"""Feed files: which are taken, which are refused and in which words, and what a reader is told."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from minibot.events.reasons import REASONS
from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration.config import Config, config_with, load_config
from minibot.runtime.configuration.feed_files import (
    FEED_BYTES_MAX,
    FeedLine,
    feed_lines,
    lines_from,
)
from minibot.watchdog.checks import PinnedCheck
from minibot.watchdog.run_manifest import make_manifest
from tests.runs import PROJECT

NIGHT = PROJECT / "config" / "nore.v1.json"
REFUSED = {
    "time_twice": (b"5,1\n5,2\n", "line 2: expected a time above 5, found 5"),
    "time_back": (b"5,1\n4,2\n", "line 2: expected a time above 5, found 4"),
    "empty": (b"", "line 1: expected TIME,VALUE"),
    "blank_line": (b"1,2\n\n3,4\n", "line 2: expected TIME,VALUE"),
    "float": (b"1,1e5\n", "line 1: expected TIME,VALUE"),
    "no_number": (b"1,nan\n", "line 1: expected TIME,VALUE"),
    "leading_zero": (b"1,01.5\n", "line 1: expected TIME,VALUE"),
    "too_fine": (b"1,0.1234567890123456789\n", "line 1: expected TIME,VALUE"),
    "too_large": (b"1,123456789012345678901\n", "line 1: expected TIME,VALUE"),
    "negative_time": (b"-1,1\n", "line 1: expected TIME,VALUE"),
    "three_columns": (b"1,2,3\n", "line 1: expected TIME,VALUE"),
    "windows_lines": (b"1,2\r\n", "line 1: expected TIME,VALUE"),
    "binary": (b"\xff\xfe1,2", "line 1: expected TIME,VALUE"),
    "huge": (b"\0" * (FEED_BYTES_MAX + 1), "is larger than"),
}


def loaded(path: Path | str, name: str = "mood") -> Config:
    """The night's profile with one feed."""
    return load_config(NIGHT, [f"market.feeds.{name}={path}"])


def refusal(path: Path | str, name: str = "mood") -> str:
    """Return the one sentence that refuses a profile with this feed."""
    with pytest.raises(ConfigError) as refused:
        loaded(path, name)
    (text,) = refused.value.violations
    return text


def written(folder: Path, data: bytes, name: str = "mood.csv") -> Path:
    """A file with these bytes."""
    path = folder / name
    path.write_bytes(data)
    return path


def test_values_of_all_feeds_come_in_the_order_of_time_as_they_are_written(tmp_path: Path) -> None:
    """Exact text, negative too; the end of the last line may be missing."""
    mood = written(tmp_path, b"10,0.50\n30,-1\n")
    flow = written(tmp_path, b"20,7\n30,8", "flow.csv")

    lines = feed_lines({"mood": str(mood), "flow": str(flow)})

    assert lines == [
        FeedLine(10, "mood", "0.50"),
        FeedLine(20, "flow", "7"),
        FeedLine(30, "flow", "8"),
        FeedLine(30, "mood", "-1"),
    ]


@pytest.mark.parametrize(("start", "told"), [(9, "abcd"), (10, "abcd"), (25, "bcd"), (30, "cd")])
def test_reader_is_told_the_newest_value_of_its_start_and_every_later_one(
    start: int, told: str
) -> None:
    """The newest value of each feed counts; an older one is not told again."""
    lines = [FeedLine(10, "x", "a"), FeedLine(20, "x", "b"), FeedLine(30, "x", "c")]
    lines.append(FeedLine(30, "y", "d"))

    assert "".join(line.value for line in lines_from(lines, start)) == told


@pytest.mark.parametrize("case", REFUSED)
def test_file_that_is_no_series_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    """At the load of the profile, before anything starts."""
    data, words = REFUSED[case]

    text = refusal(written(tmp_path, data))

    assert text.startswith("market.feeds.mood = ")
    assert words in text
    assert text.isprintable() or case == "binary"


def test_file_that_cannot_be_read_as_one_is_refused(tmp_path: Path) -> None:
    """Missing, a folder, a path that climbs; a name that no strategy could write."""
    good = written(tmp_path, b"1,2\n")

    assert "no such file" in refusal(tmp_path / "none.csv")
    assert refusal(tmp_path)
    assert "holds '..'" in refusal("../mood.csv")
    assert "small letters" in refusal(good, "Mood")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFO in a folder")
def test_link_and_fifo_are_refused_at_once(tmp_path: Path) -> None:
    """The one may point elsewhere tomorrow, of the other a read may never end."""
    (tmp_path / "link.csv").symlink_to(written(tmp_path, b"1,2\n"))
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "fifo.csv")

    assert "is a link" in refusal(tmp_path / "link.csv")
    assert "not a regular file" in refusal(tmp_path / "fifo.csv")


@pytest.mark.parametrize("name", ["profile.json", "manifest.json", "--set"])
def test_feed_outside_the_project_is_taken_where_it_was_typed_alone(
    tmp_path: Path, name: str
) -> None:
    """A variable or a file, whatever its name, may be another person's."""
    good = written(tmp_path, b"1,2\n")

    assert loaded(good).market.feeds == {"mood": str(good)}
    with pytest.raises(ConfigError, match="1 violation"):
        load_config(NIGHT, [], {"MINIBOT__MARKET__FEEDS__MOOD": str(good)})
    overlay = {"extends": NIGHT.name, "market": {"feeds": {"mood": str(good)}}}
    (tmp_path / name).write_text(json.dumps(overlay), encoding="utf-8")
    with pytest.raises(ConfigError, match="1 violation"):
        load_config(tmp_path / name)


def test_feed_of_a_finished_run_is_not_looked_for(tmp_path: Path) -> None:
    """Its values are on record; the file may be gone, and another key may be changed."""
    good = written(tmp_path, b"1,2\n")
    raw = loaded(good).raw
    good.unlink()

    assert config_with(raw, ["seed=5"]).market.feeds == {"mood": str(good)}


def test_feed_that_changes_during_a_run_stops_it(tmp_path: Path) -> None:
    """A restarted market role would go on with other values than those before."""
    good = written(tmp_path, b"1,2\n")
    manifest = make_manifest(
        loaded(good), NIGHT, tmp_path, None, contracts_sha256="", origin_ms=0, opening={}
    )
    check = PinnedCheck(manifest.pinned)
    before = check.check()

    good.write_bytes(b"1,2\n3,4\n")
    stop = check.check()

    assert before is None
    assert stop is not None
    assert "mood.csv changed" in stop.detail
    # The operator is told to look at a file: a STOP has no list of violations.
    assert "file" in REASONS[stop.reason_code].remedy
