"""Golden runs: recorded nights whose replay gives one digest, on every Python in every setting."""
