"""Drivers of the cores: replay of one or all roles, lockstep, walkers over arrays of prices."""
