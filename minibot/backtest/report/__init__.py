"""Report of a backtest: figures, tables, pictures, the page."""
