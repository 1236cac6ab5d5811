"""Risk bench: one market for all, judged figures, and a reason wherever nothing is measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tools.bench import (
    backtest_peers,
    risk,
    risk_before,
    risk_cases,
    risk_market,
    risk_nights,
    risk_year,
    worker,
)
from tools.bench.__main__ import parser
from tools.bench.backtest_command import Took
from tools.bench.risk import Plan
from tools.risk_storm.__main__ import gates

CLOSES = [10003000000, 10005000000, 9999000000]


def plan(folder: Path, **changes: object) -> Plan:
    """Return a plan of one repetition."""
    return Plan(repeats=1, folder=folder, **changes)  # type: ignore[arg-type]


def test_command_line_names_every_row_of_the_table(tmp_path: Path) -> None:
    """`--only` accepts the rows; the rest is asked as of the other benches."""
    words = ["risk", "--only", "R1", "R8", "--repeats", "2", "--before", "abc", "--json"]
    given = parser().parse_args([*words, "--folder", str(tmp_path), "--data", str(tmp_path)])

    assert (given.only, given.repeats, given.before) == (["R1", "R8"], 2, "abc")
    assert list(risk.MEASURES) == [f"R{n}" for n in range(1, 9)]


def test_made_up_pairs_are_the_same_everywhere() -> None:
    """The bars of a pair are a function of seed and symbol alone, each pair with its own."""
    table = risk_market.columns("P000USDT", 3)
    longer = risk_market.columns("P000USDT", 40)

    fields = {name: values.tolist() for name, values in table.items()}
    assert fields["close"] == CLOSES
    assert all(values.tolist() == longer[name][:3].tolist() for name, values in table.items())
    assert risk_market.columns("P001USDT", 3)["close"].tolist() != fields["close"]
    assert risk_market.columns("P000USDT", 3, seed=2)["close"].tolist() != fields["close"]


def test_made_up_bars_hold_what_a_bar_promises() -> None:
    """High and low bracket open and close; a bar opens where the one before closed."""
    table = risk_market.columns("P007USDT", 5_000)
    opened, high, low, close = (table[name] for name in ("open", "high", "low", "close"))

    assert (low <= opened).all()
    assert (low <= close).all()
    assert (low > 0).all()
    assert (high >= opened).all()
    assert (high >= close).all()
    assert (opened[1:] == close[:-1]).all()
    assert (table["open_ts"][1:] == table["end_ts"][:-1]).all()


@pytest.mark.slow
def test_portfolio_trades_each_pair_under_the_profiles_gates() -> None:
    """R1's market makes every pair trade, and risk does not stop it."""
    found = risk_cases.portfolio(3, 600)

    assert found["bars"] == 1_800
    assert (found["traded"], found["stop"]) == (3, "")
    assert found["entries"] >= 3
    assert found["blocks"] > 0


def test_judged_entry_is_allowed_with_ten_held() -> None:
    """R3 judges an entry that passes every check, the profile's and those that it leaves off."""
    found = risk_cases.judge(2)

    assert (found["held"], found["said"]) == (10, ["risk_action order_intent"])
    assert found["checks"] > 30
    assert len(found["us"]) == 2


def test_ranked_symbols_all_have_a_score() -> None:
    """R5 ranks symbols whose bars suffice, so that none is left out of the figure."""
    found = risk_cases.rank(5, 2)

    assert (found["scored"], len(found["ms"])) == (5, 2)
    assert found["memory_mb"] > 0


@pytest.mark.slow
def test_storm_tells_events_and_violations() -> None:
    """R7 plays whole nights until there are events enough."""
    found = risk_cases.storm(1, seed=1)

    assert (found["nights"], found["violations"]) == (1, 0)
    assert found["events"] >= 1


@pytest.mark.parametrize("row", ["R1", "R3"])
def test_compiled_figure_without_a_build_is_no_figure(
    row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a build the compiled row says so, and is not the interpreted one's figure."""
    answers = {
        "portfolio": {
            "bars": 10, "per_s": 70_000.0, "written_per_s": 50_000.0, "wall_s": 1.0, "traded": 1,
            "entries": 1, "blocks": 1, "digest": "0" * 64, "stop": "",
        },
        "judge": {"us": [300.0], "written_us": [310.0], "held": 10, "checks": 39, "said": []},
    }  # fmt: skip
    monkeypatch.setattr(risk, "stale", lambda folder: "there is no build")
    monkeypatch.setattr(worker, "call", lambda case, given, environ: answers[case])

    interpreted, compiled = risk.MEASURES[row](plan(tmp_path))

    assert interpreted.verdict == "must met"
    assert compiled.verdict == "not measured"
    assert risk.NOT_COMPILED in compiled.notes


def test_tenth_of_the_bars_is_told_in_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A default run takes a tenth and says so; `--full` takes all."""
    monkeypatch.setattr(Plan, "runs", lambda self, case, is_compiled=False, **arguments: [])

    short, _ = risk.r1(plan(tmp_path))
    full, _ = risk.r1(plan(tmp_path, is_full=True))

    assert "100,000 bars" in short.name
    assert any("--full" in note for note in short.notes)
    assert "1,000,000 bars" in full.name
    assert not any("--full" in note for note in full.notes)


def test_freqtrade_gets_the_bars_that_minibot_trades(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of R1's peer has each pair's columns; the figure and its trades are the peer's."""
    given = {}

    def run(module: str, path: Path) -> Took:
        with np.load(path) as pairs:
            given.update({symbol: pairs[symbol] for symbol in pairs})
        found = {"per_s": 3_600.0, "trades": 1_738, "traded": 2}
        return Took(1.0, 1.0, 1.0, f"a warning\nRESULT {json.dumps(found)}\n")

    monkeypatch.setattr(backtest_peers, "_freqtrade", run)
    measure = backtest_peers.freqtrade_pairs(2, 2, 40)
    of_first = risk_market.columns("P000USDT", 40)

    assert list(given) == risk_market.symbols(2)
    columns = given["P000USDT"].tolist()
    assert columns == [of_first[name].tolist() for name in backtest_peers.COLUMNS]
    assert (measure.value, measure.samples["bars/s, CPU"]) == (3_600.0, [3_600.0, 3_600.0])
    assert measure.notes[0].startswith("2 pairs traded, 1,738 trades")


def test_freqtrade_without_a_result_is_named_beside_r1(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that ends in an error is no figure; its last line is the reason."""
    said = "Traceback\nModuleNotFoundError: No module named 'talib'"
    monkeypatch.setattr(backtest_peers, "_freqtrade", lambda *_: Took(1.0, 1.0, 1.0, said))

    measure = backtest_peers.freqtrade_pairs(1, 2, 40)

    assert (measure.value, measure.verdict) == (None, "not measured")
    why = "ended without a result: ModuleNotFoundError: No module named 'talib'"
    assert measure.notes == [f"not here: {why}"]


def test_without_a_commit_nothing_is_compared(tmp_path: Path) -> None:
    """R2 has a row for each case, and none is made up."""
    measures = risk.r2(plan(tmp_path))

    assert [each.verdict for each in measures] == ["not measured"] * len(risk_before.CASES)
    assert all(risk_before.NO_COMMIT in each.notes for each in measures)


@pytest.mark.process
def test_unknown_commit_is_refused(tmp_path: Path) -> None:
    """Git's own word is the error, and no tree is left behind."""
    with pytest.raises(OSError, match="no-such-commit"):
        risk.r2(plan(tmp_path, before="no-such-commit"))

    assert list(tmp_path.iterdir()) == []


def test_year_names_the_gates_that_never_fired(tmp_path: Path) -> None:
    """A gate is silent if no kept backtest refused or left by it."""
    kept = tmp_path / "backtests" / "one"
    kept.mkdir(parents=True)
    result = {
        "by_exit_reason": [{"name": "hard_stop"}],
        "refusals": {"BLOCK": {"cooldown_period": 3}, "HOLD": {"no_setup": 9}},
    }
    (kept / "result.json").write_text(json.dumps(result))

    silent = risk_year.silent_gates(tmp_path)

    assert "spread_limit" in silent
    assert set(silent) == gates() - {"hard_stop", "cooldown_period"}


def test_year_without_its_data_names_the_file(tmp_path: Path) -> None:
    """R8 is skipped where the data is not there."""
    measures = risk.r8(plan(tmp_path, data=tmp_path / "nowhere"))

    assert [each.verdict for each in measures] == ["not measured"] * 2
    assert str(risk_year.files(tmp_path / "nowhere")[0]) in measures[0].notes[0]


def test_night_that_ends_early_is_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R4 names the reason by which a night ended, and makes no figure of it."""
    text = '{"reason_code": "ROLE_HUNG", "detail": "market_role"}'

    def failing(pairs: int, folder: Path) -> dict[str, object]:
        raise OSError(risk_nights.ended_by(text, ""))

    monkeypatch.setattr(risk_nights, "night", failing)

    measures = risk.r4(plan(tmp_path))

    assert [each.verdict for each in measures] == ["not measured"] * 2
    assert "ROLE_HUNG: market_role" in measures[0].notes[0]


def test_depth_is_skipped_where_no_key_switches_it() -> None:
    """R6 needs a key that is true or false."""
    known = {"properties": {"market": {"properties": {"book_depth": {"type": "boolean"}}}}}

    assert risk_nights.knows_depth(known)
    assert not risk_nights.knows_depth({"properties": {"market": {"properties": {}}}})


@pytest.mark.parametrize("pairs", [1, 50])
def test_night_is_one_of_the_portfolio_profile(pairs: int) -> None:
    """R4's profile is the portfolio's, for so many pairs of the embedded exchange."""
    profile = risk_nights.overlay(pairs)

    assert len(profile["binance"]["symbols"]) == pairs
    assert profile["embedded"]["source"].count("USDT") == pairs
    assert profile["risk"]["exit_policy"] == "ladder"
