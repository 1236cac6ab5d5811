"""Machine of a measurement: processor, system, disk, versions, load."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import psutil

from minibot.kernel.files import FILES, Access
from tools.bench.frame import Json, percentile

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "var" / "bench"
PACKAGES = ("orjson", "jsonschema-rs", "msgspec", "portalocker")
SYNC_SAMPLES = 200


def describe(folder: Path = FOLDER) -> Json:
    """Return the head of every report, for measures in a folder."""
    memory_gb = psutil.virtual_memory().total / 1024**3
    load = ", ".join(f"{value:.2f}" for value in psutil.getloadavg())
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {memory_gb:.0f} GB",
        "system": f"{platform.system()} {platform.release()}, load {load}",
        "disk": disk(folder),
    }


def versions() -> Json:
    """Return the versions of Python, minibot's commit and the packages that matter."""
    found: Json = {"python": platform.python_version(), "commit": _commit()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def disk(folder: Path) -> str:
    """Return device and file system of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    best = max(
        (part for part in psutil.disk_partitions(all=True) if _holds(part.mountpoint, folder)),
        key=lambda part: len(part.mountpoint),
        default=None,
    )
    free_gb = psutil.disk_usage(str(folder)).free / 1024**3
    where = "unknown" if best is None else f"{best.device}, {best.fstype}"
    return f"{where}, {free_gb:.0f} GB free, sync p50 {sync_us(folder, 400):.0f} us"


def sync_us(folder: Path, size: int, samples: int = SYNC_SAMPLES) -> float:
    """Return the p50 of one write of `size` bytes at a file's end and its data sync."""
    path = folder / f"sync-{os.getpid()}"
    path.unlink(missing_ok=True)
    fd = FILES.open(path, Access.CREATE)
    data = bytes(size)
    took = []
    try:
        for number in range(samples):
            begin = time.perf_counter_ns()
            FILES.pwrite(fd, data, number * size)
            FILES.datasync(fd)
            took.append((time.perf_counter_ns() - begin) / 1000)
    finally:
        FILES.close(fd)
        path.unlink()
    return percentile(took, 0.5)


def _holds(mountpoint: str, folder: Path) -> bool:
    return folder == Path(mountpoint) or Path(mountpoint) in folder.parents


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"
