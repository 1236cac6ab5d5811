"""Preflight checks before a run starts; `minibot doctor` shows the same list.

Every check names its key or file and the next step. One failure is a refusal, before anything has
been started. Cheap checks come first.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from minibot.events.intervals import MONTH
from minibot.exchanges.loopback import LOOPBACK, is_free
from minibot.kernel.errors import IntegrityError, LockBusy, Refusal, RunStop, Transient
from minibot.kernel.files import ensure_folder, write_atomic
from minibot.kernel.lock import WriterLock
from minibot.runtime.backup import BackupFolder
from minibot.runtime.clock import wall_ms
from minibot.runtime.configuration.config import Config
from minibot.runtime.deployment.bytecode import BytecodeCheck
from minibot.runtime.deployment.deployed import ACCEPT
from minibot.runtime.deployment.staging import compare
from minibot.runtime.extras import ALERTS, ALERTS_REMEDY, WEB, WEB_REMEDY, missing_packages
from minibot.runtime.interpreter import environ_of_read, python_argv
from minibot.runtime.pasting import pasted, with_env
from minibot.runtime.paths import PROJECT, Var, resolve
from minibot.runtime.secrets import load_secrets
from minibot.runtime.signing import private_key
from minibot.runtime.stop import FLAG, standing_flags
from minibot.watchdog.capacity import (
    BATCH,
    EVENT_BYTES,
    disk_events_per_s,
    spread,
    sync_times,
)

SYNC_SAMPLES = 20
BATCH_SAMPLES = 5
SYNC_MS_MAX = 2_000
OK, WARN, FAIL = "OK", "WARN", "FAIL"
PAGE = "page"
ALERTS_CHECK = "alerts"
BACKUP = "backup"
AI_JAIL = "ai sandbox"
# Faults of one kind that a check names.
FAULTS_MAX = 5
EXCHANGE = "exchange"
ADDRESS = "address"
ServerTime = Callable[[Config], int]
"""Request of a venue's clock, Unix ms; raises `Transient` if the venue did not answer."""
AI_JAIL_S_MAX = 30.0
SYNC_BYTES = 400
# A disk that takes longer than this for one small sync cannot keep up with a night's queues.
SYNC_US_MAX = 500_000
SET_UP = "Set up again: " + with_env("-m minibot doctor")
CHANGED_CODE = f"`minibot stage status` names every difference. {ACCEPT}"
RESTORE = "Take it back from the repository: git checkout -- requirements.lock"
SET_CLOCK = "sudo timedatectl set-ntp true; on Windows: w32tm /resync"
MOVE_NOTE = "Move that file to another place: what it knew of bans and attempts is forgotten."
NETWORK = "Check the network, a proxy, and whether the host is blocked where you are"
# A name and a pinned version at the beginning of a line of the lock file.
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)(?:\s*;\s*([^\\]+?))?\s*\\?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Check result, a line of `minibot doctor`: the subject, whether it holds, and the remedy.

    One that holds and has a remedy is a warning. `faults` are the parts of `found`, where it lists
    several.
    """

    name: str
    passed: bool
    found: str
    remedy: str = ""
    faults: tuple[str, ...] = ()

    @property
    def level(self) -> str:
        """OK, WARN or FAIL; only FAIL refuses a start."""
        if not self.passed:
            return FAIL
        return WARN if self.remedy else OK

    @property
    def lines(self) -> tuple[str, ...]:
        """Findings, one fault a line."""
        return self.faults or (self.found,)


def preflight(config: Config, var: Var, *, whole: bool = False) -> list[CheckResult]:
    """Return the result of every check that needs no exchange, cheap ones first.

    The list ends with the first failure unless `whole` is set; after a `var` that cannot be written
    no check is possible.
    """
    # The bytecode check takes two seconds, in parallel to the others.
    loaded = BytecodeCheck(PROJECT, has_environment=True) if config.code.require_manifest else None
    checks: Sequence[tuple[str, Callable[[], CheckResult]]] = (
        (FLAG, lambda: flag_check(var)),
        ("profile", lambda: _profile(config)),
        ("packages", lambda: _packages(config, PROJECT / "requirements.lock")),
        ("secrets", lambda: _secrets(config)),
        ("var", lambda: _writable(var)),
        ("disk", lambda: _disk(config, var)),
        ("locks", lambda: _lock(var)),
        ("sync", lambda: _sync(config, var)),
        ("code", lambda: _code(config)),
        ("loaded code", lambda: _loaded(loaded)),
        (AI_JAIL, lambda: _ai_jail(config, var)),
        *(() if config.page is None else ((PAGE, lambda: _page(config)),)),
        *(() if config.alerts is None else ((ALERTS_CHECK, lambda: _alerts(config)),)),
        *(() if config.backup is None else ((BACKUP, lambda: _backup(config, var)),)),
    )
    results = []
    try:
        for name, check in checks:
            try:
                results.append(check())
            except OSError as error:  # Such as a limit of the system on files or processes.
                remedy = "Look at the limits of this shell: ulimit -a"
                results.append(CheckResult(name, False, str(error), remedy))
            if not results[-1].passed and not (whole and results[-1].name != "var"):
                break
    finally:
        if loaded is not None:
            loaded.end()
    return results


def refuse_failed(results: Sequence[CheckResult]) -> None:
    """Raise a refusal that names every failed check.

    Raises:
        Refusal: At least one check failed.
    """
    failed = [result for result in results if not result.passed]
    if failed:
        lines = [f"{result.name}: {line}" for result in failed for line in result.lines]
        raise Refusal(
            "; ".join(f"{result.name}: {result.found.rstrip('.')}" for result in failed) + ".",
            " ".join(result.remedy for result in failed if result.remedy),
            faults=lines if len(lines) > 1 else (),
        )


def flag_check(var: Var) -> CheckResult:
    """Return whether no STOP of a former run is standing."""
    flags = standing_flags(var)
    if not flags:
        return CheckResult(FLAG, True, "none")
    return CheckResult(
        FLAG,
        False,
        f"{', '.join(map(str, flags))} exists: an earlier run was stopped",
        'Read `minibot status`, then clear it with: minibot clear-stop --reason "..."',
    )


def _profile(config: Config) -> CheckResult:
    """Refuse a profile for backtests (nightly budgets restart there), or with bars of a month."""
    if config.raw.get("backtest"):
        remedy = "Take the section out of the file that this names: minibot config show --origin"
        return CheckResult("profile", False, "it has a section `backtest`", remedy)
    if MONTH in config.market.bar_intervals:
        found = f"market.bar_intervals: {MONTH} has no fixed length, so no bar of it can be built"
        return CheckResult("profile", False, found, "Name intervals of a fixed length, as 1w.")
    return CheckResult("profile", True, config.profile)


def _packages(config: Config, lock: Path) -> CheckResult:
    """Compare installed packages with the lock file, if the profile requires listed code."""
    required = config.code.require_manifest
    if not lock.exists():
        return CheckResult("packages", not required, "requirements.lock is missing", RESTORE)
    wrong = []
    found_pins = PINNED.findall(lock.read_text(encoding="utf-8"))
    # A marker means: only on some systems, and this may be another.
    pins = [(name, version) for name, version, marker in found_pins if not marker]
    for name, version in pins:
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        if found != version:
            wrong.append(f"{name} is {found}, {version} is locked")
    if not wrong:
        return CheckResult("packages", True, f"all {len(pins)} have their locked versions")
    return CheckResult("packages", not required, "; ".join(_some(wrong)), SET_UP, _some(wrong))


def _secrets(config: Config) -> CheckResult:
    """Load the secrets, and the signing key if seals are signed.

    A failure is a failed check, so the start is refused with exit code 2, not that of the error.
    """
    try:
        secrets = load_secrets(config.secrets.path, PROJECT, os.environ)
        if config.secrets.seal_public_key is not None:
            private_key(config.secrets.seal_public_key, secrets)
    except Refusal as error:
        return CheckResult("secrets", False, error.message, error.remedy)
    found = "none" if secrets.path is None else f"{len(secrets.names)} in {secrets.path}"
    if config.secrets.seal_public_key is not None:
        found += f"; seals are signed for {config.secrets.seal_public_key}"
    return CheckResult("secrets", True, found)


def _page(config: Config) -> CheckResult:
    """Check packages and port of the page; a run that does not require it starts without it."""
    page = config.page
    assert page is not None
    missing, text = missing_packages(WEB), ""
    if missing:
        text, remedy = f"{missing} is not installed", WEB_REMEDY
    elif page.port and not is_free(page.port):
        text, remedy = f"port {page.port} of {LOOPBACK} is taken", "Choose: --set page.port=0"
    if not text:
        return CheckResult(PAGE, True, f"on {LOOPBACK}, see: minibot page")
    if page.required:
        return CheckResult(PAGE, False, text, remedy)
    return CheckResult(PAGE, True, f"none: {text}", remedy)


def _alerts(config: Config) -> CheckResult:
    """Check packages and addresses of the alerts; a run not requiring them starts anyway."""
    alerts = config.alerts
    assert alerts is not None
    text, remedy, names = "", "", tuple((alerts.targets or {}).values())
    if missing := missing_packages(ALERTS):
        text, remedy = f"{missing} is not installed", ALERTS_REMEDY
    else:
        try:
            known = load_secrets(config.secrets.path, PROJECT, os.environ).names
        except Refusal as error:
            return CheckResult(ALERTS_CHECK, not alerts.required, error.message, error.remedy)
        if lacking := [name for name in names if name not in known]:
            text = f"not in the secrets file: {', '.join(lacking)}"
            remedy = "Write each there as NAME=address; secrets.path names the file."
        elif not names and not alerts.commands:
            text, remedy = "alerts names neither targets nor commands", "Name one."
    if not text:
        count = len(names) + len(alerts.commands or {})
        return CheckResult(
            ALERTS_CHECK, True, f"{count} targets and commands; try them: minibot alert test"
        )
    if alerts.required:
        return CheckResult(ALERTS_CHECK, False, text, remedy)
    return CheckResult(ALERTS_CHECK, True, f"incomplete: {text}", remedy)


def _backup(config: Config, var: Var) -> CheckResult:
    """Try the folder of the backups; a run starts without them."""
    backup = config.backup
    assert backup is not None
    folder = resolve(backup.folder)
    try:
        BackupFolder(folder).try_out(var)
    except (Refusal, RunStop) as error:
        text, remedy = str(error), "Name another: --set backup.folder=DIR"
        if isinstance(error, Refusal):
            text, remedy = error.message, error.remedy
        return CheckResult(BACKUP, True, f"none: {text}", remedy)
    return CheckResult(BACKUP, True, f"into {folder}")


def root_check(var: Var) -> CheckResult:
    """Make the folder of `var` itself, which holds a run's lock; return whether it exists.

    A link in its place fails: the run's notes directly in `var` are never written through one.
    """
    if var.root.is_symlink():
        named = pasted(str(var.root.resolve()))
        found, remedy = f"{var.root} is a link, which is never followed", "Name its folder itself"
        return CheckResult("var", False, found, f"{remedy}: minibot night --var {named}")
    try:
        ensure_folder(var.root)
    except (OSError, RunStop) as error:
        return _no_var(var, error)
    return CheckResult("var", True, str(var.root))


def _writable(var: Var) -> CheckResult:
    root = root_check(var)
    if not root.passed:
        return root
    try:
        make_folders(var)
        # Each is written later on, where a link, or a folder of another user, would stop the run;
        # without `ops` it would go on, but page, alerts and guard would hear nothing.
        for folder in (var.stop, var.ops, var.runs, var.metrics, var.requests):
            write_atomic(folder / "writable", b"yes\n", is_durable=False)
            (folder / "writable").unlink()
    except (OSError, RunStop) as error:
        return _no_var(var, error)
    return root


def _no_var(var: Var, error: Exception) -> CheckResult:
    return CheckResult(
        "var",
        False,
        f"{var.root} cannot be written: {error}",
        "Choose another: minibot night --var DIR",
    )


def make_folders(var: Var) -> None:
    """Make the folders that a run writes."""
    written = (var.queues, var.runs, var.stop, var.requests, var.logs, var.metrics, var.ops)
    for folder in (var.root, *written):
        ensure_folder(folder)


def _disk(config: Config, var: Var) -> CheckResult:
    free_mb = psutil.disk_usage(str(var.root)).free // 1024 // 1024
    need = config.watchdog.disk_free_min_mb
    return CheckResult(
        "disk",
        free_mb >= need,
        f"{free_mb} MB free, watchdog.disk_free_min_mb is {need}",
        ""
        if free_mb >= need
        else "Free some space (minibot prune), or choose another disk with --var DIR.",
    )


def _lock(var: Var) -> CheckResult:
    path = var.stop / "exclusion.lock"
    try:
        WriterLock(path).close()
    except Refusal as error:
        return CheckResult("locks", False, error.message, error.remedy)
    except LockBusy:
        found = f"{path} is held: another start or doctor tries it at this moment"
        return CheckResult("locks", False, found, "Try again.")
    except (OSError, RunStop) as error:
        return CheckResult(
            "locks",
            False,
            f"no lock can be tried: {error}",
            "Use a local disk: minibot night --var DIR",
        )
    return CheckResult("locks", True, "a second writer is kept out")


def sync_us_p50(folder: Path) -> int:
    """Return the median time of a small append with its sync in a folder, in microseconds."""
    return spread(sync_times(folder, SYNC_BYTES, SYNC_SAMPLES, SYNC_MS_MAX)).p50_us


def _sync(config: Config, var: Var) -> CheckResult:
    """Compare the disk's sync rate with the profile's demand."""
    sync_us = sync_us_p50(var.stop)
    if sync_us > SYNC_US_MAX:
        text = f"{SYNC_BYTES} bytes in {sync_us} us (median), at most {SYNC_US_MAX}"
        return CheckResult("sync", False, text, "Use a faster disk: --var DIR.")
    size = BATCH * EVENT_BYTES
    # The best of several: a disk that is busy at the moment is not a slow one.
    batch_us = min(sync_times(var.stop, size, BATCH_SAMPLES, SYNC_MS_MAX))
    found, least = disk_events_per_s(batch_us), config.queues.events_per_s_min
    text = f"{SYNC_BYTES} bytes in {sync_us} us (median); {found:,} events a second, {BATCH} a sync"
    if found >= least:
        return CheckResult("sync", True, text)
    return CheckResult(
        "sync",
        False,
        f"{text}, queues.events_per_s_min asks for {least:,}",
        "Use a faster disk with --var DIR, or ask for less; `minibot probe` shows what is there.",
    )


def _code(config: Config) -> CheckResult:
    """Compare code with the deployed list; a profile that does not require it is not warned."""
    required = config.code.require_manifest
    try:
        differing = compare(PROJECT)
    except Refusal as error:
        remedy = error.remedy if required else ""
        return CheckResult("code", not required, error.message, remedy)
    if not differing:
        return CheckResult("code", True, "equals staging/deployed.json")
    head = "differs from staging/deployed.json:"
    return CheckResult(
        "code",
        not required,
        f"{head} {', '.join(_some(differing))}",
        CHANGED_CODE if required else "",
        tuple(f"{head} {each}" for each in _some(differing)),
    )


def _loaded(check: BytecodeCheck | None) -> CheckResult:
    """Refuse code that would run in place of listed code, if the profile requires the list."""
    if check is None:
        return CheckResult("loaded code", True, "not checked: the profile does not require it")
    wrong = check.result()
    if not wrong:
        return CheckResult("loaded code", True, "no foreign bytecode; packages are unchanged")
    return CheckResult(
        "loaded code",
        False,
        "; ".join(_some(wrong)),
        "Find out who wrote it. Remove bytecode (minibot stage status names it); " + SET_UP,
        _some(wrong),
    )


def _some(faults: Sequence[str]) -> tuple[str, ...]:
    """Return the first faults, and the number of the others."""
    rest = len(faults) - FAULTS_MAX
    return (*faults[:FAULTS_MAX], *([f"and {rest} more"] if rest > 0 else []))


def _ai_jail(config: Config, var: Var) -> CheckResult:
    """Try the AI's jail in a separate process; only a profile that requires the AI is refused.

    With the least isolation `off` nothing is tried: the clerk then accepts no worker, and stops the
    run if the AI is required.
    """
    level_min = config.ai.isolation_min.get(sys.platform, "jail")
    if config.ai.required and level_min == "off":
        found = f"ai.isolation_min.{sys.platform} turns off the AI, which is required"
        return CheckResult(AI_JAIL, False, found, "Run without it: --set ai.required=false")
    if not config.ai.enabled or level_min == "off":
        return CheckResult(AI_JAIL, True, "the AI is off")
    argv = [*python_argv("minibot.ai.preflight"), "--root", str(var.ai.resolve())]
    argv += ["--memory-mb", str(config.ai.memory_mb_max), "--level-min", level_min]
    try:
        done = subprocess.run(
            argv,
            env=environ_of_read(),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=AI_JAIL_S_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return _no_jail(config, str(error))
    if done.returncode == 0:
        return CheckResult(
            AI_JAIL, True, f"sandbox available (profile requires at least {level_min})"
        )
    return _no_jail(config, (done.stdout or done.stderr).strip()[-500:])


def _no_jail(config: Config, why: str) -> CheckResult:
    """Return the result without a jail: a failure if the AI is required, else a warning."""
    required = config.ai.required
    return CheckResult(
        AI_JAIL,
        not required,
        f"AI_ISOLATION_UNAVAILABLE: {why}",
        "Run on a kernel with seccomp and Landlock, or without: --set "
        f"{'ai.required' if required else 'ai.enabled'}=false",
    )


def exchange_checks(config: Config, server_time: ServerTime) -> list[CheckResult]:
    """Return whether the exchange answers and how far its clock is from ours.

    A damaged note of what this address was told fails by itself: no other host helps.
    """
    remedy = f"{NETWORK}: curl -sI {config.exchange.rest_url}"
    rest_url, skew_ms_max = config.exchange.rest_url, config.exchange.clock_skew_max_ms
    begin = wall_ms()
    try:
        server_ms = server_time(config)
    except Transient as error:
        return [CheckResult(EXCHANGE, False, f"{rest_url} cannot be reached ({error})", remedy)]
    except IntegrityError as error:
        return [CheckResult(ADDRESS, False, error.detail, MOVE_NOTE)]
    end = wall_ms()
    skew = server_ms - (begin + end) // 2
    return [
        CheckResult(EXCHANGE, True, f"{rest_url} answers in {end - begin} ms"),
        CheckResult(
            "clock",
            abs(skew) <= skew_ms_max,
            f"the exchange's clock is {skew} ms from ours, {skew_ms_max} allowed",
            "" if abs(skew) <= skew_ms_max else f"Set this machine's clock: {SET_CLOCK}",
        ),
    ]
