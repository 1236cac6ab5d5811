"""Parse cache: numbers by the text from which they were read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

# Number of texts kept, some ten megabytes; beyond it the cache is emptied.
KNOWN_MAX: Final = 65_536


class ParseCache(dict[str, int]):
    """Parse cache for texts that recur often.

    A hit costs a tenth of parsing the digits. Refused texts are never kept.

    Args:
        read: Parses a text.
        texts_max: Number of texts kept; few in a role, so that its memory is soon flat.
    """

    def __init__(self, read: Callable[[str], int], texts_max: int = KNOWN_MAX) -> None:
        super().__init__()
        self._read = read
        self._texts_max = texts_max

    def __missing__(self, text: str) -> int:
        """Parse and keep a new text.

        Raises:
            ValueError, TypeError: As raised by `read`.
        """
        value = self._read(text)
        if len(self) >= self._texts_max:
            self.clear()
        self[text] = value
        return value
