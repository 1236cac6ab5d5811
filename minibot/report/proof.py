"""Proof of a run: every byte and every cause (`verify`), every decision made again (`replay`)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from minibot.engine.role_replay import Recorded
from minibot.events.reasons import CONFIG_INVALID, RUN_FILE_CHANGED
from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.files import read_hashed
from minibot.kernel.seal import QUEUES, SEAL_FILE, SUMS_FILE
from minibot.kernel.verify import Finding, verify_tree
from minibot.replay.graph.lineage import verify_lineage
from minibot.runtime.clock import CLOCK_FILE
from minibot.runtime.manifest import Manifest
from minibot.runtime.runfiles import missing_of
from minibot.runtime.signing import public_key_of


def findings_of(
    path: Path,
    *,
    bytes_too: bool = True,
    lineage: bool = True,
    public_key: str | None = None,
    jobs: int = 1,
) -> Iterator[Finding]:
    """Return what is wrong with a run, a queue or a file; empty when nothing is.

    Args:
        path: A run's folder, a queue's, or a file.
        bytes_too: Judge bytes, hashes and chains.
        lineage: Judge contracts, causes and permissions, where the path is a run.
        public_key: The key that has to have signed a run's seal; by default the one that the
            profile in its manifest pins, if any.
        jobs: How many processes may read bytes at once.
    """
    parts: list[Iterable[Finding]] = []
    if bytes_too:
        parts.append(verify_tree(path, public_key=public_key or pinned_key(path), jobs=jobs))
    if lineage and os.path.lexists(path / "manifest.json"):
        parts += [_clock(path), _lineage(path)]
    return itertools.chain(*parts)


def pinned_key(path: Path) -> str | None:
    """Return the key that the manifest of a run pins for its seal, if it is one and can be read.

    Whoever rewrites a whole run can leave it out there, so a key known from elsewhere is better.
    """
    try:
        return public_key_of(Manifest.load(path).config)
    except (RunStop, KeyError, TypeError, AttributeError):
        return None  # No run, or a damaged one, of which verify tells.


def _clock(path: Path) -> Iterator[Finding]:
    """Yield where a run's clock is not the one of its manifest, or is gone although it has run.

    A seal made by the next start covers what a killed launcher left, so it cannot tell this.
    """
    try:
        manifest = Manifest.load(path)
        if not os.path.lexists(path / CLOCK_FILE):
            yield from _no_clock(Recorded.open(path))
            return
        clock = read_hashed(path / CLOCK_FILE)
    except (RunStop, Refusal):
        return  # What cannot be read, others tell.
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


def what_is_left(run_dir: Path) -> str:
    """Return in one sentence which parts of a run's folder stand, and which are missing."""
    parts = ("manifest.json", CLOCK_FILE, QUEUES, SEAL_FILE, SUMS_FILE)
    missing = missing_of(run_dir, parts)
    lacking = {sentence.partition(" ")[0] for sentence in missing}
    left = [name for name in parts if name not in lacking]
    said = f"left: {', '.join(left) or 'nothing'}"
    return f"{said}; {', '.join(missing)}" if missing else said


def finding_line(finding: Finding) -> str:
    """Return a finding in one line: code, place, what was expected and what is there."""
    line = f"{finding.file}:{finding.line} (byte {finding.offset})"
    place = line if finding.line else finding.file
    return f"{finding.code} {place}: expected {finding.expected}, found {finding.found}"
