"""Preflight of the AI's sandbox on this machine: `python -m minibot.ai.preflight --root DIR`.

Starts one sandboxed worker as a run would, reads its hello and prints one JSON line: `level`,
`level_min`, `problem` (empty when the AI may run), `layers`, `lightgbm`. Exit code 0 when it may
run, 1 when not; the launcher's preflight and `minibot doctor` decide by `ai.required`. There is no
line, but an error, where no process can be started.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from minibot.ai.frames import DRAFT_BYTES_MAX, FrameError, decode_frame
from minibot.ai.jailed_process import JailedProcess
from minibot.ai.nore_ai_worker_v1 import MEMORY_MB_DEFAULT, command
from minibot.ai.worker_supervisor import hello_problem, isolation_level
from minibot.kernel import canonical
from minibot.runtime.interpreter import private_folder, program

HELLO_S_MAX: Final = 20.0
_POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Preflight:
    """Hello of a sandboxed worker, summarised; `problem` is empty when it may be used."""

    level: str
    level_min: str
    problem: str
    layers: tuple[dict[str, Any], ...]
    lightgbm: bool
    lightgbm_missing: str

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return {
            "level": self.level,
            "level_min": self.level_min,
            "problem": self.problem,
            "layers": list(self.layers),
            "lightgbm": self.lightgbm,
            "lightgbm_missing": self.lightgbm_missing,
        }


def check_jail(ai_root: Path, memory_mb: int, level_min: str) -> Preflight:
    """Start a worker, return its report, end it.

    Raises:
        OSError: The system provides no process.
        RunStop: Its working folder cannot be made.
    """
    child = JailedProcess(
        command(program(), ai_root, memory_mb, "infer", private_folder()),
        ai_root / "work",
        line_bytes_max=DRAFT_BYTES_MAX,
    )
    try:
        hello = _hello(child)
    finally:
        child.kill()
    if isinstance(hello, str):
        return Preflight("", level_min, hello, (), False, "")
    isolation = hello.get("isolation")
    layers = isolation.get("layers", ()) if isinstance(isolation, dict) else ()
    return Preflight(
        level=isolation_level(hello),
        level_min=level_min,
        problem=hello_problem(hello, level_min),
        layers=tuple(layers),
        lightgbm=hello.get("lightgbm") is True,
        lightgbm_missing=str(hello.get("lightgbm_missing", "")),
    )


def _hello(child: JailedProcess) -> dict[str, Any] | str:
    deadline = time.monotonic() + HELLO_S_MAX
    while time.monotonic() < deadline:
        for line in child.receive(_POLL_S):
            try:
                return decode_frame(line)
            except FrameError as error:
                return f"the worker's first words are no frame: {error}"
        if child.has_ended:
            return f"the worker ended: {child.last_words or 'without a word'}"
    return f"no hello within {HELLO_S_MAX:.0f} s"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the result as one JSON line; return 0 when the AI may run."""
    parser = argparse.ArgumentParser(prog="python -m minibot.ai.preflight")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--memory-mb", type=int, default=MEMORY_MB_DEFAULT)
    parser.add_argument("--level-min", default="jail")
    arguments = parser.parse_args(argv)
    result = check_jail(arguments.root.resolve(), arguments.memory_mb, arguments.level_min)
    print(canonical.encode(result.to_json()).decode())
    return 1 if result.problem else 0


if __name__ == "__main__":
    sys.exit(main())
