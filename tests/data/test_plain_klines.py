"""Clean files of klines read as columns: the same rows as those looked at one by one, or none."""

from __future__ import annotations

import gzip
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from minibot.data.klines import open_klines
from minibot.data.plain_klines import AMOUNTS, plain_klines
from minibot.kernel.errors import Refusal
from minibot.simulator.sources.kline_rows import COLUMNS

START = 1_735_689_600_000
ROWS = 40
NAME = "BTCUSDT-1m-2025-01.csv"
REST_NAME = "BTCUSDT-1m-2025-01.jsonl"


def cells_of(row: int, end: str = "") -> list[str]:
    """Return a sound row whose numbers have from none to eight places; `end` ends its times."""
    places = row % 9
    price = f"{100 + row}.{'0' * (places - 1)}5" if places else str(100 + row)
    low, high = f"{99 + row}.00000001", f"{102 + row}"
    start = START + 60_000 * row
    return [
        *(f"{start}{end}", price, high, low, price, f"{row + 1}.25", f"{start + 59_999}{end}"),
        *("1.5", "7", "0.5", "0", "0"),
    ]


def text_of(rows: list[list[str]]) -> str:
    return "".join(",".join(row) + "\n" for row in rows)


def rest_text_of(rows: list[list[str]]) -> str:
    """Return rows as the REST endpoint writes them: times and the number of trades as numbers."""
    cells = [
        [cell if at in (0, 6, 8) else f'"{cell}"' for at, cell in enumerate(row)] for row in rows
    ]
    return "".join(f"[{','.join(row)}]\n" for row in cells)


def clean() -> list[list[str]]:
    return [cells_of(row) for row in range(ROWS)]


def assert_same(path: Path) -> None:
    found, rows = plain_klines(path), open_klines(path)
    assert found is not None
    for name in ("open_ts", *AMOUNTS):
        assert found.columns[name].tolist() == [getattr(row, name) for row in rows]
    assert (found.symbol, found.interval) == (rows.symbol, rows.interval)
    increments = rows.report.price_increment, rows.report.qty_increment
    assert (found.price_increment, found.qty_increment) == increments


@pytest.mark.parametrize("end", ["", "000"], ids=["ms", "us"])
@pytest.mark.parametrize("width", [6, 12])
@pytest.mark.parametrize("has_header", [False, True], ids=["bare", "header"])
def test_clean_file_is_read_as_it_is_row_by_row(
    width: int, has_header: bool, end: str, tmp_path: Path
) -> None:
    """Plain, packed, with and without a header or a last line break, in either unit of time."""
    sound = [cells_of(row, end) for row in range(ROWS)]
    rows = [row[:width] for row in ([list(COLUMNS)] if has_header else []) + sound]
    text = text_of(rows)
    plain, packed = tmp_path / NAME, tmp_path / f"{NAME}.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    with zipfile.ZipFile(tmp_path / NAME.replace("csv", "zip"), "w") as archive:
        archive.writestr(NAME, text.removesuffix("\n"))

    for path in (plain, packed, tmp_path / NAME.replace("csv", "zip")):
        assert_same(path)


@pytest.mark.parametrize("end", ["", "000"], ids=["ms", "us"])
def test_rows_of_the_rest_endpoint_are_read_as_they_are_row_by_row(
    end: str, tmp_path: Path
) -> None:
    """Files of `minibot download-data` are such, packed or not, some without a last line break."""
    text = rest_text_of([cells_of(row, end) for row in range(ROWS)])
    plain, packed = tmp_path / REST_NAME, tmp_path / f"{REST_NAME}.gz"
    plain.write_text(text.removesuffix("\n"))
    packed.write_bytes(gzip.compress(text.encode()))

    for path in (plain, packed):
        assert_same(path)


@pytest.mark.parametrize("write", [text_of, rest_text_of], ids=["csv", "rest"])
@pytest.mark.parametrize(
    ("row", "column", "text"),
    [
        *((5, column, "") for column in (0, 1, 5)),
        *((5, column, text) for column in (1, 3, 5, 7) for text in ("-1", "1e3", "nan", " 7")),
        *((5, column, text) for column in (1, 7) for text in ("1.", ".5", "1..5", "1.123456789")),
        *((5, column, "1.5") for column in (0, 6, 8)),
        (5, 0, str(START)),
        (5, 0, str(START // 1000 + 300)),
        (5, 0, str((START + 300_000) * 1000)),
        (0, 0, str(START - 1)),
        (0, 0, str(START - 60_000)),
        (5, 6, "0"),
        (5, 2, "1"),
        (5, 3, "900"),
        (5, 3, "0"),
        (5, 4, "900"),
        (5, 5, "0"),
        (5, 5, "123456789012345678"),
        (5, 7, "1,1"),
        (5, 11, "words"),
    ],
)
def test_file_with_anything_else_is_left_to_the_look_at_each_row(
    row: int,
    column: int,
    text: str,
    write: Callable[[list[list[str]]], str],
    tmp_path: Path,
) -> None:
    """A file that is refused there, or read otherwise, is never read here."""
    rows = clean()
    rows[row][column] = text
    path = tmp_path / (NAME if write is text_of else REST_NAME)
    path.write_text(write(rows))

    assert plain_klines(path) is None


@pytest.mark.parametrize(
    ("found", "becomes"),
    [
        ("[1735689900000,", "[01735689900000,"),
        ("[1735689900000,", '["1735689900000",'),
        ("[1735689900000,", "[[1735689900000,"),
        ("[1735689900000,", "[1735689900000 ,"),
        ('"105', "105"),
        (",7,", ',"7",'),
        (",7,", ",07,"),
        ('"0"]\n', '"0"]]\n'),
        ('"0"]\n', '"0","0"]\n'),
        ('"0"]\n', '"0"]'),
    ],
)
def test_row_that_the_rest_endpoint_does_not_write_is_left_alone(
    found: str, becomes: str, tmp_path: Path
) -> None:
    """Without brackets and quotation marks it could pass for a row of numbers."""
    before, row, after = rest_text_of(clean()).partition("[1735689900000,")
    path = tmp_path / REST_NAME
    path.write_text(before + (row + after).replace(found, becomes, 1))

    assert plain_klines(path) is None


@pytest.mark.slow
@pytest.mark.parametrize("write", [text_of, rest_text_of], ids=["csv", "rest"])
def test_no_damage_of_a_byte_is_read_otherwise_than_row_by_row(
    write: Callable[[list[list[str]]], str], tmp_path: Path
) -> None:
    """Whatever one byte becomes, both ways read the same, or this one leaves it alone."""
    chance = random.Random(9)
    text = write(clean())
    path = tmp_path / (NAME if write is text_of else REST_NAME)
    read = 0
    for _ in range(300):
        at = chance.randrange(len(text))
        path.write_text(text[:at] + chance.choice('0123456789.,-\n x"[]') + text[at + 1 :])
        if plain_klines(path) is None:
            continue
        read += 1
        assert_same(path)

    assert read > 50


def test_missing_and_empty_files_are_refused_where_rows_are_looked_at(tmp_path: Path) -> None:
    """Files of another form are left to the reader of rows."""
    path = tmp_path / NAME
    path.write_text("")

    assert plain_klines(path) is None
    assert plain_klines(tmp_path / "BTCUSDT-1m.csv") is None
    assert plain_klines(tmp_path) is None
    with pytest.raises(Refusal):
        open_klines(path)
