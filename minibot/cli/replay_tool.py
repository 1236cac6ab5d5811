"""minibot replay-tool: list, compare and explain stored runs, by the verbs that do so."""

from __future__ import annotations

import argparse

HELP = "list, diff or explain stored runs (the same as minibot runs, diff and explain)"
EXAMPLE = "minibot replay-tool diff RUN_A RUN_B"
VERBS = {"list": "runs", "diff": "diff", "explain": "explain"}


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("tool", choices=sorted(VERBS), help="what to do")
    command.add_argument(
        "rest", nargs=argparse.REMAINDER, metavar="...", help="what that verb takes"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb of the tool and return its exit code."""
    # Imported here, because `main` imports every verb.
    from minibot.cli.main import run as run_verb

    flags = [f"--{name}" for name in ("json", "debug") if getattr(arguments, name)]
    flags += ["--var", arguments.var] if arguments.var is not None else []
    return run_verb([VERBS[arguments.tool], *arguments.rest, *flags])
