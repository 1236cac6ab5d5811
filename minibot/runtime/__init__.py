"""What the processes of a run share: profile, clock, role loop, STOP, secrets, log, deployment."""
