"""One case of a benchmark in a separate process; prints one JSON document.

`python -m tools.bench.worker CASE {"argument": value}`; the commands of `tools.bench` call it, so
that no case meets another's heap, threads or open files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from tools.bench.machine import PROJECT

Answer = dict[str, Any]

CASES: Final = {
    "append": "tools.bench.appending",
    "single": "tools.bench.appending",
    "fleet_writer": "tools.bench.appending",
    "prepare": "tools.bench.reading",
    "read": "tools.bench.reading",
    "seal": "tools.bench.reading",
    "verify": "tools.bench.reading",
    "hop_writer": "tools.bench.hops",
    "hop_reader": "tools.bench.hops",
    "grow_writer": "tools.bench.growing",
    "grow_reader": "tools.bench.growing",
    "portfolio": "tools.bench.risk_cases",
    "judge": "tools.bench.risk_cases",
    "rank": "tools.bench.risk_cases",
    "storm": "tools.bench.risk_cases",
}
SECONDS_MAX: Final = 600.0


class WorkerFailed(Exception):
    """Failure of a case; the message is its last output."""


def start(
    case: str,
    arguments: Mapping[str, object],
    python: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a case; its answer is its last line on standard output."""
    interpreter = str(python or sys.executable)
    command = [interpreter, "-m", "tools.bench.worker", case, json.dumps(arguments)]
    return subprocess.Popen(
        command,
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "0", **(environ or {})},
    )


def ready(process: subprocess.Popen[str]) -> None:
    """Wait until a started case says that it is ready.

    Raises:
        WorkerFailed: The case ended instead.
    """
    if process.stdout is None or process.stdout.readline() != "ready\n":
        answer(process)
        raise WorkerFailed("it ended before it was ready")


def go(process: subprocess.Popen[str]) -> None:
    """Let a ready case begin."""
    if process.stdin is not None:
        process.stdin.write("go\n")
        process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> Answer:
    """Return a started case's answer at its end.

    Raises:
        WorkerFailed: It ended with an error.
    """
    try:
        out, errors = process.communicate(timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise WorkerFailed(f"no answer within {SECONDS_MAX:.0f} s") from error
    if process.returncode != 0:
        words = errors.strip().splitlines() or ["no word"]
        raise WorkerFailed(words[-1])
    found: Answer = json.loads(out.splitlines()[-1])
    return found


def call(
    case: str,
    arguments: Mapping[str, object],
    python: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Answer:
    """Run a case to its end and return its answer.

    Raises:
        WorkerFailed: It ended with an error.
    """
    return answer(start(case, arguments, python, environ))


def main(argv: list[str]) -> int:
    """Run one case in this process."""
    if len(argv) != 2 or argv[0] not in CASES:
        print(f"usage: python -m tools.bench.worker CASE JSON; cases: {' '.join(sorted(CASES))}")
        return 2
    case = getattr(import_module(CASES[argv[0]]), argv[0])
    print(json.dumps(case(**json.loads(argv[1]))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
