"""What a role's process takes over from its profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from minibot.kernel.errors import ContractError
from tests.watchdog.watchdog_stage import Stage

SETS = ("queues.line_bytes_max=4096", "watchdog.heartbeat_interval_ms=200")


def test_line_longer_than_the_profile_allows_is_refused_and_what_fits_is_written(
    tmp_path: Path,
) -> None:
    """`queues.line_bytes_max` holds for what a role writes."""
    context = Stage(tmp_path, SETS).context()
    writer = context.open_output("control").writer

    with pytest.raises(ContractError, match="at most 4096"):
        writer.append_json([b'{"detail":"%s"}' % (b"x" * 5000)])
    writer.append_json([b'{"detail":"%s"}' % (b"x" * 3000)])

    assert writer.position.seq == 1
    context.close_outputs()


def test_heart_beats_as_often_as_the_profile_says(tmp_path: Path) -> None:
    """`watchdog.heartbeat_interval_ms`; the launcher counts a role dead by a multiple of it."""
    context = Stage(tmp_path, SETS).context()

    assert context.heartbeat.interval_s == 0.2
    context.close_outputs()
