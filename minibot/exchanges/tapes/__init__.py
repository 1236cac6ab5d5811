"""Recorded tapes as files: read, checked, cut and merged; `data.recording` writes them."""
