"""minibot resume: allow new entries again after `minibot halt`; limits stay as they are."""

from __future__ import annotations

import argparse

from minibot.cli.support.request import add_reason, ask

HELP = "allow new entries again after `minibot halt`"
EXAMPLE = 'minibot resume --reason "news are out"'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_reason(command)


def run(arguments: argparse.Namespace) -> int:
    """Leave the request; 3 when no run is running."""
    return ask(arguments, "resume", "entries are allowed again")
