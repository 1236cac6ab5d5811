"""The hash graph of a run, and the lineage of every decision."""
