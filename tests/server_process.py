"""A server as a process of a test: its first line says where it listens, closed input ends it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Self

# A server that does not end by itself within this time is killed.
END_S = 10


class ServerProcess:
    """Python with arguments, started at once and ended with the `with` block.

    Attributes:
        first_line: What the server printed when it was ready.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.first_line = self._process.stdout.readline()

    def tell(self, line: str) -> None:
        """Write a line to the server's standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
