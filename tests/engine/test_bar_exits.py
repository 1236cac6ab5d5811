"""Exits inside a bar: low before high, unless the low opens the position; stops in their order."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.accounting.order_rules import OrderRules
from minibot.engine.intrabar import Candle, Intrabar, TouchModel
from minibot.events.money import UNIT
from minibot.risk.watch import RiskWatch
from tests.risk.desk import SYMBOL, Desk, actions, config, fills, instrument, results

MINUTE_MS = 60_000
LONG_MS = 60 * MINUTE_MS
RESTS: dict[str, Any] = {"execution__order_ttl_market_ms": LONG_MS}
HARD: dict[str, Any] = {"risk__hard_stop_bps": "1000"}
TRAIL: dict[str, Any] = HARD | {"risk__trail_bps": "100"}
LADDER: dict[str, Any] = HARD | {
    "risk__exit_policy": "ladder",
    "risk__ladder_1_bps": "200",
    "risk__ladder_2_bps": "400",
}
AGES: dict[str, Any] = HARD | {"risk__targets_by_age": [[0, "900"], [12, "200"], [20, "100"]]}

RECOVERY: dict[str, Any] = HARD | {
    "risk__exit_policy": "campaign",
    "risk__campaign_entries_max": 2,
    "risk__campaign_loss_max": "210",
    "risk__recovery": [["300", "hold"], ["500", "de-risk"], ["700", "exit"]],
    "risk__recovery_part_percent": 50,
}


class Bars:
    """A desk that holds ten coins bought at 100, and is shown bars of a quarter of an hour.

    With a limit it is flat, and that purchase rests.
    """

    def __init__(self, limit: str | None = None, **changes: Any) -> None:
        self.desk = Desk(config(**changes)).ready()
        self.desk.tick("100", "100")
        if limit is None:
            self.desk.buy()
        else:
            self.desk.signal("BUY", limit_price=limit, horizon_ms=LONG_MS)
        self._intrabar = Intrabar(SYMBOL, OrderRules.of(instrument()), TouchModel(0, 100, 50))
        self._intrabar.resume(self.desk.ts, 1_000 * UNIT)
        self.said: list[tuple[str, str]] = []
        self.watch: RiskWatch = self.desk.risk.watch
        self.bids: list[int] = []

    def show(self, first: float, high: float, low: float, close: float) -> None:
        """Show a bar."""
        begins = self.desk.ts + 1
        units = [round(price * UNIT) for price in (first, high, low, close)]
        opened, highest, lowest, closed = units
        ends, volume = begins + 15 * MINUTE_MS, 10**6 * UNIT
        candle = Candle(begins, ends, opened, highest, lowest, closed, volume)
        for shown in self._intrabar.ticks(candle, self.watch):
            self.desk.ts = shown.at
            self.bids.append(shown.bid)
            self.said += actions(self.desk.put("market_ticks", shown.payload(SYMBOL)))
        self._intrabar.on_closed(candle)

    @property
    def sales(self) -> list[tuple[str, str]]:
        """Quantities and prices of the sales."""
        found = fills(self.desk.events("fills"))
        return [(fill.qty, fill.price) for fill in found if fill.side == "SELL"]


@pytest.mark.parametrize(
    ("bars", "sales"),
    [
        # The low is above the stop that stood before; the high raises it above that low.
        ([(101, 110, 100.5, 109.5)], []),
        # The same, and the close falls back through the stop that the high raised.
        ([(101, 110, 100.5, 105)], ["108.89"]),
        # The low reaches the stop that stood before: the high comes too late.
        ([(101, 110, 98.5, 109.5)], ["99.98"]),
        # The next bar opens below the raised stop: the gap is sold at the gap.
        ([(101, 110, 100.5, 109.5), (95, 99, 94, 96)], ["94.99"]),
        # Entry and the rise of its own open: the open counts before the low.
        ([(106, 106, 104, 105)], ["104.93"]),
    ],
)
def test_trail_that_a_high_raises_acts_on_what_follows(
    bars: list[tuple[float, float, float, float]], sales: list[str]
) -> None:
    """A trailing stop is hit by no price that came before the one that raised it."""
    one = Bars(**TRAIL)

    for bar in bars:
        one.show(*bar)

    assert [price for _, price in one.sales] == sales
    assert {reason for _, reason in one.said} <= {"trailing_stop"}


def test_stop_counts_before_the_rung_of_the_same_bar() -> None:
    """A stop is hit before the rung of its bar, and sells the whole position."""
    one = Bars(**LADDER, risk__stop_bps="100")

    one.show(100, 105, 98, 104)

    assert (one.said, one.sales) == ([("EXIT", "stop_loss")], [("10.000", "99.00")])


def test_rungs_of_one_bar_are_sold_each_at_its_price() -> None:
    """A bar through both rungs sells the parts at 102 and 104, no better."""
    one = Bars(**LADDER)

    one.show(100, 105, 99, 103)

    assert one.sales == [("5.000", "102.00"), ("3.000", "104.00")]


def test_recovery_rows_of_one_bar_act_each_at_its_price() -> None:
    """A bar that falls through all three rows sells half at 95 and the rest at 93, not at 92."""
    one = Bars(**RECOVERY)

    one.show(100, 100, 92, 94)

    assert one.sales == [("5.000", "95.00"), ("5.000", "93.00")]


def test_target_that_falls_inside_a_bar_is_met_on_the_way_up() -> None:
    """The target falls to 101 between low and high: sold there, not at the 102 of before."""
    one = Bars(**AGES)

    one.show(100, 101, 99, 100)
    one.show(100, 108, 99, 100)

    assert one.sales == [("10.000", "101.00")]
    assert {reason for _, reason in one.said} == {"age_target"}


def test_break_even_that_a_high_sets_is_hit_by_the_close_alone() -> None:
    """The low of the bar is below the entry price, and hits nothing."""
    one = Bars(**HARD, risk__break_even_bps="200")

    one.show(100, 103, 98, 99)

    assert (one.said, one.sales) == ([("EXIT", "break_even")], [("10.000", "100.00")])


@pytest.mark.parametrize(
    ("bars", "sales"),
    [
        # The high may have come before the low, which opened the position.
        ([(100, 103, 97, 98)], []),
        # It may also be the open itself.
        ([(100, 100, 97, 98)], []),
        # The close lies behind the low on either path: its way reaches the target.
        ([(100, 103, 97, 102)], ["99.96"]),
        # From the next bar on the position is held, and low comes before high.
        ([(100, 103, 97, 98), (98, 103, 98, 101)], ["99.96"]),
    ],
)
def test_position_that_a_low_opens_takes_no_target_at_the_high_of_its_bar(
    bars: list[tuple[float, float, float, float]], sales: list[str]
) -> None:
    """A limit of 98 that the low fills is sold at its target of 99.96 by what surely follows."""
    one = Bars(limit="98.00", **RESTS, risk__take_profit_bps="200")

    for bar in bars:
        one.show(*bar)

    assert [price for _, price in one.sales] == sales
    assert one.watch.entered_at_low == 1


@pytest.mark.parametrize(
    "bars",
    [
        # The low fills the purchase, and the close lies beyond its target.
        [(100, 103, 97, 102)],
        # An open that is the low fills it, and the high follows at once.
        [(100, 100, 99, 100), (97.5, 103, 97.5, 98)],
    ],
)
def test_target_by_age_counts_from_the_fill_on(
    bars: list[tuple[float, float, float, float]],
) -> None:
    """A limit of 98 is sold at 99.96, its target of no minutes, and not at the bar's next price."""
    one = Bars(limit="98.00", **RESTS, **HARD, risk__targets_by_age=[[0, "200"], [60, "100"]])

    for bar in bars:
        one.show(*bar)

    assert one.said == [("EXIT", "age_target")]
    assert [price for _, price in one.sales] == ["99.96"]


def test_quoted_target_of_a_fill_rests_before_the_price_rises() -> None:
    """An open that is the low fills 98: the OCO has arrived at 99.96, and sells there, not at 103.

    Its target is a LIMIT_MAKER, which would take if its first tick were the one at its price.
    """
    levels = {"risk__stop_bps": "200", "risk__take_profit_bps": "200", "risk__trail_bps": "300"}
    venue = {"risk__exits_at": "venue", "risk__stop_limit_bps": "20"}
    one = Bars(limit="98.00", **RESTS, **HARD, **levels, **venue, risk__trail_from_bps="50")

    one.show(100, 100, 99, 100)
    one.show(97.5, 103, 97.5, 98)

    assert one.said[-1] == ("EXIT", "take_profit")
    assert [price for _, price in one.sales] == ["99.96"]
    assert ("EXPIRED", "would_take") not in results(event for _, event in one.desk.log)


def test_position_that_a_low_opens_takes_its_stop_in_the_same_bar() -> None:
    """A limit of 98 has its stop at 97.51, above the low of 97: it is sold in its bar."""
    one = Bars(limit="98.00", **RESTS, risk__stop_bps="50", risk__take_profit_bps="200")

    one.show(100, 103, 97, 98)

    assert one.said == [("EXIT", "stop_loss")]
    assert one.sales == [("10.000", "97.51")]


def test_purchase_that_the_open_fills_has_low_before_high() -> None:
    """A purchase filled at the open is held when the low comes: its bar is walked as ever."""
    one = Bars(limit="98.00", **RESTS, risk__take_profit_bps="200")

    one.show(97.5, 103, 97.2, 98)

    assert one.bids.index(min(one.bids)) < one.bids.index(max(one.bids))
    assert one.watch.entered_at_low == 0


def test_path_tells_nothing_of_the_low_to_come() -> None:
    """High comes first while a purchase rests, whether or not the low will reach it."""
    near, far = (Bars(limit="98.00", **RESTS) for _ in range(2))

    near.show(100, 103, 97, 98)
    far.show(100, 103, 99, 100)

    until_high = near.bids.index(max(near.bids))
    assert near.bids[: until_high + 1] == far.bids[: until_high + 1]
    assert (near.watch.entered_at_low, far.watch.entered_at_low) == (1, 0)
