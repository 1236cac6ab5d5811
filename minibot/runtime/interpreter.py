"""Interpreter program with which our processes are started.

In a virtual environment on Windows `python.exe` is a small launcher that starts the real one with
another command line. A process started by that name would compute another hash of its command line
than the manifest states, and freezing, measuring or killing it by its id would hit the launcher. So
the real one is started, with its environment in a variable.

A process under a code list executes only listed sources (`minibot.listed`); its children get the
same list and the same private bytecode folder.
"""

from __future__ import annotations

import os
import sys

from minibot import listed

if sys.platform == "win32":

    def program() -> str:
        """Return the path of the Python that runs our processes."""
        return getattr(sys, "_base_executable", "") or sys.executable

    def program_environ() -> dict[str, str]:
        """Return the variables that the program needs in its environment; it removes them."""
        if program() == sys.executable:
            return {}
        return {"__PYVENV_LAUNCHER__": sys.executable}

else:

    def program() -> str:
        """Return the path of the Python that runs our processes."""
        return sys.executable

    def program_environ() -> dict[str, str]:
        """Return the variables that the program needs in its environment."""
        return {}


def environ_of_read() -> dict[str, str]:
    """Return the environment of a child whose output we read: it writes UTF-8.

    In the code page of Windows the letters of a folder's name could not be decoded.
    """
    return {**os.environ, **program_environ(), "PYTHONIOENCODING": "utf-8"}


def private_folder() -> str | None:
    """Return the private bytecode folder of this process; None without a code list."""
    return listed.folder if listed.is_on else None


def python_argv(module: str) -> list[str]:
    """Return the beginning of the command line of a child that runs one of our modules."""
    private = private_folder()
    if private is None:
        return [program(), "-m", module]
    script = os.path.abspath(listed.__file__)
    # As flags, since -I ignores PYTHONUNBUFFERED and PYTHONUTF8.
    return [program(), "-u", "-X", "utf8", *listed.flags(private), script, module]
