"""Performance report: each figure reckoned by hand, each line of it, and the fixed data's file."""

from __future__ import annotations

import csv
import fnmatch
import io
import re
import tomllib
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from minibot.accounting.performance import Performance
from minibot.engine.recorded_run import Recorded
from minibot.events.model import Event, Fill, MarketTick, Payload, RunOpening
from minibot.events.money import UNIT, parse_amount
from minibot.events.unit_sizes import HOUR_MS
from minibot.report.performance_report import TEMPLATES, PerformanceReport, ReportSpan
from minibot.report.span_meter import SpanMeter, sharpe_ratio
from minibot.runtime.manifest import Manifest
from tests.report.made_run import made_run
from tests.report.nights import opened
from tests.runs import PROJECT, ShortRun, verb

EXAMPLES = PROJECT / "tests" / "fixtures" / "reports"
RUN_ID = "20260105_220000"


@pytest.fixture(scope="module")
def var(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `var` with the run of fixed data."""
    folder = tmp_path_factory.mktemp("made") / "var"
    made_run(folder)
    return folder


def event(ts: int, payload: Payload) -> Event:
    """Return an event of a payload."""
    return Event(ts, "id", "role", RUN_ID, "hash", payload)


def tick(mid: int) -> MarketTick:
    """Return a tick with a mid."""
    bid, ask = str(mid - 1), str(mid + 1)
    facts = {"symbol": "BTCUSDT", "price": bid, "kind": "quote", "recv_mono_ns": 1}
    touch = {"bid": bid, "ask": ask, "bid_qty": "1", "ask_qty": "1"}
    found = MarketTick.from_json(facts | touch)
    assert isinstance(found, MarketTick)
    return found


def traded(from_ts: int = 0, to_ts: int = 4 * HOUR_MS) -> SpanMeter:
    """Return the meter of one trade over four hours: bought at 100, marked 110 and 90, sold at 90.

    A fee of 1 each; the mid was 99 at the purchase and 91 at the sale.
    """
    performance = Performance(RunOpening({"USDT": "1000"}, (), {}), "USDT")
    meter = SpanMeter(performance, from_ts, to_ts)
    facts = ("c", "BTCUSDT")
    bought = Fill("o", *facts, "BUY", "1", "100", "1", "USDT", "TAKER", bid="98", ask="100")
    sold = Fill("o", *facts, "SELL", "1", "90", "1", "USDT", "TAKER", bid="90", ask="92")
    steps: list[tuple[int, MarketTick | Fill]] = [
        (HOUR_MS, tick(100)),
        (HOUR_MS, bought),
        (2 * HOUR_MS, tick(110)),
        (3 * HOUR_MS, tick(90)),
        (3 * HOUR_MS + HOUR_MS // 2, sold),
    ]
    for ts, payload in steps:
        if isinstance(payload, Fill):
            performance.on_fill(payload, ts)
        else:
            performance.on_tick(payload)
        meter.look(ts, payload if isinstance(payload, Fill) else None)
    meter.close(4 * HOUR_MS)
    return meter


@pytest.mark.row("C-105", "C-106")
def test_figures_of_one_trade_are_those_reckoned_by_hand() -> None:
    """Equity 1000, 999, 1009, 989, 988; 100 held for an hour, 110 for an hour, 90 for half one."""
    meter = traded()

    assert meter.lines == tuple(map(Decimal, ("-8", "-2", "-2", "-12")))
    assert meter.levels == [each * UNIT for each in (1000, 1000, 999, 1009, 988)]
    assert meter.drawdown_max == 21 * UNIT
    assert abs(meter.drawdown_bps - Decimal(210_000) / 1009) < Decimal("1e-9")
    assert meter.hit_rate == 0
    assert meter.exposure_mean == parse_amount("63.75")
    assert meter.exposure_weighted_return is not None
    assert abs(meter.exposure_weighted_return + Decimal(12) / Decimal("63.75")) < Decimal("1e-9")


@pytest.mark.row("C-106")
def test_span_begins_with_the_equity_before_it_and_holds_its_own_fills_alone() -> None:
    """From the second to the third hour: 999 becomes 1009; 100 was held in it, nothing traded."""
    meter = traded(HOUR_MS + 1, 3 * HOUR_MS - 1)

    assert meter.lines.raw == 10
    assert meter.lines.fees == meter.lines.slippage == 0
    assert meter.trips == []
    assert meter.hit_rate is None
    assert meter.drawdown_max == 0


@pytest.mark.row("C-106")
def test_deepest_fall_in_money_need_not_be_the_deepest_of_equity() -> None:
    """A fall of 200 from 1000 is deeper as a share than one of 300 from 2000."""
    performance = Performance(RunOpening({"USDT": "1000"}, (), {}), "USDT")
    meter = SpanMeter(performance, 0, HOUR_MS)
    bought = Fill("o", "c", "BTCUSDT", "BUY", "10", "100", "0", "USDT", "TAKER")
    performance.on_fill(bought, 1)
    meter.look(1, bought)
    for ts, mid in enumerate((100, 80, 200, 170), 2):
        performance.on_tick(tick(mid))
        meter.look(ts)

    assert meter.drawdown_max == 300 * UNIT
    assert meter.drawdown_bps == 2000


@pytest.mark.parametrize("mid", [90, 110])
def test_span_values_a_carried_position_by_its_first_mark_from_the_beginning(mid: int) -> None:
    """Until its first mark it was worth that mark: it neither fell nor rose in this span."""
    lot = {"symbol": "BTCUSDT", "qty": "1", "price": "100", "ts": 1, "fill_id": "before"}
    performance = Performance(RunOpening({"USDT": "1000"}, (lot,), {}), "USDT")
    meter = SpanMeter(performance, 0, 2 * HOUR_MS)
    meter.look(0)
    performance.on_tick(tick(mid))
    meter.look(HOUR_MS)
    meter.close(2 * HOUR_MS)

    assert meter.levels == [(1000 + mid) * UNIT] * 3
    assert meter.exposure_mean == mid * UNIT
    assert meter.drawdown_max == 0
    assert meter.lines.raw == 0


def test_sharpe_is_annualised_from_hourly_returns() -> None:
    """Ten returns of 2 % and 0 in turn: mean 1 %, deviation 1 % * sqrt(10/9): sqrt(0.9 * 8760)."""
    levels = [50**6]
    for number in range(10):
        levels.append(levels[-1] * (51 if number % 2 else 50) // 50)

    found = sharpe_ratio(levels)

    assert found is not None
    assert abs(found - Decimal(7884).sqrt()) < Decimal("1e-9")


@pytest.mark.row("C-106")
@pytest.mark.parametrize(
    "levels",
    [[], [1], [100 + n % 2 for n in range(10)], [100] * 20, [0, *range(1, 20)]],
    ids=["nothing", "one", "nine returns", "no deviation", "nothing left"],
)
def test_sharpe_is_silent_where_it_would_mean_nothing(levels: list[int]) -> None:
    """Below ten returns, without deviation, and for equity of nothing there is no figure."""
    assert sharpe_ratio(levels) is None


def test_nothing_held_gives_no_exposure_weighted_return() -> None:
    """A run that never held anything has no exposure to weigh by."""
    performance = Performance(RunOpening({"USDT": "1000"}, (), {}), "USDT")
    meter = SpanMeter(performance, 0, HOUR_MS)

    meter.close(HOUR_MS)

    assert meter.exposure_weighted_return is None
    assert meter.exposure_mean == 0


@pytest.mark.row("C-106")
def test_whole_span_of_a_night_has_the_figures_of_its_summary(short_run: ShortRun) -> None:
    """P&L, fees, drawdown and trades are those that metrics and screen show."""
    figures = opened(short_run).count.performance.to_json()

    found = verb(short_run.var, "report", "--performance", "--json").document

    assert found["raw_pnl"] == figures["pnl"]
    assert Decimal(found["fees"]) == -Decimal(figures["fees"])
    assert found["drawdown_max"] == figures["drawdown_max"]
    assert abs(Decimal(found["drawdown_bps"]) - Decimal(figures["drawdown_bps_max"])) < 1
    assert found["trades"] == figures["round_trips"]
    assert abs(Decimal(found["hit_rate"]) - Decimal(figures["win_rate"])) <= Decimal("0.0001")


@pytest.mark.row("C-107", "C-110", "C-114")
@pytest.mark.parametrize("form", ["md", "csv"])
def test_report_of_fixed_data_is_the_file_on_record(form: str, var: Path, tmp_path: Path) -> None:
    """The same bytes on standard output, in --outfile, and in the file on record."""
    out = tmp_path / f"performance.{form}"
    words = ("report", RUN_ID, "--performance", "--format", form)

    shown, written = verb(var, *words), verb(var, *words, "--outfile", str(out))

    assert (shown.code, written.code) == (0, 0)
    assert out.read_bytes() == (EXAMPLES / out.name).read_bytes()
    assert shown.out == out.read_text(encoding="utf-8")


@pytest.mark.row("C-114")
def test_example_has_the_sums_of_its_fills(var: Path) -> None:
    """A second count by plain decimals from the fixed data: fees and slippage of eight fills."""
    recorded = Recorded.open(var / "runs" / RUN_ID)
    fills = [each.payload.to_json() for _, each in recorded.events("fills")]

    found = verb(var, "report", RUN_ID, "--performance", "--json").document

    assert len(fills) == 8
    assert Decimal(found["fees"]) == -sum(Decimal(each["fee"]) for each in fills)
    slipped = sum(
        Decimal(each["qty"]) * abs(Decimal(each["ask"]) + Decimal(each["bid"]) - 2 * price) / 2
        for each in fills
        for price in (Decimal(each["price"]),)
    )
    assert Decimal(found["slippage"]) == -slipped
    lines = ("spec_pnl", "slippage", "fees")
    assert sum(Decimal(found[name]) for name in lines) == Decimal(found["raw_pnl"])
    assert found["hours"] == 12
    assert found["sharpe"] is not None


@pytest.mark.row("C-105")
@pytest.mark.parametrize("form", ["md", "csv"])
@pytest.mark.parametrize("kinds", [("fees",), ("slippage",), ("fees", "slippage")])
def test_toggles_leave_out_exactly_their_lines(
    kinds: tuple[str, ...], form: str, var: Path
) -> None:
    """Every other line stays to the byte, the result among them."""
    words = ("report", RUN_ID, "--performance", "--format", form)
    whole = verb(var, *words).out.splitlines()

    lines = verb(var, *words, *(f"--no-{kind}" for kind in kinds)).out.splitlines()

    begun = tuple(f"{kind}," if form == "csv" else f"| {kind} |" for kind in kinds)
    assert lines == [line for line in whole if not line.startswith(begun)]
    assert len(whole) - len(lines) == len(kinds)


@pytest.mark.row("C-107")
def test_span_is_told_with_the_times_that_were_asked_for(var: Path) -> None:
    """The end is excluded, and still 04:30:00 is told as 04:30:00."""
    words = ("report", RUN_ID, "--performance", "--from", "04:00", "--to", "04:30")

    markdown, table = verb(var, *words).out, verb(var, *words, "--format", "csv").out
    begin, end = (re.findall(rf"{name}_utc,(.*)", table)[0] for name in ("from", "to"))

    assert (begin[-8:], end[-8:]) == ("04:00:00", "04:30:00")
    assert f"{begin} to {end} UTC" in markdown


@pytest.mark.row("C-107")
def test_spans_beside_each_other_add_up_to_the_whole(var: Path) -> None:
    """Up to 04:00 and from then on: results, fees and trades of both make those of all."""
    words = ("report", RUN_ID, "--performance", "--json")

    whole = verb(var, *words).document
    parts = [
        verb(var, *words, "--to", "04:00").document,
        verb(var, *words, "--from", "04:00").document,
    ]

    for name in ("raw_pnl", "fees", "slippage", "spec_pnl"):
        assert sum(Decimal(part[name]) for part in parts) == Decimal(whole[name])
    assert sum(part["trades"] for part in parts) == whole["trades"]
    assert [part["hours"] for part in parts] == [6, 6]
    assert parts[0]["to_ts"] + 1 == parts[1]["from_ts"]
    assert all(part["sharpe"] is None for part in parts)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--performance", "--from", "03:00", "--to", "23:00"), "23:00 is not after 03:00"),
        (("--performance", "--from", "03:00", "--to", "03:00"), "is not after"),
        (("--portfolio", "--to", "22:00"), "nothing of this run is before"),
        (("--performance", "--from", "15:00"), "is not a time of this run"),
        (("--performance", "--from", "noon"), "is not a time"),
        (("--performance", "--portfolio"), "not allowed with"),
        (("--to", "23:00"), "--to belongs to --performance"),
        (("--outfile", "x.md"), "--outfile belongs to --performance"),
        (("--zone", "Europe/Berlin"), "--zone belongs to --performance"),
        (("--format", "csv"), "--format belongs to --performance"),
        (("--no-fees",), "--no-fees belongs to --performance"),
        (("--no-slippage", "--html"), "--no-slippage belongs to --performance"),
        (("--portfolio", "--no-fees"), "--no-fees belongs to --performance"),
        (("--performance", "--out", "x.html"), "--out belongs to the report of a whole run"),
        (("--portfolio", "--html"), "--html belongs to the report of a whole run"),
        (("--performance", "--full"), "--full belongs to the report of a whole run"),
        (("--performance", "--outfile", "no/such/folder/x.md"), "was not written"),
        (("--performance", "--outfile", "."), "is a folder"),
        (("--portfolio", "--outfile", "."), "is a folder"),
        (("--portfolio", "--outfile", ".."), "is a folder"),
        (("--portfolio", "--outfile", "/"), "is a folder"),
        (("--portfolio", "--outfile", ""), "is a folder"),
        (("--out", "."), "is a folder"),
        (("--out", "/"), "is a folder"),
    ],
)
def test_span_or_file_that_cannot_be_is_refused(
    words: tuple[str, ...], said: str, var: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong word is exit 2 with a sentence, and writes nothing."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    found = verb(var, "report", RUN_ID, *words)

    assert found.code == 2
    assert said in " ".join(found.err.split())
    assert list(tmp_path.rglob("*")) == [here]


@pytest.mark.row("C-110")
def test_templates_are_shipped_and_their_words_are_the_report(var: Path) -> None:
    """Each fixed line of a template stands in its report, and the package takes the file along."""
    packed = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = packed["tool"]["setuptools"]["package-data"]["minibot"]
    whole = Recorded.open(var / "runs" / RUN_ID)
    span = ReportSpan(whole.manifest.clock_origin_ms, whole.manifest.clock_origin_ms + HOUR_MS)
    report = PerformanceReport.of(whole, span)

    for form in ("md", "csv"):
        path = TEMPLATES / f"perf_report.{form}.tmpl"
        fixed = [line for line in path.read_text(encoding="utf-8").splitlines() if "$" not in line]
        lines = report.text(form).splitlines()

        assert fixed
        assert all(line in lines for line in fixed)
        name = path.relative_to(PROJECT / "minibot").as_posix()
        assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
    assert any(fnmatch.fnmatch("report/sectors.v1.json", pattern) for pattern in patterns)


def test_csv_is_two_columns_whatever_the_names_hold(var: Path) -> None:
    """A list of symbols is one cell."""
    text = verb(var, "report", RUN_ID, "--performance", "--format", "csv").out

    rows = list(csv.reader(io.StringIO(text)))

    assert {len(row) for row in rows} == {2}
    assert dict(rows)["symbols"] == "BTCUSDT, ETHUSDT, DOGEUSDT, ABCUSDT"


def test_report_of_a_universe_names_the_symbols_that_had_prices(tmp_path: Path) -> None:
    """The manifest's list is where a live night looks first; the universe may choose others."""
    run_dir = made_run(tmp_path)
    made = Manifest.load(run_dir)
    chosen = dict(made.config, universe={"mode": "dynamic"})
    replace(made, symbols=("LISTEDUSDT",), config=chosen).write(run_dir)

    found = verb(tmp_path, "report", RUN_ID, "--performance", "--json").document

    assert found["symbols"] == sorted(made.symbols)
