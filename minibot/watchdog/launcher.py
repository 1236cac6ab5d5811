"""The launcher is the watchdog: it starts a run, supervises it, ends it and seals it.

`launch` is the whole life of one run. The supervising loop only supervises: no terminal, no call
that can wait; merging and metrics run in a second thread; the live table is a child that may
block or die. Whoever reads the outcome finds every reason in the run's `stop_journal`.
"""

from __future__ import annotations

import hashlib
import os
import platform
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

import filelock

from minibot.events.model import JsonObject, StopJournal
from minibot.events.order import LineSource
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel.errors import MinibotError, Refusal, RunStop
from minibot.kernel.files import read_hashed
from minibot.kernel.queue import make_queue, open_reader
from minibot.kernel.seal import seal_run
from minibot.runtime.channels import Control, SilentHeartbeat
from minibot.runtime.clock import machine_ns, wall_ms, write_clock
from minibot.runtime.cmdline import cmdline, cmdline_hash, own_cmdline, own_cmdline_hash
from minibot.runtime.config import Config
from minibot.runtime.context import CLEAN, STOP_JOURNAL, STOPPED, Output, RoleContext
from minibot.runtime.manifest import Manifest, Process
from minibot.runtime.paths import PROJECT
from minibot.runtime.role import stop_record
from minibot.runtime.stop import END_KIND, STOP_KIND, StopRecord, arm
from minibot.watchdog.checks import ClockCheck, CursorCheck, DiskCheck, PinnedCheck
from minibot.watchdog.child import Child
from minibot.watchdog.ending import Phase, PlannedEnd
from minibot.watchdog.exchange import EmbeddedExchange
from minibot.watchdog.feed import LiveFeed
from minibot.watchdog.merge import WATCHDOG, Merger
from minibot.watchdog.metrics import MetricsKeeper
from minibot.watchdog.opening import opening_of
from minibot.watchdog.preflight import (
    code_sha256,
    exchange_checks,
    preflight,
    refuse_failed,
    sync_us_p50,
)
from minibot.watchdog.recovery import Recovered, clear_former_run, note_current
from minibot.watchdog.requests import END, control_payload, take_requests
from minibot.watchdog.stoplog import copy_stops
from minibot.watchdog.supervisor import AI, START_ORDER, Supervisor

TURN_S = 0.05
SLOW_CHECK_NS = 1_000_000_000
MERGE_S = 0.2
OPERATOR = "operator"
# What a role needs of the outside; everything else stays with the operator.
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; `exit_code` is that of the process."""

    run_dir: Path
    exit_code: int
    reason_code: str
    detail: str
    recovered: Recovered | None


@dataclass(frozen=True, slots=True)
class Display:
    """How the run shows itself while it runs: the command of the table process, or none."""

    argv: tuple[str, ...] = ()


def launch(config: Config, profile: Path, display: Display, say: Callable[[str], None]) -> Outcome:
    """Run one night from preflight to seal.

    Args:
        config: The resolved profile.
        profile: The file it came from; pinned while the run lives.
        display: The table process.
        say: Takes one line for the operator; called before and after, never while supervising.

    Raises:
        Refusal: The run cannot start; nothing was left running.
    """
    var = config.var
    refuse_failed(preflight(config, var))
    lock = filelock.FileLock(str(var.root / "run.lock"), timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise Refusal(
            f"another run uses {var.root}.", "Wait for its end, stop it, or choose --var DIR."
        ) from error
    try:
        return _Launch(config, profile, display, say).run()
    finally:
        lock.release()


class _Launch:
    """One run, from recovery of the former one to its own seal."""

    def __init__(
        self, config: Config, profile: Path, display: Display, say: Callable[[str], None]
    ) -> None:
        self.config = config
        self.profile = profile
        self.var = var = config.var
        self.say = say
        self.roles = Roles.load(PROJECT / "config" / "roles.v1.json")
        self.contracts = Contracts.load(
            PROJECT / "contracts", PROJECT / "config" / "contracts.v1.json"
        )
        self.feed = LiveFeed(display.argv)
        self.interrupts: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.sync_us = sync_us_p50(var.stop)

    def run(self) -> Outcome:
        recovered = clear_former_run(self.var, self.contracts, self.roles)
        if recovered is not None:
            self.say(f"Run {recovered.run_id} was interrupted; it is recovered and sealed.")
        run_id = self._new_run_id()
        run_dir = self.var.runs / run_id
        run_dir.mkdir(parents=True, mode=0o700)
        exchange = self._start_exchange(run_dir)
        try:
            if exchange is None:
                binance = self.config.binance
                refuse_failed(
                    exchange_checks(
                        binance.rest_url, binance.rest_timeout_ms, binance.clock_skew_max_ms
                    )
                )
            return self._run_in(run_dir, run_id, exchange, recovered)
        except Refusal:
            _remove_empty_run(run_dir)
            raise
        finally:
            if exchange is not None:
                exchange.end()

    def _new_run_id(self) -> str:
        moment = wall_ms() // 1000
        while True:
            run_id = datetime.fromtimestamp(moment, UTC).strftime("%Y%m%d_%H%M%S")
            if not (self.var.runs / run_id).exists():
                return run_id
            moment += 1

    def _start_exchange(self, run_dir: Path) -> EmbeddedExchange | None:
        if self.config.embedded is None:
            return None
        return EmbeddedExchange.start(self.config, run_dir, self.var, child_environ(os.environ))

    # --- the run ------------------------------------------------------------------------------

    def _run_in(
        self,
        run_dir: Path,
        run_id: str,
        exchange: EmbeddedExchange | None,
        recovered: Recovered | None,
    ) -> Outcome:
        opening = opening_of(self.config, self.var.runs, self.contracts, self.roles)
        manifest = self._manifest(run_dir, run_id, exchange, opening.to_json())
        manifest.write(run_dir)
        note_current(self.var, run_id)
        for name, entry in self.roles.queues.items():
            make_queue(
                self.var.queues,
                name,
                entry.primary_reader,
                parts=self.roles.writers(name) if entry.parts else (),
            )
        arm(self.var.stop, run_id, OPERATOR)
        context = RoleContext(WATCHDOG, run_dir, Control(), SilentHeartbeat(WATCHDOG))
        context.syncs_parts = False  # The second thread does; this one may not wait.
        control = context.open_output("control")
        control.append_roots([(opening, context.clock.now_ms())])
        supervisor = Supervisor(context, self._children(manifest))
        planned_ts, planned_code = self._planned_end(context, exchange)
        end = PlannedEnd(context, control, supervisor, planned_ts, planned_code)
        desk = _Desk(context, supervisor, end, control, exchange, self.feed, self.interrupts)
        background = _Background(context, self.roles)
        previous = self._take_signals()
        context.health("READY")
        supervisor.start()
        background.start()
        self.feed.start(child_environ(os.environ))
        try:
            record = desk.supervise(background)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        return self._end(record, context, supervisor, background, desk, recovered, exchange)

    def _take_signals(self) -> dict[int, Any]:
        """First interrupt ends the run in order, a second one stops it."""
        names = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP")
        previous: dict[int, Any] = {}

        def note(number: int, frame: FrameType | None) -> None:
            self.interrupts.put(signal.Signals(number).name)

        for name in names:
            number = getattr(signal, name, None)
            if number is not None and threading.current_thread() is threading.main_thread():
                previous[number] = signal.signal(number, note)
        return previous

    def _planned_end(
        self, context: RoleContext, exchange: EmbeddedExchange | None
    ) -> tuple[int | None, str]:
        until = context.manifest.clock_origin_ms + self.config.duration_ms
        if exchange is not None and exchange.end_ms is not None and exchange.end_ms < until:
            return exchange.end_ms, "SOURCE_ENDED"
        return until, "DURATION_REACHED"

    def _manifest(
        self, run_dir: Path, run_id: str, exchange: EmbeddedExchange | None, opening: JsonObject
    ) -> Manifest:
        config = self.config
        simulated = exchange is not None
        processes = {WATCHDOG: Process(tuple(sys.orig_argv), own_cmdline(), own_cmdline_hash())}
        for name in START_ORDER:
            if name == AI and not config.ai.enabled:
                continue
            argv = role_argv(name, run_dir)
            processes[name] = Process(tuple(argv), cmdline(argv), cmdline_hash(argv))
        urls = (config.binance.rest_url, config.binance.stream_url)
        lock = PROJECT / "requirements.lock"
        return Manifest(
            run_id=run_id,
            profile=config.profile,
            config=config.raw,
            config_sha256=config.sha256,
            contracts_sha256=self.contracts.sha256,
            code_sha256=code_sha256(PROJECT),
            lock_sha256=_file_sha256(lock),
            python=platform.python_version(),
            platform=platform.platform(),
            versions=_versions(),
            seed=config.seed,
            clock_kind="simulated" if simulated else "wall",
            clock_origin_ms=exchange.origin_ms if exchange is not None else wall_ms(),
            clock_speed=config.speed,
            started_ms=wall_ms(),
            symbols=exchange.symbols if exchange is not None else config.binance.symbols,
            processes=processes,
            hosts=tuple(urls) if exchange is None else (f"127.0.0.1:{exchange.port}",),
            embedded=None if exchange is None else exchange.facts,
            simulated=simulated,
            pinned=_pinned(self.profile),
            opening=opening,
        )

    def _children(self, manifest: Manifest) -> dict[str, Child]:
        environ = child_environ(os.environ)
        return {
            name: Child(name, process.argv, self.var.logs / f"{name}.err.log", environ)
            for name, process in manifest.processes.items()
            if name != WATCHDOG
        }

    # --- the end ------------------------------------------------------------------------------

    def _end(
        self,
        record: StopRecord | None,
        context: RoleContext,
        supervisor: Supervisor,
        background: _Background,
        desk: _Desk,
        recovered: Recovered | None,
        exchange: EmbeddedExchange | None,
    ) -> Outcome:
        if record is not None:
            supervisor.stop_all()
        if exchange is not None:
            exchange.end()
        background.stop()
        if record is None:
            record = desk.end_record()
            context.journal(record)
        exit_code = CLEAN if record.kind == END_KIND else STOPPED
        context.health("STOPPED")
        context.sync_parts(now=True)
        try:
            background.finish()
            copy_stops(self.var, context.codec)
            context.close_outputs()
        except (RunStop, OSError) as error:
            print(f"the end of the run could not be written: {error}", file=sys.stderr)
            exit_code = STOPPED
        self.feed.end()
        self._seal(context, record, exchange, desk)
        return Outcome(context.run_dir, exit_code, record.reason_code, record.detail, recovered)

    def _seal(
        self,
        context: RoleContext,
        record: StopRecord,
        exchange: EmbeddedExchange | None,
        desk: _Desk,
    ) -> None:
        manifest = context.manifest
        try:
            seal_run(
                self.var.queues,
                context.run_dir,
                extra={
                    "state": "sealed" if record.kind == END_KIND else "stopped",
                    "reason_code": record.reason_code,
                    "config_sha256": manifest.config_sha256,
                    "contracts_sha256": manifest.contracts_sha256,
                    "code_sha256": manifest.code_sha256,
                    "started_ms": manifest.started_ms,
                    "ended_ms": wall_ms(),
                    "market_ended_ms": context.clock.now_ms(),
                    "lag_market_ms_max": desk.lag_market_ms_max,
                    "hosts": list(manifest.hosts),
                    "sync_us_p50": self.sync_us,
                    "order_calls": 0 if exchange is None else exchange.order_calls,
                },
            )
        except (MinibotError, OSError) as error:
            print(f"the run could not be sealed: {error}; the next start does", file=sys.stderr)


class _Desk:
    """The supervising loop: everything that may end the run passes over it."""

    def __init__(
        self,
        context: RoleContext,
        supervisor: Supervisor,
        end: PlannedEnd,
        control: Output,
        exchange: EmbeddedExchange | None,
        feed: LiveFeed,
        interrupts: queue.SimpleQueue[str],
    ) -> None:
        self.context = context
        self.supervisor = supervisor
        self.end = end
        self.exchange = exchange
        self.feed = feed
        self.lag_market_ms_max = 0
        self._control = control
        self._interrupts = interrupts
        self._ended_by_hand = False
        self._slow_ns = 0
        self._health_ts = 0
        self._stops: dict[str, LineSource] = {}
        config = context.config
        self._checks = (
            DiskCheck(context.var.root, config.watchdog.disk_free_min_mb),
            ClockCheck(config.watchdog.clock_jump_ms_max),
            CursorCheck(context.var.queues, context.roles, context.run_id),
            PinnedCheck(context.manifest.pinned),
        )

    def supervise(self, background: _Background) -> StopRecord | None:
        """Return the STOP that ended the run, or None when it drained as planned."""
        pause = threading.Event()
        while self.end.phase is not Phase.DRAINED:
            self.context.heartbeat.turns += 1
            found = self._look(background)
            if found is not None:
                record, is_journaled = found
                if not is_journaled:
                    self.context.stop(record)
                return record
            pause.wait(TURN_S)
        return None

    def _look(self, background: _Background) -> tuple[StopRecord, bool] | None:
        """Do one short turn; return a STOP and whether its event stands in a part already."""
        self.supervisor.lease()
        journaled = self._journaled_stop()
        if journaled is not None:
            return journaled, True
        if self.context.var.flag.exists():
            return self._flagged(), False
        record = (
            background.failure
            or self._interrupted()
            or self.supervisor.check()
            or self._slow_checks()
            or self.end.step()
        )
        if record is not None:
            # The role may have journaled its STOP between our look and its exit.
            journaled = self._journaled_stop()
            return (journaled, True) if journaled is not None else (record, False)
        self._start_clock()
        return None

    def _journaled_stop(self) -> StopRecord | None:
        root = self.context.var.queues
        for role in self.context.roles.writers(STOP_JOURNAL):
            source = self._stops.get(role)
            if source is None:
                if not (root / STOP_JOURNAL / "parts" / f"{role}.head").exists():
                    continue
                source = self._stops[role] = LineSource(open_reader(root, STOP_JOURNAL, part=role))
            while (line := source.next()) is not None:
                payload = self.context.codec.decode(STOP_JOURNAL, line.json).payload
                if isinstance(payload, StopJournal) and payload.kind == STOP_KIND:
                    return StopRecord(payload.component, payload.reason_code, payload.detail)
        return None

    def _flagged(self) -> StopRecord:
        """Return the STOP of a flag that no role's event explains: the operator's."""
        detail = "STOP.flag was created"
        try:
            armed = read_hashed(self.context.var.flag)
            who = str(armed.get("role", "somebody"))
        except RunStop:
            who = "somebody"
        for request in take_requests(self.context.var.requests, self.context.run_id):
            if request.get("kind") == "kill":
                detail = str(request.get("why", detail))
        return StopRecord(WATCHDOG, "OPERATOR_KILL", f"{who}: {detail}")

    def _interrupted(self) -> StopRecord | None:
        while not self._interrupts.empty():
            name = self._interrupts.get()
            if self._ended_by_hand:
                return StopRecord(WATCHDOG, "OPERATOR_KILL", f"{name} a second time")
            self._ended_by_hand = True
            self.end.begin_by_operator(name)
        return None

    def _slow_checks(self) -> StopRecord | None:
        moment = machine_ns()
        if moment - self._slow_ns < SLOW_CHECK_NS:
            return None
        self._slow_ns = moment
        for check in self._checks:
            record = check.check()
            if record is not None:
                return record
        self._take_requests()
        self._watch_exchange()
        self._note_lag()
        self._health()
        self.feed.show(self._status())
        return None

    def _take_requests(self) -> None:
        for request in take_requests(self.context.var.requests, self.context.run_id):
            if request.get("kind") == END:
                self._ended_by_hand = True
                self.end.begin_by_operator(str(request.get("why", "minibot stop")))
                continue
            payload = control_payload(request)
            if payload is None:
                self.context.incident("REQUEST_REFUSED", f"not a request: {request.get('kind')}")
            else:
                self._control.append_roots([(payload, self.context.clock.now_ms())])

    def _watch_exchange(self) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.has_died():
            self.context.incident("EXCHANGE_PROCESS_ENDED", "the embedded exchange ended by itself")

    def _note_lag(self) -> None:
        facts = self.supervisor.children["market_role"].heartbeat.get("facts", {})
        self.lag_market_ms_max = max(self.lag_market_ms_max, int(facts.get("lag_market_ms", 0)))

    def _health(self) -> None:
        now_ts = self.context.clock.now_ms()
        if now_ts - self._health_ts >= 10_000:
            self._health_ts = now_ts
            self.context.health("READY")
        rss: dict[str, int] = {}
        for name, child in self.supervisor.children.items():
            used = child.rss_bytes()
            if used is not None:
                rss[name] = used
        self.supervisor.kill_over_memory(rss)

    def _start_clock(self) -> None:
        if self.context.clock.is_running:
            return
        market = self.supervisor.children["market_role"].heartbeat
        manifest = self.context.manifest
        if manifest.clock_kind == "wall" or market.get("market_ready"):
            write_clock(self.context.run_dir, manifest.clock_origin_ms, manifest.clock_speed)

    def _status(self) -> JsonObject:
        """Return what the live table shows."""
        return {
            "run_id": self.context.run_id,
            "profile": self.context.manifest.profile,
            "simulated": self.context.manifest.simulated,
            "phase": self.end.phase.value,
            "now_ms": self.context.clock.now_ms(),
            "origin_ms": self.context.manifest.clock_origin_ms,
            "planned_ms": self.end.planned_ts,
            "ai_off": self.supervisor.ai_off,
            "roles": {
                name: {
                    "pid": child.pid,
                    "running": child.is_running,
                    "restarts": len(child.restarts_ns),
                    "heartbeat": child.heartbeat,
                }
                for name, child in self.supervisor.children.items()
            },
        }

    def end_record(self) -> StopRecord:
        """Return the record of the planned end, with what is still open."""
        facts = self.supervisor.children["execution_role"].heartbeat.get("facts", {})
        open_positions = facts.get("open_positions", [])
        return StopRecord(
            WATCHDOG,
            self.end.reason_code,
            self.end.detail or self.end.reason_code,
            kind=END_KIND,
            open_positions=tuple(open_positions),
        )


class _Background:
    """The second thread: merging parts and keeping metrics, where waiting is allowed."""

    def __init__(self, context: RoleContext, roles: Roles) -> None:
        self.failure: StopRecord | None = None
        self._context = context
        self._merger = Merger(
            root=context.var.queues,
            roles=roles,
            codec=context.codec,
            clock=context.clock,
            run_id=context.run_id,
            cmdline_hash=context.cmdline_hash,
            segment_bytes=context.config.queues.segment_bytes,
        )
        self._metrics = MetricsKeeper(context)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="merge", daemon=True)
        self._synced_ns = machine_ns()

    def start(self) -> None:
        """Start merging."""
        self._thread.start()

    def _work(self) -> None:
        try:
            while not self._ended.wait(MERGE_S):
                self._merger.merge()
                self._metrics.step()
                if machine_ns() - self._synced_ns > 1_000_000_000:
                    self._synced_ns = machine_ns()
                    self._merger.sync()
        except (RunStop, OSError) as error:
            self.failure = stop_record(WATCHDOG, error) or StopRecord(
                WATCHDOG, "IO_EIO", str(error)
            )

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(30.0)

    def finish(self) -> None:
        """Copy what is left, write the last metrics and close."""
        self._merger.close()
        self._metrics.finish()


def role_argv(name: str, run_dir: Path) -> list[str]:
    """Return the command line of a role, the same at every start."""
    return [sys.executable, "-m", "minibot.runtime.role", name, "--run", str(run_dir)]


def child_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the scrubbed environment of our processes: no secrets, one thread per library."""
    kept = {name: environ[name] for name in ENVIRON_KEPT if name in environ}
    return {
        **kept,
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
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


def _pinned(profile: Path) -> dict[str, str]:
    names = ["config/roles.v1.json", "config/contracts.v1.json"]
    pinned = {name: _file_sha256(PROJECT / name) for name in names}
    path = profile.resolve()
    try:
        name = path.relative_to(PROJECT).as_posix()
    except ValueError:
        name = str(path)
    pinned[name] = _file_sha256(path)
    return pinned


def _remove_empty_run(run_dir: Path) -> None:
    """Take back a run folder that never became a run."""
    if (run_dir / "manifest.json").exists():
        return
    for path in run_dir.iterdir():
        path.unlink()
    run_dir.rmdir()
