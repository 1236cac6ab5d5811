"""Launcher and watchdog in one: it starts a run, supervises it, ends it and seals it.

`launch` is the whole life of one run. The supervising loop only supervises: it uses no terminal and
waits for no child, and for the disk only where it writes something rare itself: an event in
`control`, the clock's file, a STOP. Merging and metrics run in a second thread; the live table is a
child that may block or die. The run's `stop_journal` holds every reason for the outcome, unless the
disk refuses it or `var` is gone.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

import filelock

from minibot import listed
from minibot.events.names import WATCHDOG_ROLE
from minibot.events.reasons import (
    DURATION_REACHED,
    INVARIANT_BROKEN,
    IO_EIO,
    REASONS,
    ROLE_MEMORY,
    SOURCE_ENDED,
    VAR_LOST,
)
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.events.unit_sizes import NS_PER_MS
from minibot.kernel.errors import LockBusy, MinibotError, Refusal, RunStop
from minibot.kernel.queue import make_queue
from minibot.kernel.seal import seal_run
from minibot.runtime.channels import Control, SilentHeartbeat
from minibot.runtime.clock import suspend_ns, wall_ms
from minibot.runtime.configuration.config import Config
from minibot.runtime.context import CLEAN, STOPPED, RoleContext
from minibot.runtime.deployment.staging import is_deploying
from minibot.runtime.deployment.unchanged import CodeStand
from minibot.runtime.manifest import MANIFEST_FILE, Manifest, moment_of, run_id_of
from minibot.runtime.paths import PROJECT, Var
from minibot.runtime.role import stop_record
from minibot.runtime.runfiles import RunFiles, own_runs
from minibot.runtime.running import (
    RunLock,
    note_current,
    note_ended,
    refuse_living,
)
from minibot.runtime.signing import sign_if_pinned
from minibot.runtime.stop import END_KIND, OPERATOR, StopRecord, arm, release_all_reserves
from minibot.watchdog.background import Background
from minibot.watchdog.child import Child
from minibot.watchdog.closing_accounts import write_closing_accounts
from minibot.watchdog.console import console_events
from minibot.watchdog.ending import PlannedEnd
from minibot.watchdog.exchange import EmbeddedExchange
from minibot.watchdog.fallback import fallback_of
from minibot.watchdog.feed import LiveFeed
from minibot.watchdog.holding import HeldVar, leave_refused_stop, settle_lost
from minibot.watchdog.opening import opening_by, refuse_gone
from minibot.watchdog.operator_stop_log import copy_stops, note_refused
from minibot.watchdog.ops_process import OpsProcess
from minibot.watchdog.preflight import (
    WARN,
    ServerTime,
    exchange_checks,
    flag_check,
    preflight,
    refuse_failed,
    root_check,
    sync_us_p50,
)
from minibot.watchdog.recovery import (
    FormerRun,
    clear_former_run,
    complete_merge,
    lost_queues,
    recover_queues,
)
from minibot.watchdog.run_manifest import child_environ, make_manifest, role_argv
from minibot.watchdog.status_file import StatusFile
from minibot.watchdog.supervision_loop import HANG_UP, SupervisionLoop
from minibot.watchdog.supervisor import Supervisor

# Exit code of a run that ended in order but could not be sealed: its record is unproven yet.
UNSEALED: Final = 1
NO_MEMORY: Final = "there is no memory left"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a run.

    Attributes:
        run_dir: The run's folder, where it is now.
        exit_code: Exit code of the process.
        unsealed: Why the run is not sealed; empty if it is.
        notes: Further facts of the end for a person, one sentence each.
        var: The folder on which the run was started, if it has lost it; else None.
    """

    run_dir: Path
    exit_code: int
    reason_code: str
    detail: str
    recovered: FormerRun | None
    unsealed: str = ""
    notes: tuple[str, ...] = ()
    var: Var | None = None


class _Start(NamedTuple):
    """Arguments of `launch`."""

    config: Config
    profile: Path
    table: Sequence[str]
    say: Callable[[str], None]
    server_time: ServerTime


def launch(
    config: Config,
    profile: Path,
    table: Sequence[str],
    say: Callable[[str], None],
    server_time: ServerTime,
) -> Outcome:
    """Run one night from preflight to seal.

    Args:
        config: The resolved profile.
        profile: Its file; pinned while the run lives.
        table: Command of the process that shows the run while it runs; empty for none.
        say: Prints one line for the operator; called before and after, never while supervising.
        server_time: Requests the venue's clock.

    Raises:
        Refusal: The run cannot start, and nothing was left running. Or it began and broke off by an
            error of the system: its roles end by themselves, and the next start seals it.
    """
    var = config.var
    refuse_living(var)
    if var.root.is_symlink() or not var.root.exists():
        refuse_failed([flag_check(var)])  # A run that lost this folder left a flag.
    refuse_failed([root_check(var)])
    lock = RunLock(var)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise _held(var) from error
    try:
        refuse_living(var)
        return _launch_alone(_Start(config, profile, table, say, server_time), lock)
    finally:
        lock.release()


def _held(var: Var) -> Refusal:
    """Return the refusal of a start whose lock is held, with the holder if it is known."""
    refuse_living(var)  # It may have begun since the first look.
    if is_deploying(PROJECT):
        return Refusal(
            f"a deployment is in progress and holds {var.lock}: code never changes under a run.",
            "Wait for its end. See: minibot stage status",
        )
    return Refusal(
        f"another run uses {var.root}, or a command holds its {var.lock.name}.",
        "Wait for its end, stop it, or choose --var DIR.",
    )


def _launch_alone(start: _Start, lock: RunLock) -> Outcome:
    """Run one night on a `var` whose lock is held; put a refused start on record.

    A start that `launch` itself refuses is not on record: one during another run, even if that run
    is found only once the lock is held, or one on a `var` that is a link or cannot be made.
    """
    try:
        return _launch(start, lock)
    except Refusal as refusal:
        try:
            note_refused(start.config.var, str(refusal))
        except (MinibotError, OSError) as error:
            start.say(f"the refusal could not be put on record: {error}")
        raise


def _launch(start: _Start, lock: RunLock) -> Outcome:
    var = start.config.var
    run: _Launch | None = None
    try:
        _refuse_unwritable(start)
        checked = preflight(start.config, var)
        refuse_failed(checked)
        for each in checked:
            if each.level == WARN:
                start.say(f"WARN {each.name}: {each.found.rstrip('.')}. {each.remedy}")
        _refuse_unlisted(start.config)
        # Again: an operator may have raised it meanwhile.
        refuse_failed([flag_check(var)])
        with closing(HeldVar(var, lock)) as held:
            run = _Launch(start, held)
            with console_events(run.interrupts):
                return run.run()
    except RunStop as error:
        # No role has started yet; from then on every fault ends in an Outcome.
        remedy = REASONS[error.reason_code].remedy if error.reason_code in REASONS else ""
        raise Refusal(f"{error.reason_code}: {error.detail}.", remedy) from error
    except LockBusy as error:
        raise Refusal(
            f"a process of a former run is still there: {error}.",
            f"Wait for its end, or end it: its command line names a run below {var.runs}.",
        ) from error
    except OSError as error:
        if run is not None and run.is_begun:
            raise Refusal(
                f"the run broke off: {error}.",
                "Its roles end by themselves; the next start recovers and seals it.",
            ) from error
        raise Refusal(
            f"the start failed: {error}.", "Nothing was started. See: minibot doctor"
        ) from error
    except KeyboardInterrupt as error:
        raise Refusal("interrupted before the run had started.", "Start it again.") from error


def _refuse_unlisted(config: Config) -> None:
    """Refuse a process that should have been under the code list from its very start.

    Raises:
        Refusal: Its first module could not tell this from the way in which it was started.
    """
    if config.code.require_manifest and not listed.is_on:
        raise Refusal(
            "the profile allows only listed code (code.require_manifest), but that was read after "
            "the first import, so this process was not checked against the list.",
            "Write --config FILE, and --set code.require_manifest=true, in full.",
        )


def _refuse_unwritable(start: _Start) -> None:
    """Refuse a path or an argument that is not UTF-8, as the run's manifest is.

    Raises:
        Refusal: Names the first one.
    """
    config = start.config
    files = (start.profile, *(() if config.base is None else (config.base,)))
    names = (str(path.resolve()) for path in files)
    for text in (*names, *sys.orig_argv, *role_argv(WATCHDOG_ROLE, config.var.runs)):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Refusal(
                f"{text!a} is not UTF-8, so no manifest can hold it.",
                "Rename the file or folder, or change the argument.",
            ) from error


class _Parts(NamedTuple):
    """Parts of a run whose roles have been started."""

    context: RoleContext
    supervisor: Supervisor
    background: Background
    loop: SupervisionLoop
    exchange: EmbeddedExchange | None
    recovered: FormerRun | None
    run_files: RunFiles


class _Launch:
    """One run, from recovery of the former one to its own seal."""

    def __init__(self, start: _Start, held: HeldVar) -> None:
        self.config, self.profile, table, self.say, self.server_time = start
        self.held = held
        self.var = var = self.config.var
        self.roles = Roles.of_project()
        self.contracts = Contracts.of_project()
        self.feed = LiveFeed(table, StatusFile(var.status))
        self.interrupts: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.sync_us = sync_us_p50(var.stop)
        self.code = CodeStand(PROJECT)
        self.degraded: str | None = None
        self.begun_ns = suspend_ns()  # The wall clock may be set while the run goes on.
        self.is_begun = False  # Once it has a manifest, a run is never undone.

    def run(self) -> Outcome:
        refuse_gone(self.config, self.var)
        recovered = clear_former_run(self.var, self.contracts, self.roles)
        if recovered is not None:
            self.say(recovered.note)
        run_id = self._new_run_id()
        run_dir = self.var.runs / run_id
        run_dir.mkdir(parents=True, mode=0o700)
        exchange = None
        try:
            exchange = self._start_exchange(run_dir)
            if exchange is None:
                exchange = self._reach(run_dir)
            return self._run_in(run_dir, run_id, exchange, recovered)
        except BaseException:
            if not self.is_begun:
                _remove_empty_run(run_dir)
            raise
        finally:
            if exchange is not None:
                exchange.end()

    def _new_run_id(self) -> str:
        """Return the id of a run that begins now; by name it is the newest.

        A clock that was set back would otherwise have the next run carry on from an older one.
        """
        moment = wall_ms() // 1000
        newest = next((folder.name for folder, _ in own_runs(self.var.runs)), None)
        if newest is not None and moment_of(newest) > moment:
            self.say(f"The clock is behind run {newest}; this run is named as if just after it.")
            moment = moment_of(newest) + 1
        while True:
            run_id = run_id_of(moment)
            if not (self.var.runs / run_id).exists():
                return run_id
            moment += 1

    def _start_exchange(self, run_dir: Path) -> EmbeddedExchange | None:
        if self.config.embedded is None:
            return None
        changed = self.code.changed("")  # There is no manifest yet.
        if changed is not None:
            raise Refusal(f"the code changed while the run started: {changed}.", "Start again.")
        return EmbeddedExchange.start(self.config, run_dir, self.var, child_environ(os.environ))

    def _reach(self, run_dir: Path) -> EmbeddedExchange | None:
        """Check whether the host answers; return the exchange of its fallback, or None.

        Raises:
            Refusal: It does not, and no fallback is allowed.
        """
        checks = exchange_checks(self.config, self.server_time)
        fallback = fallback_of(self.config, checks)
        if fallback is None:
            refuse_failed(checks)
            return None
        self.config, self.degraded = fallback
        self.say(f"DEGRADED: {fallback.why}. This run never counts.")
        return self._start_exchange(run_dir)

    # --- the run ------------------------------------------------------------------------------

    def _run_in(
        self,
        run_dir: Path,
        run_id: str,
        exchange: EmbeddedExchange | None,
        recovered: FormerRun | None,
    ) -> Outcome:
        origin_ms, opening = opening_by(
            self.config,
            self.var.runs,
            self.contracts,
            self.roles,
            wall_ms if exchange is None else lambda: exchange.origin_ms,
        )
        self.begun_ns = suspend_ns()
        manifest = make_manifest(
            self.config,
            self.profile,
            run_dir,
            exchange,
            contracts_sha256=self.contracts.sha256,
            origin_ms=origin_ms,
            opening=opening.to_json(),
            degraded=self.degraded,
        )
        refuse_living(self.var)
        lost = self.held.check()
        if lost is not None:  # Then the lock has excluded no other start.
            raise RunStop(WATCHDOG_ROLE, lost.reason_code, lost.detail)
        arm(self.var.stop, run_id, OPERATOR)  # Before the run is visible to `minibot kill`.
        note_current(self.var, run_id)  # First: an interrupted start is found by the next one.
        run_files = RunFiles(run_dir)
        run_files.put_hashed(MANIFEST_FILE, manifest.to_json())
        self.is_begun = True
        for name, entry in self.roles.queues.items():
            make_queue(
                self.var.queues,
                name,
                entry.primary_reader,
                parts=self.roles.writers(name) if entry.parts else (),
            )
        context = RoleContext(WATCHDOG_ROLE, run_dir, Control(), SilentHeartbeat(WATCHDOG_ROLE))
        context.clock.never_read()  # The launcher itself writes the file.
        # This thread may not wait: its parts are synced at the end. Until then the second thread
        # syncs their copies in the inboxes, from which recovery can restore them.
        context.syncs_parts = False
        context.print_line = self.feed.print_line
        control = context.open_output("control")
        control.append_roots([(opening, context.clock.now_ms())])
        supervisor = Supervisor(
            context,
            self._children(manifest),
            partial(self.code.changed, manifest.code_sha256),
            run_files,
        )
        planned_ts, planned_code = self._planned_end(context, exchange)
        end = PlannedEnd(context, control, supervisor, planned_ts, planned_code)
        ops = OpsProcess(context)
        loop = SupervisionLoop(
            context,
            supervisor,
            end,
            control,
            exchange,
            self.feed,
            self.interrupts,
            run_files,
            self.held,
            ops,
        )
        background = Background(context)
        previous = self._take_signals()
        try:
            self.feed.open()
            context.health("READY")
            record = self._begin(supervisor, background, ops)
            if record is None:
                record = loop.supervise(background)
            else:
                context.stop(record)
            # The end is not interrupted either: merge and seal are under way.
            parts = _Parts(context, supervisor, background, loop, exchange, recovered, run_files)
            return self._end(record, parts)
        finally:
            with suppress(RunStop, OSError, KeyError):
                note_ended(self.var, run_id)  # This process may live on.
            self.feed.close()
            ops.end()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _begin(
        self, supervisor: Supervisor, background: Background, ops: OpsProcess
    ) -> StopRecord | None:
        """Start all processes; return a STOP, for any error too, as no role may be left behind."""
        try:
            record = supervisor.start() or background.start()
            if record is None:
                self.feed.start(child_environ(os.environ))
                ops.start()
        except MemoryError:
            record = StopRecord(WATCHDOG_ROLE, ROLE_MEMORY, f"start of the roles: {NO_MEMORY}")
        except Exception as error:  # The roles would run on without supervision.
            record = stop_record(WATCHDOG_ROLE, error)
            if record is None:
                self.feed.print_line(traceback.format_exc().rstrip())
                record = StopRecord(WATCHDOG_ROLE, INVARIANT_BROKEN, repr(error))
        return record

    def _take_signals(self) -> dict[int, Any]:
        """Install handlers: the first interrupt ends the run in order, the next one stops it.

        After `minibot stop` the first one only confirms the end. A hang-up that this process was
        started to ignore, as under `nohup`, stays ignored. So is Ctrl-Z: without leases the roles
        would stop the run within seconds.
        """
        names = ("SIGINT", "SIGTERM", "SIGBREAK", HANG_UP, "SIGTSTP")
        previous: dict[int, Any] = {}

        def note(number: int, frame: FrameType | None) -> None:
            self.interrupts.put(signal.Signals(number).name)

        for name in names:
            number = getattr(signal, name, None)
            if number is None or threading.current_thread() is not threading.main_thread():
                continue
            if name != HANG_UP or signal.getsignal(number) is not signal.SIG_IGN:
                handler = signal.SIG_IGN if name == "SIGTSTP" else note
                previous[number] = signal.signal(number, handler)
        return previous

    def _planned_end(
        self, context: RoleContext, exchange: EmbeddedExchange | None
    ) -> tuple[int, str]:
        until = context.manifest.clock_origin_ms + self.config.duration_ms
        if exchange is not None and exchange.end_ms is not None and exchange.end_ms < until:
            return exchange.end_ms, SOURCE_ENDED
        return until, DURATION_REACHED

    def _children(self, manifest: Manifest) -> dict[str, Child]:
        environ = child_environ(os.environ)
        return {
            name: Child(name, process.argv, self.var.logs / f"{name}.err.log", environ)
            for name, process in manifest.processes.items()
            if name != WATCHDOG_ROLE
        }

    # --- the end ------------------------------------------------------------------------------

    def _end(self, record: StopRecord | None, parts: _Parts) -> Outcome:
        context, background, loop = parts.context, parts.background, parts.loop
        if record is not None:
            parts.supervisor.stop_all()
        if parts.exchange is not None:
            parts.exchange.end()
        background.stop()
        parts.supervisor.close()
        loop.close()
        if record is None and background.failure is not None:
            record = background.failure
            context.stop(record)
        lost = self.held.lost(record)
        if lost is not None or (record is not None and record.reason_code == VAR_LOST):
            if record is None or record.reason_code != VAR_LOST:
                record = lost
            assert record is not None
            return self._end_lost(record, parts)
        if record is None:
            record = loop.last_look()
            if record is not None:
                context.stop(record)
        if record is None:
            record = loop.end_record()
        record = self._write_end(record, parts)
        notes = leave_refused_stop(self.held, context, record)
        self.feed.end(loop.status(record))
        unsealed = self._seal(self.var, record, parts)
        exit_code = CLEAN if record.kind == END_KIND else STOPPED
        if unsealed and exit_code == CLEAN:
            exit_code = UNSEALED
        return Outcome(
            context.run_dir,
            exit_code,
            record.reason_code,
            record.detail,
            parts.recovered,
            unsealed,
            notes,
        )

    def _end_lost(self, record: StopRecord, parts: _Parts) -> Outcome:
        """End a run whose `var` was taken away: on record there, and next to its former place.

        If another folder has its former path, nothing is written there, except in a copied
        `current.json`, which then says that this run has ended.
        """
        self.feed.print_line(f"STOP {record.reason_code}: {record.detail}")
        self.feed.end(parts.loop.status(record), is_lost=True)
        context = parts.context
        settled = settle_lost(self.held, context, parts.background, record)
        run_dir, unsealed = context.run_dir, settled.unsealed
        if settled.var is not None:
            run_dir = parts.run_files.run_dir = settled.var.run(context.run_id)
            unsealed = self._seal(settled.var, record, parts)
        return Outcome(
            run_dir,
            STOPPED,
            record.reason_code,
            record.detail,
            parts.recovered,
            unsealed,
            settled.notes,
            self.var,
        )

    def _write_end(self, record: StopRecord, parts: _Parts) -> StopRecord:
        """Write the end, complete the merge, close everything; return the record of the end.

        On a full disk some steps fail: the rest is done nevertheless, and an end that could not be
        written is a STOP.
        """
        context = parts.context
        if record.kind != END_KIND:
            release_all_reserves(self.var.stop)
        copy = partial(copy_stops, self.var, context.codec, self.feed.print_line)
        steps: list[Callable[[], object]] = [
            lambda: context.health("STOPPED"),
            lambda: context.sync_parts(now=True),
            # Before the last metrics, which count the stops of all runs, this one included.
            copy,
            # The merge may take longer than a guard waits for a status.
            lambda: self.feed.show(parts.loop.status()),
            parts.background.finish,
            context.close_outputs,
        ]
        if record.kind == END_KIND:
            steps.insert(0, partial(context.journal, record))
        for step in steps:
            try:
                step()
            except (RunStop, OSError) as error:
                self.feed.print_line(f"the end of the run could not be written: {error}")
                if record.kind == END_KIND:
                    record = stop_record(WATCHDOG_ROLE, error) or StopRecord(
                        WATCHDOG_ROLE, IO_EIO, str(error)
                    )
                    context.stop(record)
                    self._copy_late(copy)
        return record

    def _copy_late(self, copy: Callable[[], None]) -> None:
        """Copy a STOP that came after the run's other stops and its END had been copied.

        A queue in doubt is not recovered before the seal, so nothing else would copy it.
        """
        try:
            copy()
        except (RunStop, OSError) as error:
            self.feed.print_line(f"the STOP is not in {self.var.stop_journal}: {error}")

    def _seal(self, var: Var, record: StopRecord, parts: _Parts) -> str:
        """Merge the rest and seal the run; return why it is not sealed, empty if it is."""
        context, exchange, run_files = parts.context, parts.exchange, parts.run_files
        manifest, run_dir = context.manifest, run_files.run_dir
        try:
            differences = [*run_files.differences(), *run_files.set_aside()]
            repaired, findings = self._recover_after(record, var, context)
        except (LockBusy, RunStop, OSError) as error:
            return self._left_unsealed(str(error))
        findings += write_closing_accounts(
            var, manifest, context.codec, run_files.put, is_counted=parts.background.is_counted
        )
        findings += [f"RUN_FILE_CHANGED: {why}" for why in differences]
        try:
            seal_run(
                var.queues,
                run_dir,
                extra={
                    "state": "sealed" if record.kind == END_KIND else "stopped",
                    "reason_code": record.reason_code,
                    "repaired": repaired,
                    "findings": findings,
                    "config_sha256": manifest.config_sha256,
                    "contracts_sha256": manifest.contracts_sha256,
                    "code_sha256": manifest.code_sha256,
                    "started_ms": manifest.started_ms,
                    "ended_ms": wall_ms(),
                    "took_ms": (suspend_ns() - self.begun_ns) // NS_PER_MS,
                    "market_ended_ms": context.clock.now_ms(),
                    "lag_market_ms_max": parts.loop.lag_market_ms_max,
                    "hosts": list(manifest.hosts),
                    "sync_us_p50": self.sync_us,
                    "order_calls": 0 if exchange is None else exchange.order_calls,
                },
                written=run_files.written,
            )
        except (MinibotError, OSError, MemoryError) as error:
            return self._left_unsealed(str(error) or NO_MEMORY)
        try:
            sign_if_pinned(run_dir, manifest.config, os.environ)
        except (MinibotError, OSError, MemoryError) as error:
            # A start signs no older seal: the run may have been changed meanwhile, seal and all.
            why = str(error) or NO_MEMORY
            self.feed.print_line(
                f"the run is sealed and stays unsigned, which verify reports: {why}"
            )
        for why in differences:
            self.feed.print_line(f"sealed with what is left: {why}")
        return ""

    def _left_unsealed(self, why: str) -> str:
        self.feed.print_line(f"the run could not be sealed: {why}; the next start does")
        return f"{why}; the next start seals it"

    def _recover_after(
        self, record: StopRecord, var: Var, context: RoleContext
    ) -> tuple[list[str], list[str]]:
        """Set aside lines half written by killed roles or on a full disk; complete the merge.

        After an END it does nothing, nor if the queues themselves are in doubt: they are the
        evidence. `Background.finish` has merged what it could all the same, and where that had been
        broken off it has set aside the torn tail of an inbox.

        Raises:
            LockBusy: A role is still there, as one that hangs in a call to the disk.
            RunStop: The system lacks space or descriptors.
        """
        if record.kind == END_KIND or record.reason_code.startswith("QUEUE_"):
            return [], []
        run_dir, queues = var.run(context.run_id), context.manifest.queues or self.roles.queues
        lost = lost_queues(var, queues, run_dir)
        repaired, findings = recover_queues(var, self.roles)
        findings += lost
        # A full disk ended the second thread's merge; by now there is room for the rest.
        findings += complete_merge(var, context.manifest, context.codec, context.clock)
        return repaired, findings


def _remove_empty_run(run_dir: Path) -> None:
    """Remove a folder that never became a run; files of others in it stay."""
    with suppress(OSError):
        run_dir.rmdir()
