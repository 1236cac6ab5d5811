"""Faults that the simulator puts into its answers and streams."""
