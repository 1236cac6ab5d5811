"""Status of a run before its replay: whole, running, interrupted, of another format or code.

Each condition is one sentence with the next possible step. A condition that forbids a replay
is refused here; one that the reader only has to know is a notice.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from minibot.engine.lookup import last_before
from minibot.engine.recorded_run import Recorded
from minibot.events.model import Event, JsonObject
from minibot.events.reasons import QUEUE_MISSING
from minibot.events.registry import Contracts
from minibot.kernel.errors import IntegrityError, InvariantError, Refusal, RunStop
from minibot.kernel.files import FILES, read_hashed
from minibot.kernel.queue import INBOX, queue_folder
from minibot.kernel.seal import QUEUES, SEAL_FILE, measure
from minibot.kernel.segments import load_segments
from minibot.runtime.configuration.own_source import change_since
from minibot.runtime.deployment.deployed import code_sha256
from minibot.runtime.manifest import FORMAT, MANIFEST_FILE, Manifest
from minibot.runtime.paths import PROJECT, Var, resolve
from minibot.runtime.running import running_run

RUNNING: Final = "running"
INTERRUPTED: Final = "interrupted"
DAMAGED_SEAL: Final = "damaged seal"
SHORT: Final = 12
INBOX_HEAD: Final = "/inbox.head"
INBOX_LINES: Final = "/inbox.jsonl"


@dataclass(frozen=True, slots=True)
class Lost:
    """A sealed segment whose file is gone, the first of its queue.

    The events before it can still be read, up to damage among them: `last_ts` is the time of the
    last one, None without any.
    `of` counts all segments of the queue, also the one that was not sealed.
    """

    queue: str
    name: str
    number: int
    of: int
    from_seq: int
    to_seq: int
    last_ts: int | None


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Status of a run.

    Attributes:
        state: `sealed`, `stopped` or `interrupted` as the seal says; without a seal `running` or
            `interrupted`; `damaged seal` where the seal cannot be read.
        notices: Facts that a reader of a verdict on the run has to know, one sentence each.
        lost: The first segment that is gone, of each queue; later ones of it are not named.
        is_other_code: True when the run was made by other code than this checkout's.
        altered: Files and queues that differ from the sealed ones: a verdict on them proves
            nothing.
    """

    state: str
    notices: tuple[str, ...]
    lost: tuple[Lost, ...]
    is_other_code: bool
    altered: tuple[str, ...] = ()

    @property
    def is_running(self) -> bool:
        """True when roles may still be writing."""
        return self.state == RUNNING


def called(run_dir: Path) -> str:
    """Return the run's name for a further command: its id where that finds it, else its folder.

    The id of a copy would name the original, which may differ from the copy.
    """
    kept = Var(resolve("var")).runs / run_dir.name
    return run_dir.name if kept.resolve() == run_dir.resolve() else str(run_dir.resolve())


def open_run(run_dir: Path) -> tuple[Recorded, RunStatus]:
    """Return a run and its status.

    Raises:
        Refusal: The run has a format that this minibot does not read.
        IntegrityError: The manifest is damaged, or the queues are gone.
    """
    _require_format(run_dir)
    recorded = Recorded.open(run_dir)
    if not (recorded.queues / "control" / "inbox.head").is_file():
        detail = f"{run_dir.name}: its queues are missing"
        raise IntegrityError("replay", QUEUE_MISSING, detail)
    state = _state(run_dir)
    altered = altered_files(run_dir)
    changed = [name for name in altered if name != SEAL_FILE or state != DAMAGED_SEAL]
    notices = [f"{name} is not what was sealed: it was changed or removed." for name in changed]
    here = code_sha256(PROJECT)
    notices += [*_state_notices(run_dir, state), *_code_notices(recorded.manifest, here)]
    lost = tuple(_lost(recorded))
    is_other_code = recorded.manifest.code_sha256 != here
    return recorded, RunStatus(state, tuple(notices), lost, is_other_code, altered)


def is_going(run_dir: Path) -> bool:
    """Return whether the run has no seal yet and is the one that holds its `var`."""
    root = run_dir.parent.parent
    if root == run_dir or (run_dir / SEAL_FILE).exists():
        return False
    return running_run(Var(root)) == run_dir.name


def altered_files(run_dir: Path, *, sizes: bool = False) -> tuple[str, ...]:
    """Return the names of what differs from a run's seal: its own files, queues, the seal itself.

    Args:
        run_dir: The run's folder.
        sizes: Name also queues whose lines take more or fewer bytes than sealed. Lines that were
            changed without a change of size are never named: a replay or `verify` finds them.
    """
    if not (run_dir / SEAL_FILE).is_file():
        return ()
    try:
        seal = read_hashed(run_dir / SEAL_FILE)
        altered = [
            name for name, entry in seal["run_files"].items() if not _is_as(run_dir / name, entry)
        ]
        queues = {
            f"{QUEUES}/{Path(name).parent.name}"
            for name, entry in seal["files"].items()
            if (name.endswith(INBOX_HEAD) and not (run_dir / name).is_file())
            or (sizes and name.endswith(INBOX_LINES) and not _has_size(run_dir / name, entry))
        }
    except (RunStop, KeyError, TypeError, AttributeError):
        return (SEAL_FILE,)
    return (*altered, *sorted(queues))


def _is_as(path: Path, entry: JsonObject) -> bool:
    if not _has_size(path, entry):
        return False
    try:
        return measure(path, FILES) == entry
    except RunStop:
        return False


def _has_size(path: Path, entry: JsonObject) -> bool:
    status = FILES.stat(path)
    return status is not None and status.is_file and bool(status.size == entry["size"])


def _require_format(run_dir: Path) -> None:
    data = read_hashed(run_dir / MANIFEST_FILE)
    still = f"Its bytes can still be checked: minibot verify --append-only {called(run_dir)}"
    made = data.get("v", 1)
    if data.get("schema") != "minibot.manifest" or type(made) is not int:
        raise Refusal(f"{run_dir / MANIFEST_FILE} is not a run's manifest.", "See: minibot runs")
    if made != FORMAT:
        minibot = "a newer minibot" if made > FORMAT else "an older minibot"
        raise Refusal(
            f"{run_dir.name} was made by {minibot}: its format is {made}, this one reads {FORMAT}.",
            f"Replay it with the minibot that made it. {still}",
        )
    lacking = sorted(set(Manifest.required()) - set(data))
    if lacking:
        raise Refusal(
            f"{run_dir.name} was made by an older minibot: its manifest does not say "
            f"{', '.join(lacking)}.",
            f"Replay it with the minibot that made it. {still}",
        )


def _state(run_dir: Path) -> str:
    path = run_dir / SEAL_FILE
    if path.exists():
        try:
            return str(read_hashed(path).get("extra", {}).get("state", "sealed"))
        except RunStop:
            return DAMAGED_SEAL
    return RUNNING if is_going(run_dir) else INTERRUPTED


def _state_notices(run_dir: Path, state: str) -> list[str]:
    run_id = run_dir.name
    if state == RUNNING:
        return [f"{run_id} is still going: it is replayed up to what its roles have finished."]
    if state == INTERRUPTED:
        return [
            f"{run_id} was interrupted: it is proven up to its last logged inputs, and what stands "
            "beyond them is counted as unproven."
        ]
    if state == DAMAGED_SEAL:
        return [f"the seal of {run_id} is damaged: minibot verify {called(run_dir)} says how."]
    return []


def require_ended(run_dir: Path, status: RunStatus) -> None:
    """Refuse a run that is still going, for what reads its market more than once or to the end.

    Raises:
        Refusal: It is.
    """
    if status.is_running:
        remedy = f"Wait for its end; what is done can be proven: minibot replay {called(run_dir)}"
        raise Refusal(f"{run_dir.name} is still going.", remedy)


@contextmanager
def by_this_code(status: RunStatus) -> Iterator[None]:
    """Within it, inputs that this code cannot take are the fault of the code that made the run.

    Raises:
        Refusal: Other code made the run, and its inputs contradict what this code decides.
    """
    try:
        yield
    except InvariantError as error:
        if not status.is_other_code:
            raise
        text = f"the run was made by other code, with which this code disagrees: {error.detail}."
        raise Refusal(text, "Ask with the minibot that made it.") from error


def _code_notices(manifest: Manifest, here: str) -> list[str]:
    notices = []
    if manifest.code_sha256 != here:
        notices.append(
            f"made by other code ({manifest.code_sha256[:SHORT]} then, {here[:SHORT]} here): an "
            "identical replay says that this code decides the same; a difference may be the code's."
        )
    contracts = Contracts.of_project()
    if manifest.contracts_sha256 != contracts.sha256:
        notices.append(
            f"made under other contracts ({manifest.contracts_sha256[:SHORT]} then, "
            f"{contracts.sha256[:SHORT]} here)."
        )
    if manifest.python != platform.python_version():
        notices.append(
            f"made by Python {manifest.python}, replayed by {platform.python_version()}."
        )
    if change := change_since(manifest.config):
        notices.append(f"{change}.")
    return notices


def _lost(recorded: Recorded) -> list[Lost]:
    found = []
    for queue in recorded.roles.queues:
        folder = queue_folder(recorded.queues, queue)
        if not folder.exists():
            continue
        segments = load_segments(folder, INBOX)
        before = 0
        for number, segment in enumerate(segments, 1):
            if not (folder / segment.name).exists():
                last = _last_readable(recorded, queue, before)
                found.append(
                    Lost(
                        queue=queue,
                        name=segment.name,
                        number=number,
                        of=len(segments) + 1,
                        from_seq=before + 1,
                        to_seq=before + segment.lines,
                        last_ts=None if last is None else last.ts,
                    )
                )
                break
            before += segment.lines
    return found


def _last_readable(recorded: Recorded, queue: str, seq: int) -> Event | None:
    """Return the event with a number, or where damage hides it, the last one before the damage."""
    last = None
    try:
        last = last_before(recorded, queue, seq + 1)
    except RunStop:
        with suppress(RunStop):
            for _, event in recorded.events(queue):
                last = event
    return last
