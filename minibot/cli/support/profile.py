"""Profile of a command line: one way for all verbs, so that each accepts and refuses the same."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from minibot.cli.support.selection import var_of
from minibot.events.model import JsonObject

if TYPE_CHECKING:
    from minibot.runtime.configuration.config import Config


def profile_of(arguments: argparse.Namespace, *sets: str) -> Config:
    """Return the profile that `--config` names, changed by the environment, then by `--set`.

    Args:
        arguments: The arguments of a verb with the flags of `selection.add_profile`.
        sets: Further texts `section.key=value`, made from the verb's own flags.

    Raises:
        ConfigError: With every violation.
    """
    # Imported here because `--help` needs none of it.
    from minibot.runtime.configuration.config import load_config

    return load_config(arguments.config, [*arguments.set, *sets], os.environ)


def own_var(arguments: argparse.Namespace) -> list[str]:
    """Return `--var` as a text of `--set` for a profile; empty without the flag."""
    return [] if arguments.var is None else [f"paths.var={var_of(arguments).root}"]


def recorded_profile(raw: JsonObject, arguments: argparse.Namespace) -> Config:
    """Return the profile of a recorded run, changed in the same way.

    Raises:
        ConfigError: With every violation.
    """
    from minibot.runtime.configuration.config import config_with

    return config_with(raw, arguments.set, os.environ)
