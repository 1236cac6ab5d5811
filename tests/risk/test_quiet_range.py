"""Quiet ranges: within the one that risk gives, only the last of several ticks matters.

A backtest passes over all ticks before the last, so a range that is too wide loses decisions.
"""

from __future__ import annotations

import pickle
from random import Random
from typing import Any

import pytest

from minibot.cores.scaled_tick import QuietRange, ScaledTick
from minibot.events.money import UNIT, proceeds_down
from minibot.events.unit_sizes import DAY_MS, MINUTE_MS
from tests.risk.desk import OTHER, START, SYMBOL, Desk, actions, config, opening
from tests.risk.test_exits_storm import steps_of, take

LIMITS: dict[str, Any] = {
    "risk__night_loss_soft": "150",
    "risk__night_loss_hard": "250",
    "risk__drawdown_bps_soft": 150,
    "risk__drawdown_bps_hard": 300,
}
PROFILES: tuple[dict[str, Any], ...] = (
    LIMITS | {"risk__stop_bps": "80", "risk__take_profit_bps": "120"},
    LIMITS | {"risk__stop_atr_mult": "2", "risk__take_profit_atr_mult": "3"},
    LIMITS | {"risk__stop_bps": "300", "risk__trail_bps": "100", "risk__trail_start_bps": "50"},
    LIMITS | {"risk__stop_bps": "300", "risk__time_exit_ms": 3_000},
    LIMITS | {"risk__hard_stop_bps": "500", "risk__stale_exit_ms": 5_000},
    LIMITS | {"risk__hard_stop_bps": "500", "risk__exit_policy": "ladder"},
)


def is_kept(quiet: QuietRange, tick: ScaledTick) -> bool:
    """Return whether a tick keeps to the range, and what is held to the room of equity."""
    if not quiet.contains(tick.bid, tick.ask, tick.ts):
        return False
    moved = proceeds_down(quiet.qty, (tick.bid + tick.ask) // 2) - quiet.value
    return not quiet.qty or -quiet.fall <= moved <= quiet.rise


def drawn(chance: Random, quiet: QuietRange, ts: int) -> list[ScaledTick]:
    """Return ticks that keep to a range, most of them at its edges."""
    least, most = max(quiet.above + 1, 90 * UNIT), min(quiet.below - 1, 110 * UNIT)
    ticks = []
    for _ in range(6):
        ts += chance.choice([0, 1, 40])
        tick = ScaledTick(SYMBOL)
        tick.bid = chance.choice([least, most, chance.randint(min(least, most), most)])
        tick.ask = max(tick.bid, min(quiet.least - tick.bid, 2 * tick.bid))
        tick.ask += chance.choice([0, UNIT // 20])
        tick.bid_qty = tick.ask_qty = 1000 * UNIT
        tick.ts, tick.id, tick.run_id = ts, f"tick-{ts}", "run"
        if is_kept(quiet, tick):
            ticks.append(tick)
    return ticks


@pytest.mark.parametrize("delivers_bars", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_ticks_within_the_range_say_nothing_and_only_the_last_counts(
    seed: int, delivers_bars: bool
) -> None:
    """A core told of the last tick alone is left as one told of each."""
    chance = Random(seed)
    profile = config(**PROFILES[seed % len(PROFILES)])
    desk, tried = Desk(profile).ready(), 0
    for number, step in enumerate(steps_of(chance, 80)):
        take(desk, step)
        if number % 10 == 5:
            desk.bar("100", "101", "99", f"{100 + chance.gauss(0, 1):.2f}")
        quiet = (desk.risk.quiet_ticks if delivers_bars else desk.risk.quiet_range)(SYMBOL, desk.ts)
        ticks = [] if quiet is None else drawn(chance, quiet, desk.ts)
        if not ticks:
            continue
        tried += 1
        kept = pickle.dumps(desk.risk)
        each, last = pickle.loads(kept), pickle.loads(kept)
        seq = desk.seqs["market_ticks"]
        for place, tick in enumerate(ticks, start=1):
            assert each.process(tick, seq + place, tick.ts) is None
        last.skip_to(ticks[-1], seq + len(ticks), ticks[-1].ts, True, True)
        assert last.state() == each.state()
    assert tried > 10


@pytest.mark.parametrize("delivers_bars", [False, True])
def test_range_of_what_is_held_ends_at_stop_and_target(delivers_bars: bool) -> None:
    """Both are acted on at their own price, also far below the high of equity."""
    lots = [{"symbol": OTHER, "qty": "50", "price": "100", "ts": START - 1, "fill_id": "f"}]
    keys = {"risk__stop_bps": "100", "risk__take_profit_bps": "200"}
    desk = Desk(config(**keys), first=opening("5000", lots))
    for symbol in (SYMBOL, OTHER):
        desk.instrument(symbol)
        desk.tick("100", "100", symbol=symbol)
    desk.tick("90", "90", symbol=OTHER)
    desk.signal("BUY")
    desk.tick("100", "100")
    desk.tick("100", "100")

    found = (desk.risk.quiet_ticks if delivers_bars else desk.risk.quiet_range)(SYMBOL, desk.ts)

    assert found is not None
    assert (found.above, found.below) == (99 * UNIT, 102 * UNIT)
    assert desk.tick("101.99", "102.01") == []
    assert actions(desk.tick("102", "102.01")) == [("EXIT", "take_profit")]


def test_range_ends_at_midnight_when_budgets_begin_anew() -> None:
    """At 00:00 UTC the next tick changes what the day has used."""
    midnight = START // DAY_MS * DAY_MS + DAY_MS
    desk = Desk(config(), ts=midnight - 5_000).ready()

    before, held = desk.risk.quiet_range(SYMBOL, desk.ts), desk.risk.quiet_ticks(SYMBOL, desk.ts)

    assert before is not None
    assert held is not None
    assert before.until == held.until == midnight
    assert desk.risk.quiet_range(SYMBOL, midnight) is None
    assert desk.risk.quiet_ticks(SYMBOL, midnight) is None


def test_symbol_carried_without_a_price_has_no_range() -> None:
    """Its first tick values what is held, so it must not be passed over."""
    lots = [{"symbol": SYMBOL, "qty": "1", "price": "100", "ts": START - 1, "fill_id": "f"}]
    desk = Desk(config(), first=opening("9900", lots))
    desk.instrument()

    assert desk.risk.quiet_range(SYMBOL, desk.ts) is None
    assert desk.risk.quiet_ticks(SYMBOL, desk.ts) is None
    assert desk.risk.quiet_range(OTHER, desk.ts) is not None


def test_quoted_symbol_has_no_range() -> None:
    """A quote follows the touch, so each tick matters."""
    keys = {"risk__entry": "maker", "risk__maker_end": "give_up"}
    patience = {"risk__maker_patience_market_ms": 5_000, "risk__maker_requotes": 3}
    desk = Desk(config(**keys, **patience)).ready()
    before = desk.risk.quiet_range(SYMBOL, desk.ts)
    desk.signal("BUY")

    assert before is not None
    assert desk.risk.quiet_range(SYMBOL, desk.ts) is None
    assert desk.risk.quiet_ticks(SYMBOL, desk.ts) is None


def test_standing_that_is_due_ends_the_range() -> None:
    """Each minute a beat tells one, so that nothing is passed over beyond the full minute."""
    profile = config(risk__week_loss_soft="5000", risk__week_loss_hard="9000")
    desk = Desk(profile).ready()

    assert desk.risk.quiet_range(SYMBOL, desk.ts) is None
    desk.beat()
    quiet = desk.risk.quiet_range(SYMBOL, desk.ts)

    assert quiet is not None
    assert quiet.until == desk.ts // MINUTE_MS * MINUTE_MS + MINUTE_MS
    assert desk.risk.quiet_range(SYMBOL, quiet.until) is None
