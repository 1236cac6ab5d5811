"""Hash of a process's own command line, which every event of the process carries (N-09, X-32).

It is the sha256, lower-case hex, of the UTF-8 bytes of one string: on Windows the result of
`GetCommandLineW()`, elsewhere the original argv joined by Windows quoting rules.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256


def own_cmdline() -> str:
    """Return the command line of this process."""
    if sys.platform == "win32":
        import ctypes

        get = ctypes.windll.kernel32.GetCommandLineW
        get.restype = ctypes.c_wchar_p
        get.argtypes = []
        return str(get())
    return cmdline(sys.orig_argv)


def own_cmdline_hash() -> str:
    """Return the hash of this process's command line."""
    return hash_text(own_cmdline())


def cmdline(argv: Sequence[str]) -> str:
    """Return the command line that a process started with `argv` sees as its own."""
    return subprocess.list2cmdline(argv)


def cmdline_hash(argv: Sequence[str]) -> str:
    """Return the hash that a process started with `argv` computes as its own."""
    return hash_text(cmdline(argv))


def hash_text(text: str) -> str:
    """Return the sha256 of a command line, lower-case hex.

    An argument that is not Unicode reaches Python as lone surrogates; they are hashed as such, so
    that every command line has a hash.
    """
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
