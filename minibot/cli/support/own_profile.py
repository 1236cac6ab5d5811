"""Own profiles: the overlays in the working folder, which `minibot new-config` writes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Final

from minibot.cli.support.output import say
from minibot.kernel.errors import Refusal
from minibot.runtime.configuration.config_files import EXTENDS, FILE_BYTES_MAX

DEMO: Final = Path("config/nore-demo.v1.json")
"""The profile of a night if none is named and the working folder has none."""

ELSE_OWN: Final = "your own profile here, else the demo"
"""Default of `--config` for verbs that call `take_profile`."""

SCHEMA: Final = "minibot.config"
_SUFFIX: Final = ".json"


def own_profiles(folder: Path) -> list[Path]:
    """Return the overlays directly in a folder, by name.

    A file counts if it is a JSON object of the schema `minibot.config` with `extends`; whatever
    cannot be read as one is another program's file.
    """
    return [path for path in sorted(folder.glob(f"*{_SUFFIX}")) if _is_overlay(path)]


def _is_overlay(path: Path) -> bool:
    try:
        if not path.is_file() or path.stat().st_size > FILE_BYTES_MAX:
            return False
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("schema") == SCHEMA and EXTENDS in found


def profile_for_night(folder: Path) -> tuple[Path, str]:
    """Return the profile of a night started without `--config`, and why that one.

    Raises:
        Refusal: The folder holds several own profiles.
    """
    found = own_profiles(folder)
    if not found:
        return DEMO, f"no --config and no profile of your own here: the demo, {DEMO.as_posix()}"
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise Refusal(f"{len(found)} profiles are here: {names}.", "Name one with --config.")
    return Path(found[0].name), f"no --config: your profile here, {found[0].name}"


def take_profile(arguments: argparse.Namespace) -> None:
    """Take the profile of a night where `--config` is not given, and say which and why.

    Raises:
        Refusal: The working folder holds several own profiles.
    """
    if arguments.config is None:
        arguments.config, why = profile_for_night(Path.cwd())
        say(why)
