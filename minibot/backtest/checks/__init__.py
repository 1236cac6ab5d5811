"""Checks of a backtest: look-ahead, warm-up, determinism, file access."""
