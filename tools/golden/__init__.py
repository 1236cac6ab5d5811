"""Golden runs: recorded nights whose replay gives one digest, on every Python and however set."""
