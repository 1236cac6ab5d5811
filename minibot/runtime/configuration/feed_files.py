"""Feed files: series of values from outside the market, read from local files of the profile.

A line of a file is `TIME,VALUE`: Unix ms in market time, a comma, a plain decimal number as it is
to stand in events. Times rise from line to line. A file is judged when the profile is loaded and
read once: by the market role in a night, by the driver in a backtest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from minibot.events.model import JsonObject
from minibot.kernel.files import is_endless
from minibot.runtime.configuration.config_files import MANIFEST
from minibot.runtime.configuration.config_layers import SET
from minibot.runtime.configuration.config_schema import violation
from minibot.runtime.paths import PROJECT, escape_reason, is_within, resolve

FEED_BYTES_MAX: Final = 1_000_000
"""A value a minute for a month, or an hour for three years; a run pins the file by its hash."""

_LINE: Final = re.compile(r"(0|[1-9][0-9]{0,14}),(-?(?:0|[1-9][0-9]{0,19})(?:[.][0-9]{1,18})?)")
_LINE_SHOWN_MAX: Final = 40


class FeedLine(NamedTuple):
    """One value of a feed: its name, from when on it holds (Unix ms), and its decimal text."""

    ts: int
    name: str
    value: str


def feed_lines(feeds: Mapping[str, str]) -> list[FeedLine]:
    """Return the values of all feeds of a profile in the order of their times, then names.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is refused; the message names file and line.
    """
    found = []
    for name, path in sorted(feeds.items()):
        found += [FeedLine(ts, name, value) for ts, value in _read(resolve(path))]
    return sorted(found)


def lines_from(lines: Sequence[FeedLine], start_ms: int) -> list[FeedLine]:
    """Return the lines for a reader that starts at a time.

    That is, of each feed, the newest value that holds then, and every later one.
    """
    before = {line.name: line for line in lines if line.ts <= start_ms}
    return sorted(before.values()) + [line for line in lines if line.ts > start_ms]


def feed_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    """Yield why feeds of a profile are refused; a finished run's are not checked."""
    for name, path in sorted((raw["market"].get("feeds") or {}).items()):
        key = f"market.feeds.{name}"
        if origin.get(key) == MANIFEST:
            continue
        why = escape_reason(path) or _reach_fault(path, origin.get(key, ""))
        if not why:
            try:
                _read(resolve(path))
            except FileNotFoundError:
                why = "no such file"
            except (OSError, ValueError) as error:
                why = str(error)
        if why:
            yield violation(["market", "feeds", name], path, why, origin)


def _reach_fault(path: str, origin: str) -> str:
    # A typed path is intended; a file or an environment may be another person's.
    if origin != SET and not is_within(resolve(path), PROJECT):
        return "leads out of the project; allowed: a file in it, or any by --set"
    return ""


def _read(path: Path) -> list[tuple[int, str]]:
    if path.is_symlink():
        raise ValueError(f"{path.name}: is a link, which may point elsewhere tomorrow")
    if is_endless(path):
        raise ValueError(f"{path.name}: is not a regular file")
    with path.open("rb") as file:
        data = file.read(FEED_BYTES_MAX + 1)
    if len(data) > FEED_BYTES_MAX:
        raise ValueError(f"{path.name}: is larger than {FEED_BYTES_MAX} bytes")
    found: list[tuple[int, str]] = []
    last = -1
    lines = data.decode("utf-8", "replace").removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            shown = line[:_LINE_SHOWN_MAX]
            raise ValueError(f"{path.name}: line {number}: expected TIME,VALUE, found {shown!r}")
        ts = int(match[1])
        if ts <= last:
            raise ValueError(
                f"{path.name}: line {number}: expected a time above {last}, found {ts}"
            )
        last = ts
        found.append((ts, match[2]))
    return found
