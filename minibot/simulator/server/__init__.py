"""HTTP and WebSocket server of the simulator."""
