"""WebSocket frames as a server writes them, and the venue's wrapping of payloads.

The server writes its frames itself, many to one system call: at 60 times the speed a call for each
frame would be most of its work.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

import orjson

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_MIDDLE: Final = struct.Struct(">BBH")
_TIME_KEYS: Final = frozenset({"E", "T", "t", "O", "C"})
# Events with times under other keys: the "t" of a trade is its id.
_TIME_KEYS_OF: Final = {
    "trade": _TIME_KEYS - {"t"},
    "blockTrade": _TIME_KEYS - {"t"},
    "executionReport": _TIME_KEYS - {"t"} | {"W"},
    "outboundAccountPosition": _TIME_KEYS | {"u"},
}


def header(opcode: int, size: int) -> bytes:
    """Return the header of a final, unmasked WebSocket frame with `size` bytes of payload."""
    if size < 126:
        return bytes((0x80 | opcode, size))
    if size < 65536:
        return _MIDDLE.pack(0x80 | opcode, 126, size)
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")


def frame(opcode: int, payload: bytes) -> bytes:
    """Return one final, unmasked WebSocket frame."""
    return header(opcode, len(payload)) + payload


def close_frame(code: int, reason: str) -> bytes:
    """Return a close frame with its code and reason."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason.encode())


def combined(stream: str, data: bytes) -> bytes:
    """Return a payload in the wrapping of combined streams."""
    return combined_head(stream) + data + b"}"


def combined_head(stream: str) -> bytes:
    """Return the part of a combined message before the stream's payload."""
    return b'{"stream":"' + stream.encode() + b'","data":'


def in_micros(data: bytes) -> bytes:
    """Return a payload with its times in microseconds, for clients that want them.

    A damaged recorded payload is returned as it is, for the client to refuse.
    """
    try:
        payload = with_times(orjson.loads(data), lambda time_ms: time_ms * 1000)
        bar = payload.get("k") if isinstance(payload, dict) else None
        # A fault may have removed or retyped any of it.
        if isinstance(bar, dict) and type(bar.get("T")) is int:
            bar["T"] += 999  # A bar closes with its last microsecond, as in REST.
        return orjson.dumps(payload)
    except (ValueError, TypeError):
        return data


def with_times(payload: Any, change: Callable[[int], int]) -> Any:
    """Return a payload of any stream with all of its times changed, and nothing else."""
    if isinstance(payload, list):
        return [with_times(item, change) for item in payload]
    if not isinstance(payload, dict):
        return payload
    time_keys = _TIME_KEYS_OF.get(payload.get("e", ""), _TIME_KEYS)
    return {
        key: with_times(value, change)
        if key == "k"
        else change(value)
        if key in time_keys and type(value) is int
        else value
        for key, value in payload.items()
    }
