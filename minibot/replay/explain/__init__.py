"""Why something happened, or did not: chains, rejections, one second of a run."""
