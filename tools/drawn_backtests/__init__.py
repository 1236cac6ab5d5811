"""Backtests of drawn profiles, each in several ways that have to agree."""
