"""Role context: the run, clock, queues and channels of a role, and the way to stop.

A role's module has `main(context) -> int`. Connections to the exchange, the AI's worker and files
that mirror queues are no part of the context: the roles open them themselves.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

# Imported at the start: the kernel imports it at its first lock, which might follow a fault.
import portalocker  # noqa: F401  see above
import psutil

from minibot.events.codec import Codec
from minibot.events.ids import position_id, position_ids
from minibot.events.model import Event, Health, Incident, Payload
from minibot.events.names import AI_ROLE, HEALTH, INCIDENTS, STOP_JOURNAL
from minibot.events.registry import Contracts
from minibot.events.roles import Roles, RoleSpec
from minibot.kernel.errors import RunStop
from minibot.kernel.journal import JournalReader, JournalWriter, Position
from minibot.kernel.queue import open_reader, open_writer
from minibot.runtime.channels import Control, Heartbeat, start_control
from minibot.runtime.clock import RunClock, machine_ns
from minibot.runtime.configuration.config import Config, config_of_manifest
from minibot.runtime.deadletters import DeadLetters
from minibot.runtime.fault_injection import PlantedFaults
from minibot.runtime.log import Log
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import PROJECT, Var
from minibot.runtime.runfiles import RUN_FILES, require
from minibot.runtime.secrets import load_secrets
from minibot.runtime.stop import (
    StopRecord,
    arm,
    raise_flag,
    release_reserve,
    stop_id,
)

CLEAN = 0
STOPPED = 10
CRASHED = 11
ORPHANED = 12

# Interval of a role's reports on its health.
HEALTH_MARKET_MS = 10_000
# How long a role waits for input at a time.
WAIT_S = 0.1


@dataclass(slots=True)
class Output:
    """Output of a role: a queue, or its part of a shared queue.

    Each event is validated against its contract and the role x type table before it is written.
    """

    queue: str
    role: str
    run_id: str
    cmdline_hash: str
    codec: Codec
    writer: JournalWriter
    planted: PlantedFaults | None = None

    def append(self, events: Sequence[Event]) -> int:
        """Append and publish events; return the first's seq.

        On return they are durable, except in `recommendations`, `health` and `incidents`.
        """
        return self.writer.append_json(self._planted(self.codec.encode_all(self.queue, events)))

    def write(self, events: Sequence[Event]) -> None:
        """Write events that `writer.publish` will publish; see `JournalWriter.write_json`."""
        self.writer.write_json(self._planted(self.codec.encode_all(self.queue, events)))

    def _planted(self, jsons: list[bytes]) -> list[bytes]:
        if self.planted is None:
            return jsons
        return [self.planted.written(self.role, self.queue, json) for json in jsons]

    def roots(
        self, payloads: Sequence[tuple[Payload, int]], first: int | None = None
    ) -> list[Event]:
        """Return events without an input for (payload, ts): ids from queue name and position.

        `first` is the seq of the first of them; by default the next one to be written.
        """
        first = self.writer.position.seq + 1 if first is None else first
        return [
            Event(
                ts=ts,
                id=position_id(self.run_id, self.role, self.queue, first + index),
                source=self.role,
                run_id=self.run_id,
                cmdline_hash=self.cmdline_hash,
                payload=payload,
            )
            for index, (payload, ts) in enumerate(payloads)
        ]

    def append_roots(self, payloads: Sequence[tuple[Payload, int]]) -> int:
        """Append events without an input, given as (payload, ts), all at once like `append`."""
        if not payloads[1:]:
            return self.append(self.roots(payloads))
        return self.writer.append_json(self._planted(self.root_lines(payloads)))

    def root_lines(self, payloads: Sequence[tuple[Payload, int]]) -> list[bytes]:
        """Return the lines of events without an input; runs of one type are encoded at once."""
        first = self.writer.position.seq + 1
        jsons: list[bytes] = []
        for _, group in groupby(payloads, _type_of):
            part, at = list(group), first + len(jsons)
            ids = position_ids(self.run_id, self.role, self.queue, at, len(part))
            lines = self.codec.encode_roots(self.queue, self.role, self.cmdline_hash, ids, part)
            if lines is None:
                lines = self.codec.encode_all(self.queue, self.roots(part, at))
            jsons += lines
        return jsons


def _type_of(root: tuple[Payload, int]) -> type[Payload]:
    return type(root[0])


def to_stderr(line: str) -> None:
    """Write one line to standard error; it is lost if that is closed, or a file on a full disk."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


class RoleContext:
    """Context of a role's process: all that it shares with its run.

    Attributes:
        syncs_parts: Whether `sync_parts` may sync; not in the launcher, whose second thread syncs
            the copies of its parts in the inboxes.
        is_flag_refused: True once `stop` could not raise the flag.
        print_line: Writes one line to standard error; in the launcher, once its live table has
            ended.
    """

    def __init__(self, name: str, run_dir: Path, control: Control, heartbeat: Heartbeat) -> None:
        self.name = name
        self.run_dir = run_dir
        self.var = Var(run_dir.parents[1])
        self.manifest = Manifest.load(run_dir)
        self.run_id = self.manifest.run_id
        self.config: Config = config_of_manifest(self.manifest.config)
        self.clock = RunClock(run_dir, self.manifest.clock_origin_ms, self.manifest.clock_speed)
        self.roles = Roles.of_project()
        self.spec: RoleSpec = self.roles.roles[name]
        contracts = Contracts.of_project()
        self.codec = Codec(
            contracts, self.roles, self.run_id, self.manifest.cmdline_hashes(), component=name
        )
        self.cmdline_hash = self.manifest.processes[name].cmdline_hash
        self.planted = PlantedFaults.of(self.config.chaos)
        self.control = control
        self.heartbeat = heartbeat
        heartbeat.interval_s = self.config.watchdog.heartbeat_interval_ms / 1000
        if name != AI_ROLE:  # The AI's clerk needs no secret, so it gets none.
            load_secrets(self.config.secrets.path, PROJECT, os.environ)
        logging = self.config.logging
        self.log = Log(
            name,
            self.var.logs,
            file_bytes_max=logging.file_bytes_max,
            files_max=logging.files_max,
            level=logging.level,
            run_id=self.run_id,
        )
        self._started_ns = machine_ns()
        self._process = psutil.Process()
        self._postponed: set[str] = set()
        self._outputs: dict[str, Output] = {}
        self._recoveries: list[tuple[str, int, int]] = []
        self._part_synced_ns = 0
        self.syncs_parts = True
        self.is_flag_refused = False
        self.print_line: Callable[[str], None] = to_stderr
        arm(self.var.stop, self.run_id, name)
        self._stop_output = self._open(STOP_JOURNAL, sync=True)
        self._parts = {
            queue: self._open(queue, sync=False)
            for queue in self.spec.writes
            if self.roles.queues[queue].parts and queue != STOP_JOURNAL
        }

    def _open(self, queue: str, *, sync: bool) -> Output:
        is_part = self.roles.queues[queue].parts
        writer = open_writer(
            self.var.queues,
            queue,
            part=self.name if is_part else None,
            sync=sync,
            segment_bytes=self.config.queues.segment_bytes,
            line_bytes_max=self.config.queues.line_bytes_max,
        )
        recovered = writer.recovered
        if recovered.cut_bytes:
            # Journaled once the incidents part is open, see `report_recovery`.
            self._recoveries.append((queue, recovered.kept_lines, recovered.cut_bytes))
        return Output(
            queue, self.name, self.run_id, self.cmdline_hash, self.codec, writer, self.planted
        )

    def open_output(self, queue: str) -> Output:
        """Return the output for a queue that this role may write, opened once per process."""
        if queue not in self._outputs:
            sync = queue != "recommendations"
            self._outputs[queue] = self._open(queue, sync=sync)
            self.report_recovery()
        return self._outputs[queue]

    def open_input(self, queue: str, start: Position | None = None) -> JournalReader:
        """Return a reader of a queue's published lines, from a position or from the beginning."""
        if start is None:
            return open_reader(self.var.queues, queue)
        return open_reader(self.var.queues, queue, start)

    def dead_letters(self, folders: Mapping[str, Path]) -> DeadLetters:
        """Return this role's dead letters; `folders` holds its reader folder for each input."""
        return DeadLetters(
            role=self.name,
            run_id=self.run_id,
            cmdline_hash=self.cmdline_hash,
            codec=self.codec,
            clock=self.clock,
            folders=folders,
        )

    def head_path(self, queue: str) -> Path:
        """Return the file to watch for new lines of a queue."""
        return self.var.queues / queue / "inbox.head"

    def segment_path(self, queue: str) -> Path:
        """Return the file to which a queue's lines are written."""
        return self.var.queues / queue / "inbox.jsonl"

    def report_recovery(self) -> None:
        """Report once, by `incident`, the damage that recovery cut from a queue of this role."""
        while self._recoveries:
            queue, kept, cut = self._recoveries.pop()
            self.incident(
                "QUEUE_TAIL_REPAIRED",
                f"{queue}: kept {kept} whole lines, set {cut} bytes aside in quarantine",
            )

    def _report_postponed(self) -> None:
        """Journal, once for each queue, that another program keeps it from being rotated."""
        for queue, output in (*self._outputs.items(), *self._parts.items()):
            if output.writer.rotations_postponed and queue not in self._postponed:
                self._postponed.add(queue)
                self.incident(
                    "ROTATION_POSTPONED",
                    f"{queue}: another program holds the file; its segment grows meanwhile",
                )

    def uptime_s(self) -> int:
        """Return whole wall-clock seconds since this process started its role."""
        return (machine_ns() - self._started_ns) // 1_000_000_000

    def health(self, state: str, **fields: Any) -> None:
        """Append one `health` event of this role with its process figures."""
        is_news, self.heartbeat.state = state != self.heartbeat.state, state
        self._report_postponed()
        output = self._parts[HEALTH]
        payload = Health(
            role=self.name,
            state=state,
            uptime_s=self.uptime_s(),
            turns=self.heartbeat.turns,
            degraded=self.manifest.degraded,
            **self._process_figures(),
            **fields,
        )
        output.append_roots([(payload, self.clock.now_ms())])
        self.sync_parts()
        if is_news:
            self.heartbeat.send()

    def _process_figures(self) -> dict[str, Any]:
        with self._process.oneshot():
            cpu = self._process.cpu_times()
            return {
                "rss_bytes": self._process.memory_info().rss,
                "cpu_ms": int((cpu.user + cpu.system) * 1000),
                "open_files": _open_files(self._process),
                "threads": self._process.num_threads(),
            }

    def incident(self, kind: str, detail: str, **fields: Any) -> None:
        """Log an incident and append its event; `ai_role`, without an incidents part, only logs."""
        self.log.warning(kind, detail=detail)
        output = self._parts.get(INCIDENTS)
        if output is None:
            return
        payload = Incident(component=self.name, kind=kind, detail=detail[:2000], **fields)
        output.append_roots([(payload, self.clock.now_ms())])
        self.sync_parts()

    def sync_parts(self, *, now: bool = False) -> None:
        """Sync health and incidents: if `syncs_parts`, at most once a second; with `now` always."""
        moment = machine_ns()
        if not (now or self.syncs_parts):
            return
        if not now and moment - self._part_synced_ns < 1_000_000_000:
            return
        self._part_synced_ns = moment
        for output in self._parts.values():
            output.writer.sync()

    def stop(self, record: StopRecord) -> int:
        """Stop the run: flag, then event, then message to the launcher; return the exit code.

        The exit code is STOPPED, or CRASHED if the event could not be written. The flag comes first
        because it needs no space. A step that fails does not prevent the next ones, down to the
        line on standard error and the one in the log.
        """
        code = STOPPED
        event = None
        self._raise_flag()
        try:
            event = self.stop_event(record)
            self._stop_output.append([event])
        except (OSError, RunStop) as error:
            self.print_line(f"stop_journal could not be written: {error}")
            code = CRASHED
        self.heartbeat.send(stopped=record.reason_code, detail=record.text)
        self.print_line(f"STOP {record.reason_code}: {record.detail}")
        self.log.error("stop", event=event, reason_code=record.reason_code, detail=record.detail)
        return code

    def stop_event(self, record: StopRecord) -> Event:
        """Return the event of this role's STOP; its id was fixed in advance."""
        return Event(
            ts=self._stop_ts(),
            id=stop_id(self.run_id, self.name),
            source=self.name,
            run_id=self.run_id,
            cmdline_hash=self.cmdline_hash,
            payload=record.payload(),
        )

    def _raise_flag(self) -> None:
        """Raise the flag, and release the reserve even if that fails.

        If even a name needs space (a link costs a tmpfs an inode), the reserve provides it.
        """
        for is_last in (False, True):
            failure: OSError | RunStop | None = None
            try:
                raise_flag(self.var.stop, self.var.flag, self.name)
            except (OSError, RunStop) as error:
                failure = error
            release_reserve(self.var.stop, self.name)
            if failure is None:
                return
            if is_last:
                self.is_flag_refused = True
                self.print_line(f"STOP.flag could not be raised: {failure}")

    def _stop_ts(self) -> int:
        """Return market time, or the run's origin if the clock cannot be read.

        The clock's file is read on first use, which may be now, when no descriptor is left.
        """
        try:
            return self.clock.now_ms()
        except (OSError, RunStop):
            return self.manifest.clock_origin_ms

    def journal(self, record: StopRecord) -> None:
        """Append a planned END to the role's own part of `stop_journal`."""
        self._stop_output.append_roots([(record.payload(), self.clock.now_ms())])

    def close_outputs(self) -> None:
        """Sync and close every queue and part that this role writes; raise a failure at the end.

        Raises:
            RunStop: The first failure; all the others are closed nevertheless.
        """
        failure: RunStop | None = None
        for output in (*self._outputs.values(), *self._parts.values(), self._stop_output):
            try:
                output.writer.close()
            except RunStop as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def close(self, state: str, **fields: Any) -> None:
        """Journal the last state, then sync and close all that this role holds."""
        self.health(state, **fields)
        self.close_outputs()
        self.heartbeat.send()
        self.heartbeat.end()
        self.log.close()


if sys.platform == "win32":

    def _open_files(process: psutil.Process) -> int:
        return process.num_handles()

else:

    def _open_files(process: psutil.Process) -> int:
        return process.num_fds()


def open_context(name: str, run_dir: Path, heartbeat: Heartbeat) -> RoleContext:
    """Return the context of a role's process, with its control channel running."""
    require(run_dir, os.environ.get(RUN_FILES, ""))
    return RoleContext(name, run_dir, start_control(lambda: None), heartbeat)
