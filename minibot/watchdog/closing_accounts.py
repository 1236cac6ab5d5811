"""Closing accounts of a run that has ended, written next to its queues before the seal.

`hourly_state.jsonl` holds one hash-chained state for every hour of the run, `metrics.json` the
figures of its end: the last ones kept while it lived, or a new count if those came too early.
A run that is too long for a new count has no `metrics.json`. The seal covers what is there. Both
are projections: replay recomputes them from the inputs and reports differences.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from minibot.accounting.hourly_accounts import HOURLY_STATE_FILE, HourlyAccounts, states_bytes
from minibot.cores.input_order import LineSource
from minibot.events.codec import Codec
from minibot.events.model import Event, Fill, RunOpening
from minibot.events.names import CONTROL, FILLS, TICKS, WATCHDOG_ROLE
from minibot.events.reasons import SCHEMA_INVALID
from minibot.kernel.errors import IntegrityError, RunStop
from minibot.kernel.files import hashed_bytes, parse_hashed, read_whole
from minibot.kernel.queue import INBOX, open_reader, queue_folder
from minibot.kernel.segments import end_of, load_segments
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import METRICS_FILE
from minibot.watchdog.run_figures import RunFigures

BATCH = 1024
COUNTED_TICKS_MAX = 500_000
"""Most market events of a new count: the next start waits for it, 36 us for each."""

Put = Callable[[str, bytes], None]


def write_closing_accounts(
    var: Var, manifest: Manifest, codec: Codec, put: Put, *, is_counted: bool
) -> list[str]:
    """Write the accounts of a run that has ended; return failures, usually none.

    The queues must have no writer any more. Accounts can be recomputed at any time, so a failure
    does not keep a run from being sealed.

    Args:
        var: Folder of its queues and its last figures.
        manifest: The run's manifest.
        codec: The run's codec.
        put: Writes a file, by name, into the run's folder.
        is_counted: True if the last figures include the last event of every role.
    """
    findings = []
    steps: tuple[Callable[[], None], ...] = (
        lambda: write_hourly_states(var.queues, manifest.run_id, codec, put),
        lambda: _write_metrics(var, manifest, codec, put, is_counted),
    )
    for step in steps:
        try:
            step()
        except RunStop as error:
            findings.append(f"accounts: {error.reason_code}: {error.detail}")
    return findings


def write_hourly_states(queues: Path, run_id: str, codec: Codec, put: Put) -> None:
    """Write `hourly_state.jsonl` of a run; do nothing for a run without an event.

    Raises:
        RunStop: A queue is damaged, or the disk refuses.
    """
    opening = _next(LineSource(open_reader(queues, CONTROL)), CONTROL, codec)
    if opening is None:
        return
    if not isinstance(opening.payload, RunOpening):
        detail = "control does not begin with run_opening"
        raise IntegrityError(WATCHDOG_ROLE, SCHEMA_INVALID, detail)
    accounts = HourlyAccounts(run_id, opening.payload, opening.ts)
    fills = LineSource(open_reader(queues, FILLS))
    while (event := _next(fills, FILLS, codec)) is not None:
        if isinstance(event.payload, Fill):
            accounts.on_fill(event.payload, event.ts)
    last = _last_tick(queues, codec)
    states = accounts.close(opening.ts if last is None else last.ts)
    put(HOURLY_STATE_FILE, states_bytes(states))


def _write_metrics(var: Var, manifest: Manifest, codec: Codec, put: Put, is_counted: bool) -> None:
    """Write `metrics.json` of a run, unless it has no event or is too long for a new count.

    Raises:
        RunStop: The last figures or a queue are damaged, or the disk refuses; nothing is written.
    """
    if not open_reader(var.queues, CONTROL).head().lines:
        return
    figures = RunFigures(var, manifest, codec)
    path, lines = var.metrics / METRICS_FILE, figures.lines()
    if is_counted and os.path.lexists(path):
        data = read_whole(path)
        kept = parse_hashed(data, path)
        # A role's last lines may have come by the recovery of its queues.
        if kept.get("run_id") == manifest.run_id and kept.get("lines") == lines:
            put(METRICS_FILE, data)
            return
    if lines[TICKS] > COUNTED_TICKS_MAX:
        return  # `minibot metrics` counts at any time.
    figures.count(None)
    put(METRICS_FILE, hashed_bytes(figures.to_json(), 1))


def _next(source: LineSource, queue: str, codec: Codec) -> Event | None:
    line = source.next()
    return None if line is None else codec.decode(queue, line.json)


def _last_tick(queues: Path, codec: Codec) -> Event | None:
    """Return the last market event, reading only the last segment with lines."""
    segments = load_segments(queue_folder(queues, TICKS), INBOX)
    for start in (end_of(segments), end_of(segments[:-1])):
        reader = open_reader(queues, TICKS, start)
        last = None
        while lines := reader.read(BATCH):
            last = lines[-1]
        reader.close()
        if last is not None:
            return codec.decode(TICKS, last.json)
    return None
