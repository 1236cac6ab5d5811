"""minibot service: install, show or remove what starts a night every evening, and the guard."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from minibot.cli.support.output import say, show, show_json
from minibot.cli.support.own_profile import ELSE_OWN, take_profile
from minibot.cli.support.profile import own_var, profile_of_start
from minibot.cli.support.selection import add_profile, var_of
from minibot.kernel.errors import Refusal

if TYPE_CHECKING:
    from minibot.cli.support.service_files import Service

HELP = "start a night every evening, and the guard, by systemd or Windows: install, show, remove"
EXAMPLE = "minibot service install --config my-night.json --every-evening 22:00"
ACTIONS: Final = ("install", "remove", "show")
NIGHT, GUARD, BOTH = "night", "guard", "both"
PREFIX: Final = "minibot-"
EVENING: Final = "22:00"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("action", choices=ACTIONS, help="what to do")
    command.add_argument(
        "what", nargs="?", default=BOTH, choices=(NIGHT, GUARD, BOTH), help="default: both"
    )
    add_profile(command, needed=False, else_=ELSE_OWN)
    command.add_argument(
        "--every-evening",
        default=EVENING,
        metavar="HH:MM",
        help=f"local time at which each night begins (default: {EVENING})",
    )
    command.add_argument(
        "--zone", default="local", help="zone of that time: local (default), UTC, Europe/Berlin ..."
    )
    command.add_argument(
        "--dry-run", action="store_true", help="print what would be written, and write nothing"
    )


def run(arguments: argparse.Namespace) -> int:
    """Install, remove or show; 0, or 2 if there is a file of another origin."""
    # Imported here because `--help` needs none of it.
    if sys.platform == "win32":
        from minibot.cli.support.windows_tasks import WindowsTasks as Manager
    else:
        from minibot.cli.support.systemd_units import SystemdUnits as Manager

    manager, names = Manager(), [NIGHT, GUARD] if arguments.what == BOTH else [arguments.what]
    if arguments.action == "remove":
        standing = [name for name in names if manager.path(PREFIX + name).exists()]
        lines = [
            line for name in names for line in manager.remove(PREFIX + name, arguments.dry_run)
        ]
        gone = [name for name in standing if not manager.path(PREFIX + name).exists()]
        show(arguments, {"removed": gone}, lines)
        return 0
    if arguments.action == "show":
        found = {PREFIX + name: list(manager.shown(PREFIX + name)) for name in names}
        _print(arguments, found, [line for lines in found.values() for line in lines])
        return 0
    services = _services(arguments, names)
    texts = {str(manager.path(each.name)): manager.text(each) for each in services}
    document = {"files": texts, "written": not arguments.dry_run}
    if arguments.dry_run:
        lines = [
            line for path, text in texts.items() for line in (path, "", *text.splitlines(), "")
        ]
        _print(arguments, document, lines)
        return 0
    lines = [line for each in services for line in manager.install(each)]
    show(arguments, document, [*lines, *manager.hints()])
    return 0


def _print(arguments: argparse.Namespace, document: object, lines: Sequence[str]) -> None:
    """Print files as they are: `show` would shorten their paths."""
    if arguments.json:
        show_json(document)
    else:
        print(*lines, sep="\n")


def _services(arguments: argparse.Namespace, names: Sequence[str]) -> list[Service]:
    """Return the services with their commands, for a profile and time that are valid now.

    Raises:
        ConfigError: The profile is not valid.
        Refusal: The time or the zone is none, or the profile rests on this shell's environment.
    """
    from minibot.cli.support.evenings import time_of_day
    from minibot.cli.support.service_files import Service
    from minibot.replay.time_arguments import zone_of
    from minibot.runtime.paths import PROJECT, find
    from minibot.strategies.trial_process import require_runnable

    evening, zone = arguments.every_evening, arguments.zone
    if time_of_day(evening) is None:
        raise Refusal(f"--every-evening {evening}: expected a time of day.", "For example 22:00.")
    zone_of(zone)
    take_profile(arguments)
    config = profile_of_start(arguments, *own_var(arguments))
    _refuse_environment(os.environ)  # Once it is valid: a misspelt key is told as such.
    require_runnable(config)
    if GUARD in names and config.raw.get("alerts") is None:
        reason = f"{config.profile} has no section alerts, so its guard could tell nobody."
        if arguments.what == GUARD:
            raise Refusal(reason, "Add the section, see docs/OPERATING.md.")
        say(f"the night alone: {reason}")
        names = [NIGHT]
    words = ["--config", str(find(arguments.config).absolute())]
    for text in arguments.set:
        words += ["--set", text]
    if arguments.var is not None:
        words += ["--var", str(var_of(arguments).root)]
    python = [sys.executable, "-m", "minibot"]
    evenings = ["--every-evening", evening, "--zone", zone, "--quiet"]
    made = {
        NIGHT: Service(
            PREFIX + NIGHT,
            f"minibot: a night on paper every evening at {evening}",
            [*python, NIGHT, *words, *evenings],
            PROJECT,
        ),
        GUARD: Service(
            PREFIX + GUARD,
            "minibot: the guard, which alarms when a night stands still",
            [*python, GUARD, *words],
            PROJECT,
        ),
    }
    return [made[name] for name in names]


def _refuse_environment(environ: Mapping[str, str]) -> None:
    """Refuse variables of this shell that a profile follows: a service does not have them.

    Raises:
        Refusal: Names them.
    """
    from minibot.runtime.configuration.config_layers import is_variable
    from minibot.runtime.secrets import ENVIRONMENT_KEY

    if names := sorted(name for name in environ if is_variable(name) or name == ENVIRONMENT_KEY):
        raise Refusal(
            f"{', '.join(names)}: set in this shell, and a service would run without.",
            f"Write the values into the profile ({ENVIRONMENT_KEY}: secrets.path), or unset them.",
        )
