"""Kept backtests: found, shown unchanged, compared, pruned; damage is named."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from minibot.backtest.report import store
from minibot.backtest.report.documents import document_of, files_of, unchanged
from minibot.backtest.report.kept_comparison import compare, differences_of, figure_rows
from minibot.backtest.report.review import Review
from minibot.events.model import JsonObject
from minibot.kernel.errors import Refusal
from minibot.runtime.paths import Var
from tests.backtest.markets import bar_profile
from tests.backtest.results import HOUR, Trip, made
from tests.runs import verb

WON = Trip(HOUR, 2 * HOUR, "100", "150")
LOST = Trip(3 * HOUR, 4 * HOUR, "150", "130")


def keep(var: Path, *trips: Trip, seed: int = 1) -> Path:
    """Keep a backtest and return its folder."""
    result = made(trips, digest=f"{len(trips)}" * 64)
    result.config = {**result.config, "seed": seed}
    document = document_of({"touch": Review.of(result)}, ["generator:1"])
    return store.keep(document, "<p>page</p>", Var(var))


def aged(folder: Path, seconds: int) -> None:
    """Change the age of a kept backtest."""
    path = folder / store.RESULT_FILE
    os.utime(path, (1_700_000_000 + seconds,) * 2)


def test_kept_backtest_reads_as_it_did(var_dir: Path) -> None:
    """`show` prints the kept document's tables; `--json` prints the document itself."""
    folder = keep(var_dir, WON, LOST)

    done = verb(var_dir, "backtests", "show", folder.name)
    assert done.code == 0
    assert re.search(r"win rate +50\.00 %", done.out)
    document = json.loads(verb(var_dir, "backtests", "show", "latest", "--json").out)
    assert document["digest"] == "2" * 64
    assert [trade["net"] for trade in document["trades"]] == ["0.30000000", "-0.40000000"]


def test_keeping_the_same_twice_changes_no_byte(var_dir: Path) -> None:
    """A backtest kept twice has the same bytes, without time or count."""
    first = {path.name: path.read_bytes() for path in keep(var_dir, WON).iterdir()}
    second = {path.name: path.read_bytes() for path in keep(var_dir, WON).iterdir()}

    assert first == second
    assert sorted(first) == ["report.html", "result.json"]


def test_list_has_every_backtest_and_names_damage(var_dir: Path) -> None:
    """A changed byte is found by the file's sha256; the other backtests are listed as usual."""
    good, bad = keep(var_dir, WON), keep(var_dir, WON, LOST)
    path = bad / store.RESULT_FILE
    path.write_bytes(path.read_bytes().replace(b'"trades":2', b'"trades":3', 1))

    done = verb(var_dir, "backtests")
    assert done.code == 0
    assert good.name in done.out
    assert "damaged" in done.out
    listed = json.loads(verb(var_dir, "backtests", "list", "--json").out)["backtests"]
    assert {each["id"]: each["trouble"] is None for each in listed} == {
        good.name: True,
        bad.name: False,
    }
    refused = verb(var_dir, "backtests", "show", bad.name)
    assert refused.code == 2
    assert "sha256 is wrong" in refused.err


def test_backtest_is_found_by_a_part_of_its_id_that_is_its_own(var_dir: Path) -> None:
    """A backtest is found by a unique part of its id; a shared part is refused with both ids."""
    first, second = keep(var_dir, WON), keep(var_dir, WON, LOST)

    assert store.find_kept(first.name[-8:], Var(var_dir)).name == first.name
    with pytest.raises(Refusal, match="fits several backtests") as refusal:
        store.find_kept("nore", Var(var_dir))
    assert first.name in str(refusal.value)
    assert second.name in str(refusal.value)
    assert verb(var_dir, "backtests", "show", "nothing").code == 2
    assert verb(var_dir, "backtests", "show").code == 2


def test_comparison_says_what_differs_and_which_is_better(var_dir: Path) -> None:
    """A comparison lists each difference of settings, decisions and figures, and no more."""
    first, second = keep(var_dir, WON), keep(var_dir, WON, LOST, seed=7)

    done = verb(var_dir, "backtests", "compare", first.name, second.name)
    assert done.code == 0
    assert "decisions different; the same data; the same dates; 1 setting different" in done.out
    found = json.loads(verb(var_dir, "backtests", "compare", first.name, second.name, "--json").out)
    assert found["settings"] == {"seed": ["1", "7"]}
    assert found["figures"]["pnl"] == {
        "values": ["0.30000000", "-0.10000000"],
        "difference": "-0.40000000",
    }
    (row,) = [line for line in done.out.splitlines() if line.startswith("  result ")]
    assert row.split()[1:] == ["+0.30", "-0.10", "-0.40", "A"]
    # Smaller fees are better.
    (row,) = [line for line in done.out.splitlines() if line.startswith("  fees  ")]
    assert row.split()[1:] == ["0.20", "0.40", "+0.20", "A"]


def test_backtest_compared_with_itself_differs_in_nothing(var_dir: Path) -> None:
    """A backtest compared with itself shows no difference."""
    document = store.find_kept(keep(var_dir, WON).name, Var(var_dir)).document
    found = compare(document, document)

    assert (found["same_decisions"], found["same_data"], found["settings"]) == (True, True, {})
    for figure in found["figures"].values():
        assert figure["difference"] is None or float(figure["difference"]) == 0


def test_money_of_two_quote_assets_is_not_compared() -> None:
    """A result in yen is no better than one in dollars by its number; its return may be."""
    first, second = (
        {**document_of({"touch": Review.of(made([trip]))}, ["generator:1"]), "quote_asset": asset}
        for trip, asset in ((WON, "USDT"), (LOST, "JPY"))
    )

    found, rows = compare(first, second), {row[0]: row[1:] for row in figure_rows(first, second)}

    for key in ("pnl", "fees", "equity", "net_max", "drawdown_max", "notional"):
        assert found["figures"][key]["difference"] is None
    assert found["figures"]["return"]["difference"] is not None
    assert rows["result"][2:] == ["-", ""]
    assert rows["return"][3] == "A"
    assert "money in USDT and in JPY" in differences_of(first, second)
    assert "money" not in " ".join(differences_of(first, first))


def test_made_markets_of_two_rates_are_not_the_same_data() -> None:
    """A seed makes another market at another rate, though no file differs."""
    slow, unnamed, fast = (
        document_of({"touch": Review.of(made(config=with_rate(rate)))}, ["generator:1"])
        | {"sources": ["generator:1"]}
        for rate in (20, None, 50)
    )

    assert compare(slow, unnamed)["same_data"]
    assert not compare(slow, fast)["same_data"]
    assert not compare(unnamed, fast)["same_data"]


def with_rate(rate: int | None) -> JsonObject:
    """Return the demo's profile with messages at a rate; None for no section that names one."""
    raw = bar_profile().raw
    embedded = None if rate is None else {**raw["embedded"], "rate_per_s": rate}
    return {**raw, "embedded": embedded}


def test_runs_without_a_seal_are_not_the_same_data() -> None:
    """Two runs that never ended have no hash in common, though both lack one."""
    first, second = (
        {
            **document_of({"touch": Review.of(made())}, ["generator:1"]),
            "files": {name: {name: ""}},
            "root": None,
        }
        for name in ("one", "other")
    )

    assert not compare(first, second)["same_data"]


def test_figures_of_a_backtest_have_no_exponent() -> None:
    """A sum of nothing is written with its places, not as 0E-8."""
    figures = document_of({"touch": Review.of(made())}, ["generator:1"])["figures"]

    assert figures["pnl_before_fees"] == "0.00000000"


def test_prune_leaves_the_newest(var_dir: Path) -> None:
    """Pruning removes older backtests with all their files and keeps the newest."""
    folders = [keep(var_dir, WON, seed=seed) for seed in (1, 2, 3)]
    for at, folder in enumerate(folders):
        aged(folder, at)

    assert verb(var_dir, "backtests", "prune", "--keep", "2").code == 0
    assert [folder.exists() for folder in folders] == [False, True, True]
    assert verb(var_dir, "backtests", "prune", "--keep", "-1").code == 2


def test_files_behind_a_source_are_named_by_their_sha256(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source's files are named by sha256: one, a folder, several; a synthetic market has none."""
    (tmp_path / "a.csv").write_text("a")
    (tmp_path / "b.csv").write_text("b")
    sha_a = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"

    assert files_of(f"klines:{tmp_path / 'a.csv'}") == {"a.csv": sha_a}
    assert files_of(f"klines:{tmp_path / 'a.csv'},{tmp_path / 'b.csv'}")["a.csv"] == sha_a
    assert sorted(files_of(f"klines:{tmp_path}")) == ["a.csv", "b.csv"]
    assert files_of("generator:7") == {}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7").write_text("no source of anything")
    assert files_of("generator:7") == {}
    assert list(files_of("tape:demo")) == ["btcusdt_20240808.gz"]


def test_file_whose_path_has_a_comma_is_named_and_watched(tmp_path: Path) -> None:
    """A folder such as `data, 2024` is one path, not a list of two that do not exist."""
    path = tmp_path / "data, 2024" / "a.csv"
    path.parent.mkdir()
    path.write_text("a")
    word = f"klines:{path}"

    assert list(files_of(word)) == ["a.csv"]
    assert list(files_of(f"columns:{path.parent}")) == ["a.csv"]
    changed = pytest.raises(Refusal, match="changed while it was read")
    with changed, unchanged([word], bar_profile().raw):
        path.write_text("another")


def test_list_says_what_was_run_and_which_rows_decided_the_same(var_dir: Path) -> None:
    """Strategy, pairs and changes; a backtest with another seed made the same trades."""
    first, second, third = (
        keep(var_dir, WON),
        keep(var_dir, WON, seed=7),
        keep(var_dir, WON, LOST),
    )
    for seconds, folder in enumerate((first, second, third)):
        aged(folder, seconds)

    done = verb(var_dir, "backtests")
    listed = json.loads(verb(var_dir, "backtests", "--json").out)["backtests"]
    same = {each["id"]: each["same_decisions_as"] for each in listed}

    assert same == {first.name: [], second.name: [first.name], third.name: []}
    assert f"same decisions as {first.name}" in " ".join(done.out.split())
    assert {each["strategy"] for each in listed} == {"nore_strategy_v1"}
    assert "pairs BTCUSDT" in " ".join(done.out.split())


def test_show_of_two_backtests_is_their_comparison(var_dir: Path) -> None:
    """`show A B` prints two side by side."""
    first, second = keep(var_dir, WON), keep(var_dir, WON, LOST)

    shown = verb(var_dir, "backtests", "show", first.name, second.name)

    assert shown.code == 0
    assert shown.out == verb(var_dir, "backtests", "compare", first.name, second.name).out
