"""Portfolio and ledger: first in first out, to the last unit, rebuilt to the same bytes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from minibot.accounting.ledger import Ledger
from minibot.accounting.portfolio import Portfolio
from minibot.cores.messages import FillMessage
from minibot.events.model import Fill, RunOpening
from minibot.events.money import amount_text, parse_amount
from minibot.events.unit_sizes import HOUR_MS
from minibot.execution.portfolio import (
    OPEN_POSITIONS_FILE,
    PORTFOLIO_FILE,
    PortfolioStore,
    portfolio_json,
)
from minibot.kernel.canonical import decode, encode
from minibot.kernel.errors import IntegrityError, InvariantError
from minibot.kernel.files import hashed_bytes, read_hashed
from tests.accounting.fills import fill

OPENING = RunOpening(cash={"USDT": "10000"}, lots=(), budgets_used={})
T0 = 1_700_000_000_000


def portfolio_bytes(run_id: str, fills: Iterable[tuple[Fill, int]]) -> bytes:
    """Return the bytes of `portfolio.json` after these fills, each with its event's `ts`."""
    portfolio, ledger = Portfolio.from_opening(OPENING), Ledger.from_opening(OPENING)
    for done, ts in fills:
        ledger.append(portfolio.apply(done, ts), portfolio)
    return hashed_bytes(portfolio_json(run_id, portfolio, ledger), portfolio.fills + 1)


def three_lots() -> Portfolio:
    """Lots of 1 at 100, 2 at 110 and 1 at 130, fee 1 each: 450 spent and 3 of fees."""
    portfolio = Portfolio.from_opening(OPENING)
    portfolio.apply(fill("BUY", "1", "100", "1"), T0)
    portfolio.apply(fill("BUY", "2", "110", "1"), T0 + 1)
    portfolio.apply(fill("BUY", "1", "130", "1"), T0 + 2)
    return portfolio


@pytest.mark.row("D-50", "D-48")
def test_fifo_three_lots_sold_oldest_first_as_reckoned_by_hand() -> None:
    """A sale of 2.5 at 120 closes lot one and 1.5 of lot two."""
    portfolio = three_lots()

    booking = portfolio.apply(fill("SELL", "2.5", "120", "2"), T0 + 3)

    first, second = booking.trades
    # Lot one: 1 at 100, sold for 120. Lot two: 1.5 at 110 = 165, sold for 180.
    assert (first.qty, first.cost, first.proceeds) == tuple(map(parse_amount, ("1", "100", "120")))
    assert (second.qty, second.cost, second.proceeds) == tuple(
        map(parse_amount, ("1.5", "165", "180"))
    )
    assert (first.open_fill_n, second.open_fill_n, first.close_fill_n) == (1, 2, 4)
    assert portfolio.realised_pnl == parse_amount("35")
    assert portfolio.fees == parse_amount("5")
    # 10000 - 450 - 3 + 300 - 2
    assert portfolio.cash("USDT") == parse_amount("9845")
    rest = portfolio.lots("BTCUSDT")
    assert [(amount_text(lot.qty, 1), amount_text(lot.price, 0)) for lot in rest] == [
        ("0.5", "110"),
        ("1.0", "130"),
    ]
    # (0.5 * 110 + 130) / 1.5 = 123.3333..., rounded up
    assert amount_text(portfolio.entry_price_avg("BTCUSDT")) == "123.33333334"


@pytest.mark.row("D-34", "D-02")
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"side": "SELL", "qty": "4.001"}, "a position is never negative"),
        ({"side": "BUY", "qty": "100"}, "cash is never negative"),
        ({"qty": "0"}, "nothing is no fill"),
        ({"price": "0"}, "nothing is free"),
        ({"fee": "-1"}, "nobody pays us a fee"),
        ({"side": "HOLD"}, "a fill buys or sells"),
    ],
)
def test_portfolio_impossible_fill_raises_and_changes_nothing(
    change: dict[str, Any], why: str
) -> None:
    """An impossible fill raises, and neither portfolio nor ledger changes."""
    portfolio = three_lots()
    before = portfolio.to_json()

    with pytest.raises(InvariantError):
        portfolio.apply(structs.replace(fill("SELL", "1", "100"), **change), T0 + 3)

    assert portfolio.to_json() == before, why


@pytest.mark.row("D-02")
def test_purchase_of_all_cash_is_booked_and_of_a_hundred_millionth_more_is_not() -> None:
    """A purchase of all cash is booked; one unit more is refused."""
    short = Portfolio.from_opening(RunOpening({"USDT": "99.99999999"}, (), {}))
    with pytest.raises(InvariantError):
        short.apply(fill("BUY", "1", "99", "1"), T0)

    exact = Portfolio.from_opening(RunOpening({"USDT": "100"}, (), {}))
    exact.apply(fill("BUY", "1", "99", "1"), T0)

    assert exact.cash("USDT") == 0


@pytest.mark.row("U-23")
def test_opening_of_next_run_carries_cash_and_lots_without_loss() -> None:
    """The next run opens with exactly the cash and lots that the last one left."""
    portfolio = three_lots()
    portfolio.apply(fill("SELL", "0.333", "107.77", "0.0359"), T0 + 3)

    carried = Portfolio.from_opening(
        RunOpening(portfolio.opening_cash(), tuple(portfolio.opening_lots()), {})
    )

    assert carried.cash("USDT") == portfolio.cash("USDT")
    assert carried.position_cost("BTCUSDT") == portfolio.position_cost("BTCUSDT")
    assert [(lot.qty, lot.ts) for lot in carried.lots("BTCUSDT")] == [
        (lot.qty, lot.ts) for lot in portfolio.lots("BTCUSDT")
    ]


AMOUNT = st.integers(1, 5_000).map(lambda n: amount_text(n * 10**5, 3))
PRICE = st.integers(1, 300_000).map(lambda n: amount_text(n * 10**6, 2))
ODD = st.integers(1, 10**12).map(amount_text)
FEE = st.integers(0, 10**9).map(amount_text)
MOVE = st.tuples(
    st.sampled_from(["BUY", "SELL"]),
    st.sampled_from(["BTCUSDT", "ETHUSDT"]),
    AMOUNT | ODD,
    PRICE | ODD,
    FEE,
    st.integers(0, 3 * HOUR_MS),
)


@pytest.mark.slow
@pytest.mark.row("D-53", "D-40", "D-02", "N-56", "D-49")
@settings(max_examples=150, deadline=None)
@given(st.lists(MOVE, max_size=30))
def test_ledger_any_fills_balance_to_the_last_unit(moves: list[Any]) -> None:
    """Ledger of any fills balances for every hour and account; a rebuild gives equal bytes."""
    portfolio, ledger = Portfolio.from_opening(OPENING), Ledger.from_opening(OPENING)
    ts, taken, bought = T0, [], 0
    for side, symbol, qty, price, fee, wait in moves:
        ts += wait
        wish = fill(side, qty, price, fee, symbol)
        try:
            booking = portfolio.apply(wish, ts)
        except InvariantError:
            continue
        ledger.append(booking, portfolio)
        taken.append((wish, ts))
        bought += 1
        assert sum(entry.amount for entry in booking.entries) == 0
        assert portfolio.cash("USDT") >= 0
        assert all(portfolio.position_qty(held) > 0 for held in portfolio.symbols())

    at_cost = portfolio.cash("USDT") + portfolio.exposure({})
    assert at_cost == parse_amount("10000") + portfolio.realised_pnl - portfolio.fees
    moved = [parse_amount(hour.get("USDT", "0")) for hour in ledger.to_json()["hours"].values()]
    closing = parse_amount("10000") + sum(moved)
    assert closing == portfolio.cash("USDT") == ledger.closing("USDT")
    first = portfolio_bytes("20231114_221320", taken)
    assert first == portfolio_bytes("20231114_221320", taken)
    assert Portfolio.from_json(decode(encode(portfolio.to_json()))).to_json() == portfolio.to_json()
    assert Ledger.from_json(decode(encode(ledger.to_json()))).to_json() == ledger.to_json()


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(MOVE, max_size=30))
def test_books_are_the_same_whether_trades_are_told_or_not(moves: list[Any]) -> None:
    """Portfolio and ledger agree with and without kept trades, also restored after each fill."""
    told, untold = Portfolio.from_opening(OPENING), Portfolio.from_opening(OPENING)
    ledger, restored = Ledger.from_opening(OPENING), Ledger.from_opening(OPENING)
    ts = T0
    for side, symbol, qty, price, fee, wait in moves:
        ts += wait
        held = told.position_qty(symbol)
        is_all = side == "SELL" and held and wait % 2
        wish = fill(side, amount_text(held) if is_all else qty, price, fee, symbol)
        try:
            booking = told.apply(wish, ts)
        except InvariantError:
            with pytest.raises(InvariantError):
                untold.book(FillMessage.read(wish), ts)
            continue
        same = untold.book(FillMessage.read(wish), ts)
        assert (same.entries, same.trades) == (booking.entries, ())
        ledger.append(booking, told)
        restored.append(same, untold)
        restored = Ledger.from_json(decode(encode(restored.to_json())))

    assert untold.to_json() == told.to_json()
    assert restored.to_json() == ledger.to_json()


@pytest.mark.row("D-40")
def test_ledger_booking_out_of_order_or_twice_is_refused() -> None:
    """A booking that repeats or skips one is refused and changes nothing."""
    portfolio, ledger = Portfolio.from_opening(OPENING), Ledger.from_opening(OPENING)
    first = portfolio.apply(fill("BUY", "1", "100"), T0)
    ledger.append(first, portfolio)
    portfolio.apply(fill("BUY", "1", "100"), T0)
    third = portfolio.apply(fill("BUY", "1", "100"), T0)
    before = ledger.to_json()

    for booking in (first, third):
        with pytest.raises(InvariantError):
            ledger.append(booking, portfolio)

    assert ledger.to_json() == before


@pytest.mark.row("D-40", "D-53")
def test_ledger_booking_that_does_not_add_up_is_refused() -> None:
    """An edited entry has no counterpart, so its booking is refused."""
    portfolio, ledger = Portfolio.from_opening(OPENING), Ledger.from_opening(OPENING)
    booking = portfolio.apply(fill("BUY", "1", "100"), T0)
    booking.cash += 1

    with pytest.raises(InvariantError):
        ledger.append(booking, portfolio)


@pytest.mark.row("D-40", "D-53")
def test_ledger_that_differs_from_the_portfolio_is_refused() -> None:
    """Cash that only one of the two knows, or a missing entry, is refused."""
    portfolio, ledger = Portfolio.from_opening(OPENING), Ledger.from_opening(OPENING)
    first = portfolio.apply(fill("BUY", "1", "100", "1"), T0)
    with pytest.raises(InvariantError, match="cash USDT"):
        Ledger.from_opening(OPENING).append(first, Portfolio.from_opening(OPENING))
    ledger.append(first, portfolio)

    fields = ledger.to_json()
    del fields["accounts"]["fees"]
    second = portfolio.apply(fill("BUY", "1", "100", "1"), T0)
    with pytest.raises(InvariantError, match="add up to zero"):
        Ledger.from_json(fields).append(second, portfolio)


def test_asset_that_only_the_ledger_knows_is_refused() -> None:
    """Cash that the portfolio has lost counts as zero there, so that the two differ."""
    portfolio = Portfolio.from_opening(RunOpening({"USDT": "1000"}, (), {}))
    ledger = Ledger.from_opening(RunOpening({"USDT": "1000", "EUR": "5"}, (), {}))
    booking = portfolio.apply(fill("BUY", "1", "100"), T0)

    with pytest.raises(InvariantError, match="cash EUR"):
        ledger.append(booking, portfolio)


def stored(folder: Path, sales: int) -> tuple[PortfolioStore, Portfolio, Ledger]:
    portfolio, ledger = Portfolio.from_opening(OPENING), Ledger.from_opening(OPENING)
    ledger.append(portfolio.apply(fill("BUY", "3", "100", "1"), T0), portfolio)
    for _ in range(sales):
        ledger.append(portfolio.apply(fill("SELL", "1", "101", "0.5"), T0 + 1), portfolio)
    store = PortfolioStore(folder, "20231114_221320")
    store.save(portfolio, ledger)
    return store, portfolio, ledger


@pytest.mark.row("N-56", "D-11")
def test_portfolio_file_deleted_is_rebuilt_from_fills_to_the_same_bytes(var_dir: Path) -> None:
    """A deleted portfolio file is rebuilt from opening and fills to the same bytes."""
    stored(var_dir, sales=1)
    before = (var_dir / PORTFOLIO_FILE).read_bytes()

    rebuilt = portfolio_bytes(
        "20231114_221320",
        [(fill("BUY", "3", "100", "1"), T0), (fill("SELL", "1", "101", "0.5"), T0 + 1)],
    )

    assert rebuilt == before


@pytest.mark.row("B-57")
def test_open_positions_file_shows_what_is_held_with_its_average_price(var_dir: Path) -> None:
    """Open positions stand in a file for the operator, with quantity and average price."""
    _, portfolio, _ = stored(var_dir, sales=1)

    found = read_hashed(var_dir / OPEN_POSITIONS_FILE)

    assert found["positions"] == portfolio.open_positions()
    assert found["positions"] == [
        {"symbol": "BTCUSDT", "qty": "2.00000000", "entry_price_avg": "100.00000000"}
    ]


@pytest.mark.row("N-56", "F124")
def test_portfolio_file_that_contradicts_fills_stops_the_run(var_dir: Path) -> None:
    """A portfolio file that contradicts the fills, or has more of them, is a STOP (F124)."""
    _, portfolio, ledger = stored(var_dir, sales=1)
    behind = Portfolio.from_opening(OPENING)
    other = Portfolio.from_opening(OPENING)
    other_ledger = Ledger.from_opening(OPENING)
    other_ledger.append(other.apply(fill("BUY", "3", "100", "1"), T0), other)
    other_ledger.append(other.apply(fill("SELL", "1", "102", "0.5"), T0 + 1), other)

    PortfolioStore(var_dir, "20231114_221320").save(portfolio, ledger)
    for wrong, its_ledger in ((behind, Ledger.from_opening(OPENING)), (other, other_ledger)):
        with pytest.raises(IntegrityError) as caught:
            PortfolioStore(var_dir, "20231114_221320").save(wrong, its_ledger)

        assert caught.value.reason_code == "NONDETERMINISM"


def test_portfolio_file_of_another_run_or_behind_is_replaced(var_dir: Path) -> None:
    """A portfolio file of the last run, or one that only lags, is replaced."""
    stored(var_dir, sales=1)
    _, portfolio, ledger = stored(var_dir, sales=2)
    fresh = Portfolio.from_opening(OPENING)

    PortfolioStore(var_dir, "20231115_000000").save(fresh, Ledger.from_opening(OPENING))

    assert read_hashed(var_dir / PORTFOLIO_FILE)["run_id"] == "20231115_000000"
    assert portfolio.fills == 3
    assert ledger.fills == 3
