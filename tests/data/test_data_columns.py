"""Columnar files: exact round trips, and any damage noticed before use."""

from __future__ import annotations

from array import array
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.data.columns import Column, Columns, amounts, write_columns
from minibot.data.convert import convert
from minibot.kernel import canonical
from minibot.kernel.errors import Refusal
from tests.data.data_files import row, write_rows

ABOUT = {"kind": "ticks", "symbol": "BTCUSDT", "first_ts": 1, "end_ts": 9, "sources": []}
WORD = st.integers(-(2**63) + 1, 2**63 - 1)


def write(path: Path, rows: int) -> str:
    """Write a file of so many rows."""
    times = array("q", range(1_700_000_000_000, 1_700_000_000_000 + rows))
    flags = array("B", (number % 7 for number in range(rows)))
    prices = amounts("price", [10**12 + number * 10**6 for number in range(rows)])
    return write_columns(path, ABOUT, [Column("ts", times), prices, Column("flags", flags)])


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(WORD, WORD, st.integers(0, 255)), max_size=300))
def test_columns_give_back_what_was_written(
    rows: list[tuple[int, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Columns return the written numbers: any 64-bit values, any rows, chosen columns."""
    path = tmp_path_factory.mktemp("columns") / "x.columns"
    first, second, flags = zip(*rows, strict=True) if rows else ((), (), ())
    write_columns(
        path,
        ABOUT,
        [
            Column("a", array("q", first)),
            Column("b", array("q", second), 8),
            Column("flags", array("B", flags)),
        ],
    )

    with Columns(path) as columns:
        assert columns.rows == len(rows)
        assert columns.names == ("a", "b", "flags")
        assert columns.places("b") == 8
        assert columns.column("b").tolist() == list(second)
        assert list(columns.walk(("a", "b", "flags"))) == rows
        assert list(columns.walk(("flags", "a"), 3, 7)) == [(row[2], row[0]) for row in rows[3:7]]


@pytest.mark.parametrize("rows", [1, 8191, 8192, 8193, 20_000])
def test_blocks_are_lists_of_equal_length_that_cover_every_row_once(
    rows: int, tmp_path: Path
) -> None:
    """Blocks cover every row once, whatever their size."""
    write(tmp_path / "x.columns", rows)

    with Columns(tmp_path / "x.columns") as columns:
        blocks = list(columns.blocks(("ts", "flags")))

    assert sum(len(block[0]) for block in blocks) == rows
    assert all(len(block[0]) == len(block[1]) for block in blocks)
    assert [flag for block in blocks for flag in block[1]] == [n % 7 for n in range(rows)]


def test_same_data_gives_the_same_bytes_and_the_sha256_of_the_file(tmp_path: Path) -> None:
    """Equal data gives equal bytes; the last 32 bytes are the digest."""
    first, second = tmp_path / "a.columns", tmp_path / "deeper" / "b.columns"

    digest = write(first, 1000)

    assert write(second, 1000) == digest
    data = first.read_bytes()
    assert data == second.read_bytes()
    assert data[-32:].hex() == digest == sha256(data[:-32]).hexdigest()


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    """A changed byte is noticed wherever it stands: magic, header, padding, numbers, digest."""
    path = tmp_path / "x.columns"
    write(path, 3)
    data = path.read_bytes()

    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(Refusal):
            Columns(path)


@pytest.mark.parametrize("size", [0, 5, 16, 100, -33, -1])
def test_file_that_is_cut_short_is_refused(size: int, tmp_path: Path) -> None:
    """A truncated file is refused by the length in its header, without the digest."""
    path = tmp_path / "x.columns"
    write(path, 100)
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(Refusal):
        Columns(path, is_verified=False)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 200},
        {"rows": -1},
        {"rows": "x"},
        {"bytes": "x"},
        {"columns": {}},
        {"columns": [5]},
        *({"columns": [{"name": "ts", "type": "q", "at": at, "places": 0}]} for at in (-64, 9000)),
        {"columns": [{"name": "ts", "type": "Z", "at": 0, "places": 0}]},
        {"columns": [{"name": "ts", "type": "q", "at": 0}]},
    ],
    ids=str,
)
def test_header_that_names_what_is_not_there_is_refused(
    change: dict[str, Any], tmp_path: Path
) -> None:
    """A file whose sha256 is right, but whose header points out of its columns, is refused."""
    path = tmp_path / "x.columns"
    write(path, 100)
    data = path.read_bytes()
    size = int.from_bytes(data[8:16], "little")
    body = data[-(-(16 + size) // 64) * 64 : -32]
    header = canonical.encode({**canonical.decode(data[16 : 16 + size]), **change})
    head = data[:8] + len(header).to_bytes(8, "little") + header
    whole = head + bytes(-len(head) % 64) + body
    path.write_bytes(whole + sha256(whole).digest())

    with pytest.raises(Refusal, match="header"):
        Columns(path)


def test_amounts_too_large_for_64_bits_lose_places_and_no_digit() -> None:
    """Amounts too large for 64 bits drop unused places and no digit."""
    column = amounts("volume", [5 * 10**21, 10**9])

    assert column.places == 5
    assert [value * 10 ** (8 - column.places) for value in column.values] == [5 * 10**21, 10**9]
    with pytest.raises(Refusal, match="64 bits"):
        amounts("volume", [5 * 10**21, 1])


def test_amount_that_no_column_holds_is_refused_with_its_file(tmp_path: Path) -> None:
    """An amount that needs all places and more than 64 bits is refused with its file."""
    volume = "99999999999999.00000001"
    path = write_rows(tmp_path / "BTCUSDT-1m.csv", [[*row(0)[:5], volume, *row(0)[6:]]])

    with pytest.raises(Refusal, match=r"BTCUSDT-1m\.csv: column volume: .* 64 bits"):
        convert([path], tmp_path)
