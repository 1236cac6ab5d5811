"""Indicators and microstructure: pure functions and incremental state, no I/O."""
