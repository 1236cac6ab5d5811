"""A run: configuration, clocks, role loop, supervision, STOP, preflight, secrets, logging."""
