"""Every page in a real Chromium: on a phone, in the dark, in print; skipped where there is none."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from minibot.backtest.report import store
from minibot.backtest.report.comparison_page import page as page_of_both
from minibot.backtest.report.drawn_sections import DrawnSections
from minibot.backtest.report.sides import backtest_side, run_side
from minibot.events.money import UNIT
from minibot.report.html import page as night_page
from minibot.report.records import read_record
from minibot.runtime.paths import Var
from tests.backtest.results import HOUR, Trip, made, many
from tests.backtest.test_report_pages import page as backtest_page
from tests.backtest.test_report_pages import told
from tests.report.nights import opened, with_incident, with_stop
from tests.runs import ShortRun
from tools.chromium import Chromium, found_chromium
from tools.page_pictures import BYTES_MAX, MEASURE, draw, measured, narrowest

MUST_PX, GOAL_PX = 390, 360
PRINTED_PX = 720
# A label of 11 px has a box of 12 to 14.
LABEL_PX_MIN = 10.0
# What stands in for an exchange names all its symbols in one word.
LONG_WORD = "generator:1:BTCUSDT,ETHUSDT,BNBUSDT,SOLUSDT,XRPUSDT,ADAUSDT,LINKUSDT,LTCUSDT"
LUMINANCE = """
(() => {
  const shades = getComputedStyle(document.body);
  const value = text => {
    const parts = text.match(/[\\d.]+/g).slice(0, 3).map(Number).map(
      c => c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const paper = value(shades.backgroundColor);
  const ratios = [];
  for (const e of document.querySelectorAll('p, td, th, h1, h2, small, summary, .tile *')) {
    const own = value(getComputedStyle(e).color);
    ratios.push((Math.max(own, paper) + 0.05) / (Math.min(own, paper) + 0.05));
  }
  return {paper, contrast: Math.min(...ratios)};
})()
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """One browser for all tests of this file."""
    path = found_chromium()
    if path is None:
        pytest.skip("no chromium on this machine; Debian: apt-get install chromium")
    with Chromium(path) as found:
        yield found


@pytest.fixture(scope="module")
def pages(short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A night with everything that goes wrong, and backtests with every part of the page."""
    folder = tmp_path_factory.mktemp("pages")
    night = with_stop(with_incident(opened(short_run), "connection_lost", "closed"), "RISK_LIMIT")
    night.manifest.config["embedded"]["source"] = LONG_WORD
    texts = {
        "night": night_page(night),
        "one": _page_of_two_symbols(),
        "many": backtest_page(*told(many(400, 190), many(399, 190), many(398, 190))),
        "none": backtest_page(*told(made(days=2))),
    }
    found = []
    for name, text in texts.items():
        found.append(folder / f"{name}.html")
        found[-1].write_text(text, encoding="utf-8")
    found.append(folder / "both.html")
    found[-1].write_text(_night_beside_backtest(short_run, folder), encoding="utf-8")
    return found


def _night_beside_backtest(short_run: ShortRun, folder: Path) -> str:
    """Return the page of a night beside a backtest with other trades, lines and a long name."""
    reviews, about = told(made([Trip(HOUR, 2 * HOUR, "61813.57", "61900.01", symbol="PEPEUSDT")]))
    charts = DrawnSections.of(reviews["touch"]).charts
    kept = store.find_kept(store.keep(about, "", Var(folder), charts).name, Var(folder))
    run = run_side(read_record(short_run.run_dir), opened(short_run))
    return page_of_both(run, backtest_side(kept))


def _page_of_two_symbols() -> str:
    """Return the page of two symbols with lines, large prices, tiny ones and long codes."""
    trips = [
        Trip(HOUR, 2 * HOUR, "61813.57", "61900.01", entry="reversion_oversold"),
        Trip(3 * HOUR, 4 * HOUR, "61850.12", "61800.90", exit="stop_loss_after_a_long_wait"),
        Trip(5 * HOUR, 6 * HOUR, "0.00001234", "0.00001300", symbol="PEPEUSDT", qty="1000000"),
        Trip(7 * HOUR, None, "61700.00", "0"),
    ]
    result = made(trips)
    result.closes = {
        "BTCUSDT": (61_813 * UNIT, 61_700 * UNIT),
        "PEPEUSDT": (1234, 1300),
    }
    ends = [result.from_ts + n * HOUR for n in range(1, 24)]
    result.lines = {
        "BTCUSDT": {
            "slow average": [(ts, 61_800.0 + n) for n, ts in enumerate(ends)],
            "rsi": [(ts, 30.0 + n) for n, ts in enumerate(ends)],
        }
    }
    return backtest_page(*told(result))


@pytest.mark.parametrize("width", [MUST_PX, GOAL_PX])
def test_no_page_scrolls_sideways_or_breaks_a_word_on_a_phone(
    chromium: Chromium, pages: list[Path], width: int
) -> None:
    """With all that is folded opened; figures stand on one line, labels can be read."""
    for path in pages:
        found = measured(chromium, path, width)

        assert found.scroll <= width, path.name
        assert found.over == (), path.name
        assert found.broken == (), path.name
        assert found.label >= LABEL_PX_MIN, path.name


def test_narrowest_window_is_at_most_the_goal(chromium: Chromium, pages: list[Path]) -> None:
    """Figure U5."""
    least = narrowest(chromium, [*pages[:2], pages[-1]])

    assert least is not None
    assert least <= GOAL_PX


def test_pages_follow_the_readers_colours_and_print_on_white(
    chromium: Chromium, pages: list[Path]
) -> None:
    """Black on white or white on black, every text with a contrast of 4.5; paper stays white."""
    for path in (*pages[:2], pages[-1]):
        for scheme, media, is_dark in (
            ("light", "screen", False),
            ("dark", "screen", True),
            ("dark", "print", False),
        ):
            chromium.show(path, 1000, media=media, prefers_color_scheme=scheme)
            found = chromium.ask(LUMINANCE)

            assert (found["paper"] < 0.5) == is_dark, (path.name, scheme, media)
            assert found["contrast"] >= 4.5, (path.name, scheme, media)


def test_nothing_is_cut_in_print(chromium: Chromium, pages: list[Path]) -> None:
    """On paper nothing can be scrolled, so every column has to be on the sheet."""
    for path in pages:
        chromium.show(path, PRINTED_PX, media="print")
        found = chromium.ask(MEASURE)

        assert found["scroll"] <= PRINTED_PX, path.name
        assert found["over"] == [], path.name
        assert found["broken"] == [], path.name


def test_machine_details_are_folded_and_come_last(chromium: Chromium, pages: list[Path]) -> None:
    """A reader meets result, price and round trips first, and hashes when asked for."""
    order = "[...document.querySelectorAll('h2')].map(h => h.textContent)"
    shut = "document.querySelector('details.machine').open"
    last = "document.querySelector('main').lastElementChild.className"
    for path in pages:
        chromium.show(path, 1000)
        names = chromium.ask(order)
        first = ["Price with entries and exits", "Round trips"]

        assert names[:2] == (["Figures", first[0]] if path.stem == "both" else first)
        assert names[-1] == "Proof"
        assert chromium.ask(shut) is False
        assert chromium.ask(last) == "machine"


@pytest.mark.row("C-105")
def test_boxes_hide_exactly_the_lines_of_fees_and_slippage(
    chromium: Chromium, pages: list[Path]
) -> None:
    """A click on a box hides its line and no other; a second click shows it again."""
    seen = (
        "[...document.querySelectorAll('.pnl tr')].filter(r => r.offsetHeight)"
        ".map(r => r.className)"
    )
    everything = ["", "slippage", "fees", "total"]
    chromium.show(pages[0], 1000)

    assert chromium.ask(seen) == everything
    for kind in ("slippage", "fees"):
        click = f"document.querySelector('label[for=no-{kind}]').click()"
        chromium.ask(click)
        assert chromium.ask(seen) == [each for each in everything if each != kind]
        chromium.ask(click)
        assert chromium.ask(seen) == everything


def test_pictures_of_both_pages_are_drawn_small(
    chromium: Chromium, pages: list[Path], tmp_path: Path, project: Path
) -> None:
    """Those of the README and fresh ones: all together under 400 KB, in the sizes they claim."""
    drawn = list(draw(chromium, pages[0], pages[1], tmp_path))
    kept = [project / "docs" / "pictures" / path.name for path in drawn]

    for paths in (drawn, kept):
        assert sum(path.stat().st_size for path in paths) <= BYTES_MAX
        assert [_size(path) for path in paths] == [(1000, 780), (390, 844)] * 2


def _size(path: Path) -> tuple[int, int]:
    """Return the size of a PNG in pixels."""
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    return width, height
