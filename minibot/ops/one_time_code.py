"""One-time code that opens the page in a browser, in a file that only its owner can read."""

from __future__ import annotations

import hmac
import os
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_hashed, write_atomic, write_hashed
from minibot.runtime.clock import wall_ms
from minibot.runtime.paths import Var

CODE_S: Final = 120.0
"""How long a one-time code may be used."""


class Codes:
    """Codes of one page; at most one is good at a time.

    Args:
        path: File with the code that has not been used.
        opened: File that notes when a code opened the page last; None for a page without a note.
    """

    def __init__(self, path: Path, opened: Path | None = None) -> None:
        self._path = path
        self._opened = opened
        self._lock = threading.Lock()

    def make(self) -> str:
        """Write a new code to the file and return it."""
        code = secrets.token_urlsafe(24)
        write_atomic(self._path, f"{code}\n".encode())
        os.chmod(self._path, 0o600)
        return code

    def take(self, code: str) -> bool:
        """Return whether a code is the file's and young enough.

        A match uses the file's code up, even if it is too old; a wrong code does not.
        """
        with self._lock:
            try:
                age_s = time.time() - self._path.stat().st_mtime
                known = self._path.read_bytes().strip()
                if not hmac.compare_digest(known, code.encode()):
                    return False
                self._path.unlink()
            except OSError:
                return False
            is_good = bool(known) and age_s <= CODE_S
            if is_good and self._opened is not None:
                # Without its note the page opens all the same, and counts as never opened.
                with suppress(RunStop):
                    record = {"schema": "minibot.page_opened", "opened_ms": wall_ms()}
                    write_hashed(self._opened, record, generation=1)
        return is_good


def opened_ms(var: Var) -> int | None:
    """Return when a code last opened a run's page, Unix ms; None if none ever did."""
    try:
        found = read_hashed(var.page_opened).get("opened_ms")
    except (OSError, RunStop):
        return None
    return found if isinstance(found, int) else None
