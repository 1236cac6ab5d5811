"""`minibot profit`: earnings of all runs of one `var`."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from minibot.engine.recorded_run import Recorded
from minibot.events.reasons import ATOMICITY_VIOLATION
from minibot.kernel.files import read_hashed, write_hashed
from minibot.report.closed_trades import GROUPS, read_trades
from minibot.report.night import Night
from minibot.report.run_facts import night_facts
from minibot.runtime.manifest import Manifest
from tests.report.made_run import made_run, read_fixture
from tests.runs import ShortRun, verb


@pytest.mark.row("N-78")
def test_profit_of_two_runs_is_the_sum_of_what_each_wrote(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """Profit of two runs is the exact sum; simulated runs are marked, missing figures explained."""
    run = short_run.run_dir
    runs = tmp_path / "var" / "runs"
    names = ("20251120_000000", "20251121_000000", "20251122_000000")
    manifest = Manifest.load(run)
    for name in names:
        (runs / name).mkdir(parents=True)
        replace(manifest, run_id=name).write(runs / name)
        shutil.copy2(run / "metrics.json", runs / name)
    figures = read_hashed(run / "metrics.json")
    lost = {"round_trips": 2, "wins": 0, "fees": "0.20000000", "pnl": "-1.10000001"}
    changed = {**figures, "performance": {**figures["performance"], **lost}}
    del changed["sha256"]
    write_hashed(runs / names[1] / "metrics.json", changed)
    (runs / names[2] / "metrics.json").unlink()

    done = verb(tmp_path / "var", "profit", "--json")
    shown = verb(tmp_path / "var", "profit")

    assert done.code == shown.code == 0
    (both,) = done.document["together"]
    assert (both["data"], both["quote_asset"]) == ("simulated", "USDT")
    first = figures["performance"]
    assert Decimal(both["result"]) == Decimal(first["pnl"]) + Decimal("-1.10000001")
    assert int(both["trades"]) == first["round_trips"] + 2
    assert [row["result"] is None for row in done.document["runs"]] == [False, False, True]
    assert f"{names[2]}: no figures" in shown.out
    assert "together, simulated: " in shown.out
    assert names[1] in shown.out


@pytest.mark.row("N-78")
@pytest.mark.parametrize("state", ["interrupted", "stopped"])
@pytest.mark.parametrize("missing", ["lines", "market_ticks", ""])
def test_figures_of_before_the_end_are_shown_as_none(
    short_run: ShortRun, tmp_path: Path, state: str, missing: str
) -> None:
    """A run that broke off may have figures of seconds before: neither verb takes them as final."""
    run_dir = tmp_path / "var" / "runs" / short_run.run_id
    shutil.copytree(short_run.run_dir, run_dir, copy_function=shutil.copy)
    seal = read_hashed(run_dir / "seal.json")
    write_hashed(run_dir / "seal.json", {**seal, "extra": {**seal["extra"], "state": state}})
    figures = read_hashed(run_dir / "metrics.json")
    early = {
        "lines": {"lines": {**figures["lines"], "fills": figures["lines"]["fills"] - 1}},
        "market_ticks": {"market_ticks": {**figures["market_ticks"], "beat": 0}},
        "": {},
    }
    write_hashed(run_dir / "metrics.json", figures | early[missing])

    (earned,) = verb(tmp_path / "var", "profit", "--json").document["runs"]
    (listed,) = verb(tmp_path / "var", "runs", "--json").document["runs"]

    wanted = None if missing else figures["performance"]["pnl"]
    assert earned["result"] == listed["result"] == wanted
    assert ("no figures" in earned["trouble"]) is bool(missing)


@pytest.mark.parametrize("flags", [("profit",), ("profit", "--by", "pair"), ("runs",)])
def test_older_runs_beyond_the_number_are_counted_as_left_out(
    short_run: ShortRun, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """A sum of the newest runs is not taken for that of all."""
    manifest, runs = Manifest.load(short_run.run_dir), tmp_path / "var" / "runs"
    for name in ("20251120_000000", "20251121_000000", "20251122_000000"):
        (runs / name).mkdir(parents=True)
        replace(manifest, run_id=name).write(runs / name)

    newest, whole = (verb(tmp_path / "var", *flags, "-n", number) for number in ("1", "3"))

    assert newest.out.endswith("2 older runs left out; with them: -n 3\n")
    assert "older run" not in whole.out
    assert verb(tmp_path / "var", *flags, "-n", "1", "--json").document["older"] == 2


def test_profit_without_runs_says_so(tmp_path: Path) -> None:
    """An empty `var` is not an error of profit."""
    (tmp_path / "var").mkdir(mode=0o700)

    done = verb(tmp_path / "var", "profit")

    assert done.code == 0
    assert "no result" in done.out


@pytest.mark.row("N-78")
@pytest.mark.parametrize("by", GROUPS)
def test_profit_by_group_adds_up_to_the_closed_trades_of_the_run(
    short_run: ShortRun, by: str
) -> None:
    """Each group's result and fees add up to those of the run's own list of trades."""
    night = Night.open(short_run.run_dir)
    trips = [trip.to_json() for trip in night.count.trades.trips if trip.is_closed]

    done = verb(short_run.var, "profit", "--by", by, "--json")
    shown = verb(short_run.var, "profit", "--by", by)

    assert done.code == shown.code == 0
    groups = done.document["groups"]
    assert trips
    assert sum(Decimal(group["result"]) for group in groups) == sum(
        Decimal(trip["net"]) for trip in trips
    )
    assert sum(group["trades"] for group in groups) == len(trips)
    assert {(group["data"], group["quote_asset"]) for group in groups} == {("simulated", "USDT")}
    assert all(group["group"] in shown.out for group in groups)


def test_trades_of_a_run_are_the_same_from_its_facts_and_from_its_queues(
    short_run: ShortRun,
) -> None:
    """A run whose report was deleted has the same trades, with the same reasons, as before."""
    kept = night_facts(Night.open(short_run.run_dir))["trades"]

    read = read_trades(Recorded.open(short_run.run_dir))

    assert [trade.to_json() for trade in read] == kept
    assert all(trade.entered and trade.left for trade in read)


def test_profit_of_a_damaged_run_names_it_and_shows_the_others(
    short_run: ShortRun, stopped_run: ShortRun, tmp_path: Path
) -> None:
    """A run whose fills are damaged is left out by name; it is no reason to show nothing."""
    var = tmp_path / "var"
    for run in (short_run, stopped_run):
        copied = var / "runs" / run.run_id
        shutil.copytree(run.run_dir, copied, copy_function=shutil.copy)
        (copied / "report" / "facts.json").unlink(missing_ok=True)
    fills = next((var / "runs" / stopped_run.run_id / "queues" / "fills").glob("inbox*.jsonl"))
    fills.write_bytes(fills.read_bytes().replace(b'"qty"', b'"QTY"'))

    done = verb(var, "profit", "--by", "pair", "--json")

    assert done.code == 0
    assert [each["run_id"] for each in done.document["left_out"]] == [stopped_run.run_id]
    assert done.document["groups"]


@pytest.mark.parametrize("by", [(), ("--by", "pair")])
def test_run_without_a_seal_is_no_damaged_one(
    short_run: ShortRun, tmp_path: Path, by: tuple[str, ...]
) -> None:
    """A run that goes on has no final figures yet: it is named with the verb that counts so far."""
    run_dir = tmp_path / "var" / "runs" / short_run.run_id
    unsealed = shutil.ignore_patterns("seal.json", "metrics.json", "report")
    shutil.copytree(short_run.run_dir, run_dir, ignore=unsealed, copy_function=shutil.copy)

    done = verb(tmp_path / "var", "profit", *by)

    assert done.code == 0
    assert "not sealed yet; minibot report --var " in done.out
    assert f" {run_dir.name} counts it so far" in done.out
    assert ATOMICITY_VIOLATION not in done.out


def test_copy_of_a_run_is_named_and_counts_once(short_run: ShortRun, tmp_path: Path) -> None:
    """A renamed copy has earned nothing of its own, run by run and by group."""
    runs = tmp_path / "var" / "runs"
    for name in (short_run.run_id, "good_night"):
        shutil.copytree(short_run.run_dir, runs / name, copy_function=shutil.copy)

    answer = verb(tmp_path / "var", "profit", "--json").document
    grouped = verb(tmp_path / "var", "profit", "--by", "pair", "--json").document

    results = {row["run_id"]: row["result"] for row in answer["runs"]}
    assert results["good_night"] is None
    assert answer["together"][0]["result"] == results[short_run.run_id]
    assert [each["run_id"] for each in grouped["left_out"]] == ["good_night"]
    assert sum(each["trades"] for each in grouped["groups"]) == answer["together"][0]["trades"]


@pytest.mark.parametrize(("start_from", "gap"), [("carry", "2"), ("fresh", None)])
def test_move_of_carried_positions_between_runs_is_part_of_the_account(
    tmp_path: Path, start_from: str, gap: str | None
) -> None:
    """Each result begins at its run's first marks: what moved before is in none, but in equity."""
    data, names = read_fixture(), ("20260105_220000", "20260106_220000")
    equities = (("10000", "9998"), ("10000", "9999"))
    for name, before, (start, end) in zip(names, (None, names[0]), equities, strict=True):
        run_dir = made_run(tmp_path, {**data, "run_id": name, "from_run": before})
        manifest = Manifest.load(run_dir)
        portfolio = {**manifest.config["portfolio"], "start_from": start_from}
        (run_dir / "manifest.json").unlink()
        replace(manifest, config={**manifest.config, "portfolio": portfolio}).write(run_dir)
        pnl = str(Decimal(end) - Decimal(start))
        figures = {"equity_start": start, "equity": end, "pnl": pnl, "fees": "0"}
        performance = {**figures, "round_trips": 0, "wins": 0}
        write_hashed(run_dir / "metrics.json", {"performance": performance}, generation=1)

    done = verb(tmp_path, "profit")
    rows = verb(tmp_path, "profit", "--json").document["runs"]

    assert [row["between"] for row in rows] == [None, gap]
    assert "together, simulated: -3.00 USDT" in done.out
    text = "and 2.00 USDT between runs, by positions that were carried: -1.00 USDT in all"
    assert (text in done.out) is (gap is not None)


def test_since_counts_from_the_start_of_a_run(short_run: ShortRun) -> None:
    """A run that began before the moment is left out; a moment that is none is refused."""
    later = verb(short_run.var, "profit", "--since", "2100-01-01", "--json")
    earlier = verb(short_run.var, "profit", "--since", "2000-01-01", "--json")
    none = verb(short_run.var, "profit", "--since", "yesterday")

    assert later.document["runs"] == []
    assert short_run.run_id in {row["run_id"] for row in earlier.document["runs"]}
    assert none.code == 2
    assert "is not a moment" in none.err


@pytest.mark.parametrize("by", [(), ("--by", "day")], ids=["runs", "groups"])
def test_zone_that_is_none_is_refused(short_run: ShortRun, by: tuple[str, ...]) -> None:
    """A mistyped zone would show times of another one."""
    done = verb(short_run.var, "profit", "--zone", "Nonsense", *by)

    assert done.code == 2
    assert "is not a time zone" in done.err


def test_zone_is_that_of_the_begin_and_of_since(short_run: ShortRun) -> None:
    """A run began at another clock in Tokyo, and --since says that clock, to the second."""
    zone, started_ms = ZoneInfo("Asia/Tokyo"), Manifest.load(short_run.run_dir).started_ms
    began = datetime.fromtimestamp(started_ms // 1000, zone).replace(tzinfo=None)
    words = ("profit", "--zone", zone.key)

    shown = verb(short_run.var, *words, "--since", str(began))
    later = verb(short_run.var, *words, "--since", str(began + timedelta(seconds=1)))

    assert f"began ({zone.key})" in shown.out
    assert str(began) in shown.out
    assert short_run.run_id in shown.out
    assert short_run.run_id not in later.out
