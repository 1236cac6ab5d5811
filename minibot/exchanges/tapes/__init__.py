"""Recorded tapes as files: written in parts, described, checked, cut and merged (docs/TAPES.md)."""
