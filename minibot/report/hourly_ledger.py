"""Ledger of a night by hour: opening balance, entries, closing balance."""

from __future__ import annotations

from minibot.accounting.bookings import CASH
from minibot.accounting.hourly_accounts import HourlyAccounts
from minibot.events.money import amount_text
from minibot.report.figures import clock, counted, money, signed

CHAIN_SHOWN = 16
AMOUNT_PLACES = 8


def ledger_text(books: HourlyAccounts) -> str:
    """Return the sentence that every hour balances; else the accounts could not have closed."""
    lots = sum(1 for booking in books.bookings if not booking.trades)
    return (
        f"{counted(lots, 'lot')} opened, sold in {counted(len(books.trades), 'part')}, "
        f"{counted(books.entries, 'entry', 'entries')}; {closings_text(len(books.states))}; "
        f"chain {books.head[:CHAIN_SHOWN]}"
    )


def closings_text(number: int) -> str:
    """Return at which closings of the accounts the ledger balances.

    Six minutes over midnight have two of them: a number of hours it is not.
    """
    hours = counted(number - 1, "full hour")
    where = f"{hours} and at the end" if number > 1 else "the end" if number else "no closing yet"
    return f"the ledger balances at {where}"


def ledger_table(books: HourlyAccounts) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return head and rows: one row for each hour and asset, amounts to the last digit."""
    head = ("hour, UTC", "asset", "opening", "entries", "closing", "fills", "sha256 of the state")
    rows: list[tuple[str, ...]] = []
    for state in books.states:
        for name, balance in state.accounts.items():
            kind, _, asset = name.partition(":")
            if kind != CASH:
                continue
            rows.append(
                (
                    f"{clock(state.from_ts)} to {clock(state.to_ts)}",
                    asset,
                    money(amount_text(balance.opening), AMOUNT_PLACES),
                    signed(amount_text(balance.entries), AMOUNT_PLACES),
                    money(amount_text(balance.closing), AMOUNT_PLACES),
                    str(state.fills - state.fills_before),
                    state.sha256[:CHAIN_SHOWN],
                )
            )
    return head, rows
