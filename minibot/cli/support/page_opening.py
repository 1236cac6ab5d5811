"""Opening of a night's page in the browser: a process that waits for the page of a run that starts.

The run itself waits for no one, and a browser may block. The one-time code is printed before the
live table is drawn, as a line in between would spoil it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from minibot.kernel import canonical
from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_whole
from minibot.runtime.interpreter import program_environ, python_argv
from minibot.runtime.paths import Var

if TYPE_CHECKING:
    from minibot.events.model import JsonObject

MODULE: Final = "minibot.cli.support.page_opening"
WAIT_S: Final = 120.0
"""Longest wait for the page of a start, in seconds; as long as a code is good."""

LOOK_EVERY_S: Final = 0.25
_SCREENS: Final = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


def page_of(var: Var) -> JsonObject:
    """Return the address of a `var`'s page, as its server wrote it; empty without one."""
    try:
        return canonical.decode(read_whole(var.page_address).rstrip(b"\n"))
    except (OSError, RunStop, ValueError):
        return {}


def open_soon(var: Var) -> subprocess.Popen[bytes]:
    """Start the process that opens the page of the run that starts next on a `var`."""
    before = str(page_of(var).get("run_id", ""))
    return subprocess.Popen(
        [*python_argv(MODULE), str(var.root), before],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **program_environ()},
    )


def has_screen() -> bool:
    """Return whether a browser would have a screen; one in the terminal would spoil the table."""
    return not sys.platform.startswith("linux") or any(map(os.environ.get, _SCREENS))


def main(argv: Sequence[str]) -> int:
    """Open the page of a `var` once it belongs to a new run; 0 if a browser opened."""
    root, before = argv
    launcher = psutil.Process().parent()
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s and launcher is not None and launcher.is_running():
        found = page_of(Var(Path(root)))
        if found.get("run_id", "") not in ("", before):
            url = str(found["url"])
            if has_screen() and webbrowser.open(url):
                return 0
            print(f"no browser could be opened here: {url}", file=sys.stderr)
            return 1
        time.sleep(LOOK_EVERY_S)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
