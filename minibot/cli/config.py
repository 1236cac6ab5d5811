"""minibot config (also show-config): check a profile and show its resolved values."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minibot.cli.support.output import show
from minibot.cli.support.profile import own_var, profile_of_start
from minibot.cli.support.selection import TypedProfile, add_profile
from minibot.kernel.errors import Refusal
from minibot.runtime.configuration.config import Config
from minibot.strategies.trial_process import require_runnable

HELP = "check a profile, or show what file, staged settings, environment and --set come to"
EXAMPLE = "minibot config show --config config/nore-demo.v1.json --origin"
DEFAULT = Path("config/nore.v1.json")


class TypedFile(TypedProfile):
    """Argument FILE, whose profile messages name as they name that of `--config`."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Take the value, if there is one."""
        if values is not None:
            super().__call__(parser, namespace, values, option_string)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("action", choices=("check", "show"), help="check it, or show all of it")
    command.add_argument(
        "file",
        nargs="?",
        action=TypedFile,
        type=Path,
        metavar="FILE",
        help="the run profile, the same as --config",
    )
    add_profile(command, default=DEFAULT)
    command.add_argument(
        "--origin",
        action="store_true",
        help="beside each value: its file and layer (base, overlay, staged, environment) or --set",
    )


def run(arguments: argparse.Namespace) -> int:
    """Check or show; 0 valid, 4 with every violation."""
    if arguments.file is not None:
        if arguments.config is not DEFAULT:  # Typed, and be it the default's own name.
            raise Refusal("FILE and --config both name a profile.", "Give one of them.")
        arguments.config = arguments.file
    config = profile_of_start(arguments, *own_var(arguments))
    require_runnable(config)
    document: dict[str, Any] = {"profile": config.profile, "sha256": config.sha256}
    if arguments.action == "check":
        line = f"{arguments.config} is valid: profile {config.profile}, sha256 {config.sha256}"
        show(arguments, {**document, "valid": True}, [line])
        return 0
    values = dict(_leaves("", config.raw))
    width = max(len(key) for key in values)
    lines = []
    for key, value in values.items():
        shown = json.dumps(value)
        origin = f"  [{_origin(config, key)}]" if arguments.origin else ""
        lines.append(f"{key:<{width}}  {shown}{origin}")
    document["config"] = config.raw
    if arguments.origin:
        document["origin"] = dict(config.origin)
        document["layer"] = {key: config.layer_of(key) for key in config.origin}
    show(arguments, document, [*lines, f"sha256 {config.sha256}"])
    return 0


def _origin(config: Config, key: str) -> str:
    """Return the file or variable from which a value comes, and its layer."""
    name, layer = config.origin.get(key, "file"), config.layer_of(key)
    return name if layer in ("", name) else f"{name}, {layer}"


def _leaves(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from _leaves(f"{prefix}.{key}" if prefix else key, child)
    else:
        yield prefix, value
