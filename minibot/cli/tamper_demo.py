"""minibot tamper-demo: play an attacker's tricks on a copy of a run and detect each."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from minibot.cli.support.output import say, show, show_lines
from minibot.cli.support.selection import add_run, find_run, var_of
from minibot.cli.verify import finding_json
from minibot.gates.tamper import Outcome, demonstrate, digest_of, is_usable, small_run
from minibot.kernel.errors import Refusal
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import LATEST

HELP = (
    "play an attacker's tricks on a copy of a run and show what finds each, and what nothing finds"
)
EXAMPLE = "minibot tamper-demo latest"
LAB = "tamper-demo"
# A finding of replay may be a whole event; its beginning names the place, --json has the rest.
FOUND_CHARACTERS_MAX = 240


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)


def run(arguments: argparse.Namespace) -> int:
    """Play every trick; 0 when each detectable one was detected, 1 otherwise."""
    var = var_of(arguments)
    lab = var.lab_of(LAB).root
    run_dir = _run_dir(str(arguments.run_name), var, lab)
    before = digest_of(run_dir)
    outcomes = []
    for outcome in demonstrate(run_dir, lab):
        outcomes.append(outcome)
        if not arguments.json:
            show_lines(lines(len(outcomes), outcome))
            sys.stdout.flush()
    is_untouched = digest_of(run_dir) == before
    shutil.rmtree(lab / "copy", ignore_errors=True)
    missed = [outcome.trick.name for outcome in outcomes if not outcome.is_found]
    verdict = f"{len(outcomes) - len(missed)} of {len(outcomes)} tricks found as they have to be"
    document = {
        "run": run_dir.name,
        "untouched": is_untouched,
        "found": not missed,
        "tricks": [as_json(outcome) for outcome in outcomes],
    }
    output = [
        "",
        "What nothing on this machine finds: a whole night rewritten, every hash included, "
        "before its root was published or signed elsewhere.",
        "So publish the root in the morning (`minibot accept` says it), or have seals signed: "
        "secrets.seal_public_key, `minibot seal-key`.",
        f"the run itself: {'not touched' if is_untouched else 'CHANGED'}",
        f"tamper-demo {run_dir.name}: {verdict}",
    ]
    show(arguments, document, output)
    return 0 if is_untouched and not missed else 1


def _run_dir(name: str, var: Var, lab: Path) -> Path:
    """Return the named run; without a name, the latest if it is usable, else a small new one."""
    try:
        run_dir = find_run(name, var)
    except Refusal as error:
        if name != LATEST:
            raise
        why = error.message.removesuffix(".")
    else:
        why = is_usable(run_dir)
        if not why:
            return run_dir
        if name != LATEST:
            raise Refusal(f"{name} cannot serve: {why}.", "Name a finished run that traded.")
    say(f"{why}: a small run is made for the tricks")
    return small_run(lab / "run")


def lines(number: int, outcome: Outcome) -> list[str]:
    """Return a trick and its detection, in words."""
    trick = outcome.trick
    output = [f"{number}. {trick.name}: {trick.words}"]
    for check, text in outcome.findings.items():
        if text:
            output.append(f"   found by {check}: {_shortened(text)}")
        elif check in trick.found_by:
            output.append(f"   NOT FOUND by {check}")
        else:
            output.append(f"   not found by {check}")
    return output


def _shortened(text: str) -> str:
    if len(text) <= FOUND_CHARACTERS_MAX:
        return text
    return f"{text[:FOUND_CHARACTERS_MAX].rstrip()} ... (whole: --json)"


def as_json(outcome: Outcome) -> dict[str, object]:
    """Return a trick and its detection as one JSON object."""
    return {
        "name": outcome.trick.name,
        "words": outcome.trick.words,
        "has_to_be_found_by": list(outcome.trick.found_by),
        "found": outcome.is_found,
        "findings": outcome.findings,
        "finding": None if outcome.finding is None else finding_json(outcome.finding),
    }
