"""What the simulator plays: recordings, klines, a random market."""
