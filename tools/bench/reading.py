"""Cases that read: a prepared journal through the reader, and through `verify`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import psutil

from minibot.kernel.files import ensure_folder, write_hashed
from minibot.kernel.queue import open_reader, open_writer
from minibot.kernel.seal import seal_run
from minibot.kernel.verify import verify_tree
from tools.bench import workload
from tools.bench.worker import Answer

# A role's batch size, see runtime.shell.
READ_LINES: Final = 256
PREPARE_LINES: Final = 4096


def prepare(root: str, lines: int, is_real: bool = False) -> Answer:
    """Make a queue of many events, unless one with that number exists."""
    codec = workload.codec()
    reader = open_reader(root, workload.TICKS)
    standing = reader.head().lines
    reader.close()
    if standing == lines:
        return {"lines": lines}
    writer = open_writer(root, workload.TICKS, sync=False)
    events = workload.ticks(workload.EVENTS, is_real)
    ready = [codec.encode(workload.TICKS, event) for event in events]
    at = writer.position.seq
    while at < lines:
        first = at % len(ready)
        batch = ready[first : first + min(PREPARE_LINES, lines - at)]
        writer.append_json(batch)
        at += len(batch)
    writer.close()
    return {"lines": writer.position.seq}


def read(root: str, is_decoded: bool = True) -> Answer:
    """Read a queue from its beginning to its end, each event decoded and validated."""
    codec = workload.codec()
    reader = open_reader(root, workload.TICKS)
    count = 0
    begin, begin_cpu = time.perf_counter(), time.process_time()
    while lines := reader.read(READ_LINES):
        if is_decoded:
            codec.decode_all(workload.TICKS, [line.json for line in lines])
        count += len(lines)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
    reader.close()
    return {"events": count, "seconds": seconds, "cpu": cpu, "rss_mb": rss_mb()}


def seal(root: str, run: str) -> Answer:
    """Seal a folder of queues as a run, by hard links, unless it is sealed."""
    ensure_folder(run)
    manifest = Path(run) / "manifest.json"
    if not manifest.exists():
        write_hashed(manifest, {"schema": "minibot.bench", "run_id": workload.RUN_ID})
    return {"root": seal_run(root, run)}


def verify(root: str) -> Answer:
    """Verify a run or a folder of queues on all cores, as `minibot verify` does."""
    begin = time.perf_counter()
    jobs = os.cpu_count() or 1
    findings = [f"{finding}" for finding in verify_tree(Path(root), jobs=jobs)]
    return {"findings": findings, "seconds": time.perf_counter() - begin, "rss_mb": rss_mb()}


def rss_mb() -> float:
    """Return the resident memory of this process in MB."""
    return float(psutil.Process().memory_info().rss / 1024**2)
