"""Sources of the market of a backtest."""
