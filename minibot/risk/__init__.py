"""risk_role: limits, gates, sizing, exits; the only writer of order_intents."""
