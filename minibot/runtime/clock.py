"""Run clock: market time as a function of monotonic time.

Monotonic time of the machine is never scaled; whether it passes during suspend depends on the
system. Market time starts at the run's origin and passes `speed` times as fast. Every process of a
run, even a restarted one, computes it from `clock.json` and never from its own wall clock. Until
that file exists the clock stays at the origin of the manifest. The launcher, which writes the file,
never reads it: its own clock starts by `begin`.
"""

from __future__ import annotations

import os
import sys
import time
from fractions import Fraction
from pathlib import Path

from minibot.events.reasons import ATOMICITY_VIOLATION
from minibot.kernel.canonical import JsonObject
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import read_hashed, write_hashed
from minibot.kernel.system import machine_ns as machine_ns

CLOCK_FILE = "clock.json"

if sys.platform == "win32":
    import ctypes

    def suspend_ns() -> int:
        """Return nanoseconds on a clock that runs through suspend."""
        return machine_ns()

    def awake_ns() -> int:
        """Return nanoseconds on a clock that pauses while the machine sleeps, in steps of ms."""
        ticks = ctypes.c_uint64()
        ctypes.windll.kernel32.QueryUnbiasedInterruptTime(ctypes.byref(ticks))
        return 100 * ticks.value

else:
    _SUSPEND_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def suspend_ns() -> int:
        """Return nanoseconds on a clock that runs through suspend."""
        return time.clock_gettime_ns(_SUSPEND_CLOCK)

    def awake_ns() -> int:
        """Return nanoseconds on a clock that pauses while the machine sleeps."""
        return time.monotonic_ns()


def wall_ms() -> int:
    """Return the wall clock in Unix ms: for stamps, a real run's origin, and what happens outside.

    That is the check of the clocks (CLOCK_JUMP), the age of a status file, an exchange's ban.
    """
    return time.time_ns() // 1_000_000


class RunClock:
    """Market time of one run in Unix milliseconds.

    Args:
        run_dir: Folder of `clock.json`, which exists once the clock runs.
        origin_ms: Market time until the clock runs.
        speed: Decimal string; market milliseconds per monotonic millisecond.
    """

    def __init__(self, run_dir: Path, origin_ms: int, speed: str) -> None:
        self._path = run_dir / CLOCK_FILE
        self._origin_ms = origin_ms
        self._machine_origin_ns: int | None = None
        self._reads = True
        self._set_speed(speed)

    def _set_speed(self, speed: str) -> None:
        self.speed = Fraction(speed)
        self._numerator = self.speed.numerator
        self._denominator = self.speed.denominator * 1_000_000

    @property
    def is_running(self) -> bool:
        """True once `clock.json` exists, or once its writer has called `begin`."""
        return self._machine_origin_ns is not None or self._load()

    def never_read(self) -> None:
        """Take the clock only from `begin`, as the launcher does, and ignore the file."""
        self._reads = False

    def begin(self, data: JsonObject) -> None:
        """Start the clock by a result of `clock_content`."""
        self._set(data)

    def _load(self) -> bool:
        if not self._reads or not os.path.lexists(self._path):
            return False
        self._set(read_hashed(self._path))
        return True

    def _set(self, data: JsonObject) -> None:
        try:
            self._origin_ms = int(data["market_origin_ms"])
            self._set_speed(str(data["speed"]))
            self._machine_origin_ns = int(data["machine_origin_ns"])
        except (KeyError, ValueError) as error:
            raise IntegrityError(
                "runtime", ATOMICITY_VIOLATION, f"{self._path.name}: {error!r}"
            ) from error

    def now_ms(self) -> int:
        """Return market time in Unix milliseconds."""
        if self._machine_origin_ns is None and not self._load():
            return self._origin_ms
        return self.at_machine_ns(machine_ns())

    def at_machine_ns(self, moment_ns: int) -> int:
        """Return the market time at a monotonic time; the origin until this clock runs.

        It does not look for `clock.json`: `now_ms` and `is_running` do.
        """
        origin = self._machine_origin_ns
        if origin is None:
            return self._origin_ms
        return self._origin_ms + (moment_ns - origin) * self._numerator // self._denominator

    def machine_s(self, market_ms: int) -> float:
        """Return how many wall-clock seconds a market duration takes."""
        return float(market_ms / (1000 * self.speed))


def clock_content(origin_ms: int, speed: str, *, passed_ms: int = 0) -> JsonObject:
    """Return the content of `clock.json` for a clock that starts now.

    The market time `origin_ms` lies `passed_ms` wall-clock milliseconds back.
    """
    return {
        "machine_origin_ns": machine_ns() - passed_ms * 1_000_000,
        "market_origin_ms": origin_ms,
        "speed": speed,
    }


def write_clock(run_dir: Path, origin_ms: int, speed: str) -> None:
    """Start a run's clock now: market time is `origin_ms` at this moment."""
    write_hashed(run_dir / CLOCK_FILE, clock_content(origin_ms, speed))
