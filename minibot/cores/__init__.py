"""Cores: what all three share, from one input to the events that follow and their comparison."""
