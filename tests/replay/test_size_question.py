"""Size question: the bound of a cluster, for a position that is held and for a first entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minibot.engine.recorded_run import Recorded
from minibot.events.model import AveragePrice, Halt, LockSymbol, RiskAction
from minibot.events.money import UNIT, parse_rate
from minibot.events.reasons import (
    HALTED,
    NIGHT_LOSS,
    POSITIONS_MAX,
    RISK_LIMIT,
    SYMBOL_LOCKED,
)
from minibot.replay.explain.size_at import returns_at, trades_at
from minibot.replay.explain.size_question import largest_entry, size_now, size_supposed
from tests.risk.desk import OTHER, SYMBOL, Desk, config, intents, of
from tests.risk.test_market_returns import ALIKE, CLUSTER, UP_DOWN, bars, bought, desk
from tests.risk.test_quotes import QUOTED
from tests.watchdog.ended_runs import put_ended
from tests.watchdog.test_carried_trades import HOUR_MS, KELLY, PRICES, began, round_trip


def test_size_question_shows_the_bound_of_the_cluster() -> None:
    """`minibot size` lists it with value, limit and what it leaves, before and with a position."""
    made = desk(**CLUSTER)
    bars(made, BTCUSDT=UP_DOWN, ETHUSDT=ALIKE)
    bought(made, OTHER)
    answer = size_now(made.profile, made.risk.state(), SYMBOL)
    (bound,) = [bound for bound in answer.bounds if bound.name == "cluster_notional"]

    assert (bound.value, bound.limit) == ("2000.00000000", "1500.00000000")
    assert (bound.leaves, bound.passed, bound.decides) == ("500.00000000", False, True)
    supposed = size_supposed(made.profile, SYMBOL, 100 * UNIT, 5_000 * UNIT, None)
    assert (supposed.qty, supposed.decided) == ("7.50000000", "cluster_notional")


@pytest.mark.parametrize(("entry", "reason"), [({}, "min_notional"), (QUOTED, "")])
def test_size_question_judges_a_purchase_at_the_market_by_the_average_price(
    entry: dict[str, str], reason: str
) -> None:
    """At an average of 90 the venue refuses 0.109 coins at the market, and no quote for them."""
    made = Desk(config(risk__order_notional="11", **entry)).ready()
    made.put("market_ticks", AveragePrice(SYMBOL, "90", 5, made.ts))

    assert size_now(made.profile, made.risk.state(), SYMBOL).reason == reason


@pytest.mark.parametrize(
    ("keys", "bound", "leaves"),
    [
        ({}, "size_fixed", "1000.00000000"),
        ({"risk__sizing": "share", "risk__positions_max": 4}, "size_share", "2500.00000000"),
        (
            {
                "risk__sizing": "kelly",
                "risk__kelly_window_market_ms": 86_400_000,
                "risk__kelly_trades_min": 5,
                "risk__position_share_bps_min": 10,
                "risk__position_share_bps_max": 500,
            },
            "position_share",
            "500.00000000",
        ),
    ],
)
def test_largest_entry_is_that_of_the_tightest_cap(
    keys: dict[str, Any], bound: str, leaves: str
) -> None:
    """It comes from the mode's own amount or from a cap, and grows with no closed trade."""
    found = largest_entry(config(**keys), SYMBOL)

    assert (found.name, found.leaves) == (bound, leaves)


def stopped_by(reason: str) -> Desk:
    """Return a desk whose next BUY is refused for a reason that no size mends."""
    changes: dict[str, dict[str, Any]] = {
        POSITIONS_MAX: {"risk__positions_max": 1},
        NIGHT_LOSS: {"risk__night_loss_soft": "5"},
        # A hard limit without a soft value below it: the order would end the run.
        RISK_LIMIT: {"risk__night_notional_soft": None, "risk__night_notional_hard": "1500"},
    }
    made = Desk(config(**changes.get(reason, {}))).ready()
    if reason == HALTED:
        made.put("control", Halt("operator", "news"))
    elif reason == SYMBOL_LOCKED:
        made.put("control", LockSymbol("operator", "thin", SYMBOL))
    elif reason == POSITIONS_MAX:
        made.instrument(OTHER)
        made.tick(symbol=OTHER)
        made.signal("BUY", symbol=OTHER)
        made.tick(symbol=OTHER)
        made.tick()
    else:
        made.buy()
        made.tick("99.00", "99.02")
    return made


@pytest.mark.parametrize("reason", [HALTED, SYMBOL_LOCKED, POSITIONS_MAX, NIGHT_LOSS, RISK_LIMIT])
def test_size_question_says_nothing_where_a_buy_then_buys_nothing(reason: str) -> None:
    """The answer has the reason code of the decision that follows, and no quantity."""
    made = stopped_by(reason)
    answer = size_now(made.profile, made.risk.state(), SYMBOL)
    (action,) = of(made.signal("BUY"), RiskAction)

    assert (answer.reason, action.reason_code) == (reason, reason)
    assert (answer.qty, answer.notional) == ("0.00000000", "0.00000000")


def test_size_question_behind_a_campaign_is_about_the_next_one() -> None:
    """A campaign that has sold everything has neither used the entries nor lost for the next."""
    keys = {"risk__exit_policy": "campaign", "risk__campaign_loss_max": "90"}
    profile = config(risk__hard_stop_bps="500", risk__campaign_entries_max=1, **keys)
    made = Desk(profile).ready()
    before = size_now(profile, made.risk.state(), SYMBOL)
    made.buy()
    held = size_now(profile, made.risk.state(), SYMBOL)
    made.tick("98.00", "98.02")
    made.signal("SELL")
    made.tick("99.99", "100.01")

    behind = size_now(profile, made.risk.state(), SYMBOL)
    (entry,) = intents(made.signal("BUY"))

    assert held.reason == "campaign_full"
    assert (behind.reason, behind.qty, behind.decided) == ("", before.qty, before.decided)
    assert behind.qty == f"{entry.qty}00000"


@pytest.mark.parametrize("fees", [{}, {"execution__fee_asset": "base"}])
def test_trades_at_a_time_are_those_of_a_night_that_counted_them(
    fees: dict[str, Any], tmp_path: Path
) -> None:
    """With fees in coins too, where each sale leaves dust: its trade is closed all the same."""
    rate = {"execution__taker_fee_bps": "7.25"}
    fixed, kelly = (began(**keys) for keys in (fees | rate, KELLY | fees | rate))
    for price in PRICES:
        round_trip(fixed, price)
        round_trip(kelly, price)
    put_ended(tmp_path, fixed)

    found = trades_at(Recorded.open(tmp_path), fixed.ts, HOUR_MS, parse_rate("7.25")).state()

    kept = kelly.risk.state()["closed_trades"]
    assert [ts for ts, _ in found["closed"]] == [ts for ts, _ in kept["closed"]]
    assert found["open"] == kept["open"] == []


def test_returns_at_a_time_are_those_that_risk_kept() -> None:
    """Bars of a recorded market, read up to a time, give what a core with the keys knew then."""
    made = desk(**CLUSTER)
    bars(made, BTCUSDT=UP_DOWN, ETHUSDT=ALIKE)
    kept, at = made.risk.state()["returns"], made.ts
    bars(made, BTCUSDT=UP_DOWN)

    events = made.events("market_ticks")
    assert returns_at(events, made.profile, at).state() == kept
    assert returns_at(events, made.profile, made.ts).state() == made.risk.state()["returns"]
