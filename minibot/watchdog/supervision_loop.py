"""Supervision loop: every event that may end a run passes through it.

A turn is short and waits for no child: it handles leases, the parts of `stop_journal`, the flag,
the children, and once a second the slower checks. The loop returns the first STOP that it meets; a
planned end is advanced in between.
"""

from __future__ import annotations

import os
import queue
import threading
import traceback
from contextlib import closing
from urllib.parse import urlsplit

from minibot.cores.input_order import LineSource
from minibot.events.model import JsonObject, Payload, StopJournal
from minibot.events.names import (
    AI_ROLE,
    EXECUTION_ROLE,
    MARKET_ROLE,
    RISK_ROLE,
    STOP_JOURNAL,
    WATCHDOG_ROLE,
)
from minibot.events.reasons import INVARIANT_BROKEN, OPERATOR_KILL, ROLE_MEMORY
from minibot.kernel.errors import ContractError, RunStop
from minibot.kernel.files import read_hashed
from minibot.kernel.queue import open_reader
from minibot.runtime.clock import CLOCK_FILE, clock_content, machine_ns, wall_ms
from minibot.runtime.context import HEALTH_MARKET_MS, Output, RoleContext
from minibot.runtime.role import stop_record
from minibot.runtime.runfiles import RunFiles
from minibot.runtime.stop import END_KIND, STOP_KIND, StopRecord, disarm_operator, read_word
from minibot.watchdog.background import Background
from minibot.watchdog.checks import (
    Check,
    ClockCheck,
    CursorCheck,
    DiskCheck,
    PauseCheck,
    PinnedCheck,
    RunFilesCheck,
)
from minibot.watchdog.child import Child
from minibot.watchdog.ending import Phase, PlannedEnd
from minibot.watchdog.exchange import EmbeddedExchange
from minibot.watchdog.feed import LiveFeed
from minibot.watchdog.holding import HeldVar
from minibot.watchdog.ops_process import OpsProcess
from minibot.watchdog.requests import END, control_payload, take_kill, take_requests
from minibot.watchdog.supervisor import DiskLeases, Supervisor

TURN_S = 0.05
HANG_UP, TERMINATE = "SIGHUP", "SIGTERM"
SLOW_CHECK_NS = 1_000_000_000
# A role raises the flag first and then appends its event, with a sync of some milliseconds.
FLAG_EVENT_NS = 2_000_000_000
# The system may signal both a chain of nights and its night; the chain passes its SIGTERM on.
ECHO_NS = 1_000_000_000


class SupervisionLoop:
    """Supervision loop: polls leases, stop journal, flag, children and checks; decides the end."""

    def __init__(
        self,
        context: RoleContext,
        supervisor: Supervisor,
        end: PlannedEnd,
        control: Output,
        exchange: EmbeddedExchange | None,
        feed: LiveFeed,
        interrupts: queue.SimpleQueue[str],
        run_files: RunFiles,
        held: HeldVar | None = None,
        ops: OpsProcess | None = None,
    ) -> None:
        self.context = context
        self.supervisor = supervisor
        self.end = end
        self.exchange = exchange
        self.feed = feed
        self.lag_market_ms_max = 0
        self._run_files = run_files
        self._control = control
        self._interrupts = interrupts
        self._held = held
        self._ops = ops
        self._was_interrupted = False
        self._echo_until_ns = 0
        self._background: Background | None = None
        self._slow_ns = 0
        self._health_ts = 0
        self._ai_trouble = ""
        self._flagged_ns = 0
        self._stops: dict[str, LineSource] = {}
        limits = context.config.watchdog
        self._pause = PauseCheck(limits.pause_max_ms)
        self._cursors = CursorCheck(context.var.queues, context.roles, context.run_id)
        self._checks: tuple[Check, ...] = (
            DiskCheck(context.var.root, limits.disk_free_min_mb, context.planted),
            ClockCheck(limits.clock_jump_ms_max, limits.pause_max_ms, context.planted),
            self._cursors,
            PinnedCheck(context.manifest.pinned),
            # Before the run files: if the whole folder is gone, so are they.
            *(() if held is None else (held,)),
            RunFilesCheck(run_files),
            *(() if ops is None else (ops,)),
        )

    def supervise(self, background: Background) -> StopRecord | None:
        """Return the STOP that ended the run, or None when it drained as planned."""
        self._background = background
        leases = DiskLeases(self.supervisor.lease, self.context.config.queues.sync_ms_max)
        record = leases.start()
        if record is not None:
            self.context.stop(record)
            return record
        with closing(leases):
            return self._supervised(background, leases)

    def _supervised(self, background: Background, leases: DiskLeases) -> StopRecord | None:
        pause = threading.Event()
        while True:
            leases.turn()
            is_last = self._is_last()
            self.context.heartbeat.turns += 1
            found = self._looked(background)
            lost = None if self._held is None else self._held.lost(found[0] if found else None)
            if lost is not None:
                return lost  # The launcher handles flag and journal.
            if found is not None:
                record, is_journaled = found
                if not is_journaled:
                    self.context.stop(record)
                return record
            if is_last and not os.path.lexists(self.context.var.flag):
                return None
            pause.wait(TURN_S)

    def close(self) -> None:
        """Close all files of supervision; merge and seal need the descriptors."""
        self._cursors.close()
        for source in self._stops.values():
            source.reader.close()
        self._stops.clear()

    def _is_last(self) -> bool:
        """Return whether all roles have ended; if so, refuse from now on an operator's kill.

        One more turn follows, for a kill that came before.
        """
        if self.end.phase is not Phase.DRAINED:
            return False
        disarm_operator(self.context.var.stop)
        return True

    def _looked(self, background: Background) -> tuple[StopRecord, bool] | None:
        """Do one short turn; any error becomes a STOP, so that no run is unsupervised."""
        try:
            return self._look(background)
        except MemoryError:  # A traceback would need some as well.
            return StopRecord(WATCHDOG_ROLE, ROLE_MEMORY, "supervision: no memory is left"), False
        except Exception as error:  # The error ends the run, which would be unsupervised otherwise.
            record = stop_record(WATCHDOG_ROLE, error)
            if record is None:
                self.feed.print_line(traceback.format_exc().rstrip())
                record = StopRecord(WATCHDOG_ROLE, INVARIANT_BROKEN, repr(error))
            return record, False

    def _look(self, background: Background) -> tuple[StopRecord, bool] | None:
        """Do one short turn; return a STOP and whether its event is in a part already, or None.

        A pause beyond its limit is judged before all else, and a role's STOP before what is found
        in the rest of the turn.
        """
        record = self._paused()
        if record is not None:
            return record, False
        self.supervisor.lease()
        self.supervisor.check_memory()
        journaled = self._journaled_stop()
        if journaled is not None:
            return journaled, True
        if os.path.lexists(self.context.var.flag):
            flagged = self._flagged()
            return None if flagged is None else (flagged, False)
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
            if journaled is not None:
                return journaled, True
            # Or ended by a flag raised since our look: the next turn says whose it is.
            return None if os.path.lexists(self.context.var.flag) else (record, False)
        self._start_clock()
        return None

    def _paused(self) -> StopRecord | None:
        """Handle a pause of the whole run, which this late turn reveals: no role counts as hung.

        Within the limit the deadlines of all roles, of `ops` and of a drain restart. Market
        reconnects its feed by itself.
        """
        record = self._pause.check()
        if record is None and self._pause.pause_ms:
            self.supervisor.rearm()
            self.end.rearm()
            if self._ops is not None:
                self._ops.rearm()
            still_ms = self._pause.pause_ms
            detail = f"machine or disk did nothing for {still_ms} ms; deadlines count anew"
            self.context.incident("PAUSED", detail)
        return record

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

    def _flagged(self) -> StopRecord | None:
        """Return the STOP of a flag that no role's event explains, usually the operator's.

        None while a role has raised it and its event is still on its way: its STOP may not be
        attributed to another.
        """
        try:
            armed = read_hashed(self.context.var.flag)
        except (RunStop, OSError):
            armed = {}
        who = str(armed.get("role", "somebody"))
        child = self.supervisor.children.get(who)
        if child is not None and armed.get("run_id") == self.context.run_id:
            return self._flagged_by(child)
        # Without its prepared file, a role raises a flag that holds only its name.
        child = self.supervisor.children.get(read_word(self.context.var.flag))
        if child is not None:
            return self._flagged_by(child)
        why = take_kill(self.context.var.requests, self.context.run_id)
        detail = f"{who}: {why or 'STOP.flag was created'}"
        return StopRecord(WATCHDOG_ROLE, OPERATOR_KILL, detail)

    def _flagged_by(self, child: Child) -> StopRecord | None:
        """Return the STOP of a role that raised the flag and left no event.

        It comes at once if the role has ended and said why, else after `FLAG_EVENT_NS`.
        """
        moment = machine_ns()
        self._flagged_ns = self._flagged_ns or moment
        if child.reported_stop is not None and child.final_code() is not None:
            return StopRecord(child.name, *child.reported_stop)
        if moment - self._flagged_ns < FLAG_EVENT_NS:
            return None
        stop = child.reported_stop or (INVARIANT_BROKEN, "it raised STOP.flag and left no event")
        return StopRecord(child.name, *stop)

    def _interrupted(self) -> StopRecord | None:
        """End the run in order at the first signal, kill it at the second.

        A first signal during the end of the run only says so. `minibot stop` is no signal: Ctrl-C
        after it is the first one all the same. So is one after a hang-up, which never counts: a
        terminal that closes signals its group twice, a session that ends sends SIGTERM as well.
        """
        while not self._interrupts.empty():
            name = self._interrupts.get()
            if name == HANG_UP:
                self.end.begin_by_operator("a signal to the launcher", name)
                continue
            if name == TERMINATE and machine_ns() < self._echo_until_ns:
                continue
            if self._was_interrupted:
                detail = f"a second signal to the launcher: {name}"
                return StopRecord(WATCHDOG_ROLE, OPERATOR_KILL, detail)
            self._was_interrupted = True
            if name == TERMINATE:
                self._echo_until_ns = machine_ns() + ECHO_NS
            if self.end.phase is Phase.RUNNING:
                self.end.begin_by_operator("a signal to the launcher", name)
            else:
                self.feed.print_line(
                    f"{name}: the run was ending in order already; a second one kills it"
                )
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
        self._note_ai()
        self._health()
        self.feed.show(self.status())
        return None

    def _take_requests(self) -> None:
        requests = take_requests(self.context.var.requests, self.context.run_id, self._refuse)
        for request in requests:
            if request.get("kind") == END:
                who, why = request.get("who", "somebody"), request.get("why", "minibot stop")
                self.end.begin_by_operator(str(who), str(why))
                continue
            payload = control_payload(request)
            if payload is None:
                self._refuse(f"not a request: {request.get('kind')}")
            else:
                self._journal_request(payload)

    def _journal_request(self, payload: Payload) -> None:
        """Journal an operator's request; refuse one that breaks its contract."""
        try:
            self._control.append_roots([(payload, self.context.clock.now_ms())])
        except ContractError as error:
            self._refuse(error.detail)

    def _refuse(self, why: str) -> None:
        self.context.incident("REQUEST_REFUSED", why)

    def _watch_exchange(self) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.has_died():
            self.context.incident("EXCHANGE_PROCESS_ENDED", "the embedded exchange ended by itself")

    def _note_ai(self) -> None:
        """Journal the AI's incidents, as its clerk may write none itself."""
        child = self.supervisor.children.get(AI_ROLE)
        trouble = "" if child is None else str(child.heartbeat.get("facts", {}).get("trouble", ""))
        if trouble and trouble != self._ai_trouble:
            self.context.incident("AI_DEGRADED", f"ai_role: {trouble}")
        self._ai_trouble = trouble

    def _note_lag(self) -> None:
        facts = self.supervisor.children[MARKET_ROLE].heartbeat.get("facts", {})
        self.lag_market_ms_max = max(self.lag_market_ms_max, int(facts.get("lag_market_ms", 0)))

    def _health(self) -> None:
        now_ts = self.context.clock.now_ms()
        if now_ts - self._health_ts >= HEALTH_MARKET_MS:
            self._health_ts = now_ts
            self.context.health("READY")

    def _start_clock(self) -> None:
        """Start market time once every role is ready: before that, no market data and no trades.

        A simulated market waits for its history and subscriptions too; a real one requests them
        once its clock runs, which shows the wall clock's time.
        """
        if self.context.clock.is_running or not self.supervisor.are_all_there():
            return
        manifest, passed_ms = self.context.manifest, 0
        if manifest.clock_kind == "wall":
            passed_ms = max(0, wall_ms() - manifest.clock_origin_ms)
        elif not self.supervisor.children[MARKET_ROLE].heartbeat.get("market_ready"):
            return
        content = clock_content(manifest.clock_origin_ms, manifest.clock_speed, passed_ms=passed_ms)
        self._run_files.put_hashed(CLOCK_FILE, content)
        self.context.clock.begin(content)

    def last_look(self) -> StopRecord | None:
        """Return the STOP for a file that changed since the last look, after all roles ended."""
        return RunFilesCheck(self._run_files).check()

    def status(self, ended: StopRecord | None = None) -> JsonObject:
        """Return the status for the live table; `ended` is the record of the end, if any."""
        config = self.context.config
        return {
            "run_id": self.context.run_id,
            "profile": self.context.manifest.profile,
            "simulated": self.context.manifest.simulated,
            "host": None if config.embedded else urlsplit(config.exchange.stream_url).netloc,
            "speed": self.context.manifest.clock_speed,
            "phase": self.end.phase.value,
            "ended": None
            if ended is None
            else {
                "kind": ended.kind,
                "reason_code": ended.reason_code,
                # A file name may not be UTF-8; that must not keep the run from being sealed.
                "detail": ended.detail.encode("utf-8", "replace").decode(),
            },
            "now_ms": self.context.clock.now_ms(),
            "origin_ms": self.context.manifest.clock_origin_ms,
            "planned_ms": self.end.planned_ts,
            "ai_off": self.supervisor.ai_off,
            "quote_asset": config.portfolio.quote_asset,
            "market": {} if self._background is None else self._background.live,
            "roles": {
                name: {
                    "pid": child.pid,
                    "running": child.is_running,
                    "restarts": child.restarts,
                    "heartbeat": child.heartbeat,
                }
                for name, child in self.supervisor.children.items()
            },
        }

    def end_record(self) -> StopRecord:
        """Return the record of the planned end, with the positions still open.

        A position that risk could no longer exit has the reason: without a plan no run carries it.
        """
        children = self.supervisor.children
        facts = children[EXECUTION_ROLE].heartbeat.get("facts", {})
        exits = children[RISK_ROLE].heartbeat.get("facts", {}).get("exits", {})
        open_positions = []
        for position in facts.get("open_positions", []):
            levels = exits.get(position["symbol"], {})
            named = {"leaving": levels["leaving"]} if "leaving" in levels else {}
            open_positions.append(position | named)
        return StopRecord(
            WATCHDOG_ROLE,
            self.end.reason_code,
            self.end.detail or self.end.reason_code,
            kind=END_KIND,
            open_positions=tuple(open_positions),
        )
