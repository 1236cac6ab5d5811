"""Durable queues: files, lines, journals, cursors, locks, seals; and the errors of every room.

Imports no other room.
"""
