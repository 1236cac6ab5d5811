"""Stage for the watchdog's parts: a run's folders and queues, and small actors as roles.

Queues, codec, contexts and processes are real. An actor only uses a role's channels, so that a test
can have a role that spins, hangs, falls behind or dies.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from minibot.cores.input_order import LineSource
from minibot.events.codec import Codec
from minibot.events.model import Event, Incident, JsonObject, Payload, StopJournal
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel import canonical
from minibot.kernel.journal import JournalReader
from minibot.kernel.queue import make_queue, open_reader, open_writer
from minibot.runtime.channels import Control, SilentHeartbeat
from minibot.runtime.clock import CLOCK_FILE, clock_content
from minibot.runtime.configuration.config import load_config
from minibot.runtime.context import Output, RoleContext
from minibot.runtime.manifest import MANIFEST_FILE, Manifest
from minibot.runtime.paths import PROJECT, Var
from minibot.runtime.runfiles import RunFiles
from minibot.watchdog.child import Child
from minibot.watchdog.run_manifest import child_environ, role_argv
from minibot.watchdog.supervisor import Supervisor
from tests.manifests import made_manifest

RUN_ID = "20251120_000000"
START_TS = 1_763_596_800_000
WATCHDOG = "watchdog_role"
ROLES = ("execution_role", "risk_role", "strategy_role", "ai_role", "market_role")

ACTOR = """
import json, os, sys, threading, time
name, how = sys.argv[1], sys.argv[2]
turns = position = leases = 0
last = threading.Event()
def say(**fields):
    fields = {"role": name, "state": "READY", "turns": turns, "position": position, "waiting": 0,
              "sync_ns": 0, "market_ready": False, "facts": {}, **fields}
    print(json.dumps(fields, sort_keys=True, separators=(",", ":")), flush=True)
def listen():
    global leases
    for line in sys.stdin:
        leases += line.startswith("lease")
        if line.startswith("stop") and how != "deaf":
            last.code = 10
            last.set()
        if line.startswith("drain") and how == "dies_once" and not os.path.exists(sys.argv[3]):
            open(sys.argv[3], "x").close()
            os._exit(11)
        if line.startswith("drain") and how != "undrainable":
            last.code = 0
            last.set()
    last.code = 12
    last.set()
last.code = 0
threading.Thread(target=listen, daemon=True).start()
if how == "dead":
    sys.exit(11)
if how == "stopped":
    say(stopped="QUEUE_CORRUPT", detail="line 7")
    sys.exit(10)
if how == "importing":
    while not last.is_set():
        pass
while not last.wait(0.05):
    if how == "starting":
        say(state="STARTING")
    elif how == "ready":
        turns += 1
        say(market_ready=True)
    elif how == "leased":
        turns += 1
        say(facts={"leases": leases})
    elif how == "silent":
        pass
    elif how == "spinning":
        say()
    elif how == "stuck":
        turns += 1
        say(waiting=5)
    elif how == "behind":
        turns += 1
        position += 1
        say(waiting=10**9)
    elif how == "syncing":
        say(sync_ns=1)
    elif how == "syncing_on":
        say(sync_ns=time.monotonic_ns())
    elif how == "frozen_in_sync":
        if not turns:
            turns = 1
            say(sync_ns=time.monotonic_ns())
    elif how.startswith("flat"):
        turns += 1
        say(facts={"open_orders": 0, "open_positions": [], "now": int(how.split()[1])})
    else:
        turns += 1
        position += 1
        say()
sys.exit(last.code)
"""

Found = TypeVar("Found")


def _jsons(reader: JournalReader) -> list[bytes]:
    source, found = LineSource(reader), []
    while (line := source.next()) is not None:
        found.append(line.json)
    reader.close()
    return found


class Stage:
    """One run's `var` with empty queues, and the launcher's own context on it."""

    def __init__(self, root: Path, sets: Sequence[str] = (), *, has_clock: bool = True) -> None:
        self.var = Var(root)
        self.run_dir = self.var.run(RUN_ID)
        self.run_dir.mkdir(parents=True, mode=0o700)
        for folder in (self.var.stop, self.var.requests, self.var.logs, self.var.metrics):
            folder.mkdir(mode=0o700)
        self.config = load_config(PROJECT / "config" / "nore-smoke.v1.json", sets, {})
        self.roles = Roles.load(PROJECT / "config" / "roles.v1.json")
        self.contracts = Contracts.of_project()
        self.manifest = self._manifest()
        self.run_files = RunFiles(self.run_dir)
        self.run_files.put_hashed(MANIFEST_FILE, self.manifest.to_json())
        if has_clock:
            self.run_files.put_hashed(CLOCK_FILE, clock_content(START_TS, "1"))
        for name, entry in self.roles.queues.items():
            parts = self.roles.writers(name) if entry.parts else ()
            make_queue(self.var.queues, name, entry.primary_reader, parts=parts)
        self.codec = Codec(self.contracts, self.roles, RUN_ID, self.manifest.cmdline_hashes())

    def _manifest(self) -> Manifest:
        commands = {role: role_argv(role, self.run_dir) for role in self.roles.roles}
        return made_manifest(RUN_ID, self.config.raw, commands, START_TS)

    def context(self) -> RoleContext:
        """Return the launcher's context; it holds the locks of its parts until closed."""
        context = RoleContext(WATCHDOG, self.run_dir, Control(), SilentHeartbeat(WATCHDOG))
        context.syncs_parts = False
        return context

    def part(self, queue: str, role: str, *, sync: bool = True) -> Output:
        """Return a role's own part of a shared queue, open for writing."""
        writer = open_writer(self.var.queues, queue, part=role, sync=sync)
        hash_ = self.manifest.processes[role].cmdline_hash
        return Output(queue, role, RUN_ID, hash_, self.codec, writer)

    def leave_stop(
        self, role: str, reason_code: str, detail: str = "because", **kind: str
    ) -> Event:
        """Journal a STOP in a role's own part."""
        output = self.part("stop_journal", role)
        payload = StopJournal(
            component=role, reason_code=reason_code, detail=detail, kind=kind.get("kind", "STOP")
        )
        events = output.roots([(payload, START_TS)])
        output.append(events)
        output.writer.close()
        return events[0]

    def leave_incidents(self, role: str, count: int) -> None:
        """Journal incidents in a role's own part."""
        output = self.part("incidents", role)
        payloads: list[tuple[Payload, int]] = [
            (Incident(component=role, kind="tested", detail=f"number {n}"), START_TS + n)
            for n in range(count)
        ]
        output.append_roots(payloads)
        output.writer.close()

    def leave_broken_incident(self, role: str) -> None:
        """Journal an incident without payload in a role's own part."""
        output = self.part("incidents", role)
        (event,) = output.roots([(Incident(component=role, kind="tested", detail="x"), START_TS)])
        output.writer.append_json([canonical.encode({**event.to_json(), "payload": {}})])
        output.writer.close()

    def lines(self, queue: str, part: str | None = None) -> list[bytes]:
        """Return the JSON of every line of a queue, or of a role's part of it."""
        return _jsons(open_reader(self.var.queues, queue, part=part))

    def envelopes(self, queue: str, part: str | None = None) -> list[JsonObject]:
        """Return every envelope of a queue, or of a role's part of it."""
        return [self.codec.decode(queue, json).to_json() for json in self.lines(queue, part)]

    def acks(self, queue: str) -> list[JsonObject]:
        """Return every range in the input log beside a queue."""
        jsons = _jsons(JournalReader(self.var.queues / queue, "acks"))
        return [self.codec.decode(f"{queue}/acks", json).to_json() for json in jsons]

    def dead_letters(self, queue: str) -> list[JsonObject]:
        """Return the dead letters of a queue's primary reader."""
        jsons = _jsons(JournalReader(self.var.queues / queue, "deadletter"))
        envelopes = [self.codec.decode(f"{queue}/deadletter", json).to_json() for json in jsons]
        return [envelope["payload"] for envelope in envelopes]

    def actors(self, hows: Mapping[str, str]) -> dict[str, Child]:
        """Return an actor for each role, well-behaved unless `hows` differs; none is started."""
        script = self.var.root / "actor.py"
        script.write_text(ACTOR)
        return {
            name: Child(
                name,
                [
                    *(sys.executable, "-S", "-E", str(script), name),
                    *(hows.get(name, "well"), str(self.var.root / f"{name}.died")),
                ],
                self.var.logs / f"{name}.err.log",
                child_environ({}),
            )
            for name in ROLES
        }


class Watched:
    """Supervisor over actors of a stage; a subclass makes the three parts."""

    stage: Stage
    context: RoleContext
    supervisor: Supervisor

    def incidents(self) -> list[str]:
        """Return the recorded incidents."""
        self.context.sync_parts(now=True)
        found = self.stage.envelopes("incidents", "watchdog_role")
        return [envelope["payload"]["kind"] for envelope in found]

    def end(self) -> None:
        """End every process and close the journals."""
        for child in self.supervisor.children.values():
            child.kill()
            child.wait(5.0)
        self.context.close_outputs()
