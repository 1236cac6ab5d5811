"""Hours of a run: the events that each hour derived, as digests and as files.

Hours are of market time, in UTC. An hour's digest covers every derived event of the hour and the
hourly state at its end, so two runs of the same code over the same inputs agree hour for hour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from minibot.accounting.hourly_accounts import HOURLY_STATE_FILE, HourlyState
from minibot.cores.input_order import LoggedStep
from minibot.cores.protocol import Core
from minibot.engine.bookkeeping import Bookkeeper
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import Counting, HourReplay, RoleReplay, Window, replay_role
from minibot.events.model import Event, JsonObject
from minibot.events.names import EXECUTION_ROLE
from minibot.kernel import canonical
from minibot.kernel.errors import Refusal
from minibot.kernel.files import ensure_folder, is_endless, write_atomic
from minibot.kernel.line import encode_line
from minibot.replay.proof import Proof, prove
from minibot.replay.run_status import RunStatus, require_ended

SCHEMA: Final = "minibot.replay_manifest"
DIGEST_FILE: Final = "hour.json"


@dataclass(frozen=True, slots=True)
class Hour:
    """Inputs and outputs of a replay in one hour; `state` is the sha256 of its hourly state."""

    hour_ts: int
    inputs: int
    outputs: dict[str, int]
    state: str
    digest: str

    def to_json(self) -> JsonObject:
        """Return the hour as one JSON object."""
        return {
            "hour_ts": self.hour_ts,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "hourly_state": self.state or None,
            "digest": self.digest,
        }


def hours_of(proof: Proof) -> list[Hour]:
    """Return the hours that a proof compared, oldest first."""
    ledger = proof.ledger
    states = (
        {balance["hour_ts"]: balance["sha256"] for balance in ledger.balances} if ledger else {}
    )
    known = sorted({hour_ts for role in proof.replay.roles for hour_ts in role.hours})
    found = []
    for hour_ts in known:
        parts = [role.hours.get(hour_ts, HourReplay()) for role in proof.replay.roles]
        outputs: dict[str, int] = {}
        for part in parts:
            outputs.update(part.outputs)
        state = str(states.get(hour_ts, ""))
        digests = [part.digest for part in parts]
        digest = hashlib.sha256("\n".join([*digests, state]).encode()).hexdigest()
        found.append(Hour(hour_ts, sum(part.inputs for part in parts), outputs, state, digest))
    return found


def run_entry(proof: Proof, run: str) -> JsonObject:
    """Return a run's entry in a manifest: the result of its replay, as a whole and by hour.

    Digest and ledger are None where the replay broke off: such an entry is written to no manifest.
    """
    return {
        "run": run,
        "run_id": proof.replay.run_id,
        "digest": proof.digest,
        "ledger": None if proof.ledger is None else proof.ledger.digest,
        "hours": [hour.to_json() for hour in hours_of(proof)],
    }


def differences(listed: JsonObject, found: JsonObject) -> list[str]:
    """Return the differences of a replayed run from its manifest entry, one sentence each."""
    lines = [
        f"{name}: listed {listed.get(name)}, replayed {found.get(name)}"
        for name in ("run_id", "digest", "ledger")
        if listed.get(name) != found.get(name)
    ]
    ours = {hour["hour_ts"]: hour for hour in found["hours"]}
    theirs = {hour["hour_ts"]: hour for hour in listed.get("hours", [])}
    for hour_ts in sorted({*ours, *theirs}):
        one, two = theirs.get(hour_ts, {}), ours.get(hour_ts, {})
        if one.get("digest") != two.get("digest"):
            lines.append(
                f"hour {hour_ts}: listed {one.get('digest')}, replayed {two.get('digest')}"
            )
    return lines


def read_manifest(path: Path) -> list[JsonObject]:
    """Return the runs that a manifest lists.

    Raises:
        Refusal: The file is not a replay manifest, or lists no run.
    """
    try:
        if is_endless(path):
            raise ValueError("it is not a regular file")
        runs = _listed(canonical.decode(path.read_bytes().strip()))
    except FileNotFoundError as error:
        raise Refusal(
            f"{path}: there is no such file.",
            "Write one: minibot replay-manifest RUN --write FILE",
        ) from error
    except (OSError, ValueError) as error:
        raise Refusal(
            f"{path} is not a manifest of replays: {error}.",
            "Write one: minibot replay-manifest RUN --write FILE",
        ) from error
    return runs


def _listed(data: JsonObject) -> list[JsonObject]:
    """Return the runs of a manifest's content.

    Raises:
        ValueError: The content is not a list of runs; the message says why.
    """
    runs = data.get("runs")
    if (data.get("schema"), data.get("v")) != (SCHEMA, 1):
        raise ValueError(f"expected schema {SCHEMA} of version 1")
    if not isinstance(runs, list) or not runs:
        raise ValueError("it lists no run")
    for n, run in enumerate(runs, 1):
        hours = run.get("hours") if isinstance(run, dict) else None
        is_whole = isinstance(hours, list) and all(
            isinstance(hour, dict) and isinstance(hour.get("hour_ts"), int) for hour in hours
        )
        if not is_whole or not isinstance(run.get("run"), str):
            raise ValueError(f"run {n} needs a name and hours, each with its hour_ts")
    return runs


def manifest_bytes(runs: Sequence[JsonObject]) -> bytes:
    """Return the content of a manifest."""
    return canonical.encode({"schema": SCHEMA, "v": 1, "runs": list(runs)}) + b"\n"


def prove_hours(
    recorded: Recorded,
    condition: RunStatus,
    first_ts: int,
    last_ts: int,
    progress: Callable[[int, int], None],
) -> Proof:
    """Replay a run and compare the hours from one to another, both included."""
    window = Window(first_ts, Window.hour(last_ts).to_ms)
    return prove(recorded, condition, window=window, progress=progress)


def execute_hour(
    recorded: Recorded,
    condition: RunStatus,
    hour_ts: int,
    folder: Path,
    progress: Callable[[int, int], None],
) -> JsonObject:
    """Execute one hour and write its derived events into a folder; return what was written.

    Recorded outputs are not read. The folder gets one file of hashed lines for each queue that has
    an event in the hour, always `hourly_state.jsonl`, empty without a state, and last `hour.json`
    with the counts and sha256 of each.

    Raises:
        Refusal: The folder is not empty, or the run is still going in this hour.
        RunStop: The record is damaged before the hour's end, or the disk refuses a write.
    """
    if folder.exists() and not folder.is_dir():
        raise Refusal(f"{folder} is not a folder.", "Name a folder that does not exist yet.")
    if folder.exists() and any(folder.iterdir()):
        raise Refusal(f"{folder} is not empty.", "Name a folder that does not exist yet.")
    names = recorded.roles.cores
    execution = _Execution(recorded, Window.hour(hour_ts), Counting(recorded, names, progress))
    for name in names:
        if not execution.execute(name):
            require_ended(recorded.run_dir, condition)
    states = execution.keeper.books.states
    state = next((state for state in states if state.hour_ts == hour_ts), None)
    return _write(folder, hour_ts, execution.lines, state)


class _Execution:
    """Execution of the roles over one hour, one after another; their derived events by queue."""

    def __init__(self, recorded: Recorded, window: Window, count: Counting) -> None:
        self.keeper = Bookkeeper(recorded)
        self.lines: dict[str, list[bytes]] = {}
        self._recorded = recorded
        self._window = window
        self._count = count
        self._result = RoleReplay("")

    def execute(self, name: str) -> bool:
        """Process all inputs of a role up to the end of the hour; return whether any come later."""
        self._result = RoleReplay(name)
        replay_role(
            self._recorded,
            name,
            on_step=self._on_step,
            on_taken=self._on_taken,
            window=self._window,
            result=self._result,
            is_compared=False,
        )
        if name == EXECUTION_ROLE:
            self.keeper.ledger(self._window, self._result)
        return self._result.is_cut

    def _on_taken(self, step: LoggedStep) -> None:
        self._count(step)
        if self._result.role == EXECUTION_ROLE:
            self.keeper.on_taken(step)

    def _on_step(self, step: LoggedStep, core: Core, events: Sequence[tuple[str, Event]]) -> None:
        if self._result.role == EXECUTION_ROLE:
            self.keeper.on_step(step, core, events)
        if self._result.clock < self._window.from_ms:
            return
        for queue, event in events:
            json = self._recorded.codec.encode(queue, event)
            self.lines.setdefault(queue, []).append(encode_line(json))


def _write(
    folder: Path, hour_ts: int, lines: dict[str, list[bytes]], state: HourlyState | None
) -> JsonObject:
    ensure_folder(folder)
    files = {f"{queue}.jsonl": b"".join(found) for queue, found in sorted(lines.items())}
    files[HOURLY_STATE_FILE] = b"" if state is None else encode_line(state.encoded())
    for name, data in files.items():
        write_atomic(folder / name, data)
    document: JsonObject = {
        "schema": "minibot.hour",
        "hour_ts": hour_ts,
        "files": {
            name: {"lines": data.count(b"\n"), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        },
        "hourly_state": None if state is None else state.sha256,
    }
    write_atomic(folder / DIGEST_FILE, canonical.encode(document) + b"\n")
    return document
