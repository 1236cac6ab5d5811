"""Two results on one page: a night beside a backtest, two backtests, and older ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from minibot.backtest.report import store
from minibot.backtest.report.comparison_page import page, paired
from minibot.backtest.report.documents import document_of
from minibot.backtest.report.drawn_sections import DrawnSections
from minibot.backtest.report.kept_charts import CHARTS_FILE, read_charts
from minibot.backtest.report.review import Review
from minibot.backtest.report.sides import backtest_side
from minibot.report.price_chart import Marked
from minibot.report.trades import RoundTrip
from minibot.runtime.paths import Var
from tests.backtest.results import DAY, HOUR, START, Trip, made
from tests.report.markup import Balance
from tests.runs import ShortRun, verb

WON = Trip(HOUR, 2 * HOUR, "100", "150")
LOST = Trip(3 * HOUR, 4 * HOUR, "150.5", "130.25", entry="reversion_oversold", exit="stop_loss")


def keep(var: Path, *trips: Trip, days: int = 1) -> store.Kept:
    """Keep a backtest with its charts."""
    result = made(trips, days=days, digest=f"{len(trips)}" * 64)
    result.lines = {"BTCUSDT": {"average": [(START + HOUR, 101.5), (START + 2 * HOUR, 1e-05)]}}
    review = Review.of(result)
    document = document_of({"touch": review}, ["generator:1"])
    folder = store.keep(document, "<p>page</p>", Var(var), DrawnSections.of(review).charts)
    return store.find_kept(folder.name, Var(var))


def marked(number: int, opened_ts: int, symbol: str = "BTCUSDT") -> Marked:
    """Return a round trip that opened at a time."""
    return Marked(number, RoundTrip(symbol, opened_ts, opened_ts + 1), "entry", "exit")


def test_kept_backtest_is_drawn_as_it_was(tmp_path: Path) -> None:
    """Bars, lines, equity and each trade's exact net come back from what was kept."""
    kept = keep(tmp_path, WON, LOST)
    side = backtest_side(kept)
    result = made([WON, LOST])

    assert side.charts is not None
    assert side.charts.prices == result.prices
    assert side.charts.lines["BTCUSDT"]["average"][1] == (START + 2 * HOUR, 1e-05)
    assert side.charts.curve[-1].last == result.performance.equity
    nets = [trade["net"] for trade in kept.document["trades"]]
    assert [each.trip.to_json()["net"] for each in side.marked] == nets
    assert [each.trip.is_closed for each in side.marked] == [True, True]


def test_a_candle_that_begins_before_the_result_is_kept(tmp_path: Path) -> None:
    """A result within one candle has that candle, and its page is drawn."""
    result = made([WON], digest="a" * 64)
    bars = result.prices["BTCUSDT"]
    result.prices["BTCUSDT"] = bars[:1]
    result.from_ts = bars[0].ts + 1
    review = Review.of(result)
    document = document_of({"touch": review}, ["generator:1"])
    folder = store.keep(document, "<p>page</p>", Var(tmp_path), DrawnSections.of(review).charts)
    side = backtest_side(store.find_kept(folder.name, Var(tmp_path)))

    assert side.charts is not None
    assert side.charts.prices["BTCUSDT"] == bars[:1]
    assert Balance("".join(page(side, side))).stack == []


def test_the_nearest_entries_of_a_symbol_are_taken_for_one_trade() -> None:
    """A trade that only one side made does not shift those after it."""
    first = [marked(1, 0), marked(2, 5_000), marked(3, 90_000, "ETHUSDT")]
    second = [marked(1, 5_500), marked(2, 90_000), marked(3, 200_000)]

    found = [[each and each.number for each in pair] for pair in paired(first, second)]

    assert found == [[1, None], [2, 1], [3, None], [None, 2], [None, 3]]


def test_night_and_backtest_stand_on_one_page(short_run: ShortRun, tmp_path: Path) -> None:
    """From either verb, by either name; both charts, both lists of trades, nothing from outside."""
    kept = keep(tmp_path, WON, LOST)
    for verb_name, words in (
        ("runs", (str(short_run.run_dir), kept.name)),
        ("backtests", (f"run:{short_run.run_dir}", "backtest:latest")),
    ):
        done = verb(tmp_path, verb_name, "show", *words, "--html", "--json")
        text = Path(done.document["page"]).read_text(encoding="utf-8")
        parsed = Balance(text)

        assert done.document["kinds"] == ["simulated run", "backtest"]
        assert parsed.stack == []
        assert text.count('<svg class="plot-wide"') == 4
        assert f"A: {short_run.run_id}" in text
        assert f"B: {kept.name}" in text
        assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    bundle = str(tmp_path / "night.tar.gz")
    assert verb(short_run.var, "bundle", str(short_run.run_dir), "--out", bundle).code == 0
    lines = verb(tmp_path, "runs", "show", str(short_run.run_dir), kept.name).out
    assert verb(tmp_path, "runs", "show", bundle, kept.name).out == lines
    assert "decisions" not in lines.partition("Settings")[0]
    assert "sharpe" not in lines.lower()


def test_results_of_about_the_same_span_share_one_picture_of_equity(tmp_path: Path) -> None:
    """Others keep an axis each: a day beside a month would be a line at the edge."""
    one, same, longer = keep(tmp_path, WON), keep(tmp_path, WON, LOST), keep(tmp_path, days=30)
    pictures = "Equity and drawdown in USDT"

    assert page(backtest_side(one), backtest_side(same)).count(pictures) == 2
    assert page(backtest_side(one), backtest_side(longer)).count(pictures) == 4
    assert one.document["to_ts"] - one.document["from_ts"] == DAY


def test_backtest_kept_without_charts_says_how_to_get_them(tmp_path: Path) -> None:
    """One of an older version, or with a damaged file: its figures and trades stand."""
    kept = keep(tmp_path, WON, LOST)
    (kept.folder / CHARTS_FILE).write_text("{}")

    assert read_charts(kept.folder) is None
    text = page(backtest_side(kept), backtest_side(kept))
    assert "run again, keeps them" in text
    assert "2 trades in both" in text


@pytest.mark.parametrize(
    "words",
    [
        ("runs", "show", "nothing", "latest"),
        ("backtests", "show", "backtest:nothing", "latest"),
        ("backtests", "show", "run:nothing", "latest"),
        ("backtests", "show", "", "latest"),
        ("backtests", "show", "latest", "--html"),
        ("backtests", "--html"),
        ("runs", "--html"),
    ],
)
def test_wrong_names_and_a_page_of_one_are_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    """With one line and the code of a refusal."""
    keep(tmp_path, WON)
    done = verb(tmp_path, *words)

    assert done.code == 2
    assert done.err.startswith("refused: ")
    assert done.err.count("\n") == 1
