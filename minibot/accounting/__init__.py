"""What is owned: lots, portfolio, ledger, hourly accounts, performance; exact."""
