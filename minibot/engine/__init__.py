"""What drives all cores together: replay of one role or of all, lockstep, walkers over columns."""
