"""Proof of a run: every byte and every cause (`verify`), every decision made again (`replay`)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.verify import Finding, verify_tree
from minibot.replay.engine import Recorded
from minibot.replay.lineage import verify_lineage
from minibot.runtime.manifest import Manifest
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
    if lineage and (path / "manifest.json").exists():
        parts.append(_lineage(path))
    return itertools.chain(*parts)


def pinned_key(path: Path) -> str | None:
    """Return the key that the manifest of a run pins for its seal, if it is one and can be read.

    Whoever rewrites a whole run can leave it out there, so a key known from elsewhere is better.
    """
    try:
        return public_key_of(Manifest.load(path).config)
    except (RunStop, KeyError, TypeError, AttributeError):
        return None  # No run, or a damaged one, of which verify tells.


def _lineage(path: Path) -> Iterator[Finding]:
    try:
        yield from verify_lineage(Recorded.open(path))
    except RunStop as error:
        yield Finding(str(path), 0, 0, error.reason_code, "a readable run", error.detail)
    except Refusal as error:
        yield Finding(str(path), 0, 0, "CONFIG_INVALID", "a readable run", str(error))


def finding_line(finding: Finding) -> str:
    """Return a finding in one line: code, place, what was expected and what is there."""
    line = f"{finding.file}:{finding.line} (byte {finding.offset})"
    place = line if finding.line else finding.file
    return f"{finding.code} {place}: expected {finding.expected}, found {finding.found}"
