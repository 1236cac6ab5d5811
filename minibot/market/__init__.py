"""market_role: feed supervision, history, ticks, bars, health of the link."""
