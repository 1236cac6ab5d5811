"""Wishes of a strategy in a backtest: what its signal says, and what risk makes of it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from minibot.backtest.driver import run_backtest
from minibot.backtest.report import tables
from minibot.backtest.report.review import Review
from minibot.backtest.sources.bars import BarSource
from minibot.engine.decision_record import DecisionRecord
from minibot.events.model import Event
from tests.backtest.markets import bar_profile, candle, series, walk
from tests.engine.test_row_span import assert_same
from tools.drawn_backtests.ways import AsEvents

ASKS = '''"""Buys a share, an amount, or what the profile gives."""

from minibot.strategies.protocol import Needs, Strategy, buy, sell


class Asks(Strategy):
    """Takes its turns."""

    def __init__(self, settings):
        self.count = 0

    @staticmethod
    def needs(settings):
        return Needs(intervals=("1m",), trades=False)

    def on_bar(self, bar, view):
        if not bar.is_live:
            return None
        self.count += 1
        turn = self.count % 60
        if turn % 20 == 10:
            return sell("it is time")
        if turn == 1:
            return buy("an amount", notional="30.50")
        if turn == 21:
            return buy("a share", share_bps=100, valid_ms=5_000)
        return buy("as the profile has it") if turn == 41 else None
'''


def payloads(events: list[Event]) -> list[dict[str, Any]]:
    """Return the payloads of events as JSON."""
    return [json.loads(json.dumps(event.to_json()["payload"])) for event in events]


@pytest.mark.row("D-46")
def test_signal_tells_the_wish_and_risk_narrows_it(tmp_path: Path) -> None:
    """Amount, share and validity stand in the signal; what is bought costs no more."""
    (tmp_path / "asks.py").write_text(ASKS, encoding="utf-8")
    config = bar_profile(
        "strategy.name=asks",
        f"strategy.folder={tmp_path}",
        *("risk.stop_atr_mult=null", "risk.take_profit_atr_mult=null", "risk.order_notional=60"),
    )

    result = run_backtest(BarSource(series(walk(300)), config), config)

    buys = [one for one in payloads(result.of("signals")) if one["side"] == "BUY"]
    assert {(one.get("notional"), one.get("share_bps")) for one in buys} == {
        ("30.50000000", None),
        (None, 100),
        (None, None),
    }
    assert {one["horizon_ms"] for one in buys if one.get("share_bps")} == {5_000}
    assert {one["horizon_ms"] for one in buys if not one.get("share_bps")} != {5_000}
    spent: dict[str, set[bool]] = {}
    actions = {event.id: event.to_json()["payload"] for event in result.of("risk_actions")}
    fields = {event.id: event.to_json()["payload"] for event in result.of("signals")}
    for intent in result.of("order_intents"):
        action = next((actions[id_] for id_ in intent.cause_ids or () if id_ in actions), None)
        if action is None or intent.to_json()["payload"]["side"] != "BUY":
            continue
        wish = fields[action["signal_id"]]
        kind = "amount" if "notional" in wish else "share" if "share_bps" in wish else "plain"
        checks = {check["name"]: check for check in action["checks"]}
        cost = Decimal(checks["position_notional"]["value"])
        spent.setdefault(kind, set()).add(cost <= Decimal("30.5"))
        assert ("size_wish" in checks) == (kind != "plain")
    assert spent["amount"] == {True}
    assert spent["plain"] == {False}
    assert "share" in spent


LIMITS = '''"""Rests a purchase below the bid at each bar."""

from minibot.strategies.protocol import Needs, Strategy, buy


class Limits(Strategy):
    """Bids one percent too little, for as long as the profile lets it stand."""

    @staticmethod
    def needs(settings):
        return Needs(intervals=("1m",), trades=False)

    def on_bar(self, bar, view):
        return buy("cheaper", limit=f"{view.bid * 0.99:.2f}")
'''


@pytest.mark.parametrize("record", [None, DecisionRecord(is_for_page=True)])
def test_orders_that_end_unfilled_stand_among_the_reasons_for_no_trade(
    record: DecisionRecord | None, tmp_path: Path
) -> None:
    """Each purchase rests until its time is over; the report counts them, from either result."""
    (tmp_path / "limits.py").write_text(LIMITS, encoding="utf-8")
    config = bar_profile("strategy.name=limits", f"strategy.folder={tmp_path}")

    result = run_backtest(BarSource(series(walk(60)), config), config, record=record)

    review = Review.of(result)
    orders = len(result.of("order_intents"))
    assert orders > 10
    assert review.refusals["ORDER"] == {"expired": orders}
    told = tables.refusal_rows(review.to_json()["refusals"])
    assert ["ORDER", "expired", str(orders)] in [row[:3] for row in told]


LEVELS = '''"""Buys with a stop and a target of its own."""

from decimal import Decimal

from minibot.strategies.protocol import Needs, Strategy, buy, check, sell


class Levels(Strategy):
    """Guards each entry itself, and leaves after a bar."""

    def __init__(self, settings):
        self.held = 0

    @staticmethod
    def needs(settings):
        return Needs(intervals=("1m",), trades=False)

    def on_bar(self, bar, view):
        if not bar.is_live:
            return None
        self.held = self.held + 1 if view.is_long else 0
        plan = view.plan
        if view.is_long:
            seen = f"{plan.stop} {plan.stop_reason} {plan.target} {plan.target_reason}"
            return sell("enough", [check("plan", seen, "")]) if self.held > 1 else None
        if plan is not None:
            return None
        bid, ask = Decimal(str(view.bid)), Decimal(str(view.ask))
        cents = Decimal("0.01")
        return buy(
            "guarded",
            stop=(bid * Decimal("0.9992")).quantize(cents),
            target=(ask * Decimal("1.0008")).quantize(cents) + cents,
        )
'''


@pytest.mark.slow
def test_levels_of_a_strategy_give_the_same_by_rows_and_by_events(tmp_path: Path) -> None:
    """Stops and targets of its own are reached alike, and each exit names its own."""
    (tmp_path / "levels.py").write_text(LEVELS, encoding="utf-8")
    config = bar_profile(
        "strategy.name=levels",
        f"strategy.folder={tmp_path}",
        *("risk.stop_atr_mult=null", "risk.take_profit_atr_mult=null", "risk.hard_stop_bps=900"),
        "risk.signal_exit=true",
        *("risk.order_notional=60", "risk.night_loss_soft=1000", "risk.night_loss_hard=2000"),
        *("risk.day_loss_soft=1000", "risk.day_loss_hard=2000"),
    )
    source = BarSource(series(walk(400, 3)), config)

    quick, result = run_backtest(source, config), run_backtest(AsEvents(source), config)

    assert_same(quick, result)
    reasons = {one.get("reason_code") for one in payloads(quick.of("risk_actions"))}
    assert {"signal_stop", "signal_target", "signal_exit"} <= reasons
    seen = [
        one["checks"][0]["value"] for one in payloads(quick.of("signals")) if one["side"] == "SELL"
    ]
    assert seen
    for text in seen:
        stop, stop_reason, target, target_reason = text.split()
        assert Decimal(stop) < Decimal(target)
        assert (stop_reason, target_reason) == ("signal_stop", "signal_target")


ONCE = '''"""Buys once, with a stop and a target of its own."""

from minibot.strategies.protocol import Needs, Strategy, buy

FIRST = 0


class Once(Strategy):
    """Buys behind the second bar, and with FIRST = 1 behind the first one too."""

    def __init__(self, settings):
        self.count = 0

    @staticmethod
    def needs(settings):
        return Needs(intervals=("1m",), trades=False)

    def on_bar(self, bar, view):
        self.count += 1
        if self.count == FIRST:
            return buy("without levels")
        return buy("once", stop="99.50", target="100.50") if self.count == 2 else None
'''


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("exits_at", ["role", "venue"])
@pytest.mark.parametrize(
    ("gap", "sold"),
    # Below the stop the price then rises through it, beyond the target it falls through it.
    [((99.0, 101.0, 99.0, 101.0), "98.99"), ((101.0, 101.0, 99.8, 100.2), "100.99")],
)
def test_position_opened_beyond_its_own_level_is_left_where_it_was_opened(
    gap: tuple[float, ...], sold: str, exits_at: str, first: int, tmp_path: Path
) -> None:
    """The market opens beyond the level between signal and fill: the first bid sells all."""
    text = ONCE.replace("FIRST = 0", f"FIRST = {first}")
    (tmp_path / "once.py").write_text(text, encoding="utf-8")
    config = bar_profile(
        "strategy.name=once",
        f"strategy.folder={tmp_path}",
        *("risk.stop_atr_mult=null", "risk.take_profit_atr_mult=null", "risk.hard_stop_bps=900"),
        *(f"risk.exits_at={exits_at}", "backtest.spread_bps=0.01", "risk.order_notional=60"),
    )
    calm = (100.0, 100.0, 100.0, 100.0)
    bars = [candle(n, prices, 6e6) for n, prices in enumerate((calm, calm, gap, calm))]
    source = BarSource(series(bars), config)

    quick, result = run_backtest(source, config), run_backtest(AsEvents(source), config)

    assert_same(quick, result)
    fills = [(one["side"], one["price"]) for one in payloads(quick.of("fills"))]
    assert [side for side, _ in fills] == ["BUY"] * (1 + first) + ["SELL"]
    assert fills[-1][1] == sold


MOVES = '''"""Buys, and moves its stop, its target or its trail with each bar."""

from decimal import Decimal

from minibot.strategies.protocol import Needs, Strategy, adjust, buy


class Moves(Strategy):
    """Trails in turn by prices of its own, in basis points, in quote and in ATRs."""

    def __init__(self, settings):
        self.turn = 0
        self.held = 0

    @staticmethod
    def needs(settings):
        return Needs(intervals=("1m",), trades=False)

    def on_bar(self, bar, view):
        if not bar.is_live:
            return None
        cents = Decimal("0.01")
        bid = Decimal(str(view.bid))
        plan = view.plan
        if not view.is_long:
            self.held = 0
            if plan is not None:
                return None
            self.turn += 1
            trails = ({}, {"trail_bps": "12"}, {"trail": "0.15"}, {"trail_atr": "2.5"})
            return buy("a turn", **trails[self.turn % 4])
        self.held += 1
        target = (bid * Decimal("1.001")).quantize(cents) + cents
        if self.held % 3 == 1:
            return adjust("closer", stop=(bid * Decimal("0.9985")).quantize(cents))
        if self.held % 3 == 2:
            return adjust("a target", target=target)
        return adjust("a trail", trail_bps="15", target=target)
'''


@pytest.mark.slow
def test_adjustments_give_the_same_by_rows_and_by_events(tmp_path: Path) -> None:
    """Levels that move while a position is held are told, followed and hit alike."""
    (tmp_path / "moves.py").write_text(MOVES, encoding="utf-8")
    config = bar_profile(
        "strategy.name=moves",
        f"strategy.folder={tmp_path}",
        *("risk.stop_atr_mult=null", "risk.take_profit_atr_mult=null", "risk.hard_stop_bps=900"),
        *("risk.order_notional=60", "risk.night_loss_soft=1000", "risk.night_loss_hard=2000"),
        *("risk.day_loss_soft=1000", "risk.day_loss_hard=2000"),
    )
    source = BarSource(series(walk(600, 3)), config)

    quick, result = run_backtest(source, config), run_backtest(AsEvents(source), config)

    assert_same(quick, result)
    said = [
        (one.get("action"), one.get("reason_code")) for one in payloads(quick.of("risk_actions"))
    ]
    assert {("ADJUST", "adjusted"), ("EXIT", "signal_stop"), ("EXIT", "signal_target")} <= {*said}
    signals = payloads(quick.of("signals"))
    moves = [one for one in signals if one["side"] == "ADJUST"]
    assert {"stop_price", "target_price", "trail_bps"} <= {name for one in moves for name in one}
    buys = [one for one in signals if one["side"] == "BUY"]
    assert {"trail_bps", "trail_distance", "trail_atr"} <= {name for one in buys for name in one}
    falls, stop, opened = 0, Decimal(0), None
    for one in payloads(quick.of("risk_actions")):
        if "moved" not in one or "stop" not in one:
            continue
        if one["opened_ts"] == opened:
            falls += Decimal(one["stop"]) < stop
        stop, opened = Decimal(one["stop"]), one["opened_ts"]
    assert falls == 0


RESTS = '''"""Rests purchases below the market, and sells above what they cost."""

from decimal import Decimal

from minibot.strategies.protocol import Needs, Strategy, buy, sell


class Rests(Strategy):
    """Keeps up to three limits, a fresh one with each bar."""

    def __init__(self, settings):
        self.count = 0

    @staticmethod
    def needs(settings):
        return Needs(intervals=("1m",), trades=False)

    def on_bar(self, bar, view):
        if not bar.is_live:
            return None
        self.count += 1
        if self.count % 12 == 0:
            return sell("enough")
        price = Decimal(str(view.bid)) * (1 - Decimal(self.count % 4) / 2500)
        return buy("below", limit=price.quantize(Decimal("0.001")), notional=20, valid_ms=150_000)
'''


@pytest.mark.slow
@pytest.mark.parametrize("most", [None, 2])
def test_limits_give_the_same_by_rows_and_by_events(tmp_path: Path, most: int | None) -> None:
    """Purchases that rest are filled, end and are withdrawn alike."""
    (tmp_path / "rests.py").write_text(RESTS, encoding="utf-8")
    config = bar_profile(
        "strategy.name=rests",
        f"strategy.folder={tmp_path}",
        *("risk.stop_atr_mult=null", "risk.take_profit_atr_mult=null", "risk.signal_exit=true"),
        *("risk.order_notional=60", "risk.night_loss_soft=1000", "risk.night_loss_hard=2000"),
        *("risk.day_loss_soft=1000", "risk.day_loss_hard=2000"),
        "execution.order_ttl_market_ms=600000",
        *([] if most is None else [f"risk.limit_entries_max={most}"]),
    )
    source = BarSource(series(walk(600, 3)), config)

    quick, result = run_backtest(source, config), run_backtest(AsEvents(source), config)

    assert_same(quick, result)
    assert {one["liquidity"] for one in payloads(quick.of("fills"))} == {"MAKER", "TAKER"}
    reasons = {one.get("reason_code") for one in payloads(quick.of("risk_actions"))}
    assert {"allowed", "pending_order" if most is None else "limit_entries_max"} <= reasons
    results = {one["result"] for one in payloads(quick.of("order_results"))}
    assert {"FILLED", "EXPIRED", "CANCELLED"} <= results


PARTS = '''"""Buys in steps, sells in parts."""

from minibot.strategies.protocol import Needs, Strategy, buy, sell


class Parts(Strategy):
    """Scales in and out."""

    def __init__(self, settings):
        self.count = 0

    @staticmethod
    def needs(settings):
        return Needs(intervals=("1m",), trades=False)

    def on_bar(self, bar, view):
        if not bar.is_live:
            return None
        self.count += 1
        turn = self.count % 12
        if turn in (1, 3, 5):
            return buy("a step", notional=30)
        if turn == 6:
            return sell("a part", share_bps=4_000)
        if turn == 7:
            return sell("an amount", notional="20")
        if turn == 8:
            return sell("a quantity", qty="0.00011")
        return sell("the rest") if turn == 10 else None
'''


@pytest.mark.slow
@pytest.mark.parametrize("exits_at", ["role", "venue"])
def test_parts_give_the_same_by_rows_and_by_events(tmp_path: Path, exits_at: str) -> None:
    """A position is bought in steps and sold in parts alike."""
    (tmp_path / "parts.py").write_text(PARTS, encoding="utf-8")
    config = bar_profile(
        "strategy.name=parts",
        f"strategy.folder={tmp_path}",
        *("risk.stop_atr_mult=null", "risk.take_profit_atr_mult=null", "risk.hard_stop_bps=900"),
        *("risk.signal_exit=true", f"risk.exits_at={exits_at}"),
        *("risk.night_loss_soft=1000", "risk.night_loss_hard=2000"),
        *("risk.day_loss_soft=1000", "risk.day_loss_hard=2000"),
    )
    source = BarSource(series(walk(400, 3)), config)

    quick, result = run_backtest(source, config), run_backtest(AsEvents(source), config)

    assert_same(quick, result)
    sold = [one for one in payloads(quick.of("fills")) if one["side"] == "SELL"]
    bought = [one for one in payloads(quick.of("fills")) if one["side"] == "BUY"]
    assert min(len(bought), len(sold)) > 2 * (400 // 12)
