"""The hash of a process's own command line, which every event of it carries (N-09, X-32).

It is sha256, lower-case hex, over the UTF-8 bytes of one string: on Windows what
`GetCommandLineW()` returns, elsewhere the original argv joined by Windows quoting rules.
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
    """Return the command line that a process started with `argv` will find as its own."""
    return subprocess.list2cmdline(argv)


def cmdline_hash(argv: Sequence[str]) -> str:
    """Return the hash that a process started with `argv` will find as its own."""
    return hash_text(cmdline(argv))


def hash_text(text: str) -> str:
    """Return sha256 over a command line, lower-case hex.

    An argument that is no Unicode reaches Python as lone surrogates; they are hashed as such, so
    that no command line is without a hash.
    """
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
