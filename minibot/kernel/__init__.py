"""Durable queues: files, lines, journals, cursors, locks, seals. Imports no other room."""
