"""Replay, verification of lineage, explanation: the same cores fed from files."""
