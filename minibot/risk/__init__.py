"""risk_role: limits, entry and exit decisions; the only writer of order_intents."""
