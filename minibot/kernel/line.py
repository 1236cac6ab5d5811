r"""The line format of every queue file: ``sha256:<hex>:<canonical json>\n``.

A line proves its own bytes; the chain over all digests, kept beside the lines, proves that no
line was changed, left out, doubled or moved.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Iterable
from hashlib import sha256
from io import BytesIO
from operator import itemgetter
from typing import Final, NamedTuple

from minibot.kernel.errors import MinibotError

PREFIX: Final = b"sha256:"
JSON_AT: Final = len(PREFIX) + 64 + 1
"""Where the JSON begins in a line: after the prefix, 64 hex digits and a colon."""

LINE_EXTRA_BYTES: Final = JSON_AT + 1
"""Bytes that a line adds to its JSON: prefix, hash, colon and newline."""

NO_END: Final = "line has no end"
"""Why a line is refused that stops before its newline, as the last one of a cut file does."""

CHAIN_START: Final = bytes(32)
"""The chain of a queue without lines."""

OPENING: Final = ord("{")
CLOSING: Final = ord("}")

_json: Final = itemgetter(slice(JSON_AT, -1))
# The part of a line before its object, and the object's first byte.
_beginning: Final = itemgetter(slice(JSON_AT + 1))
_BETWEEN: Final = b":{" + PREFIX

# Copying an empty hash takes half the time of making a new one, for which OpenSSL 3 looks up the
# algorithm again (Python 3.11: 0.35 against 0.70 us for 64 bytes).
_fresh: Final = sha256().copy


class LineError(MinibotError):
    """A line that is not as `encode_line` wrote it.

    Args:
        why: The fault.
        expected: What should stand there; empty where there is no single value.
        found: What stands there.
    """

    def __init__(self, why: str, expected: str = "", found: str = "") -> None:
        super().__init__(f"{why}: expected {expected}, found {found}" if expected else why)
        self.why = why
        self.expected = expected
        self.found = found


def encode_line(json: bytes) -> bytes:
    """Return the line that holds the JSON of one event.

    Args:
        json: Canonical JSON of one object.

    Raises:
        LineError: They do not begin and end with braces, or hold a line break. Whether they are
            JSON is not checked.
    """
    if json[:1] != b"{" or json[-1:] != b"}" or b"\n" in json or b"\r" in json:
        raise LineError("not one JSON object on one line")
    return b"sha256:" + sha256(json).hexdigest().encode() + b":" + json + b"\n"


def decode_line(line: bytes) -> tuple[bytes, bytes]:
    """Return (digest of 32 bytes, json) of one whole line with its newline.

    Raises:
        LineError: The line is not as `encode_line` writes it.
    """
    if line[-1:] != b"\n":
        raise LineError(NO_END, r"\n", repr(line[-1:])[2:-1] or "nothing")
    if line[: len(PREFIX)] != PREFIX:
        raise LineError("line has no prefix", "sha256:", repr(line[: len(PREFIX)])[2:-1])
    json = line[JSON_AT:-1]
    if line[JSON_AT - 1 : JSON_AT] != b":" or json[:1] != b"{" or json[-1:] != b"}":
        raise LineError("line holds no JSON object", "sha256:<hex>:{...}", _shown(line))
    if b"\n" in json or b"\r" in json:
        raise LineError("line holds a line break", "one line", _shown(line))
    digest = sha256(json)
    wanted = digest.hexdigest()
    stated = line[len(PREFIX) : JSON_AT - 1]
    if stated != wanted.encode():
        raise LineError("sha256 of the line is wrong", wanted, repr(stated)[2:-1])
    return digest.digest(), json


class Verified(NamedTuple):
    """Verified lines, many at once, each as `encode_line` writes it.

    Attributes:
        lines: Each with its newline.
        jsons: The JSON of each.
        digests: The sha256 of each JSON, 32 bytes.
    """

    lines: list[bytes]
    jsons: list[bytes]
    digests: list[bytes]


def verified(data: bytes, end: int) -> Verified | None:
    """Return the whole lines before an offset: the hot path of all reading.

    None if any line is not as `encode_line` writes it; `decode_line` tells which and why.

    Args:
        data: Lines, perhaps with the beginning of another.
        end: The offset after the last newline; 0 if there is none.
    """
    if not end:
        return Verified([], [], [])
    lines = BytesIO(data).readlines(end)
    jsons = list(map(_json, lines))
    digests = digests_of(jsons)
    stated = b"".join(map(_beginning, lines))
    hexes = hexlify(b"".join(digests), b"\n", 32)
    # No prefix can be longer than the expected one: if all joined are equal, each is.
    if (
        stated != PREFIX + hexes.replace(b"\n", _BETWEEN) + b":{"
        or {json[-1] for json in jsons} != {CLOSING}
        # Canonical JSON holds no line break, and so no carriage return either.
        or data.find(b"\r", 0, end) >= 0
    ):
        return None
    return Verified(lines, jsons, digests)


def chain_next(chain: bytes, digest: bytes) -> bytes:
    """Return the chain after a line: sha256 over the chain before it and the line's digest."""
    return digest_of(chain + digest)


def digest_of(data: bytes) -> bytes:
    """Return the sha256 of some bytes."""
    digest = _fresh()
    digest.update(data)
    return digest.digest()


def digests_of(jsons: Iterable[bytes]) -> list[bytes]:
    """Return the sha256 of each of many pieces of bytes."""
    digests = []
    for json in jsons:
        digest = _fresh()
        digest.update(json)
        digests.append(digest.digest())
    return digests


def chain_over(chain: bytes, digests: Iterable[bytes]) -> bytes:
    """Return the chain after many lines."""
    for digest in digests:
        link = _fresh()
        link.update(chain + digest)
        chain = link.digest()
    return chain


def chains_over(chain: bytes, digests: Iterable[bytes]) -> list[bytes]:
    """Return the chain after each of many lines."""
    chains = []
    for digest in digests:
        link = _fresh()
        link.update(chain + digest)
        chain = link.digest()
        chains.append(chain)
    return chains


def _shown(line: bytes) -> str:
    return repr(line[:80])[2:-1]
