"""Proof that orders are the same without the AI: its second view, made of links."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from minibot.ai.proof import prove
from minibot.events.names import ORDER_INTENTS

QUEUE = Path("queues", ORDER_INTENTS, "inbox.jsonl")


def run_with(folder: Path, intents: bytes) -> Path:
    """Make the folder of a run with these order intents."""
    run_dir = folder / "20251120_000000"
    (run_dir / QUEUE).parent.mkdir(parents=True)
    (run_dir / QUEUE).write_bytes(intents)
    return run_dir


def digests(run_dir: Path, without: Collection[str]) -> Mapping[str, str]:
    """Return the digest of a run's order intents."""
    return {ORDER_INTENTS: hashlib.sha256((run_dir / QUEUE).read_bytes()).hexdigest()}


def test_view_left_by_a_proof_that_was_killed_is_not_written_through(tmp_path: Path) -> None:
    """A left view is made of links to a sealed run, which another copy may not overwrite."""
    scratch = tmp_path / "scratch"
    former = run_with(tmp_path / "former", b"sealed\n")
    left = run_with(scratch / "runs", b"")
    (left / QUEUE).unlink()
    os.link(former / QUEUE, left / QUEUE)
    copy = run_with(tmp_path / "copy", b"copied, and longer\n")

    proof = prove(copy, digests, scratch)

    assert (former / QUEUE).read_bytes() == b"sealed\n"
    assert proof.holds
    assert not scratch.exists()
