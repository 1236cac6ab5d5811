"""Tools beside the product: set-up, checks of rows and locks, gates, measurements."""
