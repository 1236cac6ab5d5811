"""Sources of the simulator: recordings, klines, a synthetic market."""
