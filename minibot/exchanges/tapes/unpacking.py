"""Lines of packed data with a limit: a small file must not fill the memory or take a day.

Recordings and the public archive's files unpack to four to thirty times their size. A file that
unpacks to hundreds of times its size, or to an endless line, is an attack or no market data.
"""

from __future__ import annotations

from collections.abc import Iterator
from gzip import GzipFile
from pathlib import Path
from typing import IO, Final

from minibot.kernel.errors import Refusal

# Relative to the packed size; deflate itself ends at about a thousand.
RATIO_MAX: Final = 250
# Unpacked sizes below this are never refused.
FREE_BYTES: Final = 8 << 20
# Smallest size that a line is counted with: mere line ends are no data either.
LINE_BYTES_MIN: Final = 32
# A whole answer of klines in one line has some hundred kilobytes, a full book five.
LINE_BYTES_MAX: Final = 16 << 20
_REMEDY: Final = "If you trust it, unpack it yourself and name the unpacked file."


def bounded_lines(path: Path, file: IO[bytes] | GzipFile) -> Iterator[bytes]:
    """Yield the lines of an unpacking stream.

    Args:
        path: The packed file.
        file: Its unpacking stream.

    Raises:
        Refusal: It unpacks to more than market data does.
    """
    unpacked, number = 0, 0
    most = max(FREE_BYTES, RATIO_MAX * path.stat().st_size)
    while line := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        unpacked += max(len(line), LINE_BYTES_MIN)
        if len(line) > LINE_BYTES_MAX:
            raise Refusal(f"{path}: line {number} has more than {_mb(LINE_BYTES_MAX)}.", _REMEDY)
        if unpacked > most:
            what = f"it unpacks to more than {_mb(most)} from {path.stat().st_size:,} bytes"
            raise Refusal(f"{path}: {what}: no market data does.", _REMEDY)
        yield line


def _mb(size: int) -> str:
    return f"{size >> 20:,} MB"
