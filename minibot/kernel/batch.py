"""Batches written together: lines of some events, each hashed once, and the chain over all."""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from minibot.kernel.codes import SCHEMA_INVALID
from minibot.kernel.errors import ContractError, InvariantError
from minibot.kernel.line import (
    CLOSING,
    JSON_AT,
    LINE_EXTRA_BYTES,
    OPENING,
    PREFIX,
    chain_next,
    chain_over,
    digest_of,
    digests_of,
)

COMPONENT: Final = "kernel.journal"
LINE: Final = PREFIX + b"%b:%b\n"
# Events searched together for line breaks. All of a batch of 4,096 would be a megabyte, which the
# system hands out anew each time, page by page.
JOINED: Final = 64


class Batch(NamedTuple):
    """Batch of lines that are written, synced and published together.

    Attributes:
        data: Whole lines.
        lines: Number of lines.
        chain: Hash chain after the last of them.
    """

    data: bytes
    lines: int
    chain: bytes


class Batches:
    """Maker of the batches of one journal.

    Args:
        path: The journal's file, for messages.
        line_bytes_max: Longer lines are refused.
        batch_bytes_max: Longer batches are split; at least `line_bytes_max`.
    """

    def __init__(self, path: Path, line_bytes_max: int, batch_bytes_max: int) -> None:
        self._path = path
        self._line_bytes_max = line_bytes_max
        self._json_bytes_max = line_bytes_max - LINE_EXTRA_BYTES
        self._batch_bytes_max = batch_bytes_max

    def of_json(self, jsons: Sequence[bytes], chain: bytes) -> list[Batch]:
        """Return batches of events given as JSON: each event hashed, the chain carried over all.

        Raises:
            ContractError: SCHEMA_INVALID, a line would be longer than allowed.
            InvariantError: SCHEMA_INVALID, an event is not one object on one line by its braces.
        """
        if len(jsons) == 1 and 0 < len(jsons[0]) <= self._json_bytes_max:
            return [self._batch_of_one(jsons[0], chain)]
        batches: list[Batch] = []
        for part in self._parts(jsons):
            batches.append(self._batch(part, chain))
            chain = batches[-1].chain
        return batches

    def of_lines(self, lines: Sequence[bytes], chain: bytes) -> list[Batch]:
        """Return batches of lines; each line is made again and has to come out the same.

        Raises:
            ContractError: SCHEMA_INVALID, a line is longer than allowed.
            InvariantError: SCHEMA_INVALID, a line is not as `encode_line` writes it.
        """
        for line in lines:
            if len(line) <= LINE_EXTRA_BYTES:
                self._refuse(line)
        batches = self.of_json([line[JSON_AT:-1] for line in lines], chain)
        if b"".join([batch.data for batch in batches]) != b"".join(lines):
            self._refuse(next(line for line in lines if not _is_line(line)))
        return batches

    def _parts(self, jsons: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
        """Yield as many events at a time as one batch may hold."""
        if not jsons:
            return
        sizes = list(map(len, jsons))
        longest = max(sizes)
        if longest > self._json_bytes_max:
            raise ContractError(
                COMPONENT,
                SCHEMA_INVALID,
                f"{self._path}: a line of {longest + LINE_EXTRA_BYTES} bytes,"
                f" at most {self._line_bytes_max}",
            )
        if not min(sizes):
            self._refuse(b"")
        if sum(sizes) + len(sizes) * LINE_EXTRA_BYTES <= self._batch_bytes_max:
            yield jsons
            return
        start = size = 0
        for number, length in enumerate(sizes):
            more = length + LINE_EXTRA_BYTES
            if size + more > self._batch_bytes_max:
                yield jsons[start:number]
                start, size = number, 0
            size += more
        yield jsons[start:]

    def _batch_of_one(self, json: bytes, chain: bytes) -> Batch:
        """Return the batch of a single event: the latency of a decision depends on it."""
        digest = digest_of(json)
        if json[0] != OPENING or json[-1] != CLOSING or b"\n" in json or b"\r" in json:
            self._refuse(json)
        return Batch(LINE % (hexlify(digest), json), 1, chain_next(chain, digest))

    def _batch(self, jsons: Sequence[bytes], chain: bytes) -> Batch:
        """Return the batch of several events: the hot path, one pass for each operation."""
        digests = digests_of(jsons)
        data = b"".join(
            [LINE % (hexlify(digest), json) for digest, json in zip(digests, jsons, strict=True)]
        )
        chain = chain_over(chain, digests)
        if (
            {json[0] for json in jsons} != {OPENING}
            or {json[-1] for json in jsons} != {CLOSING}
            or _has_break(jsons)
        ):
            self._refuse(next(json for json in jsons if not _is_one_object(json)))
        return Batch(data, len(jsons), chain)

    def _refuse(self, line: bytes) -> NoReturn:
        raise InvariantError(COMPONENT, SCHEMA_INVALID, f"{self._path}: no line: {line[:80]!r}")


def _has_break(jsons: Sequence[bytes]) -> bool:
    """Return whether there is a line break in any of many pieces of bytes."""
    for first in range(0, len(jsons), JOINED):
        some = b"".join(jsons[first : first + JOINED])
        if b"\n" in some or b"\r" in some:
            return True
    return False


def _is_one_object(json: bytes) -> bool:
    ends = json[:1] + json[-1:]
    return len(json) > 1 and ends == b"{}" and b"\n" not in json and b"\r" not in json


def _is_line(line: bytes) -> bool:
    json = line[JSON_AT:-1]
    return line == LINE % (hexlify(digest_of(json)), json)
