"""Questions about a recorded run: replay, lineage and explanation by the same cores."""
