"""Explanations why something happened, or did not: chains, rejections, one second of a run."""
