"""Backtests: the cores of a night on historical data, without queues or processes."""
