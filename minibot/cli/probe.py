"""minibot probe: what this machine gives: cores, memory, disk, its sync, events a second."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import time
from pathlib import Path

import psutil

from minibot.cli.output import show
from minibot.cli.selection import var_of
from minibot.events.codec import Codec
from minibot.events.ids import position_id
from minibot.events.model import Event, MarketTick
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel.files import ensure_folder
from minibot.kernel.line import encode_line
from minibot.kernel.queue import open_reader, open_writer
from minibot.report.figures import milliseconds
from minibot.runtime.paths import PROJECT
from minibot.watchdog.preflight import sync_us_p50

HELP = "what this machine gives: cores, memory, disk, sync, events a second"
EXAMPLE = "minibot probe"
EVENTS = 20_000
BATCH = 200
RUN_ID = "20200101_000000"
HASH = "0" * 64


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Take no flags but the common ones."""


def run(arguments: argparse.Namespace) -> int:
    """Measure for about two seconds; nothing is judged."""
    folder = var_of(arguments).lab_of("probe").root
    ensure_folder(folder)
    memory = psutil.virtual_memory()
    disk = psutil.disk_usage(str(folder))
    sync_us = sync_us_p50(folder)
    written, read = _queue_rates(folder / "queues")
    document = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": round(psutil.getloadavg()[0], 2),
        "memory_bytes": memory.total,
        "memory_free_bytes": memory.available,
        "disk_free_bytes": disk.free,
        "sync_us_p50": sync_us,
        "events_written_per_s": written,
        "events_read_per_s": read,
    }
    gb = 1024**3
    lines = [
        f"system    {document['system']}, Python {document['python']}",
        f"cores     {document['cores']}, load {document['load']}",
        f"memory    {memory.total / gb:.1f} GB, {memory.available / gb:.1f} GB free",
        f"disk      {disk.free / gb:.1f} GB free, one sync {milliseconds(sync_us)} p50",
        f"queue     {written:,} events a second validated, hashed and written, synced each {BATCH}",
        f"          {read:,} events a second read, hashes checked, validated and decoded",
    ]
    show(arguments, document, lines)
    return 0


def _queue_rates(root: Path) -> tuple[int, int]:
    """Return events a second through one queue, written and read by one process."""
    shutil.rmtree(root, ignore_errors=True)
    contracts = Contracts.load(PROJECT / "contracts", PROJECT / "config" / "contracts.v1.json")
    roles = Roles.load(PROJECT / "config" / "roles.v1.json")
    codec = Codec(contracts, roles, RUN_ID, {"market_role": {HASH}}, "probe")
    writer = open_writer(root, "market_ticks")
    begin = time.perf_counter()
    for first in range(0, EVENTS, BATCH):
        batch = [_tick(number) for number in range(first, first + BATCH)]
        writer.append([encode_line(codec.encode("market_ticks", event)) for event in batch])
    written = EVENTS / (time.perf_counter() - begin)
    writer.close()
    reader = open_reader(root, "market_ticks")
    begin = time.perf_counter()
    while lines := reader.read(BATCH):
        for line in lines:
            codec.decode("market_ticks", line.json)
    read = EVENTS / (time.perf_counter() - begin)
    reader.close()
    shutil.rmtree(root)
    return round(written), round(read)


def _tick(number: int) -> Event:
    payload = MarketTick(
        symbol="BTCUSDT",
        price="61686.72000000",
        kind="quote",
        bid="61686.72000000",
        bid_qty="2.74804000",
        ask="61686.73000000",
        ask_qty="1.29537000",
        recv_mono_ns=number,
    )
    return Event(
        ts=1_577_836_800_000 + number,
        id=position_id(RUN_ID, "market_role", "market_ticks", number + 1),
        source="market_role",
        run_id=RUN_ID,
        cmdline_hash=HASH,
        payload=payload,
    )
