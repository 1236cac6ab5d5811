"""execution_role: paper orders, fills, fees, portfolio, ledger."""
