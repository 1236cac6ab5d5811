"""Tables and page of a backtest with no trade, one or thousands: bounded, nothing from outside."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest

from minibot.backtest.report import drawn_sections, tables
from minibot.backtest.report.curves import band_of, equity_curve, named_values
from minibot.backtest.report.documents import document_of
from minibot.backtest.report.drawn_sections import DrawnSections
from minibot.backtest.report.page import page as drawn_page
from minibot.backtest.report.review import Review
from minibot.engine.run_result import BacktestResult
from minibot.events.model import JsonObject
from minibot.kernel import canonical
from minibot.report import columns
from minibot.report.columns import filled, table_lines
from tests.backtest.results import DAY, HOUR, START, Trip, made, many
from tests.report.markup import Balance

WON = Trip(HOUR, 2 * HOUR, "100", "150")
LOST = Trip(3 * HOUR, 4 * HOUR, "150", "130", entry="reversion_oversold", exit="stop_loss")
PAGE_BYTES_MAX = 2_000_000
WIDTH = 100


def told(*results: BacktestResult) -> tuple[dict[str, Review], JsonObject]:
    """Return reviews by assumption and the document of them."""
    names = ("touch", "worse", "queue")
    reviews = {name: Review.of(result) for name, result in zip(names, results, strict=False)}
    return reviews, document_of(reviews, ["generator:1"])


def page(reviews: dict[str, Review], document: JsonObject) -> str:
    """Return the page of reviews, with the sections drawn of the first one."""
    return drawn_page(reviews, document, DrawnSections.of(next(iter(reviews.values()))))


RESULTS = {
    "no trade": lambda: made(days=200),
    "no market": lambda: made(equity=[], prices={}, to_ts=START),
    "one trade": lambda: made([WON]),
    "one open": lambda: made([Trip(HOUR, None, "100", "0")]),
    "two": lambda: made([WON, LOST], days=20),
    "stopped": lambda: made([LOST], stop="RISK_LIMIT"),
    "many": lambda: many(400, 190),
}


@pytest.mark.parametrize("name", RESULTS)
def test_tables_fit_a_hundred_columns_and_the_page_is_whole(name: str) -> None:
    """Every result can be read in a terminal of a hundred columns and in a browser."""
    reviews, document = told(RESULTS[name]())
    text = page(reviews, document)
    parsed = Balance(text)

    for kind in (None, "day", "week", "month"):
        assert max(map(len, tables.lines(document, kind))) <= WIDTH
    assert parsed.stack == []
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    names = {name for name, _ in parsed.attributes}
    assert not {"src", "href", "srcset", "onclick", "onload", "style"} & names
    assert not re.search(r"\bnan\b|\binf\b|None", text.split("</style>")[1])


def test_close_up_of_a_day_also_marks_the_exit_of_a_trade_of_the_day_before() -> None:
    """It counts the trades that were opened in the day, and marks the exits of both days'."""
    overnight = WON._replace(opened=20 * HOUR, closed=DAY + 2 * HOUR)
    next_day = WON._replace(opened=DAY + 5 * HOUR, closed=DAY + 6 * HOUR)
    prices = DrawnSections.of(Review.of(made([overnight, next_day], days=2))).prices

    second = prices.split("day of 2025-01-02")[1]
    marks = {kind: re.findall(rf'class="{kind}" d="([^"]*)"', second) for kind in ("entry", "won")}

    assert second.startswith(": 1 trade<")
    # The picture is drawn wide and narrow.
    assert [path.count("M") for path in marks["entry"]] == [1, 1]
    assert [path.count("M") for path in marks["won"]] == [2, 2]


@pytest.mark.slow
def test_page_of_six_months_and_five_thousand_trades_is_small_and_complete() -> None:
    """A page of five thousand trades is under two megabytes and says what it leaves out."""
    reviews, document = told(many(5000, 184))
    text = page(reviews, document)

    assert len(text.encode()) < PAGE_BYTES_MAX
    assert "The first 4,000 are left out here" in text
    assert len(document["trades"]) == 5000


def test_equal_results_give_equal_bytes() -> None:
    """Equal results give equal bytes: no clock, no path, no accidental order."""
    first, second = (told(many(50, 30), many(49, 30)) for _ in range(2))

    assert canonical.encode(first[1]) == canonical.encode(second[1])
    assert page(*first) == page(*second)


def test_hostile_names_reach_the_page_as_text() -> None:
    """A source or reason that looks like markup is shown as text."""
    evil = '<script>alert("x")</script>'
    text = page(*told(made([WON._replace(entry=evil, symbol=evil)], sources=(evil,))))

    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_document_has_no_float_and_names_what_it_is_made_of() -> None:
    """A document is canonical: money and ratios are decimal strings, and its inputs are named."""
    _, document = told(made([WON, LOST], days=20))

    assert canonical.decode(canonical.encode(document)) == document
    assert document["id"].startswith("nore-demo_20250101_20250121_")
    assert document["files"] == {"generator:1": {}}
    assert document["config"]["profile"] == "nore-demo"


def test_best_and_worst_trades_have_their_year_where_there_are_several() -> None:
    """The second of January of one year is not that of the next; within one year none is shown."""
    later = Trip(400 * DAY, 400 * DAY + HOUR, "100", "140")

    several = tables.lines(told(made([WON, LOST, later], days=420))[1])
    one = tables.lines(told(made([WON, LOST], days=20))[1])

    opened = [line.split()[1] for line in several if line.startswith("  BTCUSDT  20")]
    assert opened == ["2025-01-01", "2026-02-05", "2025-01-01"]
    assert [line.split()[1] for line in one if line.startswith("  BTCUSDT  01")] == ["01-01"] * 2


def test_id_changes_with_config_decisions_and_data_and_with_nothing_else() -> None:
    """A backtest's id changes with config, data and decisions, and with nothing else."""
    one = told(made([WON]))[1]["id"]

    assert told(made([WON], elapsed_s=9.0))[1]["id"] == one
    assert told(made([WON], digest="e" * 64))[1]["id"] != one
    assert told(made([WON], sources=("tape:other",)))[1]["id"] != one
    config = {**made().config, "seed": 2}
    assert told(made([WON], config=config))[1]["id"] != one


def test_band_shows_every_assumption_with_the_nights_own_first() -> None:
    """Each assumption's figures are printed, and all equity lies within the band."""
    results = made([WON, LOST], days=20), made([LOST], days=20), made([WON], days=20)
    reviews, document = told(*results)
    shown = "\n".join(tables.lines(document))
    text = page(reviews, document)

    assert shown.startswith(f"Backtest of {document['config']['strategy']['name']} in USDT")
    assert [each["name"] for each in document["band"]] == ["touch", "worse", "queue"]
    assert re.search(r"touch +-0\.10", shown)
    assert re.search(r"worse +-0\.40", shown)
    assert re.search(r"queue +\+0\.30", shown)
    assert 'class="band"' in text
    assert "touch (a night&#x27;s own)" in text
    band = band_of(results)
    assert min(span.low for span in band) == min(r.performance.equity for r in results)
    for span in band:
        assert span.low <= span.high


def test_one_assumption_alone_has_no_band() -> None:
    """One assumption alone shows no band."""
    reviews, document = told(made([WON]))

    assert 'class="band"' not in page(reviews, document)
    assert "By fill assumption" not in "\n".join(tables.lines(document))


def test_equity_curve_keeps_the_deepest_fall_of_thousands_of_points() -> None:
    """A thinned equity curve keeps the deepest drawdown of all points."""
    result = many(3000, 100)
    high, deepest = result.performance.equity_start, 0
    for point in result.equity:
        high = max(high, point.equity)
        deepest = max(deepest, high - point.equity)

    points = equity_curve(result)
    assert len(points) <= 600
    assert max(point.drawdown for point in points) == deepest
    assert points[-1].last == result.performance.equity


def test_named_values_are_those_of_the_signals_and_only_what_moves() -> None:
    """The chart's dots are the checks of the signals; a constant value is left out."""
    result = made([WON, LOST])
    values = named_values(result, "BTCUSDT", 100)

    assert list(values) == ["rsi"]
    assert [(v.ts - START) // HOUR for v in values["rsi"]] == [1, 2, 3, 4]
    assert [v.side for v in values["rsi"]] == ["BUY", "SELL", "BUY", "SELL"]
    assert named_values(result, "ETHUSDT", 100) == {}


@pytest.mark.parametrize(("count", "left"), [(10, ""), (12, "Not drawn: value10, value11.")])
def test_values_beyond_ten_are_named(
    monkeypatch: pytest.MonkeyPatch, count: int, left: str
) -> None:
    """A picture of ten panels does not look as if the strategy had named no more."""
    values = named_values(made([WON, LOST]), "BTCUSDT", 100)["rsi"]
    given = {f"value{n}": values for n in range(count)}
    monkeypatch.setattr(drawn_sections, "named_values", lambda *_: given)

    text = page(*told(made([WON, LOST])))

    assert left in text
    assert ("Not drawn" in text) == bool(left)


def test_best_and_worst_trades_are_in_order_and_on_the_right_side_of_zero() -> None:
    """The best trades begin with the largest gain, the worst with the largest loss."""
    _, document = told(many(300, 30))
    best, worst = tables.best(document["trades"]), tables.worst(document["trades"])

    gains = [Decimal(trade["net"]) for trade in best]
    losses = [Decimal(trade["net"]) for trade in worst]
    assert gains == sorted(gains, reverse=True)
    assert gains == []  # A tenth of a percent never pays two fees of a tenth.
    assert losses == sorted(Decimal(trade["net"]) for trade in document["trades"])[:5]


def test_table_too_wide_breaks_text_and_never_a_figure() -> None:
    """A table that is too wide breaks its widest text first, and never a figure or word."""
    reason = "a reason " * 20
    rows = [["an-id-that-is-typed-again", "1,234,567.89", reason]]
    head, rule, *lines = table_lines(["id", "net", "why"], rows, "", texts=(0, 2), whole=(0,))

    assert max(map(len, (head, rule, *lines))) <= WIDTH
    assert lines[0].startswith("  an-id-that-is-typed-again  1,234,567.89  a reason")
    assert all(line.startswith(" " * 43) for line in lines[1:])
    assert " ".join(line[43:] for line in lines).split() == reason.split()
    assert table_lines(["id"], [], "Nothing.") == ["  Nothing."]


def test_code_too_wide_goes_on_behind_an_underscore() -> None:
    """A code that is too wide breaks behind an underscore, and its parts join to the whole."""
    code = "a_code_" * 20
    _, rule, *lines = table_lines(["code", "net"], [[code, "1.00"]], "")

    assert max(map(len, (rule, *lines))) <= WIDTH
    assert "".join(line[2:94].strip() for line in lines) == code
    assert lines[0].endswith("_   1.00")


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("name", RESULTS)
def test_report_fits_the_terminal_and_says_the_same_in_each(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report fits any terminal without losing a figure or a code."""
    _, document = told(RESULTS[name]())
    whole = tables.lines(document, "day")
    for module in (columns, tables):
        monkeypatch.setattr(module, "width_now", lambda: width)

    lines = tables.lines(document, "day")

    assert max(map(len, lines)) <= width
    assert figures_in(lines) >= figures_in(whole)
    text = "".join("".join(lines).split())
    for trade in tables.best(document["trades"]) + tables.worst(document["trades"]):
        assert trade["entry_reason"] in text


def figures_in(lines: list[str]) -> set[str]:
    """Return every figure in the lines."""
    return set(re.findall(r"(?<!\S)[-+]?\d[\d,]*\.\d+(?!\S)", "\n".join(lines)))


def test_columns_that_may_go_below_do_so_named_where_they_lack_room() -> None:
    """A row with its subject stays one line, however long its codes are."""
    head = ["symbol", "net", "entry", "exit"]
    rows = [["BTCUSDT", "1.00", "reversion_oversold", "stop_loss"]]

    wide, narrow = (
        table_lines(head, rows, "", texts=(0, 2, 3), whole=(0,), below=(2, 3), width=width)
        for width in (80, 45)
    )

    assert wide[2] == "  BTCUSDT  1.00  reversion_oversold  stop_loss"
    assert narrow[2:] == ["  BTCUSDT  1.00", "    entry reversion_oversold, exit stop_loss"]


def test_all_columns_go_below_where_a_row_lacks_room_without_them() -> None:
    """An id that fills a narrow line stands alone, and its figures below are named."""
    head = ["id", "trades", "result", "pairs"]
    rows = [["nore_20250602_20250616_b9c32af4", "628", "-630.72", "BTCUSDT"]]

    lines = table_lines(head, rows, "", texts=(0, 3), whole=(0,), below=(3,), width=40)

    assert max(map(len, lines)) <= 40
    assert lines[0].split() == ["id"]
    assert lines[2:] == [
        f"  {rows[0][0]}",
        "    trades 628, result -630.72, pairs",
        "    BTCUSDT",
    ]


def test_columns_go_below_where_the_texts_of_a_row_lack_room_in_one_line() -> None:
    """A row with columns below it is one line: a text in it that cannot fit goes below too."""
    head = ["pair", "net", "why", "exit"]
    rows = [["BTCUSDT", "123,456.78", "a reason of several words", "stop_loss_of_it"]]

    lines = table_lines(head, rows, "", texts=(0, 2), below=(3,), width=42)

    assert max(map(len, lines)) <= 42
    assert lines[2:] == [
        "  BTCUSDT",
        "    net 123,456.78, why a reason of",
        "    several words, exit stop_loss_of_it",
    ]


def test_columns_move_closer_together_before_one_of_them_leaves_its_row() -> None:
    """The table of exits is one table at 80 columns, with the time held in its row."""
    row = ["trailing_stop", "109", "109", "100 %", "-330.34", "+3.37", "+4.70", "+12.12"]
    row += ["1.34", "139.03", "14.4 h"]

    lines = table_lines(tables.GROUP_HEAD, [row], "", width=80)

    assert max(map(len, lines)) <= 80
    assert [line.split()[-1] for line in lines if "139.03" in line] == ["h"]
    assert "" not in lines


def test_text_is_wrapped_between_words_but_never_before_a_percent_sign() -> None:
    """A figure and its `%` stand on one line at every width that has room for them."""
    for width in range(12, 40):
        lines = filled("a change of -0.32 % and no more", width, "  ", "    ")
        assert max(map(len, lines)) <= width
        assert "-0.32 %" in "\n".join(lines)
        assert " ".join(" ".join(lines).split()) == "a change of -0.32 % and no more"


def test_figures_that_lack_room_follow_as_a_table_of_their_own() -> None:
    """Figures that lack room follow in a table of their own, under the row's name."""
    head = ["", *(f"figure {n}" for n in range(9))]
    rows = [["BTCUSDT", *(f"{n},123,456.78" for n in range(9))]]

    lines = table_lines(head, rows, "", width=80)

    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if "456.78" in line] == ["BTCUSDT"] * 2
    assert [f"{n},123,456.78" in "\n".join(lines) for n in range(9)] == [True] * 9


def test_every_trade_marks_its_entry_and_its_exit_on_the_price() -> None:
    """Every trade has a triangle at entry and exit, with a tip about the trade."""
    text = page(*told(made([WON, LOST])))

    entries = re.search(r'class="entry" d="([^"]*)"', text)
    assert entries is not None
    assert entries[1].count("M") == 2
    assert text.count('class="tip"') == 2
    assert "1: momentum_up 01:00:00 to take_profit 02:00:00, 0.30" in text


def test_lines_are_drawn_on_the_price_or_in_a_panel_of_their_own() -> None:
    """An average shares the price's panel and is named below it; an index has its own scale."""
    result = made([WON, LOST])
    ends = [START + n * HOUR for n in range(24)]
    result.lines = {
        "BTCUSDT": {"average <b>": [(ts, 120.0) for ts in ends], "rsi": [(ts, 30.0) for ts in ends]}
    }
    text = page(*told(result))
    wide = text.split('class="plot-wide"')[1].split("</svg>")[0]

    assert wide.count('class="line line-') == 2
    assert '<span class="line-1">average &lt;b&gt;</span>' in text
    assert ">rsi</text>" in wide
    assert ">average" not in wide


def test_result_stands_beside_market_and_buy_and_hold_everywhere() -> None:
    """Page, terminal and document say the same of the market; without a price they say nothing."""
    result = made([WON])
    result.closes = {"BTCUSDT": (100 * 10**8, 110 * 10**8)}
    reviews, document = told(result)
    shown = "\n".join(tables.lines(document))

    assert document["figures"]["market_change"] == "0.100000"
    assert document["figures"]["hold_return"] == "0.098901"
    assert document["market"]["rule"].startswith("Buy and hold: ")
    assert '<b class="good">+10.00 %</b><span>market change</span>' in page(reviews, document)
    assert re.search(r"market change +BTCUSDT \+10\.00 %", shown)
    assert re.search(r"buy and hold +\+989\.01", shown)
    bare = told(made([WON]))[1]
    assert bare["figures"]["hold_pnl"] is None
    assert "market change BTC" not in "\n".join(tables.lines(bare))


def test_positions_entered_at_a_low_are_counted_everywhere() -> None:
    """Page, terminal and document count them among what was assumed; of none they say nothing."""
    reviews, document = told(made([WON], entered_at_low=2))
    bare_reviews, bare = told(made([WON]))
    count = re.compile(r"2\s+positions\s+opened\s+by\s+a\s+resting\s+order")

    assert document["entered_at_low"] == 2
    assert count.search("\n".join(tables.lines(document)))
    assert count.search(page(reviews, document))
    assert "entered_at_low" not in bare
    assert "at the low" not in "\n".join(tables.lines(bare)) + page(bare_reviews, bare)


def test_reasons_come_the_most_frequent_first_from_a_kept_document_too() -> None:
    """Keeping sorts a document by names; its table is that of the fresh one."""
    fresh = {"HOLD": {"warmup": 3}, "BLOCK": {code: at for at, code in enumerate("hgfedcba")}}
    kept = json.loads(canonical.encode(fresh))

    rows = tables.refusal_rows(kept)

    assert rows == tables.refusal_rows(fresh)
    assert [row[1] for row in rows] == ["warmup", *"abcdef"]


def test_many_days_show_their_newest_and_say_what_is_left_out() -> None:
    """A terminal shows the newest sixty days and says what is left out; --json has all."""
    _, document = told(made(days=100))
    shown = tables.lines(document, "day")

    assert "  The first 40 are left out here; --json has them all." in shown
    assert len(document["breakdown"]["day"]) == 100
    assert document["to_ts"] - document["from_ts"] == DAY * 100


@pytest.mark.parametrize(("days", "left"), [(400, ""), (401, "The first 1 are left out here")])
def test_page_of_many_days_says_what_is_left_out(days: int, left: str) -> None:
    """A table that begins in the middle of the span does not look like all of it."""
    text = page(*told(made(days=days)))
    by_day = text[text.index("By day") : text.index("By week")]

    assert by_day.count("<td") == 400 * len(tables.STRETCH_HEAD)
    assert left in by_day
    assert ("left out" in text) == bool(left)


def test_table_of_trades_has_prices_of_a_cheap_coin_in_full() -> None:
    """Two decimals would tell purchase and sale at one price."""
    times = {"opened_ts": 0, "closed_ts": 1}
    prices = {"entry_price": "0.08710000", "exit_price": "0.09340000"}
    fields = {"number": 1, "symbol": "DOGEUSDT", "net": "1", "return": None}
    reasons = {"entry_reason": "", "exit_reason": ""}

    cells = tables.trade_cells(times | prices | fields | reasons)

    assert cells[4:6] == ["0.0871", "0.0934"]


def test_campaign_is_one_trade_with_its_steps_on_the_page() -> None:
    """Two purchases and two sales are one row; each order stands below with price and reason."""
    later = Trip(2 * HOUR, 4 * HOUR, "90", "130", entry="own_rule", exit="stop_loss")
    first = Trip(HOUR, 3 * HOUR, "100", "150", exit="ladder_target", qty="0.02")
    reviews, document = told(made([first, later, WON._replace(opened=5 * HOUR, closed=6 * HOUR)]))

    assert [trade["fills"] for trade in document["trades"]] == [4, 2]
    steps = document["trades"][0]["steps"]
    assert [(one["side"], one["qty"], one["price"], one["because"]) for one in steps] == [
        ("BUY", "0.02000000", "100.00000000", "momentum_up"),
        ("BUY", "0.01000000", "90.00000000", "own_rule"),
        ("SELL", "0.02000000", "150.00000000", "ladder_target"),
        ("SELL", "0.01000000", "130.00000000", "stop_loss"),
    ]
    assert "steps" not in document["trades"][1]
    shown = page(reviews, document)
    assert "Steps of 1 trade in parts" in shown
    assert shown.count(">own_rule<") == 1
