"""minibot next (also `minibot` alone): what is in this folder, and the commands that follow."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

from minibot.cli.support.output import placed, show
from minibot.cli.support.own_profile import own_profiles
from minibot.cli.support.selection import var_of
from minibot.report.proof import fate_of_unsealed
from minibot.report.records import UNSEALED, RunRecord, read_record
from minibot.runtime.paths import Var, shown_path
from minibot.runtime.runfiles import own_runs
from minibot.runtime.running import running_run
from minibot.runtime.stop import standing_flags

HELP = "what is here, and the commands that follow (also minibot alone)"
EXAMPLE = "minibot next"
_DEMO_PURPOSE = "a night on a recording, ten times as fast: 40 s"


class Step(NamedTuple):
    """A command to type, and its purpose."""

    command: str
    purpose: str


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb: the common ones are enough."""


def run(arguments: argparse.Namespace) -> int:
    """Print the state of this folder and the next commands; always 0."""
    var = var_of(arguments)
    standing, steps = next_steps(var)
    # Typed as they stand, they are to act on this folder.
    steps = [step._replace(command=placed(step.command)) for step in steps]
    commands = [{"command": step.command, "purpose": step.purpose} for step in steps]
    width = max(len(step.command) for step in steps) + 2
    lines = [f"  {step.command:<{width}}{step.purpose}" for step in steps]
    shown = [standing, "", *lines, "", "All verbs: minibot --help"]
    show(arguments, {"standing": standing, "next": commands}, shown)
    return 0


def next_steps(var: Var) -> tuple[str, list[Step]]:
    """Return the state of `var` in one sentence, and the commands that follow from it."""
    folder, flags = shown_path(var.root), standing_flags(var)
    if (running := running_run(var)) and not flags:
        return f"{running} is running in {folder}.", [
            Step("minibot status", "roles, position, prohibitions"),
            Step("minibot explain --why-not BUY", "why it does not buy"),
            Step("minibot halt", "no new entries; exits go on"),
            Step("minibot stop", "end the night in order"),
        ]
    if flags:
        what = f"{running} will be sealed." if running else "No run starts."
        return f"A STOP is in force in {folder}: {shown_path(flags[0])}. {what}", [
            Step("minibot status", "why it stopped, and what to do"),
            Step("minibot explain --stop", "the events before the STOP"),
            Step('minibot clear-stop --reason "..."', "after mending the cause"),
        ]
    newest = next(own_runs(var.runs), None)
    if newest is not None:
        return _after(read_record(newest[0]))
    return f"No run in {folder} yet.", [
        Step(_night(), "a night on paper" if own_profiles(Path.cwd()) else _DEMO_PURPOSE),
        Step("minibot demo", "the night's strategy over two weeks of real bars"),
        Step("minibot new-strategy my_idea", "write a strategy of your own"),
        Step("minibot new-config", "a profile of ten lines for real nights"),
        Step("minibot doctor", "can this machine run it?"),
    ]


def _after(record: RunRecord) -> tuple[str, list[Step]]:
    """Return the sentence and the commands after the newest run's end."""
    if record.state == UNSEALED:
        return f"{record.run_id} {fate_of_unsealed(record.run_dir)}.", [
            Step("minibot report", "what it did as far as it got"),
            _next_one(),
        ]
    ended = "ended in order" if record.state == "sealed" else f"ended: {record.state}"
    code = f" by {record.reason_code}" if record.reason_code else ""
    return f"The last run, {record.run_id}, {ended}{code}.", [
        Step("minibot report", "its result, trades and costs"),
        Step("minibot explain", "why it traded, or did not"),
        Step("minibot verify", "check every byte of it"),
        _next_one(),
    ]


def _night() -> str:
    """Return the command of the next night: plain `night` takes the only own profile."""
    own = own_profiles(Path.cwd())
    return "minibot night" if len(own) < 2 else f"minibot night --config {own[0].name}"


def _next_one() -> Step:
    own = own_profiles(Path.cwd())
    return Step(_night(), f"the next one, of {own[0].name}" if own else _DEMO_PURPOSE)
