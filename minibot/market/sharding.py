"""Distribution of streams over connections.

Streams that belong together (those of a symbol) stay on one connection, so that they are lost and
restored together. Pure: groups in, shards out; the same groups in the same order give the same
shards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

# The venue allows 1024 a connection; the rest is room for streams added at run time.
STREAMS_PER_CONNECTION_MAX: Final = 800

Groups = dict[str, tuple[str, ...]]
"""Name of a group (a symbol, or a stream of the whole market) to its stream names."""


def count_of(groups: Mapping[str, Sequence[str]]) -> int:
    """Return the number of streams in the groups."""
    return sum(len(streams) for streams in groups.values())


def roomiest(shards: Sequence[Mapping[str, Sequence[str]]], size: int, streams_max: int) -> int:
    """Return the index of the shard with the most room for a group of `size`; -1 for none."""
    loads = [(count_of(shard), number) for number, shard in enumerate(shards)]
    load, number = min(loads, default=(streams_max, -1))
    return number if load + size <= streams_max else -1


def spread(
    groups: Mapping[str, Sequence[str]], streams_max: int = STREAMS_PER_CONNECTION_MAX
) -> list[Groups]:
    """Return shards that hold all groups, each at most `streams_max`, evenly filled.

    They are the fewest for groups of one size. Groups of several sizes, placed largest first, may
    take more than the best packing would.

    Raises:
        ValueError: A group alone is larger than a connection may be.
    """
    largest = max((len(streams) for streams in groups.values()), default=0)
    if largest > streams_max:
        raise ValueError(f"a group of {largest} streams, but a connection carries {streams_max}")
    count = -(-count_of(groups) // streams_max)
    while True:
        shards = _spread_over(groups, count, streams_max)
        if shards is not None:
            return shards
        count += 1  # Whole groups leave unused room on each connection.


def _spread_over(
    groups: Mapping[str, Sequence[str]], count: int, streams_max: int
) -> list[Groups] | None:
    shards: list[Groups] = [{} for _ in range(count)]
    # Largest first: a large group that comes last would find some room on every connection, but
    # enough on none.
    for name, streams in sorted(groups.items(), key=lambda group: -len(group[1])):
        number = roomiest(shards, len(streams), streams_max)
        if number < 0:
            return None
        shards[number][name] = tuple(streams)
    return shards
