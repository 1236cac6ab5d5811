"""Cases for one hop: a writer publishes, a reader in another process waits, wakes and reads."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

from minibot.kernel.head import head_path
from minibot.kernel.queue import INBOX, make_queue, open_reader, open_writer, queue_folder
from minibot.kernel.system import Files
from minibot.kernel.wakeup import Waiter
from tools.bench import workload
from tools.bench.worker import Answer

# Long enough for the reader to fall asleep, even on a busy machine.
PAUSE_S: Final = 0.001
WAIT_S: Final = 5.0
SLOT_BYTES: Final = 64


class _Stamping(Files):
    """System files that note when a slot of the head is about to be written."""

    published_ns = 0

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Write; a head's slot is recognised by its size, as no line is so short."""
        if len(data) == SLOT_BYTES:
            self.published_ns = time.monotonic_ns()
        return super().pwrite(fd, data, offset)


def hop_writer(root: str, hops: int) -> Answer:
    """Append one durable event after another; return the time at which each was published."""
    encode = workload.codec().encode
    events = [encode(workload.TICKS, event) for event in workload.ticks(hops)]
    files = _Stamping()
    make_queue(root, workload.TICKS, None)
    writer = open_writer(root, workload.TICKS, files=files)
    print("ready", flush=True)
    sys.stdin.readline()
    published = []
    for event in events:
        writer.append_json([event])
        published.append(files.published_ns)
        time.sleep(PAUSE_S)
    writer.close()
    return {"published_ns": published}


def hop_reader(root: str, hops: int) -> Answer:
    """Wait for each event; return when the wait ended and when its line was read."""
    reader = open_reader(root, workload.TICKS)
    waiter = Waiter([head_path(queue_folder(Path(root), workload.TICKS), INBOX)])
    woke: list[int] = []
    read: list[int] = []
    print("ready", flush=True)
    while len(read) < hops:
        if not waiter.wait(WAIT_S):
            raise RuntimeError(f"nothing came after {len(read)} of {hops} events")
        now = time.monotonic_ns()
        for _ in reader.read(hops):
            woke.append(now)
            read.append(time.monotonic_ns())
    waiter.close()
    reader.close()
    return {"woke_ns": woke, "read_ns": read}
