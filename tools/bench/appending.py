"""Cases that append: events through validator, codec and a store, for a number of seconds."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from minibot.kernel.line import encode_line
from minibot.kernel.queue import open_writer
from tools.bench import workload
from tools.bench.peer_stores import PEER_STORES
from tools.bench.stores import STORES, datasync
from tools.bench.worker import Answer

WARM_EVENTS: Final = 4_096
SINGLE_WARM: Final = 50


def append(store: str, folder: str, batch: int, seconds: float, is_real: bool = False) -> Answer:
    """Append events to a store in batches for some seconds; return their number and rate.

    Validation, encoding and hashing are inside the timed part; the objects are made before.
    """
    root = _fresh(folder)
    events = workload.ticks(max(workload.EVENTS, 2 * batch), is_real)
    codec = workload.codec()
    target = {**STORES, **PEER_STORES}[store](root)
    warm = events[: max(batch, WARM_EVENTS)]
    for first in range(0, len(warm), batch):
        target.append(codec.encode_all(workload.TICKS, warm[first : first + batch]))
    before = target.count()
    clock = _Batches(events, batch, seconds)
    begin = time.perf_counter()
    target.append_all(codec.encode_all(workload.TICKS, part) for part in clock)
    took = time.perf_counter() - begin
    stored = target.count() - before
    target.close()
    shutil.rmtree(root)
    if stored != clock.given:
        raise RuntimeError(f"{store} holds {stored} of {clock.given} events")
    return {"events": stored, "seconds": took}


class _Batches:
    """Batches of the same events, again and again, until the time is over."""

    def __init__(self, events: Sequence[workload.Event], batch: int, seconds: float) -> None:
        self._events = events
        self._batch = batch
        self._seconds = seconds
        self.given = 0

    def __iter__(self) -> Iterator[Sequence[workload.Event]]:
        until = time.perf_counter() + self._seconds
        last = len(self._events) - self._batch
        at = 0
        while time.perf_counter() < until:
            yield self._events[at : at + self._batch]
            self.given += self._batch
            at = at + self._batch if at + self._batch <= last else 0


def single(folder: str, count: int) -> Answer:
    """Append events one by one, each beside a raw write and fdatasync of the same bytes.

    The two take turns, so that both meet the same disk; encoding is outside of both.
    """
    root = _fresh(folder)
    codec = workload.codec()
    jsons = codec.encode_all(workload.TICKS, workload.ticks(count))
    lines = [encode_line(json) for json in jsons]
    writer = open_writer(root, workload.TICKS)
    fd = os.open(root / "raw", os.O_WRONLY | os.O_CREAT, 0o600)
    ours: list[float] = []
    raw: list[float] = []
    clock = time.perf_counter_ns
    for json, line in zip(jsons, lines, strict=True):
        begin = clock()
        writer.append_json([json])
        middle = clock()
        os.write(fd, line)
        datasync(fd)
        end = clock()
        ours.append((middle - begin) / 1000)
        raw.append((end - middle) / 1000)
    os.close(fd)
    writer.close()
    shutil.rmtree(root)
    return {"ours_us": ours[SINGLE_WARM:], "raw_us": raw[SINGLE_WARM:]}


def fleet_writer(folder: str, queue: str, batch: int, seconds: float) -> Answer:
    """Append to one of several queues; begins on a word from standard input."""
    codec = workload.codec()
    events = workload.ticks(max(workload.EVENTS // 4, 2 * batch))
    writer = open_writer(folder, queue)
    clock = _Batches(events, batch, seconds)
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.perf_counter()
    for part in clock:
        writer.append_json(codec.encode_all(workload.TICKS, part))
    took = time.perf_counter() - begin
    writer.close()
    return {"events": clock.given, "lines": writer.position.seq, "seconds": took}


def _fresh(folder: str) -> Path:
    root = Path(folder)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    return root
