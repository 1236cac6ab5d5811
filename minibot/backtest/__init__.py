"""Backtests: the same cores on history, with no queue and no process."""
