"""Strategies to read, to copy and to measure with."""
