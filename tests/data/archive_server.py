"""Archive server on loopback with the layout of data.binance.vision, and its faults."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from minibot.exchanges.tapes.kline_bars import next_open
from tests.data.data_files import Row, csv_text, zipped
from tests.exchanges.binance.loopback import Loopback, answer

MICROS_FROM: Final = 1_735_689_600_000
PATH: Final = re.compile(
    r"/data/spot/(daily|monthly)/klines/([A-Z]+)/(\w+)/\2-\3-(\d{4}-\d\d(?:-\d\d)?)\.zip"
)
# Fault: a function from path and good body to the bytes that are sent instead.
Fault = Callable[[str, bytes], bytes | None]


def stamp(text: str) -> int:
    """Return the Unix ms of a date."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def archive_row(open_ms: int, end_ms: int) -> Row:
    """Return the archive's row of a bar; each row differs from the next."""
    per_ms = 1000 if open_ms >= MICROS_FROM else 1
    price = 40_000 + open_ms // 60_000 % 977
    return [
        *(open_ms * per_ms, f"{price}.10000000", f"{price + 3}.25000000", f"{price - 2}.00000000"),
        *(f"{price + 1}.50000000", "1.25000000", end_ms * per_ms - 1, "50000.00000000", 12),
        *("0.50000000", "20000.00000000", 0),
    ]


def archive_rows(interval: str, first_ms: int, end_ms: int) -> list[Row]:
    """Return the rows of a period."""
    rows = []
    while first_ms < end_ms:
        following = next_open(interval, first_ms)
        rows.append(archive_row(first_ms, following))
        first_ms = following
    return rows


class ArchiveServer:
    """Server of synthetic klines of any day and month before `end`; `fault` may spoil an answer."""

    def __init__(self, end: str = "2030-01-01", months_end: str = "2030-01-01") -> None:
        self.fault: Fault = lambda path, body: None
        self.paths: list[str] = []
        self._end_ms = stamp(end)
        self._months_end_ms = stamp(months_end)
        self.loopback = Loopback(self._talk)

    def __enter__(self) -> ArchiveServer:
        self.loopback.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.loopback.__exit__(None, None, None)

    @property
    def url(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self.loopback.port}"

    def got(self, ending: str = ".zip") -> list[str]:
        """Return the names of the requested files, in order."""
        return [path.rpartition("/")[2] for path in self.paths if path.endswith(ending)]

    def _talk(self, sock: socket.socket, request: bytes) -> None:
        path = request.split(b" ")[1].decode()
        self.paths.append(path)
        body = self.body(path.removesuffix(".CHECKSUM"))
        if body is None:
            sock.sendall(answer(b"<Error>NoSuchKey</Error>", "404 Not Found", None, "text/xml"))
            return
        if path.endswith(".CHECKSUM"):
            name = path.rpartition("/")[2].removesuffix(".CHECKSUM")
            body = f"{sha256(body).hexdigest()}  {name}\n".encode()
        spoilt = self.fault(path, body)
        if spoilt is None:
            sock.sendall(answer(body, content_type="application/octet-stream"))
        else:
            sock.sendall(spoilt)
            if b"Connection: close" in spoilt:
                sock.shutdown(socket.SHUT_RDWR)

    def body(self, path: str) -> bytes | None:
        """Return the zip at a path, None where there is none."""
        match = PATH.fullmatch(path)
        if match is None:
            return None
        kind, _, interval, day = match.groups()
        is_month = kind == "monthly"
        first_ms = stamp(f"{day}-01" if is_month else day)
        end_ms = next_open("1M" if is_month else "1d", first_ms)
        if end_ms > (self._months_end_ms if is_month else self._end_ms):
            return None
        name = path.rpartition("/")[2]
        rows = archive_rows(interval, first_ms, end_ms)
        return zipped(name.replace(".zip", ".csv"), csv_text(rows))
