"""Which Python runs this: standard library alone, so that it can say what is missing.

The launch command of the specification may be given to any Python. One without the locked
dependencies starts the same command in the project's `.venv`, or says how to make it.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
NEEDED = ("orjson", "jsonschema_rs", "portalocker", "filelock", "psutil", "requests")
CANNOT_RUN = 2


def hand_over(module: str) -> None:
    """Go on here, or in `.venv`, or end with one line that says how to make it (exit 2)."""
    if sys.version_info >= (3, 11) and all(map(importlib.util.find_spec, NEEDED)):
        return
    python = PROJECT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if python.exists() and Path(sys.executable) != python:
        command = [str(python), "-m", module, *sys.argv[1:]]
        if os.name == "nt":
            sys.exit(subprocess.call(command))
        os.execv(command[0], command)
    tool = Path("tools") / "with_env.py"
    print(
        f"minibot needs its environment; make it and run with: python3 {tool} -m {module}",
        file=sys.stderr,
    )
    sys.exit(CANNOT_RUN)
