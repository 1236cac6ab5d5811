"""minibot halt (also stopentry): allow no new entries until `minibot resume`; exits go on."""

from __future__ import annotations

import argparse

from minibot.cli.support.request import add_reason, ask

HELP = "no new entries in the running night until `minibot resume`; exits go on"
EXAMPLE = 'minibot halt --reason "news at 14:00"'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_reason(command)


def run(arguments: argparse.Namespace) -> int:
    """Leave the request; 3 when no run is running."""
    return ask(arguments, "halt", "no new entries from now on")
