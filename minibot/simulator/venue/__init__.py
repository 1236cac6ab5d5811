"""The simulated venue: books, bars, tickers, rules."""
