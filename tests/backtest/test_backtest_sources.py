"""Sources, time ranges and the digest of a backtest as a user starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from minibot.backtest.driver import run_backtest
from minibot.backtest.market_scan import scan_sources
from minibot.backtest.sources.portfolio import Merged
from minibot.backtest.sources.source_spec import open_market
from minibot.backtest.sources.span import Part, Span, parse_span
from minibot.data.convert import convert, write_ticks
from minibot.data.ticks import table_of_ticks
from minibot.data.treatment import Treatment
from minibot.engine.market_source import NOBODY, Root, Watch
from minibot.events.model import (
    AveragePrice,
    Bar,
    Beat,
    Book,
    Gap,
    Instrument,
    MarketTick,
    PriceMark,
    Universe,
)
from minibot.exchanges.tapes.lines import Missed, missed_mark
from minibot.kernel.errors import ConfigError, Refusal
from minibot.runtime.configuration.config import Config, config_with, load_config
from minibot.strategies.scanner.settings import ScannerSettings
from tests.backtest.markets import (
    PROFILE,
    START_MS,
    bar_profile,
    gathered,
    minutes,
    walk,
    write_klines,
)
from tests.runs import PROJECT, verb
from tests.simulator.embedded_exchange import diff, market, snapshot, write_tape
from tests.waiting import DEADLINE_S

pytestmark = pytest.mark.campaign

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
HOURS = 'market.bar_intervals=["1h","4h"]'


def hourly(folder: Path, hours: int, name: str = "BTCUSDT-1h.csv") -> Path:
    """Write hours of a random walk as klines."""
    bars = [
        bar._replace(open_ts=START_MS + n * HOUR_MS, end_ts=START_MS + (n + 1) * HOUR_MS)
        for n, bar in enumerate(walk(hours))
    ]
    return write_klines(folder, bars, name)


def test_tape_whose_rules_lack_a_filter_is_refused_by_name(tmp_path: Path) -> None:
    """Rules of a tape that the market role would not take refuse the backtest."""
    rules = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT"}
    lines = [(0, {"symbols": [rules | {"filters": []}]}), *market(1)]
    path = write_tape(tmp_path / "odd.gz", lines)
    source = open_market([f"tape:{path}"], load_config(PROFILE))

    with pytest.raises(Refusal) as refusal:
        list(source.roots())

    assert path.name in refusal.value.message
    assert "BTCUSDT: filter PRICE_FILTER is missing" in refusal.value.message


def test_book_lost_with_a_recorders_connection_comes_back_with_its_snapshot(
    tmp_path: Path,
) -> None:
    """Updates missing behind a mark lose the book until the tape's next snapshot."""
    missed = json.loads(missed_mark(Missed(1, 2, ("BTCUSDT",), "connection lost")))
    level = [["98.50000000", "1.00000000"]]
    later = [
        *((2_500, missed), diff(2_600, 501, 501), snapshot(2_610, 501)),
        *(diff(2_700 + 100 * n, 502 + n, 502 + n, level) for n in range(20)),
    ]
    path = write_tape(tmp_path / "parted.gz", [*market(2), *later])

    roots = open_market([f"tape:{path}"], load_config(PROFILE)).roots()
    found = [root.payload for root in roots if isinstance(root.payload, Book | Gap)]

    lost = next(n for n, each in enumerate(found) if isinstance(each, Gap))
    books = [(each.why, each.last_update_id) for each in found[lost:] if isinstance(each, Book)]
    assert books[0] == ("resync", 501)
    assert books[-1][1] > 501


@pytest.mark.parametrize(
    ("levels", "early", "is_whole"),
    [
        (99, [], True),
        (100, [], False),
        # A level that crosses an update from before the snapshot is left out; all others stand.
        (100, [["100.01500000", "1"]], False),
    ],
)
def test_recorded_book_of_as_many_levels_as_a_request_gives_was_cut(
    tmp_path: Path, levels: int, early: list[list[str]], *, is_whole: bool
) -> None:
    """Depth of a tape is a lower bound where its recorder asked for no more levels."""
    bids, asks = (
        [[f"{100 + sign * n / 100:.8f}", "1"] for n in range(1, levels + 1)] for sign in (-1, 1)
    )
    body = {"lastUpdateId": 101, "bids": bids, "asks": asks}
    path = write_tape(tmp_path / "cut.gz", [diff(0, 101, 101, early), (1, body), *market(3)[2:]])

    config = load_config(PROFILE, ["market.book_depth=true"])
    roots = open_market([f"tape:{path}"], config).roots()
    books = [root.payload for root in roots if isinstance(root.payload, Book)]

    assert books
    assert {(book.is_bid_whole, book.is_ask_whole) for book in books} == {(is_whole, is_whole)}


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("20250101-20250102", Span(START_MS, START_MS + DAY_MS)),
        ("20250101-", Span(START_MS, None)),
        ("-202501010100", Span(None, START_MS + HOUR_MS)),
        (f"{START_MS}-{START_MS + 1}", Span(START_MS, START_MS + 1)),
        (f"{START_MS // 1000}-", Span(START_MS, None)),
    ],
)
def test_time_range_takes_dates_times_seconds_and_milliseconds(text: str, span: Span) -> None:
    """A time range accepts dates, times, seconds and milliseconds in UTC; ends are optional."""
    assert parse_span(text) == span


@pytest.mark.parametrize(
    "text", ["", "-", "2025", "20250101", "20251301-", "x-y", "20250102-20250101"]
)
def test_time_range_that_is_none_is_refused_with_what_is_allowed(text: str) -> None:
    """A malformed time range is refused with the allowed forms."""
    with pytest.raises(ConfigError) as refused:
        parse_span(text)
    assert refused.value.violations


@pytest.mark.parametrize(
    "words",
    [
        ["tape"],
        ["kline:x.csv"],
        ["generator:many"],
        ["run:x", "tape:demo"],
        ["generator:1", "generator:2"],
        ["columns:"],
    ],
)
def test_words_that_are_no_source_are_refused_with_what_is_allowed(words: list[str]) -> None:
    """Unknown sources, a run beside others, and a repeated symbol are refused with a remedy."""
    with pytest.raises(ConfigError) as refused:
        open_market(words, load_config(PROFILE))
    assert "allowed" in refused.value.violations[0]


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """A missing file and a folder that is no run are refused."""
    for word in (f"klines:{tmp_path}/BTCUSDT-1m.csv", f"run:{tmp_path}", f"columns:{tmp_path}"):
        with pytest.raises(Refusal):
            open_market([word], load_config(PROFILE))


def test_made_market_ends_after_the_profiles_duration() -> None:
    """A synthetic market, which has no end, runs as long as a night would."""
    config = load_config(PROFILE, ["duration_ms=60000"])
    market = open_market(["generator:3"], config)
    roots = list(market.roots())

    assert market.end_ms == market.origin_ms + 60_000
    assert market.origin_ms + 59_000 <= roots[-1].ts < market.end_ms


class Told:
    """Source of the given events."""

    def __init__(self, *told: Root) -> None:
        self.name = "told"
        self.symbols: tuple[str, ...] = ("BTCUSDT",)
        self.origin_ms = 1_000
        self.end_ms: int | None = None
        self.interval_ms = 1
        self.assumptions: tuple[str, ...] = ()
        self._told = told

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        """Yield them."""
        yield from self._told


def test_part_begins_with_the_universe_and_the_references_that_were_told_before_it() -> None:
    """A night tells its universe once: without it, risk would trade whatever streams."""

    def universe(generation: int) -> Universe:
        return Universe("static", "USDT", ("BTCUSDT",), (), (), (), {}, {}, generation)

    mark = PriceMark("ETHUSDT", "10.00", "miniTicker", 1_500)
    average = AveragePrice("BTCUSDT", "100.00", 5, 1_600)
    told = (universe(1), mark, universe(2), average)
    beat = Root(Beat(1, {}), 5_000)
    source = Told(*(Root(each, 1_000 + 100 * at) for at, each in enumerate(told)), beat)

    part = list(Part(source, Span(4_000, None), 50).roots())

    assert part == [*(Root(each, 4_000) for each in (universe(2), mark, average)), beat]


def test_part_of_a_made_market_begins_with_rules_and_history_and_the_same_market() -> None:
    """Part of a synthetic market equals the same span of the whole; earlier bars are history."""
    config = load_config(PROFILE, ["duration_ms=90000", "market.warmup_bars=20"])
    whole = list(open_market(["generator:3"], config).roots())
    start = whole[0].ts + 40_000
    part = list(open_market(["generator:3"], config, Span(start, start + 30_000)).roots())
    opening = [root for root in part if root.ts == start]
    bars = [root.payload for root in opening if isinstance(root.payload, Bar)]

    assert isinstance(part[0].payload, Instrument)
    assert len([bar for bar in bars if bar.interval == "1s"]) == config.market.warmup_bars
    assert all(bar.is_history for bar in bars)
    ticks = [root for root in whole if isinstance(root.payload, MarketTick)]
    inside = [root for root in ticks if start <= root.ts < start + 30_000]
    assert [root for root in part if isinstance(root.payload, MarketTick)] == inside


def test_warm_up_by_interval_holds_for_a_whole_market_and_for_a_part_of_it() -> None:
    """A market of frames and a later span of it begin with each interval's own number of bars."""
    table = 'market.warmup_bars={"1s": 9, "1m": 4}'
    config = load_config(PROFILE, ["duration_ms=90000", table])
    whole = list(open_market(["generator:3"], config).roots())
    start = whole[0].ts + 40_000
    part = list(open_market(["generator:3"], config, Span(start, None)).roots())

    for roots in (whole, part):
        bars = [root.payload for root in roots if isinstance(root.payload, Bar)]
        history = Counter(bar.interval for bar in bars if bar.is_history)
        assert (history["1s"], history["1m"]) == (9, 4)


def test_several_words_are_one_portfolio_in_order_of_time(tmp_path: Path) -> None:
    """Two files of bars are one market in order of time."""
    words = [
        f"klines:{hourly(tmp_path, 48, name)}" for name in ("BTCUSDT-1h.csv", "ETHUSDT-1h.csv")
    ]
    market = open_market(words, bar_profile(interval="1h", trend="4h"))

    assert isinstance(market, Merged)
    assert market.symbols == ("BTCUSDT", "ETHUSDT")
    assert all(one.ts <= two.ts for one, two in pairwise(market.roots()))


@pytest.mark.parametrize("minutes", [(0, 59), (10, 50), (10, 110)])
def test_range_without_a_whole_bar_is_refused(minutes: tuple[int, int], tmp_path: Path) -> None:
    """A range within one bar, or across two, holds no whole bar and is refused."""
    span = Span(*(START_MS + 5 * HOUR_MS + minute * 60_000 for minute in minutes))

    with pytest.raises(Refusal, match="no whole bar of 1h in the time range"):
        open_market(
            [f"klines:{hourly(tmp_path, 48)}"], bar_profile(interval="1h", trend="4h"), span
        )


@pytest.mark.process
def test_range_within_a_hole_between_bars_is_refused(var_dir: Path, tmp_path: Path) -> None:
    """A range within a kept hole between bars has nothing to trade and is refused."""
    path = hourly(tmp_path, 48)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:10], *lines[20:]]))
    first = (START_MS + 12 * HOUR_MS) // 1000
    words = ("--source", f"klines:{path}", "--gaps", "keep", "--set", HOURS)
    bars = ("--set", "strategy.bar_interval=1h", "--set", "strategy.trend_interval=4h")

    done = verb(var_dir, "backtest", *words, *bars, "--timerange", f"{first}-{first + 4 * 3600}")

    assert done.code == 2
    assert "no whole bar of 1h in the time range" in done.err


def test_range_within_a_hole_is_refused_in_a_portfolio_too(tmp_path: Path) -> None:
    """A portfolio whose bars are fed as events refuses a hole as one file does."""
    path = hourly(tmp_path, 48)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:10], *lines[20:]]))
    span = Span(*(START_MS + hour * HOUR_MS for hour in (12, 16)))
    config = bar_profile(interval="1h", trend="4h")
    words = [f"klines:{path}", f"klines:{hourly(tmp_path, 48, 'ETHUSDT-1h.csv')}"]

    market = open_market(words, config, span, Treatment(gaps="keep"))

    with pytest.raises(Refusal, match=f"{path.name}: no whole bar of 1h in the time range"):
        list(market.roots())


def test_range_that_ends_within_a_bar_ends_before_it(tmp_path: Path) -> None:
    """A range that ends within a bar ends before that bar, where positions can still close."""
    words, config = [f"klines:{hourly(tmp_path, 400)}"], bar_profile(interval="1h", trend="4h")
    held = next(
        hour
        for hour in range(60, 400)
        if open_positions(words, config, START_MS + hour * HOUR_MS, 'portfolio.at_end="carry"')
    )

    assert not open_positions(words, config, START_MS + held * HOUR_MS)
    assert not open_positions(words, config, START_MS + held * HOUR_MS + HOUR_MS - 1)


def open_positions(words: list[str], config: Config, to_ms: int, *sets: str) -> list[str]:
    """Return the positions held at the end of a range."""
    config = config_with(config.raw, sets)
    source = open_market(words, config, Span(None, to_ms))
    return run_backtest(source, config).performance.portfolio.symbols()


def test_symbol_that_the_cash_does_not_pay_is_refused(tmp_path: Path) -> None:
    """A symbol whose quote asset the cash lacks is refused: XRP in ETH with USDT."""
    word = f"klines:{hourly(tmp_path, 48, 'XRPETH-1h.csv')}"

    with pytest.raises(ConfigError, match="XRPETH cannot be paid in USDT"):
        open_market([word], bar_profile(interval="1h", trend="4h"))


def test_columns_of_klines_are_the_same_market_as_their_file(tmp_path: Path) -> None:
    """Columns of klines give the same decisions as their file."""
    path = hourly(tmp_path, 400)
    folder = tmp_path / "columns"
    done = verb(tmp_path, "data", "convert", str(path), "--out", str(folder))
    assert done.code == 0, done.err
    config = bar_profile(interval="1h", trend="4h")
    digests = [
        run_backtest(open_market([word], config), config).digest
        for word in (f"klines:{path}", f"columns:{folder}")
    ]

    assert digests[0] == digests[1]


def test_columns_of_ticks_have_the_ticks_and_bars_of_their_tape(tmp_path: Path) -> None:
    """Columns of a tape have the ticks and bars of the market role's feed, without the book."""
    done = verb(tmp_path, "data", "convert", "tape:demo", "--out", str(tmp_path / "columns"))
    assert done.code == 0, done.err
    config = load_config(PROFILE)

    def of(word: str) -> list[dict[str, object]]:
        found = []
        for root in open_market([word], config).roots():
            if isinstance(root.payload, MarketTick | Bar):
                payload = root.payload.to_json()
                payload.pop("recv_mono_ns", None)
                found.append(payload)
        return found

    assert of(f"columns:{tmp_path / 'columns'}") == of("tape:demo")


@pytest.mark.parametrize("kind", ["tape", "columns"])
def test_bars_of_a_month_are_refused_where_they_would_be_built(kind: str, tmp_path: Path) -> None:
    """A calendar month has no fixed length: ticks make no bar of it, and the key is named."""
    word = "tape:demo"
    if kind == "columns":
        done = verb(tmp_path, "data", "convert", word, "--out", str(tmp_path / "columns"))
        assert done.code == 0, done.err
        word = f"columns:{tmp_path / 'columns'}"
    config = load_config(PROFILE, ['market.bar_intervals=["1s","1m","1M"]'])

    with pytest.raises(ConfigError) as refused:
        run_backtest(open_market([word], config), config)

    (violation,) = refused.value.violations
    assert violation.startswith("market.bar_intervals: 1M; allowed: ")


def test_columns_of_a_symbol_without_known_rules_have_the_price_increment_of_its_quotes(
    tmp_path: Path,
) -> None:
    """Stops and quotes round by the increment that the touch shows, not by trades alone."""
    tick = MarketTick(
        symbol="ZZZUSDT",
        price="35.10",
        kind="quote",
        bid="35.14",
        bid_qty="1.25",
        ask="35.15",
        ask_qty="3",
        recv_mono_ns=0,
    )
    table = table_of_ticks(tmp_path, "ZZZUSDT", [(tick, START_MS)])
    written = write_ticks(table, tmp_path, Treatment())

    rules = next(iter(open_market([f"columns:{written.path}"], load_config(PROFILE)).roots()))

    assert isinstance(rules.payload, Instrument)
    increments = rules.payload.price_increment, rules.payload.qty_increment
    assert increments == ("0.01000000", "0.01000000")


def digest_of(argv: list[str], **environ: str) -> str:
    """Return the digest that a separate process prints."""
    code = (
        "import sys\n"
        "from minibot.backtest.driver import run_backtest\n"
        "from minibot.backtest.sources.source_spec import open_market\n"
        "from minibot.runtime.configuration.config import load_config\n"
        f"config = load_config({PROFILE!r}, sys.argv[2:])\n"
        "print(run_backtest(open_market([sys.argv[1]], config), config).digest)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *argv],
        cwd=PROJECT,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    )
    return done.stdout.strip()


@pytest.mark.process
@pytest.mark.row("N-02", "B-76")
def test_six_months_twice_in_processes_with_other_hash_seeds_give_one_digest(
    tmp_path: Path,
) -> None:
    """Hash seed, locale and time zone do not change the digest of six months."""
    path = hourly(tmp_path, 184 * 24)
    sets = [HOURS, "strategy.bar_interval=1h", "strategy.trend_interval=4h"]
    argv = [f"klines:{path}", *sets]
    config = load_config(PROFILE, sets)
    market = open_market([argv[0]], config)
    done = run_backtest(market, config)

    assert digest_of(argv, PYTHONHASHSEED="4711", TZ="Asia/Tokyo", LC_ALL="C") == done.digest
    assert done.to_ts - done.from_ts >= 181 * DAY_MS
    assert len(done.of("fills")) > 100


def test_report_says_what_was_settled_in_a_file_or_before_it_became_columns(
    tmp_path: Path,
) -> None:
    """A whole file has no such sentence; of trades it stands beside their modelled touch."""
    bars, keep = walk(30), Treatment(gaps="keep")
    whole = f"klines:{write_klines(tmp_path, bars)}"
    torn = write_klines(tmp_path, [*bars[:9], *bars[11:]], "ETHUSDT-1m.csv")
    trades = tmp_path / "BTCUSDT-trades-2025-01-01.csv"
    rows = [f"{n},100.0,1.0,100.0,{START_MS + n * 1000},True,True\n" for n in (1, 2, 5, 6)]
    trades.write_text("".join(rows), encoding="utf-8")
    convert([torn], tmp_path / "bars", keep)
    convert([trades], tmp_path / "trades", keep)

    def told(word: str) -> list[str]:
        market = open_market([word], bar_profile(), treatment=keep)
        return [text for text in market.assumptions if "gaps" in text]

    assert told(whole) == []
    assert told(f"klines:{torn}") == ["ETHUSDT: settled in its file: gaps 2 (keep)"]
    assert told(f"columns:{tmp_path / 'bars'}") == [
        "ETHUSDT: treated when it was converted: gaps keep"
    ]
    assert told(f"columns:{tmp_path / 'trades'}") == [
        "BTCUSDT: treated when it was converted: gaps keep"
    ]


def test_file_with_a_hole_is_refused_until_told_how_to_treat_it(tmp_path: Path) -> None:
    """A file with a hole is refused with counts and option; with the option it runs."""
    path = hourly(tmp_path, 60)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:20] + lines[23:]))
    sets = [
        "--set",
        HOURS,
        "--set",
        "strategy.bar_interval=1h",
        "--set",
        "strategy.trend_interval=4h",
    ]
    words = ["backtest", "--source", f"klines:{path}", *sets, "--no-keep", "--fills", "touch"]
    refused = verb(tmp_path, *words)
    treated = verb(tmp_path, *words, "--gaps", "keep")

    assert refused.code == 2
    assert "--gaps" in refused.err
    assert treated.code == 0, treated.err


def test_bars_of_a_symbol_without_known_rules_say_where_its_steps_come_from(tmp_path: Path) -> None:
    """Later numbers decide about rounding in an earlier part, so every report tells it."""
    bars = walk(40)
    bars[30] = bars[30]._replace(volume=12_345_000)  # 0.12345, behind the traded part.
    told = {}
    for symbol in ("ZZZUSDT", "BTCUSDT"):
        path = write_klines(tmp_path, bars, f"{symbol}-1m.csv")
        source = open_market([f"klines:{path}"], bar_profile(), minutes(0, 20))
        told[symbol] = [text for text in source.assumptions if "rules are not known" in text]

    assert len(told["ZZZUSDT"]) == 1
    assert "price 0.01 and quantity 0.00001, the finest in the whole file" in told["ZZZUSDT"][0]
    assert told["BTCUSDT"] == []


def test_scan_of_a_tape_beside_hours_compares_no_minutes(tmp_path: Path) -> None:
    """A file of hours makes no minutes, so its symbol would never have a rank among them."""
    bars = walk(600, around=3000.0)
    hours = write_klines(
        tmp_path, [gathered(bars[at : at + 60]) for at in range(0, 600, 60)], "ETHUSDT-1h.csv"
    )
    config = bar_profile('market.bar_intervals=["1m","15m","1h","4h"]', interval="1h", trend="4h")
    mixed = open_market(["tape:demo", f"klines:{hours}"], config)

    with pytest.raises(ConfigError, match="no bars of 1m") as refused:
        scan_sources(mixed, config, ScannerSettings(), "1m")

    assert refused.value.violations == ("allowed: 1h, 4h",)
    assert scan_sources(mixed, config, ScannerSettings(), None).interval == "1h"
