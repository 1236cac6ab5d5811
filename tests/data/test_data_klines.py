"""Klines of every form read as the same exact numbers, from crafted and from real files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from minibot.data.kline import Kline
from minibot.data.klines import inspect_klines, open_klines
from minibot.data.treatment import KEEP_ALL, Treatment
from minibot.exchanges.tapes.kline_bars import next_open, open_of
from minibot.kernel.errors import Refusal
from minibot.simulator.sources.kline_files import open_klines as served_klines
from tests.data.data_files import MINUTE_MS, OPEN_MS, csv_text, row, write_rows, zipped

pytestmark = pytest.mark.campaign

UNIT = 10**8
FIRST = Kline(
    *(OPEN_MS, OPEN_MS + MINUTE_MS - 1),
    *(100 * UNIT, 10_150_000_000, 9_925_000_000, 10_075_000_000, 1_234_500_000),
    *(124_050_000_000, 40, 610_000_000, 61_225_000_000),
)


@pytest.mark.parametrize(
    "name",
    [
        *("BTCUSDT-1m.jsonl", "BTCUSDT-1m.jsonl.gz", "BTCUSDT-1m.json", "BTC_USDT-1m.csv"),
        *("BTCUSDT-1m-2025-01.csv.gz", "BTCUSDT-1m-2025-01.zip"),
    ],
)
@pytest.mark.parametrize("per_ms", [1, 1000])
def test_klines_of_each_form_are_the_same_numbers(name: str, per_ms: int, tmp_path: Path) -> None:
    """JSON lines, a REST answer, CSV, gzip and zip give the same numbers in ms and microseconds."""
    path = write_rows(tmp_path / name, [row(number, per_ms=per_ms) for number in range(3)])

    found = open_klines(path)

    assert (found.symbol, found.interval, len(found)) == ("BTCUSDT", "1m", 3)
    assert found.klines[0] == FIRST
    assert (found.report.price_increment, found.report.qty_increment) == ("0.01", "0.001")
    assert (found.report.first_ts, found.report.end_ts) == (OPEN_MS, OPEN_MS + 3 * MINUTE_MS)


@pytest.mark.parametrize(
    ("header", "time_of"),
    [
        ("open_time,open,high,low,close,volume", str),
        ("Timestamp,Open,High,Low,Close,Volume", lambda ms: str(ms // 1000)),
        ("date,open,high,low,close,volume", lambda ms: f"{datetime.fromtimestamp(ms / 1000, UTC)}"),
        ("unix,open,high,low,close,volume", lambda ms: str(ms * 1_000_000)),
    ],
)
def test_csv_with_a_header_is_read_by_its_names(
    header: str, time_of: type[str], tmp_path: Path
) -> None:
    """A CSV header may rename and reorder columns; times may be s, ns or dates."""
    names = header.split(",")
    turned = ",".join(reversed(names))
    rows = [[*reversed([time_of(cells[0]), *cells[1:6]])] for cells in (row(0), row(1))]
    path = tmp_path / "BTCUSDT-1m.csv"
    path.write_text(csv_text(rows, turned))

    klines = open_klines(path).klines

    assert [kline.open_ts for kline in klines] == [OPEN_MS, OPEN_MS + MINUTE_MS]
    assert klines[0][2:7] == FIRST[2:7]
    # No close time given, so a millisecond before the next bar.
    assert klines[0].close_ts == FIRST.close_ts


@pytest.mark.parametrize("volume", ['"12,345.0"', '"12,345"', "12.345,7", "12.345,", None])
def test_row_of_other_width_than_its_header_is_no_kline(volume: str | None, tmp_path: Path) -> None:
    """A thousands separator, or a cell too many or too few, is a bad row and never shifts cells."""
    header = "timestamp,open,high,low,close,volume,note"
    rows = [[*row(number)[:6], "-"] for number in range(3)]
    rows[1] = [*rows[1][:5], *([] if volume is None else [volume, "-"])]
    path = tmp_path / "BTCUSDT-1m.csv"
    path.write_text(csv_text(rows, header))

    trouble = inspect_klines(path, Treatment()).report.troubles["rows"]

    assert (trouble.count, trouble.places[0].row) == (1, 3)
    with pytest.raises(Refusal, match="row 3"):
        served_klines(path)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("btc-usdt-1m.csv", "BTCUSDT"),
        ("ETH-BTC-1m-2025-01.csv", "ETHBTC"),
        ("BTC-USDT.csv", "BTCUSDT"),
        ("BTC_USDT-1m.csv", "BTCUSDT"),
        ("BTCUSDT-1m.csv", "BTCUSDT"),
        ("BTCUSDT-PERP-1m.csv", "BTCUSDT"),
        ("BTCUSDT-2025.csv", "BTCUSDT"),
    ],
)
def test_symbol_of_a_file_is_read_with_its_quote_asset(
    name: str, symbol: str, tmp_path: Path
) -> None:
    """A dash between base and quote ends no symbol; another word behind it is not part of one."""
    path = write_rows(tmp_path / name, [row(0), row(1)])

    assert (open_klines(path).symbol, served_klines(path).symbol) == (symbol, symbol)


def test_header_of_the_futures_archive_is_no_row(tmp_path: Path) -> None:
    """The futures archive's header names map to the spot archive's columns."""
    header = (
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
        "taker_buy_volume,taker_buy_quote_volume,ignore"
    )
    path = tmp_path / "BTCUSDT-1m-2025-01.zip"
    path.write_bytes(zipped("x.csv", csv_text([row(0), row(1)], header)))

    assert open_klines(path).klines[0] == FIRST


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("BTCUSDT-1m.csv", b"time,last,amount\n1,2,3\n", "other columns"),
        ("BTCUSDT-1m.csv", b"", "without any row"),
        ("klines.csv", b"1,2,3,4,5,6\n", "does not begin with a symbol"),
        ("BTCUSDT-1m.zip", b"PK\x03\x04 no zip", "cannot be read"),
        ("BTCUSDT-1m.jsonl.gz", b"\x1f\x8b\x08\x00", "cut short"),
        ("BTCUSDT-1m.feather", b"ARROW1\0\0 and no end", "cannot be read"),
        ("BTCUSDT-1m.columns", b"minibot1 and nothing", "cut short"),
        ("BTCUSDT-1m.columns", b"something else", "not a file of columns"),
        ("BTCUSDT-1m.json", b"[[1, 2", "is not JSON"),
    ],
)
def test_what_is_no_kline_file_is_refused_by_name(
    name: str, data: bytes, what: str, tmp_path: Path
) -> None:
    """A file without klines is refused by name in one sentence, without traceback."""
    path = tmp_path / name
    path.write_bytes(data)

    with pytest.raises(Refusal) as refusal:
        open_klines(path)

    assert what in refusal.value.message
    assert name in refusal.value.message


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """A missing file is refused without traceback."""
    with pytest.raises(Refusal, match="there is no such file"):
        open_klines(tmp_path / "BTCUSDT-1m.csv")


def feather(path: Path, opens: list[int], zone: str | None) -> Path:
    """Write flat bars as a feather file whose dates are of a zone, or of none."""
    arrow: Any = pytest.importorskip("nanoarrow", reason="nanoarrow is not installed")
    ipc: Any = pytest.importorskip("nanoarrow.ipc", reason="nanoarrow is not installed")
    kinds = {"date": arrow.timestamp("ms", timezone=zone)}
    kinds |= dict.fromkeys(("open", "high", "low", "close", "volume"), arrow.float64())
    cells = [opens, *[[100.5] * len(opens)] * 5]
    columns = [arrow.c_array(*each) for each in zip(cells, kinds.values(), strict=True)]
    table = arrow.c_array_from_buffers(
        arrow.struct(kinds), length=len(opens), buffers=[None], children=columns
    )
    stream = io.BytesIO()
    with ipc.StreamWriter.from_writable(stream) as writer:
        writer.write_stream(table)
    path.write_bytes(b"ARROW1\0\0" + stream.getvalue() + b"ARROW1")
    return path


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_dates_of_a_feather_file_are_the_same_on_a_machine_of_any_zone(
    zone: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A date without a zone is UTC, as in a CSV, and not the machine's own time."""
    tzset: Callable[[], None] | None = getattr(__import__("time"), "tzset", None)
    if tzset is None:
        pytest.skip("needs a system whose zone a process may choose (tzset)")
    opens = [OPEN_MS, OPEN_MS + MINUTE_MS]
    path = feather(tmp_path / "BTC_USDT-1m.feather", opens, zone)
    try:
        with monkeypatch.context() as patched:
            patched.setenv("TZ", "America/New_York")
            tzset()
            found = open_klines(path)
    finally:
        tzset()

    assert [kline.open_ts for kline in found] == opens


# (feather file, REST file of longer bars, how many of the short ones make a long one).
SAME_BARS = (
    ("SOL_USDT-5m", "SOLUSDT-15m", 3),
    ("BTC_USDT-1m", "BTCUSDT-15m", 15),
    ("ETH_USDT-1m", "ETHUSDT-15m", 15),
    ("BTC_USDT-5m", "BTCUSDT-1h", 12),
    *((f"{base}_USDT-15m", f"{base}USDT-1h", 4) for base in ("BTC", "DOGE", "ETH", "SOL", "XRP")),
)
COMPARED = (2880, 2879, 2879, 11_717, *[8999] * 5)


@pytest.mark.parametrize(
    ("short", "long", "parts", "expected"),
    [(*names, count) for names, count in zip(SAME_BARS, COMPARED, strict=True)],
)
def test_feather_of_real_bars_equals_the_venues_own_answers(
    short: str, long: str, parts: int, expected: int, shared_data: Path
) -> None:
    """Short bars of a feather file aggregate to the venue's REST answers for longer bars."""
    interval = long.partition("-")[2]
    feather = open_klines(shared_data / "binance-klines-feather" / f"{short}.feather", KEEP_ALL)
    rest_path = shared_data / "binance-klines-rest" / f"{long}-to-2025-12-31.jsonl.gz"
    rest = open_klines(rest_path, KEEP_ALL)
    of: dict[int, list[Kline]] = {}
    for kline in feather:
        of.setdefault(open_of(interval, kline.open_ts), []).append(kline)

    compared = 0
    for kline in rest:
        found = of.get(kline.open_ts, [])
        if len(found) == parts:
            compared += 1
            assert kline[2:7] == (
                found[0].open,
                max(part.high for part in found),
                min(part.low for part in found),
                found[-1].close,
                sum(part.volume for part in found),
            )

    assert compared == expected


def test_published_months_are_complete_and_consistent(shared_data: Path) -> None:
    """Published months with a header have every minute, and nothing but quiet ones wrong."""
    days = {"02": 28, "08": 31, "09": 30, "10": 31, "11": 30}
    paths = sorted((shared_data / "binance-um-futures-klines-csv").glob("*.csv.gz"))

    assert len(paths) == 8
    for path in paths:
        report = inspect_klines(path, KEEP_ALL).report
        assert report.rows == days[path.name[-9:-7]] * 1440
        assert set(report.troubles) <= {"zero_volume"}


def test_oddities_of_real_files_are_found_where_they_are_known_to_be(shared_data: Path) -> None:
    """The outage of 2023-03-24 is found: one bar missing, the bar before it without volume."""
    path = shared_data / "binance-klines-rest" / "BTCUSDT-1h-to-2025-12-31.jsonl.gz"
    outage = int(datetime(2023, 3, 24, 12, tzinfo=UTC).timestamp() * 1000)

    troubles = inspect_klines(path, Treatment()).report.troubles

    assert {code: trouble.count for code, trouble in troubles.items()} == {
        "zero_volume": 1,
        "gaps": 1,
    }
    assert troubles["zero_volume"].places[0].ts == outage
    assert troubles["gaps"].places[0].ts == outage + 2 * 3_600_000


def test_gaps_of_a_sparse_real_file_fill_to_a_whole_series(shared_data: Path) -> None:
    """Missing minutes of a sparse real file are filled with flat bars."""
    path = shared_data / "trades-freqtrade" / "XRP_ETH-1m.feather"
    found = inspect_klines(path, KEEP_ALL)

    filled = open_klines(path, Treatment(gaps="flat"))

    assert found.report.troubles["gaps"].count == 3560 - 2469
    assert len(filled) == 3560
    for former, later in zip(filled.klines, filled.klines[1:], strict=False):
        assert later.open_ts == next_open("1m", former.open_ts)
        if not later.volume:
            assert later.open == later.close == former.close


@pytest.mark.parametrize(
    "names",
    [
        ["../BTCUSDT-1m-2025-01.csv"],
        ["folder/BTCUSDT-1m-2025-01.csv"],
        ["/BTCUSDT-1m-2025-01.csv"],
        ["BTCUSDT 1m.csv"],
        ["folder/"],
        ["a.csv", "b.csv"],
        [],
    ],
    ids=str,
)
def test_zip_with_anything_but_one_plain_file_is_refused(tmp_path: Path, names: list[str]) -> None:
    """A zip with anything but one plainly named file is refused."""
    path = tmp_path / "BTCUSDT-1m-2025-01.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), csv_text([row(0), row(1)]))

    with pytest.raises(Refusal, match="one CSV expected in it"):
        open_klines(path)
