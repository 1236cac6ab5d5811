"""Figures of each symbol for the live table: they add up to the run's result."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from minibot.accounting.performance import Performance
from minibot.accounting.symbol_figures import result_figures, symbol_figures
from minibot.events.model import MarketTick, PriceMark, RunOpening
from tests.accounting.fills import fill

T0 = 1_700_000_000_000


def tick(symbol: str, bid: str, ask: str) -> MarketTick:
    return MarketTick(
        symbol=symbol,
        price=ask,
        kind="quote",
        bid=bid,
        bid_qty="1",
        ask=ask,
        ask_qty="1",
        recv_mono_ns=1,
    )


def performance(*lots: dict[str, Any]) -> Performance:
    opening = RunOpening(cash={"USDT": "10000"}, lots=lots, budgets_used={})
    return Performance(opening, "USDT")


def test_symbols_have_price_position_and_their_own_results() -> None:
    """A loss and a half-sold position in one symbol, a gain in another, none in a third."""
    made = performance()
    made.on_market([tick("AUSDT", "99.9", "100.1"), tick("BUSDT", "9", "11"), tick("C", "5", "6")])
    for number, each in enumerate(
        (
            fill("BUY", "1", "100", "0.10", "AUSDT"),
            fill("SELL", "1", "98", "0.10", "AUSDT"),
            fill("BUY", "2", "10", "0.10", "BUSDT"),
            fill("SELL", "2", "12", "0.10", "BUSDT"),
            fill("BUY", "2", "100", "0.10", "AUSDT"),
            fill("SELL", "1", "101", "0.10", "AUSDT"),
        )
    ):
        made.on_fill(each, T0 + number)

    figures = symbol_figures(made)

    assert {name: figures["AUSDT"][name] for name in ("qty", "entry", "mark", "spread")} == {
        "qty": "1.00000000",
        "entry": "100.00000000",
        "mark": "100.00000000",
        "spread": "0.20000000",
    }
    # -2 and +1 gross, four fees of 0.10.
    assert figures["AUSDT"]["realised"] == "-1.40000000"
    assert figures["AUSDT"]["opened_ts"] == T0 + 4
    assert (figures["AUSDT"]["wins"], figures["AUSDT"]["losses"]) == (0, 1)
    assert figures["BUSDT"]["realised"] == "3.80000000"
    assert (figures["BUSDT"]["wins"], figures["BUSDT"]["losses"]) == (1, 0)
    assert figures["BUSDT"]["entry"] is figures["BUSDT"]["unrealised"] is None
    assert (figures["C"]["mark"], figures["C"]["qty"]) == ("5.50000000", "0.00000000")


def test_realised_and_unrealised_add_up_to_the_result() -> None:
    """Over all symbols, with an open position that has lost."""
    made = performance()
    made.on_tick(tick("AUSDT", "99", "101"))
    made.on_fill(fill("BUY", "3", "101", "0.10", "AUSDT"), T0)
    made.on_tick(tick("AUSDT", "96", "98"))

    result, symbols = result_figures(made), symbol_figures(made)

    assert result["unrealised"] == symbols["AUSDT"]["unrealised"] == "-12.00000000"
    assert result["realised"] == symbols["AUSDT"]["realised"] == "-0.10000000"
    assert Decimal(result["pnl"]) == Decimal(result["realised"]) + Decimal(result["unrealised"])
    assert (result["trades"], result["wins"], result["losses"]) == (0, 0, 0)


@pytest.mark.parametrize("bought", ["0", "2"])
def test_parts_of_the_result_begin_at_a_carried_lots_first_mark(bought: str) -> None:
    """Ten carried at 100 and first marked at 90 are sold in parts at 95, among purchases."""
    lot = {"symbol": "AUSDT", "qty": "10", "price": "100", "ts": T0}
    made = performance(lot)
    made.on_tick(tick("AUSDT", "90", "90"))
    fills = [fill("SELL", "4", "95", "0.10", "AUSDT"), fill("SELL", "6", "95", "0.10", "AUSDT")]
    if bought != "0":
        fills.insert(1, fill("BUY", bought, "97", "0.10", "AUSDT"))
    parts = [result_figures(made)]
    for number, each in enumerate(fills):
        made.on_fill(each, T0 + number)
        made.on_tick(tick("AUSDT", "93", "95"))
        parts.append(result_figures(made))

    for result in parts:
        assert Decimal(result["pnl"]) == Decimal(result["realised"]) + Decimal(result["unrealised"])
    assert (parts[0]["realised"], parts[0]["unrealised"]) == ("0.00000000", "0.00000000")
    # Four sold for 5 more than their first mark, six that are worth 4 more.
    assert (parts[1]["realised"], parts[1]["unrealised"]) == ("19.90000000", "24.00000000")
    fees = Decimal("0.10") * len(fills)
    assert Decimal(parts[-1]["realised"]) == 50 - fees
    assert symbol_figures(made)["AUSDT"]["realised"] == parts[-1]["realised"]
    assert parts[-1]["wins"] == (bought == "0")


@pytest.mark.parametrize("is_marked", [False, True])
def test_looking_changes_nothing(is_marked: bool) -> None:
    """The figures of a night do not depend on whether somebody looked at its table."""
    looked, left = performance(), performance()
    events = [tick("AUSDT", "99", "101"), tick("AUSDT", "0", "0")]
    for made in (looked, left):
        for each in events:
            made.on_tick(each)
            if is_marked:
                made.on_mark(PriceMark("AUSDT", "77", "miniTicker", T0))
            if made is looked:
                symbol_figures(made)
                result_figures(made)
        made.on_fill(fill("BUY", "1", "100", "0.10", "AUSDT"), T0)

    assert looked.to_json() == left.to_json()
    assert symbol_figures(looked) == symbol_figures(left)


def test_carried_position_has_its_price_of_entry_and_no_gain_before_its_first_mark() -> None:
    """The purchase price of a carried lot is shown; the run's result begins at its first mark."""
    lot = {"symbol": "AUSDT", "qty": "1", "price": "90", "cost": "90", "ts": T0}
    made = performance(lot)
    before = symbol_figures(made)["AUSDT"]
    made.on_tick(tick("AUSDT", "99", "101"))

    after = symbol_figures(made)["AUSDT"]

    assert (before["entry"], before["unrealised"], before["price"]) == (
        "90.00000000",
        "0.00000000",
        None,
    )
    assert (after["entry"], after["unrealised"]) == ("90.00000000", "10.00000000")
    assert result_figures(made)["pnl"] == "0.00000000"


def test_carried_position_sold_before_any_mark_can_be_marked_and_bought_again() -> None:
    """Its round trip has begun at its cost and is over; what is bought then has its own."""
    lot = {"symbol": "AUSDT", "qty": "1", "price": "100", "ts": T0}
    made = performance(lot)
    made.on_fill(fill("SELL", "1", "110", "0", "AUSDT"), T0 + 1)
    made.on_mark(PriceMark("AUSDT", "105", "miniTicker", T0 + 2))
    made.on_fill(fill("BUY", "1", "105", "0", "AUSDT"), T0 + 3)
    made.on_tick(tick("AUSDT", "107", "107"))

    result = result_figures(made)
    assert (result["trades"], result["wins"]) == (1, 1)
    assert result["pnl"] == "12.00000000"
    assert (result["realised"], result["unrealised"]) == ("10.00000000", "2.00000000")
