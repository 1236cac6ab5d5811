"""Drivers of all cores: replay of one role or of all, lockstep, walkers over arrays of prices."""
