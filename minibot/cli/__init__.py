"""Command line: one file per verb, which parses, calls one room and prints; no logic."""
