"""Events: typed payloads, contracts, roles and queues, reason codes, ids, numbers."""
