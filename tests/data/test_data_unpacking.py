"""Packed files that unpack to far more than market data: refused in words, with little memory."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zipfile
from functools import cache
from pathlib import Path

import pytest

from minibot.data.convert import check, convert
from minibot.data.treatment import Treatment
from minibot.exchanges.tapes import unpacking
from minibot.exchanges.tapes.tape import lines_of
from minibot.kernel.errors import Refusal
from minibot.simulator.sources.kline_rows import zip_lines
from tests.data.data_files import row

MB = 1 << 20


def packed(path: Path, data: bytes, times: int) -> Path:
    """Write data a number of times into a packed file."""
    if path.suffix == ".gz":
        with gzip.open(path, "wb") as file:
            for _ in range(times):
                file.write(data)
        return path
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{path.stem}.csv", "w") as member,
    ):
        for _ in range(times):
            member.write(data)
    return path


@pytest.mark.parametrize(
    "name", ["BTCUSDT-1m.zip", "BTCUSDT-1m.csv.gz", "BTCUSDT-aggTrades-2025-01-06.zip"]
)
@pytest.mark.parametrize("filling", [b"\n", b"0", b"\0"])
def test_a_small_file_that_unpacks_without_end_is_refused(
    name: str, filling: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file that unpacks without end is refused, by its size or by one line."""
    monkeypatch.setattr(unpacking, "FREE_BYTES", MB)
    monkeypatch.setattr(unpacking, "LINE_BYTES_MAX", MB)
    path = packed(tmp_path / name, filling * MB, 6)
    assert path.stat().st_size < MB // 50

    with pytest.raises(Refusal, match=r"no market data does|has more than"):
        convert([path], tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))


@cache
def zeros_packed(kind: int, name: str) -> bytes:
    """Return a zip of one file of zeros that takes megabytes unpacked."""
    packed_bytes = io.BytesIO()
    with zipfile.ZipFile(packed_bytes, "w", kind) as archive:
        # Of zeros bzip2 makes so little that 20 MB leave no place for the damage.
        archive.writestr(name, b"0" * (20 * MB if kind == zipfile.ZIP_LZMA else 64 * MB))
    return packed_bytes.getvalue()


@pytest.mark.campaign
@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", ["BTCUSDT-1m.zip", "BTCUSDT-aggTrades-2025-01-06.zip"])
@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_zip_that_is_not_packed_by_deflate_is_refused_before_it_is_unpacked(
    kind: int, name: str, is_damaged: bool, tmp_path: Path
) -> None:
    """A zip packed by bzip2 or LZMA, whole or damaged, is refused and never unpacked."""
    path = tmp_path / name
    data = bytearray(zeros_packed(kind, f"{path.stem}.csv"))
    if is_damaged:
        data[80:120] = b"\xff" * 40  # Within the packed bytes, behind the local header.
    path.write_bytes(data)

    tracemalloc.start()
    try:
        with pytest.raises(Refusal, match="packed by deflate"):
            list(zip_lines(path))
        assert tracemalloc.get_traced_memory()[1] < 16 * MB
    finally:
        tracemalloc.stop()
    with pytest.raises(Refusal):
        convert([path], tmp_path / "out")


@pytest.mark.slow
def test_a_line_without_end_takes_no_more_memory_than_a_line_may(tmp_path: Path) -> None:
    """A line without end is refused before all of it is in memory."""
    path = packed(tmp_path / "BTCUSDT-1m.csv.gz", b"0" * MB, 100)

    tracemalloc.start()
    try:
        with pytest.raises(Refusal, match=r"line 1 has more than"):
            check(path, Treatment())
        assert tracemalloc.get_traced_memory()[1] < 64 * MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["BTCUSDT-1m.zip", "BTCUSDT-1m.csv.gz"])
def test_what_is_small_unpacked_is_read_however_well_it_packs(name: str, tmp_path: Path) -> None:
    """A file that is small unpacked is read, however well it packs."""
    line = (",".join(map(str, row(0))) + "\n").encode()
    path = packed(tmp_path / name, line * 500, 8)

    report = check(path, Treatment())

    assert path.stat().st_size * unpacking.RATIO_MAX < len(line) * 500 * 8 or report.rows
    assert report.troubles


def test_a_plain_file_has_no_bound_but_its_own_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain file is bounded by its own size alone."""
    monkeypatch.setattr(unpacking, "FREE_BYTES", 10)
    monkeypatch.setattr(unpacking, "LINE_BYTES_MAX", 10)
    path = tmp_path / "plain.csv"
    path.write_bytes(b"0" * 50 + b"\n")

    assert list(lines_of(path)) == [b"0" * 50 + b"\n"]
    path.write_bytes(gzip.compress(b"0" * 50 + b"\n"))
    with pytest.raises(Refusal, match="line 1 has more than"):
        list(lines_of(path))
