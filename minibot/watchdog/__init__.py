"""watchdog_role: liveness, backlog, disk, clock; merges parts and initiates STOP."""
