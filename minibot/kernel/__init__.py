"""Durable queues: lines, journals, cursors, locks, seals. Knows nothing about trading."""
