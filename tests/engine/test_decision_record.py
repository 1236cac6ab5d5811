"""Decision record: a report reads the same from it as from all events of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from minibot.backtest.report.curves import named_values
from minibot.backtest.report.review import Review
from minibot.backtest.search.backtest_job import Job, run_job
from minibot.engine.decision_record import DecisionRecord
from minibot.engine.signal_log import KEPT_MAX, Named, SignalLog
from minibot.events.model import BLOCK, BUY, HOLD, Check, RiskAction, Signal
from tests.backtest.markets import bar_profile, walk, write_klines

MAKER = (
    *("risk.entry=maker", "risk.maker_patience_market_ms=5000", "risk.maker_requotes=3"),
    "risk.maker_end=take",
)


@pytest.mark.slow
def test_recorded_review_is_that_of_all_events(tmp_path: Path) -> None:
    """Digest, document and dots are the same, though only what trades are made of is kept."""
    path = write_klines(tmp_path, walk(3 * 1440, seed=7))
    job = Job((f"klines:{path}",), bar_profile().raw)

    whole, recorded = run_job(job), run_job(job, DecisionRecord(is_for_page=True))

    assert recorded.digest == whole.digest
    assert Review.of(recorded).to_json() == Review.of(whole).to_json()
    values = named_values(whole, "BTCUSDT", 50)
    assert named_values(recorded, "BTCUSDT", 50) == values
    assert len(values) > 2
    assert whole.log.sides[HOLD] > 10
    orders, entries = recorded.of("order_intents"), {one.id for one in recorded.of("signals")}
    assert orders == whole.of("order_intents")
    assert 0 < len(entries) < whole.log.sides[BUY]
    assert entries < {cause for order in orders for cause in order.cause_ids or ()}


@pytest.mark.slow
@pytest.mark.parametrize("has_limits", [False, True])
def test_figures_are_those_of_all_events(tmp_path: Path, has_limits: bool) -> None:
    """Without a page only fills and orders with a limit become events."""
    path = write_klines(tmp_path, walk(3 * 1440, seed=7))
    sets = MAKER if has_limits else ()
    job = Job((f"klines:{path}",), bar_profile(*sets).raw)

    whole, recorded = run_job(job), run_job(job, DecisionRecord(is_for_page=False))

    assert recorded.digest == whole.digest
    review, figured = Review.of(whole), Review.of(recorded)
    assert figured.figures == review.figures
    assert (figured.signals, figured.refusals) == (review.signals, review.refusals)
    assert figured.has_limit_orders is review.has_limit_orders is has_limits
    assert {one.queue for one in recorded.derived} == (
        {"fills", "order_intents"} if has_limits else {"fills"}
    )


@pytest.mark.slow
def test_fill_behind_which_an_exit_is_refused_stays(tmp_path: Path) -> None:
    """On thin bars a part is too small to protect, a refusal that its fill causes; it stays."""
    thin = [bar._replace(volume=50_000) for bar in walk(1440, seed=7)]
    profile = bar_profile("risk.exits_at=venue", "strategy.touch_notional_min=0.01")
    job = Job((f"klines:{write_klines(tmp_path, thin)}",), profile.raw)

    whole, recorded = run_job(job), run_job(job, DecisionRecord(is_for_page=True))

    fills = {fill.id for fill in whole.of("fills")}
    refused = [one for one in whole.of("risk_actions") if fills & set(one.cause_ids or ())]
    assert any(
        isinstance(one.payload, RiskAction) and one.payload.action == BLOCK for one in refused
    )
    assert len(recorded.of("fills")) == len(fills)
    assert Review.of(recorded).to_json() == Review.of(whole).to_json()


def signal(side: str, *values: tuple[str, str]) -> Signal:
    checks = tuple(Check(name, value, "none", True) for name, value in values)
    return Signal("BTCUSDT", side, 0, 0, 1000, "why", "no_setup", checks, "own", "0" * 64)


def test_values_are_named_in_the_order_of_their_first_number() -> None:
    """A text that is no number is left out, also between two numbers."""
    log = SignalLog(has_values=True)
    log.add(signal(HOLD, ("trend", "warmup"), ("rsi", "30"), ("state", "open")), 1)
    log.add(signal("BUY", ("trend", "2.5"), ("rsi", "missing")), 2)
    log.add(signal("SELL", ("trend", "2.5"), ("rsi", "1e16")), 3)

    named = log.named["BTCUSDT"]
    assert list(named) == ["rsi", "trend"]
    assert list(named["rsi"].chosen(range(1))) == [Named(1, 30.0, HOLD)]
    assert list(named["trend"].chosen(range(2))) == [Named(2, 2.5, "BUY"), Named(3, 2.5, "SELL")]
    assert (log.sides, log.holds) == ({HOLD: 1, "BUY": 1, "SELL": 1}, {"no_setup": 1})


@pytest.mark.parametrize(("count", "step"), [(0, 1), (1, 2), (KEPT_MAX, 2), (KEPT_MAX + 1, 4)])
@pytest.mark.parametrize(("many", "few"), [(HOLD, "BUY"), ("SELL", HOLD)])
def test_values_of_too_many_signals_of_a_kind_are_kept_evenly(
    many: str, few: str, count: int, step: int
) -> None:
    """All signals are counted, and none of the other kind is left out."""
    log = SignalLog(has_values=True)
    log.add(signal(few, ("rsi", "7")), 0)
    last = KEPT_MAX + count
    for at in range(1, last + 1):
        log.add(signal(many, ("rsi", str(at)), ("state", "open")), at)
    log.add(signal(few, ("rsi", "8")), last + 1)

    rsi = log.named["BTCUSDT"]["rsi"]
    kept = list(rsi.chosen(rsi.places(is_hold=many == HOLD)))
    assert kept == [Named(at, float(at), many) for at in range(1, last + 1, step)]
    others = list(rsi.chosen(rsi.places(is_hold=few == HOLD)))
    assert others == [Named(0, 7.0, few), Named(last + 1, 8.0, few)]
    assert log.sides == {many: last, few: 2}


@pytest.mark.parametrize(("count", "places"), [(4, [0, 2, 3, 5]), (3, [0, 2, 5]), (2, [2, 5])])
def test_thinned_values_keep_those_of_orders_first(count: int, places: list[int]) -> None:
    """Holds are thinned evenly into what the others leave."""
    log = SignalLog(has_values=True)
    for at, side in enumerate((HOLD, HOLD, "BUY", HOLD, HOLD, "SELL")):
        log.add(signal(side, ("rsi", str(at % 3))), at)

    class Result:
        def __init__(self) -> None:
            self.log = log

    values = named_values(Result(), "BTCUSDT", count)  # type: ignore[arg-type]

    assert [value.ts for value in values["rsi"]] == places
