"""Shared parts of all cores: messages, event ids, scaled ticks, the order of inputs."""
