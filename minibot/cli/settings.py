"""minibot settings: change values for the next start of a profile, or show what is staged."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from minibot.cli.support.output import show, speak_of_folder
from minibot.cli.support.own_profile import ELSE_OWN, take_profile
from minibot.cli.support.request import add_reason
from minibot.cli.support.selection import TypedProfile, var_of
from minibot.events.model import JsonObject
from minibot.kernel.errors import Refusal
from minibot.report.figures import date_clock, plain_text
from minibot.runtime.paths import Var, find

HELP = "change values for the next start of a profile; without a change: show what is staged"
EXAMPLE = 'minibot settings risk.positions_max=2 --reason "a thin market"'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "changes", nargs="*", metavar="SECTION.KEY=VALUE", help="a value from the next start on"
    )
    command.add_argument(
        "-c",
        "--config",
        action=TypedProfile,
        type=Path,
        help=f"the run profile (default: {ELSE_OWN})",
    )
    command.add_argument(
        "--take-back",
        action="append",
        default=[],
        metavar="SECTION.KEY",
        help="take a staged value back: the file's own holds again",
    )
    command.add_argument("--take-back-all", action="store_true", help="take all of them back")
    add_reason(command)


def run(arguments: argparse.Namespace) -> int:
    """Record the change, or show staged values and changes; 4 with every violation.

    A change that changes nothing, such as `--take-back-all` where nothing is staged, is 2.
    """
    # Imported here because `--help` needs none of it.
    from minibot.ops.operator import who
    from minibot.ops.settings import next_start, settings_document, stage
    from minibot.runtime.configuration.config import load_config

    take_profile(arguments)
    file = find(arguments.config)
    # As at a start: the folder that profile and environment name, unless `--var` does.
    is_named = arguments.var is not None
    var = var_of(arguments) if is_named else load_config(file, [], os.environ).var
    taken_back = list(arguments.take_back)
    if arguments.take_back_all:
        taken_back += next_start(var.ops, file).staged
    put = _put(arguments.changes)
    speak_of_folder(var.root)
    is_change = bool(put or taken_back or arguments.take_back_all)
    if is_change:
        stage(var.ops, file, put, taken_back, who=who(), why=arguments.reason)
    document = settings_document(next_start(var.ops, file))
    show(arguments, document, list(_lines(document, var)))
    return 0


def _put(changes: list[str]) -> dict[str, str]:
    put: dict[str, str] = {}
    for text in changes:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            shown = plain_text(text, 100)
            raise Refusal(f"{shown}: expected SECTION.KEY=VALUE.", f"Such as: {EXAMPLE}")
        if key.strip() in put:
            raise Refusal(f"{plain_text(key.strip(), 100)}: given twice.", "Give one value.")
        put[key.strip()] = value
    return put


def _lines(document: JsonObject, var: Var) -> list[str]:
    """Return the screen: staged values, violations, the latest changes."""
    staged = [each for each in document["settings"] if each["is_staged"]]
    lines = [f"profile {document['profile']}, {document['file']}, started on {var.root}"]
    if not staged:
        lines.append("nothing is staged: the next start takes the profile's own values")
    for each in staged:
        lines.append(f"staged  {each['key']} = {each['next']}  (the file says {each['own']})")
    for violation in document["violations"]:
        lines.append(f"refused at the next start: {violation}")
    for change in document["changes"][:10]:
        lines.append(f"{date_clock(change['at_ms'])}  {_change_line(change)}")
    return lines


def _change_line(change: JsonObject) -> str:
    """Return one recorded change as a line."""
    from minibot.ops.settings import text_of

    put = [
        f"{key} {text_of(change['before'].get(key))} -> {text_of(value)}"
        for key, value in change["put"].items()
    ]
    taken = [f"{key} taken back" for key in change["taken_back"]]
    text = "; ".join([*put, *taken])
    return f"{change['profile']}: {text} by {change['who']}: {change['why']}"
