"""Parts that a run's processes share: profile, clock, role loop, STOP, secrets, log, deployment."""
