"""minibot night (also trade): run a night, the same as `python -m minibot.nore_run_v1`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from minibot.cli.main import Parser, add_common, guarded
from minibot.cli.support.idea import SHOWN_MAX, add_idea, fed, judge_played, take_idea
from minibot.cli.support.output import say
from minibot.cli.support.own_profile import ELSE_OWN, take_profile
from minibot.cli.support.profile import own_var, profile_of_start, staged_lines
from minibot.cli.support.selection import add_profile
from minibot.kernel.errors import Refusal
from minibot.report.figures import plain_text
from minibot.runtime.interpreter import python_argv
from minibot.runtime.pasting import pasted
from minibot.runtime.paths import find

if TYPE_CHECKING:
    from minibot.runtime.configuration.config import Config

HELP = "run a night: six processes on paper, from preflight to sealed proof; or one every evening"
EXAMPLE = "minibot night --config config/nore-demo.v1.json"
FLAG: Final = "--every-evening"
OFF: Final = "off"
PAGE: Final = 'page={"port":0,"required":true}'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of the night run."""
    add_profile(command, needed=False, else_=ELSE_OWN)
    add_idea(command, is_night=True)
    command.add_argument(
        "--dry-run", action="store_true", default=True, help="always true: minibot trades on paper"
    )
    command.add_argument(
        "--open", action="store_true", help="open its page in the browser (see: minibot page)"
    )
    command.add_argument(
        FLAG,
        default=OFF,
        metavar="HH:MM",
        help="wait for this local time, each day again, until a night does not end in order",
    )
    command.add_argument(
        "--zone", default="local", help="zone of that time: local (default), UTC, Europe/Berlin ..."
    )
    command.add_argument("--quiet", action="store_true", help="show nothing while it runs")
    command.add_argument(
        "--no-proof", action="store_true", help="skip verify and replay at the end"
    )


def run_parsed(arguments: argparse.Namespace) -> int:
    """Run one night, or one every evening, from parsed arguments; return its exit code."""
    if arguments.every_evening != OFF:
        return _run_evenings(arguments)
    # Imported here because `--help` needs nothing of a run.
    from minibot.cli.support.outcome import judge
    from minibot.market.venue_access import server_time
    from minibot.watchdog.launcher import launch

    config = _config(arguments)
    if arguments.open:
        _open_page(config)
    outcome = launch(config, find(arguments.config), _table(arguments), say, server_time)
    return judge(outcome, proof=not arguments.no_proof, as_json=arguments.json)


def _config(arguments: argparse.Namespace) -> Config:
    """Return the profile of the night, judged as a start judges it."""
    from minibot.cli.support.entry_checks import warned_lines
    from minibot.strategies.trial_process import require_runnable

    take_profile(arguments)
    take_idea(arguments)
    sets = own_var(arguments)
    config = profile_of_start(arguments, *sets)
    if arguments.open and config.page is None:
        say(f"means: {pasted('--set', PAGE)}")
        config = profile_of_start(arguments, *sets, PAGE)
    for line in staged_lines(config):
        say(line)
    config = fed(arguments, config)
    judge_played(arguments, config)
    require_runnable(config)
    for line in warned_lines(config):
        say(line)
    return config


def _open_page(config: Config) -> None:
    """Print the code that opens the page, and start the process that will open it."""
    from minibot.cli.support.page_opening import open_soon
    from minibot.kernel.files import ensure_folder
    from minibot.ops.one_time_code import CODE_S, Codes

    ensure_folder(config.var.page_code.parent)
    code = Codes(config.var.page_code).make()
    say(f"code for the page: {code} (once, within {CODE_S / 60:.0f} minutes; later: minibot page)")
    open_soon(config.var)


def _run_evenings(arguments: argparse.Namespace) -> int:
    """Run a night every evening; the exit code of the last one."""
    from minibot.cli.support.evenings import Evenings, SystemClock, chain, time_of_day
    from minibot.replay.time_arguments import zone_of
    from minibot.watchdog.preflight import flag_check, refuse_failed

    at = time_of_day(arguments.every_evening)
    if at is None:
        shown = plain_text(arguments.every_evening, SHOWN_MAX)
        raise Refusal(f"{FLAG} {shown}: expected a time of day.", f"Write {FLAG} 22:00.")
    zone, _ = zone_of(arguments.zone)
    config = _config(arguments)
    refuse_failed([flag_check(config.var)])
    carries = config.portfolio.carries
    # The last of several values counts. A profile that is written later takes no night over.
    words = (*arguments.argv, "--config", str(arguments.config), FLAG, OFF)
    clock = SystemClock()
    with clock.signals():
        return chain(Evenings(at, zone, words, carries), clock, clock.play, say)


def _table(arguments: argparse.Namespace) -> tuple[str, ...]:
    if arguments.quiet:
        return ()
    argv = tuple(python_argv("minibot.cli.support.live"))
    # With --json standard output holds one document and nothing else.
    return (*argv, "--stderr") if arguments.json else argv


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
    return guarded(command.parse_args(argv, argparse.Namespace(argv=("night", *argv))))
