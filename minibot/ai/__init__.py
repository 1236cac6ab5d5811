"""ai_role: a trusted clerk and a sandboxed worker. It recommends; it never decides."""
