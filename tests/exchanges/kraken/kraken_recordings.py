"""Reader of the recordings of Kraken's streams beside the project."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

V2 = {"kraken_btcusd_sample.cbcap.gz": 25, "kraken_btcusd_l2.cbcap.gz": 10}
V1 = "2021-04-17_KRAKEN.ws.50.0.gz"
V1_DEPTH = 1000
V1_SYMBOLS: tuple[str, ...] = (
    *("WAVES/EUR", "XMR/USD", "KSM/XBT", "GRT/ETH", "SC/EUR"),
    *("ETH/CHF", "OCEAN/XBT", "OMG/USD", "XBT/CHF", "ADA/XBT"),
)


class Frame(NamedTuple):
    """Frame as received, at its time in nanoseconds."""

    at_ns: int
    data: bytes


def v2_frames(shared_data: Path, name: str) -> Iterator[Frame]:
    """Yield the frames of a length-prefixed capture."""
    with gzip.open(shared_data / "kraken-ws-v2-crossbook" / name) as file:
        assert file.readline().startswith(b"CBCAP1 kraken BTC/USD ")
        while head := file.readline():
            at_ns, size = head.split()
            yield Frame(int(at_ns), file.read(int(size)))
            assert file.read(1) == b"\n"


def v1_frames(shared_data: Path) -> Iterator[Frame]:
    """Yield the frames of a cryptofeed recording."""
    with gzip.open(shared_data / "kraken-ws-cryptofeed" / V1) as file:
        for line in file:
            stamp, separator, data = line.rstrip(b"\n").partition(b": ")
            if separator and stamp.replace(b".", b"", 1).isdigit():
                yield Frame(int(float(stamp) * 1e9), data)
