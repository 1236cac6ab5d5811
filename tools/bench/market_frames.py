"""Frames of the market bench: one symbol's recording, played under many names with present times.

The recording of BTCUSDT (99,573 messages of ten minutes) stands in the shared data; without it the
ten minutes of the shipped tape serve. Every name has as many letters as BTCUSDT, and every time in
the frames is a mark that is overwritten when a piece is sent, so no frame is ever rebuilt.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tools.bench.machine import PROJECT

RECORDED: Final = PROJECT.parent / "shared" / "data" / "binance-ws-hft"
SHIPPED: Final = PROJECT / "minibot" / "exchanges" / "tapes" / "shipped"
SYMBOL: Final = b"BTCUSDT"
# Mark for the time of sending: thirteen digits, like milliseconds.
MARK: Final = b"1111111111111"
TIMES: Final = re.compile(rb'"([ET])":\d{13}(?=[,}])')
KINDS: Final = ("depth", "trade", "bookTicker")


@dataclass(frozen=True, slots=True)
class Recorded:
    """Recording: its messages by kind, and the depth snapshot that belongs to it."""

    messages: tuple[tuple[str, bytes], ...]
    snapshot: bytes

    def count(self, kind: str) -> int:
        """Return the number of messages of a kind."""
        return sum(name == kind for name, _ in self.messages)


def read_recording() -> Recorded:
    """Return the recording with every time replaced by the mark."""
    folder = RECORDED if RECORDED.is_dir() else SHIPPED
    messages: list[tuple[str, bytes]] = []
    snapshot = b""
    for path in sorted(folder.glob("btcusdt_*.gz")):
        with gzip.open(path) as lines:
            for line in lines:
                body = line.rstrip(b"\n").partition(b" ")[2]
                if body.startswith(b'{"stream":"'):
                    kind = body[11 : body.index(b'"', 11)].split(b"@")[1].decode()
                    messages.append((kind, TIMES.sub(rb'"\1":' + MARK, body)))
                else:
                    snapshot = body
    return Recorded(tuple(messages), snapshot)


def names(count: int) -> list[str]:
    """Return symbols as long as the recorded one; the first is the recorded one."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    others = [f"{a}{b}{c}USDT" for a in letters for b in letters for c in letters]
    return ["BTCUSDT", *(name for name in others if name != "BTCUSDT")][:count]


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """Return one whole unmasked frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")
    return head + payload


def unwrapped(message: bytes) -> bytes:
    """Return the data of a combined-stream message, as the raw streams send it."""
    return message[message.index(b'"data":') + 7 : -1]


def aggregated(message: bytes) -> bytes:
    """Return a trade as an aggregated trade, which some clients ask for instead."""
    data = json.loads(unwrapped(message))
    renamed = {"e": "aggTrade", "E": data["E"], "s": data["s"], "a": data["t"], "p": data["p"]}
    renamed |= {"q": data["q"], "f": data["t"], "l": data["t"], "T": data["T"], "m": data["m"]}
    body = json.dumps({**renamed, "M": True}, separators=(",", ":")).encode()
    return b'{"stream":"btcusdt@aggTrade","data":' + body + b"}"


class Pieces:
    """Frames of some kinds, in pieces of whole frames.

    Args:
        recorded: The recording.
        kinds: Stream kinds that the client asked for; `aggTrade` makes such of trades.
        is_wrapped: Whether the client wants the combined form.
        piece_bytes: Approximate length of a piece; 1 makes every frame a piece.
    """

    def __init__(
        self, recorded: Recorded, kinds: frozenset[str], *, is_wrapped: bool, piece_bytes: int
    ) -> None:
        self.pieces: list[tuple[bytes, int, int]] = []
        current: list[bytes] = []
        size = trades = 0
        for kind, message in recorded.messages:
            body = message
            if kind == "trade" and "aggTrade" in kinds:
                body = aggregated(message)
            elif kind not in kinds:
                continue
            current.append(frame(body if is_wrapped else unwrapped(body)))
            size += len(current[-1])
            trades += kind == "trade"
            if size >= piece_bytes:
                self.pieces.append((b"".join(current), len(current), trades))
                current, size, trades = [], 0, 0
        if current:
            self.pieces.append((b"".join(current), len(current), trades))

    def walk(self, symbols: Sequence[str]) -> Iterator[tuple[bytes, int, int]]:
        """Yield (bytes, messages, trades): all symbols side by side, each once through."""
        pairs = [(name.encode(), name.lower().encode()) for name in symbols]
        for data, messages, trades in self.pieces:
            for upper, lower in pairs:
                if upper == SYMBOL:
                    yield data, messages, trades
                else:
                    renamed = data.replace(SYMBOL, upper).replace(b"btcusdt", lower)
                    yield renamed, messages, trades
