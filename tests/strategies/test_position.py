"""Position of a strategy: its average entry price is the portfolio's own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from minibot.accounting.portfolio import Portfolio
from minibot.cores.messages import FillMessage
from minibot.events.decimals import parse_fixed
from minibot.events.model import Fill
from minibot.events.money import UNIT, amount_text
from minibot.strategies.position import Position

ID = "00000000-0000-4000-8000-000000000001"
STEP = UNIT // 1000
MOVES = st.lists(
    st.tuples(st.integers(-20_000, 20_000).filter(bool), st.integers(1, 90_000), st.booleans()),
    min_size=1,
    max_size=12,
)


@given(MOVES)
def test_average_entry_price_is_the_portfolios_whatever_pays_the_fees(
    moves: list[tuple[int, int, bool]],
) -> None:
    """Quantity and average price agree after each fill, with fees in quote and in coins."""
    portfolio = Portfolio({"USDT": 10**12 * UNIT}, ())
    position = Position("BTCUSDT")
    for steps, price, is_in_coins in moves:
        held = portfolio.position_qty("BTCUSDT") // STEP
        is_buy = steps > 0
        qty = steps * STEP if is_buy else min(-steps, held) * STEP
        if not qty:
            continue
        fee = qty // 1000
        fill = Fill(
            order_id=ID,
            client_order_id=ID,
            symbol="BTCUSDT",
            side="BUY" if is_buy else "SELL",
            qty=amount_text(qty),
            price=str(price),
            fee=amount_text(fee),
            fee_asset="BTC" if is_buy and is_in_coins else "USDT",
            liquidity="TAKER",
        )
        portfolio.apply(fill, 1)
        position.apply(FillMessage.read(fill), "BTC")

        left = portfolio.position_qty("BTCUSDT")
        assert position.qty == parse_fixed(amount_text(left), 18)
        average = amount_text(portfolio.entry_price_avg("BTCUSDT")) if left else ""
        assert position.entry_price_avg_text == average
