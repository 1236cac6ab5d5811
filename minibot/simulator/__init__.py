"""Simulator: the loopback exchange with its server, sources and scripted faults."""
