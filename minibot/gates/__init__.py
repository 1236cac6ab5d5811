"""Gates before a night (runtime_smoke, schema, atomic_io, ai_isolation), and drills.

The drills have verbs of their own: `minibot chaos` and `minibot tamper-demo`.
"""
