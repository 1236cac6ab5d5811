"""Hourly accounts: lots and trades by hand, and states chained so that no edit fits."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from minibot.accounting.hourly_accounts import HourlyAccounts, genesis, states_bytes
from minibot.accounting.lots import Trade
from minibot.accounting.performance import Performance
from minibot.accounting.portfolio import Portfolio
from minibot.events.model import Fill, RunOpening
from minibot.events.money import amount_text, parse_amount
from minibot.events.unit_sizes import HOUR_MS
from minibot.kernel.canonical import decode
from minibot.kernel.errors import InvariantError
from minibot.kernel.line import decode_line
from tests.accounting.fills import fill
from tests.accounting.test_portfolio import MOVE, OPENING, T0, three_lots

RUN_ID = "20231114_221320"


def books() -> HourlyAccounts:
    """Hourly accounts of an empty run."""
    return HourlyAccounts(RUN_ID, OPENING, T0)


@pytest.mark.row("D-50", "D-48")
def test_partial_closes_of_three_lots_as_reckoned_by_hand() -> None:
    """Four sales close lots of 1 at 100, 2 at 110 and 1 at 130, oldest first."""
    portfolio = three_lots()

    trades: list[Trade] = []
    for qty, price in (("0.4", "120"), ("0.6", "90"), ("2.5", "140"), ("0.5", "100")):
        trades += portfolio.apply(fill("SELL", qty, price, "0.5"), T0 + 9).trades

    # Sale, lot, quantity, cost, proceeds:
    # 1: 0.4 of lot 1: 40, 48.   2: 0.6 of lot 1: 60, 54.
    # 3: all of lot 2: 220, 280; 0.5 of lot 3: 65, 70.   4: the rest of lot 3: 65, 50.
    assert [
        (
            trade.open_fill_n,
            trade.close_fill_n,
            *(amount_text(value, 1) for value in (trade.qty, trade.cost, trade.proceeds)),
        )
        for trade in trades
    ] == [
        (1, 4, "0.4", "40.0", "48.0"),
        (1, 5, "0.6", "60.0", "54.0"),
        (2, 6, "2.0", "220.0", "280.0"),
        (3, 6, "0.5", "65.0", "70.0"),
        (3, 7, "0.5", "65.0", "50.0"),
    ]
    assert amount_text(portfolio.realised_pnl, 1) == "52.0"
    # 10000 - 450 - 3 + 48 + 54 + 350 + 50 - 4 * 0.5
    assert amount_text(portfolio.cash("USDT"), 1) == "10047.0"
    assert portfolio.position_qty("BTCUSDT") == 0


@pytest.mark.row("D-50")
def test_fee_in_base_lessens_the_lot_and_costs_the_same_as_in_quote() -> None:
    """A fee in base shrinks the lot: 1 at 100 less 0.001 is 0.999 for 99.9, and 0.1 of fees."""
    in_base = structs.replace(fill("BUY", "1", "100", "0.001"), fee_asset="BTC")
    portfolio = Portfolio.from_opening(OPENING)

    booking = portfolio.apply(in_base, T0)

    lot = portfolio.lots("BTCUSDT")[0]
    assert (amount_text(lot.qty, 3), amount_text(lot.cost, 1)) == ("0.999", "99.9")
    assert amount_text(portfolio.fees, 1) == "0.1"
    assert portfolio.opening_cash() == {"USDT": "9900.00000000"}
    assert {entry.account: amount_text(entry.amount, 1) for entry in booking.entries} == {
        "cash:USDT": "-100.0",
        "position:BTCUSDT": "99.9",
        "fees": "0.1",
    }
    sold = portfolio.apply(fill("SELL", "0.999", "110", "0.10989"), T0 + 1)
    # 0.999 * 110 = 109.89; 109.89 - 99.9
    assert amount_text(sold.trades[0].realised_pnl, 2) == "9.99"
    assert not portfolio.symbols()


def test_fee_in_base_gives_the_same_result_in_the_figures_of_a_night() -> None:
    """A round trip earns as much as cash gains, whichever asset paid the fee."""
    performance = Performance(OPENING, "USDT")

    performance.on_fill(structs.replace(fill("BUY", "1", "100", "0.001"), fee_asset="BTC"), T0)
    performance.on_fill(fill("SELL", "0.999", "110", "0.10989"), T0 + 1)

    # -100 + 109.89 - 0.10989
    assert performance.trips == [parse_amount("9.78011")]
    assert amount_text(performance.equity, 5) == "10009.78011"


def test_round_trip_of_any_quantity_earns_as_much_as_cash_gains() -> None:
    """A purchase whose cost is no multiple of a hundred-millionth is rounded up in both."""
    performance = Performance(OPENING, "USDT")

    for price in ("1.50000001", "1.5"):
        performance.on_fill(fill("BUY", "0.00000003", price), T0)
    performance.on_fill(fill("SELL", "0.00000006", "1.6"), T0 + 1)

    # -0.00000005 twice, +0.00000009
    assert performance.trips == [performance.equity - performance.equity_start] == [-1]
    assert performance.results["BTCUSDT"].losses == 1


@pytest.mark.parametrize(
    "wrong",
    [
        structs.replace(fill("SELL", "1", "100", "0.001"), fee_asset="BTC"),
        structs.replace(fill("BUY", "1", "100", "1"), fee_asset="BTC"),
    ],
)
def test_fee_in_base_that_cannot_be_is_refused_and_changes_nothing(wrong: Fill) -> None:
    """Impossible fees in base are refused: one of a sale, and one of all that was bought."""
    portfolio = three_lots()
    before = portfolio.to_json()

    with pytest.raises(InvariantError):
        portfolio.apply(wrong, T0 + 9)

    assert portfolio.to_json() == before


@pytest.mark.row("D-52", "D-53")
def test_run_of_five_hours_has_five_states_also_for_hours_without_a_fill() -> None:
    """Each of five hours has a state: fills at 22:13, 23:13 and 01:13, the end at 02:30."""
    run = books()
    run.on_fill(fill("BUY", "1", "100", "1"), T0 + 5)
    run.on_fill(fill("BUY", "2", "110", "1"), T0 + HOUR_MS)
    run.on_fill(fill("SELL", "2.5", "120", "2"), T0 + 3 * HOUR_MS)

    states = run.close(T0 + 4 * HOUR_MS + 1_000_000)

    assert [state.n for state in states] == [1, 2, 3, 4, 5]
    assert [(state.fills_before, state.fills) for state in states] == [
        (0, 1),
        (1, 2),
        (2, 2),
        (2, 3),
        (3, 3),
    ]
    assert [state.trades for state in states] == [0, 0, 0, 2, 2]
    cash = [state.accounts["cash:USDT"] for state in states]
    assert [
        tuple(amount_text(value, 0) for value in (one.opening, one.entries, one.closing))
        for one in cash
    ] == [
        ("10000", "-101", "9899"),
        ("9899", "-221", "9678"),
        ("9678", "0", "9678"),
        ("9678", "298", "9976"),
        ("9976", "0", "9976"),
    ]
    assert states[0].from_ts == T0
    assert all(one.to_ts + 1 == two.from_ts for one, two in pairwise(states))
    assert states[-1].to_ts == T0 + 4 * HOUR_MS + 1_000_000
    assert [len(state.lots) for state in states] == [1, 2, 2, 1, 1]


@pytest.mark.row("D-52")
def test_states_are_chained_to_the_opening_and_each_to_the_one_before() -> None:
    """A change to one hour or to the opening breaks every later link of the chain."""
    run = books()
    run.on_fill(fill("BUY", "1", "100", "1"), T0 + 2 * HOUR_MS)
    lines = states_bytes(run.close(T0 + 3 * HOUR_MS)).splitlines(keepends=True)

    previous = genesis(RUN_ID, OPENING)
    for line in lines:
        digest, json = decode_line(line)
        assert decode(json)["previous"] == previous
        assert digest == sha256(json).digest()
        previous = digest.hex()
    assert previous == run.head
    other = RunOpening(cash={"USDT": "10001"}, lots=(), budgets_used={})
    assert genesis(RUN_ID, other) != genesis(RUN_ID, OPENING) != genesis("other", OPENING)


@pytest.mark.row("D-53", "D-52", "D-40")
@settings(max_examples=100, deadline=None)
@given(st.lists(MOVE, max_size=25))
def test_every_hour_of_any_run_balances_in_every_account(moves: list[Any]) -> None:
    """Each hour balances: opening plus entries is closing, and entries add up to zero."""
    run, ts = books(), T0
    for side, symbol, qty, price, fee, wait in moves:
        ts += wait
        try:
            run.on_fill(fill(side, qty, price, fee, symbol), ts)
        except InvariantError:
            continue

    states = run.close(ts)

    assert len(states) == ts // HOUR_MS - T0 // HOUR_MS + 1
    before: dict[str, int] = {"cash:USDT": parse_amount("10000")}
    for state in states:
        for name, account in state.accounts.items():
            assert account.opening == before.get(name, 0)
            assert account.opening + account.entries == account.closing
        assert sum(account.entries for account in state.accounts.values()) == 0
        before = {name: account.closing for name, account in state.accounts.items()}
    assert before["cash:USDT"] == run.portfolio.cash("USDT")
    assert states[-1].fills == run.portfolio.fills


@pytest.mark.row("D-53")
def test_books_that_do_not_balance_are_refused() -> None:
    """A booking known to the ledger alone, or to the portfolio alone, ends the run."""
    run = books()
    run.on_fill(fill("BUY", "1", "100", "1"), T0)
    run.portfolio.apply(fill("SELL", "1", "101", "1"), T0)

    with pytest.raises(InvariantError):
        run.close(T0)


def test_fill_with_an_earlier_time_counts_in_the_hour_that_is_open() -> None:
    """A late fill counts in the open hour; a closed hour keeps its bytes."""
    run = books()
    run.on_fill(fill("BUY", "1", "100", "1"), T0 + HOUR_MS)
    run.on_fill(fill("BUY", "1", "100", "1"), T0)

    states = run.close(T0 + HOUR_MS)

    assert [(state.fills_before, state.fills) for state in states] == [(0, 0), (0, 2)]


def test_fill_after_the_close_is_booked_and_stands_in_no_state() -> None:
    """A fill hours after the close changes the portfolio, and neither states nor head."""
    run = books()
    states = list(run.close(T0 + 5))
    head = run.head

    run.on_fill(fill("BUY", "1", "100", "1"), T0 + 3 * HOUR_MS)

    assert run.portfolio.fills == 1
    assert (run.states, run.close(T0 + 4 * HOUR_MS), run.head) == (states, states, head)
