"""Kline files as sources: read in every form, refused by row, played exactly."""

from __future__ import annotations

import gzip
import json
import zipfile
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.exchanges.tapes.clock import PlayClock
from minibot.exchanges.tapes.frames import TRADE
from minibot.exchanges.tapes.kline_bars import Bar
from minibot.kernel.errors import ConfigError, Refusal
from minibot.simulator.sources.kline_files import open_klines
from minibot.simulator.sources.klines import Klines, trades_of
from minibot.simulator.sources.sources import open_history, open_source
from minibot.simulator.venue.venue import Venue
from tests.simulator.embedded_exchange import ORIGIN_MS, Exchange, market, write_tape
from tests.waiting import wait_until

OPEN_MS = 1_699_999_980_000  # A whole minute, 20 s before the origin of the tests' tapes.


def row(number: int, prices: str = "100.00 101.00 99.00 100.50", volume: str = "12.345") -> str:
    """Return the REST row of a one-minute bar, a number of minutes after the first."""
    open_ms = OPEN_MS + number * 60_000
    open_, high, low, close = prices.split()
    close_ms = open_ms + 59_999
    return json.dumps(
        [open_ms, open_, high, low, close, volume, close_ms, "1200.0", 40, "6", "600", "0"]
    )


def write(path: Path, rows: list[str]) -> Path:
    """Write rows in the form that the file's name implies."""
    if ".csv" in path.name or path.suffix == ".zip":
        rows = [",".join(str(cell) for cell in json.loads(text)) for text in rows]
    text = "\n".join(rows) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(path.stem + ".csv", text)
    else:
        path.write_text(text)
    return path


def played(file: Path, rate: int = 20) -> list[Bar]:
    """Return the venue's bars from the trades that the source plays."""
    klines = open_klines(file)
    source = Klines(klines, rate, "klines")
    clock = PlayClock(source.facts.origin_ms, Fraction(1))
    venue = Venue(source, {klines.symbol: {"status": "TRADING"}}, clock, {})
    for frame in source.frames():
        venue.take(frame)
    series = venue.symbols[klines.symbol].bars
    return series.window(klines.interval, 0, None, 1000, klines.end_ms - 1)


@pytest.mark.parametrize(
    "name",
    [
        *("BTCUSDT-1m.jsonl", "BTCUSDT-1m.jsonl.gz", "BTCUSDT-1m-2023-11.csv"),
        *("BTCUSDT-1m-2023-11-14.zip", "BTC_USDT-1m.csv.gz"),
    ],
)
def test_kline_file_of_each_form_reads_the_same(name: str, tmp_path: Path) -> None:
    """Every form gives symbol by name, interval by rows, decimals by numbers."""
    file = open_klines(write(tmp_path / name, [row(n) for n in range(5)]))

    assert (file.symbol, file.interval) == ("BTCUSDT", "1m")
    assert (file.first_ms, file.end_ms) == (OPEN_MS, OPEN_MS + 300_000)
    assert (file.price_places, file.qty_places) == (1, 3)
    assert len(list(file.bars())) == 5


def test_archive_of_microseconds_with_a_header_reads_as_milliseconds(tmp_path: Path) -> None:
    """Archives with sixteen digits and a header line read as milliseconds."""
    micros = [
        row(n).replace(str(OPEN_MS + n * 60_000), f"{OPEN_MS + n * 60_000}000") for n in (0, 1)
    ]
    path = write(tmp_path / "BTCUSDT-1m-2025-01.csv", micros)
    path.write_text("open_time,open,high,low,close,volume,x,x,x,x,x,x\n" + path.read_text())

    assert [bar.open_ms for bar in open_klines(path).bars()] == [OPEN_MS, OPEN_MS + 60_000]


@pytest.mark.parametrize(
    ("name", "rows", "what"),
    [
        ("BTCUSDT-1m.jsonl", [], "without any row"),
        ("BTCUSDT-1m.jsonl", ["[1,2]"], "row 1"),
        ("BTCUSDT-1m.jsonl", [row(0), "[1,"], "row 2"),
        ("BTCUSDT-1m.jsonl", [row(1), row(0), row(2)], "row 2"),
        ("BTCUSDT-1m.jsonl", [row(0), row(1, "100 101 99 102")], "row 2"),
        ("BTCUSDT-1m.jsonl", [row(0), row(1, "100 101 x 100")], "row 2"),
        ("BTCUSDT-1m.jsonl", [row(0), row(1).replace('"1200.0"', '"-1200.0"')], "row 2"),
        ("BTCUSDT-1m.jsonl", [row(0), row(1).replace(" 40,", " -40,")], "row 2"),
        ("BTCUSDT-1m.jsonl", [row(0), row(1).replace('"6"', '"-6"')], "row 2"),
        ("BTCUSDT-1m.jsonl", [row(0), row(1).replace('"600"', '"-600"')], "row 2"),
        ("BTCUSDT-1m.jsonl", ["hello"], "row 1"),
        ("nothing.jsonl", [row(0)], "nothing.jsonl"),
        ("BTCUSDT-7m.jsonl", [row(0), row(7)], "420000"),
        ("BTCUSDT-1m.zip", [row(0)], "cannot be read"),
        ("BTC_USDT-1m.feather", [row(0)], "feather"),
    ],
)
def test_bad_kline_file_is_refused_by_row(
    name: str, rows: list[str], what: str, tmp_path: Path
) -> None:
    """A bad kline file is refused with its row, or with the missing information."""
    path = tmp_path / name
    path.write_text("\n".join(rows))

    with pytest.raises(Refusal) as refusal:
        open_klines(path)

    assert what in str(refusal.value)
    assert name in str(refusal.value)


BARS = st.lists(
    st.tuples(
        st.integers(50, 5000), st.integers(0, 400), st.integers(0, 400), st.integers(4, 10**6)
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(BARS, st.integers(0, 3), st.integers(4, 300))
def test_trades_of_a_bar_make_the_bar_again(
    shapes: list[tuple[int, int, int, int]], turn: int, count: int
) -> None:
    """Trades of a bar reproduce it exactly, in order of time within the bar."""
    for number, (low, to_open, to_close, volume) in enumerate(shapes):
        open_, close = low + to_open, low + to_close
        high = max(open_, close) + turn
        bar = Bar(number * 60_000, (number + 1) * 60_000, open_, high, low, close, volume)

        trades = trades_of(bar, count, 1, 1)

        prices = [price for _, price, _ in trades]
        times = [at_ms for at_ms, _, _ in trades]
        assert (prices[0], max(prices), min(prices), prices[-1]) == (open_, high, low, close)
        assert sum(qty for _, _, qty in trades) == volume
        assert all(qty > 0 for _, _, qty in trades)
        assert times == sorted(times)
        assert bar.open_ms <= times[0] <= times[-1] < bar.end_ms


def test_volume_finer_than_the_step_is_not_lost() -> None:
    """The last trade takes the rest of the volume that steps leave."""
    bar = Bar(0, 60_000, 100, 110, 90, 105, 123_456_789)

    assert sum(qty for _, _, qty in trades_of(bar, 7, 1, 1000)) == bar.volume


def test_played_klines_come_out_as_they_went_in(shared_data: Path, tmp_path: Path) -> None:
    """Real bars, a flash crash included, return from the venue's klines."""
    source = shared_data / "binance-klines-rest" / "DOGEUSDT-15m-to-2025-12-31.jsonl.gz"
    rows = gzip.decompress(source.read_bytes()).decode().splitlines()
    crash = next(n for n, text in enumerate(rows) if json.loads(text)[0] == 1_760_130_900_000)
    path = write(tmp_path / "DOGEUSDT-15m.jsonl", rows[crash - 3 : crash + 4])

    expected = list(open_klines(path).bars())
    found = played(path, rate=2)

    assert len(found) == len(expected) == 7
    for former, later in zip(expected, found, strict=True):
        assert (later.open, later.high, later.low, later.close, later.volume) == (
            *(former.open, former.high, former.low, former.close),
            former.volume,
        )


def test_bar_without_volume_has_quotes_and_no_trade(tmp_path: Path) -> None:
    """A bar without volume has quotes and no trade; a missing bar is silence."""
    rows = [row(0), row(1, "100.5 100.5 100.5 100.5", "0"), row(3)]
    source = Klines(open_klines(write(tmp_path / "BTCUSDT-1m.jsonl", rows)), 20, "klines")
    minutes: dict[int, list[str]] = {}
    for frame in source.frames():
        minutes.setdefault((frame.at_ns // 10**6 - OPEN_MS) // 60_000, []).append(frame.kind)

    assert TRADE in minutes[0]
    assert len(minutes[1]) == 60
    assert TRADE not in minutes[1]
    assert 2 not in minutes
    assert TRADE in minutes[3]


def test_bar_of_a_week_has_no_more_trades_than_are_made_at_once(tmp_path: Path) -> None:
    """A long bar, whose trades are all made at once, gets no more of them than an hour."""
    week_ms = 7 * 24 * 3_600_000
    source = Klines(open_klines(write(tmp_path / "BTCUSDT-1m.jsonl", [row(0)])), 20, "klines")
    hour = Bar(0, 3_600_000, 100, 101, 99, 100, 10**6)
    week = Bar(0, week_ms, 100, 101, 99, 100, 10**6)
    week.trades = 10**7

    assert source._count(week) == source._count(hour) == 36_000


@pytest.mark.process
def test_history_answers_for_the_time_before_and_never_after(tmp_path: Path) -> None:
    """History answers for times before the origin only, longer intervals included."""
    # The first three end 220 s, 160 s and 100 s before the origin; the last crosses it.
    rows = [row(n - 4, f"{100 + n} {101 + n} {99 + n} {100 + n}") for n in range(6)]
    history = write(tmp_path / "BTCUSDT-1m.jsonl", rows)
    tape = write_tape(tmp_path / "tape.gz", market(5))

    with Exchange(f"tape:{tape}", "--history", f"klines:{history}", speed="50") as exchange:
        before = exchange.json("klines", symbol="BTCUSDT", interval="1m")
        seconds = exchange.json("klines", symbol="BTCUSDT", interval="1s")
        exchange.stream("btcusdt@trade")
        wait_until(lambda: exchange.status()["ended"], "end of the tape")
        after = exchange.json("klines", symbol="BTCUSDT", interval="1m")

    assert [bar[0] for bar in before] == [OPEN_MS - n * 60_000 for n in (4, 3, 2, 1)]
    assert before[-1][4] == "103.00000000"
    assert seconds == []
    assert [bar[0] for bar in after][:5] == [*(bar[0] for bar in before), OPEN_MS]
    assert after[4][1] == "100.00000000"
    assert exchange.ready["origin_ms"] == ORIGIN_MS


def test_history_of_another_symbol_or_form_is_refused(tmp_path: Path) -> None:
    """History of another symbol or form is refused, as it would never be used."""
    facts = open_source(f"tape:{write_tape(tmp_path / 'tape.gz', market(1))}", 20).facts
    other = write(tmp_path / "ETHUSDT-1m.jsonl", [row(0)])

    with pytest.raises(Refusal, match="ETHUSDT"):
        open_history(f"klines:{other}", facts)
    with pytest.raises(ConfigError):
        open_history(str(other), facts)


def test_two_histories_of_one_symbol_are_refused(tmp_path: Path) -> None:
    """A second file of a symbol is refused: it would silently take the place of the first."""
    facts = open_source(f"tape:{write_tape(tmp_path / 'tape.gz', market(1))}", 20).facts
    first = write(tmp_path / "BTCUSDT-1m-2023-10.jsonl", [row(-9)])
    second = write(tmp_path / "BTCUSDT-1m-2023-11.jsonl", [row(-8)])

    with pytest.raises(Refusal, match=r"2023-11.*second history of BTCUSDT"):
        open_history(f"klines:{first},{second}", facts)


def test_real_archive_fixture_reads(shared_data: Path) -> None:
    """CSV from data.binance.vision is read."""
    folder = shared_data / "message-fixtures" / "binance" / "nautilus"

    file = open_klines(folder / "ADABTC-1m-2021-11-27.csv")

    assert (file.symbol, file.interval, file.price_places) == ("ADABTC", "1m", 8)
