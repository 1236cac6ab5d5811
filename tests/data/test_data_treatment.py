"""Bad data: counted, located, refused by default, and settled only as asked."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.data.convert import check
from minibot.data.kline import Kline
from minibot.data.klines import inspect_klines, merged, open_klines
from minibot.data.mending import treat
from minibot.data.treatment import CHOICES, KEEP_ALL, REFUSE, DataReport, Treatment
from minibot.exchanges.tapes.kline_bars import next_open
from minibot.kernel.errors import ConfigError, Refusal
from tests.data.data_files import MINUTE_MS, OPEN_MS, Row, row, write_rows

GOOD = [row(number) for number in range(6)]


def minutes(klines: list[Kline]) -> list[int]:
    """Return the minute of each kline's open, from the first."""
    return [(kline.open_ts - OPEN_MS) // MINUTE_MS for kline in klines]


def with_row(at: int, new: Row) -> list[Row]:
    """Return the valid rows with one replaced."""
    return [*GOOD[:at], new, *GOOD[at + 1 :]]


# Kind of fault, its count and first row, and the minutes that each treatment leaves.
CASES: list[tuple[str, str, list[Row], int, int, dict[str, list[int]]]] = [
    *(
        ("gap", "gaps", [*GOOD[:2], *GOOD[4:]], 2, 3, words)
        for words in [{"keep": [0, 1, 4, 5], "flat": [0, 1, 2, 3, 4, 5]}]
    ),
    (
        *("same twice", "duplicates", [*GOOD[:3], GOOD[2], *GOOD[3:]], 1, 4),
        {"first": [0, 1, 2, 3, 4, 5], "last": [0, 1, 2, 3, 4, 5]},
    ),
    ("order", "order", [*GOOD[:2], GOOD[3], GOOD[2], *GOOD[4:]], 1, 4, {"sort": [*range(6)]}),
    ("text", "rows", with_row(2, [*GOOD[2][:4], "abc", *GOOD[2][5:]]), 1, 3, {}),
    ("nan", "rows", with_row(2, [*GOOD[2][:4], "nan", *GOOD[2][5:]]), 1, 3, {}),
    ("too fine", "rows", with_row(2, [*GOOD[2][:4], "1.000000001", *GOOD[2][5:]]), 1, 3, {}),
    ("columns", "rows", with_row(2, GOOD[2][:9]), 1, 3, {}),
    ("count below zero", "rows", with_row(2, [*GOOD[2][:8], -4, *GOOD[2][9:]]), 1, 3, {}),
    *(
        (f"takers' {at}", "rows", with_row(2, [*GOOD[2][:at], "-1", *GOOD[2][at + 1 :]]), 1, 3, {})
        for at in (9, 10)
    ),
    *(
        (f"count {count}", "rows", with_row(2, [*GOOD[2][:8], count, *GOOD[2][9:]]), 1, 3, {})
        for count in ("1_000", "+4", str(2**63))
    ),
    ("low over high", "prices", with_row(2, row(2, "100 99 101 100")), 1, 3, {}),
    ("close over high", "prices", with_row(2, row(2, "100 101 99 102")), 1, 3, {}),
    ("price of zero", "prices", with_row(2, row(2, "0 0 0 0")), 1, 3, {}),
    ("price below zero", "prices", with_row(2, row(2, "-1 1 -2 1")), 1, 3, {}),
    (
        *("quiet", "zero_volume", with_row(2, row(2, volume="0.00000000")), 1, 3),
        {"keep": [*range(6)]},
    ),
    ("microseconds", "units", with_row(2, row(2, per_ms=1000)), 1, 3, {"keep": [*range(6)]}),
    (
        *("misaligned", "misaligned"),
        with_row(2, [GOOD[2][0] + 7, *GOOD[2][1:]]),
        *(1, 3, {}),
    ),
]


@pytest.mark.parametrize("name", ["BTCUSDT-1m.jsonl", "BTCUSDT-1m.csv"])
@pytest.mark.parametrize(
    ("code", "rows", "count", "place"), [case[1:5] for case in CASES], ids=[c[0] for c in CASES]
)
def test_trouble_is_counted_placed_and_refused(
    name: str, code: str, rows: list[Row], count: int, place: int, tmp_path: Path
) -> None:
    """A fault is refused with its kind, count, first row, and the option that settles it."""
    path = write_rows(tmp_path / name, rows)

    trouble = inspect_klines(path, Treatment()).report.troubles[code]
    with pytest.raises(Refusal) as refusal:
        open_klines(path)

    assert (trouble.count, trouble.places[0].row) == (count, place)
    assert f"{count} x {code}" in refusal.value.message
    assert f"row {place}" in refusal.value.message
    assert f"--{code.replace('_', '-')}" in refusal.value.remedy


@pytest.mark.parametrize("rows", [case[2] for case in CASES], ids=[case[0] for case in CASES])
def test_check_of_a_file_tells_what_reading_it_tells(rows: list[Row], tmp_path: Path) -> None:
    """A file that is checked row by row is judged as one whose klines are all held."""
    path = write_rows(tmp_path / "BTCUSDT-1m.csv", rows)

    for treatment in (Treatment(), KEEP_ALL):
        assert check(path, treatment) == inspect_klines(path, treatment).report


def test_check_takes_the_memory_of_a_few_rows(tmp_path: Path) -> None:
    """A month of seconds has 2.7 million rows: nothing of it is kept while it is checked."""
    path = write_rows(tmp_path / "BTCUSDT-1m.zip", [row(number) for number in range(20_000)])
    tracemalloc.start()
    try:
        report = check(path, Treatment())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (report.rows, report.is_clean) == (20_000, True)
    assert peak < 1_500_000


@pytest.mark.parametrize(
    ("code", "rows", "word", "left"),
    [
        (code, rows, word, left)
        for _, code, rows, _, _, words in CASES
        for word, left in words.items()
    ],
)
def test_treatment_settles_what_it_names(
    code: str, rows: list[Row], word: str, left: list[int], tmp_path: Path
) -> None:
    """A treatment leaves each minute once in order, and the fault stays in the report."""
    found = open_klines(write_rows(tmp_path / "BTCUSDT-1m.jsonl", rows), Treatment(**{code: word}))

    assert minutes(found.klines) == left
    assert code in found.report.troubles


@pytest.mark.parametrize(
    ("code", "rows"), [(case[1], case[2]) for case in CASES if not case[5]], ids=str
)
def test_dropping_a_row_leaves_a_hole_that_has_to_be_settled_too(
    code: str, rows: list[Row], tmp_path: Path
) -> None:
    """A dropped row leaves a gap, which needs a treatment of its own."""
    path = write_rows(tmp_path / "BTCUSDT-1m.jsonl", rows)

    with pytest.raises(Refusal, match="gaps"):
        open_klines(path, Treatment(**{code: "drop"}))
    found = open_klines(path, Treatment(**{code: "drop"}, gaps="flat"))

    assert minutes(found.klines) == [*range(6)]
    assert found.klines[2].volume == 0
    assert found.klines[2].open == found.klines[2].close == found.klines[1].close


@pytest.mark.parametrize(("word", "volume"), [("first", 1), ("last", 2)])
def test_of_two_rows_of_one_time_the_named_one_counts(
    word: str, volume: int, tmp_path: Path
) -> None:
    """Two rows with one time are reported, and the treatment chooses one of them."""
    rows = [row(0), row(1, volume="1"), row(1, volume="2"), row(2)]
    path = write_rows(tmp_path / "BTCUSDT-1m.jsonl", rows)

    found = open_klines(path, Treatment(duplicates=word))

    assert found.klines[1].volume == volume * 10**8
    assert "contradicts row 2" in found.report.troubles["duplicates"].places[0].what


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("BTCUSDT-1m.csv.gz", lambda data: data[:-60]),
        ("BTCUSDT-1m.csv.gz", lambda data: data[:-6] + bytes(6)),
        ("BTCUSDT-1m.jsonl.gz", lambda data: data[:-40]),
    ],
)
def test_file_that_breaks_off_is_damaged_whatever_the_treatment(
    name: str, cut: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    """A truncated file is damaged; no treatment accepts it."""
    rows = [row(number, volume=f"{number * 7919 % 1000 + 1}.5") for number in range(2000)]
    path = write_rows(tmp_path / name, rows)
    path.write_bytes(cut(path.read_bytes()))
    treatment = Treatment(**{code: words[-1] for code, words in CHOICES.items()})

    with pytest.raises(Refusal) as refusal:
        open_klines(path, treatment)

    assert "damaged" in refusal.value.message
    assert "sha256" in refusal.value.remedy


def test_zip_with_a_changed_byte_is_refused(tmp_path: Path) -> None:
    """A zip with a changed byte is refused by its checksum."""
    path = write_rows(tmp_path / "BTCUSDT-1m.zip", [row(number) for number in range(500)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(Refusal):
        open_klines(path)


@pytest.mark.parametrize(("at", "value"), [(8, 1), (10, 99)], ids=["encrypted", "packing"])
def test_zip_that_the_library_cannot_open_is_refused(at: int, value: int, tmp_path: Path) -> None:
    """A zip with a password or an unknown packing is refused; found by a fuzzer."""
    path = write_rows(tmp_path / "BTCUSDT-1m.zip", GOOD)
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    data[directory + at] = data[at - 2] = value
    path.write_bytes(data)

    with pytest.raises(Refusal, match="cannot be read"):
        open_klines(path)


def test_treatment_of_an_unknown_word_is_a_configuration_error() -> None:
    """Unknown treatments are refused all at once, each with the allowed ones."""
    with pytest.raises(ConfigError) as error:
        Treatment(gaps="fill", order="any")

    assert [text.split(":")[0] for text in error.value.violations] == ["gaps", "order"]


def test_every_kind_is_refused_by_default() -> None:
    """Every kind of fault is refused by default."""
    assert {Treatment().of(code) for code in [*CHOICES, "damaged"]} == {REFUSE}
    assert Treatment(**{code: words[-1] for code, words in CHOICES.items()}).of("damaged") == REFUSE


def clean(count: int) -> list[Kline]:
    """Return valid klines, each different."""
    return [
        Kline(
            *(OPEN_MS + n * MINUTE_MS, OPEN_MS + (n + 1) * MINUTE_MS - 1),
            *(100 + n, 200 + n, 50 + n, 150 + n, 7 + n, 9, 3, 2, 1),
        )
        for n in range(count)
    ]


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(2, 40))
def test_shuffled_and_doubled_rows_come_back_as_they_were(data: st.DataObject, count: int) -> None:
    """Sorting and taking the first of equals undoes any shuffling and doubling."""
    klines = clean(count)
    doubled = [*klines, *data.draw(st.lists(st.sampled_from(klines), max_size=10))]
    rows = list(enumerate(data.draw(st.permutations(doubled)), 1))
    report = DataReport(Path("x"), "klines", "X", "1m")

    assert treat(rows, report, Treatment(order="sort", duplicates="first")) == klines
    duplicates = report.troubles.get("duplicates")
    assert (duplicates.count if duplicates else 0) == len(doubled) - count


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(1, 58), max_size=30))
def test_flat_bars_fill_every_hole_and_nothing_else(holes: set[int]) -> None:
    """Flat bars fill every hole: as many as are missing, each at the former close."""
    whole = clean(60)
    rows = [(n + 1, kline) for n, kline in enumerate(whole) if n not in holes]
    report = DataReport(Path("x"), "klines", "X", "1m")

    filled = treat(rows, report, Treatment(gaps="flat"))

    gaps = report.troubles.get("gaps")
    assert (gaps.count if gaps else 0) == len(holes)
    assert minutes(filled) == list(range(60))
    for number, kline in enumerate(filled):
        assert kline.close_ts == next_open("1m", kline.open_ts) - 1
        if number in holes:
            close = filled[number - 1].close
            assert kline[2:] == (close, close, close, close, 0, 0, 0, 0, 0)
        else:
            assert kline == whole[number]


def test_hole_that_is_too_long_to_be_filled_is_refused(tmp_path: Path) -> None:
    """A hole too long to fill is refused, as it means another file or wrong times."""
    path = write_rows(tmp_path / "BTCUSDT-1m.csv", [row(0), row(1), row(1_000_003)])

    with pytest.raises(Refusal, match=r"row 3: 1000001 missing from .* more than --gaps flat"):
        open_klines(path, Treatment(gaps="flat"))
    assert len(open_klines(path, Treatment(gaps="keep"))) == 3


def test_files_of_one_series_are_judged_where_they_meet(tmp_path: Path) -> None:
    """A bar missing or repeated between two files of a series is found."""
    first = open_klines(write_rows(tmp_path / "BTCUSDT-1m-a.jsonl", GOOD[:3]))
    late = open_klines(write_rows(tmp_path / "BTCUSDT-1m-b.jsonl", GOOD[4:]))
    twice = open_klines(write_rows(tmp_path / "BTCUSDT-1m-c.jsonl", GOOD[2:]))

    with pytest.raises(Refusal, match="1 x gaps"):
        merged([late, first], Treatment())
    with pytest.raises(Refusal, match="1 x duplicates"):
        merged([first, twice], Treatment())
    assert minutes(merged([late, first], Treatment(gaps="keep")).klines) == [0, 1, 2, 4, 5]
    assert minutes(merged([twice, first], Treatment(duplicates="last")).klines) == [*range(6)]


@pytest.mark.parametrize("gaps", ["flat", "keep"])
def test_report_of_several_files_tells_what_was_settled_in_each(gaps: str, tmp_path: Path) -> None:
    """Trouble of each file is counted once, with the file's name at its place."""
    # A row twice, one with high below low, and a minute missing.
    bad = [row(0), row(1), row(1), row(2, "100 99 101 100"), row(4)]
    treatment = Treatment(gaps=gaps, duplicates="first", prices="drop")
    first = open_klines(write_rows(tmp_path / "BTCUSDT-1m-a.jsonl", bad), treatment)
    second = open_klines(write_rows(tmp_path / "BTCUSDT-1m-b.jsonl", [row(5), row(6)]), treatment)

    report = merged([second, first], treatment).report

    counts = {code: trouble.count for code, trouble in report.troubles.items()}
    assert counts == {"duplicates": 1, "prices": 1, "gaps": 2}
    assert "BTCUSDT-1m-a.jsonl" in report.troubles["prices"].places[0].what
    assert report.rows == (7 if gaps == "flat" else 5)


def test_file_of_bad_rows_alone_is_refused_for_them_whatever_its_name(tmp_path: Path) -> None:
    """Without a good row nothing shows an interval: the rows are named, as with one in the name."""
    bad = [[*cells[:4], "abc", *cells[5:]] for cells in GOOD]
    for name in ("BTC-USDT.csv", "BTC-USDT-1m.csv"):
        path = write_rows(tmp_path / name, bad)

        with pytest.raises(Refusal, match=r"6 x rows .*row 1: has no number \('abc'\)"):
            open_klines(path)
        with pytest.raises(Refusal, match="without any row"):
            open_klines(path, KEEP_ALL)
        assert check(path, KEEP_ALL).troubles["rows"].count == 6


def test_single_row_without_an_interval_in_its_name_says_how_to_name_it(tmp_path: Path) -> None:
    """Bars of one time show no step, so the name has to tell the interval."""
    path = write_rows(tmp_path / "BTC-USDT.csv", GOOD[:1])

    with pytest.raises(Refusal, match="no two rows of different times") as refusal:
        open_klines(path)

    assert "BTCUSDT-1m" in refusal.value.remedy


def test_files_of_two_symbols_are_no_series(tmp_path: Path) -> None:
    """Files of two symbols are refused as one series."""
    first = open_klines(write_rows(tmp_path / "BTCUSDT-1m.jsonl", GOOD))
    other = open_klines(write_rows(tmp_path / "ETHUSDT-1m.jsonl", GOOD))

    with pytest.raises(Refusal, match="BTCUSDT 1m, ETHUSDT 1m"):
        merged([first, other], Treatment())


def test_gzip_of_gzip_is_no_kline_file(tmp_path: Path) -> None:
    """Gzip within gzip holds no text, so it is not a kline file."""
    path = tmp_path / "BTCUSDT-1m.csv.gz"
    path.write_bytes(gzip.compress(gzip.compress(b"1,2,3")))

    with pytest.raises(Refusal):
        open_klines(path)
