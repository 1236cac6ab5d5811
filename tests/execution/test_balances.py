"""Balances of each asset: what is free, what is reserved, what a fee in coins leaves as dust."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from minibot.accounting.performance import Performance
from minibot.events.model import Event, ExitPosition, RiskAction, RiskStanding, RunOpening
from minibot.events.money import UNIT, parse_amount, proceeds_down
from minibot.execution.fees import IN_BASE
from minibot.execution.portfolio import OPEN_POSITIONS_FILE, PortfolioStore
from minibot.kernel.files import read_hashed
from minibot.replay.explain.trips import trips_of
from minibot.report.trades import TradeLog
from minibot.watchdog.ending import PlannedEnd
from tests.risk.desk import (
    EXECUTION_INPUTS,
    OTHER,
    RUN_ID,
    SYMBOL,
    Desk,
    actions,
    config,
    fills,
    intents,
    of,
    opening,
    results,
)
from tests.risk.test_resting_storm import profile_of, steps_of, take


def executor(cash: str = "10000", **changes: Any) -> Desk:
    """Return an executor without risk whose purchases pay 7.5 bps in coins."""
    changes = {"execution__fee_asset": IN_BASE, "execution__taker_fee_bps": "7.5"} | changes
    return Desk(config(**changes), first=opening(cash), with_risk=False).ready()


def desk_of(**changes: Any) -> Desk:
    """Return risk and executor whose purchases pay 7.5 bps in coins, one position at most."""
    fees = {"execution__fee_asset": IN_BASE, "execution__taker_fee_bps": "7.5"}
    desk = Desk(config(**{"risk__positions_max": 1, "risk__signal_exit": True} | fees | changes))
    desk.ready()
    desk.instrument(OTHER)
    desk.tick(symbol=OTHER)
    return desk


# --- the executor ---------------------------------------------------------------------------------


def test_purchase_pays_its_fee_in_coins_and_a_sale_in_quote() -> None:
    """A coin at 100 less 7.5 bps is 0.99925 for 100 USDT; its sale at 100 costs 7.5 cents."""
    desk = executor()
    desk.intent("BUY", "1")
    (bought,) = fills(desk.tick("99.99", "100"))
    held = desk.execution.portfolio.position_qty(SYMBOL)
    cash = desk.execution.portfolio.cash("USDT")
    desk.intent("SELL", "0.999")
    (sold,) = fills(desk.tick("100", "100.01"))

    assert (bought.fee, bought.fee_asset) == ("0.00075000", "BTC")
    assert (held, cash) == (parse_amount("0.99925"), 9900 * UNIT)
    assert (sold.fee, sold.fee_asset) == ("0.07492500", "USDT")


@pytest.mark.row("D-34")
@pytest.mark.parametrize(
    ("qty", "outcome"), [("0.999", ("ACCEPTED", "accepted")), ("1", ("REJECTED", "short_sale"))]
)
def test_sale_never_exceeds_what_the_fee_left(qty: str, outcome: tuple[str, str]) -> None:
    """A coin bought leaves 0.99925: 0.999 may be sold, the whole coin may not."""
    desk = executor()
    desk.intent("BUY", "1")
    desk.tick()

    assert results(desk.intent("SELL", qty)) == [outcome]


@pytest.mark.parametrize("fee_asset", ["quote", "base"])
@pytest.mark.parametrize("beyond", [0, 1])
def test_purchase_of_all_cash_is_covered_to_the_last_unit(fee_asset: str, beyond: int) -> None:
    """Exactly notional and fee suffice, and a hundred-millionth less does not."""
    cost = 100 * UNIT + (parse_amount("0.075") if fee_asset == "quote" else 0)
    cash = f"{(cost - beyond) // UNIT}.{(cost - beyond) % UNIT:08d}"
    desk = executor(cash, execution__fee_asset=fee_asset)
    desk.tick("99.99", "100")

    said = results(desk.intent("BUY", "1"))

    assert said == [("REJECTED", "insufficient_cash") if beyond else ("ACCEPTED", "accepted")]


def test_open_orders_reserve_quote_with_fee_and_coins_once() -> None:
    """A purchase reserves its notional and fee, an OCO its coins once; the rest is free."""
    lot = {"symbol": SYMBOL, "qty": "5", "price": "100", "ts": 1}
    profile = config(
        execution__fee_asset="quote", execution__taker_fee_bps="10", risk__exits_at="venue"
    )
    desk = Desk(profile, first=opening("1000", (lot,)), with_risk=False).ready()
    desk.intent("BUY", "2", order_type="LIMIT", limit_price="90")
    legs: dict[str, Any] = {"order_type": "OCO", "stop_price": "95", "target_price": "105"}
    desk.intent("SELL", "4", **legs)

    assert desk.execution.balances() == {
        "BTC": {"free": "1.00000000", "reserved": "4.00000000"},
        "USDT": {"free": "819.82000000", "reserved": "180.18000000"},
    }
    assert desk.execution.facts()["balances"] == desk.execution.balances()


def test_price_that_runs_away_reserves_no_more_than_there_is() -> None:
    """Two purchases reserve all cash, the first fills higher: nothing is free, none negative."""
    desk = executor("200.10")
    desk.intent("BUY", "1")
    desk.intent("BUY", "1")
    desk.tick("109.99", "110", ask_qty="1")

    assert (desk.execution.balances() or {})["USDT"] == {
        "free": "0.00000000",
        "reserved": "90.10000000",
    }


def test_profile_without_the_key_lists_no_balances() -> None:
    """Without the key purchases pay in quote, and nothing is listed that was not before."""
    desk = Desk(config(execution__taker_fee_bps="7.5"), with_risk=False).ready()
    desk.intent("BUY", "1")

    (bought,) = fills(desk.tick())

    assert bought.fee_asset == "USDT"
    assert desk.execution.balances() is None
    assert "balances" not in desk.execution.facts()


def test_fee_that_would_eat_the_coins_buys_nothing() -> None:
    """A smallest unit of a coin whose fee, rounded up, is that unit, is not bought."""
    desk = executor()
    tiny = {"qty_increment": "0.00000001", "qty_min": "0.00000001", "notional_min": "0"}
    desk.instrument(**tiny)
    desk.intent("BUY", "0.00000001")

    assert fills(desk.tick()) == []
    assert desk.execution.portfolio.cash("USDT") == 10_000 * UNIT


# --- dust and risk --------------------------------------------------------------------------------


def sold_out(desk: Desk) -> list[Event]:
    """Buy ten coins, sell what can be sold, and return what the sale brought."""
    desk.buy()
    return desk.signal("SELL") + desk.tick()


def test_dust_is_listed_never_sold_and_takes_no_slot() -> None:
    """Dust left by a sale frees the one slot, and nothing tries to sell it again."""
    desk = desk_of(risk__stop_bps="100", risk__time_exit_ms=5000)
    sold = fills(sold_out(desk))
    asked = desk.put("control", ExitPosition(who="operator", why="try", symbol=SYMBOL))
    later = desk.tick("90", "90.02", after_ms=60_000)
    desk.tick(symbol=OTHER)
    other = actions(desk.signal("BUY", symbol=OTHER))

    (dust,) = desk.execution.open_positions()
    assert [fill.qty for fill in sold] == ["9.991"]
    assert dust["dust_qty"] == dust["qty"] == "0.00050075"
    assert desk.risk.facts()["open_positions"] == [dust]
    assert actions(asked) == [("BLOCK", "no_position")]
    assert later == []
    assert other == [("ALLOW", "allowed")]


def test_position_bought_beside_dust_is_held_from_its_own_purchase_on() -> None:
    """Its time runs from the purchase, not from that of the dust, and it is sold with the dust."""
    desk = desk_of(risk__time_exit_ms=5000)
    sold_out(desk)
    desk.tick(after_ms=60_000)
    desk.buy()
    early = desk.tick(after_ms=4000)
    late = desk.tick(after_ms=2000) + desk.tick()

    assert early == []
    assert [reason for kind, reason in actions(late) if kind == "EXIT"] == ["time_exit"]
    assert [fill.qty for fill in fills(late)] == ["9.992"]


def test_position_that_new_rules_made_dust_leaves_the_next_one_no_stop() -> None:
    """Ten coins too few to sell keep no trail: what is bought beside them is not sold by it."""
    trail = {"risk__trail_bps": "100", "risk__trail_from_bps": "100"}
    desk = desk_of(risk__hard_stop_bps="3000", **trail)
    desk.buy()
    desk.tick("110", "110.02")
    desk.instrument(qty_increment="1", qty_min="11")
    desk.tick("80", "80.02")
    bought = fills(desk.signal("BUY") + desk.tick("80", "80.02"))
    later = actions(desk.tick("80", "80.01") + desk.tick("79", "79.01"))

    assert [fill.side for fill in bought] == ["BUY"]
    assert later == []
    assert actions(desk.tick("60", "60.01")) == [("EXIT", "hard_stop")]


def test_resting_order_over_all_but_dust_covers_the_position() -> None:
    """An order rests for 9.991 of 9.99150075: the bid at the stop sells nothing, the trade does."""
    desk = desk_of(risk__exits_at="venue", risk__stop_bps="100")
    bought = desk.buy()
    quoted = desk.tick("98", "98.02")
    traded = desk.tick("98", "98.02", trade="98") + desk.tick()

    assert [intent.order_type for intent in intents(bought)] == ["MARKET", "STOP_LOSS"]
    assert of(quoted, RiskAction) == []
    assert sum(parse_amount(fill.qty) for fill in fills(traded)) == parse_amount("9.991")
    assert desk.execution.open_positions()[0]["dust_qty"] == "0.00050075"


@pytest.mark.parametrize("step", ["0.001", "0.0001"])
def test_rules_that_make_carried_dust_sellable_make_it_a_position(step: str) -> None:
    """Carried 0.0006 is dust by steps of 0.001, a position by 0.0001; neither is a loss."""
    lot = {"symbol": SYMBOL, "qty": "0.0006", "price": "50000", "ts": 1}
    desk = Desk(config(execution__fee_asset="base"), first=opening("1000", (lot,)))
    desk.instrument(qty_increment="0.001", notional_min="0")
    desk.instrument(qty_increment=step, qty_min=step, notional_min="0")
    desk.tick("40000", "40000.02")

    is_dust = step == "0.001"
    facts = desk.risk.facts()
    assert ("dust_qty" in facts["open_positions"][0]) == is_dust
    assert facts["equity"] == ("1000.00000000" if is_dust else "1024.00000600")
    assert facts["headroom"]["night_loss"] == "100000.00000000"


def test_round_trip_ends_with_the_sale_that_leaves_dust() -> None:
    """Two purchases, each sold but for dust, are two trades in figures, page and `explain`."""
    desk = desk_of()
    sold_out(desk)
    sold_out(desk)
    performance = Performance(opening(), "USDT")
    log = TradeLog(performance.carried)
    events = desk.events("fills")
    held = [0]
    for event in events:
        (fill,) = fills([event])
        performance.on_fill(fill, event.ts)
        log.on_fill(event)
        held.append(performance.portfolio.position_qty(SYMBOL))
    trips = trips_of(events, lambda n, symbol: held[n])

    assert len(performance.trips) == 2
    assert [trip.is_closed for trip in log.trips] == [True, True]
    assert [trip.net for trip in log.trips] == performance.trips
    assert [(trip.is_closed, trip.is_carried) for trip in trips] == [(True, False)] * 2


@pytest.mark.parametrize("is_sold", [True, False])
def test_closing_waits_for_positions_and_not_for_dust(is_sold: bool) -> None:
    """A role whose facts list dust alone is flat; one that holds a position is not."""
    desk = desk_of()
    if is_sold:
        sold_out(desk)
    else:
        desk.buy()
    facts = desk.execution.facts() | {"now": desk.ts}
    child = SimpleNamespace(heartbeat={"facts": facts})
    ending = PlannedEnd.__new__(PlannedEnd)
    ending._supervisor = SimpleNamespace(children={"execution_role": child})  # type: ignore[assignment]

    assert ending._is_flat("execution_role", desk.ts) is is_sold


# --- random nights --------------------------------------------------------------------------------


def night_of(seed: int) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """Return a random profile with fees in coins, and a random night."""
    chance = Random(seed)
    profile = profile_of(chance)
    profile["execution"] |= {"fee_asset": "base", "taker_fee_bps": "7.53"}
    return profile, steps_of(chance, 60)


@pytest.mark.row("D-06", "D-40", "B-57")
@pytest.mark.parametrize("seed", range(6))
def test_night_of_fees_in_coins_balances_and_restarts_to_equal_bytes(
    seed: int, tmp_path: Path
) -> None:
    """Opening and movements of each asset are its balance at every event, killed or not.

    The file of open positions, rebuilt from the queues or from a state, has the same bytes.
    """
    profile, steps = night_of(seed)
    whole, restored = Desk(profile).ready(), Desk(profile).ready()
    for number, step in enumerate(steps):
        if number % 3 == 0:
            restored.restarted()
        for desk in (whole, restored):
            take(desk, step)
        done = fills(event for _, event in whole.log)
        moved = {"USDT": 10_000 * UNIT, "BTC": 0}
        for fill in done:
            qty, price, sign = parse_amount(fill.qty), parse_amount(fill.price), 1
            if fill.side == "SELL":
                sign = -1
            # A purchase is rounded up, a sale down.
            moved["USDT"] -= -(-sign * qty * price // UNIT)
            moved["BTC"] += sign * qty
            moved[fill.fee_asset] -= parse_amount(fill.fee)
        balances = whole.execution.balances() or {}
        closing = {
            name: parse_amount(it["free"]) + parse_amount(it["reserved"])
            for name, it in balances.items()
        }
        assert {"BTC": 0} | closing == moved

    assert whole.log_bytes() == restored.log_bytes()
    rebuilt, lines, now = Desk(profile), dict.fromkeys(EXECUTION_INPUTS, 0), 0
    lines["control"] = 1  # The opening was taken when the desk was made.
    for queue, event in whole.log[1:]:
        now = max(now, event.ts)
        if queue in EXECUTION_INPUTS:
            lines[queue] += 1
            rebuilt.execution.process(event, lines[queue], now)
    files = []
    for place, desk in enumerate((whole, restored, rebuilt)):
        folder = tmp_path / str(place)
        folder.mkdir()
        core = desk.execution
        store = PortfolioStore(folder, RUN_ID)
        store.save(core.portfolio, core.ledger, core.open_positions(), core.balances())
        files.append((folder / OPEN_POSITIONS_FILE).read_bytes())
    assert len(set(files)) == 1
    assert read_hashed(tmp_path / "0" / OPEN_POSITIONS_FILE)["balances"] == balances


# --- a fill that is dust by itself ----------------------------------------------------------------

LOSSES_IN_ROW = {"method": "LossesInRow", "trade_limit": 1, "stop_duration": 60}


def told_memory(desk: Desk) -> Mapping[str, Any]:
    """Return the trades and locks that risk told last."""
    payloads = [event.payload for event in desk.events("risk_actions")]
    told = [each for each in payloads if isinstance(each, RiskStanding) and each.memory is not None]
    assert told[-1].memory is not None
    return told[-1].memory


@pytest.mark.row("B-17")
@pytest.mark.parametrize("parts", [["10"], ["0.001", "9.999"], ["0.001", "0.001", "9.998"]])
def test_entry_that_begins_with_dust_is_one_trade_with_the_levels_it_asked_for(
    parts: list[str],
) -> None:
    """A first fill that is less than a step after its fee closes no trade and keeps the stop."""
    desk = Desk(
        config(
            execution__fee_asset=IN_BASE,
            execution__taker_fee_bps="10",
            risk__hard_stop_bps="2000",
            risk__protections=[LOSSES_IN_ROW],
        )
    )
    desk.ready()
    desk.signal("BUY", stop_price="98")
    for qty in parts:
        desk.tick(ask_qty=qty)

    assert told_memory(desk)["trades"] == []
    assert desk.risk.facts()["locks"] == []
    assert desk.risk.facts()["exits"][SYMBOL]["stop"] == "98.00000000"
    desk.tick("97", "97.02")
    desk.tick("97", "97.02")
    (trade,) = told_memory(desk)["trades"]
    assert parse_amount(trade["spent"]) > 999 * UNIT
    assert parse_amount(trade["received"]) > 960 * UNIT


@pytest.mark.row("B-17")
def test_sale_in_parts_is_one_trade_where_its_last_part_is_less_than_the_least_order() -> None:
    """A sale's last part below the least quantity belongs to its trade; the next run opens."""
    profile = config(execution__fee_asset="quote", risk__protections=[LOSSES_IN_ROW])
    desk = Desk(profile)
    desk.instrument(qty_min="0.010")
    desk.tick()
    desk.buy()
    desk.tick("99.00", "99.02")
    desk.signal("SELL")
    desk.tick(bid_qty="9.990")
    assert told_memory(desk)["trades"] == []
    desk.tick()

    (trade,) = told_memory(desk)["trades"]
    sold = [fill for fill in fills(desk.events("fills")) if fill.side == "SELL"]
    assert [fill.qty for fill in sold] == ["9.990", "0.009"]
    assert parse_amount(trade["received"]) == sum(
        proceeds_down(parse_amount(fill.qty), parse_amount(fill.price)) for fill in sold
    )
    cash = desk.execution.portfolio.opening_cash()
    Desk(profile, first=RunOpening(cash=cash, lots=(), budgets_used={}, memory=told_memory(desk)))
