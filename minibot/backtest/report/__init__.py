"""What a report of a backtest shows: figures, tables, pictures, the page."""
