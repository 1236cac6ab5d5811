"""Changed keys of a profile, and the sum over the nights that count."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from minibot.engine.recorded_run import Recorded
from minibot.events.unit_sizes import DAY_MS
from minibot.kernel.files import write_hashed
from minibot.replay.diff import recorded_side, span_of
from minibot.report import night_sum as night_sums
from minibot.report.choices import OVERLAYS, changed_keys, changed_words, differing
from minibot.report.closed_trades import DAY, ClosedTrade, TradeSum, group_of, sums_by
from minibot.report.figures import change
from minibot.report.night_sum import night_sum, sum_lines
from minibot.report.records import FACTS_FILE, RunRecord, facts_of, read_record
from minibot.report.run_facts import market_of
from minibot.runtime.configuration.config import load_config
from minibot.runtime.manifest import Manifest
from minibot.runtime.runfiles import METRICS_FILE
from tests.report.nights import opened
from tests.runs import PROJECT, ShortRun, verb

NORE = PROJECT / "config" / "nore.v1.json"


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ((), ""),
        (("seed=7",), ""),
        (
            ("risk.stop_atr_mult=null", "strategy.name=rsi_band", "strategy.parameters.period=7"),
            "parameters.period=7 risk.stop_atr_mult=null",
        ),
    ],
)
def test_changed_keys_are_those_that_a_person_would_have_to_set_again(
    sets: Sequence[str], words: str
) -> None:
    """The night's own values are none, nor what decides nothing; the strategy's come first."""
    config = load_config(NORE, sets).raw

    assert changed_words(config) == words
    assert len(changed_keys(config)) == len(words.split())


@pytest.mark.parametrize("name", OVERLAYS)
def test_key_of_a_shipped_profile_is_no_change_of_a_person(name: str) -> None:
    """A run of a shipped profile as it is has changed nothing; one key set is one change."""
    path = PROJECT / "config" / f"{name}.v1.json"

    assert changed_words(load_config(path).raw) == ""
    assert changed_words(load_config(path, ["portfolio.cash=20000"]).raw) == "portfolio.cash=20000"


def test_many_changed_keys_are_counted_and_none_is_lost_in_the_document() -> None:
    """A line stays a line."""
    sets = [f"strategy.{key}=7" for key in ("rsi_period", "ema_fast", "atr_period", "return_bars")]
    sets += [f"execution.{side}_fee_bps=1" for side in ("maker", "taker")]
    sets += ["risk.stop_atr_mult=2", "risk.take_profit_atr_mult=2", "portfolio.cash=5000"]
    config = load_config(NORE, sets).raw

    assert changed_words(config).endswith(" and 1 more")
    assert len(changed_keys(config)) == 9


def test_key_that_one_profile_lacks_is_named_as_absent() -> None:
    """An optional key is a difference too."""
    assert differing({"a": {"b": None}}, {"a": {"c": True}}) == {
        "a.b": ("null", "absent"),
        "a.c": ("absent", "true"),
    }


def counted_run(run: ShortRun, folder: Path, pnl: str, fees: str) -> RunRecord:
    """Return a record as a real night's, accepted, with an id and figures of its own."""
    folder.mkdir()
    figures = {"pnl": pnl, "fees": fees, "round_trips": 3, "wins": 2}
    figures |= {"equity_start": "1000", "equity": str(1000 + Decimal(pnl))}
    write_hashed(folder / METRICS_FILE, {"performance": figures}, generation=1)
    record = read_record(run.run_dir)
    assert record.manifest is not None
    seal = {**record.seal, "extra": {**record.seal["extra"], "state": "sealed"}}
    manifest = replace(
        record.manifest,
        run_id=folder.name,
        simulated=False,
        config={**record.manifest.config, "embedded": None, "mode": "NORE"},
    )
    return replace(
        record,
        run_dir=folder,
        manifest=manifest,
        seal=seal,
        acceptance={"counts_as_night": True, "verdict": "PASS"},
    )


def test_sum_adds_the_nights_that_count_and_no_others(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated money is never added to real, nor a copy; two nights of one day are one day."""
    monkeypatch.setattr(RunRecord, "is_real", property(lambda self: not self.manifest.simulated))
    nights = [
        counted_run(short_run, tmp_path / "a", "1.50", "0.40"),
        counted_run(short_run, tmp_path / "b", "-2.00", "0.60"),
    ]
    copied = replace(nights[1], run_dir=tmp_path / "a")
    found = night_sum([*nights, copied, read_record(short_run.run_dir)])

    assert (found["nights"], found["days"], found["others"]) == (2, 1, 2)
    sums = {"result": "-0.50", "fees": "1.00", "between": "0", "trades": 6, "won": 4}
    assert found["sums"] == {"USDT": sums}
    assert "result -0.50 USDT after fees of 1.00, 4 of 6 trades won" in sum_lines(found)


def test_sum_tells_what_carried_positions_moved_between_its_nights(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The move before a night's first marks is in no night's result."""
    monkeypatch.setattr(RunRecord, "is_real", property(lambda self: True))
    monkeypatch.setattr(night_sums, "_from_run", lambda record: {"b": "a"}.get(record.run_id))
    nights = [counted_run(short_run, tmp_path / name, "1.50", "0.40") for name in ("a", "b")]

    found = night_sum(nights)

    assert found["sums"]["USDT"]["between"] == "-1.50"
    assert f"  and -1.50 USDT {night_sums.BETWEEN}" in sum_lines(found)


def test_night_without_figures_is_named_and_not_taken_for_zero(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost file must not look like a night without a trade."""
    monkeypatch.setattr(RunRecord, "is_real", property(lambda self: True))
    night = counted_run(short_run, tmp_path / "a", "1.50", "0.40")
    (tmp_path / "a" / METRICS_FILE).unlink()
    found = night_sum([night])

    assert found["nights"] == 1
    assert found["sums"] == {}
    assert found["without_figures"] == ["a"]


def test_runs_say_what_was_run_and_what_came_of_it(short_run: ShortRun) -> None:
    """Strategy, changes, pairs, trades, result and market, in a line and in the document."""
    done = verb(short_run.var, "runs")
    (listed,) = verb(short_run.var, "runs", "--json").document["runs"]
    together = verb(short_run.var, "runs", "show", "latest", short_run.run_id)

    assert listed["strategy"] == "nore_strategy_v1"
    assert listed["symbols"] == ["BTCUSDT"]
    (earned,) = verb(short_run.var, "profit", "--json").document["runs"]
    assert listed["result"] is not None
    assert all(listed[name] == earned[name] for name in ("trades", "fees", "result"))
    assert listed["market_change"] == market_of(opened(short_run)).ratio
    assert f"{change(listed['market_change'])}\n" in done.out
    assert "strategy nore_strategy_v1, pairs BTCUSDT" in " ".join(done.out.split())
    assert together.out.count(short_run.run_id) == 2
    assert "decisions the same; the same data; the same dates" in together.out
    assert "None." in together.out
    alone = verb(short_run.var, "runs", "show", "latest")
    assert alone.code == 0
    assert "strategy" in alone.out
    assert verb(short_run.var, "runs", "show").code == 2
    assert verb(short_run.var, "runs", "--sum").out.startswith("0 accepted nights on 0 days")


def test_run_whose_decisions_equal_those_of_an_earlier_one_says_so(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """The digest is the one that `diff` prints; without its facts a run says what finds them."""
    runs = tmp_path / "runs"
    for name in ("a", "b", "c"):
        folder = runs / name
        folder.mkdir(parents=True)
        for file in ("manifest.json", "seal.json", METRICS_FILE):
            shutil.copy(short_run.run_dir / file, folder)
    for name in ("a", "b"):
        (runs / name / "report").mkdir()
        shutil.copy(short_run.run_dir / "report" / FACTS_FILE, runs / name / "report")

    listed = verb(tmp_path, "runs", "--json").document["runs"]

    assert [each["same_decisions_as"] for each in listed] == [[], ["a"], []]
    assert [each["market_change"] is None for each in listed] == [False, False, True]
    recorded = Recorded.open(short_run.run_dir)
    side, _ = recorded_side(recorded, *span_of(recorded), lambda done, whole: None)
    assert listed[0]["digest"] == side.digest
    text = verb(tmp_path, "runs").out
    assert "same decisions as a" in " ".join(text.split())
    assert "no market change on record: c;" in text


def test_facts_of_another_root_are_none(short_run: ShortRun) -> None:
    """A run's row never shows what was found in another record."""
    record = read_record(short_run.run_dir)

    assert facts_of(record) is not None
    assert facts_of(replace(record, seal={"root": "0" * 64})) is None


def test_sum_of_trades_counts_gains_alone_as_won_and_adds_up_in_parts() -> None:
    """A trade that came out even is not won; two sums together are the sum of all trades."""
    made = [
        ClosedTrade("AUSDT", DAY_MS - 1, closed_ts, fees, net, "e", "x")
        for closed_ts, fees, net in (
            (DAY_MS - 1, "0.1", "2"),
            (DAY_MS, "0.2", "0"),
            (DAY_MS, "0.3", "-0.5"),
            (DAY_MS, "0.4", "0.00000001"),
        )
    ]
    by_day = sums_by(made, group_of(DAY))
    whole = TradeSum()
    for each in by_day.values():
        whole.merge(each)

    assert {name: (each.trades, each.won) for name, each in by_day.items()} == {
        "1970-01-01": (1, 1),
        "1970-01-02": (3, 1),
    }
    assert whole.to_json() == {"trades": 4, "won": 2, "fees": "1.0", "result": "1.50000001"}


def test_runs_of_a_universe_name_the_pairs_that_had_prices(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """The profile's list is where a night looks first; its universe may have chosen others."""
    copied = shutil.copytree(short_run.run_dir, tmp_path / "runs" / short_run.run_id)
    made = Manifest.load(copied)
    chosen = dict(made.config, universe={"mode": "dynamic"})
    replace(made, symbols=("LISTEDUSDT",), config=chosen).write(copied)

    said = verb(tmp_path, "runs", "show", short_run.run_id).out
    (listed,) = verb(tmp_path, "runs", "--json").document["runs"]
    together = verb(tmp_path, "runs", "show", "latest", short_run.run_id).out

    assert listed["symbols"] == ["BTCUSDT"]
    assert "BTCUSDT" in together
    assert "LISTEDUSDT" not in said + together
