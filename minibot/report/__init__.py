"""Metrics, acceptance and the morning report, recounted from the queues."""
