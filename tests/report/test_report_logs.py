"""Logs of a night: followed by ids from a fill's line to its tick's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.runs import ShortRun, raw_events


def log_lines(run: ShortRun) -> list[dict[str, Any]]:
    """Return every line of every role's log, rotated ones included."""
    paths = [path for path in run.var.joinpath("logs").glob("*.jsonl")]
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


@pytest.mark.row("S-45")
def test_log_of_a_fill_and_log_of_its_tick_share_an_id(short_run: ShortRun) -> None:
    """A fill's log line names its causes, and its tick has a log line of its own."""
    lines = log_lines(short_run)
    logged = {line["event_id"] for line in lines if "event_id" in line}
    fills = {line["event_id"]: line for line in lines if line["kind"] == "fill"}
    ticks = {event["id"] for event in raw_events(short_run.run_dir, "market_ticks")}

    recorded = raw_events(short_run.run_dir, "fills")

    assert recorded
    for event in recorded:
        line = fills[event["id"]]
        assert line["cause_ids"] == event["payload"]["cause_ids"]
        (tick_id,) = ticks & set(line["cause_ids"])
        assert tick_id in logged
