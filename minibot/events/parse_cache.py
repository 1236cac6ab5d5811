"""Numbers by the text that they were read from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

# So many texts are remembered, some ten megabytes; beyond them the memory begins anew.
KNOWN_MAX: Final = 65_536


class ParseCache(dict[str, int]):
    """Texts that have been read already: the same ones come again and again.

    A hit costs a tenth of reading the digits. What is refused is never remembered.

    Args:
        read: Reads a text.
        texts_max: How many are remembered; a role has few, so that its memory is soon flat.
    """

    def __init__(self, read: Callable[[str], int], texts_max: int = KNOWN_MAX) -> None:
        super().__init__()
        self._read = read
        self._texts_max = texts_max

    def __missing__(self, text: str) -> int:
        """Read a text that is new.

        Raises:
            ValueError, TypeError: As the reading function.
        """
        value = self._read(text)
        if len(self) >= self._texts_max:
            self.clear()
        self[text] = value
        return value
