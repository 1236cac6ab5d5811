"""Completion of a command line for a shell, which requests it by environment variables.

Only the verb that is typed is imported; without one the names of all verbs are enough. Runs,
profiles and keys are looked up only when needed.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import argcomplete
from argcomplete.completers import FilesCompleter

from minibot.cli.main import ALIASES, parser, verbs
from minibot.cli.support.own_profile import SCHEMA, own_profiles
from minibot.cli.support.selection import var_of
from minibot.kernel.errors import MinibotError
from minibot.runtime.configuration.config_files import EXTENDS, SHIPPED, read_profile
from minibot.runtime.paths import PROJECT
from minibot.runtime.runfiles import LATEST, run_folders
from minibot.runtime.verb_groups import GROUPS

BASE: Final = SHIPPED / "nore.v1.json"
RUN: Final = "RUN"
_VERB: Final = "VERB"


def complete() -> None:
    """Write the completions of the shell's command line, and end the process."""
    line = os.environ.get("COMP_LINE", "")
    point = os.environ.get("COMP_POINT", "")
    argcomplete.autocomplete(asked_parser(line[: int(point)] if point.isdecimal() else line))


def asked_parser(line: str) -> argparse.ArgumentParser:
    """Return the parser of a command line up to the cursor: of its verb, or of all verbs' names."""
    words = line.split()
    has_verb = len(words) > 2 or (len(words) == 2 and line[-1:].isspace())
    if has_verb and verbs(words[1]):
        top = parser(words[1])
        for command in _commands(top):
            _give_completers(command)
        return top
    plain = argparse.ArgumentParser(prog="minibot")
    names = plain.add_subparsers(metavar=_VERB)
    for purpose, group in GROUPS.values():
        for name in group:
            names.add_parser(name, help=purpose)
    for alias, name in ALIASES.items():
        names.add_parser(alias, help=f"as {name}")
    return plain


def _commands(top: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def _give_completers(command: argparse.ArgumentParser) -> None:
    """Give a completer to each argument whose values can be looked up."""
    for action in command._actions:
        found: Callable[..., Iterable[str]] | None = None
        if action.metavar == RUN:
            found = _runs
        elif action.dest == "config" or (action.dest == "file" and "config" in command.prog):
            found = _profiles
        elif action.dest == "set":
            found = _keys
        elif action.metavar == _VERB:
            found = _verbs
        if found is not None:
            action.completer = found  # type: ignore[attr-defined]  # argcomplete reads it.


def _runs(parsed_args: argparse.Namespace, **_: object) -> Iterable[str]:
    """Return the ids of the runs on the `var` that is named, newest first."""
    parsed_args.var = getattr(parsed_args, "var", None)
    return [LATEST, *(path.name for path in reversed(run_folders(var_of(parsed_args).runs)))]


def _profiles(prefix: str, **_: object) -> Iterable[str]:
    """Return the profiles here, the shipped ones, and other JSON files."""
    here = Path.cwd()
    own = [path.name for path in own_profiles(here)]
    shipped = [path.relative_to(PROJECT).as_posix() for path in _shipped()]
    return dict.fromkeys([*own, *shipped, *FilesCompleter(("json",))(prefix)])


def _shipped() -> Iterator[Path]:
    for path in sorted(SHIPPED.glob("*.v1.json")):
        try:
            raw = read_profile(path).raw
        except MinibotError:
            continue
        if raw.get("schema") == SCHEMA:
            yield path


def _keys(**_: object) -> Iterable[str]:
    """Return the keys of the shipped night's profile, each with its equals sign."""
    return [f"{key}=" for key in read_profile(BASE).origin if key != EXTENDS]


def _verbs(**_: object) -> Iterable[str]:
    return [name for _purpose, names in GROUPS.values() for name in names]
