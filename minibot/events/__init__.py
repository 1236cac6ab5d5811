"""What is said: typed events, contracts, who may write what, reason codes, ids, numbers."""
