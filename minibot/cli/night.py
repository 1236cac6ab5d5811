"""minibot night (also trade): run a night, the same as `python -m minibot.nore_run_v1`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from minibot.cli.main import Parser, add_common, guarded
from minibot.cli.support.idea import add_idea, fed, judge_played, take_idea
from minibot.cli.support.output import say
from minibot.cli.support.own_profile import profile_for_night
from minibot.cli.support.profile import own_var, profile_of
from minibot.cli.support.selection import add_profile
from minibot.runtime.interpreter import python_argv
from minibot.runtime.paths import find

if TYPE_CHECKING:
    from minibot.watchdog.launcher import Display

HELP = "run a night: six processes on paper, from preflight to sealed proof"
EXAMPLE = "minibot night --config config/nore-demo.v1.json"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of the night run."""
    add_profile(command, needed=False, else_="your own profile here, else the demo")
    add_idea(command, is_night=True)
    command.add_argument(
        "--dry-run", action="store_true", default=True, help="always true: minibot trades on paper"
    )
    command.add_argument("--quiet", action="store_true", help="show nothing while it runs")
    command.add_argument(
        "--no-proof", action="store_true", help="skip verify and replay at the end"
    )


def run_parsed(arguments: argparse.Namespace) -> int:
    """Run one night from parsed arguments and return its exit code."""
    # Imported here because `--help` needs nothing of a run.
    from minibot.cli.support.outcome import judge
    from minibot.cli.support.strategy_trial import require_runnable
    from minibot.market.venue_access import server_time
    from minibot.watchdog.launcher import launch

    if arguments.config is None:
        arguments.config, why = profile_for_night(Path.cwd())
        say(why)
    take_idea(arguments)
    config = fed(arguments, profile_of(arguments, *own_var(arguments)))
    judge_played(arguments, config)
    require_runnable(config)
    outcome = launch(config, find(arguments.config), _display(arguments), say, server_time)
    return judge(outcome, proof=not arguments.no_proof, as_json=arguments.json)


def _display(arguments: argparse.Namespace) -> Display:
    from minibot.watchdog.launcher import Display

    if arguments.quiet:
        return Display()
    argv = tuple(python_argv("minibot.cli.support.live"))
    # With --json standard output holds one document and nothing else.
    return Display((*argv, "--stderr") if arguments.json else argv)


run = run_parsed


def main(argv: Sequence[str]) -> int:
    """Parse the launch command of the specification and run it."""
    command = Parser(
        prog="python -m minibot.nore_run_v1", description=HELP, epilog=f"example: {EXAMPLE}"
    )
    add_common(command)
    add_arguments(command)
    command.set_defaults(run=run_parsed)
    command.refuse_unknown_flag(argv)
    return guarded(command.parse_args(argv))
