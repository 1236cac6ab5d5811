"""Accounting in exact integers: lots, portfolio, ledger, hourly accounts, performance."""
