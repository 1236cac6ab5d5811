"""Events: typed payloads, contracts, roles and queues, reason codes, ids, numbers.

`cells`, `parse_cache` and `native` are used by other rooms alone.
"""
