"""minibot probe: measure this machine and its disk, and compare a profile's limits."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from minibot.cli.support.accelerators import accelerators
from minibot.cli.support.numbers import seconds_between
from minibot.cli.support.output import show
from minibot.cli.support.profile import profile_of
from minibot.cli.support.selection import add_profile, var_of
from minibot.kernel.files import ensure_folder
from minibot.report.figures import listed, milliseconds
from minibot.runtime.configuration.config import Config
from minibot.watchdog.capacity import (
    BATCH,
    EVENT_BYTES,
    Rates,
    Spread,
    disk_events_per_s,
    queue_rates,
    spread,
    sync_times,
    wakeups,
)
from minibot.watchdog.preflight import SYNC_BYTES

HELP = "what this machine and disk sustain in ten seconds, and which limits of a profile follow"
EXAMPLE = "minibot probe --config config/nore.v1.json"
SYNC_SAMPLES = 1000
BATCH_SAMPLES = 50
SECONDS = 10.0
# A shorter time measures nothing; an hour shows a disk with a full cache.
SECONDS_MIN = 0.1
SECONDS_MAX = 3600.0
# Shares of the time for each of three queue rates and two series of syncs; wake-ups follow.
RATE_SHARE = 0.15
SYNC_SHARE = 0.15
HOPS_PER_S = 100
HOPS_MIN = 20
# From an order's tick to its fill, five files are synced and four readers wake up.
SYNCS = 5
WAKES = 4
ROLES = 6
GB = 1024**3
MB = 1024**2


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of this machine."""

    sync: Spread
    disk_events_per_s: int
    rates: Rates
    wake: Spread
    memory_free: int
    disk_free: int


@dataclass(frozen=True, slots=True)
class ProfileLimit:
    """A limit of the profile, compared with the measurement."""

    key: str
    value: str
    bound: str
    fits: bool


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_profile(command, default=Path("config/nore.v1.json"))
    command.add_argument(
        "--seconds",
        type=seconds_between(SECONDS_MIN, SECONDS_MAX),
        default=SECONDS,
        help="about how long to measure (default: 10)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure for a while, then compare the profile; only a start refuses."""
    config = profile_of(arguments)
    folder = var_of(arguments).lab_of("probe").root
    ensure_folder(folder)
    measured = measure(folder, arguments.seconds)
    compared = list(limits(config, measured))
    show(arguments, _document(config, measured, compared), list(_lines(config, measured, compared)))
    return 0


def measure(folder: Path, seconds: float) -> Measured:
    """Measure disk, queue and wake-up in a folder for about `seconds`."""
    sync_ms = int(SYNC_SHARE * seconds * 1000)
    one = sync_times(folder, SYNC_BYTES, SYNC_SAMPLES, sync_ms)
    batch = sync_times(folder, BATCH * EVENT_BYTES, BATCH_SAMPLES, sync_ms)
    return Measured(
        sync=spread(one),
        disk_events_per_s=disk_events_per_s(spread(batch).p50_us),
        rates=queue_rates(folder / "queues", RATE_SHARE * seconds),
        wake=wakeups(folder / "hops", max(HOPS_MIN, int(HOPS_PER_S * seconds))),
        memory_free=psutil.virtual_memory().available,
        disk_free=psutil.disk_usage(str(folder)).free,
    )


def limits(config: Config, measured: Measured) -> Iterator[ProfileLimit]:
    """Yield the limits of a profile that depend on the measurements."""
    per_s, most = config.queues.events_per_s_min, measured.disk_events_per_s
    text = f"at most {most:,}, what the disk keeps"
    yield ProfileLimit("queues.events_per_s_min", f"{per_s:,}", text, per_s <= most)
    if config.embedded is not None:
        made = round(config.embedded.rate_per_s * float(config.embedded.speed))
        most = measured.rates.durable_by_batch // 2
        text = f"at most {most:,} a second, half of what one process validates and syncs"
        yield ProfileLimit("embedded.rate_per_s x speed", f"{made:,} a second", text, made <= most)
    way_ms = (SYNCS * measured.sync.p99_us + WAKES * measured.wake.p99_us) // 1000
    age_ms = config.risk.signal_age_ms_max
    text = f"above {way_ms} ms, the way of an order with every sync at its p99"
    yield ProfileLimit("risk.signal_age_ms_max", f"{age_ms} ms", text, age_ms > way_ms)
    least_ms = max(1000, measured.sync.p99_us // 10)
    text = f"at least {least_ms} ms, a hundred syncs at their p99"
    sync_ms = config.queues.sync_ms_max
    yield ProfileLimit("queues.sync_ms_max", f"{sync_ms} ms", text, sync_ms >= least_ms)
    rss_mb, free_mb = config.watchdog.rss_mb_max, measured.memory_free // MB
    text = f"at most {free_mb // ROLES} MB for each of {ROLES} processes"
    yield ProfileLimit("watchdog.rss_mb_max", f"{rss_mb} MB", text, rss_mb * ROLES <= free_mb)
    spare = max(0, measured.disk_free - config.watchdog.disk_free_min_mb * MB)
    hours = spare // EVENT_BYTES / 3600 / max(1, per_s or 100)
    need_h = config.duration_ms / float(config.speed) / 3_600_000
    text = f"the disk holds {hours:,.0f} h of {per_s or 100:,} events a second"
    yield ProfileLimit("duration_ms", f"{need_h:.1f} h", text, need_h <= hours)


def _document(
    config: Config, measured: Measured, compared: list[ProfileLimit]
) -> dict[str, object]:
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "accelerators": list(accelerators()),
        "load": round(psutil.getloadavg()[0], 2),
        "memory_bytes": psutil.virtual_memory().total,
        "memory_free_bytes": measured.memory_free,
        "disk_free_bytes": measured.disk_free,
        "sync_us_p50": measured.sync.p50_us,
        "sync_us_p99": measured.sync.p99_us,
        "disk_events_per_s": measured.disk_events_per_s,
        "durable_events_per_s_batch_1": measured.rates.durable_by_one,
        f"durable_events_per_s_batch_{BATCH}": measured.rates.durable_by_batch,
        "events_read_per_s": measured.rates.read,
        "wake_us_p50": measured.wake.p50_us,
        "wake_us_p99": measured.wake.p99_us,
        "profile": config.profile,
        "limits": [
            {"key": row.key, "value": row.value, "bound": row.bound, "fits": row.fits}
            for row in compared
        ],
    }


def _lines(config: Config, measured: Measured, compared: list[ProfileLimit]) -> Iterator[str]:
    sync, wake, rates = measured.sync, measured.wake, measured.rates
    total = psutil.virtual_memory().total
    yield f"system    {platform.platform()}, Python {platform.python_version()}"
    yield f"cores     {os.cpu_count()}, load {psutil.getloadavg()[0]:.2f}"
    yield f"          {listed(accelerators(), 'no accelerator that can be named')}"
    yield f"memory    {total / GB:.1f} GB, {measured.memory_free / GB:.1f} GB free"
    yield f"disk      {measured.disk_free / GB:.1f} GB free"
    yield f"sync      {milliseconds(sync.p50_us)} p50, {milliseconds(sync.p99_us)} p99"
    yield f"          {measured.disk_events_per_s:,} events a second, if the disk alone counted"
    yield f"queue     {rates.durable_by_one:,} durable events a second one by one"
    yield f"          {rates.durable_by_batch:,} in batches of {BATCH}, each batch synced"
    yield f"          {rates.read:,} read, hashes checked, validated and decoded"
    yield f"wake-up   {wake.p50_us} us p50, {wake.p99_us} us p99, to another process"
    yield ""
    yield f"{config.profile} on this machine"
    for row in compared:
        word = "fits" if row.fits else "TOO MUCH"
        yield f"  {row.key:<29}{row.value:<16}{word:<10}{row.bound}"
