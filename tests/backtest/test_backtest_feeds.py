"""Feeds in a backtest: each value at its own market time, in bars, parts and none without."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from pathlib import Path

import pytest

from minibot.backtest.checks.lookahead import check_lookahead
from minibot.backtest.checks.perturbation import CUT, Perturbation, perturbed
from minibot.backtest.driver import run_backtest
from minibot.backtest.report.documents import document_of, files_behind, unchanged
from minibot.backtest.report.kept_comparison import compare
from minibot.backtest.report.review import Review
from minibot.backtest.search.backtest_job import Job, run_job
from minibot.backtest.sources.bars import BarSource
from minibot.backtest.sources.feeds import with_feeds
from minibot.backtest.sources.span import Part, Span
from minibot.cli.support.checking import verdict_lines
from minibot.engine.market_source import MarketSource
from minibot.engine.run_result import BacktestResult
from minibot.events.model import FeedValue, Fill, JsonObject, Signal
from minibot.kernel.errors import ConfigError, Refusal
from minibot.runtime.configuration.config import Config, config_with
from tests.backtest.markets import MINUTE_MS, START_MS, bar_profile, series, walk, write_klines

READER = '''"""Says with each bar what it reads."""

from minibot.strategies.protocol import Needs, Strategy, buy


class Reader(Strategy):
    """Reads one feed."""

    @staticmethod
    def needs(settings):
        return Needs(intervals=("1m",), trades=False, feeds=("mood",))

    def on_bar(self, bar, view):
        told = view.feed("mood")
        return buy("none" if told is None else f"{told.value} of {told.ts}, {told.age_ms} old")
'''
COUNT = 240
# At the end of a bar to the millisecond, one later, one earlier, in between, and after the end.
TIMES = [5, 10 * MINUTE_MS - 1, 20 * MINUTE_MS, 30 * MINUTE_MS + 1, 41 * MINUTE_MS + 7_000]
LINES = [START_MS + 3 * MINUTE_MS + ms for ms in (*TIMES, 10**9)]
BARS = walk(COUNT)


def profile(folder: Path, *sets: str) -> Config:
    """A profile whose strategy says what it reads."""
    (folder / "reader.py").write_text(READER, encoding="utf-8")
    return bar_profile(
        "strategy.name=reader", f"strategy.folder={folder}", with_mood(folder), *sets
    )


def with_mood(folder: Path) -> str:
    """Write a feed whose values are -1.50, 1.50, 3.50 ...; return the text that names it."""
    rows = "".join(f"{ts},{2 * n - 1}.50\n" for n, ts in enumerate(LINES))
    (folder / "mood.csv").write_text(rows, encoding="utf-8")
    return f"market.feeds.mood={folder / 'mood.csv'}"


def told(result: BacktestResult) -> list[tuple[int, str]]:
    """Return the time and reason of each signal."""
    signals = [event for event in result.of("signals") if isinstance(event.payload, Signal)]
    return [(e.ts, e.payload.reason) for e in signals if isinstance(e.payload, Signal)]


def traded(result: BacktestResult) -> list[tuple[int, str, str, str]]:
    """Return time, side, quantity and price of each fill."""
    fills = [(event.ts, event.payload) for event in result.of("fills")]
    return [(ts, one.side, one.qty, one.price) for ts, one in fills if isinstance(one, Fill)]


def expected(ts: int) -> str:
    """Return the newest value at a time, by the file alone."""
    newest = bisect_right(LINES, ts) - 1
    if newest < 0:
        return "BUY: none"
    return f"BUY: {2 * newest - 1}.50 of {LINES[newest]}, {ts - LINES[newest]} old"


def market(config: Config, *, start: int | None = None) -> MarketSource:
    """The walk's bars, or what lies behind a time of them."""
    source = BarSource(series(BARS), config)
    return source if start is None else Part(source, Span(start, None), 50)


def test_strategy_reads_at_each_bar_the_newest_value_of_that_time(tmp_path: Path) -> None:
    """None before the first; at its own millisecond it is known, one before it is not."""
    config = profile(tmp_path)

    result = run_backtest(market(config), config)

    found = told(result)
    assert len(found) > COUNT // 2
    assert [reason for _, reason in found] == [expected(ts) for ts, _ in found]
    assert result.inputs[FeedValue.TYPE] == len(TIMES)
    assert "mood (6 values)" in " ".join(result.assumptions)


def test_part_of_a_market_begins_with_the_newest_value_of_its_start(tmp_path: Path) -> None:
    """One from long before is known at once, with its age."""
    config = profile(tmp_path)
    start = LINES[3] + 5 * MINUTE_MS

    found = told(run_backtest(market(config, start=start), config))

    assert found
    assert [reason for _, reason in found] == [expected(ts) for ts, _ in found]


def test_feed_that_nobody_reads_changes_no_decision(tmp_path: Path) -> None:
    """The shipped strategy decides and is filled as without it; lines bear other numbers alone."""
    plain, fed = (
        run_backtest(market(config), config)
        for config in (bar_profile(), bar_profile(with_mood(tmp_path)))
    )

    assert told(plain) == told(fed)
    assert traded(plain) == traded(fed)
    assert traded(plain)
    assert plain.closes == fed.closes  # The market's change, for the report.


def test_backtests_of_two_files_of_a_feed_are_of_other_data(tmp_path: Path) -> None:
    """A value that was corrected explains other decisions; without it, chance would seem to."""
    config = profile(tmp_path)
    words = (f"klines:{write_klines(tmp_path, BARS)}",)
    mood = tmp_path / "mood.csv"

    def document() -> JsonObject:
        return document_of({"touch": Review.of(run_job(Job(words, config.raw)))}, words)

    one, same = document(), document()
    mood.write_text(mood.read_text().replace("-1.50", "1.50"))
    other = document()

    assert one == same
    assert one["files"]["market.feeds.mood"].keys() == {"mood.csv"}
    assert [compare(one, each)["same_data"] for each in (same, other)] == [True, False]
    assert files_behind(["run:var/runs/1"], config.raw).keys() == {"run:var/runs/1"}


def test_feed_that_changes_while_backtests_read_it_is_refused(tmp_path: Path) -> None:
    """Each of several backtests reads the file again; they would be of different values."""
    config = profile(tmp_path)
    mood = tmp_path / "mood.csv"

    with pytest.raises(Refusal, match=r"market\.feeds\.mood: changed"), unchanged([], config.raw):
        mood.write_text(f"{mood.read_text()}{LINES[-1] + 1},2\n")

    with unchanged(["run:var/runs/1"], config.raw):  # Its values are on record.
        mood.unlink()


def test_market_without_feeds_is_left_as_it_is() -> None:
    """Its rows are walked as before."""
    config = bar_profile()
    source = market(config)

    assert with_feeds(source, config) is source


def test_feed_whose_file_is_gone_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    """Also where the profile was judged while it stood there."""
    config = config_with(profile(tmp_path).raw, [])
    (tmp_path / "mood.csv").unlink()

    with pytest.raises(ConfigError, match=r"market\.feeds"):
        run_backtest(market(config), config)


@pytest.mark.campaign
def test_look_ahead_check_passes_a_strategy_that_reads_a_feed(tmp_path: Path) -> None:
    """Values are of the market that is checked: at their own time, and also where it is cut."""
    config = profile(tmp_path)
    job = Job((f"klines:{write_klines(tmp_path, BARS)}",), config.raw)

    verdict = check_lookahead(job, 1, decisions=20, random_moments=4)

    assert (verdict.is_clean, verdict.findings, verdict.modelled) == (True, [], 0)
    assert verdict.decisions > 15
    # Nothing was altered of them, which the verdict says beside "no look-ahead".
    assert verdict.feeds == ("mood",)
    assert [line for line in verdict_lines(verdict) if "values of mood were not altered" in line]


def test_values_up_to_the_moment_of_an_alteration_come_even_behind_a_cut_market(
    tmp_path: Path,
) -> None:
    """A market that ends before a value tells it where the moment lies behind it, and only then."""
    config = profile(tmp_path)
    answers = []
    for moment in (LINES[4] - 1, LINES[4]):
        ended = Part(BarSource(series(BARS), config), Span(None, LINES[3]), 50)
        altered = perturbed(with_feeds(ended, config), Perturbation(moment, CUT))
        answers.append([root.ts for root in altered.roots() if isinstance(root.payload, FeedValue)])

    assert answers[0] == LINES[:4]
    assert answers[1] == LINES[:5]


def test_part_between_two_events_is_refused(tmp_path: Path) -> None:
    """A time range in which nothing happens is told, not reported as an empty backtest."""
    config = profile(tmp_path)
    source = BarSource(series(BARS), config)
    stamps = sorted({root.ts for root in source.roots() if root.ts > START_MS})
    gap = next(at for at, later in pairwise(stamps) if later - at > 10)

    with pytest.raises(Refusal, match="nothing in the time range"):
        list(Part(source, Span(gap + 1, gap + 3), 50).roots())
