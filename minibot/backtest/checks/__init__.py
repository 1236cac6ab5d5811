"""Checks of a backtest: look-ahead, warm-up, determinism, files that are read."""
