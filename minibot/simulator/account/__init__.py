"""The paper account of the simulator, for foreign clients."""
