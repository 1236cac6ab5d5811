"""Position of a reader or writer in a journal, and one verified line."""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import Struct

from minibot.kernel.line import CHAIN_START


class Position(NamedTuple):
    """A place between two lines of a journal.

    Attributes:
        seq: Lines before it over all segments; also the number of the line just before it.
        segment: Number of the segment, from 1; the active one has the highest.
        offset: Bytes before it in that segment.
        chain: Hash chain over all lines before it, 32 bytes.
    """

    seq: int
    segment: int
    offset: int
    chain: bytes


class Line(Struct, frozen=True, gc=False):
    """One verified line.

    Attributes:
        seq: Its number over all segments, from 1.
        offset: Where it begins in its segment.
        json: The canonical JSON of the event, without prefix and newline.
    """

    seq: int
    offset: int
    json: bytes


ZERO: Final = Position(0, 1, 0, CHAIN_START)
"""Before the first line."""
