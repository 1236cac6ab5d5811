"""Checks of the machine that a start does not make: its clock, its sleep, ports, space for a night.

Each is read from the system's own tools, without rights of an administrator. A machine without them
(a container, another system) has no line for it, but for the clock of a night on real hosts.
"""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import psutil

from minibot.events.unit_sizes import HOUR_MS, SECOND_MS
from minibot.exchanges.loopback import LOOPBACK, is_free
from minibot.report.figures import long_duration
from minibot.runtime.configuration.config import Config
from minibot.runtime.paths import Var
from minibot.watchdog.preflight import SET_CLOCK, CheckResult

TOOL_S_MAX: Final = 5.0
"""How long a tool of the system may take to answer, in seconds."""

RUN_BYTES_PER_TICK: Final = 562
RUN_BYTES_PER_SECOND: Final = 18_700
"""Bytes of a run's folder for each tick, and for each symbol and second of market time.

Measured on 2026-11-24, all queues and the report included, by two runs that differ in their rates:
`tape:demo`, a recording of BTCUSDT, 27.75 MB for 37,797 ticks in 349 s; `generator:2` in the
profile nore-smoke, 2.99 MB for 2,000 ticks in 100 s.
"""

RUN_BYTES_PER_HOUR: Final = 286_000_000
"""Bytes of a run's folder for each symbol and hour of market time on a real host.

From the first of these runs. BTCUSDT is the busiest market, so others take less.
"""

TIME, SLEEP, PORT, SPACE = "time", "sleep", "port", "space"
_TIMESYNCD: Final = Path("/run/systemd/timesync/synchronized")
_BOOTED: Final = Path("/run/systemd/system")
_LID: Final = Path("/proc/acpi/button/lid")
_STAY_AWAKE: Final = "systemd-inhibit --what=sleep:idle:handle-lid-switch minibot night ..."
_WINDOWS_AWAKE: Final = "powercfg /change standby-timeout-ac 0"
_SLEEPS: Final = ("sleep.target", "suspend.target")
_MB_BYTES: Final = 1024**2


def machine_checks(config: Config, var: Var) -> Iterator[CheckResult]:
    """Yield the checks of this machine for a profile."""
    yield from time_checks(is_real=config.embedded is None)
    yield from sleep_checks()
    yield from port_checks(config)
    yield space_check(config, psutil.disk_usage(str(_existing(var.root))).free)


# --- the clock --------------------------------------------------------------------------------


def time_checks(*, is_real: bool) -> Iterator[CheckResult]:
    """Yield whether something keeps this machine's clock, where that can be read.

    Args:
        is_real: Whether the profile uses the real hosts, for which an unknown is a warning.
    """
    found = _windows_time() if sys.platform == "win32" else _unix_time()
    if found is not None:
        yield found
    elif is_real:
        yield CheckResult(TIME, True, "unknown whether this clock is synchronised", SET_CLOCK)


def _unix_time() -> CheckResult | None:
    if _TIMESYNCD.exists():
        return CheckResult(TIME, True, "synchronised by systemd-timesyncd")
    return timedatectl_result(
        answer_of("timedatectl", "show", "--property=NTPSynchronized")
    ) or chrony_result(answer_of("chronyc", "-n", "tracking"))


def timedatectl_result(answer: str | None) -> CheckResult | None:
    """Return the result by `timedatectl show` for the clock; None if it has none."""
    if answer is None or "NTPSynchronized=" not in answer:
        return None
    if "NTPSynchronized=yes" in answer:
        return CheckResult(TIME, True, "synchronised by NTP (timedatectl)")
    return CheckResult(TIME, True, "not synchronised: the clock may drift", SET_CLOCK)


def chrony_result(answer: str | None) -> CheckResult | None:
    """Return the result by `chronyc tracking` for the clock; None if it has none."""
    found = re.search(r"^Leap status\s*:\s*(.+?)\s*$", answer or "", re.MULTILINE)
    if found is None:
        return None
    if found[1] == "Not synchronised":
        return CheckResult(TIME, True, "chrony has no source yet", "sudo chronyc makestep")
    return CheckResult(TIME, True, "synchronised by chrony")


def _windows_time() -> CheckResult:
    return w32tm_result(answer_of("w32tm", "/query", "/status"))


def w32tm_result(answer: str | None) -> CheckResult:
    """Return the result by `w32tm /query /status`, whose words depend on the language."""
    # The first line is the leap indicator: 3 means that nothing sets the clock.
    found = re.search(r":\s*([0-3])\b", answer or "")
    if found is not None and found[1] != "3":
        return CheckResult(TIME, True, "synchronised by the Windows time service")
    return CheckResult(
        TIME,
        True,
        "the Windows time service does not synchronise the clock",
        "net start w32time, then w32tm /resync, as an administrator",
    )


# --- sleep ------------------------------------------------------------------------------------


def sleep_checks() -> Iterator[CheckResult]:
    """Yield whether the machine may fall asleep under a night, where that can be read."""
    if sys.platform == "win32":
        answer = answer_of("powercfg", "/query", "SCHEME_CURRENT", "SUB_SLEEP", "STANDBYIDLE")
        found = powercfg_result(answer)
    elif not _BOOTED.is_dir():
        return
    else:
        found = systemd_result(
            answer_of("systemctl", "is-enabled", *_SLEEPS),
            answer_of("systemctl", "get-default"),
            answer_of("systemd-analyze", "cat-config", "systemd/logind.conf"),
            has_lid=_LID.is_dir(),
        )
    if found is not None:
        yield found


def systemd_result(
    enabled: str | None, target: str | None, logind: str | None, *, has_lid: bool
) -> CheckResult | None:
    """Return whether a machine with systemd may fall asleep; None if nothing could be read.

    Args:
        enabled: Answer of `systemctl is-enabled` for the targets of sleep.
        target: Answer of `systemctl get-default`.
        logind: The settings of logind, from all their files.
        has_lid: Whether it is a notebook.
    """
    if enabled is None and logind is None:
        return None
    if set((enabled or "").split()) == {"masked"}:
        return CheckResult(SLEEP, True, "never: systemd has it masked")
    settings = logind_settings(logind or "")
    reasons = []
    if has_lid and settings.get("handlelidswitch", "suspend") not in ("ignore", "lock"):
        reasons.append("its lid is closed")
    if settings.get("idleaction", "ignore") not in ("ignore", "lock"):
        reasons.append("it is idle (logind's IdleAction)")
    if (target or "").strip() == "graphical.target":
        reasons.append("the desktop is set to (unreadable here)")
    if not reasons:
        return CheckResult(SLEEP, True, "never by itself")
    return CheckResult(SLEEP, True, f"it may sleep when {' or '.join(reasons)}", _STAY_AWAKE)


def logind_settings(text: str) -> Mapping[str, str]:
    """Return the settings of the section `Login`, keys in small letters; the last value counts."""
    parser = configparser.ConfigParser(
        strict=False, interpolation=None, allow_no_value=True, delimiters=("=",)
    )
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    found = dict(parser["Login"]) if parser.has_section("Login") else {}
    return {key: value for key, value in found.items() if value}


def powercfg_result(answer: str | None) -> CheckResult | None:
    """Return whether Windows may fall asleep on mains; None if the answer has no setting.

    The last two hexadecimal numbers are the seconds on mains and on battery, in any language.
    """
    found = re.findall(r"0x([0-9a-fA-F]+)", answer or "")
    if len(found) < 2:
        return None
    seconds = int(found[-2], 16)
    if seconds == 0:
        return CheckResult(SLEEP, True, "never on mains")
    text = f"it sleeps after {long_duration(seconds * SECOND_MS)} on mains"
    return CheckResult(SLEEP, True, text, _WINDOWS_AWAKE)


# --- ports and space --------------------------------------------------------------------------


def port_checks(config: Config) -> Iterator[CheckResult]:
    """Yield whether the embedded exchange's port is free; a start checks the page's port."""
    if config.embedded is None or not config.embedded.port:
        return
    port = config.embedded.port
    if is_free(port):
        yield CheckResult(PORT, True, f"{port} of {LOOPBACK} is free for the exchange")
    else:
        text = f"{port} of {LOOPBACK} is taken; embedded.port names it"
        yield CheckResult(PORT, False, text, "minibot night ... --set embedded.port=0")


def space_check(config: Config, free_bytes: int) -> CheckResult:
    """Return whether the disk holds the profile's night; an estimate, so at most a warning."""
    need = night_bytes(config)
    spare = max(0, free_bytes - config.watchdog.disk_free_min_mb * _MB_BYTES)
    length = long_duration(config.duration_ms)
    need_mb, spare_mb = need // _MB_BYTES + 1, spare // _MB_BYTES
    text = f"about {need_mb:,} MB for {length} of market time; {spare_mb:,} MB are free"
    if need <= spare:
        return CheckResult(SPACE, True, text)
    return CheckResult(SPACE, True, text, "minibot prune, or another disk by --var DIR")


def night_bytes(config: Config) -> int:
    """Return about how many bytes a night of this profile takes on the disk."""
    embedded, duration_s = config.embedded, config.duration_ms // SECOND_MS
    symbols = len(config.exchange.symbols)
    if config.universe is not None and config.universe.mode == "dynamic":
        symbols = config.universe.traded_max
    if embedded is not None and embedded.source.startswith("generator:"):
        of_second = embedded.rate_per_s * RUN_BYTES_PER_TICK + symbols * RUN_BYTES_PER_SECOND
        return of_second * duration_s
    return symbols * duration_s * RUN_BYTES_PER_HOUR * SECOND_MS // HOUR_MS


# --- tools ------------------------------------------------------------------------------------


def answer_of(*argv: str) -> str | None:
    """Return the output of a system's tool; None if it is missing, fails silently or hangs.

    `systemctl is-enabled` prints its answer and fails, so the exit code does not count.
    """
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},
            timeout=TOOL_S_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout or None


def _existing(path: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    return next((each for each in (path, *path.parents) if each.exists()), Path.cwd())
