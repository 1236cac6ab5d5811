"""The program that our processes are started with.

In a virtual environment on Windows `python.exe` is a small program that starts the real one with
another command line. Started by that name a process would find another hash of its command line
than the manifest states, and whoever freezes, weighs or kills it by its id would have the small
program. So the real one is started, and told which environment it belongs to.

A child of a process under a code list is under it, too: the same private folder of bytecode, the
same list (`minibot.listed`).
"""

from __future__ import annotations

import os
import sys

from minibot import listed

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


def private_folder() -> str | None:
    """Return the private folder of bytecode of this process; None without a code list."""
    return listed.folder if listed.is_on else None


def python_argv(module: str) -> list[str]:
    """Return the beginning of the command line of a child that runs a module of ours."""
    private = private_folder()
    if private is None:
        return [program(), "-m", module]
    script = os.path.abspath(listed.__file__)
    # Flags for what the environment says to a child that is not under a list: -I ignores it.
    return [program(), "-u", "-X", "utf8", *listed.flags(private), script, module]
