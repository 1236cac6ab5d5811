"""Cases that run long: memory of a reader or a writer over many events."""

from __future__ import annotations

import time
from typing import Final

import psutil

from minibot.kernel.queue import open_reader, open_writer
from tools.bench import workload
from tools.bench.worker import Answer

WARM_LINES: Final = 1_000_000
BATCH: Final = 4_096
READ_LINES: Final = 1_024
PAUSE_S: Final = 0.001
MB: Final = 1024 * 1024


def grow_writer(root: str, lines: int) -> Answer:
    """Append prepared events; return the memory after a million and at the end."""
    encode = workload.codec().encode
    ready = [encode(workload.TICKS, event) for event in workload.ticks(4 * BATCH)]
    writer = open_writer(root, workload.TICKS)
    warm_mb = 0.0
    begin = time.perf_counter()
    while (at := writer.position.seq) < lines:
        first = at % len(ready)
        writer.append_json(ready[first : first + min(BATCH, lines - at)])
        if not warm_mb and writer.position.seq >= min(WARM_LINES, lines // 2):
            warm_mb = _rss_mb()
    took = time.perf_counter() - begin
    end_mb = _rss_mb()
    writer.close()
    return {"warm_mb": warm_mb, "end_mb": end_mb, "seconds": took}


def grow_reader(root: str, lines: int) -> Answer:
    """Read events as they come; return the memory after a million and at the end."""
    reader = open_reader(root, workload.TICKS)
    warm_mb, count = 0.0, 0
    while count < lines:
        found = reader.read(READ_LINES)
        count += len(found)
        if not found:
            time.sleep(PAUSE_S)
        elif not warm_mb and count >= min(WARM_LINES, lines // 2):
            warm_mb = _rss_mb()
    end_mb = _rss_mb()
    reader.close()
    return {"warm_mb": warm_mb, "end_mb": end_mb, "lines": count}


def _rss_mb() -> float:
    return float(psutil.Process().memory_info().rss / MB)
