"""Words of a command as a person may paste them into the shell of this system.

The command prompt of Windows knows no single quotes: it would hand them on as part of a path.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable
from typing import Final

# Letters that neither the command prompt nor PowerShell reads in a way of its own.
_PLAIN: Final = re.compile(r"[\w+=:./\\-]+")
_BEFORE_QUOTE: Final = re.compile(r'(\\*)"')
_AT_END: Final = re.compile(r"(\\+)$")


def pasted(*words: str) -> str:
    """Return words, quoted where this system's shell needs it."""
    return in_double_quotes(words) if sys.platform == "win32" else shlex.join(words)


def with_env(words: str) -> str:
    """Return the command that makes the environment and runs Python in it with these words.

    Windows has `py`; its `python3` opens a shop.
    """
    tool = r"py tools\with_env.py" if sys.platform == "win32" else "python3 tools/with_env.py"
    return f"{tool} {words}"


def in_double_quotes(words: Iterable[str]) -> str:
    """Return words as Windows takes them: in double quotes, those within behind a backslash."""
    return " ".join(map(_in_double_quotes, words))


def _in_double_quotes(word: str) -> str:
    if _PLAIN.fullmatch(word):
        return word
    # Backslashes count double only before a double quote, and so at the end.
    inner = _AT_END.sub(r"\1\1", _BEFORE_QUOTE.sub(r'\1\1\\"', word))
    return f'"{inner}"'
