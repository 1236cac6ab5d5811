"""Which code is deployed, and how it gets there."""
