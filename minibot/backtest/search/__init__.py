"""Sweeps, walk-forward search and fill assumptions."""
