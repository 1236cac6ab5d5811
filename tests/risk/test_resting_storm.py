"""Storm over risk and executor with resting exits: random markets, halts, gaps and restarts.

After every step both agree on every open order, no unit is promised twice, and one order rests at
most. Cores that are restored from their states again and again write the same queues.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from minibot.events.model import ExitPosition, Gap
from tests.risk.desk import SYMBOL, Desk, config, instrument
from tests.risk.test_risk_plan import opened_ts

Step = tuple[Any, ...]
RESTART_EVERY = 3


def profile_of(chance: Random) -> dict[str, Any]:
    """Return a profile whose exits rest, with other keys at random."""
    return config(
        risk__exits_at="venue",
        risk__stop_bps=chance.choice(["50", "100", None]),
        risk__take_profit_bps=chance.choice(["50", "100"]),
        risk__time_exit_ms=chance.choice([None, 3000]),
        risk__left_trading=chance.choice(["hold", "close"]),
        execution__taker_fee_bps="10",
        execution__fill_model=chance.choice(["touch", "worse", "queue"]),
        execution__left_trading=chance.choice(["hold", "cancel"]),
        execution__latency_market_ms=chance.choice([0, 50, 900]),
    )


def planned(chance: Random) -> dict[str, Any]:
    """Return such a profile with levels that move, below all of them a hard stop."""
    profile = profile_of(chance)
    keys: dict[str, Any] = {
        "hard_stop_bps": "150",
        "exits_at": chance.choice(["role", "venue", "venue"]),
        "trail_bps": chance.choice([None, "30", "60"]),
        "break_even_bps": chance.choice([None, "40"]),
        "targets_by_age": chance.choice([None, [[0, "90"], [1, "40"]]]),
        "stale_exit_ms": chance.choice([None, 1_500]),
    }
    if chance.random() < 0.7:
        keys |= {"exit_policy": "ladder", "ladder_1_bps": "20", "ladder_2_bps": "45"}
    profile["risk"] |= keys
    return profile


def limited(profile: dict[str, Any], limit_bps: str | None) -> dict[str, Any]:
    """Return a profile whose stops have limits, where they rest."""
    if limit_bps is not None and profile["risk"]["exits_at"] == "venue":
        profile["risk"]["stop_limit_bps"] = limit_bps
    return profile


def steps_of(chance: Random, count: int) -> list[Step]:
    """Return signals, gaps, changed rules, requests to leave, and above all ticks."""
    steps: list[Step] = []
    price = 100.0
    for _ in range(count):
        kind = chance.random()
        if kind < 0.14:
            steps.append(("signal", chance.choice(["BUY", "BUY", "SELL"])))
        elif kind < 0.17:
            steps.append(("gap",))
        elif kind < 0.21:
            status = chance.choice(["TRADING", "TRADING", "BREAK"])
            steps.append(("rules", chance.choice(["0.01", "0.5"]), status))
        elif kind < 0.22:
            steps.append(("exit",))
        else:
            price = max(50.0, price * (1 + chance.gauss(0, 0.003)))
            is_trade, size = chance.random() < 0.6, chance.choice(["0.05", "1", "4", "1000"])
            steps.append(("tick", price, is_trade, size, chance.choice([30, 100, 1500])))
    return steps


def take(desk: Desk, step: Step) -> None:
    """Take one step."""
    if step[0] == "signal":
        desk.signal(step[1])
    elif step[0] == "gap":
        gap = Gap(symbol=SYMBOL, stream="trade", from_ts=desk.ts, to_ts=desk.ts, why="reconnect")
        desk.put("market_ticks", gap)
    elif step[0] == "rules":
        rules = instrument(price_increment=step[1], status=step[2])
        desk.put("market_ticks", rules)
    elif step[0] == "exit":
        desk.put("control", ExitPosition(who="operator", why="a storm", symbol=SYMBOL))
    else:
        _, price, is_trade, size, after_ms = step
        bid, ask = f"{price:.2f}", f"{price + 0.5:.2f}"
        trade = bid if is_trade else None
        desk.tick(bid, ask, trade=trade, bid_qty=size, ask_qty=size, after_ms=after_ms)


def judge(desk: Desk) -> None:
    """Judge balances and orders, as executor and risk know them."""
    executor, known = desk.execution, desk.risk._state.positions.orders
    orders = {order.client.text: order for order in executor.orders}
    promised = sum(order.remaining for order in executor.orders if order.side == "SELL")

    assert executor.portfolio.cash("USDT") >= 0
    assert 0 <= promised <= executor.portfolio.position_qty(SYMBOL)
    assert sum(order.is_waiting for order in executor.orders) <= 1
    assert {order.client.text for order in known} == set(orders)
    for order in known:
        other = orders[order.client.text]
        assert (order.pending, order.rests) == (other.remaining, other.is_waiting)
        assert (order.stop, order.target) == (other.stop, other.target)


def floor_of(desk: Desk) -> int:
    """Return the stop in force of an open position; 0 without a position."""
    market = desk.risk._state.positions.of(SYMBOL)
    exits = market.exits
    return exits.plan.floor() if market.qty and exits is not None and exits.plan else 0


@pytest.mark.parametrize("limit_bps", [None, "10"])
@pytest.mark.parametrize("seed", range(16))
def test_storm_with_levels_that_move_keeps_every_promise(seed: int, limit_bps: str | None) -> None:
    """No stop falls while held, none is missing, and parts are never promised twice."""
    chance = Random(1_000 + seed)
    profile, steps = limited(planned(chance), limit_bps), steps_of(chance, 60)
    whole, restored = Desk(profile).ready(), Desk(profile).ready()
    floor = opened = 0

    for number, step in enumerate(steps):
        if number % RESTART_EVERY == 0:
            restored.restarted()
        for desk in (whole, restored):
            take(desk, step)
        judge(whole)
        now = floor_of(whole)
        if whole.risk.facts()["open_positions"]:
            assert now >= max(floor if opened_ts(whole) == opened else 0, 1)
        floor, opened = now, opened_ts(whole)

    assert whole.log_bytes() == restored.log_bytes()


@pytest.mark.parametrize("limit_bps", [None, "10"])
@pytest.mark.parametrize("seed", range(8))
def test_storm_keeps_every_promise_and_a_restart_changes_nothing(
    seed: int, limit_bps: str | None
) -> None:
    """Every step leaves balances and orders whole, and restored cores write the same."""
    chance = Random(seed)
    profile, steps = limited(profile_of(chance), limit_bps), steps_of(chance, 50)
    whole, restored = Desk(profile).ready(), Desk(profile).ready()

    for number, step in enumerate(steps):
        if number % RESTART_EVERY == 0:
            restored.restarted()
        for desk in (whole, restored):
            take(desk, step)
        judge(whole)

    assert whole.log_bytes() == restored.log_bytes()
