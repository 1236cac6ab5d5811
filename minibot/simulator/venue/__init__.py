"""Simulated venue: books, bars, tickers, rules."""
