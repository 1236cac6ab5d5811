"""Common parts of a run's processes: profile, clock, role loop, STOP, secrets, log, deployment."""
