"""Replay: the recorded inputs of a run through the same cores, compared byte for byte.

Each of strategy, risk and execution is fed its own logged inputs in its own logged order; what it
derives must stand in its queues, event by event. Missing outputs are accepted only behind the
last logged range of a run that was stopped, and counted.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from minibot.events.codec import Codec
from minibot.events.model import Ack, Event, JsonObject
from minibot.events.order import (
    Core,
    KnownIds,
    LineSource,
    LoggedStep,
    Now,
    finish,
    logged_steps,
    read_ranges,
)
from minibot.events.registry import Contracts
from minibot.events.roles import Roles, RoleSpec
from minibot.kernel.errors import IntegrityError
from minibot.kernel.journal import Line
from minibot.kernel.queue import open_reader, reader_folder
from minibot.runtime.deadletters import named_lines
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import PROJECT

CORE_ROLES: Final = ("strategy_role", "risk_role", "execution_role")
PROGRESS_EVERY: Final = 4096
CORE_MODULES: Final = {
    "strategy_role": "minibot.strategies.core",
    "risk_role": "minibot.risk.core",
    "execution_role": "minibot.execution.core",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """The first event that replay derives differently, and what the core held before it."""

    role: str
    queue: str
    seq: int
    n: int
    cause_id: str
    expected: bytes | None  # what replay derives
    found: bytes | None  # what the run recorded
    state: JsonObject


@dataclass(slots=True)
class RoleReplay:
    """What replaying one role gave."""

    role: str
    inputs: int = 0
    outputs: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    missing: int = 0
    unproven: int = 0
    difference: Difference | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run's folder, opened for reading: its manifest, its queues and how to decode them."""

    run_dir: Path
    manifest: Manifest
    roles: Roles
    codec: Codec

    @classmethod
    def open(cls, run_dir: Path) -> Recorded:
        """Return a recorded run, sealed or still under `var/queues`."""
        manifest = Manifest.load(run_dir)
        roles = Roles.load(PROJECT / "config" / "roles.v1.json")
        contracts = Contracts.load(PROJECT / "contracts", PROJECT / "config" / "contracts.v1.json")
        codec = Codec(contracts, roles, manifest.run_id, manifest.cmdline_hashes(), "replay")
        return cls(run_dir, manifest, roles, codec)

    @property
    def queues(self) -> Path:
        """Where the run's queues stand."""
        sealed = self.run_dir / "queues"
        return sealed if sealed.exists() else self.run_dir.parents[1] / "queues"

    def decode(self, queue: str, line: Line) -> Event:
        """Return the event of one line."""
        return self.codec.decode(queue.partition("/")[0], line.json)

    def lines(self, queue: str) -> LineSource:
        """Return the lines of a queue, or of one part of it."""
        name, _, part = queue.partition("/parts/")
        if part:
            return LineSource(open_reader(self.queues, name, part=part))
        return LineSource(open_reader(self.queues, name))

    def events(self, queue: str) -> Iterator[tuple[int, Event]]:
        """Yield (seq, event) of a queue."""
        source = self.lines(queue)
        while (line := source.next()) is not None:
            yield line.seq, self.decode(queue, line)

    def order_log(self, role: RoleSpec) -> Iterator[Ack]:
        """Yield the ranges of a role's order log."""
        queue = role.order_log
        if queue is None:
            return
        is_primary = self.roles.queues[queue].primary_reader == role.name
        folder = reader_folder(self.queues, queue, role.name, is_primary)
        if not (folder / "acks.head").exists():
            return
        yield from read_ranges(folder, queue, self.codec.decode)

    def steps(self, role: RoleSpec) -> Iterator[LoggedStep]:
        """Yield the inputs of a role in logged order, less what its dead letters name."""
        folders = {
            queue: reader_folder(
                self.queues, queue, role.name, self.roles.queues[queue].primary_reader == role.name
            )
            for queue in role.inputs
        }
        named = named_lines(folders, self.codec)
        return logged_steps(
            self.order_log(role),
            self.lines,
            self.decode,
            KnownIds(),
            Now(),
            skip=lambda queue, seq: (queue, seq) in named,
            decode_many=self.codec.decode_many,
        )

    def published(self, role: RoleSpec) -> int:
        """Return how many lines the queues that a role reads have together."""
        return sum(open_reader(self.queues, queue).head().lines for queue in role.inputs)


def core_of(role: str, config: JsonObject) -> Core:
    """Return a fresh core of a role."""
    module = importlib.import_module(CORE_MODULES[role])
    core: Core = module.core_from_config(config)
    return core


def replay_role(
    recorded: Recorded,
    name: str,
    *,
    core: Core | None = None,
    on_step: Callable[[LoggedStep, Core, Sequence[tuple[str, Event]]], None] | None = None,
) -> RoleReplay:
    """Replay one role and compare what it derives with what it recorded.

    Args:
        recorded: The run.
        name: One of `CORE_ROLES`.
        core: Another core than the recorded profile's.
        on_step: Called after each input with the core and the events it derived.
    """
    role = recorded.roles.roles[name]
    result = RoleReplay(name)
    queues = [queue for queue in role.writes if not recorded.roles.queues[queue].parts]
    found = {queue: recorded.lines(queue) for queue in queues}
    digests = {queue: hashlib.sha256() for queue in queues}
    result.outputs = dict.fromkeys(queues, 0)
    stepped = core or core_of(name, recorded.manifest.config)
    for step in recorded.steps(role):
        result.inputs = step.n
        taken = step.taken
        if taken.is_known or taken.queue not in role.inputs:
            continue
        drafts = stepped.step(taken.queue, taken.seq, taken.event, step.now)
        events = _finish(recorded, name, drafts, taken.event) if drafts else []
        if on_step is not None:
            on_step(step, stepped, events)
        for queue, event in events:
            difference = _compare(recorded, result, step, queue, event, found[queue], digests)
            if difference is not None:
                result.difference = _with_state(difference, stepped)
                return result
    for queue, source in found.items():
        while source.next() is not None:
            result.unproven += 1
        result.digests[queue] = digests[queue].hexdigest()
    return result


def _finish(
    recorded: Recorded, name: str, drafts: Sequence[object], cause: Event
) -> list[tuple[str, Event]]:
    return finish(
        drafts,  # type: ignore[arg-type]
        cause,
        run_id=recorded.manifest.run_id,
        role=name,
        cmdline_hash=recorded.manifest.processes[name].cmdline_hash,
    )


def _compare(
    recorded: Recorded,
    result: RoleReplay,
    step: LoggedStep,
    queue: str,
    event: Event,
    source: LineSource,
    digests: Mapping[str, hashlib._Hash],
) -> Difference | None:
    expected = recorded.codec.encode(queue, event)
    line = source.next()
    if line is None:
        result.missing += 1
        return None
    if result.missing or line.json != expected:
        return Difference(
            result.role, queue, line.seq, step.n, step.taken.event.id, expected, line.json, {}
        )
    result.outputs[queue] += 1
    digests[queue].update(line.json + b"\n")
    return None


def _with_state(difference: Difference, core: Core) -> Difference:
    return Difference(
        difference.role,
        difference.queue,
        difference.seq,
        difference.n,
        difference.cause_id,
        difference.expected,
        difference.found,
        core.state(),
    )


@dataclass(frozen=True, slots=True)
class Replay:
    """The verdict over a whole run."""

    run_id: str
    roles: tuple[RoleReplay, ...]
    was_stopped: bool

    @property
    def difference(self) -> Difference | None:
        """The first difference, in rule order of the roles."""
        return next((role.difference for role in self.roles if role.difference), None)

    @property
    def is_identical(self) -> bool:
        """True when every derived event stands as recorded, and none stands beside them."""
        missing = sum(role.missing for role in self.roles)
        unproven = sum(role.unproven for role in self.roles)
        return self.difference is None and (self.was_stopped or missing + unproven == 0)

    @property
    def digest(self) -> str:
        """One sha256 over the digests of all derived queues."""
        total = hashlib.sha256()
        for role in self.roles:
            for queue, digest in sorted(role.digests.items()):
                total.update(f"{queue}:{digest}\n".encode())
        return total.hexdigest()


def replay_run(
    run_dir: Path,
    roles: Sequence[str] = CORE_ROLES,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> Replay:
    """Replay strategy, risk and execution of a recorded run, up to the first that differs.

    Args:
        run_dir: The run's folder.
        roles: Some of `CORE_ROLES`.
        progress: Told now and then how many of how many inputs have been taken.

    Raises:
        IntegrityError: A recorded line fails its own hash or chain; `verify` names them all.
    """
    recorded = Recorded.open(run_dir)
    was_stopped = is_stopped(recorded)
    whole = sum(recorded.published(recorded.roles.roles[name]) for name in roles)
    done = 0
    results = []

    def count(step: LoggedStep, core: Core, events: Sequence[tuple[str, Event]]) -> None:
        nonlocal done
        done += 1
        if done % PROGRESS_EVERY == 0:
            progress(done, whole)

    for name in roles:
        results.append(replay_role(recorded, name, on_step=count))
        if results[-1].difference is not None:
            break
    return Replay(recorded.manifest.run_id, tuple(results), was_stopped)


def is_stopped(recorded: Recorded) -> bool:
    """Return whether the run ended otherwise than planned: no END stands in its journal."""
    try:
        kinds = [
            event.payload.to_json().get("kind")
            for role in recorded.roles.writers("stop_journal")
            if (recorded.queues / "stop_journal" / "parts" / f"{role}.head").exists()
            for _, event in recorded.events(f"stop_journal/parts/{role}")
        ]
    except IntegrityError:
        return True
    return "END" not in kinds
