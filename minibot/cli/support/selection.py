"""Selection of the run that a verb is about: a run id, a directory, or `latest`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from minibot.cli.support.packed import ARCHIVE, is_bundle, unpacked
from minibot.kernel.errors import Refusal
from minibot.report.figures import plain_text
from minibot.runtime.command_place import PLACELESS, Place, folder_word
from minibot.runtime.paths import Var, plain, resolve
from minibot.runtime.runfiles import LATEST, is_run_folder, is_unbegun, own_runs, refuse_closed

# Longest part of a name that a message repeats, in characters.
SHOWN_MAX = 100
_TYPED = "typed_config"


def var_of(arguments: argparse.Namespace) -> Var:
    """Return the folders of a verb: `--var`, relative to the working folder, else the project's.

    A leading `minibot/` is dropped before a folder of the project, as in `minibot/var`, and only
    there (X-16). A typed `..` is wanted; profiles, into which the path goes, refuse it.

    Raises:
        Refusal: Only another user may look into it, or it is a file. It would look empty: no run,
            no STOP.
    """
    root = _root_of(arguments)
    refuse_closed(root)
    var = Var(root)
    # Beside what a lost `var` was replaced by, its flag is what is to be told.
    if os.path.isfile(root) and not os.path.lexists(var.flag_beside):
        raise Refusal(f"{root} is a file, no folder of runs.", "Name a folder: --var DIR")
    return var


def place_of(arguments: argparse.Namespace) -> Place:
    """Return the place that a verb's messages name in further commands."""
    if getattr(arguments, "verb", "") in PLACELESS:
        return Place()
    profile = str(getattr(arguments, _TYPED, ""))
    try:
        return Place(folder_word(_root_of(arguments)), profile)
    except (OSError, ValueError):  # No folder can have this name; the verb refuses it.
        return Place(profile=profile)


def _root_of(arguments: argparse.Namespace) -> Path:
    if arguments.var is None:
        return resolve("var")
    return Path(os.path.abspath(plain(arguments.var)))


def add_run(command: argparse.ArgumentParser, *, needed: bool = False) -> None:
    """Add the RUN argument of a verb; `needed` where another one follows it."""
    text = "run id, directory or latest"
    if needed:
        command.add_argument("run_name", metavar="RUN", help=text)
    else:
        command.add_argument("run_name", nargs="?", default=LATEST, metavar="RUN", help=text)


def add_zone(command: argparse.ArgumentParser) -> None:
    """Add `--zone`, the time zone of a verb's input and output."""
    command.add_argument(
        "--zone", metavar="ZONE", help="times in this zone: UTC (default), local, Europe/Berlin ..."
    )


def run_dir_of(arguments: argparse.Namespace) -> Path:
    """Return the folder of the run that a verb names.

    Raises:
        Refusal: There is no such run.
    """
    return find_run(str(arguments.run_name), var_of(arguments))


def find_run(name: str, var: Var) -> Path:
    """Return the folder of a run by id, directory, bundle or `latest`; packed ones are unpacked.

    Raises:
        Refusal: There is no such run.
    """
    if name == LATEST:
        refuse_closed(var.runs)
        found = next(own_runs(var.runs), None)
        if found is None:
            raise Refusal(
                f"there is no run under {var.runs}.", "Start one: minibot night --config ..."
            )
        return found[0]
    for path in _places(name, var):
        if is_run_folder(path):
            return path.resolve()
        archive = _archive_at(path)
        if archive is not None:
            return unpacked(archive, var.root).resolve()
    refuse_closed(var.runs)
    shown = plain_text(name, SHOWN_MAX) or "''"
    if any(map(is_unbegun, _places(name, var))):
        raise Refusal(
            f"{shown} is a start that ended before it made a run: its folder is empty.",
            "Prune removes it, see: minibot prune --help",
        )
    raise Refusal(
        f"{shown} is not a run id under {var.runs} and no run's folder.", "See: minibot runs"
    )


def packed_run(name: str, var: Var) -> Path | None:
    """Return the archive that `find_run` would unpack for a name; None where it would not."""
    for path in _places(name, var) if name != LATEST else ():
        if is_run_folder(path):
            return None
        archive = _archive_at(path)
        if archive is not None:
            return archive
    return None


def is_run_named(name: str, var: Var) -> bool:
    """Return whether `find_run` would find a run, packed or not, by another word than `latest`."""
    return any(is_run_folder(path) or _archive_at(path) is not None for path in _places(name, var))


def _archive_at(path: Path) -> Path | None:
    if os.path.isfile(path / ARCHIVE):
        return path / ARCHIVE
    return path if os.path.isfile(path) and is_bundle(path) else None


def _places(name: str, var: Var) -> tuple[Path, ...]:
    # An empty name would match both of these folders.
    return (var.runs / name, Path(name)) if name else ()


class TypedProfile(argparse.Action):
    """Flag `--config`, which also notes that its value is no default."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Take the value."""
        setattr(namespace, self.dest, values)
        setattr(namespace, _TYPED, values)


def add_profile(
    command: argparse.ArgumentParser,
    default: Path | None = None,
    *,
    needed: bool = True,
    else_: str = "",
) -> None:
    """Add `--config` and `--set`, the same for every verb that takes a profile.

    Without a default `--config` has to be given, unless it is not `needed`: then it may be None,
    which `else_` explains.
    """
    means = else_ if default is None else default.as_posix()
    shown = f" (default: {means})" if means else ""
    command.add_argument(
        "-c",
        "--config",
        required=needed and default is None,
        default=default,
        action=TypedProfile,
        type=Path,
        help=f"the run profile{shown}",
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override one key; stronger than MINIBOT__SECTION__KEY and the file",
    )
