"""Profile of a command line: one way for all verbs, so that each accepts and refuses the same."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING

from minibot.cli.support.output import speak_of_folder
from minibot.cli.support.selection import var_of
from minibot.events.model import JsonObject
from minibot.kernel.errors import ConfigError

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

    return as_typed(load_config(arguments.config, [*arguments.set, *sets], os.environ))


def as_typed(config: Config) -> Config:
    """Return a profile unless a typed value of it has no effect.

    Raises:
        ConfigError: It has; with every violation.
    """
    from minibot.runtime.configuration.config_rules import typed_violations

    if found := tuple(typed_violations(config.raw, config.origin)):
        raise ConfigError("a typed value has no effect in this profile.", found, "")
    return config


def profile_of_start(arguments: argparse.Namespace, *sets: str) -> Config:
    """Return the profile with which a night starts: `profile_of`, with its staged settings.

    Staged settings (shown and changed by `minibot settings` and the page) are weaker than
    environment and `--set`; no other profile of a command line has them.
    Messages speak of the profile's folder from here on: other verbs do not look for it.

    Raises:
        ConfigError: With every violation.
        Refusal: The record of staged settings cannot be read.
    """
    from minibot.runtime.configuration.config import load_config
    from minibot.runtime.configuration.staged_settings import changes_of, staged_values

    config = profile_of(arguments, *sets)
    speak_of_folder(config.var.root)
    staged = staged_values(changes_of(config.var.ops), config.profile)
    if not staged:
        return config
    try:
        return as_typed(load_config(arguments.config, [*arguments.set, *sets], os.environ, staged))
    except ConfigError as error:
        remedy = "Take staged settings back: minibot settings --take-back-all; then start again."
        raise ConfigError(error.message, error.violations, remedy) from error


def staged_lines(config: Config) -> list[str]:
    """Return a line for each staged setting that a start takes."""
    from minibot.runtime.configuration.config import value_of
    from minibot.runtime.configuration.config_layers import STAGED

    keys = [key for key, origin in config.origin.items() if origin == STAGED]
    return [f"staged: {key} = {json.dumps(value_of(config.raw, key))}" for key in keys]


def own_var(arguments: argparse.Namespace) -> list[str]:
    """Return `--var` as a text of `--set` for a profile; empty without the flag."""
    return [] if arguments.var is None else [f"paths.var={var_of(arguments).root}"]


def recorded_profile(raw: JsonObject, arguments: argparse.Namespace) -> Config:
    """Return the profile of a recorded run, changed in the same way.

    Raises:
        ConfigError: With every violation.
    """
    from minibot.runtime.configuration.config import config_with

    return as_typed(config_with(raw, arguments.set, os.environ))
