"""Report of a run: metrics, acceptance and the morning report, recounted from the queues."""
