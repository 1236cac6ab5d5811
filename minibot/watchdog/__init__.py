"""watchdog_role, the launcher: preflight, start, supervision, merge of parts, end and seal."""
