"""Alerts: rules over a run, an outbox that survives, and targets that each get an alert once."""
