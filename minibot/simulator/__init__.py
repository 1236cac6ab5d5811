"""The loopback exchange: server, sources, scripted faults."""
