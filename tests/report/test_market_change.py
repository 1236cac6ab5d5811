"""Market change and buy-and-hold: exact, of one symbol and of several."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

from hypothesis import given
from hypothesis import strategies as st

from minibot.report.market_change import MarketChange

UNIT = 10**8
START = 10_000 * UNIT
PRICES = st.integers(1, 10**15)
CLOSES = st.dictionaries(
    st.sampled_from(["BTCUSDT", "ETHUSDT", "SOLUSDT"]), st.tuples(PRICES, PRICES), min_size=1
)


def test_rise_of_a_tenth_earns_a_tenth_less_one_fee() -> None:
    """10,000 buys 9,990.00999 worth for 10 bps, which is 10,989.01 a tenth higher."""
    market = MarketChange({"BTCUSDT": (50_000 * UNIT, 55_000 * UNIT)}, START, "10")

    assert market.to_json() == {
        "change": "0.100000",
        "symbols": [
            {
                "symbol": "BTCUSDT",
                "first_close": "50000.00000000",
                "last_close": "55000.00000000",
                "change": "0.100000",
            }
        ],
        "buy_and_hold": {
            "equity": "10989.01098900",
            "fees": "9.99001000",
            "pnl": "989.01098900",
            "return": "0.098901",
        },
    }


def test_several_symbols_count_the_same_whatever_they_cost() -> None:
    """One doubles, one halves: a quarter more in the mean, and so much for equal parts."""
    closes = {"ETHUSDT": (2_000 * UNIT, 4_000 * UNIT), "SOLUSDT": (UNIT, UNIT // 2)}
    market = MarketChange(closes, START, "0")

    assert market.ratio == "0.250000"
    assert market.equity == 12_500 * UNIT
    assert market.fees == 0


def test_without_a_price_nothing_is_said() -> None:
    """No market, and a symbol without a price, have no change that would look like a result."""
    for closes in ({}, {"BTCUSDT": (0, 0)}):
        market = MarketChange(closes, START, "10")

        assert market.ratio is None
        assert market.to_json()["buy_and_hold"] == dict.fromkeys(
            ("equity", "fees", "pnl", "return")
        )


@given(CLOSES, st.integers(1, 10**15), st.integers(0, 500))
def test_buy_and_hold_is_what_the_rule_says_rounded_against_it(
    closes: dict[str, tuple[int, int]], start: int, fee_bps: int
) -> None:
    """Plain decimals give the same to the last unit of each part."""
    market = MarketChange(closes, start, str(fee_bps))
    part = Decimal(start // len(closes))
    bought = part / (1 + Decimal(fee_bps) / 10_000)
    exact = sum(bought * last / first for first, last in closes.values())
    largest = max(Decimal(last) / first for first, last in closes.values())

    assert market.equity is not None
    assert start % len(closes) + exact - market.equity + Decimal("0.001") >= 0
    assert start % len(closes) + exact - market.equity <= len(closes) * (largest + 2)
    changes = (Decimal(last) / first - 1 for first, last in closes.values())
    mean = sum(changes, Decimal()) / len(closes)
    assert market.ratio is not None
    shown = mean.quantize(Decimal("0.000001"), ROUND_HALF_EVEN)
    assert abs(Decimal(market.ratio) - shown) <= Decimal("0.000001")
