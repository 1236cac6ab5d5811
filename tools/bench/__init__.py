"""Benchmarks as commands: measures with all samples, each judged by its figure.

The command is `python -m tools.bench journal [--peers] [--json] [--only J4 ...]`.
"""
