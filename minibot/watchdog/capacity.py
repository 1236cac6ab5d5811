"""Capacity of this machine and disk: syncs, durable events, wake-ups between processes.

It is measured with the queues' own writer, reader and waiter, so that the figures hold for a run.
The preflight measures only the disk, which takes milliseconds; `minibot probe` takes some ten
seconds and shows all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from minibot.events.codec import Codec
from minibot.events.ids import position_id
from minibot.events.model import Event, MarketTick
from minibot.events.names import MARKET_ROLE, TICKS
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel.errors import Refusal
from minibot.kernel.files import FILES, Access, ensure_folder
from minibot.kernel.queue import make_queue, open_reader, open_writer
from minibot.kernel.system import Files
from minibot.runtime.clock import machine_ns
from minibot.runtime.interpreter import program, program_environ
from minibot.runtime.paths import PROJECT

RUN_ID: Final = "20200101_000000"
HASH: Final = "0123456789abcdef" * 4
START_TS: Final = 1_577_836_800_000
EVENTS: Final = 8_192
# Events that a role takes and syncs at once when it has to catch up.
BATCH: Final = 256
READ_LINES: Final = 256
# Size of a BTCUSDT tick as a line: the disk space of one event.
EVENT_BYTES: Final = 520
SLOT_BYTES: Final = 64
HOP_PAUSE_S: Final = 0.001
CHILD_S_MAX: Final = 30.0


@dataclass(frozen=True, slots=True)
class Rates:
    """Events a second through one queue, by one process, validated on both sides."""

    durable_by_one: int
    durable_by_batch: int
    read: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and 99th percentile in microseconds."""

    p50_us: int
    p99_us: int


def sync_times(folder: Path, size: int, samples: int, ms_max: int) -> list[int]:
    """Return how long appends of `size` bytes with their sync took, in microseconds.

    Args:
        folder: A folder on the disk to be measured.
        size: Bytes of each append.
        samples: Number of appends; fewer if the time is up, at least one.
        ms_max: After this many milliseconds no further append is begun.
    """
    path = folder / f"sync-{os.getpid()}"
    path.unlink(missing_ok=True)
    fd = FILES.open(path, Access.CREATE)
    data = bytes(size)
    found: list[int] = []
    until = machine_ns() + ms_max * 1_000_000
    try:
        while len(found) < samples and (not found or machine_ns() < until):
            begin = machine_ns()
            FILES.pwrite(fd, data, len(found) * size)
            FILES.datasync(fd)
            found.append((machine_ns() - begin) // 1000)
    finally:
        FILES.close(fd)
        path.unlink()
    return found


def spread(values: Sequence[int]) -> Spread:
    """Return the median and 99th percentile of microseconds."""
    ordered = sorted(values)
    return Spread(
        ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    )


def disk_events_per_s(batch_us: int) -> int:
    """Return the most events a second for a disk that syncs a batch in `batch_us`."""
    return BATCH * 1_000_000 // max(1, batch_us)


# --- through a queue ----------------------------------------------------------------------------


def queue_rates(root: Path, seconds: float) -> Rates:
    """Return the event rates of one process and one queue; each of three parts takes `seconds`."""
    shutil.rmtree(root, ignore_errors=True)
    ensure_folder(root)
    codec = sample_codec()
    events = [sample_tick(number) for number in range(EVENTS)]
    writer = open_writer(root, TICKS)
    rates = []
    for size in (1, BATCH):
        count, begin = 0, machine_ns()
        while (took := machine_ns() - begin) < seconds * 1e9:
            first = count % (EVENTS - size)
            writer.append_json(codec.encode_all(TICKS, events[first : first + size]))
            count += size
        rates.append(round(count * 1e9 / took))
    writer.close()
    rates.append(_read_rate(root, codec, seconds))
    shutil.rmtree(root)
    return Rates(*rates)


def _read_rate(root: Path, codec: Codec, seconds: float) -> int:
    count, begin = 0, machine_ns()
    while (took := machine_ns() - begin) < seconds * 1e9:
        reader = open_reader(root, TICKS)
        while lines := reader.read(READ_LINES):
            codec.decode_all(TICKS, [line.json for line in lines])
            count += len(lines)
            if (took := machine_ns() - begin) >= seconds * 1e9:
                break
        reader.close()
    return round(count * 1e9 / took)


def sample_codec(component: str = "probe") -> Codec:
    """Return the codec of a made-up run for measurements."""
    contracts = Contracts.of_project()
    roles = Roles.of_project()
    return Codec(contracts, roles, RUN_ID, {MARKET_ROLE: {HASH}}, component)


def sample_tick(number: int) -> Event:
    """Return a tick of that run, as long as those of BTCUSDT, with its own id, time and size."""
    return sample_event(
        number,
        MarketTick(
            symbol="BTCUSDT",
            price="61686.72000000",
            kind="quote",
            bid="61686.72000000",
            bid_qty=f"{number % 9}.74804000",
            ask="61686.73000000",
            ask_qty="1.29537000",
            recv_mono_ns=11_506_870_151_822 + number,
        ),
    )


def sample_event(number: int, payload: MarketTick) -> Event:
    """Return the event of that run with a number and a payload."""
    return Event(
        ts=START_TS + number,
        id=position_id(RUN_ID, MARKET_ROLE, TICKS, number + 1),
        source=MARKET_ROLE,
        run_id=RUN_ID,
        cmdline_hash=HASH,
        payload=payload,
    )


# --- between two processes ----------------------------------------------------------------------


class _Stamping(Files):
    """Files that note when a slot of a head is about to be written."""

    published_ns = 0

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        if len(data) == SLOT_BYTES:  # No line is so short.
            self.published_ns = self.monotonic_ns()
        return super().pwrite(fd, data, offset)


def wakeups(root: Path, hops: int) -> Spread:
    """Return how long a reader in another process takes to wake after a publication.

    Raises:
        Refusal: The other process does not answer.
    """
    shutil.rmtree(root, ignore_errors=True)
    ensure_folder(root)
    make_queue(root, TICKS, None)
    argv = [program(), "-m", "minibot.watchdog.waker", str(root), str(hops)]
    child = subprocess.Popen(
        argv,
        cwd=PROJECT,
        env={**os.environ, **program_environ()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        published = list(_published(root, hops, child))
        out, _ = child.communicate(timeout=CHILD_S_MAX)
        woke = zip([int(word) for word in out.split()], published, strict=True)
        waits_us = [(after - before) // 1000 for after, before in woke]
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        child.kill()
        child.communicate()
        raise Refusal(
            f"the process that waits does not answer: {error}", "Try `minibot doctor`."
        ) from error
    shutil.rmtree(root)
    return spread(waits_us)


def _published(root: Path, hops: int, child: subprocess.Popen[str]) -> Iterator[int]:
    """Append one event after the other; yield the time of each publication."""
    codec, files = sample_codec(), _Stamping()
    writer = open_writer(root, TICKS, files=files)
    if child.stdout is None or child.stdout.readline() != "ready\n":
        raise OSError(f"it ended with {child.wait(CHILD_S_MAX)}")
    for number in range(hops):
        writer.append_json([codec.encode(TICKS, sample_tick(number))])
        yield files.published_ns
        FILES.sleep(HOP_PAUSE_S)
    writer.close()
