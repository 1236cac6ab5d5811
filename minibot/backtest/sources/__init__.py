"""Where the market of a backtest comes from."""
