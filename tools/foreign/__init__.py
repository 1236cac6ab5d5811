"""Foreign clients of Binance Spot against the embedded exchange, unmodified."""
