"""minibot accept: judge a run as a night by N-103 to N-107, with thresholds and findings."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from minibot.cli.support.output import progress_bar, say, show
from minibot.cli.support.selection import add_run, run_dir_of
from minibot.kernel.errors import RunStop
from minibot.runtime.paths import Var

if TYPE_CHECKING:
    from minibot.report.acceptance import Acceptance

HELP = "judge a finished night against its acceptance criteria, thresholds quoted"
EXAMPLE = "minibot accept latest"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)


def run(arguments: argparse.Namespace) -> int:
    """Judge a run; 0 when it passes, also as a drill that does not count, else 1.

    A bundle, or a copy elsewhere, has no metrics beside it, so its criterion `figures` fails.
    """
    # Imported here because `--help` needs none of it.
    from minibot.replay.run_status import is_going
    from minibot.report.acceptance import accept, keep, unreadable
    from minibot.report.night import Night

    run_dir = run_dir_of(arguments)
    if is_going(run_dir):
        say(f"note: {run_dir.name} is still going: it has no end yet. Judge it after its end.")
    with progress_bar(f"judging {run_dir.name}") as progress:
        try:
            night = Night.open(run_dir, progress)
            home = Var(run_dir.parents[1])
            acceptance = accept(night, home if run_dir.parent == home.runs else None)
        except RunStop as error:
            acceptance = unreadable(run_dir, str(error))
    if acceptance.root:
        keep(acceptance, run_dir)
    show(arguments, acceptance.to_json(), lines(acceptance))
    return 0 if acceptance.passed else 1


def lines(acceptance: Acceptance) -> list[str]:
    """Return the acceptance in words: the verdict, then what fell short before what passed."""
    from minibot.report.acceptance import FAIL, OPEN, PASS

    order = (FAIL, OPEN, PASS)
    found = Counter(item.verdict for item in acceptance.criteria)
    split = f"{found[PASS]} passed, {found[FAIL]} failed, {found[OPEN]} not judged"
    output = [
        f"{item.verdict:<10}  {item.name}: {item.found}  [{item.threshold}]"
        for item in sorted(acceptance.criteria, key=lambda item: order.index(item.verdict))
    ]
    root = f"root {acceptance.root or 'none'}"
    return [f"accept {acceptance.run_id}: {acceptance.verdict} ({split})", *output, root]
