"""Supervision: leases, heartbeats, restarts within a budget, and every doubt turned into STOP.

It runs in one thread, one short turn at a time, and waits for a child only in `stop_all`. Its
decisions are a `StopRecord` (fail closed) or an incident (survived, on record). Processes are ended
by our own handles.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from minibot.events.names import AI_ROLE, EXECUTION_ROLE, WATCHDOG_ROLE
from minibot.events.reasons import (
    CODE_CHANGED,
    CONSUMER_LAG,
    ROLE_CRASH_LOOP,
    ROLE_HUNG,
    ROLE_MEMORY,
    RUN_FILE_CHANGED,
)
from minibot.events.unit_sizes import NS_PER_MS
from minibot.kernel.files import DISK_CALLS
from minibot.kernel.threads import DaemonThread
from minibot.runtime.channels import DRAIN, LEASE, LEASE_INTERVAL_MS, STOP
from minibot.runtime.clock import machine_ns, suspend_ns
from minibot.runtime.context import CLEAN, STOPPED, RoleContext
from minibot.runtime.deployment.unchanged import detail_of
from minibot.runtime.runfiles import RUN_FILES, RunFiles
from minibot.runtime.stop import StopRecord
from minibot.watchdog.child import Child

STOP_S = 1.0
"""How long execution may take to end at a STOP; then it is killed."""
LOOK_S = 0.2
"""Time between two looks whether supervision waits for the disk."""


class Supervisor:
    """Supervisor of a run's children: judges their behaviour.

    Args:
        context: The launcher's own context.
        children: The children, by role name.
        changed_code: Returns the code on disk that differs from the run's beginning, or None.
        run_files: Guard of the run's folder; no role is restarted if its files have changed.
    """

    def __init__(
        self,
        context: RoleContext,
        children: Mapping[str, Child],
        changed_code: Callable[[], str | None] = lambda: None,
        run_files: RunFiles | None = None,
    ) -> None:
        self.context = context
        self._changed_code = changed_code
        self._run_files = run_files
        self.children = dict(children)
        self.epoch = 1  # A role ignores a lease with a lower one than it has had.
        self.ai_off = AI_ROLE not in self.children
        self.drained: set[str] = set()
        self._over_memory: dict[str, str] = {}
        self._leased_ns = 0
        self._rearmed_ns = 0
        self._limits = context.config.watchdog

    def start(self) -> StopRecord | None:
        """Start the roles, downstream first; return a STOP if the system refuses a process."""
        for name in self.context.roles.start_order:
            child = self.children.get(name)
            if child is None:
                continue
            changed = self._code_stop(child)
            if changed is not None:
                return changed
            try:
                self._begin(child)
            except OSError as error:
                if name != AI_ROLE:
                    return StopRecord(
                        WATCHDOG_ROLE, ROLE_CRASH_LOOP, f"{name}: start failed: {error}"
                    )
                self.switch_ai_off(f"{name} start failed: {error}")
                continue
            self._lease(child)
        return None

    def _begin(self, child: Child) -> None:
        """Start a process with the list of files that it has to find in the run's folder."""
        if self._run_files is not None:
            child.environ[RUN_FILES] = self._run_files.text
        child.start()

    def lease(self) -> None:
        """Send every child, once a second, the lease without which execution takes no input.

        A child gets its first lease at once when it is started, and again when it is restarted.
        """
        moment = machine_ns()
        if moment - self._leased_ns >= LEASE_INTERVAL_MS * NS_PER_MS:
            self._leased_ns = moment
            for child in self.children.values():
                self._lease(child)

    def _lease(self, child: Child) -> None:
        child.send(f"{LEASE} {suspend_ns()} {self.epoch}")

    def check(self) -> StopRecord | None:
        """Check every role once; restart those that may be; return a STOP or None."""
        for name, child in self.children.items():
            if name in self.drained:
                continue
            code = child.final_code()
            record = self.ended(child, code) if code is not None else self._alive(child)
            if record is not None:
                return record
        return None

    def ended(self, child: Child, code: int) -> StopRecord | None:
        """Judge the end of a role: restart it after a crash, or return a STOP.

        A role that reported a STOP stops the run, the AI too. Once its budget is spent, a crash is
        STOP(ROLE_CRASH_LOOP), and one by a kill for its memory STOP(ROLE_MEMORY). The AI has
        another budget, `ai.restarts_max` in the whole run; then it is switched off.
        """
        if child.name == AI_ROLE and self.ai_off:
            return None
        if code == CLEAN and child.name in self.drained:
            return None
        if child.reported_stop is not None or code == STOPPED:
            reason_code, detail = child.reported_stop or ("", "")
            return StopRecord(child.name, reason_code or ROLE_CRASH_LOOP, detail or f"exit {code}")
        over_memory = self._over_memory.pop(child.name, None)
        if over_memory is not None:
            return self._restart(child, over_memory, ROLE_MEMORY)
        return self._restart(child, f"ended with exit code {code}", ROLE_CRASH_LOOP)

    def _restart(self, child: Child, why: str, reason_code: str) -> StopRecord | None:
        changed = self._code_stop(child)
        if changed is not None:
            return changed
        limits = self._limits
        damaged = None if self._run_files is None else self._run_files.changed()
        if damaged is not None:  # No role is ever started on another run's files.
            return StopRecord(WATCHDOG_ROLE, RUN_FILE_CHANGED, damaged)
        if child.name == AI_ROLE:
            if child.restarts >= self.context.config.ai.restarts_max:
                self.switch_ai_off(f"{child.name} {why}; restart budget spent")
                return None
        elif not child.may_restart(limits.restarts_max_60s, limits.restarts_max_300s):
            count = len(child.restarts_ns)
            detail = f"{child.name} {why}; {count} restart{'' if count == 1 else 's'} in 300 s"
            return StopRecord(WATCHDOG_ROLE, reason_code, detail)
        if child.name == AI_ROLE:
            child.count_restart()
        self.context.incident("ROLE_RESTARTED", f"{child.name} {why}; restarted")
        try:
            self._begin(child)
        except OSError as error:
            if child.name == AI_ROLE:
                self.switch_ai_off(f"{child.name} {why}; restart failed: {error}")
                return None
            return StopRecord(
                WATCHDOG_ROLE, ROLE_CRASH_LOOP, f"{child.name}: restart failed: {error}"
            )
        self._lease(child)
        return None

    def _code_stop(self, child: Child) -> StopRecord | None:
        """Return a STOP if a start would load other code than at the run's beginning."""
        changed = self._changed_code()
        if changed is None:
            return None
        return StopRecord(WATCHDOG_ROLE, CODE_CHANGED, detail_of(child.name, changed))

    def switch_ai_off(self, why: str) -> None:
        """Switch the AI off and continue: an end, hang or lag of it does not stop trading by rules.

        A second call changes nothing: a killed process takes a while to end.

        Args:
            why: The trouble of `ai_role`, for the record.
        """
        if self.ai_off:
            return
        self.ai_off = True
        self.drained.add(AI_ROLE)
        self.children[AI_ROLE].kill()
        self.context.incident("AI_OFF", f"{why}; the night goes on without it")

    def _alive(self, child: Child) -> StopRecord | None:
        """Judge a running role: hung, in a disk call for too long, or too far behind.

        In each of these cases the AI is switched off instead of stopping the run. A role that has
        not begun its loop is judged only by `_starting`.
        """
        limits = self._limits
        if child.is_starting:
            return self._starting(child)
        heartbeat = child.heartbeat  # Only now: the one before the first has no fields.
        hung_ms = limits.hung_execution_ms if child.name == EXECUTION_ROLE else limits.hung_ms
        if child.silent_ms() > hung_ms:
            # Heartbeats come from a thread that no disk can block: a silent process is frozen, even
            # if its last heartbeat named a sync that had begun.
            return self._hung(child, f"has not been heard for {child.silent_ms()} ms")
        sync_ns = heartbeat["sync_ns"]
        if sync_ns:
            synced_ms = (machine_ns() - max(sync_ns, self._rearmed_ns)) // NS_PER_MS
            if synced_ms > self.context.config.queues.sync_ms_max:
                return self._lags(child, f"{child.name}: a sync takes {synced_ms} ms")
            # A turn of many short syncs is bounded too: a heartbeat shows only one of them.
            if child.turn_ms() > self.context.config.queues.sync_ms_max + hung_ms:
                detail = f"{child.name}: a turn with syncs takes {child.turn_ms()} ms"
                return self._lags(child, detail)
            return None
        if child.quiet_ms() > hung_ms:
            return self._hung(child, f"has not turned its loop for {child.quiet_ms()} ms")
        if heartbeat["waiting"] and child.stuck_ms() > hung_ms:
            return self._hung(child, f"has not moved for {child.stuck_ms()} ms while inputs wait")
        if heartbeat["waiting"] > self.context.config.queues.backlog_max:
            return self._lags(child, f"{child.name} is {heartbeat['waiting']} events behind")
        return None

    def _starting(self, child: Child) -> StopRecord | None:
        """Judge a role that has not begun its loop: it may be slow for long, but not frozen.

        A frozen one uses no CPU at all: for every role the shorter limit for a hung one is enough.
        """
        limits = self._limits
        still_ms = child.still_ms()
        if still_ms > min(limits.hung_ms, limits.hung_execution_ms):
            what = f"froze while it started: no heartbeat, no work for {still_ms} ms"
            return self._hung(child, what)
        if child.age_ms() > limits.starting_ms_max:
            return self._hung(child, f"is still starting after {child.age_ms()} ms")
        return None

    def draining(self, child: Child) -> StopRecord | None:
        """Judge a role that drains: it may take long, but a frozen one would never end.

        Its last heartbeat comes a little before its process ends, so both measures are used, and
        the longer of the two limits for a hung role. One that was restarted meanwhile is judged by
        `_starting` until it has begun its loop.
        """
        if child.is_starting:
            return self._starting(child)
        limits = self._limits
        still_ms = child.still_ms()
        if still_ms > max(limits.hung_ms, limits.hung_execution_ms):
            what = f"froze while it drained: no heartbeat, no work for {still_ms} ms"
            return self._hung(child, what)
        return None

    def are_all_there(self) -> bool:
        """True if every role sends heartbeats now, and those that trade have begun their loops.

        For the AI a heartbeat is enough: the time to load a model does not delay trading. Market
        reports by itself when it is ready.
        """
        heard_ms = 2 * self._limits.heartbeat_interval_ms
        return all(
            bool(child.heartbeat)
            and child.silent_ms() <= heard_ms
            and (not child.is_starting or name not in self.context.roles.cores)
            for name, child in self.children.items()
            if name not in self.drained
        )

    def _hung(self, child: Child, what: str) -> StopRecord | None:
        """Return STOP(ROLE_HUNG); for the AI, switch it off and return None."""
        detail = f"{child.name} {what}"
        if child.name == AI_ROLE:
            self.switch_ai_off(detail)
            return None
        return StopRecord(WATCHDOG_ROLE, ROLE_HUNG, detail)

    def _lags(self, child: Child, detail: str) -> StopRecord | None:
        """Return STOP(CONSUMER_LAG); for the AI, switch it off and return None."""
        if child.name == AI_ROLE:
            self.switch_ai_off(detail)
            return None
        return StopRecord(WATCHDOG_ROLE, CONSUMER_LAG, detail)

    def rearm(self) -> None:
        """Restart the time limits of every role now, after a pause of the whole run."""
        self._rearmed_ns = machine_ns()
        for child in self.children.values():
            child.rearm()

    def check_memory(self) -> None:
        """Check the memory of every role at each turn: it may grow by a gigabyte in a second."""
        used = {name: child.rss_bytes() for name, child in self.children.items()}
        self.kill_over_memory({name: rss for name, rss in used.items() if rss is not None})

    def kill_over_memory(self, rss_bytes: Mapping[str, int]) -> None:
        """Kill a role whose resident memory exceeds the limit; `ended` judges it as a crash.

        Over its budget this is STOP(ROLE_MEMORY); the AI, which has its own, is switched off then.
        """
        limit = self._limits.rss_mb_max * 1024 * 1024
        for name, rss in rss_bytes.items():
            child = self.children.get(name)
            if name in self._over_memory:
                continue  # Killed already; a large process takes a while to end.
            if child is not None and rss > limit and child.is_running:
                self._over_memory[name] = f"held {rss} bytes of memory, {limit} allowed"
                self.context.incident(ROLE_MEMORY, f"{name} {self._over_memory[name]}; killed")
                child.kill()

    # --- ends ---------------------------------------------------------------------------------

    def stop_all(self) -> None:
        """End every role at once, execution first; kill those that do not end by themselves.

        The threads that send leases have ended before. The epoch rises for a lease that should be
        sent all the same; a role does not learn of it here.
        """
        self.epoch += 1
        execution = self.children.get(EXECUTION_ROLE)
        if execution is not None:
            execution.send(STOP)
            if not execution.wait(STOP_S):
                execution.kill()
                execution.wait(5.0)
        rest = [child for child in self.children.values() if child is not execution]
        for child in rest:
            child.send(STOP)
        deadline = machine_ns() + 2_000 * NS_PER_MS
        for child in rest:
            left_s = max(0.0, (deadline - machine_ns()) / 1e9)
            if not child.wait(left_s):
                child.kill()
                child.wait(5.0)

    def close(self) -> None:
        """Close the channels of roles that have ended: merge and seal need the descriptors."""
        for child in self.children.values():
            child.close_input()

    def begin_drain(self, name: str) -> None:
        """Tell one role to process its backlog and end."""
        self.drained.add(name)
        self.children[name].send(DRAIN)


class DiskLeases:
    """Leases while the supervising thread waits for the disk, which no role may have to pay for.

    Orders and ends are journaled durably in a turn of supervision; on a slow disk that takes longer
    than execution goes without a lease. A thread sends it meanwhile.

    Args:
        lease: Sends every child its lease, see `Supervisor.lease`.
        wait_ms_max: Longest turn for which it does, wall-clock time: `queues.sync_ms_max`.
    """

    def __init__(self, lease: Callable[[], None], wait_ms_max: int) -> None:
        self._lease = lease
        self._wait_ns_max = wait_ms_max * NS_PER_MS
        self._supervising = threading.get_ident()
        self._turned_ns = machine_ns()
        self._ended = threading.Event()
        self._thread = DaemonThread(self._work, "leases")

    def start(self) -> StopRecord | None:
        """Start the thread; return a STOP if the system provides none."""
        try:
            self._thread.start()
        except RuntimeError as error:
            detail = f"{WATCHDOG_ROLE}: no leases beside it: {error}"
            return StopRecord(WATCHDOG_ROLE, ROLE_CRASH_LOOP, detail)
        return None

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def turn(self) -> None:
        """Note that a turn begins; only the supervising thread calls this."""
        self._turned_ns = machine_ns()

    def look(self) -> None:
        """Send leases if the supervising thread is in a disk call, and its turn is not too long."""
        is_short = machine_ns() - self._turned_ns <= self._wait_ns_max
        if is_short and DISK_CALLS.has(self._supervising):
            self._lease()

    def _work(self) -> None:
        while not self._ended.wait(LOOK_S):
            self.look()
