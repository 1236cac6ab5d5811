"""Portfolio report: what is held and why, its pictures, and the files of the fixed data."""

from __future__ import annotations

import copy
import csv
import io
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from minibot.engine.recorded_run import Recorded
from minibot.events.model import MarketTick
from minibot.events.names import INCIDENTS, MARKET_ROLE
from minibot.events.unit_sizes import MINUTE_MS
from minibot.kernel.queue import make_queue, open_reader, open_writer
from minibot.report.held_positions import holdings_at, sector_of, sectors_known
from minibot.report.holdings_pictures import matrix_svg, pie_svg
from minibot.report.minute_returns import PAIRS_MIN, MinuteReturns
from minibot.report.portfolio_report import COLUMNS
from tests.report.made_run import made_run, read_fixture
from tests.runs import PROJECT, Completed, verb

EXAMPLES = PROJECT / "tests" / "fixtures" / "reports"
RUN_ID = "20260105_220000"
END_MS = 1 << 42
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def var(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `var` with the run of fixed data."""
    folder = tmp_path_factory.mktemp("made") / "var"
    made_run(folder)
    return folder


def portfolio(var: Path, *words: str) -> Completed:
    """Return the answer of the report."""
    return verb(var, "report", RUN_ID, "--portfolio", *words)


def positions(var: Path, *words: str) -> dict[str, dict[str, Any]]:
    """Return the positions of the report by symbol."""
    return {each["symbol"]: each for each in portfolio(var, *words, "--json").document["positions"]}


@pytest.mark.row("C-108", "C-111", "C-112", "C-114")
@pytest.mark.parametrize("form", ["md", "csv"])
def test_report_of_fixed_data_and_its_pictures_are_the_files_on_record(
    form: str, var: Path, tmp_path: Path
) -> None:
    """Report and both SVG files have the same bytes each time, those on record."""
    out = tmp_path / f"portfolio.{form}"

    numbers = [portfolio(var, "--format", form, "--outfile", str(out)).code for _ in range(2)]

    assert numbers == [0, 0]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {out.name, "portfolio.correlations.svg", "portfolio.sectors.svg"}
    for name in names:
        assert (tmp_path / name).read_bytes() == (EXAMPLES / name).read_bytes(), name


@pytest.mark.row("C-111")
def test_table_has_every_column_for_every_position(var: Path) -> None:
    """Quantity, value, sector, beta, correlation, horizon, alerts and exit status are filled in."""
    rows = list(csv.DictReader(io.StringIO(portfolio(var, "--format", "csv").out)))

    assert tuple(rows[0]) == COLUMNS
    assert [row["symbol"] for row in rows] == ["ABCUSDT", "DOGEUSDT", "ETHUSDT"]
    abc, doge, eth = rows
    assert (eth["quantity"], eth["mark"], eth["value"]) == (
        "1.00000000",
        "2453.00000000",
        "2453.00000000",
    )
    assert eth["unrealised"] == "-46.00000000"
    assert (abc["sector"], doge["sector"], eth["sector"]) == ("-", "memes", "smart contracts")
    assert eth["horizon"] == "2026-01-06 22:00:00"
    assert doge["alerts"] == "bars_missing"
    assert "stop 2,505.00 (stop_loss), target 2,600.00 (take_profit)" in eth["exit_status"]
    assert "armed: hard stop, entry stop, break-even" in eth["exit_status"]
    assert abc["exit_status"] == "rests: OCO 9.80 and 10.40"
    assert doge["exit_status"] == "no plan"


@pytest.mark.row("C-108")
def test_to_shows_what_was_held_then(var: Path) -> None:
    """At 22:30 BTC was held and ABC was not; the plan of ETH is the one told first."""
    held = positions(var, "--to", "22:30")

    assert list(held) == ["BTCUSDT", "DOGEUSDT", "ETHUSDT"]
    assert held["ETHUSDT"]["quantity"] == "2.00000000"
    assert held["ETHUSDT"]["exit_status"].startswith("stop 2,450.00")
    assert held["DOGEUSDT"]["alerts"] == []
    assert held["BTCUSDT"]["beta"] == "1.0000"


def test_nothing_held_is_said_and_the_pictures_are_still_drawn(var: Path, tmp_path: Path) -> None:
    """Before the first fill all is cash."""
    out = tmp_path / "p.md"

    assert portfolio(var, "--to", "22:01", "--outfile", str(out)).code == 0

    assert "| nothing is held |" in out.read_text(encoding="utf-8")
    assert "cash: 100.0 %" in (tmp_path / "p.sectors.svg").read_text(encoding="utf-8")


def test_run_without_the_benchmark_has_no_beta(tmp_path: Path) -> None:
    """Without BTCUSDT there is nothing to hold it against: a dash, not a guess."""
    data = copy.deepcopy(read_fixture())
    del data["prices"]["BTCUSDT"]
    data["events"] = [e for e in data["events"] if e["payload"].get("symbol") != "BTCUSDT"]
    made_run(tmp_path / "var", data)

    held = positions(tmp_path / "var")

    assert {each["beta"] for each in held.values()} == {None}
    assert {each["correlation_to_benchmark"] for each in held.values()} == {None}


@pytest.mark.parametrize(
    ("result", "said"),
    [("CANCELLED", "no plan"), ("TRIGGERED", "rests: ")],
)
def test_exit_order_is_told_as_long_as_it_can_leave_the_position(
    result: str, said: str, tmp_path: Path
) -> None:
    """A cancelled one protects nothing; a triggered stop with a limit waits for its price."""
    data = copy.deepcopy(read_fixture())
    answer = next(e for e in data["events"] if e["type"] == "order_result")
    data["events"].append(
        {**answer, "minute": 120, "payload": answer["payload"] | {"result": result}}
    )
    made_run(tmp_path / "var", data)

    assert positions(tmp_path / "var")["ABCUSDT"]["exit_status"].startswith(said)


def test_sale_at_the_market_does_not_rest(tmp_path: Path) -> None:
    """It waits for no price: between its acceptance and its fill it is on its way."""
    data = copy.deepcopy(read_fixture())
    order = next(e for e in data["events"] if e["payload"].get("order_type") == "OCO")["payload"]
    order["order_type"] = "MARKET"
    del order["stop_price"], order["target_price"]
    made_run(tmp_path / "var", data)

    assert positions(tmp_path / "var")["ABCUSDT"]["exit_status"] == "on its way: MARKET"


def test_outfile_inside_the_run_is_refused(var: Path) -> None:
    """A report never changes what a seal covers."""
    inside = var / "runs" / RUN_ID / "manifest.json"
    before = inside.read_bytes()

    assert portfolio(var, "--outfile", str(inside)).code == 2
    assert inside.read_bytes() == before


def test_triggered_alerts_are_those_of_the_span(var: Path) -> None:
    """Incidents before --from are left out; a pipe in a detail breaks no table."""
    late = portfolio(var, "--from", "02:00").out

    assert (
        "| market_role | connection_lost | 1 | closed by the server: 1006 \\| no reason |" in late
    )
    assert "bars_missing" not in late


def test_alerts_of_a_run_whose_launcher_was_killed_stand_in_its_parts(tmp_path: Path) -> None:
    """Until the next start has merged them an incident is only in its role's part."""
    run_dir = made_run(tmp_path / "var")
    queues = run_dir / "queues"
    merged = holdings_at(Recorded.open(run_dir), 0, END_MS).alerts
    with closing(open_reader(queues, INCIDENTS)) as reader:
        lines = [line.json for line in reader.read(9)]
    (queues / INCIDENTS).rename(tmp_path / INCIDENTS)
    make_queue(queues, INCIDENTS, None, parts=(MARKET_ROLE,))
    with closing(open_writer(queues, INCIDENTS, part=MARKET_ROLE, sync=False)) as writer:
        writer.append_json(lines)

    found = holdings_at(Recorded.open(run_dir), 0, END_MS).alerts

    assert len(found) == 2
    assert found == merged


# --- beta and correlation -----------------------------------------------------------------------


def moved(returns: list[Decimal], other: list[Decimal]) -> MinuteReturns:
    """Return the moves of two symbols, A and B, by their returns minute by minute."""
    found = MinuteReturns()
    for symbol, each in (("A", returns), ("B", other)):
        price = Decimal(1_000_000)
        for minute, change in enumerate([Decimal(0), *each]):
            price = (price * (1 + change)).quantize(Decimal("1e-8"))
            text = f"{price:f}"
            facts = {"symbol": symbol, "price": text, "kind": "quote", "recv_mono_ns": 1}
            touch = {"bid": text, "ask": text, "bid_qty": "1", "ask_qty": "1"}
            tick = MarketTick.from_json(facts | touch)
            assert isinstance(tick, MarketTick)
            found.on_tick(tick, minute * MINUTE_MS)
    return found


def test_beta_and_correlation_are_those_reckoned_by_hand() -> None:
    """A moves twice as far as B, against it: beta -2, correlation -1."""
    other = [Decimal(n % 3 - 1) / 1000 for n in range(12)]

    moves = moved([-2 * each for each in other], other)

    beta, correlation = moves.beta("A", "B"), moves.correlation("A", "B")
    assert beta is not None
    assert correlation is not None
    assert abs(beta + 2) < Decimal("1e-4")
    assert abs(correlation + 1) <= Decimal("1e-4")
    assert moves.correlation("B", "B") == 1


@pytest.mark.parametrize("count", [PAIRS_MIN - 1, PAIRS_MIN])
def test_too_few_minutes_give_no_figure(count: int) -> None:
    """Nine shared returns tell nothing, ten do."""
    other = [Decimal(n % 3 - 1) / 1000 for n in range(count)]
    moves = moved(other, other)

    assert (moves.beta("A", "B") is None) == (count < PAIRS_MIN)
    assert (moves.correlation("A", "B") is None) == (count < PAIRS_MIN)


def test_benchmark_that_stands_still_gives_no_beta() -> None:
    """There is no slope over nothing."""
    still = [Decimal(0)] * 12
    moves = moved([Decimal(n % 3 - 1) / 1000 for n in range(12)], still)

    assert moves.beta("A", "B") is None
    assert moves.correlation("A", "B") is None


# --- sectors and pictures -----------------------------------------------------------------------


def test_sector_comes_from_the_shipped_map_and_an_unknown_one_is_a_dash() -> None:
    """The map knows every symbol of the shipped universe's kind; what it lacks is not guessed."""
    assert sector_of("BTCUSDT", "USDT") == "store of value"
    assert sector_of("NOSUCHUSDT", "USDT") == "-"
    assert all(sectors_known().values())


@pytest.mark.row("C-112")
def test_matrix_is_valid_svg_with_a_cell_for_each_pair() -> None:
    """Names are text, no figure is a dash, and the same values give the same bytes."""
    names = ["A&B", "<C>"]
    values = {(a, b): None if a != b else Decimal(1) for a in names for b in names}

    drawn = matrix_svg(names, values, "Title & <more>")

    root = ElementTree.fromstring(drawn)
    cells = [rect for rect in root.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert root.tag == f"{SVG}svg"
    assert len(cells) == 4
    assert texts.count("1.00") == texts.count("-") == 2
    assert "A&B" in texts
    assert drawn == matrix_svg(names, dict(reversed(values.items())), "Title & <more>")


@pytest.mark.row("C-112")
def test_pie_is_valid_svg_whose_slices_are_the_shares() -> None:
    """A quarter ends at three o'clock; nothing has no slice; one name alone is a circle."""
    root = ElementTree.fromstring(pie_svg({"a": 25, "b": 75, "none": 0}, "Pie"))
    alone = ElementTree.fromstring(pie_svg({"a": 7}, "Pie"))

    paths = [path.get("d") or "" for path in root.iter(f"{SVG}path")]
    titles = [each.findtext(f"{SVG}title") for each in root.iter(f"{SVG}path")]
    assert titles == ["a: 25.0 %", "b: 75.0 %"]
    assert paths[0] == "M130 160 L130.00 50.00 A110 110 0 0 1 240.00 160.00 Z"
    assert " 0 1 1 " in paths[1]
    assert len(list(alone.iter(f"{SVG}circle"))) == 1
    assert not list(alone.iter(f"{SVG}path"))
    assert "nothing" in pie_svg({}, "Pie")
