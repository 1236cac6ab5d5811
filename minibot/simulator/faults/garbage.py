"""Frames that every parser should refuse, for the fault `garbage`."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

from minibot.simulator.server import wire

# More than any client should accept: real frames have 60 kB at most.
HUGE_BYTES: Final = 10_000_000
PACKED_BIT: Final = 0x40  # RSV1: compressed, although compression was not negotiated.
BLOCK_END: Final = b"\x00\x00\xff\xff"  # Bytes that a sender omits (RFC 7692, 7.2.1).


def _huge() -> bytes:
    return b'{"s":"' + b"x" * HUGE_BYTES + b'"}'


def _packed() -> bytes:
    """Return ten kilobytes that unpack to ten megabytes."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(_huge()) + packer.flush(zlib.Z_SYNC_FLUSH)
    return wire.frame(wire.TEXT | PACKED_BIT, packed.removesuffix(BLOCK_END))


def _text(payload: bytes) -> Callable[[], bytes]:
    return lambda: wire.frame(wire.TEXT, payload)


GARBAGE: Final[dict[str, Callable[[], bytes]]] = {
    "text": _text(b"not json at all"),
    "partial_json": _text(b'{"stream":"btcusdt@trade","data":{"e":"tra'),
    "broken_utf8": _text(b'{"s":"\xff\xfe\x80"}'),
    "wrong_opcode": lambda: wire.frame(0x3, b"reserved"),
    "masked": lambda: b"\x81\x82\x00\x00\x00\x00{}",
    "empty": _text(b""),
    "array": _text(b"[1,2,3]"),
    "deep": _text(b"[" * 2000 + b"]" * 2000),
    "huge": lambda: wire.frame(wire.TEXT, _huge()),
    "compressed": _packed,
}
"""By kind: makes the bytes of one frame, header and all."""
