"""Fees of paper fills: rounded up against the bot, alike interpreted and compiled."""

from __future__ import annotations

import pytest

from minibot.events.money import UNIT, parse_rate
from minibot.execution import fees
from minibot.execution.fees import MAKER, TAKER, FeeRates

RATES = FeeRates(parse_rate("1"), parse_rate("7.5"))


@pytest.mark.parametrize("is_interpreted", [True, False])
@pytest.mark.parametrize(
    ("notional", "liquidity", "fee"),
    [
        (100 * UNIT, TAKER, 7_500_000),
        (100 * UNIT, MAKER, 1_000_000),
        (100 * UNIT + 1, TAKER, 7_500_001),
        (1, TAKER, 1),
        (0, TAKER, 0),
        (10**18, TAKER, 75 * 10**13),
    ],
)
def test_fee_is_its_rate_of_the_notional_rounded_up(
    notional: int, liquidity: str, fee: int, is_interpreted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """7.5 bps of 100 are 7.5 cents; a part of a hundred-millionth is a whole one."""
    monkeypatch.setattr(fees, "IS_INTERPRETED", is_interpreted)

    assert RATES.fee(notional, liquidity) == fee
    assert RATES.with_fee(notional, liquidity) == notional + fee


@pytest.mark.parametrize("liquidity", [TAKER, MAKER])
@pytest.mark.parametrize("is_in_base", [False, True])
def test_affordable_notional_is_the_largest_that_cash_pays(
    liquidity: str, is_in_base: bool
) -> None:
    """It costs no more than the cash, a hundred-millionth more does; a fee in coins costs none."""
    rates = FeeRates(RATES.maker, RATES.taker, is_in_base)
    for cash in (0, 1, UNIT, 100 * UNIT + 7):
        most = rates.affordable(cash, liquidity)

        assert rates.with_fee(most, liquidity) <= cash < rates.with_fee(most + 1, liquidity)


@pytest.mark.parametrize("is_interpreted", [True, False])
def test_least_fee_of_the_least_amount_is_one_unit(
    is_interpreted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small the part of a hundred-millionth, it is paid."""
    monkeypatch.setattr(fees, "IS_INTERPRETED", is_interpreted)

    assert FeeRates(1, 1).fee(1, MAKER) == 1
