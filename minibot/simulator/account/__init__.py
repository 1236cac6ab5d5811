"""Paper account of the simulator, for foreign clients."""
