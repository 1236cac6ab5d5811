"""What is run beside the product: set-up, checks of rows and locks, gates, measurements."""
