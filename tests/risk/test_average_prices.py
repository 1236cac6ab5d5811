"""Value of an order at the market: as the venue judges it, at the average of the last minutes."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.events.model import AveragePrice, Event
from tests.risk.desk import (
    SYMBOL,
    Desk,
    actions,
    check_of,
    config,
    fills,
    intents,
    opening,
    results,
)
from tests.risk.test_campaign_recovery import holder as campaigner
from tests.risk.test_quotes import LIFE_MS, QUOTED
from tests.risk.test_risk_ladder import holder as climber

ACCEPTED = ("ACCEPTED", "accepted")


def average(one: Desk, price: str) -> list[Event]:
    """Tell the average of five minutes; nothing follows from it."""
    return one.put("market_ticks", AveragePrice(SYMBOL, price, 5, one.ts))


def leaver(qty: str, **rules: Any) -> Desk:
    """Return a desk that holds coins and sells them with the first tick, if it may."""
    lot = {"symbol": SYMBOL, "qty": qty, "price": "100", "ts": 1}
    one = Desk(config(risk__time_exit_ms=1), first=opening("9000", (lot,)))
    one.instrument(**rules)
    return one


def sold(one: Desk) -> list[str]:
    """Return the quantities that were sold."""
    return [fill.qty for fill in fills(one.events("fills")) if fill.side == "SELL"]


# --- exits ----------------------------------------------------------------------------------------


@pytest.mark.row("B-53")
def test_sale_that_the_average_admits_is_made_at_a_touch_worth_too_little() -> None:
    """A fall to 60 makes 0.15 coins worth nine; at the average of 70 the venue takes them."""
    one = leaver("0.15")
    average(one, "70")
    one.restarted()

    events = one.tick("60", "60")
    one.tick("60", "60")

    assert actions(events) == [("EXIT", "time_exit")]
    assert results(events) == [ACCEPTED]
    assert sold(one) == ["0.150"]


@pytest.mark.row("B-53")
def test_sale_waits_for_an_average_that_admits_it() -> None:
    """At 67 the coins are worth ten, at the average of 60 nine: the venue would refuse them."""
    one = leaver("0.15")
    average(one, "60")

    early = one.tick("67", "67") + one.tick("67", "67")
    events = average(one, "67")
    late = one.tick("67", "67")

    assert actions(early) == [("BLOCK", "min_notional")]
    assert events == []
    assert actions(late) == [("EXIT", "time_exit")]
    assert results(late) == [ACCEPTED]


@pytest.mark.parametrize(
    ("late_ms", "said"), [(0, ("BLOCK", "min_notional")), (1, ("EXIT", "time_exit"))]
)
def test_average_older_than_its_minutes_judges_no_sale(late_ms: int, said: tuple[str, str]) -> None:
    """Then the bid counts, as where no average is told."""
    one = leaver("0.15")
    average(one, "60")

    assert actions(one.tick("67", "67", after_ms=300_000 + late_ms)) == [said]


def test_sale_is_cut_to_the_largest_value_at_the_average() -> None:
    """Ten coins, 650 at most: five at the average of 130, where the bid of 94 would admit 6.914."""
    one = leaver("10", notional_max="650")
    average(one, "130")

    events = one.tick("94", "94")

    assert [intent.qty for intent in intents(events)] == ["5.000"]
    assert results(events) == [ACCEPTED]


@pytest.mark.parametrize("at", ["role", "venue"])
def test_rung_waits_for_an_average_at_which_its_part_is_not_too_small(at: str) -> None:
    """Five coins are worth 449.95 at the average of 89.99, of 450 that an order has to be worth."""
    plain, cut = (climber(risk__exits_at=at) for _ in "ab")
    for one in (plain, cut):
        one.instrument(notional_min="450")
        average(one, "89.99")
        early = [event for _ in range(3) for event in one.tick("103", "103", trade="103")]
        if one is cut:
            one.restarted()
        average(one, "90")
        late = one.tick("103", "103", trade="103")
        one.tick("103", "103", trade="103")

        assert ("EXIT", "ladder_target") not in actions(early)
        assert actions(late)[-1] == ("EXIT", "ladder_target")
        assert sold(one) == ["5.000"]
    assert plain.log_bytes() == cut.log_bytes()


@pytest.mark.parametrize(("price", "qty"), [("89.99", "10.000"), ("90", "5.000")])
def test_part_of_a_campaign_too_small_at_the_average_sells_all(price: str, qty: str) -> None:
    """Half of ten coins has to be worth 450 at the average, or all are sold."""
    one = campaigner()
    one.instrument(notional_min="450")
    average(one, price)

    for _ in range(2):
        one.tick("95", "95", trade="95")

    assert sold(one) == [qty]


# --- entries --------------------------------------------------------------------------------------


@pytest.mark.row("B-53")
@pytest.mark.parametrize(
    ("price", "notional", "said", "value"),
    [
        ("90.90", "11", ("BLOCK", "min_notional"), "9.99900000"),
        ("90.91", "11", ("ALLOW", "allowed"), "11.00000000"),
        ("110", "9.99", ("BLOCK", "min_notional"), "9.90000000"),
        ("110", "10", ("ALLOW", "allowed"), "10.00000000"),
        ("105.26", "950", ("ALLOW", "allowed"), "950.00000000"),
        ("105.27", "950", ("BLOCK", "notional_max"), "1000.06500000"),
        ("90", "1000.1", ("BLOCK", "notional_max"), "1000.10000000"),
    ],
)
def test_entry_has_to_pass_at_the_touch_and_at_the_average(
    price: str, notional: str, said: tuple[str, str], value: str
) -> None:
    """A purchase that one of both refuses is not sent; the check names the value that decided."""
    one = Desk(config(risk__order_notional=notional))
    one.instrument(notional_max="1000")
    one.tick("100", "100")
    average(one, price)
    one.restarted()

    answer = one.signal("BUY")

    assert actions(answer) == [said]
    assert results(answer) == ([ACCEPTED] if said[0] == "ALLOW" else [])
    assert check_of(answer[0], "order_notional")["value"] == value


@pytest.mark.parametrize("wish", [{}, {"limit_price": "99.98"}], ids=["maker", "limit"])
def test_quote_is_judged_at_its_own_price(wish: dict[str, Any]) -> None:
    """An entry that rests is no order at the market: the average of 90 refuses none."""
    quoted = {} if wish else QUOTED
    one = Desk(config(risk__order_notional="11", **quoted)).ready()
    average(one, "90")

    answer = one.signal("BUY", horizon_ms=5_000, **wish)

    assert actions(answer) == [("ALLOW", "allowed")]
    assert results(answer) == [ACCEPTED]


def test_rest_of_a_quote_is_not_bought_at_the_market_below_the_least_value() -> None:
    """The last purchase of an entry is one at the market, which the average of 90 refuses."""
    changes = QUOTED | {"risk__maker_end": "take", "risk__maker_requotes": 0}
    one = Desk(config(risk__order_notional="11", **changes)).ready()
    one.signal("BUY")
    one.tick()
    average(one, "90")

    events = one.tick(after_ms=LIFE_MS)

    assert ("BLOCK", "min_notional") in actions(events)
    assert intents(events) == []
