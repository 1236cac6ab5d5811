"""minibot replay: the recorded inputs through the same cores, compared byte for byte."""

from __future__ import annotations

import argparse

from minibot.cli.output import progress_bar, show
from minibot.cli.selection import add_run, run_dir_of
from minibot.replay.compare import describe
from minibot.replay.engine import CORE_ROLES, Replay, replay_run

HELP = "re-run every decision of a run and compare each derived event byte for byte"
EXAMPLE = "minibot replay latest"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)
    command.add_argument(
        "--role", choices=CORE_ROLES, action="append", help="this role alone (may be repeated)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Replay a run; 0 identical, 1 with the first differing event."""
    run_dir = run_dir_of(arguments)
    with progress_bar(f"replaying {run_dir.name}") as show_progress:
        replay = replay_run(run_dir, arguments.role or CORE_ROLES, show_progress)
    show(arguments, as_json(replay), lines(replay))
    return 0 if replay.is_identical else 1


def as_json(replay: Replay) -> dict[str, object]:
    """Return the verdict as one JSON object."""
    return {
        "run_id": replay.run_id,
        "identical": replay.is_identical,
        "digest": replay.digest,
        "roles": [
            {
                "role": role.role,
                "inputs": role.inputs,
                "outputs": role.outputs,
                "missing": role.missing,
                "unproven": role.unproven,
                "digests": role.digests,
            }
            for role in replay.roles
        ],
        "difference": None if replay.difference is None else describe(replay.difference),
    }


def lines(replay: Replay) -> list[str]:
    """Return the verdict in words, the verdict itself last."""
    said = []
    for role in replay.roles:
        outputs = ", ".join(f"{count} {queue}" for queue, count in role.outputs.items())
        said.append(f"{role.role}: {role.inputs} inputs taken again, {outputs} equal")
        if role.missing:
            said.append(f"  {role.missing} outputs of the last logged range are missing")
        if role.unproven:
            said.append(f"  {role.unproven} events stand beyond the last logged input: unproven")
    if replay.difference is not None:
        said += describe(replay.difference)["lines"]
    verdict = "identical" if replay.is_identical else "DIFFERENT"
    said.append(f"replay {replay.run_id}: {verdict}, digest {replay.digest}")
    return said
