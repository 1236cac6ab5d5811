"""Scanner: ranks the symbols of a market by closed bars; pure and deterministic."""
