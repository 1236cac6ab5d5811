"""Diff of decisions: the first divergence, field by field, and its consequences."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import replay_role
from minibot.events.model import JsonObject
from minibot.events.reasons import SCHEMA_INVALID, STRATEGY_ERROR
from minibot.kernel.errors import IntegrityError, RunStop
from minibot.replay import diff
from minibot.replay.diff import diff_runs, recorded_side, rerun_with, span_of
from minibot.runtime.configuration.config import config_with
from tests.replay.forged import Event, edited
from tests.runs import ShortRun, verb

DELTA = "trailing_delta"
FAILING = '''"""Buys at the first trade, and fails at the hundredth."""

from minibot.strategies.protocol import Strategy, buy


class Failing(Strategy):
    """Fails."""

    def __init__(self, settings):
        self.left = 100

    def on_price(self, price, view):
        self.left = self.left - 1
        return buy("the first", notional=str(100 // self.left)) if self.left in (0, 99) else None
'''


def held(event: Event) -> None:
    """Return a signal changed to HOLD."""
    event["payload"]["side"] = "HOLD"


def test_unchanged_profile_decides_the_same(short_run: ShortRun) -> None:
    """An unchanged profile in rule order differs in nothing."""
    diff = rerun_with(Recorded.open(short_run.run_dir), [])

    assert diff.is_same
    assert diff.value is None
    assert not diff.changed
    assert diff.one.figures() == diff.other.figures()


def test_run_that_was_opened_twice_is_refused_in_either_order(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A second `run_opening` reaches the cores neither in the run's own order nor in rule order."""

    def open_again(event: Event) -> None:
        event.update(type="run_opening", schema="minibot.run_opening")
        event["payload"] = {"cash": {"USDT": "999999"}, "lots": [], "budgets_used": {}}

    recorded = Recorded.open(edited(short_run, tmp_path, "control", 2, open_again))

    with pytest.raises(IntegrityError, match="control:2 is a second") as in_rule_order:
        rerun_with(recorded, [])
    with pytest.raises(IntegrityError, match="control:2 is a second") as in_own_order:
        replay_role(recorded, "risk_role")
    assert in_rule_order.value.reason_code == in_own_order.value.reason_code == SCHEMA_INVALID


@pytest.mark.row("D-24")
def test_changed_profile_names_the_first_decision_that_differs_and_its_effect(
    short_run: ShortRun,
) -> None:
    """A changed profile names the first other decision, its fields, prior state and figures."""
    before = {path: path.stat().st_mtime_ns for path in short_run.run_dir.rglob("*")}
    done = verb(
        short_run.var, "replay", short_run.run_id, "--set", "strategy.score_min=100", "--json"
    )
    document = done.document

    assert done.code == 0
    assert document["changed"]["strategy.score_min"] == {"one": 60, "other": 100}
    first = document["first_decision"]
    assert first["one"]["event"]["payload"]["side"] == "BUY"
    assert first["other"]["event"]["payload"]["side"] == "HOLD"
    assert "side" in first["fields"]
    assert document["other"]["fills"] < document["one"]["fills"]
    assert document["other"]["equity"] != document["one"]["equity"]
    assert before == {path: path.stat().st_mtime_ns for path in short_run.run_dir.rglob("*")}


def test_key_that_no_core_reads_is_told_to_have_no_effect(short_run: ShortRun) -> None:
    """A trader who asks about another cash is told that the answer is of the recorded one."""
    sets = ("portfolio.cash=500", 'binance.symbols=["ETHUSDT"]', "risk.order_notional=200")
    words = [word for each in sets for word in ("--set", each)]
    done = verb(short_run.var, "replay", short_run.run_id, *words)
    document = verb(short_run.var, "replay", short_run.run_id, *words, "--json").document
    alone = verb(short_run.var, "replay", short_run.run_id, *words[-2:], "--json").document

    notice = "no effect can show of binance.symbols, portfolio.cash: a replay keeps the run's own"
    assert done.out.startswith(f"note: {notice}")
    assert document["notices"][0].startswith(notice)
    assert alone["notices"] == []


def test_changed_profile_shows_in_what_the_cores_differed_before(short_run: ShortRun) -> None:
    """A changed profile shows the difference of states before the first other decision."""
    diff = rerun_with(Recorded.open(short_run.run_dir), ["strategy.rsi_period=5"])

    assert diff.decision is not None
    assert any("rsi" in path for path in diff.decision.states)


def test_run_that_its_strategy_ended_is_compared_with_what_another_would_have_done(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """The failure ends the run's own side; a failure of the other strategy is told as such."""
    (tmp_path / "failing.py").write_text(FAILING, encoding="utf-8")
    opened = Recorded.open(short_run.run_dir)
    named = [f"strategy.folder={tmp_path}", "strategy.name=failing"]
    config = config_with(opened.manifest.config, named).raw
    recorded = replace(opened, manifest=replace(opened.manifest, config=config))

    diff = rerun_with(recorded, ["strategy.name=nore_strategy_v1"])

    assert (diff.one.stop, diff.other.stop) == (STRATEGY_ERROR, "")
    assert diff.decision is not None
    with pytest.raises(RunStop, match=r"failing\.py, line 14"):
        rerun_with(opened, named)


def test_profile_that_is_none_is_refused_with_exit_4(short_run: ShortRun) -> None:
    """A malformed profile is refused with exit 4, the key and the allowed values."""
    done = verb(short_run.var, "replay", short_run.run_id, "--set", "strategy.rsi_perod=5")

    assert done.code == 4
    assert "rsi_period" in done.err


def test_runs_that_decided_the_same_are_the_same(short_run: ShortRun) -> None:
    """A run compared with itself is the same."""
    done = verb(short_run.var, "diff", short_run.run_id, short_run.run_id)

    assert done.code == 0
    assert "decisions the same" in done.out


def test_time_that_both_saw_is_named_where_one_run_saw_more(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures of a part of a run are no result of it, so the part is told with them."""
    whole = span_of(Recorded.open(short_run.run_dir))
    part = (whole[0], whole[1] - 30_000)
    spans = iter((whole, part, whole, part, whole, whole))
    monkeypatch.setattr(diff, "span_of", lambda recorded: next(spans))

    words = ("diff", short_run.run_id, short_run.run_id)
    text, document = verb(short_run.var, *words).out, verb(short_run.var, *words, "--json").document
    alike = verb(short_run.var, *words, "--json").document

    assert document["span"] == {"from_ts": part[0], "to_ts": part[1]}
    assert f"time     {datetime.fromtimestamp(part[0] / 1000, UTC):%Y-%m-%d %H:%M:%S} to " in text
    assert alike["span"] is None


def test_night_is_told_from_the_middle_of_a_position_on(short_run: ShortRun) -> None:
    """A run that began in mid-position is compared from there, with its holdings."""
    recorded = Recorded.open(short_run.run_dir)
    bought, sold = (event for _, event in islice(recorded.events("fills"), 2))
    begin, end = span_of(recorded)

    def told(since: int) -> JsonObject:
        return recorded_side(recorded, since, end, lambda done, whole: None)[0].figures()

    whole, rest = told(begin), told(bought.ts + 1)
    assert (bought.payload.to_json()["side"], sold.payload.to_json()["side"]) == ("BUY", "SELL")
    assert rest["fills"] == whole["fills"] - 1
    assert rest["equity"] == whole["equity"]
    assert rest["round_trips"] == whole["round_trips"]
    paid = Decimal(bought.payload.to_json()["fee"])
    assert Decimal(whole["fees"]) - Decimal(rest["fees"]) == paid


def test_runs_that_part_in_a_value_alone_have_two_digests(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """Runs that differ in a value alone have two digests."""

    def scored(event: Event) -> None:
        event["payload"]["score"] = 1

    forged = edited(short_run, tmp_path, "signals", 3, scored)

    done = verb(short_run.var, "diff", short_run.run_id, str(forged))
    document = verb(short_run.var, "diff", short_run.run_id, str(forged), "--json").document

    digests = [document[side]["digest"] for side in ("one", "other")]
    assert done.code == 0
    assert digests[0] != digests[1]
    assert all(digest in done.out for digest in digests)
    assert "decisions the same, digests " in done.out


def test_runs_that_part_name_the_first_decision(short_run: ShortRun, tmp_path: Path) -> None:
    """Runs that differ name event, place and field of the first decision, with exit 1."""
    recorded = Recorded.open(short_run.run_dir)
    seq = next(s for s, e in recorded.events("signals") if e.payload.to_json()["side"] == "BUY")
    forged = edited(short_run, tmp_path, "signals", seq, held)
    diff = diff_runs(recorded, Recorded.open(forged))

    assert diff.market.startswith("the same")
    assert diff.decision is not None
    assert diff.decision.one is not None
    assert diff.decision.one.seq == seq
    assert diff.decision.fields == {"side": ("BUY", "HOLD")}
    assert verb(short_run.var, "diff", short_run.run_id, str(forged)).code == 1


@pytest.mark.parametrize(("field", "values"), [("stop_price", ("100", "101")), (DELTA, (50, 60))])
def test_runs_that_part_in_the_trigger_of_a_stop_decided_otherwise(
    field: str, values: tuple[Any, Any], short_run: ShortRun, tmp_path: Path
) -> None:
    """A trigger of an order is decided as its limit is, whether or not it is reached."""

    def stopped_at(value: Any) -> Path:
        def rest(event: Event) -> None:
            event["payload"] |= {"order_type": "STOP_LOSS", "stop_price": "99", field: value}

        return edited(short_run, tmp_path / str(value), "order_intents", 2, rest)

    one, other = (Recorded.open(stopped_at(value)) for value in values)
    diff = diff_runs(one, other)

    assert diff.decision is not None
    assert diff.decision.fields == {field: values}


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("notional", ("250", "260")),
        ("share_bps", (1000, 1100)),
        ("trail_distance", ("3", "4")),
        ("trail_bps", ("50", "40")),
        ("trail_atr", ("2", "1.5")),
        ("horizon_ms", (1000, 2000)),
    ],
)
def test_runs_that_part_in_the_wish_of_a_signal_decided_otherwise(
    field: str, values: tuple[Any, Any], short_run: ShortRun, tmp_path: Path
) -> None:
    """A wish is decided by the strategy, whether or not risk can follow it."""
    recorded = Recorded.open(short_run.run_dir)
    seq = next(s for s, e in recorded.events("signals") if e.payload.to_json()["side"] == "BUY")

    def wished(value: Any) -> Path:
        def wish(event: Event) -> None:
            event["payload"][field] = value

        return edited(short_run, tmp_path / str(value), "signals", seq, wish)

    one, other = (Recorded.open(wished(value)) for value in values)
    diff = diff_runs(one, other)

    assert diff.decision is not None
    assert diff.decision.one is not None
    assert diff.decision.one.seq == seq
    assert diff.decision.fields == {field: values}
