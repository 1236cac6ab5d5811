"""Operator's process: page, API, metrics and alerts beside a run, which it can never end."""
