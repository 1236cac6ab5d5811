"""From a command line to a profile: the one way, so that each verb takes and refuses the same."""

from __future__ import annotations

import argparse
import os

from minibot.cli.support.selection import var_of
from minibot.events.model import JsonObject
from minibot.runtime.configuration.config import Config, config_with, load_config


def profile_of(arguments: argparse.Namespace, *sets: str) -> Config:
    """Return the profile that `--config` names, changed by the environment, then by `--set`.

    Args:
        arguments: Of a verb that has the flags of `selection.add_profile`.
        sets: Further texts `section.key=value`, which the verb's own flags come to.

    Raises:
        ConfigError: With every violation.
    """
    return load_config(arguments.config, [*arguments.set, *sets], os.environ)


def own_var(arguments: argparse.Namespace) -> list[str]:
    """Return `--var` as a text of `--set` for a profile, or none."""
    return [] if arguments.var is None else [f"paths.var={var_of(arguments).root}"]


def recorded_profile(raw: JsonObject, arguments: argparse.Namespace) -> Config:
    """Return the profile of a recorded run, changed in the same way.

    Raises:
        ConfigError: With every violation.
    """
    return config_with(raw, arguments.set, os.environ)
