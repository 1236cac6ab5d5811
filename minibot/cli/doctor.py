"""minibot doctor: check that this machine can run a profile, and name what is missing."""

from __future__ import annotations

import argparse
from pathlib import Path

from minibot.cli.main import CHECK_FAILED
from minibot.cli.support.output import show_json, show_lines, show_rows
from minibot.cli.support.profile import own_var, profile_of_start, staged_lines
from minibot.cli.support.selection import add_profile
from minibot.kernel.errors import Refusal
from minibot.runtime.pasting import pasted

HELP = "can this machine run a profile? OK, WARN or FAIL, each with the command that fixes it"
EXAMPLE = "minibot doctor --config config/nore.v1.json"
# How long the streams of `--exchange` are listened to, in minutes.
MINUTES = "5"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_profile(command, default=Path("config/nore.v1.json"))
    command.add_argument(
        "--exchange",
        action="store_true",
        help="contact the host itself: compare all that it sends with what is recorded of it",
    )
    command.add_argument(
        "--minutes",
        metavar="N",
        help=f"how long the streams are listened to with --exchange (default: {MINUTES})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Check what a start checks, and what may spoil a night; 1 when a check fails, else 0.

    With `--exchange`, contact the host instead: 0 when it is as expected, 1 when it differs.
    """
    # Imported here because `--help` needs none of it.
    from minibot.cli.support.doctor_checks import as_json, examine, rows, verdict
    from minibot.cli.support.exchange_contact import meet_exchange
    from minibot.report.summary import Row
    from minibot.strategies.trial_process import require_runnable

    if arguments.minutes is not None and not arguments.exchange:
        raise Refusal("--minutes belongs to --exchange.", "Add it, or leave this flag out.")
    config = profile_of_start(arguments, *own_var(arguments))
    require_runnable(config)
    if arguments.exchange:
        minutes = MINUTES if arguments.minutes is None else arguments.minutes
        return meet_exchange(arguments, config, minutes)
    results = list(examine(config, config.var, _words(arguments)))
    failed = [result for result in results if not result.passed]
    if arguments.json:
        show_json({"profile": config.profile, "ok": not failed, "checks": as_json(results)})
    else:
        show_rows([Row(f"doctor, profile {config.profile}"), *rows(results)])
        show_lines([*staged_lines(config), "", verdict(config.profile, results)])
    return CHECK_FAILED if failed else 0


def _words(arguments: argparse.Namespace) -> str:
    """Return the words that name the same profile and `var` to another verb."""
    words = ["--config", str(arguments.config)]
    for text in arguments.set:
        words += ["--set", text]
    if arguments.var is not None:
        words += ["--var", str(arguments.var)]
    return pasted(*words)
