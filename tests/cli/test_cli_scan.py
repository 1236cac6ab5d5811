"""`minibot scan`: ranking, refusals and files, over a source and over a finished run."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from minibot.backtest.market_scan import recommendation_text, scan_run
from minibot.cli.scan import OPPORTUNITIES_FILE, SCAN_FILE
from minibot.cli.support.venue_bars import venue_bars
from minibot.engine.recorded_run import Recorded
from minibot.events.model import Bar, Payload, Recommendation, Universe
from minibot.exchanges.base import Candle
from minibot.runtime.configuration.config import config_with, load_config
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import PROJECT
from minibot.strategies.scanner.factors import BARS_MIN
from minibot.strategies.scanner.settings import ScannerSettings
from tests.backtest.markets import MINUTE_MS, START_MS, walk, write_klines
from tests.replay.damaged import copy_of, manifest_says
from tests.runs import Completed, ShortRun, verb
from tests.simulator.embedded_exchange import Exchange

MINUTES = ("--interval", "1m")


def scan(var: Path, paths: list[Path], *words: str) -> Completed:
    """Run the verb on files of bars."""
    sources = [part for path in paths for part in ("--source", f"klines:{path}")]
    return verb(var, "scan", *sources, "--json", *words)


def told(var: Path, name: str) -> list[dict[str, str]]:
    """Return the rows of a csv that the verb wrote."""
    with (var / "metrics" / name).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Two symbols with bars enough, and prices that move apart."""
    return [
        write_klines(tmp_path, walk(BARS_MIN, seed), f"{symbol}-1m.csv")
        for seed, symbol in enumerate(("AAAUSDT", "BBBUSDT"), 3)
    ]


@pytest.mark.row("B-19")
@pytest.mark.row("B-58")
def test_scan_of_a_source_ranks_it_and_writes_both_files(var_dir: Path, two: list[Path]) -> None:
    """Score and recommendation of each symbol; only what passes every filter is an opportunity."""
    done = scan(var_dir, two, *MINUTES)

    assert done.code == 0, done.err
    rows = done.document["rows"]
    assert sorted(row["symbol"] for row in rows) == ["AAAUSDT", "BBBUSDT"]
    assert [row["rank"] for row in rows] == [1, 2]
    assert {row["recommendation"] for row in rows} == {"-"}
    assert all({"value", "threshold", "passed"} <= set(one) for one in rows[0]["filters"])
    kept = told(var_dir, SCAN_FILE)
    assert [(row["symbol"], row["score"]) for row in kept] == [
        (row["symbol"], row["score"]) for row in rows
    ]
    assert kept[0]["score_min_threshold"] == "60"
    passing = [row["symbol"] for row in rows if row["is_opportunity"]]
    assert [row["symbol"] for row in told(var_dir, OPPORTUNITIES_FILE)] == passing


OF_RUN = {"bar_interval": "1m", "score_min": "7"}
STRICT = {"bar_interval": "1m", "score_min": "1", "change_percent_max": "0.1"}


def test_scan_of_a_source_is_by_the_scanner_of_the_profile(var_dir: Path, two: list[Path]) -> None:
    """Its thresholds and bars are those of the profile, as in a run; --interval is stronger."""
    sets = ("--set", f"scanner={json.dumps(STRICT)}")

    done, longer = scan(var_dir, two, *sets), scan(var_dir, two, *sets, "--interval", "5m")

    assert done.code == longer.code == 0, done.err + longer.err
    assert (done.document["interval"], longer.document["interval"]) == ("1m", "5m")
    for row in done.document["rows"]:
        thresholds = {one["name"]: one["threshold"] for one in row["filters"]}
        assert thresholds["score_min"] == STRICT["score_min"]
        assert thresholds["change_percent_max"] == STRICT["change_percent_max"]


def test_scan_of_a_source_has_the_values_of_the_feeds_of_its_time(
    var_dir: Path, two: list[Path], tmp_path: Path
) -> None:
    """Social points come from the profile's file, as in a run; one from after the end does not."""
    end = START_MS + BARS_MIN * MINUTE_MS
    (tmp_path / "social.csv").write_text(f"{START_MS},1\n{end},4.5\n{end + 1},9\n")
    feed = ("--set", f"market.feeds.social_bbbusdt={tmp_path / 'social.csv'}")

    done = scan(var_dir, two, *MINUTES, *feed)

    assert done.code == 0, done.err
    points = {row["symbol"]: row["components"]["social"] for row in done.document["rows"]}
    assert points == {"AAAUSDT": "0.00", "BBBUSDT": "4.50"}
    plain = scan(var_dir, two, *MINUTES)
    former, fed = (
        {row["symbol"]: Decimal(row["score"]) for row in each.document["rows"]}
        for each in (plain, done)
    )
    assert fed == {**former, "BBBUSDT": former["BBBUSDT"] + Decimal("4.50")}


def test_scan_takes_a_gap_that_an_option_settles(var_dir: Path, tmp_path: Path) -> None:
    """The refusal names an option that this verb has."""
    bars = walk(BARS_MIN)
    paths = [write_klines(tmp_path, [*bars[:9], *bars[10:]], "AAAUSDT-1m.csv")]

    refused, settled = scan(var_dir, paths), scan(var_dir, paths, "--gaps", "keep")

    assert "--gaps keep|flat" in refused.err
    assert (refused.code, settled.code) == (2, 0), settled.err


def test_scan_twice_gives_the_same_bytes_in_any_order(var_dir: Path, two: list[Path]) -> None:
    """The order of the sources is not an input."""
    first = scan(var_dir, two, *MINUTES)
    files = [(var_dir / "metrics" / name).read_bytes() for name in (SCAN_FILE, OPPORTUNITIES_FILE)]
    second = scan(var_dir, two[::-1], *MINUTES)

    assert first.out == second.out
    assert files == [
        (var_dir / "metrics" / name).read_bytes() for name in (SCAN_FILE, OPPORTUNITIES_FILE)
    ]


def test_scan_of_one_symbol_counts_it_in_the_singular(var_dir: Path, two: list[Path]) -> None:
    """The heading counts its symbols as a person does."""
    one = verb(var_dir, "scan", "--source", f"klines:{two[0]}", *MINUTES)
    both = [part for path in two for part in ("--source", f"klines:{path}")]

    assert one.out.startswith("scan of 1 symbol by bars of 1m")
    assert verb(var_dir, "scan", *both, *MINUTES).out.startswith("scan of 2 symbols by bars")


def test_scan_without_enough_bars_gives_no_score_and_names_what_is_missing(
    var_dir: Path, two: list[Path]
) -> None:
    """97 minutes make six bars of 15 minutes; the regime has too few bars and is mixed."""
    done = scan(var_dir, two)

    assert done.code == 0
    assert done.document["interval"] == "15m"
    assert done.document["regime"]["name"] == "mixed"
    assert {row["score"] for row in done.document["rows"]} == {None}
    assert {row["lacks"] for row in done.document["rows"]} == {"6 of 97 bars of 15m"}
    assert told(var_dir, OPPORTUNITIES_FILE) == []
    assert len(told(var_dir, SCAN_FILE)) == 2


def test_scan_refuses_bars_that_the_market_cannot_make(var_dir: Path, two: list[Path]) -> None:
    """A minute makes no second; the message names what is allowed."""
    done = scan(var_dir, two, "--interval", "1s")

    assert done.code == 4
    assert "no bars of 1s" in done.err
    assert "15m" in done.err


@pytest.mark.parametrize("words", [(), ("--interval", "1d")])
def test_scan_without_any_closed_bar_is_refused(
    words: tuple[str, ...], var_dir: Path, tmp_path: Path
) -> None:
    """Ten minutes close no bar of 15: there is no moment as of which they could be ranked."""
    done = scan(var_dir, [write_klines(tmp_path, walk(10), "AAAUSDT-1m.csv")], *words)

    assert done.code == 2
    assert "has closed" in done.err
    assert "--interval" in done.err
    assert not (var_dir / "metrics" / SCAN_FILE).exists()


def test_scan_refuses_an_empty_interval_by_what_was_given(var_dir: Path, two: list[Path]) -> None:
    """The refusal does not name bars that it lists as allowed."""
    done = scan(var_dir, two, "--interval", "")

    assert done.code == 4
    assert "no bars of ''" in done.err


def test_scan_of_a_run_reads_the_bars_that_it_wrote(var_dir: Path, project: Path) -> None:
    """A golden run of a minute has too few bars; its symbol and their number are told."""
    done = verb(var_dir, "scan", str(project / "tests" / "fixtures" / "sample_run"), "--json")

    assert done.code == 0, done.err
    (row,) = done.document["rows"]
    assert row["symbol"] == "BTCUSDT"
    assert row["lacks"].endswith("of 97 bars of 1m")


def test_scan_of_a_run_is_by_the_scanner_of_the_run(
    short_run: ShortRun, tmp_path: Path, var_dir: Path
) -> None:
    """A run's own thresholds hold, --set changes them, and a named profile has its own."""
    copied = copy_of(short_run, tmp_path)
    ours = config_with(Manifest.load(copied).config, [f"scanner={json.dumps(OF_RUN)}"]).raw
    manifest_says(copied, config=ours)

    done = verb(var_dir, "scan", str(copied), "--json")
    other = verb(var_dir, "scan", str(copied), "--json", "--set", "scanner.score_min=8")
    overlay = {"schema": "minibot.config", "v": 1, "extends": "nore.v1.json", "profile": "own"}
    scanner = {"bar_interval": "1m", "score_min": "9"}
    path = tmp_path / "own.json"
    path.write_text(json.dumps(overlay | {"scanner": scanner}))
    named = verb(var_dir, "scan", str(copied), "--json", "--config", str(path))

    assert done.code == other.code == named.code == 0, done.err + other.err + named.err
    found = [
        {one["name"]: one["threshold"] for one in each.document["rows"][0]["filters"]}["score_min"]
        for each in (done, other, named)
    ]
    assert found == ["7", "8", "9"]


class Journal:
    """A run still going, as a scan reads it: the payloads of its market events, in order."""

    def __init__(self, payloads: list[Payload]) -> None:
        settings = {"market": {"bar_intervals": ["1m"]}}
        self.manifest = SimpleNamespace(config=settings, symbols=("AAAUSDT",), run_id="going")
        self._payloads = payloads

    def lines(self, _: str) -> Any:
        """Return the source of the lines."""
        lines = (SimpleNamespace(json=b'"%s"' % p.TYPE.encode(), p=p) for p in self._payloads)
        return SimpleNamespace(next=lambda: next(lines, None))

    def decode(self, _: str, line: Any) -> Any:
        """Return the event of a line."""
        return SimpleNamespace(payload=line.p)

    def events(self, _: str) -> Iterator[tuple[int, Any]]:
        """Yield no event of another queue."""
        return iter(())


def universe(*traded: str) -> Universe:
    """Return a universe of some symbols."""
    return Universe("dynamic", "USDT", traded, (), (), (), {}, {}, 1)


@pytest.mark.parametrize("has_more", [False, True])
def test_scan_of_a_run_ranks_the_universe_of_its_last_bar(*, has_more: bool) -> None:
    """A change after its moment is of the next scan; the first universe counts anyway."""
    bars = [
        Bar(symbol, "1m", at, at + MINUTE_MS - 1, "1", "1", "1", "1", "1", False)
        for at in (START_MS, START_MS + MINUTE_MS)
        for symbol in ("AAAUSDT", "BBBUSDT")
    ]
    changes = [universe("AAAUSDT", "BBBUSDT"), universe("BBBUSDT")]
    payloads: list[Payload] = [*bars[:2], *changes, *bars[2:]] if has_more else [*bars, *changes]

    found = scan_run(cast(Recorded, Journal(payloads)), ScannerSettings(interval="1m"), None)

    names = [row.symbol for row in found.scan.rows]
    assert sorted(names) == (["BBBUSDT"] if has_more else ["AAAUSDT", "BBBUSDT"])


def test_recommendation_of_a_model_is_its_likeliest_side_and_of_none_a_dash() -> None:
    """The baseline is not a model."""
    model = Recommendation("AUSDT", "m1", "0.6", "0.3", "0.1", 60_000)
    baseline = Recommendation("AUSDT", "baseline", "0.6", "0.3", "0.1", 60_000, True)

    assert recommendation_text(model) == "BUY 0.6"
    assert recommendation_text(baseline) == "-"


# --- the venue's own bars -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def venue() -> Iterator[Exchange]:
    """A venue on this machine, with two symbols and two hours of history."""
    with Exchange("generator:7:BTCUSDT,ETHUSDT", speed="1") as running:
        yield running


def of_venue(var: Path, base: str, *words: str) -> Completed:
    """Run the verb on the venue's bars."""
    address = ("--set", f"binance.rest_url={base}")
    stream = ("--set", f"binance.stream_url={base.replace('http', 'ws')}")
    profile = ("--config", "config/nore.v1.json")
    return verb(var, "scan", "--venue", "--json", *profile, *address, *stream, *words)


@pytest.mark.process
def test_scan_of_the_venue_ranks_its_newest_closed_bars(var_dir: Path, venue: Exchange) -> None:
    """Without a run and without a file: the pairs that are named, as of their last closed bar."""
    done = of_venue(var_dir, venue.base, "--pairs", "BTC/USDT,ETHUSDT", *MINUTES)

    assert done.code == 0, done.err
    rows = done.document["rows"]
    assert {row["symbol"] for row in rows} == {"BTCUSDT", "ETHUSDT"}
    assert all(row["score"] is not None for row in rows), rows
    assert done.document["ts"] % 60_000 == 0
    assert [row["symbol"] for row in told(var_dir, SCAN_FILE)] == [row["symbol"] for row in rows]


class Slow:
    """REST client of a venue at which each answer takes a minute."""

    def __init__(self) -> None:
        self.ms = 1_700_000_041_000

    def server_time(self) -> int:
        return self.ms

    def candles(
        self, symbol: str, interval: str, *, start: int | None, end: int, limit: int
    ) -> list[Candle]:
        """Return the newest minutes up to `end`."""
        self.ms += 60_000
        last = min(end, self.ms) // 60_000 * 60_000
        opens = [last - place * 60_000 for place in reversed(range(limit))]
        return [Candle(ts, ts + 59_999, "1", "1", "1", "1", "1", "1", 1, "1") for ts in opens]

    def close(self) -> None:
        pass


def test_bars_of_the_venue_end_at_one_moment_for_all_symbols(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A minute that ends between the requests of two symbols is left out for both."""
    monkeypatch.setattr("minibot.cli.support.venue_bars.heeding_rest", lambda *_: Slow())
    config = load_config(PROJECT / "config" / "nore.v1.json")

    found = list(venue_bars(config, tmp_path, ("AUSDT", "BUSDT", "CUSDT"), [("1m", 3)]))

    ends = {bar.symbol: bar.close_ts for bar in found}
    assert ends == dict.fromkeys(("AUSDT", "BUSDT", "CUSDT"), 1_700_000_039_999)


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--pairs", "NOPEUSDT"), 2, "refuses NOPEUSDT"),
        (("--interval", "7m"), 4, "not a length of bars"),
        (("--source", "klines:x"), 2, "name two markets"),
    ],
)
def test_scan_of_the_venue_refuses_by_name(
    words: tuple[str, ...], code: int, said: str, var_dir: Path, venue: Exchange
) -> None:
    """An unknown pair, interval or a second market is told, and no file is written."""
    answer = of_venue(var_dir, venue.base, *words)

    assert answer.code == code
    assert said in answer.err
    assert not (var_dir / "metrics" / SCAN_FILE).exists()


@pytest.mark.parametrize("words", [(), ("--pairs", "BTCUSDT")])
def test_scan_of_the_venue_refuses_a_profile_of_the_embedded_exchange(
    words: tuple[str, ...], var_dir: Path
) -> None:
    """The exchange of the demo exists inside a run alone, so there is none to ask."""
    answer = verb(var_dir, "scan", "--venue", "--config", "config/nore-demo.v1.json", *words)

    assert answer.code == 4
    assert "minibot itself" not in answer.err
    assert "binance.rest_url" in answer.err
    assert not (var_dir / "metrics" / SCAN_FILE).exists()


def test_scan_of_the_venue_without_a_profile_asks_the_nights_own(var_dir: Path) -> None:
    """The profile of a night names a venue; that of the demo, the default of files, has none."""
    dead = ("--set", "binance.rest_url=http://127.0.0.1:9")

    answer = verb(var_dir, "scan", "--venue", *dead, "--set", "binance.stream_url=ws://127.0.0.1:9")

    assert answer.code == 2
    assert "http://127.0.0.1:9 has no usable answer" in answer.err


def test_venue_that_cannot_be_reached_is_named(var_dir: Path) -> None:
    """A host that does not answer is named, with what to look at; --pairs alone names no market."""
    answer = of_venue(var_dir, "http://127.0.0.1:9")
    alone = verb(var_dir, "scan", "--pairs", "BTCUSDT")

    assert answer.code == 2
    assert "http://127.0.0.1:9 has no usable answer" in answer.err
    assert "Check the network" in answer.err
    assert alone.code == 2
    assert "Add --venue" in alone.err
