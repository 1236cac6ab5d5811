"""The program that our processes are started with.

In a virtual environment on Windows `python.exe` is a small program that starts the real one with
another command line. Started by that name a process would find another hash of its command line
than the manifest states, and whoever freezes, weighs or kills it by its id would have the small
program. So the real one is started, and told which environment it belongs to.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":

    def program() -> str:
        """Return the path of the Python that runs a process of ours."""
        return getattr(sys, "_base_executable", "") or sys.executable

    def program_environ() -> dict[str, str]:
        """Return what the program has to find in its environment; it takes it out itself."""
        if program() == sys.executable:
            return {}
        return {"__PYVENV_LAUNCHER__": sys.executable}

else:

    def program() -> str:
        """Return the path of the Python that runs a process of ours."""
        return sys.executable

    def program_environ() -> dict[str, str]:
        """Return what the program has to find in its environment."""
        return {}
