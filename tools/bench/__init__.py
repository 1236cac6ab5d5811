"""Benchmarks as commands: what is measured, against which figures, with all samples.

The command is `python -m tools.bench journal [--peers] [--json] [--only J4 ...]`.
"""
