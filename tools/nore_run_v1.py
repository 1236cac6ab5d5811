"""Start of the night, `tools/nore_run_v1.py --config ...`, under its specified path.

It does the same as `python -m minibot.nore_run_v1`, from any folder and with any Python 3.11 or
later.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    runpy.run_module("minibot.nore_run_v1", run_name="__main__", alter_sys=True)
