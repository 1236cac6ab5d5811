"""Storm over exits at the market: random markets, part sales, refusals, halts and restarts.

A sale moves no level of what it leaves, and a restart changes nothing that is written.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from minibot.events.model import Event, ExitPosition
from tests.risk.desk import OTHER, SYMBOL, Desk, config, fills, instrument
from tests.risk.test_left_trading import universe

Step = tuple[Any, ...]
RESTART_EVERY = 3


def profile_of(chance: Random) -> dict[str, Any]:
    """Return a profile with a stop at a distance from the entry, with other keys at random."""
    distances: dict[str, Any] = {
        "risk__stop_bps": chance.choice(["50", "100"]),
        "risk__take_profit_bps": chance.choice([None, "50", "100"]),
    }
    if chance.random() < 0.3:
        distances = {"risk__stop_atr_mult": "2", "risk__take_profit_atr_mult": "3"}
    return config(
        **distances,
        risk__order_notional=chance.choice(["300", "900"]),
        risk__time_exit_ms=chance.choice([None, 3_000, 20_000]),
        risk__left_trading=chance.choice(["hold", "close"]),
        risk__left_universe=chance.choice(["hold", "close"]),
        execution__fill_model=chance.choice(["touch", "worse", "queue"]),
        execution__latency_market_ms=chance.choice([0, 50, 900]),
        execution__taker_fee_bps="10",
        **({"execution__fee_asset": "base"} if chance.random() < 0.3 else {}),
    )


def steps_of(chance: Random, count: int) -> list[Step]:
    """Return signals, changed rules, dropped symbols, requests to leave, and above all ticks."""
    steps: list[Step] = []
    price = 100.0
    for _ in range(count):
        kind = chance.random()
        if kind < 0.16:
            part = chance.choice([{}, {"share_bps": 3_000}, {"share_bps": 5_000}])
            steps.append(chance.choice([("BUY", {}), ("BUY", {}), ("SELL", part)]))
        elif kind < 0.26:
            rules = {"qty_min": chance.choice(["0.001", "0.5"])}
            rules["notional_min"] = chance.choice(["10", "1000"])
            rules["status"] = chance.choice(["TRADING"] * 4 + ["BREAK"])
            steps.append(("rules", rules))
        elif kind < 0.27:
            steps.append(("exit",))
        elif kind < 0.30:
            steps.append(("universe", chance.choice([(OTHER,), (SYMBOL, OTHER)])))
        elif kind < 0.33:
            steps.append(("beat",))
        else:
            price = max(50.0, price * (1 + chance.gauss(0, 0.005)))
            size = chance.choice(["0.05", "1", "4", "1000"])
            steps.append(("tick", price, size, chance.choice([30, 100, 1_500])))
    return steps


def take(desk: Desk, step: Step) -> list[Event]:
    """Take one step; return the events that it caused."""
    if step[0] in ("BUY", "SELL"):
        return desk.signal(step[0], **step[1])
    if step[0] == "rules":
        return desk.put("market_ticks", instrument(**step[1]))
    if step[0] == "exit":
        return desk.put("control", ExitPosition(who="operator", why="a storm", symbol=SYMBOL))
    if step[0] == "universe":
        return desk.put("market_ticks", universe(*step[1]))
    if step[0] == "beat":
        return desk.beat(after_ms=1_000)
    _, price, size, after_ms = step
    bid, ask = f"{price:.2f}", f"{price + 0.05:.2f}"
    return desk.tick(bid, ask, bid_qty=size, ask_qty=size, after_ms=after_ms)


@pytest.mark.parametrize("seed", range(24))
def test_storm_of_sales_moves_no_level_and_a_restart_changes_nothing(seed: int) -> None:
    """Levels stay between two sales, and cores restored again and again write the same queues."""
    chance = Random(seed)
    profile, steps = profile_of(chance), steps_of(chance, 90)
    whole, restored = Desk(profile).ready(), Desk(profile).ready()
    former = None

    for number, step in enumerate(steps):
        if number % RESTART_EVERY == 0:
            restored.restarted()
        events, _ = take(whole, step), take(restored, step)
        sides = {fill.side for fill in fills(events)}
        levels = whole.risk.facts()["exits"] if whole.risk.facts()["open_positions"] else None
        if levels and former and sides == {"SELL"}:
            assert levels == former
        former = levels

    assert whole.log_bytes() == restored.log_bytes()
