"""minibot resume: new entries are allowed again after `minibot halt`; no limit grows by it."""

from __future__ import annotations

import argparse

from minibot.cli.support.request import add_reason, ask

HELP = "allow new entries again after `minibot halt`"
EXAMPLE = 'minibot resume --reason "news are out"'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_reason(command)


def run(arguments: argparse.Namespace) -> int:
    """Leave the request; 3 when nothing runs."""
    return ask(arguments, "resume", "entries are allowed again")
