"""Options for the treatment of bad data: the same words for every verb that reads data files."""

from __future__ import annotations

import argparse

from minibot.data.treatment import CHOICES, MEANINGS, REFUSE, Treatment


def add_treatment(command: argparse.ArgumentParser) -> None:
    """Add one option for each kind of defect that a data file may have."""
    group = command.add_argument_group(
        "bad data", "each kind of trouble refuses the file by default"
    )
    for code, choices in CHOICES.items():
        group.add_argument(
            f"--{code.replace('_', '-')}", choices=choices, default=REFUSE, help=MEANINGS[code]
        )


def treatment_of(arguments: argparse.Namespace) -> Treatment:
    """Return the treatment that the options choose."""
    return Treatment(**{code: getattr(arguments, code) for code in CHOICES})
