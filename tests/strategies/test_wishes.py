"""Wishes of a strategy: what `buy` takes and refuses."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from minibot.events.model import PositionPlan
from minibot.strategies.core import core_from_config, core_from_state
from minibot.strategies.decision import adjust, buy, sell
from tests.strategies.strategy_feed import START, SYMBOL, config, event


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"notional": 0}, "above zero"),
        ({"notional": "-1"}, "above zero"),
        ({"notional": "0.000000001"}, "at most 8 places"),
        ({"notional": 12.5}, "a Decimal, a whole number or decimal text"),
        ({"notional": True}, "a Decimal, a whole number or decimal text"),
        ({"notional": "NaN"}, "above zero"),
        ({"notional": Decimal("Infinity")}, "above zero"),
        ({"notional": "ten"}, "not an amount"),
        ({"notional": "1e30"}, "at most 1000000000000"),
        ({"share_bps": 0}, "from 1 to 10000"),
        ({"share_bps": 10_001}, "from 1 to 10000"),
        ({"share_bps": 1.0}, "from 1 to 10000"),
        ({"trail": "-3"}, "above zero"),
        ({"trail_bps": "NaN"}, "above zero"),
        ({"trail_bps": 10_001}, "at most 10000"),
        ({"trail_atr": "0.00001"}, "at most 4 places"),
        ({"trail_atr": 2.5}, "a Decimal, a whole number or decimal text"),
        ({"stop": 93.1}, r"found 93\.1; of a float write the places that you mean: f'{stop:\.2f}'"),
        ({"trail": "3", "trail_bps": "30"}, "one of trail, trail_bps and trail_atr"),
        ({"limit": "0"}, "above zero"),
        ({"limit": "-95"}, "above zero"),
        ({"limit": float("nan")}, "a Decimal, a whole number or decimal text"),
        ({"limit": "sNaN"}, "above zero"),
        ({"valid_ms": 0}, "from 1 to"),
        ({"valid_ms": 86_400_001}, "from 1 to"),
        ({"valid_ms": "60"}, "from 1 to"),
        ({"score": 111}, "expected 0 to 110"),
        ({"score": -1}, "expected 0 to 110"),
        ({"confidence": 101}, "0 to 100, found"),
        ({"confidence": -1}, "0 to 100, found"),
    ],
)
def test_wish_that_nobody_could_meet_is_an_error_of_the_strategy(
    wish: dict[str, Any], words: str
) -> None:
    """A wrong value is told where it is given, with what is expected."""
    with pytest.raises(ValueError, match=words):
        buy("a test", **wish)


def test_wish_is_exact() -> None:
    """Text, whole numbers and decimals mean the same amount."""
    wishes = [buy("a test", notional=amount).wish for amount in ("30", 30, Decimal("30.00"))]

    assert [wish.notional for wish in wishes if wish is not None] == [30 * 10**8] * 3
    assert buy("a test").wish is None


def test_wish_may_be_as_large_as_it_may_be() -> None:
    """Each bound itself is allowed: a day, all of the exposure, the highest score."""
    most = buy("a test", valid_ms=86_400_000, share_bps=10_000, score=110, confidence=100)

    assert (most.valid_ms, most.score, most.confidence) == (86_400_000, 110, 100)
    assert most.wish is not None
    assert most.wish.share_bps == 10_000
    assert buy("a test", valid_ms=1, score=0, confidence=0).valid_ms == 1


def test_adjustment_wants_a_level() -> None:
    """Without one it would say nothing; its levels are as exact as those of a purchase."""
    with pytest.raises(ValueError, match="a stop, a target or a trail"):
        adjust("a test")
    with pytest.raises(ValueError, match="above zero"):
        adjust("a test", stop=Decimal("NaN"))

    wish = adjust("a test", stop="97.5", trail_atr=2, valid_ms=500).wish
    assert wish is not None
    assert (wish.stop, wish.trail_atr) == (9_750_000_000, 20_000)


@pytest.mark.parametrize(
    "wish",
    [
        *({"share_bps": 0}, {"qty": "0"}, {"qty": Decimal("NaN")}, {"qty": -1}, {"qty": 0.5}),
        *({"notional": "0"}, {"notional": 2.5}, {"notional": "-1"}),
    ],
)
def test_part_that_nobody_could_sell_is_an_error_of_the_strategy(wish: dict[str, Any]) -> None:
    """A wrong value is told where it is given; without one the whole is sold."""
    with pytest.raises(ValueError, match="expected"):
        sell("a test", **wish)
    assert sell("a test").wish is None


def told(**changes: Any) -> PositionPlan:
    """Return a plan of a position, as risk tells it."""
    values: dict[str, Any] = {
        "symbol": SYMBOL,
        "qty": "1",
        "moved": ("opened",),
        "stop": "97.00000000",
        "stop_reason": "signal_stop",
        "rungs": ("104.00000000",),
        "original_qty": "1",
    }
    return PositionPlan(**(values | changes))


def test_view_shows_the_plan_that_risk_told_last_also_after_a_restart() -> None:
    """Levels are exact; a closed position has none."""
    profile = config()
    core = core_from_config(profile)
    view = core.view(SYMBOL)
    assert view.plan is None

    core.process(event(START, 1, told(), "risk_role"), 1, START)
    kept = core_from_state(profile, core.state()).view(SYMBOL).plan
    assert view.plan == kept == (Decimal("97"), "signal_stop", None, None, (Decimal("104"),))

    core.process(event(START, 2, told(qty="0", original_qty=None), "risk_role"), 2, START)
    assert view.plan is None
