"""Gates before a night: runtime_smoke, schema, atomic_io, ai_isolation, chaos."""
