"""minibot alert test: send one message to each target of a profile and say how each went."""

from __future__ import annotations

import argparse

from minibot.cli.support.output import show
from minibot.cli.support.own_profile import ELSE_OWN, take_profile
from minibot.cli.support.profile import own_var, profile_of
from minibot.cli.support.selection import add_profile
from minibot.kernel.errors import Refusal

HELP = "try the alerts of a profile: one message to each target, OK or FAIL with the reason"
EXAMPLE = "minibot alert test --config my-night.json"
CHECK_FAILED = 1


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "action",
        nargs="?",
        choices=("test",),
        default="test",
        help="test (also without it): send a message to each target",
    )
    add_profile(command, needed=False, else_=ELSE_OWN)


def run(arguments: argparse.Namespace) -> int:
    """Send the messages; 0 when all arrived, 1 when one did not, 2 without alerts.

    Either outcome is noted in place of the former one, for `minibot doctor` and `minibot ready`.
    """
    # Imported here because `--help` needs none of it.
    from minibot.ops.alerts.target_trial import note_trial, try_targets
    from minibot.ops.alerts.targets import secrets_of
    from minibot.runtime.extras import ALERTS, ALERTS_REMEDY, missing_packages

    take_profile(arguments)
    config = profile_of(arguments, *own_var(arguments))
    if config.alerts is None:
        raise Refusal(f"{config.profile} has no section alerts.", "See docs/OPERATING.md.")
    if missing := missing_packages(ALERTS):
        raise Refusal(f"{missing} is not installed.", ALERTS_REMEDY)
    secrets = secrets_of(config.secrets.path)
    outcomes = try_targets(config.alerts, secrets)
    have_arrived = all(each.is_sent for each in outcomes.values())
    note_trial(config.var, config.profile, config.alerts, outcomes)
    document = {
        "ok": have_arrived,
        "targets": {
            name: {"ok": each.is_sent, "why": each.why or None} for name, each in outcomes.items()
        },
    }
    lines = [
        f"{'OK  ' if each.is_sent else 'FAIL'}  {name}{f': {each.why}' if each.why else ''}"
        for name, each in outcomes.items()
    ]
    show(arguments, document, lines)
    return 0 if have_arrived else CHECK_FAILED
