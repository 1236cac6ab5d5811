"""The trial of a strategy's file in a process of its own, which ends where the file hangs.

A file may hold a loop without an end; nothing in Python gets out of one from within.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from minibot.cli.output import shown_path
from minibot.report.figures import plain_text
from minibot.runtime.interpreter import program_environ, python_argv

LIMIT_S: Final = 30
# To say where it stood, and to end.
ENDING_S: Final = 30
MODULE: Final = "minibot.cli.strategy_trial"
_PLACE: Final = re.compile(r'  File "(.*)", line (\d+) in (.*)')


def tried(path: Path, limit_s: int = LIMIT_S) -> str:
    """Return how a trial of a strategy's file failed, empty where it did not.

    Args:
        path: The file.
        limit_s: After so many seconds the trial is ended, and said where it stood.
    """
    argv = [*python_argv(MODULE), str(path), str(limit_s)]
    try:
        done = subprocess.run(
            argv,
            env={**os.environ, **program_environ()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=limit_s + ENDING_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _hung(path, limit_s, "")
    if done.returncode == 0:
        return str(json.loads(done.stdout))
    if done.stderr.startswith("Timeout ("):
        return _hung(path, limit_s, done.stderr)
    last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
    said = f"the trial ended with exit code {done.returncode}: {plain_text(last)}"
    return f"{shown_path(path)}: {said}"


def _hung(path: Path, limit_s: int, trace: str) -> str:
    """Return that a trial had no end, with the innermost line of the file where it is known."""
    shown = shown_path(path)
    for found in map(_PLACE.fullmatch, trace.splitlines()):
        if found is not None and found[1] in (shown, str(path), os.path.realpath(path)):
            place = f"{shown}, line {found[2]} (in {plain_text(found[3])})"
            break
    else:
        place = shown
    return (
        f"{place}: the trial had not ended after {limit_s} s; a loop without an end, or too slow: "
        "each tick and bar has to be answered in microseconds"
    )


def main(argv: Sequence[str]) -> int:
    """Try the file, and print how that failed as one JSON text."""
    from minibot.cli.strategy_check import trial_failure

    faulthandler.dump_traceback_later(int(argv[1]), exit=True)
    failure = trial_failure(Path(argv[0]))
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps(failure))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
