"""Proof of a run: every byte and every cause (`verify`), every decision recomputed (`replay`)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from minibot.engine.role_replay import Recorded
from minibot.events.model import StopJournal
from minibot.events.names import STOP_JOURNAL
from minibot.events.reasons import CONFIG_INVALID, QUEUE_MISSING, RUN_FILE_CHANGED
from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.files import read_hashed
from minibot.kernel.seal import QUEUES, SEAL_FILE, SUMS_FILE
from minibot.kernel.verify import Finding, verify_tree
from minibot.replay.graph.lineage import verify_lineage
from minibot.replay.partial_run import PartialRun
from minibot.runtime.clock import CLOCK_FILE
from minibot.runtime.current_note import has_queues_of
from minibot.runtime.manifest import MANIFEST_FILE, Manifest
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import is_run_folder, missing_of, queues_lost
from minibot.runtime.signing import public_key_of
from minibot.runtime.stop import STOP_KIND


def findings_of(
    path: Path,
    *,
    bytes_too: bool = True,
    lineage: bool = True,
    public_key: str | None = None,
    jobs: int = 1,
) -> Iterator[Finding]:
    """Return the findings of a run, a queue or a file; empty when nothing is wrong.

    Args:
        path: A run's folder, a queue's, or a file.
        bytes_too: Judge bytes, hashes and chains.
        lineage: Judge contracts, causes and permissions, where the path is a run.
        public_key: The key that must have signed a run's seal; by default the one that the
            profile in its manifest pins, if any.
        jobs: Largest number of processes that read bytes at once.

    Raises:
        Refusal: Only lineage was requested, but there is no run.
    """
    parts: list[Iterable[Finding]] = []
    if bytes_too:
        parts.append(verify_tree(path, public_key=public_key or pinned_key(path), jobs=jobs))
        parts.append(made_again(path))
    if lineage and os.path.lexists(path / MANIFEST_FILE):
        parts += [_clock(path), _lineage(path)]
    elif lineage and not bytes_too:
        if not is_run_folder(path):
            remedy = f"Its bytes can be checked: minibot verify {path}"
            raise Refusal(f"{path.name} is not a run, and has no causes to verify.", remedy)
        parts.append([Finding(MANIFEST_FILE, 0, 0, RUN_FILE_CHANGED, "the manifest", "nothing")])
    return itertools.chain(*parts)


def pinned_key(path: Path) -> str | None:
    """Return the key that a run's manifest pins for its seal, None if it cannot be read.

    An attacker who rewrites a whole run can omit it there; a key known from elsewhere is safer.
    """
    try:
        return public_key_of(Manifest.load(path).config)
    except (RunStop, KeyError, TypeError, AttributeError):
        return None  # No run, or a damaged one, which verify reports.


def made_again(path: Path) -> Iterator[Finding]:
    """Yield queues and heads that were gone when a run was recovered, and were made again."""
    for found in queues_lost(path):
        yield Finding(SEAL_FILE, 0, 0, QUEUE_MISSING, "every queue when the run was sealed", found)


def _clock(path: Path) -> Iterator[Finding]:
    """Yield a finding if a run's clock differs from its manifest or is missing after it ran.

    The next start seals whatever a killed launcher left, so such a seal cannot show this.
    """
    try:
        manifest = Manifest.load(path)
        if not os.path.lexists(path / CLOCK_FILE):
            yield from _no_clock(Recorded.open(path))
            return
        clock = read_hashed(path / CLOCK_FILE)
    except (RunStop, Refusal):
        return  # Other checks report an unreadable file.
    for name, wanted in (
        ("market_origin_ms", manifest.clock_origin_ms),
        ("speed", manifest.clock_speed),
    ):
        if clock.get(name) != wanted:
            expected, found = f"{name} {wanted}, as in the manifest", str(clock.get(name))
            yield Finding(CLOCK_FILE, 0, 0, RUN_FILE_CHANGED, expected, found)


def _no_clock(recorded: Recorded) -> Iterator[Finding]:
    origin_ms = recorded.manifest.clock_origin_ms
    for seq, event in recorded.events("market_ticks"):
        if event.ts > origin_ms:
            found = f"nothing, but market_ticks:{seq} has a time after the clock's origin"
            yield Finding(CLOCK_FILE, 0, 0, RUN_FILE_CHANGED, "the run's clock", found)
            return


def _lineage(path: Path) -> Iterator[Finding]:
    try:
        yield from verify_lineage(Recorded.open(path))
    except RunStop as error:
        yield Finding(str(path), 0, 0, error.reason_code, "a readable run", error.detail)
    except Refusal as error:
        yield Finding(str(path), 0, 0, CONFIG_INVALID, "a readable run", str(error))


def waits_for_seal(run_dir: Path) -> bool:
    """Return whether a run has no seal yet, and its queues are still those below its `var`."""
    is_sealed = os.path.lexists(run_dir / SEAL_FILE)
    return not is_sealed and has_queues_of(Var(run_dir.parent.parent), run_dir.name)


def fate_of_unsealed(run_dir: Path) -> str:
    """Return the fate of a run that has no seal and does not go on, as the end of a sentence.

    The next start seals the run that the note of its `var` names. Any other is a part of a run,
    such as a restore leaves that was broken off.
    """
    if waits_for_seal(run_dir):
        if code := ended_by(run_dir):
            return f"ended by {code}, but has no seal yet; the next start recovers and seals it"
        return "was interrupted; the next start recovers and seals it"
    return "is incomplete, and no start will seal it; if a restore broke off, restore it again"


def ended_by(run_dir: Path) -> str:
    """Return the code of an unsealed run's STOP or END, empty where none can be read."""
    with suppress(RunStop):
        recorded = PartialRun(Recorded.open(run_dir)).merged(STOP_JOURNAL)
        payloads = [event.payload for _, _, event in recorded]
        ends = [each for each in payloads if isinstance(each, StopJournal)]
        for end in sorted(ends, key=lambda end: end.kind != STOP_KIND):
            return str(end.reason_code)
    return ""


def what_is_left(run_dir: Path) -> str:
    """Return one sentence: which parts of a run's folder are left, and which are missing."""
    queues = () if waits_for_seal(run_dir) else (QUEUES,)
    parts = (MANIFEST_FILE, CLOCK_FILE, *queues, SEAL_FILE, SUMS_FILE)
    missing = missing_of(run_dir, parts)
    lacking = {sentence.partition(" ")[0] for sentence in missing}
    left = [name for name in parts if name not in lacking]
    text = f"left: {', '.join(left) or 'nothing'}"
    return f"{text}; {', '.join(missing)}" if missing else text
