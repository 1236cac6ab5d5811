"""Archive trades and run ticks as columns, and back as the same events."""

from __future__ import annotations

import gzip
import json
from array import array
from pathlib import Path

import pytest
from msgspec.structs import replace

from minibot.data.columns import Columns
from minibot.data.convert import check, convert, write_ticks
from minibot.data.klines import open_klines
from minibot.data.market_source import column_files, ticks_of, trade_rows
from minibot.data.ticks import (
    HAS_EXCHANGE_TS,
    IS_TAKER_SELL,
    IS_TRADE,
    inspect_trades,
    open_trades,
    table_of_ticks,
)
from minibot.data.treatment import Treatment
from minibot.events.model import MarketTick
from minibot.exchanges.tapes.kline_bars import TradedBars
from minibot.kernel.errors import Refusal
from tests.data.data_files import OPEN_MS, zipped

UNIT = 10**8


def agg(number: int, *, ms: int = 0, price: str = "100.10", qty: str = "0.25") -> str:
    """Return a row of the archive's aggTrades, in microseconds."""
    at = (OPEN_MS + ms) * 1000 + 866
    return f"{number},{price},{qty},{number * 2},{number * 2 + 1},{at},{number % 2 == 0},True"


def trade(number: int) -> str:
    """Return a row of the archive's trades, in milliseconds."""
    return f"{number},100.10,0.25,25.025,{OPEN_MS + number},{number % 2 == 0},True"


def write(path: Path, rows: list[str]) -> Path:
    """Write rows as CSV, or the zip of it."""
    text = "\n".join(rows) + "\n"
    data = zipped(path.stem + ".csv", text) if path.suffix == ".zip" else text.encode()
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["BTCUSDT-aggTrades-2025-01-01.zip", "BTCUSDT-aggTrades.csv"])
def test_aggregate_trades_of_the_archive_are_read(name: str, tmp_path: Path) -> None:
    """Aggregate trades are read: id, price, quantity, ms, and the taker's side."""
    table = open_trades(write(tmp_path / name, [agg(7, ms=3), agg(8, ms=4)]))

    assert table.symbol == "BTCUSDT"
    assert [*table.rows()] == [
        (OPEN_MS + 3, 10_010_000_000, UNIT // 4, 7, IS_TRADE | HAS_EXCHANGE_TS),
        (OPEN_MS + 4, 10_010_000_000, UNIT // 4, 8, IS_TRADE | HAS_EXCHANGE_TS | IS_TAKER_SELL),
    ]
    assert (table.report.price_increment, table.report.qty_increment) == ("0.1", "0.01")


def test_single_trades_of_the_archive_are_read(tmp_path: Path) -> None:
    """Single trades are read: seven columns, times in milliseconds."""
    table = open_trades(write(tmp_path / "BTCUSDT-trades-2024-12-31.zip", [trade(1), trade(2)]))

    assert table.columns["ts"] == array("q", [OPEN_MS + 1, OPEN_MS + 2])
    assert table.columns["trade_id"] == array("q", [1, 2])


@pytest.mark.parametrize(
    ("code", "rows", "treatment", "ids"),
    [
        ("gaps", [agg(1), agg(4, ms=1)], Treatment(gaps="keep"), [1, 4]),
        ("duplicates", [agg(1), agg(1), agg(2)], Treatment(duplicates="first"), [1, 2]),
        ("order", [agg(1), agg(3, ms=3), agg(2, ms=2)], Treatment(order="sort"), [1, 2, 3]),
        ("rows", [agg(1), "1,2,3", agg(2)], Treatment(rows="drop"), [1, 2]),
        ("rows", [agg(1), agg(2).replace("True", "perhaps")], Treatment(rows="drop"), [1]),
        ("prices", [agg(1), agg(2, price="0")], Treatment(prices="drop"), [1]),
        ("zero_volume", [agg(1), agg(2, qty="0")], Treatment(zero_volume="drop"), [1]),
        (
            *("prices", [agg(5, price="0"), agg(5)]),
            *(Treatment(prices="drop", duplicates="first"), [5]),
        ),
        (
            *("zero_volume", [agg(5), agg(5, qty="0")]),
            *(Treatment(zero_volume="drop", duplicates="last"), [5]),
        ),
    ],
)
def test_bad_trades_are_refused_unless_settled(
    code: str, rows: list[str], treatment: Treatment, ids: list[int], tmp_path: Path
) -> None:
    """Bad trades are refused unless settled: a missing id is a gap, a repeated one a duplicate."""
    path = write(tmp_path / "BTCUSDT-aggTrades-2025-01-01.csv", rows)

    with pytest.raises(Refusal, match=code):
        open_trades(path)

    assert open_trades(path, treatment).columns["trade_id"].tolist() == ids


@pytest.mark.parametrize(
    ("code", "bad"),
    [("prices", agg(2, price="0")), ("zero_volume", agg(2, qty="0"))],
)
def test_dropped_trade_leaves_a_gap_that_has_to_be_settled_too(
    code: str, bad: str, tmp_path: Path
) -> None:
    """A trade that is left out is missing, as a bar would be."""
    path = write(tmp_path / "BTCUSDT-aggTrades-2025-01-01.csv", [agg(1), bad, agg(3)])

    with pytest.raises(Refusal, match="1 x gaps"):
        open_trades(path, Treatment(**{code: "drop"}))
    settled = open_trades(path, Treatment(**{code: "drop"}, gaps="keep"))

    assert settled.columns["trade_id"].tolist() == [1, 3]


def test_ids_in_another_order_than_their_times_are_not_missing(tmp_path: Path) -> None:
    """Gaps and duplicates are found by ids, wherever their trades stand."""
    rows = [agg(1, ms=1), agg(3, ms=2), agg(2, ms=3), agg(4, ms=4)]
    path = write(tmp_path / "BTCUSDT-aggTrades-2025-01-01.csv", rows)
    twice = write(tmp_path / "BTCUSDT-aggTrades-2025-01-02.csv", [*rows, agg(3, ms=5)])

    assert open_trades(path).columns["trade_id"].tolist() == [1, 3, 2, 4]
    with pytest.raises(Refusal, match="1 x duplicates"):
        open_trades(twice)
    settled = open_trades(twice, Treatment(duplicates="last"))
    assert settled.columns["trade_id"].tolist() == [1, 2, 4, 3]


def test_first_trade_behind_a_byte_order_mark_is_a_trade(tmp_path: Path) -> None:
    """A byte order mark makes no header of the first trade; an empty line is not a row."""
    path = write(tmp_path / "BTCUSDT-aggTrades-2025-01-01.csv", [f"\ufeff{agg(1)}", agg(2), ""])

    assert open_trades(path).columns["trade_id"].tolist() == [1, 2]


@pytest.mark.parametrize(
    "row", [agg(2**63), agg(1, price="99999999999999"), agg(1, qty="99999999999999"), f" {agg(1)}"]
)
def test_first_row_that_is_no_trade_is_not_lost(row: str, tmp_path: Path) -> None:
    """A first row without column names is no header, so a bad number in it is reported."""
    path = write(tmp_path / "BTCUSDT-aggTrades-2025-01-01.csv", [row, agg(2)])

    with pytest.raises(Refusal, match="1 x rows"):
        open_trades(path)


def test_columns_of_trades_are_no_file_of_trades(tmp_path: Path) -> None:
    """A columnar file of trades is refused as input, because nothing is left to convert."""
    path = write(tmp_path / "BTCUSDT-aggTrades-2025-01-01.csv", [agg(1), agg(2)])
    (made,) = convert([path], tmp_path)

    with pytest.raises(Refusal, match=r"trades\.columns: holds trades, not klines"):
        convert([made.path], tmp_path)


def test_file_of_trades_without_any_row_is_refused_by_each_verb(tmp_path: Path) -> None:
    """An empty file of trades is refused by convert and by check."""
    path = tmp_path / "BTCUSDT-aggTrades-2025-01-01.csv"
    path.write_bytes(b"\n")

    for look in (check, open_trades):
        with pytest.raises(Refusal, match="without any row"):
            look(path, Treatment())


def test_rows_that_the_venue_blanked_are_left_out_and_said(tmp_path: Path) -> None:
    """Rows of zeros, by which the venue blanks duplicates, are left out and counted."""
    blanks = [f"{number},0,0,-1,-1,{OPEN_MS}000,False,True" for number in (2, 3)]
    path = write(tmp_path / "BTCUSDT-aggTrades-2018-01-01.csv", [agg(1), *blanks, agg(4)])

    report = inspect_trades(path, Treatment()).report

    assert (report.rows, report.is_clean) == (2, True)
    assert report.notes == ["2 rows that the venue blanked are left out"]


def test_trades_of_two_days_become_one_file_judged_where_they_meet(tmp_path: Path) -> None:
    """Trades of two days in any order become one file; a hole of ids between them is a gap."""
    first = write(tmp_path / "BTCUSDT-aggTrades-2025-01-01.zip", [agg(1), agg(2)])
    second = write(tmp_path / "BTCUSDT-aggTrades-2025-01-02.zip", [agg(3, ms=9), agg(4, ms=9)])
    third = write(tmp_path / "BTCUSDT-aggTrades-2025-01-04.zip", [agg(9, ms=10)])

    (written,) = convert([second, first], tmp_path / "out")
    with pytest.raises(Refusal, match="4 x gaps"):
        convert([third, second], tmp_path / "other")

    with Columns(written.path) as columns:
        assert columns.column("trade_id").tolist() == [1, 2, 3, 4]
        assert [each["name"] for each in columns.header["sources"]] == [second.name, first.name]
        with pytest.raises(Refusal, match="not ticks with their touch"):
            next(ticks_of(columns))
        assert len(list(trade_rows(columns))) == 4
    assert not (tmp_path / "other").exists()


def test_report_of_two_files_tells_what_was_settled_in_each(tmp_path: Path) -> None:
    """Trouble and notes of each file stay in the report of their series, each counted once."""
    blank = f"2,0,0,-1,-1,{OPEN_MS}000,False,True"
    bad = [agg(1), blank, agg(3), agg(3), agg(6), agg(7, qty="0"), agg(8)]
    paths = [
        write(tmp_path / "BTCUSDT-aggTrades-2025-01-01.csv", bad),
        write(tmp_path / "BTCUSDT-aggTrades-2025-01-02.csv", [agg(9, ms=9)]),
    ]
    counts = {}
    for word in ("keep", "drop"):
        treatment = Treatment(gaps="keep", duplicates="first", zero_volume=word)
        (written,) = convert(paths, tmp_path / word, treatment)
        troubles = written.report.troubles
        counts[word] = {code: trouble.count for code, trouble in troubles.items()}
        assert paths[0].name in troubles["duplicates"].places[0].what
        assert written.report.notes == [
            f"{paths[0].name}: 1 rows that the venue blanked are left out"
        ]

    assert counts["keep"] == {"duplicates": 1, "zero_volume": 1, "gaps": 2}
    assert counts["drop"] == {"duplicates": 1, "zero_volume": 1, "gaps": 3}


@pytest.mark.slow
@pytest.mark.parametrize(("interval", "count"), [("1m", 2469), ("5m", 706)])
def test_bars_of_real_trades_equal_the_real_bars(
    interval: str, count: int, shared_data: Path, tmp_path: Path
) -> None:
    """Bars from 12,477 real trades equal the venue's bars exactly."""
    folder = shared_data / "trades-freqtrade"
    with gzip.open(folder / "XRP_OLD-trades.json.gz") as file:
        infos = [each["info"] for each in json.load(file)]
    keys = ("a", "p", "q", "f", "l", "T", "m", "M")
    rows = [",".join(str(info[key]) for key in keys) for info in infos]
    path = write(tmp_path / "XRPETH-aggTrades-2019-10.csv", rows)

    (written,) = convert([path], tmp_path)
    series = TradedBars()
    with Columns(written.path) as columns:
        for ts, price, qty, trade_id, flags in trade_rows(columns):
            series.add_trade(ts, price, qty, bool(flags & IS_TAKER_SELL), trade_id)

    assert written.report.rows == 12_477
    klines = list(open_klines(folder / f"XRP_ETH-{interval}.feather", Treatment(gaps="keep")))
    assert len(klines) == count
    for kline in klines:
        bar = series.bar(interval, kline.open_ts)
        assert bar is not None
        assert kline[2:7] == (bar.open, bar.high, bar.low, bar.close, bar.volume)


QUOTE = MarketTick(
    symbol="BTCUSDT",
    price="100.10000000",
    kind="quote",
    bid="100.10000000",
    bid_qty="1.00000000",
    ask="100.20000000",
    ask_qty="3.00000000",
    recv_mono_ns=5,
)
BOUGHT = replace(
    QUOTE, kind="trade", exchange_ts=OPEN_MS, qty="0.12300000", taker_side="BUY", trade_id=77
)
TICKS = [QUOTE, BOUGHT, replace(BOUGHT, taker_side="SELL", trade_id=78, price="100.20000000")]


def test_market_ticks_come_back_as_the_events_they_were(tmp_path: Path) -> None:
    """Market ticks return from columns as the same events, with every optional field."""
    times = [OPEN_MS, OPEN_MS, OPEN_MS + 5]
    other = replace(TICKS[0], symbol="ETHUSDT")
    pairs = [*zip(TICKS, times, strict=True), (other, OPEN_MS)]

    written = write_ticks(table_of_ticks(tmp_path, "BTCUSDT", pairs), tmp_path, Treatment())

    (columns,) = column_files(written.path)
    with columns:
        assert columns.kind == "ticks"
        assert columns.column("ts").tolist() == times
        assert list(ticks_of(columns)) == [
            replace(tick, recv_mono_ns=ts * 1_000_000)
            for tick, ts in zip(TICKS, times, strict=True)
        ]
        assert [row[3] for row in trade_rows(columns)] == [77, 78]


def test_increments_of_market_ticks_are_those_of_trades_and_touch(tmp_path: Path) -> None:
    """A market that traded at 35.10 alone still quotes, and takes orders, by 0.01."""
    touch = {"bid": "35.14", "bid_qty": "1.25", "ask": "35.15", "ask_qty": "3"}
    tick = replace(BOUGHT, price="35.10", qty="2.0", **touch)

    report = table_of_ticks(tmp_path, "BTCUSDT", [(tick, OPEN_MS)]).report

    assert (report.price_increment, report.qty_increment) == ("0.01", "0.01")


def test_tick_too_large_for_a_column_is_refused_by_its_place(tmp_path: Path) -> None:
    """A size above 64 bits is named with symbol and column."""
    huge = replace(QUOTE, bid_qty="92233720369.00000000")

    with pytest.raises(Refusal, match=r"BTCUSDT, bid_qty of the tick at 5: .* 64 bits"):
        table_of_ticks(tmp_path, "BTCUSDT", [(huge, 5)])
