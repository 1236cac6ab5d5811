"""The profile of a run: files, layers, sections, rules."""
