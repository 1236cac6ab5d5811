"""Finding of the static check of a strategy's file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One forbidden thing in a strategy's file: where, what, and what to do instead."""

    line: int
    what: str
    instead: str

    def text(self, path: str) -> str:
        """Return the finding as one line."""
        return f"{path}, line {self.line}: {self.what}; {self.instead}"
