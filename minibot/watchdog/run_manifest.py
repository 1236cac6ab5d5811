"""Run manifest: its content, the command lines and the environment of the run's processes."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from minibot.events.model import JsonObject
from minibot.events.names import AI_ROLE, WATCHDOG_ROLE
from minibot.events.roles import Roles
from minibot.kernel.errors import Refusal
from minibot.runtime.clock import wall_ms
from minibot.runtime.cmdline import cmdline, cmdline_hash, own_cmdline, own_cmdline_hash
from minibot.runtime.configuration.config import Config
from minibot.runtime.configuration.risk_policy import POLICY_PATH, risk_policy
from minibot.runtime.deployment.deployed import code_sha256
from minibot.runtime.interpreter import program_environ, python_argv
from minibot.runtime.manifest import Manifest, Process
from minibot.runtime.paths import PROJECT, project_name, resolve
from minibot.watchdog.exchange import EmbeddedExchange

# Variables that a role needs; all others stay with the operator.
ENVIRON_KEPT = (
    "PATH",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "TMPDIR",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "PYTHONHASHSEED",
    "WINEPREFIX",
)


def make_manifest(
    config: Config,
    profile: Path,
    run_dir: Path,
    exchange: EmbeddedExchange | None,
    *,
    contracts_sha256: str,
    origin_ms: int,
    opening: JsonObject,
    degraded: str | None = None,
) -> Manifest:
    """Return the manifest of a run that is about to start.

    Raises:
        Refusal: A file of the profile, or its risk policy, is no longer as it was read.
    """
    simulated = exchange is not None
    processes = {WATCHDOG_ROLE: Process(tuple(sys.orig_argv), own_cmdline(), own_cmdline_hash())}
    roles = Roles.of_project()
    for name in roles.start_order:
        if name == WATCHDOG_ROLE or (name == AI_ROLE and not config.ai.enabled):
            continue
        argv = role_argv(name, run_dir)
        processes[name] = Process(tuple(argv), cmdline(argv), cmdline_hash(argv))
    urls = (config.exchange.rest_url, config.exchange.stream_url)
    lock = PROJECT / "requirements.lock"
    return Manifest(
        run_id=run_dir.name,
        profile=config.profile,
        config=config.raw,
        config_sha256=config.sha256,
        contracts_sha256=contracts_sha256,
        code_sha256=code_sha256(PROJECT),
        lock_sha256=_file_sha256(lock),
        python=platform.python_version(),
        platform=platform.platform(),
        versions=_versions(),
        seed=config.seed,
        clock_kind="simulated" if simulated else "wall",
        clock_origin_ms=origin_ms,
        clock_speed=config.speed,
        started_ms=wall_ms(),
        symbols=exchange.symbols if exchange is not None else config.exchange.symbols,
        processes=processes,
        hosts=tuple(urls) if exchange is None else (f"127.0.0.1:{exchange.port}",),
        embedded=None if exchange is None else exchange.facts,
        simulated=simulated,
        pinned=_pinned(profile, config),
        opening=opening,
        degraded=degraded,
        queues=tuple(roles.queues),
    )


def role_argv(name: str, run_dir: Path) -> list[str]:
    """Return the command line of a role, the same at every start."""
    return [*python_argv("minibot.runtime.role"), name, "--run", str(run_dir)]


def child_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the scrubbed environment of our processes.

    It has no secrets: a role that needs one reads the file that its profile names. It has one
    thread per library, and one memory arena for all threads: an arena for each thread would keep
    the memory that a thread which only reads sockets has freed. Blocks of 128 KiB and more never
    come from the arena, where a freed one would leave a hole that is never filled. By default glibc
    raises that bound as soon as such a block is freed. The supervisor adds `RUN_FILES` for a role,
    the feed the terminal's variables for the table.
    """
    kept = {name: environ[name] for name in ENVIRON_KEPT if name in environ}
    return {
        **kept,
        **program_environ(),
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": "131072",  # glibc's initial value; set, it stays fixed.
    }


def _versions() -> dict[str, str]:
    names = (
        "orjson",
        "jsonschema-rs",
        "jsonschema",
        "requests",
        "websocket-client",
        "aiohttp",
        "numpy",
        "lightgbm",
        "portalocker",
        "filelock",
        "psutil",
        "rich",
    )
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def _file_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def _pinned(profile: Path, config: Config) -> dict[str, str]:
    """Return the sha256 of each file that may not change; the profile's files count as read."""
    tables = [PROJECT / "config" / name for name in ("roles.v1.json", "contracts.v1.json")]
    feeds = [resolve(path) for path in (config.market.feeds or {}).values()]
    read = dict(config.read)
    if config.risk.policy_version is not None:
        tables.append(POLICY_PATH)
        read[POLICY_PATH] = risk_policy().sha256
    files = [*tables, profile, *([] if config.base is None else [config.base]), *feeds]
    pinned = {}
    for path in files:
        found = _file_sha256(path)
        if read.get(path, found) != found:  # The limits of the run come from the former bytes.
            raise Refusal(f"{project_name(path)} changed while the run started.", "Start again.")
        pinned[project_name(path.resolve())] = found
    return pinned
