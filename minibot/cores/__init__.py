"""What all cores share: messages, event ids, scaled ticks, the order of inputs."""
