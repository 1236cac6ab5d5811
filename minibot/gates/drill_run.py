"""Drill run: one real short run, started as an operator starts it, watched, disturbed, ended.

The module knows no fault. It starts `minibot.nore_run_v1` on its own `var`, waits for
conditions (never for a time), finds the processes of the run, and notes when STOP.flag appeared and
how much execution had written a second later.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import filelock

from minibot.cores.input_order import LineSource
from minibot.events.model import JsonObject
from minibot.events.names import AI_ROLE, EXECUTION_ROLE
from minibot.events.roles import Roles
from minibot.gates.drill_processes import OWN_GROUP, DrillProcesses, interrupted, named, signalled
from minibot.gates.smoke_run import environ_of_gates
from minibot.kernel import canonical
from minibot.kernel.errors import MinibotError, Refusal, RunStop
from minibot.kernel.files import ensure_folder, read_hashed, write_atomic
from minibot.kernel.journal import JournalReader
from minibot.kernel.queue import open_reader, reader_folder
from minibot.runtime.clock import machine_ns
from minibot.runtime.configuration.config_files import read_profile
from minibot.runtime.interpreter import program, program_environ
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import PROJECT, Var
from minibot.runtime.request_file import leave_request
from minibot.runtime.running import RunLock, refuse_living
from minibot.simulator.server.remote import RunningExchange
from minibot.watchdog.requests import END

PROFILE: Final = PROJECT / "config" / "nore-smoke.v1.json"
TRADING_ROLES: Final = Roles.of_project().trading
EXECUTION_QUEUES: Final = Roles.of_project().outputs(EXECUTION_ROLE)
POLL_S: Final = 0.02
WAIT_S: Final = 60.0
# A stopped run has ended its roles, merged its queues and sealed by then, even on two busy CPUs.
END_S: Final = 60.0
ORPHAN_S: Final = 5.0
QUIET_NS: Final = 1_000_000_000
GOES_ON_LINES: Final = 300

Found = TypeVar("Found")


class NotInjected(MinibotError):
    """Drill failure: it did not reach its fault, or a condition never came true."""


class DrillRun:
    """Run of a drill: first its emptied `var` and its profile; `start` starts the launcher.

    Args:
        name: The fault's name; it is in the run's manifest, so that no report takes the run for a
            real night.
        var: The run's `var`; emptied first.
        sets: Dotted keys of the smoke profile that this drill changes.
        chaos: The profile's `chaos` section, to which the drill's name is added.
        shows: True if the live table runs too.

    Raises:
        NotInjected: Another run is using the `var`.
    """

    def __init__(
        self,
        name: str,
        var: Var,
        *,
        sets: Mapping[str, object],
        chaos: Mapping[str, object],
        shows: bool = False,
    ) -> None:
        self.name = name
        self.var = var
        self.sets = {**sets, "chaos": {"drill": name, **chaos}}
        self.shows = shows
        self.profile = var.root / "profile.json"
        self.exit_code: int | None = None
        self.injected_ns = 0
        self.flagged_ns = 0
        self.quiet_bytes: dict[str, int] | None = None
        self.complaints: list[str] = []
        self.launcher: subprocess.Popen[bytes] | None = None
        self.crew = DrillProcesses(var.root)
        empty(var)
        write_atomic(self.profile, _profile(self.sets))

    # --- start and end ------------------------------------------------------------------------

    def argv(self) -> list[str]:
        """Return the command line of the launcher."""
        argv = [program(), "-m", "minibot.nore_run_v1", "--config", str(self.profile)]
        argv += ["--var", str(self.var.root), "--no-proof"]
        if not self.shows:
            argv.append("--quiet")
        return argv

    def start(self) -> None:
        """Start the launcher and forget flag, exit code and quiet bytes of the run before.

        The run is up only when `wait_for_run` or `wait_for_trading` returns.
        """
        self.exit_code = None
        self.flagged_ns = 0
        self.quiet_bytes = None
        self.launcher = self.spawn(self.argv(), "launcher")
        self.crew.sessions.add(self.launcher.pid)

    def spawn(self, argv: Sequence[str], log: str) -> subprocess.Popen[bytes]:
        """Start a process of the drill in its own session; append its output to `LOG.out`.

        Variables `MINIBOT__...`, which would change its profile, are removed from its environment.
        """
        path = self.var.root / f"{log}.out"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        environ = environ_of_gates() | program_environ()
        try:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                env=environ,
                cwd=PROJECT,
                start_new_session=True,
                creationflags=OWN_GROUP,
            )
        finally:
            os.close(descriptor)

    def verb(self, *words: str) -> int:
        """Run `minibot VERB` on this var to its end and return its exit code.

        Raises:
            NotInjected: It has not ended after `WAIT_S` and was killed.
        """
        argv = [program(), "-m", "minibot", *words, "--var", str(self.var.root)]
        process = self.spawn(argv, words[0])
        try:
            return process.wait(WAIT_S)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise NotInjected(f"minibot {words[0]} did not come back") from error

    def output(self, log: str = "launcher") -> str:
        """Return the last 2000 characters that a process of the drill printed; empty for none."""
        path = self.var.root / f"{log}.out"
        return path.read_text(encoding="utf-8", errors="replace")[-2000:] if path.exists() else ""

    @property
    def launcher_pid(self) -> int:
        """The process id of the launcher; 0 before the first start."""
        return 0 if self.launcher is None else self.launcher.pid

    def interrupt(self) -> None:
        """Interrupt the launcher as Ctrl-C does; do nothing before the first start.

        Raises:
            FeatureMissing: This Windows has no console to send it.
        """
        if self.launcher is None:
            return
        interrupted(self.launcher)

    def ask_end(self) -> None:
        """Ask the run to end in order, by the same request as `minibot stop`."""
        leave_request(self.var.requests, self.run_id, END, who="chaos", why=f"chaos {self.name}")

    def watch_end(self, timeout_s: float = END_S) -> None:
        """Watch by `look` until the launcher has ended.

        Raises:
            NotInjected: The launcher has not ended after `timeout_s`; it is not killed here.
        """
        deadline = machine_ns() + int(timeout_s * 1e9)
        while not self.look():
            if machine_ns() > deadline:
                raise NotInjected(f"the run has not ended within {timeout_s:.0f} s")
            time.sleep(POLL_S)

    def look(self) -> bool:
        """Note flag, quiet bytes and exit code once each; return True if the launcher has ended.

        Quiet bytes: the sizes of execution's queues, taken `QUIET_NS` after STOP.flag was seen.
        """
        moment = machine_ns()
        if not self.flagged_ns and os.path.lexists(self.var.flag):
            self.flagged_ns = moment
        if self.flagged_ns and self.quiet_bytes is None and moment - self.flagged_ns >= QUIET_NS:
            self.quiet_bytes = {
                queue: inbox_bytes(self.var.queues, queue) for queue in EXECUTION_QUEUES
            }
        if self.exit_code is None and self.launcher is not None:
            self.exit_code = self.launcher.poll()
        return self.exit_code is not None

    # --- conditions ---------------------------------------------------------------------------

    def wait_for(
        self,
        what: str,
        condition: Callable[[], Found | None],
        *,
        until_end: bool = False,
    ) -> Found:
        """Return the condition's value once it is neither None nor False; 0 counts as a value.

        Args:
            what: The condition in words, for the message.
            condition: Called every `POLL_S`.
            until_end: Ask on after the launcher's end, until `WAIT_S` are over.

        Raises:
            NotInjected: The condition did not come true within `WAIT_S`, or the launcher ended
                before and `until_end` is False.
        """
        deadline = machine_ns() + int(WAIT_S * 1e9)
        while True:
            found = condition()
            if found is not None and found is not False:
                return found
            if self.look() and not until_end:
                raise NotInjected(f"the run ended (exit {self.exit_code}) before {what}")
            if machine_ns() > deadline:
                raise NotInjected(f"{what}: not within {WAIT_S:.0f} s")
            time.sleep(POLL_S)

    def wait_for_run(self) -> None:
        """Wait until the run has its manifest and every trading role has a process."""
        self.wait_for("the run's manifest", lambda: self._has_manifest() or None)
        for role in TRADING_ROLES:
            self.wait_for(role, partial(self.role_pid, role))

    def wait_for_trading(self) -> None:
        """Wait for the run's roles and then for its first published fill."""
        self.wait_for_run()
        self.wait_for("the first fill", lambda: self.lines("fills") > 0)

    def wait_to_go_on(self) -> None:
        """Wait until all counts of `moved` have grown, then for 300 more lines of market data."""
        before = self.moved()
        self.wait_for(
            "the run to go on",
            lambda: all(now > then for now, then in zip(self.moved(), before, strict=True)),
        )
        lines = self.lines("market_ticks") + GOES_ON_LINES
        self.wait_for("more market data", lambda: self.lines("market_ticks") >= lines)

    def moved(self) -> list[int]:
        """Return lines of market data, then logged ranges of strategy, risk and execution."""
        roles = Roles.of_project().roles
        logs = {role: roles[role].order_log for role in TRADING_ROLES}
        acks = [self.acks(queue, role) for role, queue in logs.items() if queue is not None]
        return [self.lines("market_ticks"), *acks]

    # --- record of the run ----------------------------------------------------------------------

    def _has_manifest(self) -> bool:
        if not (self.var.root / "current.json").exists():
            return False
        return (self.run_dir / "manifest.json").exists()

    @property
    def run_id(self) -> str:
        """The id of the run that `current.json` of this var names."""
        return str(read_hashed(self.var.root / "current.json")["run_id"])

    @property
    def run_dir(self) -> Path:
        """The folder of the run that `current.json` of this var names."""
        return self.var.runs / self.run_id

    @property
    def last_run(self) -> Path | None:
        """The folder of the newest run that has a manifest, or None."""
        found = sorted(path.parent for path in self.var.runs.glob("*/manifest.json"))
        return found[-1] if found else None

    def lines(self, queue: str) -> int:
        """Return how many lines of a queue are published; 0 while its head cannot be read."""
        return _lines(open_reader(self.var.queues, queue))

    def acks(self, queue: str, role: str) -> int:
        """Return how many acks a role has published for a queue; 0 while it has none.

        For the queue that `order_log` names they are its whole input log, over all queues.
        """
        is_primary = Roles.of_project().is_primary(queue, role)
        folder = reader_folder(self.var.queues, queue, role, is_primary)
        return _lines(JournalReader(folder, "acks"))

    def incidents(self, kind: str) -> list[JsonObject]:
        """Return the payloads of all incidents of a kind so far.

        `kind` is given in lower case, as are the values of the codes in `events.reasons` that name
        incidents: `POISON_EVENT` is `poison_event`.
        """
        return [
            payload for payload in self._payloads("incidents") if payload["kind"].lower() == kind
        ]

    def ai_states(self) -> list[str]:
        """Return the details in the health events of `ai_role` so far, oldest first."""
        return [
            str(payload.get("detail", ""))
            for payload in self._payloads("health", (AI_ROLE,))
            if payload.get("detail")
        ]

    def _payloads(self, queue: str, roles: Sequence[str] = ()) -> Iterator[JsonObject]:
        folder = self.var.queues / queue / "parts"
        for head in sorted(folder.glob("*.head")):
            if roles and head.stem not in roles:
                continue
            source = LineSource(open_reader(self.var.queues, queue, part=head.stem))
            while (line := source.next()) is not None:
                yield canonical.decode(line.json)["payload"]

    # --- processes ----------------------------------------------------------------------------

    def role_pid(self, role: str) -> int | None:
        """Return the process id of a role of this run; None while the role has no process."""
        return self.crew.pid("minibot.runtime.role", role)

    def child_pid(self, *words: str) -> int | None:
        """Return the id of a process of this run by words of its command line, None without one."""
        return self.crew.pid(*words)

    @contextmanager
    def suspended(self, role: str) -> Iterator[None]:
        """Freeze a role's process for the length of a `with` block."""
        pid = self.wait_for(role, lambda: self.role_pid(role))
        self.suspend(pid)
        try:
            yield
        finally:
            self.resume(pid)

    def kill(self, pid: int) -> None:
        """Kill a process of the run; do nothing if it is gone."""
        signalled(pid, lambda process: process.kill())

    def suspend(self, pid: int) -> None:
        """Freeze a process of the run; do nothing if it is gone."""
        signalled(pid, lambda process: process.suspend())

    def resume(self, pid: int) -> None:
        """Let a frozen process go on; do nothing if it is gone."""
        signalled(pid, lambda process: process.resume())

    def orphans(self) -> list[str]:
        """Return the names of processes that still live after up to `ORPHAN_S` of waiting."""
        deadline = machine_ns() + int(ORPHAN_S * 1e9)
        while (found := self.crew.members()) and machine_ns() < deadline:
            time.sleep(POLL_S)
        return [named(process) for process in found]

    def clean_up(self) -> None:
        """Kill all processes of this run that still live and await the launcher's end.

        Raises:
            subprocess.TimeoutExpired: The launcher has not ended after `WAIT_S`.
        """
        for process in self.crew.members():
            self.kill(process.pid)
        if self.launcher is not None:
            self.launcher.wait(WAIT_S)

    # --- the exchange -------------------------------------------------------------------------

    def exchange_fault(self, name: str, **fields: object) -> None:
        """Put a fault of the embedded exchange into force.

        Raises:
            NotInjected: The run has no embedded exchange, or the exchange refuses or does not
                answer.
        """
        embedded = Manifest.load(self.run_dir).embedded
        if embedded is None:
            raise NotInjected("this run has no embedded exchange")
        try:
            RunningExchange(int(embedded["port"])).fault(name, fields)
        except Refusal as refusal:
            raise NotInjected(str(refusal)) from refusal

    def mark(self) -> None:
        """Note that the fault is in; the time to the STOP counts from the last such note."""
        self.injected_ns = machine_ns()


def empty(var: Var) -> None:
    """Make a lab's `var` if it is missing, and delete all that is in it.

    Raises:
        NotInjected: A run is using it.
    """
    ensure_folder(var.root)
    try:
        refuse_living(var)
        with RunLock(var):
            pass
    except (filelock.Timeout, Refusal) as error:
        raise NotInjected(f"another run is using {var.root}") from error
    for path in var.root.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def inbox_bytes(queues: Path, queue: str) -> int:
    """Return how many bytes a queue's file holds, published or not; 0 for a missing file.

    Bytes are counted, not published lines: recovery may publish after a STOP what was written
    before it.
    """
    path = queues / queue / "inbox.jsonl"
    return path.stat().st_size if path.exists() else 0


def _lines(reader: JournalReader) -> int:
    try:
        return reader.head().lines
    except (RunStop, OSError):
        return 0
    finally:
        reader.close()


def _profile(sets: Mapping[str, object]) -> bytes:
    """Return the smoke profile with dotted keys changed, as JSON."""
    profile = read_profile(PROFILE).raw
    for key, value in sets.items():
        section, _, name = key.rpartition(".")
        (profile[section] if section else profile)[name] = value
    return json.dumps(profile, indent=2).encode() + b"\n"
