"""Reader of the recordings beside the project."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from minibot.exchanges.base import Message, Snapshot
from minibot.exchanges.binance.messages import parse_frame, parse_snapshot

TAPE = ("btcusdt_20240808.gz", "btcusdt_20240809.gz")


class Line(NamedTuple):
    """Recorded line: receive time in ms, raw text, and whether it is a REST snapshot."""

    ts: int
    data: bytes
    is_snapshot: bool


def tape_lines(shared_data: Path) -> Iterator[Line]:
    """Yield the raw lines of the BTCUSDT tape."""
    for name in TAPE:
        with gzip.open(shared_data / "binance-ws-hft" / name) as file:
            for line in file:
                stamp, _, data = line.rstrip(b"\n").partition(b" ")
                yield Line(int(stamp) // 1_000_000, data, data.startswith(b'{"lastUpdateId"'))


def tape_messages(shared_data: Path) -> Iterator[Message | Snapshot]:
    """Yield the tape as messages; its one unwrapped line is the depth snapshot."""
    for line in tape_lines(shared_data):
        if line.is_snapshot:
            yield parse_snapshot(orjson.loads(line.data), 1000)
        else:
            yield parse_frame(line.data)


class Session(NamedTuple):
    """cryptofeed recording: depth snapshots by symbol, and frames in order."""

    snapshots: dict[str, Snapshot]
    frames: list[bytes]


def cryptofeed_session(shared_data: Path, prefix: str) -> Session:
    """Return snapshots and frames of the recording whose file names begin with `prefix`."""
    snapshots: dict[str, Snapshot] = {}
    frames: list[bytes] = []
    for path in sorted((shared_data / "binance-ws-cryptofeed").glob(f"{prefix}*.gz")):
        with gzip.open(path) as file:
            for line in file:
                _read(line.rstrip(b"\n"), snapshots, frames)
    return Session(snapshots, frames)


def _read(line: bytes, snapshots: dict[str, Snapshot], frames: list[bytes]) -> None:
    head, _, body = line.partition(b": {")
    body = b"{" + body
    if b"/depth?symbol=" in head and b" -> " in head:
        symbol = head.partition(b"symbol=")[2].partition(b"&")[0].decode()
        snapshots[symbol] = parse_snapshot(orjson.loads(body), 1000)
    elif head.replace(b".", b"", 1).isdigit() and b'"stream"' in body:
        frames.append(body)
