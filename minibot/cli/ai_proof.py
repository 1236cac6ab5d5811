"""minibot ai-proof: replay a recorded run with and without the AI; orders must be equal."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from minibot.ai.proof import AiProof, prove
from minibot.cli.support.output import show
from minibot.cli.support.selection import add_run, run_dir_of, var_of
from minibot.engine.role_replay import replay_run
from minibot.events.names import ORDER_INTENTS
from minibot.kernel.errors import Refusal
from minibot.replay.compare import describe
from minibot.replay.run_status import called

HELP = "replay a run with and without the AI: every order has to be the same"
EXAMPLE = "minibot ai-proof latest"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)


def run(arguments: argparse.Namespace) -> int:
    """Prove a run; 0 when its orders do not depend on the AI, else 1."""
    scratch = var_of(arguments).lab_of(f"ai_proof-{os.getpid()}").root
    proof = prove(run_dir_of(arguments), digests, scratch)
    show(arguments, proof.to_json(), lines(proof))
    return 0 if proof.holds else 1


def digests(run_dir: Path, without: Collection[str]) -> Mapping[str, str]:
    """Return the digest of every queue that a replay of the run derives.

    Args:
        run_dir: The run's folder.
        without: Types of events that no core is given.

    Raises:
        Refusal: Replay and record differ, so the digests cover only a part of the run.
    """
    replay, why = replay_run(run_dir, without=without), ""
    if replay.difference is not None:
        why = f": {describe(replay.difference)['lines'][0]}"
    if not replay.is_identical:
        raise Refusal(
            f"{run_dir.name} does not replay as recorded{why}.",
            f"See: minibot replay {called(run_dir)}",
        )
    return {queue: digest for role in replay.roles for queue, digest in role.digests.items()}


def lines(proof: AiProof) -> list[str]:
    """Return the proof in words, the verdict last."""
    output = [
        f"{view}: {ORDER_INTENTS} {seen.get(ORDER_INTENTS, '-')}"
        for view, seen in proof.views.items()
    ]
    output += proof.differences
    verdict = "identical" if proof.holds else "DIFFERENT"
    count = proof.recommendations
    output.append(f"ai-proof {proof.run_id}: {verdict} with and without {count} recommendations")
    return output
