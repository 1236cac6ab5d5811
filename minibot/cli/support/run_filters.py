"""Filters of the verbs over many runs: by start, kind of data, profile, state and number."""

from __future__ import annotations

import argparse
import re
import time
from datetime import UTC, tzinfo
from typing import Final

from minibot.cli.support.moments import moment_ms
from minibot.cli.support.numbers import at_least
from minibot.events.unit_sizes import DAY_MS, HOUR_MS
from minibot.kernel.errors import Refusal
from minibot.report.figures import counted
from minibot.report.records import UNSEALED, RunRecord, read_records
from minibot.runtime.paths import Var

DATA: Final = ("real", "drill", "simulated")
STATES: Final = ("sealed", "stopped", "interrupted", "damaged", UNSEALED)
NUMBER: Final = 50
_SPAN: Final = re.compile(r"(\d{1,5})([dh])")


def add_filters(command: argparse.ArgumentParser) -> None:
    """Add `--since`, `--data` and `--profile`."""
    command.add_argument(
        "--since",
        metavar="WHEN",
        help="runs that began since: 2026-11-01, 7d, 12h",
    )
    command.add_argument("--data", choices=DATA, help="runs of this kind of data alone")
    command.add_argument("--profile", metavar="NAME", help="runs of this profile alone")


def add_number(command: argparse.ArgumentParser) -> None:
    """Add `-n`."""
    command.add_argument(
        "-n",
        "--number",
        type=at_least(1),
        default=NUMBER,
        help=f"how many of the newest runs (default: {NUMBER})",
    )


def older_lines(older: int, shown: int) -> list[str]:
    """Return the line that counts the older runs which `-n` leaves out; empty for none.

    Args:
        older: How many it leaves out.
        shown: How many it shows.
    """
    if not older:
        return []
    return ["", f"{counted(older, 'older run')} left out; with them: -n {older + shown}"]


def since_ms(text: str | None, zone: tzinfo = UTC) -> int:
    """Return the moment that `--since` names in a zone, Unix ms; 0 without one.

    Raises:
        Refusal: It names none.
    """
    if text is None:
        return 0
    if span := _SPAN.fullmatch(text.strip()):
        length_ms = int(span[1]) * (DAY_MS if span[2] == "d" else HOUR_MS)
        return max(0, round(time.time() * 1000) - length_ms)
    found = moment_ms(text, zone)
    if found is None:
        raise Refusal(f"--since {text!r} is not a moment.", "Such as: 2026-11-01, 7d, 12h")
    return found


def filtered(arguments: argparse.Namespace, var: Var, zone: tzinfo = UTC) -> list[RunRecord]:
    """Return the runs of a `var` that the filters name, oldest first.

    A run counts by the wall-clock time of its start; a time of `--since` is one of the zone. A run
    whose manifest is damaged has neither start nor profile, and `--since` and `--profile` leave it
    out. Its data may be of any kind, so `--data` never does.

    Raises:
        Refusal: `--since` names no moment.
    """
    begun_ms, profile = since_ms(arguments.since, zone), arguments.profile
    found = []
    for record in read_records(var):
        manifest = record.manifest
        if manifest is not None and arguments.data not in (None, record.kind):
            continue
        if profile is not None and (manifest is None or manifest.profile != profile):
            continue
        if begun_ms and (manifest is None or manifest.started_ms < begun_ms):
            continue
        found.append(record)
    return found
