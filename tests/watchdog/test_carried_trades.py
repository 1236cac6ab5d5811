"""Carried trades: sizing kelly counts what former runs closed, and what they left open."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from minibot.accounting.round_trips import RoundTrip
from minibot.cores.core_profile import TRADES_CARRIED, TRADES_KEPT
from minibot.events.model import Event, JsonObject, RunOpening
from minibot.events.money import UNIT
from minibot.kernel.errors import InvariantError
from minibot.watchdog.carried_trades import carried_trades
from tests.risk.desk import OTHER, START, SYMBOL, Desk, actions, check_of, codec, config, opening
from tests.watchdog.ended_runs import opening_behind, put_ended

HOUR_MS = 3_600_000
KELLY: dict[str, Any] = {
    "risk__sizing": "kelly",
    "risk__kelly_window_market_ms": HOUR_MS,
    "risk__kelly_trades_min": 5,
    "risk__position_share_bps_min": 100,
    "risk__position_share_bps_max": 2000,
    "execution__taker_fee_bps": "10",
}
PRICES = ("110", "95", "110", "95", "110")


def began(first: RunOpening | None = None, **changes: Any) -> Desk:
    """Return a desk with a touch of 100 to 100, whatever was held before."""
    desk = Desk(config(**changes), first=first)
    for symbol in (OTHER, SYMBOL):
        desk.instrument(symbol)
    desk.tick("100", "100")
    return desk


def round_trip(desk: Desk, price: str) -> None:
    """Buy at 100 and sell at a price."""
    bought(desk)
    sold(desk, price)


def bought(desk: Desk) -> None:
    desk.tick("100", "100")
    desk.signal("BUY")
    desk.tick("100", "100")


def sold(desk: Desk, price: str) -> None:
    desk.tick(price, price)
    desk.signal("SELL")
    desk.tick(price, price)


def left(desk: Desk, first: RunOpening | None = None, since_ts: int = 0) -> Any:
    """Return the trades that the desk's run leaves."""

    def read(queue: str, _: str) -> Iterable[Event]:
        return desk.events(queue)

    return carried_trades(first or opening(), desk.profile, since_ts, read)


def following(desk: Desk, first: RunOpening | None = None) -> RunOpening:
    """Return the opening of a run that carries the desk's on."""
    portfolio = desk.risk._state.positions.portfolio
    lots = tuple(portfolio.opening_lots())
    return RunOpening(portfolio.opening_cash(), lots, {}, trades=left(desk, first))


def wanted(desk: Desk) -> tuple[str, str]:
    """Return the bound that decided the size of an entry, and its notional."""
    desk.tick("100", "100")
    check = check_of(desk.signal("BUY")[0], "size_bound")
    return check["value"], check["threshold"]


@pytest.mark.row("B-41")
@pytest.mark.parametrize("kept", range(6))
def test_run_that_carries_on_sizes_as_if_it_were_one(kept: int) -> None:
    """Wherever a night ends between trades, kelly's next entry has the size of one long night."""
    whole = began(**KELLY)
    for price in PRICES:
        round_trip(whole, price)
    earlier = began(**KELLY)
    for price in PRICES[:kept]:
        round_trip(earlier, price)

    later = began(following(earlier), **KELLY)
    for price in PRICES[kept:]:
        round_trip(later, price)

    assert wanted(later) == wanted(whole)
    assert wanted(later)[0] == "size_kelly"


@pytest.mark.parametrize("kept", range(6))
def test_dust_of_a_closed_trade_is_paid_for_once_whatever_night_it_is(kept: int) -> None:
    """Coins too few to sell cost the trade that left them, not the next night's first one too."""
    keys = KELLY | {"execution__fee_asset": "base", "execution__taker_fee_bps": "7"}
    whole, earlier = began(**keys), began(**keys)
    for price in PRICES:
        round_trip(whole, price)
    for price in PRICES[:kept]:
        round_trip(earlier, price)

    begin = following(earlier)
    later = began(begin, **keys)
    for price in PRICES[kept:]:
        round_trip(later, price)

    one, two, three = left(whole), left(later, begin), later.risk.state()["closed_trades"]
    gains = [sorted(gain for _, gain in each["closed"]) for each in (one, two, three)]
    assert gains[0] == gains[1] == gains[2]
    assert one["open"] == two["open"] == three["open"] == []


@pytest.mark.row("B-41")
def test_night_of_another_sizing_hands_its_trades_to_kelly() -> None:
    """A first night of kelly begins with the returns of the fixed night before."""
    fixed = began(execution__taker_fee_bps="10")
    for price in PRICES:
        round_trip(fixed, price)
    long = began(**KELLY)
    for price in PRICES:
        round_trip(long, price)

    first = following(fixed)

    assert first.trades == left(long)
    (_, size) = wanted(began(first, **KELLY))
    assert float(size) > 900  # A quarter of Kelly's share, where the least is a hundredth.


def test_trade_that_outlives_two_runs_counts_whole() -> None:
    """A position bought in one night, partly sold in the next, closes with all of its trade."""
    first = began(**KELLY)
    bought(first)
    begin = following(first)
    second = began(begin, **KELLY)
    second.tick("120", "120", bid_qty="0.5")
    second.signal("SELL")
    second.tick("120", "120", bid_qty="0.5")
    again = following(second, begin)
    third = began(again, **KELLY)
    sold(third, "90")

    (_, gain), *more = left(third, again)["closed"]
    one_night = began(**KELLY)
    bought(one_night)
    one_night.tick("120", "120", bid_qty="0.5")
    one_night.signal("SELL")
    one_night.tick("120", "120", bid_qty="0.5")
    sold(one_night, "90")

    assert not more
    assert [gain] == [each[1] for each in left(one_night)["closed"]]
    assert [gain] == [each[1] for each in third.risk.state()["closed_trades"]["closed"]]


def test_trade_closed_before_the_window_is_left_out() -> None:
    """A trade that is as old as the window counts no more."""
    desk = began(**KELLY)
    round_trip(desk, "110")
    ((closed_ts, _),) = left(desk)["closed"]

    assert left(desk, since_ts=closed_ts - 1)["closed"]
    assert not left(desk, since_ts=closed_ts)["closed"]


def test_opening_with_all_trades_and_the_whole_memory_fits_a_line() -> None:
    """The most trades that are carried and the most that protections keep are one line together."""
    cooldown = {"method": "CooldownPeriod", "stop_duration": 1440}
    desk = began(**KELLY, risk__protections=[cooldown])
    trade = RoundTrip("1000000MOGUSDT", START, 99_999_999 * UNIT)
    trade.closed_ts, trade.received, trade.reason = START, 99_999_999 * UNIT, "trailing_stop"
    for _ in range(TRADES_KEPT + 1):
        desk.risk._state.protections.on_trade(trade)
    closed = [[START, "-0.12345678"]] * (TRADES_CARRIED + 1)

    trades = left(desk, replace(opening(), trades={"closed": closed, "open": []}))
    memory = desk.risk.state()["protections"]
    begun = replace(opening(), trades=trades, memory=memory)
    line = codec().encode("control", replace(desk.events("control")[0], payload=begun))

    assert len(trades["closed"]) == TRADES_CARRIED
    assert len(memory["trades"]) == TRADES_KEPT
    assert len(line) < desk.profile["queues"]["line_bytes_max"] * 9 // 10  # Lots and plans as well.


def test_sale_that_leaves_less_than_the_least_quantity_closes_its_trade(tmp_path: Path) -> None:
    """The trade is closed for the next run where it was for this run's risk."""
    desk = began(**KELLY, execution__fee_asset="base")
    bought(desk)
    desk.instrument(qty_min="0.01", qty_max="0.994")
    sold(desk, "110")

    put_ended(tmp_path, desk)

    ((_, ratio),) = desk.risk.state()["closed_trades"]["closed"]
    assert desk.risk._state.positions.portfolio.position_qty(SYMBOL) == 500_000
    trades = opening_behind(tmp_path, START + HOUR_MS, trades_ms=HOUR_MS).trades
    assert trades is not None
    assert [each[1] for each in trades["closed"]] == [ratio]
    assert trades["open"] == []


def test_sale_in_parts_closes_its_trade_with_the_last() -> None:
    """A part that leaves less than the least quantity is not the end while more is to be sold."""
    desk = began(**KELLY, execution__fee_asset="base")
    bought(desk)
    desk.instrument(qty_min="0.01")
    desk.tick("110", "110", bid_qty="0.993")
    desk.signal("SELL")
    for bid_qty in ("0.993", "100"):
        desk.tick("110", "110", bid_qty=bid_qty)

    ((_, ratio),) = desk.risk.state()["closed_trades"]["closed"]
    assert len(desk.events("fills")) == 3
    assert [each[1] for each in left(desk)["closed"]] == [ratio]


@pytest.mark.parametrize(
    ("trades", "said"),
    [
        ({"closed": [[START]], "open": []}, "run_opening: trades: ValueError"),
        ({"closed": [[START, "much"]], "open": []}, "run_opening: trades"),
        ({"closed": [], "open": [{"symbol": SYMBOL}]}, "run_opening: trades: KeyError"),
        (
            {
                "closed": [],
                "open": [
                    {
                        "symbol": SYMBOL,
                        "opened_ts": START,
                        "closed_ts": 0,
                        "spent": "100",
                        "received": "0",
                        "reason": "",
                    }
                ],
            },
            f"an open trade of {SYMBOL}, expected a held symbol",
        ),
    ],
)
def test_trades_that_are_damaged_stop_the_run(trades: JsonObject, said: str) -> None:
    """An opening whose trades cannot be read, or contradict what is held, is no opening."""
    with pytest.raises(InvariantError, match=said):
        Desk(config(**KELLY), first=replace(opening(), trades=trades))


def test_profile_without_kelly_ignores_trades_and_tells_none() -> None:
    """Trades that nobody counts change nothing."""
    desk = began(replace(opening(), trades={"closed": [[START, "-0.5"]], "open": []}))

    assert actions(desk.signal("BUY")) == [("ALLOW", "allowed")]
    assert "closed_trades" not in desk.risk.state()
