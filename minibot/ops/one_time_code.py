"""One-time code: what opens the page in a browser, in a file that its owner alone can read."""

from __future__ import annotations

import hmac
import os
import secrets
import threading
import time
from pathlib import Path
from typing import Final

from minibot.kernel.files import write_atomic

CODE_S: Final = 120.0
"""How long a one-time code may be used."""


class Codes:
    """Codes of one page; at most one is good at a time.

    Args:
        path: File with the code that has not been used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def make(self) -> str:
        """Write a new code to the file and return it."""
        code = secrets.token_urlsafe(24)
        write_atomic(self._path, f"{code}\n".encode())
        os.chmod(self._path, 0o600)
        return code

    def take(self, code: str) -> bool:
        """Return whether a code is the one of the file and young enough; it is then used up."""
        with self._lock:
            try:
                age_s = time.time() - self._path.stat().st_mtime
                known = self._path.read_text("ascii").strip()
                if not hmac.compare_digest(known.encode(), code.encode()):
                    return False
                self._path.unlink()
            except OSError:
                return False
        return bool(known) and age_s <= CODE_S
